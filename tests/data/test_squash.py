"""Squashed tables: the Gauss rule against its definition, and what a table must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pmnbmix as nb
from pmnbmix.data.squash import gauss_rule, squash
from pmnbmix.data.table import CountTable
from pmnbmix.point.objective import likelihood_objective, pack_point


def test_gauss_rule_is_legendre_for_uniform_points():
    # the midpoint rule of this many points stands for the integral to 1e-7
    position = np.linspace(-1, 1, 20001)
    where, mass = gauss_rule(position, np.full(20001, 1 / 20001), 5)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    np.testing.assert_allclose(where, nodes, atol=1e-3)
    np.testing.assert_allclose(mass, weights / 2, atol=1e-3)


@settings(deadline=None)
@given(
    hnp.arrays(float, st.integers(7, 40), elements=st.floats(-5, 5, width=32), unique=True),
    st.integers(1, 6),
    st.integers(0, 2**31),
)
def test_gauss_rule_integrates_polynomials_of_degree_2m_minus_1(position, nodes, seed):
    position = np.sort(position)
    weight = np.random.default_rng(seed).uniform(0.5, 2.0, position.size)
    where, mass = gauss_rule(position, weight, nodes)
    assert (mass > 0).all()
    assert where.min() >= position[0] - 1e-9
    assert where.max() <= position[-1] + 1e-9
    # in the coordinate of the rule, so that powers do not overflow their digits
    middle, half = 0.5 * (position[0] + position[-1]), 0.5 * (position[-1] - position[0])
    for degree in range(2 * nodes):
        expected = weight @ ((position - middle) / half) ** degree
        found = mass @ ((where - middle) / half) ** degree
        assert found == pytest.approx(expected, abs=1e-9 * weight.sum())


def exposed(n=4000, spread=1.0, seed=3):
    rng = np.random.default_rng(seed)
    exposure = np.exp(rng.normal(0, spread, n))
    values, _ = nb.MixtureParams([0.6, 0.4], [0.5, 8.0], [0.5, 0.0]).sample(n, rng, exposure)
    return nb.Counts(values, exposure)


def test_a_squashed_table_keeps_observations_and_mean_log_exposure_of_each_count():
    table = exposed().table
    small = squash(table, 0.5, 6)
    assert small.values.size < 0.5 * table.values.size
    assert (small.frequency > 0).all()
    order = np.lexsort((small.exposure, small.values))
    np.testing.assert_array_equal(order, np.arange(order.size))
    for value in np.unique(table.values):
        rows, few = table.values == value, small.values == value
        assert small.frequency[few].sum() == pytest.approx(table.frequency[rows].sum())
        log_sum = table.frequency[rows] @ np.log(table.exposure[rows])
        assert small.frequency[few] @ np.log(small.exposure[few]) == pytest.approx(log_sum)


def test_bins_with_few_rows_are_kept_to_the_last_bit():
    table = nb.Counts([3, 3, 3, 9], [0.1, 0.1 + 1e-12, 7.7, 2.0], [5, 1, 2, 4]).table
    small = squash(table, 0.5, 6)
    np.testing.assert_array_equal(small.exposure, table.exposure)
    np.testing.assert_array_equal(small.frequency, table.frequency)


def test_the_error_falls_as_nodes_are_added():
    counts = exposed()
    objective = likelihood_objective(counts, 2, False)
    point = pack_point(nb.MixtureParams([0.5, 0.5], [0.6, 7.0], [0.4, 0.05]))
    exact = objective.log_likelihood(point)
    errors = [
        abs(objective.on(squash(counts.table, 0.5, nodes)).log_likelihood(point) - exact)
        for nodes in (2, 4, 8)
    ]
    assert errors[0] > 30 * errors[1]
    assert errors[1] > 30 * errors[2]
    assert errors[2] < 1e-7


def test_exposures_that_differ_in_their_last_bits_only_become_one_row():
    exposure = [1e3]
    for _ in range(7):
        exposure.append(np.nextafter(exposure[-1], 2e3))
    rng = np.random.default_rng(0)
    rest = np.exp(rng.normal(0, 1, 4000))
    counts = nb.Counts([3] * 8 + rng.poisson(3 * rest).tolist(), [*exposure, *rest])
    small = squash(counts.table, 0.5, 6)
    assert np.isfinite(small.exposure).all()
    assert small.n == pytest.approx(counts.n)
    assert nb.fit_em(counts, 1).status is not nb.Status.MAX_ITER


def test_rows_of_different_levels_are_squashed_apart():
    rng = np.random.default_rng(0)
    exposure = np.sort(rng.lognormal(0.0, 0.2, 400))
    plain = CountTable.plain(np.full(400, 3.0), exposure, np.ones(400))
    one = squash(plain, 5.0, 6)
    assert one.values.size == 6
    # the same exposures at two levels, sorted by level
    twice = CountTable(
        np.full(800, 3.0),
        np.tile(exposure, 2),
        np.repeat([4, 9], 400),
        np.arange(800),
        np.ones(800),
    )
    two = squash(twice, 5.0, 6)
    np.testing.assert_array_equal(two.level, np.repeat([4, 9], 6))
    np.testing.assert_array_equal(two.exposure, np.tile(one.exposure, 2))
    np.testing.assert_array_equal(two.unit, np.arange(12))
