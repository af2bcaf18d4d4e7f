import warnings

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.selection.loo import relative_efficiency
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_arviz_on_every_single_observation(crab_choice, crab, k):
    tree = crab_choice.trees[k]
    found = nb.loo(tree, reff=0.7)
    expected = az.loo(tree, reff=0.7, pointwise=True)
    for name in ("elpd", "se", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    assert (found.n_data_points, found.n_samples) == (crab.n, 4000)
    np.testing.assert_allclose(found.elpd_i, expected.elpd_i, atol=1e-10)
    np.testing.assert_allclose(found.pareto_k, expected.pareto_k, atol=1e-10)
    assert found.good_k == expected.good_k


@pytest.mark.exhaustive
def test_equals_arviz_on_twenty_thousand_rows(doctor_tree):
    few = doctor_tree.isel(draw=slice(0, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = nb.loo(few, reff=1.0)
        expected = az.loo(nb.add_log_likelihood(few), reff=1.0)
    for name in ("elpd", "se", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-6)


def test_compare_accepts_it(crab_choice):
    table = az.compare({str(k): nb.loo(tree) for k, tree in crab_choice.trees.items()})
    assert set(table.index) == {"1", "2", "3"}


def test_labels_change_nothing(crab_choice):
    tree = crab_choice.trees[3]
    other = nb.relabel(tree, method="order", by="dispersions")
    assert nb.loo(tree).elpd == nb.loo(other).elpd


def test_frequencies_beyond_what_is_expanded():
    counts = nb.Counts([0, 1, 4], frequency=[9_000_000, 5_000_000, 1_000_000])
    params = nb.MixtureParams([1.0], [0.6], [0.5])
    tree = assemble(counts, scattered([params] * 4, spread=1e-4), {})
    assert "observed_data" not in tree.children
    found = nb.loo(tree)
    expected = params.logpmf([0, 1, 4]) @ counts.frequency
    assert found.n_data_points == 15_000_000
    assert found.elpd == pytest.approx(expected, rel=1e-4)


def test_relative_efficiency():
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(4, 1000, 2))
    assert relative_efficiency(independent, np.array([1.0, 3.0])) == pytest.approx(1.0, abs=0.15)
    sticky = np.repeat(rng.normal(size=(4, 100, 2)), 10, axis=1)
    assert relative_efficiency(sticky, np.ones(2)) == pytest.approx(0.1, abs=0.04)
    # of each observation, so a row seen often decides
    mixed = np.concatenate([independent[..., :1], sticky[..., :1]], axis=-1)
    assert relative_efficiency(mixed, np.array([1.0, 99.0])) < 0.2
    assert relative_efficiency(mixed, np.array([99.0, 1.0])) > 0.8
    assert relative_efficiency(independent[:1], np.ones(2)) == 1.0
    assert relative_efficiency(np.zeros((4, 10, 2)), np.ones(2)) == 1.0


def test_a_posterior_that_failed_its_gate_is_flagged():
    counts = nb.Counts(TRUTH.sample(200, random_seed=2)[0])
    tree = assemble(counts, scattered([TRUTH, TRUTH, TRUTH, LOWER]), {})
    with pytest.warns(UserWarning, match="failed its gate"):
        found = nb.loo(tree)
    assert found.warning


def test_an_observation_that_one_component_rests_on_is_flagged():
    """Draws of a component that only one outlier holds have heavy importance ratios."""
    counts = nb.Counts([*TRUTH.sample(100, random_seed=2)[0], 900])
    base = nb.MixtureParams([0.4, 0.59, 0.01], [2.0, 20.0, 900.0], [0.3, 0.2, 0.1])
    draws = scattered([base] * 4)
    rng = np.random.default_rng(3)
    wild = draws.means * np.exp(rng.normal(0, 1.2, draws.means.shape) * [0, 0, 1])
    tree = assemble(counts, Draws(draws.weights, wild, draws.dispersions), {})
    found = nb.loo(tree)
    assert found.warning
    assert float(found.pareto_k.max()) > found.good_k
    assert int(np.argmax(found.pareto_k.values)) == 100


@pytest.mark.parametrize("kept", [(1, 4), (1, 12), (2, 12)])
def test_draws_too_few_for_a_tail_are_flagged(crab_choice, kept):
    """ArviZ has no tail to fit: its own error came out, of some numbers an IndexError."""
    chains, draws = kept
    few = crab_choice.trees[1].isel(chain=slice(chains), draw=slice(draws))
    with pytest.warns(UserWarning, match="failed its gate"):
        found = nb.loo(few)
    assert found.warning
    assert np.isinf(found.pareto_k).all()
    # importance sampling by hand: the harmonic mean of the densities
    rows = few["log_likelihood_unique"][crab_choice.counts.variable].values
    densities = np.exp(rows.reshape(chains * draws, -1))
    by_hand = np.log(1.0 / (1.0 / densities).mean(axis=0))
    frequency = crab_choice.counts.table.frequency
    assert found.elpd == pytest.approx(frequency @ by_hand)
    pit = nb.loo_pit(few)
    assert (pit["lower"] <= pit["upper"]).all()


def test_bad_requests(crab_choice):
    for reff in ("a", np.inf, np.nan):
        with pytest.raises(ValueError, match="reff must be a number above 0"):
            nb.loo(crab_choice.trees[2], reff=reff)
    with pytest.raises(TypeError, match="diagnosis must be"):
        nb.loo(crab_choice.trees[2], diagnosis=True)
    with pytest.raises(ValueError, match="reff"):
        nb.loo(crab_choice.trees[2], reff=0.0)
    bare = crab_choice.trees[2].copy()
    del bare["unique_rows"]
    del bare["log_likelihood_unique"]
    with pytest.raises(ValueError, match="unique_rows"):
        nb.loo(bare)
