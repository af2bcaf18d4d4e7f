import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmnbmix as nb


def log_density(params, counts, spec):
    """Log likelihood plus log priors of (weights, log means, log dispersions), by scipy."""
    spec = spec.resolve(counts)
    total = params.logpmf(counts.values, counts.exposure).sum()
    if params.n_components > 1:
        concentration = np.full(params.n_components, spec.weights.concentration)
        total += stats.dirichlet.logpdf(params.weights, concentration)
    total += stats.norm.logpdf(np.log(params.means), spec.log_means.loc, spec.log_means.scale).sum()
    total += stats.norm.logpdf(
        np.log(params.dispersions), spec.log_dispersions.loc, spec.log_dispersions.scale
    ).sum()
    return total


@pytest.mark.parametrize("k", [1, 2, 3])
def test_log_density_is_that_of_the_priors_and_the_counts(crab, k):
    spec = nb.MixtureSpec(k)
    fit = nb.fit_map(crab, spec, random_seed=0)
    assert fit.log_density == pytest.approx(log_density(fit.params, crab, spec), abs=1e-8)
    assert (np.diff(fit.log_density_path) >= 0).all()
    assert fit.log_density_path[-1] == pytest.approx(fit.log_density, abs=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "crab_satellites",
        pytest.param("doctor_visits", marks=pytest.mark.exhaustive),
        pytest.param("red_mites", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
def test_find_map_from_there_finds_nothing_higher(name, k):
    counts, spec = nb.load_dataset(name), nb.MixtureSpec(k)
    fit = nb.fit_map(counts, spec, random_seed=0)
    values = {
        "log_means": np.log(fit.params.means),
        "log_dispersions": np.log(fit.params.dispersions),
    }
    if k > 1:
        values["weights"] = fit.params.weights
    with nb.build_model(counts, spec):
        found = pm.find_MAP(
            initvals=values, jitter=False, return_inferencedata=True, progressbar=False
        )["posterior"]
    params = nb.MixtureParams(
        found["weights"].values[0, 0] / found["weights"].values[0, 0].sum(),
        found["means"].values[0, 0],
        found["dispersions"].values[0, 0],
    )
    assert log_density(params, counts, spec) == pytest.approx(fit.log_density, abs=1e-5)


def test_flat_priors_make_it_maximum_likelihood(crab):
    flat = nb.NormalPrior(0.0, float("inf"))
    spec = nb.MixtureSpec(2, nb.DirichletPrior(1.0), flat, flat)
    likelihood = nb.fit_em(crab, 2, random_seed=0)
    posterior = nb.fit_map(crab, spec, random_seed=0)
    assert posterior.log_likelihood == pytest.approx(likelihood.log_likelihood, abs=1e-8)
    np.testing.assert_allclose(posterior.params.means, likelihood.params.means, rtol=1e-6)


def test_a_prior_pulls_the_estimate(crab):
    free = nb.fit_map(crab, nb.MixtureSpec(1), random_seed=0)
    tight = nb.MixtureSpec(1, log_means=nb.NormalPrior(0.0, 0.05))
    pulled = nb.fit_map(crab, tight, random_seed=0)
    assert pulled.params.means[0] < free.params.means[0] - 0.5


def test_the_resolved_prior_is_kept(crab):
    fit = nb.fit_map(crab, nb.MixtureSpec(1))
    assert fit.spec is not None
    assert fit.spec.log_means.loc == pytest.approx(np.log(505 / 173))


def test_a_concentration_below_one_has_no_maximum(crab):
    with pytest.raises(ValueError, match="no MAP"):
        nb.fit_map(crab, nb.MixtureSpec(2, weights=nb.DirichletPrior(0.5)))


def test_bad_specification(crab):
    with pytest.raises(TypeError, match="MixtureSpec"):
        nb.fit_map(crab, "2")
