"""The density and its derivatives against 80-digit arithmetic, in every corner."""

import functools
import itertools

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from pmnbmix.mixture import density, levels
from pmnbmix.mixture.levels import mixture_rows, one_level, responsibilities_table, rows_at
from pmnbmix.mixture.special import (
    digamma_excess,
    log1pmx,
    polygamma_excesses,
    polygamma_gaps,
    stirling_remainder,
)

COUNTS = [0, 1, 2, 5, 14, 15, 16, 100, 10**4, 10**6, 10**9]
MEANS = [1e-8, 1e-4, 0.01, 0.5, 3.0, 20.0, 500.0, 1e4, 1e6, 1e9]
INV_DISPS = [1e-6, 1e-3, 0.1, 1.0, 3.7, 14.9, 15.1, 100.0, 1e4, 1e6, 1e8, 1e10, 1e12, 1e15]
GRID = list(itertools.product(COUNTS, MEANS, INV_DISPS))


def component_table(values, exposure, means, inv_disps):
    mixture = one_level(np.zeros(means.size), means, inv_disps)
    return levels.component_table(rows_at(values, exposure), mixture)


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(80):
        yield


@functools.cache
def gamma_parts(x, r):
    """What does not depend on the mean: of log gamma, digamma and trigamma."""
    return (
        mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1),
        mpmath.digamma(x + r) - mpmath.digamma(r) - mpmath.log((r + x) / r),
        mpmath.psi(1, x + r) - mpmath.psi(1, r) - 1 / (r + x) + 1 / r,
    )


@functools.cache
def exact(x, m, r):
    """Log density and its derivatives in log mean and log dispersion, with their ingredients."""
    x, m, r = mpmath.mpf(x), mpmath.mpf(m), mpmath.mpf(r)
    combinations, gap, curved = gamma_parts(x, r)
    value = combinations - r * mpmath.log1p(m / r) + x * mpmath.log(m / (r + m))
    ratio = mpmath.log((r + x) / (r + m)) - (x - m) / (r + m)
    square = (x - m) ** 2 / ((r + x) * (r + m) ** 2)
    return {
        "value": value,
        "by_mean": r * (x - m) / (r + m),
        "by_dispersion": -r * (gap + ratio),
        "by_dispersion_twice": r * (gap + ratio) + r**2 * (curved + square),
        "first_size": r * (abs(gap) + abs(ratio)),
        "second_size": r * (abs(gap) + abs(ratio)) + r**2 * (abs(curved) + abs(square)),
    }


def jet(x, m, r):
    """Log density and its five derivatives, as the package computes them."""
    x = float(x)
    return density.component_jet(x, density.count_constant(x), m, r, *density.inverse_constants(r))


def value(x, m, r):
    """Log density, as the package computes it where no derivative is wanted."""
    x = float(x)
    remainder = density.inverse_constants(r)[0]
    return density.component_value(x, density.count_constant(x), m, r, remainder)


def error(found, expected, size=1):
    return float(abs(found - expected) / max(size, abs(expected)))


def test_log_density_is_exact_to_the_thirteenth_digit():
    worst = max((error(value(x, m, r), exact(x, m, r)["value"]), x, m, r) for x, m, r in GRID)
    assert worst[0] < 1e-13, worst


def test_the_log_density_beside_its_derivatives_is_as_exact():
    worst = max((error(jet(x, m, r)[0], exact(x, m, r)["value"]), x, m, r) for x, m, r in GRID)
    assert worst[0] < 1e-13, worst


def test_derivatives_are_exact_and_never_of_the_wrong_sign():
    for x, m, r in GRID:
        expected = exact(x, m, r)
        _, by_mean, by_dispersion, *_ = jet(x, m, r)
        assert abs(by_mean - expected["by_mean"]) <= 1e-13 * abs(expected["by_mean"]), (x, m, r)
        assert error(by_dispersion, expected["by_dispersion"]) < 1e-13, (x, m, r)
        assert np.sign(by_dispersion) == mpmath.sign(expected["by_dispersion"]), (x, m, r)


