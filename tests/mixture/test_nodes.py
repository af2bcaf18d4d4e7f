"""Nodes of log exposure stand for all rows: exactly for polynomials, closely for densities."""

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.nodes import NODES, every_row, nodes_of
from pmnbmix.mixture.row_density import RowDensity
from tests.synthetic import TRUTH, scattered

RNG = np.random.default_rng(4)


def table_of(values, exposure):
    return nb.Counts(values, exposure=exposure).table


MANY = table_of(RNG.poisson(4.0, 4000), RNG.lognormal(0.0, 0.7, 4000))


def test_a_polynomial_of_log_exposure_is_carried_to_every_row_and_sum():
    nodes = nodes_of(MANY)
    assert nodes.table.values.size < 0.15 * MANY.values.size
    coefficients = RNG.normal(size=(NODES, 30)) / np.arange(1, NODES + 1)[:, None] ** 2

    def of(table):
        x = np.log(table.exposure) / 3.0
        own = coefficients[:, table.values.astype(int)]
        return sum(c * x**i for i, c in enumerate(own))

    np.testing.assert_allclose(nodes.spread(of(nodes.table)), of(MANY), atol=1e-10)
    assert nodes.table.frequency @ of(nodes.table) == pytest.approx(
        MANY.frequency @ of(MANY), abs=1e-8
    )
    assert nodes.table.frequency.sum() == pytest.approx(MANY.n, rel=1e-12)


def test_counts_with_few_rows_are_their_own_nodes():
    few = table_of([0] * NODES + [3] * (NODES + 1), np.linspace(0.5, 2.0, 2 * NODES + 1))
    nodes = nodes_of(few)
    assert nodes.table.values.size == 2 * NODES
    found = nodes.spread(np.arange(2.0 * NODES))
    np.testing.assert_array_equal(found[:NODES], np.arange(NODES))
    np.testing.assert_array_equal(nodes.table.exposure[:NODES], few.exposure[:NODES])
    assert nodes.interpolated().sum() == NODES + 1
    one = nodes_of(table_of([7], [2.0]))
    assert one.exact
    assert every_row(few).exact


@pytest.mark.parametrize("width", [0.01, 1.0, 3.0, 30.0], ids=lambda width: f"sd {width}")
def test_log_densities_at_the_rows_and_their_sum(width):
    """Whatever the exposures: over 200 orders of magnitude, too."""
    exposure = RNG.lognormal(0.0, width, 3000)
    values = RNG.poisson(np.minimum(TRUTH.means[0] * exposure, 20.0))
    table = table_of(values, exposure)
    nodes, draws = nodes_of(table), scattered([TRUTH] * 2, n_draws=5)
    at_rows, at_nodes = draws.log_density(table), draws.log_density(nodes.table)
    for chain, draw in np.ndindex(2, 5):
        found, exact = nodes.spread(at_nodes[chain, draw]), at_rows[chain, draw]
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)


def test_too_many_log_densities_are_made_at_nodes(monkeypatch):
    draws = scattered([TRUTH] * 2, n_draws=20)
    kept = RowDensity(draws, MANY)
    assert kept.is_kept
    assert kept.nodes.exact
    monkeypatch.setattr("pmnbmix.mixture.row_density.KEPT_BYTES", 8 * 40 * 1000)
    made = RowDensity(draws, MANY)
    assert made.kept is None
    assert made.judged[0].shape[2] < 1000
    np.testing.assert_allclose(made.log_likelihood, kept.log_likelihood, rtol=1e-7)
    assert made.variance() == pytest.approx(kept.variance(), rel=1e-6)
    rows = np.array([17, 3999, 0, 17])
    np.testing.assert_array_equal(made.of_rows(rows), kept.of_rows(rows))
    # what is there already is taken as it is
    stored = draws.log_density(MANY)
    assert RowDensity(draws, MANY, stored).kept is stored


def test_blocks_when_even_the_nodes_are_many(monkeypatch):
    draws = scattered([TRUTH] * 2, n_draws=20)
    kept = RowDensity(draws, MANY)
    monkeypatch.setattr("pmnbmix.mixture.row_density.KEPT_BYTES", 8 * 40 * 20)
    monkeypatch.setattr("pmnbmix.mixture.row_density._NODES_BYTES", 8 * 40 * 20)
    monkeypatch.setattr("pmnbmix.mixture.row_density._BLOCK", 40 * 30)
    made = RowDensity(draws, MANY)
    blocks = list(made.blocks())
    assert max(block.shape[2] for _, block in blocks) == 30
    assert sum(block.shape[2] for _, block in blocks) == made.nodes.table.values.size
    np.testing.assert_allclose(made.log_likelihood, kept.log_likelihood, rtol=1e-7)
    rows, some = made.judged
    assert rows.shape[2] == some.values.size <= 30
    assert (some.frequency >= 0.0).all()


def test_chains_are_taken_with_what_is_kept():
    draws = scattered([TRUTH] * 3, n_draws=8)
    density = RowDensity(draws, CountTable.plain(np.arange(3.0), np.ones(3), np.ones(3)))
    part = density.of_chains(np.array([True, False, True]))
    assert isinstance(part.draws, Draws)
    np.testing.assert_array_equal(part.log_likelihood, density.log_likelihood[[0, 2]])
