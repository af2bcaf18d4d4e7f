"""One step of EM, each of its branches, against derivatives and maxima found in other ways."""

import math

import numpy as np
import pytest
from scipy import optimize

import pmnbmix as nb
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.design import HELD, Design
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.problem import Problem
from pmnbmix.point import em
from pmnbmix.point.em import run_em
from pmnbmix.point.objective import Objective, pack_point

SEEN = Counts([0, 1, 2, 5, 9, 30], frequency=[7, 5, 4, 3, 2, 1])
EXPOSED = Counts([0, 1, 2, 5, 9, 30], [0.5, 1.0, 3.0, 0.7, 1.0, 4.0], [7, 5, 4, 3, 2, 1])


def prior_of(mean=(0.0, 0.0), dispersion=(0.0, 0.0), exponent=0.0):
    """Centre and precision of the log mean and of the log dispersion."""
    loc, precision = np.array([(0.0, 0.0), mean, dispersion]).T
    return Prior(exponent, *(np.repeat(entry[:, None], 2, axis=1) for entry in (loc, precision)))


FLAT = prior_of()
PRIOR = prior_of((1.1, 0.5), (-0.8, 2.0))
# a long way down for the dispersion, with hardly any curvature
DOWN = prior_of(dispersion=(-400.0, 0.05))
BOTH = prior_of((1.0, 0.3), (-1.0, 0.4), 1.5)


def objective_of(table, k, prior=FLAT, constant=0.0, equal_weights=False):
    problem = Problem(nb.MixtureSpec(k), table, Design.of(k))
    free = problem.design.free.copy()
    if equal_weights:
        free[0] = HELD
    return Objective(problem, prior, constant, free)


def rows_and_mass(counts, seed=0):
    """The table and what a component holds of each row; of one row, nothing."""
    rows = objective_of(counts.table, 1).rows
    mass = counts.table.frequency * np.random.default_rng(seed).uniform(0.1, 0.9, 6)
    mass[2] = 0.0
    return rows, mass


def expected_density(counts, mass, prior):
    """What a step has to raise, from the public density, as a function of (log mean, log disp)."""
    table = counts.table

    def at(point):
        params = nb.MixtureParams([1.0], [math.exp(point[0])], [math.exp(point[1])])
        total = mass @ params.logpmf(table.values.astype(int), table.exposure)
        total -= 0.5 * prior.precision[1, 0] * (point[0] - prior.loc[1, 0]) ** 2
        return total - 0.5 * prior.precision[2, 0] * (point[1] - prior.loc[2, 0]) ** 2

    return at


def derivatives(function, point, h=1e-4):
    """Gradient and Hessian by central differences."""
    e = np.eye(2) * h
    gradient = [(function(point + d) - function(point - d)) / (2 * h) for d in e]
    hessian = [
        [
            (
                function(point + a + b)
                - function(point + a - b)
                - function(point - a + b)
                + function(point - a - b)
            )
            / (4 * h * h)
            for b in e
        ]
        for a in e
    ]
    return np.array(gradient), np.array(hessian)


@pytest.mark.parametrize("prior", [FLAT, PRIOR], ids=["flat", "prior"])
@pytest.mark.parametrize("counts", [SEEN, EXPOSED], ids=["one exposure", "exposures"])
def test_the_expected_density_is_that_of_the_public_density(counts, prior):
    rows, mass = rows_and_mass(counts)
    column = np.full(6, np.nan)
    found = em._expected_density(rows, mass, 1.2, -0.4, prior, 0, column)
    assert found == pytest.approx(expected_density(counts, mass, prior)([1.2, -0.4]), rel=1e-12)
    params = nb.MixtureParams([1.0], [math.exp(1.2)], [math.exp(-0.4)])
    table = counts.table
    expected = params.logpmf(table.values.astype(int), table.exposure)
    np.testing.assert_allclose(column, expected, rtol=1e-12)