def test_second_derivatives_are_exact_relative_to_their_parts():
    for x, m, r in GRID:
        expected = exact(x, m, r)
        *_, mean_mean, mean_dispersion, twice = jet(x, m, r)
        x_, m_, r_ = mpmath.mpf(x), mpmath.mpf(m), mpmath.mpf(r)
        assert error(mean_mean, -r_ * m_ * (r_ + x_) / (r_ + m_) ** 2, 1e-300) < 1e-13
        cross = -r_ * (x_ - m_) * m_ / (r_ + m_) ** 2
        assert abs(mean_dispersion - cross) <= 1e-13 * abs(cross)
        gap = abs(twice - expected["by_dispersion_twice"])
        assert gap <= 1e-13 * expected["second_size"] + mpmath.mpf("1e-300"), (x, m, r)


@pytest.mark.parametrize("x", [0, 1, 3, 40, 10**6])
@pytest.mark.parametrize("m", [1e-6, 0.7, 25.0, 1e6])
def test_infinite_inverse_dispersion_is_poisson(x, m):
    expected = x * mpmath.log(m) - m - mpmath.loggamma(x + 1)
    found = value(x, m, np.inf)
    assert error(found, expected) < 1e-14
    assert jet(x, m, np.inf) == (found, x - m, 0.0, -m, 0.0, 0.0)


@pytest.mark.parametrize("x", [0, 1, 3, 40])
def test_the_density_runs_smoothly_into_poisson(x):
    limit = value(x, 7.0, np.inf)
    slope = 0.5 * ((x - 7.0) ** 2 - x)
    for dispersion in (1e-5, 1e-7, 1e-9):
        near = value(x, 7.0, 1 / dispersion)
        # what is left is of second order in the dispersion
        assert abs(near - limit - slope * dispersion) < 1e4 * dispersion**2 + 1e-14


def test_mean_zero_is_a_point_mass():
    assert value(0, 0.0, 2.0) == 0.0
    assert value(3, 0.0, 2.0) == -np.inf


@pytest.mark.parametrize("z", [1e-6, 0.3, 1.0, 7.5, 14.99, 15.0, 15.01, 300.0, 1e8, 1e15])
def test_special_functions(z):
    exact_z = mpmath.mpf(z)
    stirling = mpmath.loggamma(exact_z) - (exact_z - 0.5) * mpmath.log(exact_z) + exact_z
    assert error(stirling_remainder(z), stirling - mpmath.log(2 * mpmath.pi) / 2) < 1e-14
    excess = mpmath.digamma(exact_z) - mpmath.log(exact_z)
    assert error(digamma_excess(z), excess, abs(excess)) < 1e-13
    for x in (1.0, 50.0, 1e9):
        other = exact_z + x
        gap = mpmath.digamma(other) - mpmath.digamma(exact_z) - mpmath.log(other / exact_z)
        curved = mpmath.psi(1, other) - mpmath.psi(1, exact_z) - 1 / other + 1 / exact_z
        found = polygamma_gaps(z, x, *polygamma_excesses(z))
        assert error(found[0], gap, abs(gap)) < 1e-12
        assert error(found[1], curved, abs(curved)) < 1e-12


@pytest.mark.parametrize("t", [-0.999, -0.31, -0.29, -1e-5, 0.0, 1e-12, 0.01, 0.39, 0.41, 50.0])
def test_log1pmx(t):
    exact_t = mpmath.mpf(t)
    expected = mpmath.log1p(exact_t) - exact_t
    assert error(log1pmx(t), expected, abs(expected) or 1) < 1e-14


