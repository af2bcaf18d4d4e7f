"""The walk with covariates: values and derivatives of regressions against independent arithmetic.

Two covariates act on the means, one with a coefficient that all
components share; one covariate acts on the weights; one component is pinned to Poisson.
"""

import mpmath
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.design import HELD, Design, Part
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.point.objective import Objective

K, N = 2, 300
FIRST, SECOND = np.random.default_rng(0).normal(size=(2, N))
ONES = np.ones(N)
OWN_AND_SHARED = Part(
    ("1", "first", "second"), np.column_stack([ONES, FIRST, SECOND]), (False, False, True)
)
ON_FIRST = Part(("1", "first"), np.column_stack([ONES, FIRST]), (False, False))


def problem_of(dispersions=None, families=("nb", "poisson"), levels=N):
    """Each row is a level of its own, or a few hundred rows share a few levels."""
    rng = np.random.default_rng(1)
    level = np.arange(N) % levels
    exposure = rng.lognormal(0.0, 0.4, N)
    rate = exposure * np.exp(0.8 + 0.5 * FIRST[level] - 0.3 * SECOND[level])
    values = np.sort(rng.poisson(rate * rng.choice([0.4, 2.5], N))).astype(float)
    table = CountTable(values, exposure, level, np.arange(N), rng.integers(1, 4, N).astype(float))
    parts = [
        Part(part.terms, part.matrix[:levels], part.shared) if part else None
        for part in (ON_FIRST, OWN_AND_SHARED, dispersions)
    ]
    design = Design.of(K, *parts, families=families)
    return Problem(nb.MixtureSpec(K, log_means=nb.NormalPrior(0.7, 1.5)), table, design)


def cases():
    return [
        pytest.param(problem_of(), id="one component Poisson"),
        pytest.param(problem_of(families=()), id="both negative binomial"),
        pytest.param(problem_of(ON_FIRST, ()), id="dispersions with a covariate"),
        pytest.param(problem_of(levels=7), id="seven levels"),
    ]


def objective_of(problem):
    concentration = problem.spec.weights.concentration
    return Objective(problem, problem.prior(concentration), 0.0, problem.design.free)


def slow_log_density(problem, point, digits=30):
    """Log likelihood from the formulas of the model, at a point of floats or of more digits."""
    table, design = problem.table, problem.design
    of_weights, of_means = len(design.weights.terms), len(design.means.terms)
    parts = (design.weights, design.means, design.dispersions)
    rows = (
        point[:of_weights],
        point[of_weights : of_weights + of_means],
        point[of_weights + of_means :],
    )
    with mpmath.workdps(digits):
        total = mpmath.mpf(0)
        for u in range(table.values.size):
            x, level = int(table.values[u]), table.level[u]
            logits, log_means, log_dispersions = (
                [
                    mpmath.fsum(
                        mpmath.mpf(float(part.matrix[level if len(part.matrix) > 1 else 0, t]))
                        * mpmath.mpf(coefficients[t, j])
                        for t in range(len(part.terms))
                        if not mpmath.isinf(coefficients[t, j])
                    )
                    if not mpmath.isinf(coefficients[0, j])
                    else -mpmath.inf
                    for j in range(K)
                ]
                for part, coefficients in zip(parts, rows, strict=True)
            )
            shares = [mpmath.exp(logit) for logit in logits]
            density = mpmath.mpf(0)
            for j in range(K):
                m = mpmath.mpf(float(table.exposure[u])) * mpmath.exp(log_means[j])
                if log_dispersions[j] == -mpmath.inf:
                    term = x * mpmath.log(m) - m - mpmath.loggamma(x + 1)
                else:
                    r = mpmath.exp(-log_dispersions[j])
                    term = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
                    term += r * mpmath.log(r / (r + m)) + x * mpmath.log(m / (r + m))
                density += shares[j] / mpmath.fsum(shares) * mpmath.exp(term)
            total += int(table.frequency[u]) * mpmath.log(density)
        return total


def slow_log_prior(problem, point):
    """Normals on the coefficients, a shared one once; the weights at the centre."""
    spec, design = problem.spec, problem.design
    of_weights, of_means = len(design.weights.terms), len(design.means.terms)
    log_weights = point[0] - np.logaddexp.reduce(point[0])
    total = spec.weights.concentration * log_weights.sum() - 0.5 * (point[1:of_weights] ** 2).sum()
    for part, stated, first in (
        (design.means, spec.log_means, of_weights),
        (design.dispersions, spec.log_dispersions, of_weights + of_means),
    ):
        for t, shared in enumerate(part.shared):
            loc, scale = (stated.loc, stated.scale) if t == 0 else (0.0, 1.0)
            row = point[first + t]
            row = row[:1] if shared else row[design.free[first + t] != HELD]
            total -= 0.5 * (((row - loc) / scale) ** 2).sum()
    return total


def random_packed(problem, seed):
    return np.random.default_rng(seed).normal(0.0, 0.5, problem.design.size)


@pytest.mark.parametrize("problem", cases())
def test_both_kernels_give_the_log_density_of_the_formulas(problem):
    packed = random_packed(problem, 2)
    point = problem.design.unpack(packed)
    expected = float(slow_log_density(problem, point))
    objective = objective_of(problem)
    assert objective.log_likelihood(point) == pytest.approx(expected, rel=1e-13)
    value, _ = make_target(problem).log_density(packed)
    assert value == pytest.approx(expected + slow_log_prior(problem, point), rel=1e-12)
    assert objective.log_prior(point) == pytest.approx(slow_log_prior(problem, point), rel=1e-13)