def test_a_row_that_is_not_held_may_be_impossible():
    rows, mass = rows_and_mass(SEEN)
    mass[1:] = 0.0
    found = em._expected_density(rows, mass, -np.inf, 0.3, FLAT, 0, np.empty(6))
    assert found == 0.0


@pytest.mark.parametrize("prior", [FLAT, PRIOR], ids=["flat", "prior"])
@pytest.mark.parametrize("counts", [SEEN, EXPOSED], ids=["one exposure", "exposures"])
@pytest.mark.parametrize("point", [(1.2, -0.4), (1.5, 0.3), (1.3, 0.0)])
def test_near_the_maximum_a_step_is_newtons(counts, prior, point):
    rows, mass = rows_and_mass(counts)
    function = expected_density(counts, mass, prior)
    gradient, hessian = derivatives(function, np.array(point))
    assert np.linalg.eigvalsh(hessian).max() < 0
    step = -np.linalg.solve(hessian, gradient)
    assert np.abs(step).max() < 2
    *found, before = em._newton_step(rows, mass, *point, prior, 0, False)
    np.testing.assert_allclose(found, step, rtol=1e-4, atol=1e-6)
    assert before == pytest.approx(function(point), rel=1e-12)
    # with the mean held, the dispersion moves alone
    *alone, before = em._newton_step(rows, mass, *point, prior, 0, True)
    np.testing.assert_allclose(alone, [0.0, -gradient[1] / hessian[1, 1]], rtol=1e-4, atol=1e-6)
    assert before == pytest.approx(function(point), rel=1e-12)


@pytest.mark.parametrize(("prior", "direction"), [(FLAT, 1.0), (DOWN, -1.0)], ids=["up", "down"])
def test_where_curvature_is_of_the_wrong_sign_a_step_still_rises(prior, direction):
    """Far off, the mean takes its own step and the dispersion goes uphill by one."""
    rows, mass = rows_and_mass(EXPOSED)
    function = expected_density(EXPOSED, mass, prior)
    seen = set()
    for mean in np.linspace(-3.0, 6.0, 10):
        for dispersion in np.linspace(-8.0, 5.0, 14):
            gradient, hessian = derivatives(function, np.array([mean, dispersion]), h=1e-3)
            determinant = np.linalg.det(hessian)
            if min(abs(determinant), abs(hessian[1, 1])) < 1e-3 or determinant > 0:
                continue
            uphill = np.sign(gradient[1])
            newton = -gradient[1] / hessian[1, 1]
            own = newton if hessian[1, 1] < 0 else uphill
            expected = np.array([-gradient[0] / hessian[0, 0], own])
            expected *= min(1.0, 2.0 / np.abs(expected).max())
            *found, _ = em._newton_step(rows, mass, mean, dispersion, prior, 0, False)
            np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-4)
            longest = np.abs(expected).max() > 2 - 1e-9
            seen.add((bool(hessian[1, 1] < 0), uphill, bool(longest)))
    assert direction in {sign for flag, sign, _ in seen if not flag}
    assert True in {long for _, _, long in seen}


def test_a_step_is_at_most_two_long_and_keeps_its_direction():
    rows, mass = rows_and_mass(EXPOSED)
    strong = prior_of((50.0, 4.0), (-40.0, 3.0))
    function = expected_density(EXPOSED, mass, strong)
    gradient, hessian = derivatives(function, np.array([1.2, -0.4]))
    step = -np.linalg.solve(hessian, gradient)
    assert np.abs(step).max() > 2
    *found, _ = em._newton_step(rows, mass, 1.2, -0.4, strong, 0, False)
    np.testing.assert_allclose(found, step * 2 / np.abs(step).max(), rtol=1e-4)


def test_where_nothing_pulls_the_dispersion_it_stays():
    """A component of mean 0 has no slope in the dispersion, and no curvature either."""
    counts = Counts([0, 3], frequency=[6, 2])
    rows = objective_of(counts.table, 1).rows
    # the count that it cannot produce, it does not hold
    found = em._newton_step(rows, np.array([6.0, 0.0]), -800.0, 0.3, FLAT, 0, True)
    assert found == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("prior", [FLAT, PRIOR], ids=["flat", "prior"])