@pytest.mark.parametrize("inv_disp", [1e-4, 0.5, 3.0, 1e4, 1e11, 1e13, np.inf])
@pytest.mark.parametrize("mean", [1e-4, 0.5, 30.0])
def test_distribution_function_is_the_sum_of_the_density(mean, inv_disp):
    values = np.arange(0, 60, dtype=float)
    table = component_table(values, np.ones(60), np.array([mean]), np.array([inv_disp]))
    found = density.component_cdf(values, np.array(mean), np.array(inv_disp))
    np.testing.assert_allclose(found, np.cumsum(np.exp(table[:, 0])), rtol=1e-9)


def test_distribution_function_at_its_edges():
    found = density.component_cdf(np.array([-1.0, 0.0, 4.0]), np.array(0.0), np.array(2.0))
    np.testing.assert_array_equal(found, [0.0, 1.0, 1.0])


def test_ordinary_values_equal_scipy():
    values = np.arange(40, dtype=float)
    table = component_table(values, np.full(40, 1.5), np.array([0.4, 8.0]), np.array([0.7, 4.0]))
    for k, (mean, inv_disp) in enumerate([(0.6, 0.7), (12.0, 4.0)]):
        expected = stats.nbinom.logpmf(values, inv_disp, inv_disp / (inv_disp + mean))
        np.testing.assert_allclose(table[:, k], expected, rtol=1e-10)


def test_an_impossible_row_has_no_responsibilities():
    arrays = (np.log([0.5, 0.5]), np.zeros(2), np.ones(2))
    table = responsibilities_table(rows_at(np.array([0.0, 2.0]), np.ones(2)), one_level(*arrays))
    np.testing.assert_array_equal(table[0], [0.5, 0.5])
    assert np.isnan(table[1]).all()
    assert density.log_sum_exp(np.array([-np.inf, -np.inf])) == -np.inf


def test_a_mean_of_zero_has_derivatives_too():
    """Only a count above 0 could pull the mean up, with a slope of that count in the log mean."""
    assert jet(0, 0.0, 2.0) == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert jet(3, 0.0, 2.0) == (-np.inf, 3.0, 0.0, 0.0, 0.0, 0.0)
    assert jet(3, 0.0, np.inf) == (-np.inf, 3.0, 0.0, 0.0, 0.0, 0.0)


def test_the_constant_of_a_count_is_what_its_factorial_leaves():
    """log x! - x log x + x, which is 0 at 0."""
    values = np.array([0.0, 1.0, 4.0, 300.0])
    expected = special.gammaln(values + 1) - special.xlogy(values, values) + values
    np.testing.assert_allclose(density.count_constants(values), expected, rtol=1e-12)


def test_the_constants_of_the_poisson_limit_are_zero():
    assert density.inverse_constants(np.inf) == (0.0, 0.0, 0.0)
    table = component_table(np.array([4.0]), np.ones(1), np.array([3.0]), np.array([np.inf]))
    np.testing.assert_allclose(table, [[stats.poisson.logpmf(4, 3.0)]], rtol=1e-14)


@pytest.mark.parametrize(
    ("x", "m", "r"),
    [(40, 3.0, 2.0), (400, 3.0, 5.0), (0, 1e-9, 1e3), (60, 20.0, 1e10), (5, 1e-6, 0.1)],
)
def test_the_upper_tail_is_exact_where_it_is_tiny(x, m, r):
    m_, r_ = mpmath.mpf(m), mpmath.mpf(r)
    expected = mpmath.betainc(x + 1, r_, 0, m_ / (r_ + m_), regularized=True)
    found = density.component_sf(np.array(float(x)), np.array(m), np.array(r))
    assert error(float(found), expected, 1e-300) < 1e-9


@pytest.mark.parametrize("mean", [0.3, 40.0])
def test_the_upper_tail_of_poisson(mean):
    values = np.arange(100, dtype=float)
    expected = stats.poisson.sf(values, mean)
    for inv_disp in (1e14, np.inf):
        found = density.component_sf(values, np.array(mean), np.array(inv_disp))
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_upper_tail_of_large_means_is_poissons_only_where_that_is_exact():
    """A variance larger by 2e-7 shows in the seventh digit, three standard deviations out."""
    values = np.arange(1_003_001, 1_015_000, dtype=float)
    mean, inv_disp = np.array([1e6]), np.array([5e12])
    expected = np.exp(component_table(values, np.ones(values.size), mean, inv_disp)).sum()
    found = density.component_sf(np.array(1_003_000.0), mean, inv_disp)
    assert found[0] == pytest.approx(expected, rel=2e-8)
    poisson = density.component_sf(np.array(1_003_000.0), mean, np.array([np.inf]))
    assert abs(poisson[0] / expected - 1) > 5e-7


