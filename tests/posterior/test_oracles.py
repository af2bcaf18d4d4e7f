"""Small posteriors worked out exactly, without sampling."""

import itertools

import arviz as az
import numpy as np
import pytest
from scipy import integrate, special, stats

import pmnbmix as nb

VALUES = np.array([0, 0, 1, 1, 2, 9, 11, 14, 15])


@pytest.fixture(scope="module")
def enumerated():
    """Moments of two components from all allocations of nine counts, means and dispersions summed.

    Weights integrate to the Dirichlet-multinomial; given the allocation, the two parameters of each
    component are independent of the other's and lie on a grid.
    """
    counts = nb.Counts(VALUES)
    spec = nb.MixtureSpec(2).resolve(counts)
    loc = spec.log_means.loc
    log_means, log_dispersions = np.linspace(loc - 9, loc + 9, 181), np.linspace(-9, 9, 91)
    a, b = np.meshgrid(log_means, log_dispersions, indexing="ij")
    prior = stats.norm.logpdf(a, loc, 2) + stats.norm.logpdf(b, 0, 2)
    rows = np.array([stats.nbinom.logpmf(x, np.exp(-b), 1 / (1 + np.exp(a + b))) for x in VALUES])
    n = VALUES.size
    log_evidence, log_mean = {}, {}
    for members in itertools.product([False, True], repeat=n):
        log_density = prior + rows[list(members)].sum(axis=0)
        mass = np.exp(log_density - log_density.max())
        log_evidence[members] = np.log(mass.sum()) + log_density.max()
        log_mean[members] = (mass * a).sum() / mass.sum()
    log_probability, mean_of_logs, together = [], [], []
    for first in log_evidence:
        second = tuple(not entry for entry in first)
        size = sum(first)
        log_probability.append(
            log_evidence[first] + log_evidence[second] + special.betaln(2 + size, 2 + n - size)
        )
        share = (2 + size) / (4 + n)
        mean_of_logs.append(share * log_mean[first] + (1 - share) * log_mean[second])
        together.append(np.equal.outer(first, first))
    probability = special.softmax(log_probability)
    return {
        "mean of log means": probability @ np.array(mean_of_logs),
        "together": np.tensordot(probability, np.array(together, dtype=float), 1),
    }


@pytest.fixture(scope="module")
def sampled():
    counts = nb.Counts(VALUES)
    return nb.sample(counts, nb.MixtureSpec(2), draws=5000, random_seed=0, progressbar=False)


def test_posterior_equals_the_sum_over_all_allocations(enumerated, sampled):
    posterior = sampled["posterior"].to_dataset()
    found = (posterior["weights"] * np.log(posterior["means"])).sum("mixture_component")
    error = float(az.mcse(found.to_dataset(name="q"))["q"].item())
    assert abs(float(found.mean()) - enumerated["mean of log means"]) < 3.5 * error


def test_co_clustering_equals_the_sum_over_all_allocations(enumerated, sampled):
    posterior = sampled["posterior"].to_dataset().stack(s=("chain", "draw"))
    pairs = []
    for i in range(0, posterior.sizes["s"], 20):
        params = nb.MixtureParams(
            *(posterior[name].values[:, i] for name in ("weights", "means", "dispersions"))
        )
        p = params.responsibilities(VALUES)
        pairs.append(p @ p.T)
    found = np.mean(pairs, axis=0)
    off = ~np.eye(VALUES.size, dtype=bool)
    # a thousand draws, nearly independent
    error = np.std(pairs, axis=0)[off] / np.sqrt(len(pairs))
    assert (np.abs(found - enumerated["together"])[off] < 5 * error + 0.005).all()


@pytest.mark.parametrize("exposure", [0.3, 2.0])
@pytest.mark.parametrize("dispersion", [0.05, 1.0, 6.0])
def test_the_rate_integrates_out_to_a_negative_binomial(exposure, dispersion):
    mean, r = 4.0, 1.0 / dispersion
    params = nb.MixtureParams([1.0], [mean], [dispersion])
    for x in (0, 1, 7, 40):

        def joint(log_rate, x=x):
            rate = np.exp(log_rate)
            return np.exp(
                stats.poisson.logpmf(x, exposure * rate)
                + stats.gamma.logpdf(rate, r, scale=mean / r)
                + log_rate
            )

        # in the logarithm, where the density has no pole at 0
        total, _ = integrate.quad(joint, -300.0, 6.0, points=[-20, 0, 2], epsabs=0, limit=500)
        found = np.exp(params.logpmf(np.array([x]), np.array([exposure])))[0]
        assert found == pytest.approx(total, rel=1e-8)