@pytest.mark.parametrize("problem", cases())
def test_the_gradient_of_nuts_is_that_of_the_exact_walk_and_of_differences(problem):
    packed, target = random_packed(problem, 3), make_target(problem)
    _, gradient = target.log_density(packed)
    step = 1e-5
    slopes = [
        (target.log_density(packed + h)[0] - target.log_density(packed - h)[0]) / (2 * step)
        for h in step * np.eye(packed.size)
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())
    objective = objective_of(problem)
    point = problem.design.unpack(packed)
    exact = problem.design.pull_gradient(objective.derivatives(point)[0])
    np.testing.assert_allclose(gradient, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("problem", cases())
def test_the_hessian_is_that_of_differences_of_the_gradient(problem):
    packed, design = random_packed(problem, 4), problem.design
    objective = objective_of(problem)

    def gradient(at):
        return design.pull_gradient(objective.derivatives(design.unpack(at))[0])

    step = 1e-5
    slopes = np.array(
        [
            (gradient(packed + h) - gradient(packed - h)) / (2 * step)
            for h in step * np.eye(packed.size)
        ]
    )
    hessian = design.pull_hessian(objective.derivatives(design.unpack(packed))[1])
    np.testing.assert_allclose(hessian, slopes, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())


def test_derivatives_agree_with_fifty_digits():
    """Own and shared slopes, weights and dispersions that follow a covariate, one Poisson."""
    whole = problem_of(ON_FIRST)
    table = whole.table.taken(np.arange(0, N, 40))
    parts = [
        Part(part.terms, np.ascontiguousarray(part.matrix[table.level]), part.shared)
        for part in (whole.design.weights, whole.design.means, whole.design.dispersions)
    ]
    table = CountTable(
        table.values, table.exposure, np.arange(table.values.size), table.unit, table.frequency
    )
    problem = Problem(whole.spec, table, Design.of(K, *parts, families=("nb", "poisson")))
    design = problem.design
    objective = Objective(problem, problem.flat_prior(), 0.0, design.free)
    packed = random_packed(problem, 5)

    def value(*coordinates):
        # the entries follow the coordinates linearly; the constant part is what does not move
        point = np.where(np.isnan(design.pinned), 0.0, design.pinned).astype(object)
        change = design._jacobian.reshape(*design.free.shape, -1)
        for place in np.ndindex(*design.free.shape):
            if not np.isinf(float(point[place])):
                point[place] = mpmath.fsum(
                    mpmath.mpf(c) * x for c, x in zip(change[place], coordinates, strict=True) if c
                )
        # differences are taken with more digits than they are wanted to
        return slow_log_density(problem, point, mpmath.mp.dps)

    def exact(*order):
        n = [order.count(i) for i in range(packed.size)]
        with mpmath.workdps(50):
            return float(mpmath.diff(value, tuple(map(mpmath.mpf, packed)), tuple(n)))

    gradient, hessian = objective.derivatives(design.unpack(packed))
    size = range(packed.size)
    np.testing.assert_allclose(
        design.pull_gradient(gradient), [exact(i) for i in size], rtol=1e-10, atol=1e-12
    )
    pulled = design.pull_hessian(hessian)
    of_hessian = [[exact(i, j) for j in size] for i in size]
    scale = np.abs(pulled).max()
    np.testing.assert_allclose(pulled, of_hessian, rtol=1e-10, atol=1e-12 * scale)


def test_levels_that_are_the_same_give_the_plain_model_to_the_last_bit():
    counts = nb.Counts([0, 1, 2, 7, 30], [0.5, 1.0, 3.0, 0.1, 1.0], [9, 4, 1, 2, 1])
    spec = nb.MixtureSpec(2).resolve(counts)
    plain = Problem.of(counts, spec)
    assert plain.design.free.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert plain.design.place.tolist() == [[0, -1], [1, 2], [3, 4]]
    point = np.array([np.log([0.3, 0.7]), [0.2, 2.0], [-1.0, 0.3]])
    packed = plain.design.pack(point)
    np.testing.assert_allclose(plain.design.unpack(packed), point, rtol=1e-14)
    # the same rows, told to be of two levels that are alike
    table = counts.table
    apart = CountTable(table.values, table.exposure, np.arange(5) % 2, table.unit, table.frequency)
    twice = Part(("1",), np.ones((2, 1)), (False,))
    leveled = Problem(spec, apart, Design.of(2, twice, twice, twice))
    for one, other in zip(
        objective_of(plain).derivatives(point),
        objective_of(leveled).derivatives(point),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
    one, other = (make_target(each).log_density(packed) for each in (plain, leveled))
    assert one[0] == pytest.approx(other[0], rel=1e-14)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-12)


def test_a_shared_coefficient_is_one_coordinate_and_a_pinned_one_none():
    design = problem_of().design
    # two terms of the weights, three of the means (the last shared), one of the dispersions
    assert design.free.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 8], [9, HELD]]
    assert design.size == 2 + 5 + 1
    point = design.unpack(np.arange(1.0, 9.0))
    assert point[4, 0] == point[4, 1]
    assert point[5, 1] == -np.inf
    assert point[1].sum() == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(design.pack(point), np.arange(1.0, 9.0))