def test_the_upper_tail_at_its_edges():
    values = np.array([-1.0, 0.0, 4.0])
    np.testing.assert_array_equal(
        density.component_sf(values, np.array(0.0), np.array(2.0)), [1.0, 0.0, 0.0]
    )
    with_mean = density.component_sf(values, np.array(1.0), np.array([2.0, 2.0, np.inf]))
    expected = [1.0, 1 - (2 / 3) ** 2, stats.poisson.sf(4, 1.0)]
    np.testing.assert_allclose(with_mean, expected, rtol=1e-13)


VALUES = np.array([0.0, 1.0, 4.0, 30.0])
EXPOSURE = np.array([1.0, 0.5, 2.0, 3.0])
MIXTURE = (np.log([0.2, 0.5, 0.3]), np.array([0.5, 4.0, 11.0]), np.array([0.7, 3.0, np.inf]))


def slow_table():
    """Densities of the components with their weights, (n_unique, n_components), from scipy."""
    log_weights, means, inv_disps = MIXTURE
    m = EXPOSURE[:, None] * means
    table = np.empty(m.shape)
    finite = inv_disps[:2]
    table[:, :2] = stats.nbinom.pmf(VALUES[:, None], finite, finite / (finite + m[:, :2]))
    table[:, 2] = stats.poisson.pmf(VALUES, m[:, 2])
    return table * np.exp(log_weights)


def test_the_mixture_is_the_weighted_sum_of_its_components():
    found = mixture_rows(rows_at(VALUES, EXPOSURE), one_level(*MIXTURE))
    np.testing.assert_allclose(found, np.log(slow_table().sum(axis=1)), rtol=1e-12)


def test_responsibilities_are_shares_of_the_mixture():
    expected = slow_table()
    expected /= expected.sum(axis=1, keepdims=True)
    found = responsibilities_table(rows_at(VALUES, EXPOSURE), one_level(*MIXTURE))
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_log_sum_exp_neither_overflows_nor_underflows():
    terms = np.log([2.0, 3.0, 5.0])
    for shift in (0.0, -2000.0, 2000.0):
        assert density.log_sum_exp(terms + shift) == pytest.approx(np.log(10) + shift, rel=1e-14)
    assert density.log_sum_exp(np.array([-np.inf, 1.5])) == 1.5
    assert density.log_sum_exp(np.array([np.inf, 1.5])) == np.inf


@pytest.mark.parametrize("dispersion", [0.0, 1e-3, 0.4, 3.0])
@pytest.mark.parametrize("exposure", [0.25, 1.0, 6.0])
def test_rates_given_a_count_follow_from_the_density_of_the_next_counts(dispersion, exposure):
    """E(rate | x) = (x + 1) p(x + 1) / (s p(x)) whatever rates are drawn from (Robbins 1956)."""
    mean, inv_disp = 2.5, 1 / dispersion if dispersion else np.inf
    for x in (0.0, 1.0, 9.0):
        p = [np.exp(value(x + step, exposure * mean, inv_disp)) for step in range(3)]
        first = (x + 1) * p[1] / p[0] / exposure
        second = (x + 1) * (x + 2) * p[2] / p[0] / exposure**2
        rate, variance = density.conditional_rates(
            np.array(mean), np.array(dispersion), np.array(x), np.array(exposure)
        )
        assert float(rate) == pytest.approx(first, rel=1e-11)
        assert float(variance) == pytest.approx(second - first**2, rel=1e-8, abs=1e-9)
