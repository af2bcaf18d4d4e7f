# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Bring your own draws
#
# Draws of a mixture of negative binomials can come from anywhere: NumPyro, Stan, a sampler of one's
# own. Here is one in twenty lines of NumPy, which augments the data by allocations and permutes the
# labels at random in every iteration (Frühwirth-Schnatter 2001, doi:10.1198/016214501750333063), so
# that labels switch as much as they can. What it returns has names of its own; the package relabels
# and judges it all the same.

# %%
import arviz as az
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import pmnbmix as nb

rng = np.random.default_rng(1)
truth = nb.MixtureParams(weights=[0.4, 0.6], means=[3.0, 25.0], dispersions=[0.3, 0.1])
values, _ = truth.sample(300, random_seed=1)


# %% [markdown]
# ## A sampler of one's own
#
# `w` are the weights, `mu` the means, and `alpha` the concentrations, the *inverses* of the
# dispersions (what PyMC and NumPyro call `alpha` and `concentration`, Stan `phi`).


# %%
def log_density(values, mu, alpha):
    """Log density of each count in each component, (n, k)."""
    return stats.nbinom.logpmf(values[:, None], alpha, alpha / (alpha + mu))


def gibbs(values, k, draws, tune, rng):
    """Weights, means, concentrations and allocations of one chain."""
    w, z = np.full(k, 1 / k), rng.integers(k, size=values.size)
    mu, alpha = rng.permutation(np.quantile(values, [0.2, 0.8])[:k] + 1.0), np.full(k, 3.0)
    kept = []
    for iteration in range(tune + draws):
        p = w * np.exp(log_density(values, mu, alpha))
        p /= p.sum(axis=1, keepdims=True)
        z = (p.cumsum(axis=1) < rng.random((values.size, 1))).sum(axis=1)
        w = rng.dirichlet(2.0 + np.bincount(z, minlength=k))
        # Metropolis steps for log mean and log concentration, all components at once
        step = rng.normal(0, [[0.08], [0.25]], size=(2, k))
        new_mu, new_alpha = mu * np.exp(step[0]), alpha * np.exp(step[1])
        prior = [
            stats.norm.logpdf(np.log(m), np.log(values.mean()), 2)
            + stats.norm.logpdf(np.log(a), 0, 2)
            for m, a in ((mu, alpha), (new_mu, new_alpha))
        ]
        rows = [log_density(values, m, a) for m, a in ((mu, alpha), (new_mu, new_alpha))]
        gain = prior[1] - prior[0]
        gain += np.bincount(z, (rows[1] - rows[0])[np.arange(values.size), z], minlength=k)
        accept = np.log(rng.random(k)) < gain
        mu, alpha = np.where(accept, new_mu, mu), np.where(accept, new_alpha, alpha)
        turn = rng.permutation(k)
        w, mu, alpha, z = w[turn], mu[turn], alpha[turn], np.argsort(turn)[z]
        if iteration >= tune:
            kept.append((w, mu, alpha, z))
    return [np.array(one) for one in zip(*kept, strict=True)]


w, mu, alpha, z = (
    np.array(one) for one in zip(*(gibbs(values, 2, 2500, 500, rng) for _ in range(4)), strict=True)
)
draws = az.from_dict(
    {"posterior": {"w": w, "mu": mu, "alpha": alpha}},
    dims={"w": ["cluster"], "mu": ["cluster"], "alpha": ["cluster"]},
)
columns = ["mean", "sd", "ess_bulk", "r_hat"]
print(az.summary(draws, var_names=["mu"])[columns])

# %% [markdown]
# Both clusters have the same mean, half way between the true ones, and r-hat finds nothing wrong:
# labels that switch at every draw make all chains alike. The table is about nothing.
#
# ## Relabelled, with names of its own
#
# `names` says what the tree calls things. Any key may be left out that has the package's own name,
# and logarithms have keys too (`log_means`, `log_inv_disps`).

# %%
counts = nb.Counts(values)
names = {"weights": "w", "means": "mu", "inv_disps": "alpha", "mixture_component": "cluster"}
relabelled = nb.relabel(draws, counts=counts, names=names)
print(az.summary(relabelled, var_names=["w", "mu", "alpha"])[columns])

# %%
for method in ("ecr", "pra", "order"):
    other = nb.relabel(draws, method=method, counts=counts, names=names)
    same = (other["posterior"]["mu"] == relabelled["posterior"]["mu"]).all("cluster")
    print(
        f"{method:6s} gives the labels of Stephens' algorithm in {float(same.mean()):.1%} of draws"
    )

# %% [markdown]
# ## Judged
#
# The gates, and what looks doubtful, chain by chain. With the optima of a point fit, chains that
# are all in a lower mode would be found out too.

# %%
diagnosis = nb.diagnose(
    draws, optima=nb.fit_em(counts, 2, random_seed=1), counts=counts, names=names
)
print(diagnosis)
print(diagnosis.chains.round(2).to_string())
print(diagnosis.table.round(3).to_string())

# %% [markdown]
# ## Taken over
#
# `from_datatree` lays draws out as `sample` does. Then everything else works: LOO, figures,
# comparison with EM.

# %%
tree = nb.from_datatree(draws, counts, names)
em = nb.fit_em(counts, 2, random_seed=1)
print(nb.loo(tree))
print(nb.compare_estimates(em=em, nuts=tree).iloc[:, :6].round(2).to_string())

# %%
nb.plots.plot_relabelling(tree)
nb.plots.plot_permutations(tree)
nb.plots.plot_components(tree)
plt.show()

# %% [markdown]
# ## Arrays of any mixture
#
# `relabel_draws` takes plain arrays, whatever the components are: responsibilities, sampled
# allocations or parameters. Here from the allocations alone.

# %%
flat = z.reshape(-1, values.size)
order = nb.relabel_draws(z=flat, method="ecr-iterative-1")
means = np.take_along_axis(mu.reshape(-1, 2), order, axis=1)
print("means relabelled by the votes of the allocations:", np.sort(means.mean(axis=0)).round(2))

# %% [markdown]
# ## Without labels at all
#
# Which observations belong together is a question that labels do not touch.

# %%
clustering = nb.co_cluster(tree)
nb.plots.plot_co_clustering(clustering)
plt.show()
first_of_second = int(clustering.similarity["value"].values[np.argmax(clustering.partition)])
print(f"{clustering.n_clusters} clusters; counts from {first_of_second} on are in the second")
