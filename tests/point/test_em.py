import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

import pmnbmix as nb
from pmnbmix.point.em import run_em
from pmnbmix.point.objective import (
    likelihood_objective,
    pack_point,
    prior_objective,
    unpack_point,
)
from pmnbmix.point.starts import start_pool

CRAB = nb.load_dataset("crab_satellites")


def one_iteration(objective, params):
    point, _, _ = run_em(objective, pack_point(params), 1, 0.0)
    return unpack_point(point)


def test_weights_of_one_iteration_are_mean_responsibilities():
    params = nb.MixtureParams([0.3, 0.7], [0.8, 6.0], [0.5, 0.2])
    after = one_iteration(likelihood_objective(CRAB, 2, False), params)
    expected = params.responsibilities(CRAB.values).mean(axis=0)
    np.testing.assert_allclose(after.weights, expected, rtol=1e-12)


def test_means_of_one_iteration_are_weighted_means():
    params = nb.MixtureParams([0.3, 0.7], [0.8, 6.0], [0.5, 0.2])
    after = one_iteration(likelihood_objective(CRAB, 2, False), params)
    held = params.responsibilities(CRAB.values)
    np.testing.assert_allclose(after.means, held.T @ CRAB.values / held.sum(0), rtol=1e-12)


def test_equal_mixing_is_the_softmax_of_the_component_densities():
    params = nb.MixtureParams([0.5, 0.5], [0.8, 6.0], [0.5, 0.2])
    after = one_iteration(likelihood_objective(CRAB, 2, True), params)
    np.testing.assert_array_equal(after.weights, [0.5, 0.5])
    held = np.exp(params.component_logpmf(CRAB.values))
    held /= held.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after.means, held.T @ CRAB.values / held.sum(0), rtol=1e-12)


def test_with_exposures_one_component_reaches_the_maximum_of_scipy():
    rng = np.random.default_rng(2)
    exposure = rng.lognormal(0.0, 1.0, 400)
    values, _ = nb.MixtureParams([1.0], [5.0], [0.4]).sample(400, rng, exposure)
    objective = likelihood_objective(nb.Counts(values, exposure), 1, False)
    point, path, _ = run_em(objective, np.log([[1.0], [1.0], [3.0]]), 500, 1e-12)

    def negative(coordinates):
        return (
            -nb.MixtureParams([1.0], *np.exp(coordinates)[:, None]).logpmf(values, exposure).sum()
        )

    best = optimize.minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9})
    assert path[-1] == pytest.approx(-best.fun, abs=1e-7)
    np.testing.assert_allclose(point[1:, 0], best.x, atol=1e-4)
    # the ratio of sums is not the maximum where exposures and overdispersion differ
    assert abs(np.exp(point[1, 0]) - values.sum() / exposure.sum()) > 0.01


RATES = st.lists(st.integers(0, 300), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(RATES, st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_the_objective_never_falls(values, k, with_exposure, with_prior, seed):
    rng = np.random.default_rng(seed)
    exposure = rng.lognormal(0.0, 1.0, len(values)) if with_exposure else None
    counts = nb.Counts(values, exposure)
    if with_prior:
        objective = prior_objective(counts, nb.MixtureSpec(k).resolve(counts), False)
    else:
        objective = likelihood_objective(counts, k, False)
    for _, start in start_pool(counts.table, k, rng):
        point, likelihood_path, density_path = run_em(objective, start, 20, 0.0)
        assert np.isfinite(density_path).all()
        assert (np.diff(density_path) >= 0).all()
        assert objective.value(point) == pytest.approx(density_path[-1], rel=1e-9, abs=1e-9)
        assert objective.log_likelihood(point) == pytest.approx(
            likelihood_path[-1], rel=1e-9, abs=1e-9
        )