@pytest.mark.parametrize("counts", [SEEN, EXPOSED], ids=["one exposure", "exposures"])
@pytest.mark.parametrize("start", [(1.2, -0.4), (-2.0, -6.0), (6.0, 3.0), (1.0, 9.0)])
def test_steps_never_fall_and_end_at_the_maximum(counts, prior, start):
    rows, mass = rows_and_mass(counts)
    function = expected_density(counts, mass, prior)
    one_exposure = counts is SEEN
    best = optimize.minimize(
        lambda point: -function(point),
        [1.2, -0.4],
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-12},
    )
    point, column = start, np.empty(6)
    for _ in range(60):
        after = em._improve_component(rows, mass, *point, prior, 0, one_exposure, column)
        assert function(after) >= function(point) - 1e-10
        # the column is that of the point reached
        expected = em._expected_density(rows, mass, *after, prior, 0, np.empty(6))
        held = em.log_prior_at(prior, 0, *after) + mass @ column
        assert held == pytest.approx(expected, rel=1e-12)
        point = after
    np.testing.assert_allclose(point, best.x, atol=1e-5)


def test_a_step_that_would_fall_is_halved():
    """From here Newton's step overshoots; half of it, or a quarter, does not."""
    rows, mass = rows_and_mass(EXPOSED)
    function, halved = expected_density(EXPOSED, mass, FLAT), 0
    for mean in np.linspace(-3.0, 6.0, 10):
        for dispersion in np.linspace(-6.0, 5.0, 12):
            *step, before = em._newton_step(rows, mass, mean, dispersion, FLAT, 0, False)
            after = em._improve_component(rows, mass, mean, dispersion, FLAT, 0, False, np.empty(6))
            start, step = np.array([mean, dispersion]), np.array(step)
            times = next(n for n in range(20) if function(start + step / 2**n) >= before)
            np.testing.assert_allclose(after, start + step / 2**times, rtol=1e-9)
            halved += times > 0
    assert halved > 1


def test_a_component_that_holds_only_zeros_goes_to_mean_zero():
    rows, mass = rows_and_mass(SEEN)
    mass[1:] = 0.0
    column = np.full(6, np.nan)
    found = em._improve_component(rows, mass, 1.0, 0.5, FLAT, 0, True, column)
    assert found == (-np.inf, 0.5)
    np.testing.assert_array_equal(column, [0.0] + [-np.inf] * 5)
    # from there nothing is moved any more, and what the rows have is kept
    with_exposure = em._improve_component(rows, mass, -np.inf, 0.5, FLAT, 0, False, column)
    assert with_exposure == (-np.inf, 0.5)
    np.testing.assert_array_equal(column, [0.0] + [-np.inf] * 5)


def test_the_mean_is_the_ratio_of_sums_only_where_that_is_the_maximum():
    double = Counts([0, 1, 2, 5, 9, 30], [2.0] * 6, [7, 5, 4, 3, 2, 1])
    rows, mass = rows_and_mass(double)
    ratio = math.log(mass @ double.table.values / (2.0 * mass.sum()))
    found = em._improve_component(rows, mass, 0.0, -0.4, FLAT, 0, True, np.empty(6))
    assert found[0] == pytest.approx(ratio, rel=1e-12)
    # a prior on the mean, or exposures that differ, make it an ordinary coordinate
    at_zero = prior_of((0.0, 0.5))
    for prior, one_exposure in [(PRIOR, True), (at_zero, True), (FLAT, False)]:
        step, _, _ = em._newton_step(rows, mass, 0.0, -0.4, prior, 0, False)
        found = em._improve_component(rows, mass, 0.0, -0.4, prior, 0, one_exposure, np.empty(6))
        assert found[0] == pytest.approx(step, rel=1e-12)
        assert abs(found[0] - ratio) > 1e-3


