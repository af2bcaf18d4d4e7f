"""LOO of small trees made by hand, against ArviZ on every observation and exact values."""

from types import SimpleNamespace

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.selection import loo as module
from pmnbmix.selection import loo_terms
from pmnbmix.selection.loo import elpd_of, mcse_of_log_mean, relative_efficiency
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered

COUNTS = nb.Counts([3, 0, 17, 3, 0, 40, 3, 8, 0, 22, 3, 90], [1, 1, 2, 1, 1, 2, 0.5, 1, 1, 1, 1, 3])
TREE = assemble(COUNTS, scattered([TRUTH] * 4, n_draws=100), {})
LONG = assemble(COUNTS, scattered([TRUTH] * 4, n_draws=600), {})
GOOD, BAD = SimpleNamespace(density_ok=True), SimpleNamespace(density_ok=False)


def elpd_of_rows(array, row_of_obs, reff, name, doubtful):
    """LOO of log densities that no draws belong to."""
    n = array.shape[2]
    one = np.ones((*array.shape[:2], 1))
    table = CountTable.plain(np.arange(n, dtype=float), np.ones(n), np.ones(n))
    density = RowDensity(Draws(one, one, one), table, array)
    return elpd_of(density, row_of_obs, reff, name, doubtful)


def log_density(tree):
    return tree["log_likelihood_unique"].to_dataset()[COUNTS.variable].values


