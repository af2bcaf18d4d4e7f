/* Mixture of negative binomials: the same model as pmnbmix, stated for Stan.
 *
 * The density is that of (weights, log_means, log_dispersions) with every constant, which is what
 * `target +=` keeps and `~` drops. Priors are on the logarithms themselves, so none needs a
 * Jacobian. Components are not ordered: their labels are exchangeable, as in the package.
 */
data {
  int<lower=1> N;                       // rows
  int<lower=1> K;                       // components
  array[N] int<lower=0> x;              // counts
  vector<lower=0>[N] exposure;          // expected count is exposure times mean
  vector<lower=0>[N] frequency;         // how often each row was seen
  real<lower=0> concentration;          // of the symmetric Dirichlet on the weights
  real log_mean_loc;
  real<lower=0> log_mean_scale;
  real log_dispersion_loc;
  real<lower=0> log_dispersion_scale;
}
parameters {
  simplex[K] weights;
  vector[K] log_means;
  vector[K] log_dispersions;
}
model {
  vector[K] log_weights = log(weights);
  // Stan's phi is the inverse dispersion: the variance is mu + mu^2 / phi
  vector[K] inv_disps = exp(-log_dispersions);

  target += dirichlet_lpdf(weights | rep_vector(concentration, K));
  target += normal_lpdf(log_means | log_mean_loc, log_mean_scale);
  target += normal_lpdf(log_dispersions | log_dispersion_loc, log_dispersion_scale);
  for (n in 1:N) {
    vector[K] terms = log_weights;
    for (k in 1:K) {
      terms[k] += neg_binomial_2_lpmf(x[n] | exposure[n] * exp(log_means[k]), inv_disps[k]);
    }
    target += frequency[n] * log_sum_exp(terms);
  }
}