def test_a_centre_without_precision_is_no_prior():
    rows, mass = rows_and_mass(SEEN)
    none = prior_of((1.1, 0.0), (-0.8, 0.0))
    for point in [(1.2, -0.4), (1.2, math.log(1e-12) + 0.1), (1.2, math.log(1e8) - 0.1)]:
        found = em._improve_component(rows, mass, *point, none, 0, True, np.empty(6))
        assert found == em._improve_component(rows, mass, *point, FLAT, 0, True, np.empty(6))
    start = np.array([[0.0], [1.0], [-60.0]])
    held = run_em(objective_of(SEEN.table, 1, none), start, 2, 0.0)
    np.testing.assert_array_equal(held[0], run_em(objective_of(SEEN.table, 1), start, 2, 0.0)[0])


@pytest.mark.parametrize("first", [0.25, 8.0, 1.0])
def test_without_priors_it_ends_where_the_gradient_is_zero(first):
    """Whether the first exposure is the least or the largest of all."""
    counts = Counts(SEEN.values, [first, *EXPOSED.exposure[1:]], SEEN.frequency)
    objective = objective_of(counts.table, 1)
    point, _, path = run_em(objective, np.array([[0.0], [1.0], [0.0]]), 3000, -1.0)
    gradient, _ = objective.derivatives(point)
    assert np.abs(gradient).max() < 1e-4
    assert (np.diff(path) >= 0).all()


def test_without_a_prior_the_dispersion_stays_in_its_range():
    same = Counts([5, 6], frequency=[500, 500])
    rows = objective_of(same.table, 1).rows
    mass, column = same.table.frequency.copy(), np.empty(2)
    for dispersion in (math.log(1e-12), math.log(1e-12) + 0.5):
        found = em._improve_component(rows, mass, 1.7, dispersion, FLAT, 0, True, column)
        assert found[1] == math.log(1e-12)
    # with one, it goes where the prior pulls
    pulled = prior_of(dispersion=(-40.0, 5.0))
    found = em._improve_component(rows, mass, 1.7, math.log(1e-12), pulled, 0, True, column)
    assert found[1] < math.log(1e-12) - 1.5
    wide = Counts([0, 10**6], frequency=[10**6, 1])
    rows = objective_of(wide.table, 1).rows
    mass, highest = wide.table.frequency.copy(), math.log(1e8)
    found = em._improve_component(rows, mass, 0.0, highest + 3, FLAT, 0, True, column)
    assert found[1] <= highest


def test_a_start_outside_the_range_is_brought_into_it():
    objective = objective_of(SEEN.table, 1)
    for given, kept in [(-60.0, math.log(1e-12)), (60.0, math.log(1e8)), (0.3, 0.3)]:
        point, path, _ = run_em(objective, np.array([[0.0], [1.0], [given]]), 0, 0.0)
        assert point[2, 0] == kept
        assert path.shape == (1,)
    held = objective_of(SEEN.table, 1, prior_of(dispersion=(0.0, 1.0)))
    point, _, _ = run_em(held, np.array([[0.0], [1.0], [-60.0]]), 0, 0.0)
    assert point[2, 0] == -60.0


TWO = nb.MixtureParams([0.3, 0.7], [0.8, 6.0], [0.5, 0.2])


def test_weights_of_one_iteration_with_a_prior_on_them():
    """With the exponent a of every weight: (n_j + a) / (n + k a)."""
    for exponent in (0.0, 2.5):
        objective = objective_of(EXPOSED.table, 2, prior_of(exponent=exponent))
        point, _, _ = run_em(objective, pack_point(TWO), 1, 0.0)
        table = EXPOSED.table
        held = TWO.responsibilities(table.values.astype(int), table.exposure)
        share = table.frequency @ held
        expected = (share + exponent) / (22 + 2 * exponent)
        np.testing.assert_allclose(np.exp(point[0]), expected, rtol=1e-12)