def assert_equals_arviz(found, expected):
    for name in ("elpd", "se", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    for name in ("n_samples", "n_data_points", "scale", "good_k", "warning"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("elpd_i", "pareto_k"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)
        assert getattr(found, name).dims == ("obs",)
        assert getattr(found, name).name == COUNTS.variable
        np.testing.assert_array_equal(getattr(found, name)["obs"], np.arange(12))


@pytest.mark.parametrize("tree", [TREE, LONG], ids=["400 draws", "2400 draws"])
@pytest.mark.parametrize("reff", [0.3, 1.0])
def test_small_trees_equal_arviz(tree, reff):
    found = nb.loo(tree, reff=reff, diagnosis=GOOD)
    assert_equals_arviz(found, az.loo(tree, reff=reff, pointwise=True))
    assert found.warning is False


@pytest.mark.parametrize("block", [1, 400, 1200, 10**6])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch, block):
    sizes, whole = [], loo_terms._loo_of_block
    monkeypatch.setattr(loo_terms, "_BLOCK", block)
    monkeypatch.setattr(
        loo_terms,
        "_loo_of_block",
        lambda rows, reff: sizes.append(rows.shape[2]) or whole(rows, reff),
    )
    found = nb.loo(TREE, reff=0.7, diagnosis=GOOD)
    assert_equals_arviz(found, az.loo(TREE, reff=0.7, pointwise=True))
    # no more rows at once than asked for, and as many as that
    assert max(sizes) == min(max(1, block // 400), COUNTS.n_unique)
    assert sum(sizes) == COUNTS.n_unique


def test_the_order_of_the_dimensions_does_not_matter():
    turned = TREE.copy()
    turned["log_likelihood_unique"].dataset = (
        TREE["log_likelihood_unique"].to_dataset().transpose("unique_row", "draw", "chain")
    )
    assert nb.loo(turned, reff=0.7, diagnosis=GOOD).elpd == pytest.approx(
        nb.loo(TREE, reff=0.7, diagnosis=GOOD).elpd, rel=1e-12
    )


def test_the_efficiency_is_that_of_the_density_of_the_rows():
    expected = relative_efficiency(log_density(TREE), COUNTS.table.frequency)
    given = nb.loo(TREE, reff=expected, diagnosis=GOOD).elpd
    assert nb.loo(TREE, diagnosis=GOOD).elpd == given
    assert nb.loo(TREE, reff=0.05, diagnosis=GOOD).elpd != given


@pytest.mark.parametrize("reff", [0.0, -0.5, np.nan])
def test_an_efficiency_that_is_none_is_refused(reff):
    with pytest.raises(ValueError, match="reff must be a number above 0; got"):
        nb.loo(TREE, reff=reff)


def test_a_result_that_would_take_too_much_memory_is_refused(monkeypatch):
    counts = nb.Counts([0, 4], frequency=[150_000_000, 100_000_000])
    tree = assemble(counts, scattered([TRUTH] * 2, n_draws=10), {})
    with pytest.raises(ValueError, match=r"each of 2\.5e\+08 observations, 4 GB; at most 1 GB"):
        nb.loo(tree)
    # two numbers of eight bytes for each of twelve observations
    monkeypatch.setattr(module, "LARGEST_RESULT", 16 * 12)
    assert nb.loo(TREE, reff=1.0, diagnosis=GOOD).n_data_points == 12
    monkeypatch.setattr(module, "LARGEST_RESULT", 16 * 12 - 1)
    with pytest.raises(ValueError, match="Fit a random sample"):
        nb.loo(TREE, reff=1.0, diagnosis=GOOD)


def test_the_gate_is_judged_where_no_diagnosis_is_given():
    split = assemble(COUNTS, scattered([TRUTH, TRUTH, LOWER, LOWER], n_draws=100), {})
    with pytest.warns(UserWarning, match="LOO of a posterior that failed its gate") as caught:
        found = nb.loo(split, reff=1.0)
    assert found.warning is True
    # it points to the line that asked
    assert [one.filename for one in caught] == [__file__]
    # a diagnosis has said so already: the flag alone
    assert nb.loo(split, reff=1.0, diagnosis=BAD).warning is True
    assert nb.loo(split, reff=1.0, diagnosis=GOOD).warning is False
    assert nb.loo(LONG, reff=1.0).warning is False


def test_a_row_of_constant_density_is_left_out_by_doing_nothing():
    array = log_density(TREE).copy()
    array[:, :, 1] = -2.5
    row_of_obs = np.array([1, 0, 1, 2])
    found = elpd_of_rows(array, row_of_obs, 0.8, "y", False)
    assert found.elpd_i.values[[0, 2]].tolist() == [-2.5, -2.5]
    assert found.pareto_k.values[[0, 2]].tolist() == [0.0, 0.0]
    # the rows that nobody was seen in count for nothing
    assert found.elpd == pytest.approx(found.elpd_i.values.sum(), rel=1e-12)
    # whichever draw differs makes a row one that moves
    for chain, draw in [(0, 0), (0, 7), (3, 0), (3, 99)]:
        other = array.copy()
        other[chain, draw, 1] = -2.0
        assert -2.5 < elpd_of_rows(other, row_of_obs, 0.8, "y", False).elpd_i.values[0] < -2.49
    still = elpd_of_rows(np.full((4, 50, 1), -1.25), np.zeros(3, int), 1.0, "y", False)
    assert (still.elpd, still.se, still.warning) == (-3.75, 0.0, False)
    assert still.p == pytest.approx(0.0, abs=1e-12)


def test_a_chain_that_is_stuck_is_flagged_instead_of_an_error():
    """Its draws are a tail of equal values, to which no Pareto distribution can be fitted."""
    array = log_density(TREE).copy()
    array[2] = array[2, 0] + np.where(np.arange(COUNTS.n_unique) < 4, -6.0, 0.0)
    row_of_obs = np.arange(COUNTS.n_unique)
    found = elpd_of_rows(array, row_of_obs, 1.0, "y", False)
    refused = np.isinf(found.pareto_k.values)
    assert refused[:4].all()
    assert not refused.all()
    assert found.warning is True
    # unsmoothed importance sampling: the harmonic mean of the densities
    expected = -np.log(np.exp(-array).mean(axis=(0, 1)))
    np.testing.assert_allclose(found.elpd_i.values[refused], expected[refused], rtol=1e-12)
    # rows that ArviZ can smooth are smoothed, whatever rows they were handed over with
    some = np.flatnonzero(~refused)
    alone = elpd_of_rows(array[..., some], np.arange(some.size), 1.0, "y", False)
    np.testing.assert_allclose(found.elpd_i.values[some], alone.elpd_i.values, rtol=1e-12)
    np.testing.assert_allclose(found.pareto_k.values[some], alone.pareto_k.values, rtol=1e-12)


def test_a_handful_of_draws_is_flagged_instead_of_an_error():
    few = assemble(COUNTS, scattered([TRUTH] * 2, n_draws=6), {})
    found = nb.loo(few, reff=1.0, diagnosis=GOOD)
    assert np.isinf(found.pareto_k.values).all()
    assert found.warning is True
    expected = -np.log(np.exp(-log_density(few)).mean(axis=(0, 1)))
    assert found.elpd == pytest.approx(expected @ COUNTS.table.frequency, rel=1e-12)


def test_other_errors_of_arviz_are_not_hidden(monkeypatch):
    def refuse(rows, reff):
        raise ValueError("something else")

    monkeypatch.setattr(loo_terms, "_loo_of_block", refuse)
    with pytest.raises(ValueError, match="something else"):
        nb.loo(TREE, reff=1.0, diagnosis=GOOD)


def test_the_standard_error_is_that_of_a_sum():
    array = np.broadcast_to(np.array([-1.0, -3.0]), (4, 50, 2)).copy()
    two = elpd_of_rows(array, np.array([0, 1]), 1.0, "y", False)
    # two values that are 2 apart: variance 2, of their sum 4
    assert two.se == pytest.approx(2.0, rel=1e-14)
    alone = elpd_of_rows(array, np.array([1]), 1.0, "y", False)
    assert (alone.elpd, alone.se) == (-3.0, 0.0)


def test_only_rows_above_good_k_are_flagged(monkeypatch):
    for k, flagged in [(0.5, False), (0.69, True), (np.nan, True)]:
        part = SimpleNamespace(
            elpd_i=SimpleNamespace(values=np.full(COUNTS.n_unique, -1.0)),
            pareto_k=SimpleNamespace(values=np.r_[k, np.zeros(COUNTS.n_unique - 1)]),
        )
        monkeypatch.setattr(loo_terms, "_loo_of_block", lambda rows, reff, part=part: part)
        found = nb.loo(TREE, reff=1.0, diagnosis=GOOD)
        assert found.good_k == pytest.approx(1 - 1 / np.log10(400))
        assert found.warning is flagged


def test_heavy_ratios_are_flagged_without_a_warning_of_arviz():
    """Warnings are errors here: ArviZ's own, which speaks of unique rows, would end this test."""
    base = nb.MixtureParams([0.4, 0.59, 0.01], [2.0, 20.0, 900.0], [0.3, 0.2, 0.1])
    draws = scattered([base] * 4, n_draws=100)
    rng = np.random.default_rng(3)
    wild = draws.means * np.exp(rng.normal(0, 1.2, draws.means.shape) * [0, 0, 1])
    counts = nb.Counts([3, 17, 3, 22, 900])
    tree = assemble(counts, Draws(draws.weights, wild, draws.dispersions), {})
    found = nb.loo(tree, reff=1.0, diagnosis=GOOD)
    assert found.warning is True
    assert int(np.argmax(found.pareto_k.values)) == 4


def test_the_relative_efficiency_is_arvizs_row_by_row():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(4, 200, 3)), axis=1) / 10
    frequency = np.array([1.0, 4.0, 2.0])
    each = [float(az.ess(np.exp(walk[..., u]), method="mean")) / 800 for u in range(3)]
    expected = frequency @ each / 7
    assert relative_efficiency(walk, frequency) == pytest.approx(expected, rel=1e-9)
    # densities too small for a float change nothing
    shifted = walk - np.array([0.0, 2000.0, -2000.0])
    assert relative_efficiency(shifted, frequency) == pytest.approx(expected, rel=1e-9)
    # also where the first draw is the highest or the lowest
    for first in (walk.max() + 1, walk.min() - 1):
        other = walk.copy()
        other[0, 0] = first
        each_other = [float(az.ess(np.exp(other[..., u]), method="mean")) / 800 for u in range(3)]
        found = relative_efficiency(other, frequency)
        assert found == pytest.approx(frequency @ each_other / 7, rel=1e-9)
    # a row that never moves is as good as independent draws
    walk[..., 1] = -7.0
    expected = (each[0] + 4 + 2 * each[2]) / 7
    assert relative_efficiency(walk, frequency) == pytest.approx(expected, rel=1e-9)
    assert relative_efficiency(walk[:2], frequency) != 1.0
    assert relative_efficiency(walk[:1], frequency) == 1.0
    assert relative_efficiency(np.zeros((4, 200, 3)), frequency) == 1.0


def test_the_error_of_a_log_mean():
    rng = np.random.default_rng(1)
    array = rng.normal(0, 0.3, (4, 500))
    density = np.exp(array)
    expected = float(az.mcse(density, method="mean")) / density.mean()
    assert mcse_of_log_mean(array) == pytest.approx(expected, rel=1e-9)
    # about what independent draws have by the central limit theorem
    assert expected == pytest.approx(density.std() / density.mean() / np.sqrt(2000), rel=0.2)
    for shift in (-2000.0, 2000.0):
        assert mcse_of_log_mean(array + shift) == pytest.approx(expected, rel=1e-9)
    assert mcse_of_log_mean(np.full((4, 500), -3.0)) == 0.0
