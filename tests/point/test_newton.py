import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.point.newton import climb, escape
from pmnbmix.point.objective import likelihood_objective, pack_point, prior_objective

CRAB = nb.load_dataset("crab_satellites")


def test_gradient_vanishes_where_a_climb_ends():
    counts = nb.load_dataset("doctor_visits")
    objective = prior_objective(counts, nb.MixtureSpec(2).resolve(counts), True)
    arrived = climb(objective, pack_point(nb.MixtureParams([0.7, 0.3], [2.0, 6.0], [1.0, 1.0])))
    assert arrived.converged
    assert arrived.uphill is None
    gradient, hessian = objective.derivatives(arrived.point)
    assert np.abs(gradient).max() < 1e-3
    # the redundant logit has eigenvalue 0, all others are below
    assert np.linalg.eigvalsh(hessian)[-2] < 0
    assert (np.diff(arrived.path) > 0).all()


def test_underdispersed_counts_end_at_the_poisson_edge():
    counts = nb.Counts([4, 5, 5, 6, 5, 4, 6])
    arrived = climb(likelihood_objective(counts, 1, False), np.log([[1.0], [4.0], [0.3]]))
    assert arrived.converged
    assert np.isneginf(arrived.point[2, 0])
    assert np.exp(arrived.point[1, 0]) == pytest.approx(5.0)


def test_an_edge_that_is_not_the_maximum_is_left():
    start = np.log([[1.0], [2.9], [1.0]])
    start[2, 0] = -np.inf
    arrived = climb(likelihood_objective(CRAB, 1, False), start)
    assert np.exp(arrived.point[2, 0]) == pytest.approx(1.3197, abs=1e-3)


def test_an_empty_component_that_helps_is_filled():
    start = np.log([[1.0, 1e-300], [2.9, 0.1], [1.3, 0.1]])
    start[0] = [0.0, -np.inf]
    arrived = climb(likelihood_objective(CRAB, 2, False), start)
    assert arrived.value > -368.75


def test_a_saddle_is_recognised_and_left():
    equal = pack_point(nb.MixtureParams([0.5, 0.5], [2.919, 2.919], [1.3197, 1.3197]))
    objective = likelihood_objective(CRAB, 2, False)
    stuck = climb(objective, equal)
    assert stuck.value == pytest.approx(-383.7046, abs=1e-3)
    assert stuck.uphill is not None
    above = escape(objective, stuck)
    assert above is not None
    assert above.value > -368.75


@pytest.mark.parametrize("dispersion", [0.0, 1e-12, 1e-9])
def test_next_to_poisson_is_no_place_to_stay(dispersion):
    # gradient and curvature vanish with the dispersion, and Newton alone would call it converged
    values, _ = nb.MixtureParams([1.0], [0.2], [1.0]).sample(1000, random_seed=4)
    objective = likelihood_objective(nb.Counts(values), 1, False)
    start = np.array([[0.0], [np.log(values.mean())], [-np.inf]])
    if dispersion:
        start[2] = np.log(dispersion)
    arrived = climb(objective, start)
    best = nb.fit_em(nb.Counts(values), 1)
    assert arrived.value == pytest.approx(best.log_likelihood, abs=1e-8)
    assert arrived.converged


def test_a_dispersion_that_cannot_be_told_from_zero_is_zero():
    counts = nb.Counts([2**53, 0, 1])
    for k in (1, 2, 3, 5):
        fit = nb.fit_em(counts, k, random_seed=0)
        excess = fit.params.dispersions * fit.params.means
        assert ((excess == 0) | (excess > 1e-6)).all()
