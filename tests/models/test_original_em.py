"""The original page: its figures that can be reproduced, and what its EM finds once corrected.

Published figures are compared with what their functions give now. Where the page's printed code
differs from the code that made the figure, the variant that makes it is written out here.
"""

import importlib.util
import sys

import numpy as np
import pytest
from scipy import stats

import pmnbmix as nb
from tests.conftest import ROOT

_SPEC = importlib.util.spec_from_file_location("original_em", ROOT / "models" / "original_em.py")
original_em = importlib.util.module_from_spec(_SPEC)
sys.modules["original_em"] = original_em
_SPEC.loader.exec_module(original_em)
AS_PRINTED = frozenset()


def legacy(seed=1):
    return np.random.RandomState(seed)


def poisson_counts():
    rng = legacy()
    return rng.poisson(lam=100, size=(1000, 1)).astype(float), rng


def negative_binomial_counts():
    rng = legacy()
    return stats.nbinom(n=3, p=1e-3).rvs(size=(1000, 1), random_state=rng).astype(float), rng


def split(values, rng):
    """The page's random split into two halves, and the objective at its start."""
    held = np.zeros((values.size, 2))
    held[:, 0] = rng.uniform(size=values.size) < 0.5
    held[:, 1] = 1 - held[:, 0]
    theta = original_em.start(values, held, rng)
    return held, original_em.objective(theta.ravel(), values, held, AS_PRINTED)


def later_stream(doubles, gauss_waiting):
    """The page's generator after cells had been run more than once."""
    rng = legacy()
    rng.random_sample(doubles)
    state = list(rng.get_state())
    state[3] = int(gauss_waiting)
    rng.set_state(tuple(state))
    return rng


def test_objective_of_the_poisson_counts():
    values, rng = poisson_counts()
    ones = np.ones_like(values)
    theta = original_em.start(values, ones, rng)
    # the page prints 5430.563796635256, made by an earlier version of its functions
    printed = original_em.objective(theta.ravel(), values, ones, AS_PRINTED)
    assert printed == pytest.approx(5430.5637905955155, abs=1e-10)
    mean, inv_disp = np.exp(theta[0]), np.exp(theta[1]) + 1e-8
    earlier = -original_em.log_density(values, mean, inv_disp, 1e-8).sum()
    assert earlier == pytest.approx(5430.563796635256, abs=1e-9)


def test_the_poisson_counts_have_their_sample_mean_as_estimate():
    # the page prints 100.667, where a 1e-8 inside the log makes the objective unbounded
    values, _ = poisson_counts()
    fit = nb.fit_em(nb.Counts(values[:, 0]), 1)
    assert fit.params.means[0] == pytest.approx(99.753, abs=1e-9)
    assert fit.log_likelihood == pytest.approx(-3690.99, abs=0.01)

    def printed(log_inv_disp):
        theta = np.array([np.log(99.753), log_inv_disp])
        return original_em.objective(theta, values, np.ones_like(values), AS_PRINTED)

    # below the true minimum, and the farther the larger the inverse dispersion
    assert printed(np.log(1e8)) < 3690.99 - 900
    assert printed(np.log(1e10)) < printed(np.log(1e8))


def test_mean_and_variance_of_the_negative_binomial_counts():
    # the page prints 2978.7653 and 2889291.14, a variance without its Poisson part
    values, _ = negative_binomial_counts()
    params = nb.fit_em(nb.Counts(values[:, 0]), 1).params
    mean, dispersion = params.means[0], params.dispersions[0]
    assert mean == pytest.approx(2978.728, abs=1e-6)
    assert mean == pytest.approx(2978.7653010814693, rel=2e-5)
    assert dispersion * mean**2 == pytest.approx(2889291.139179591, rel=2e-4)
    assert mean + dispersion * mean**2 == pytest.approx(2892269.90, rel=2e-4)


def test_objective_of_the_random_split():
    values, rng = negative_binomial_counts()
    assert split(values, rng)[1] == pytest.approx(36105.971716551685, abs=1e-8)
    # the cell had been run several times before it printed this
    _, printed = split(values, later_stream(12611, gauss_waiting=True))
    assert printed == pytest.approx(36078.88820426077, abs=1e-8)


def test_means_of_the_random_split():
    values, rng = negative_binomial_counts()
    held, _ = split(values, rng)
    assert held.sum(axis=0).tolist() == [471, 529]
    held, _ = split(values, later_stream(11607, gauss_waiting=False))
    assert held.sum(axis=0).tolist() == [498, 502]
    means = [values[held[:, j] == 1].mean() for j in (0, 1)]
    assert means == pytest.approx([2994.14859437751, 2963.430278884462], abs=1e-9)


def test_the_published_two_component_fit_is_one_negative_binomial():
    # the page prints 7.99922953 and 1.12198022 for the first two entries
    values, _ = negative_binomial_counts()
    params = nb.fit_em(nb.Counts(values[:, 0]), 1).params
    assert np.log(params.means[0]) == pytest.approx(7.99922953, abs=5e-5)
    assert np.log(params.inv_disps[0]) == pytest.approx(1.12198022, abs=5e-4)


@pytest.fixture(scope="module")
def separated():
    truth = nb.MixtureParams([0.4, 0.6], [10.0, 60.0], [0.2, 0.1])
    return nb.Counts(truth.sample(600, random_seed=3)[0])


def test_as_printed_it_raises(separated):
    with pytest.raises(IndexError):
        original_em.fit(separated.values, corrections=AS_PRINTED)
    columns_only = frozenset({original_em.Correction.KEEP_COLUMNS})
    with pytest.raises(ValueError, match="broadcast"):
        original_em.fit(separated.values, corrections=columns_only)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("corrections", ["MINIMAL", "INTENDED"])
def test_with_few_corrections_it_stops_at_the_pooled_distribution(separated, corrections):
    found = original_em.fit(separated.values, corrections=getattr(original_em, corrections))
    pooled = nb.fit_em(separated, 1)
    assert found.log_likelihood == pytest.approx(pooled.log_likelihood, abs=1.0)
    assert nb.fit_em(separated, 2, random_seed=0).log_likelihood > found.log_likelihood + 100


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_with_all_corrections_it_agrees_with_ours(separated):
    found = original_em.fit(separated.values)
    fit = nb.fit_em(separated, 2, random_seed=0)
    assert found.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-3)
    np.testing.assert_allclose(found.means, fit.params.means, rtol=1e-2)
    np.testing.assert_allclose(found.weights, fit.params.weights, atol=2e-3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_equal_mixing_is_the_pages_e_step(separated):
    corrections = original_em.ALL - {original_em.Correction.MIXING_WEIGHTS}
    found = original_em.fit(separated.values, corrections=corrections)
    fit = nb.fit_em(separated, 2, mixing="equal", random_seed=0)
    assert found.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-3)
    np.testing.assert_array_equal(fit.params.weights, 0.5)
    assert fit.log_likelihood < nb.fit_em(separated, 2, random_seed=0).log_likelihood