def test_paths_begin_at_the_start_and_end_at_the_point():
    objective = objective_of(EXPOSED.table, 2, BOTH, constant=-7.25)
    start = pack_point(TWO)
    for n_iter in (0, 1, 3):
        point, likelihood_path, density_path = run_em(objective, start, n_iter, 0.0)
        assert likelihood_path.shape == density_path.shape == (n_iter + 1,)
        for at, i in [(start, 0), (point, -1)]:
            assert likelihood_path[i] == pytest.approx(objective.log_likelihood(at), rel=1e-12)
            assert density_path[i] == pytest.approx(objective.value(at), rel=1e-12)
    np.testing.assert_array_equal(start, pack_point(TWO))


def test_it_stops_at_the_first_gain_below_the_tolerance():
    objective = objective_of(EXPOSED.table, 2, BOTH)
    gains = np.diff(run_em(objective, pack_point(TWO), 60, 0.0)[2])
    assert (gains >= 0).all()
    assert run_em(objective, pack_point(TWO), 60, 1e9)[2].size == 2
    for tolerance in (1.0, 0.1, 1e-3):
        found = np.diff(run_em(objective, pack_point(TWO), 60, tolerance)[2])
        assert (found[:-1] >= tolerance).all()
        assert found[-1] < tolerance
        np.testing.assert_allclose(found, gains[: found.size], rtol=1e-6)


def test_it_runs_on_to_the_last_bit_and_keeps_the_best_point():
    objective = objective_of(EXPOSED.table, 2, BOTH)
    point, _, path = run_em(objective, pack_point(TWO), 5000, -1.0)
    assert path.size < 5000
    assert (np.diff(path) >= 0).all()
    assert objective.value(point) == pytest.approx(path[-1], rel=1e-14)
    gradient, _ = objective.derivatives(point)
    assert np.abs(gradient).max() < 1e-4


def test_a_component_without_any_row_is_left_alone():
    """Its weight is what the prior gives it."""
    start = np.array([[-np.inf, 0.0], [3.0, 1.0], [0.2, -0.5]])
    point, _, _ = run_em(objective_of(SEEN.table, 2, prior_of(exponent=1.0)), start, 1, -np.inf)
    np.testing.assert_array_equal(point[1:, 0], [3.0, 0.2])


def test_a_component_of_less_than_one_observation_moves_too():
    start = np.array([np.log([1e-3, 1 - 1e-3]), [3.0, 1.0], [0.2, -0.5]])
    table = SEEN.table
    params = nb.MixtureParams(*np.exp(start))
    held = table.frequency * params.responsibilities(table.values.astype(int))[:, 0]
    assert held.sum() < 1
    point, _, _ = run_em(objective_of(table, 2), start, 1, 0.0)
    assert point[1, 0] == pytest.approx(np.log(held @ table.values / held.sum()), rel=1e-12)


def test_equal_weights_stay_what_they_are():
    start = np.array([np.log([0.5, 0.5]), [0.0, 2.0], [-1.0, -1.0]])
    point, _, _ = run_em(objective_of(SEEN.table, 2, equal_weights=True), start, 3, 0.0)
    np.testing.assert_array_equal(point[0], start[0])
    assert not np.array_equal(point[1], start[1])


def test_the_densities_of_the_rows_are_those_of_the_point():
    """After each iteration the rows are as a fresh start at that point would have them."""
    objective = objective_of(EXPOSED.table, 2)
    whole = run_em(objective, pack_point(TWO), 4, 0.0)[1]
    point, pieces = pack_point(TWO), []
    for _ in range(4):
        point, path, _ = run_em(objective, point, 1, 0.0)
        pieces.append(path[1])
    np.testing.assert_allclose(whole[1:], pieces, rtol=1e-12)
    rows = objective.log_densities(point)
    assert EXPOSED.table.frequency @ rows == pytest.approx(whole[-1], rel=1e-12)
