"""Chains stuck in modes are weighed by how well they predict."""

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


@pytest.fixture(scope="module")
def counts():
    return nb.Counts(TRUTH.sample(400, random_seed=2)[0])


def test_a_useless_mode_gets_no_weight_and_its_draws_go(counts):
    tree = nb.relabel(assemble(counts, scattered([TRUTH, LOWER, TRUTH, TRUTH]), {}))
    stacked = nb.stack_chains(tree)
    assert stacked.table["group"].tolist() == [0, 1, 0, 0]
    assert stacked.table["weight"].sum() == pytest.approx(1.0)
    assert stacked.table.loc[1, "weight"] < 0.01
    assert stacked.table["weight"].drop(1).nunique() == 1
    assert stacked.table.loc[1, "elpd"] < stacked.table.loc[0, "elpd"] - 10
    posterior = stacked.tree["posterior"].to_dataset()
    assert posterior.sizes["chain"] == 1
    assert posterior.sizes["draw"] == 2000
    # no draw of the useless mode is left
    assert float(posterior["means"].max()) < 30
    az.summary(stacked.tree, var_names=["means"])


def test_modes_that_predict_better_together_share_the_weight():
    """Half of the counts come from each of two laws, of which each mode knows one."""
    low, high = (nb.MixtureParams([1.0], [mean], [0.05]) for mean in (5.0, 60.0))
    counts = nb.Counts([*low.sample(150, random_seed=0)[0], *high.sample(150, random_seed=1)[0]])
    wide = [nb.MixtureParams([1.0], [mean], [0.8]) for mean in (6.0, 55.0)]
    tree = assemble(counts, scattered([wide[0], wide[0], wide[1], wide[1]]), {})
    stacked = nb.stack_chains(tree)
    by_group = stacked.table.groupby("group")["weight"].sum()
    assert len(by_group) == 2
    assert (by_group > 0.2).all()
    # ArviZ rounds what it shows, to two digits here
    assert np.abs(100 * by_group - np.rint(100 * by_group)).max() > 1e-4
    # evenly spaced draws of each chain, as many as its weight says
    means = stacked.tree["posterior"]["means"].values.ravel()
    assert (means > 20).mean() == pytest.approx(
        stacked.table["weight"][2:].sum(), abs=1e-3
    )  # fmt: skip
    # together they predict better than either
    density = stacked.tree["log_likelihood_unique"].to_dataset()
    pooled = next(iter(density.data_vars.values())).values[0]
    joint = np.log(np.exp(pooled).mean(axis=0)) @ counts.table.frequency
    assert joint > stacked.table["elpd"].max()


def test_chains_that_agree_have_equal_weights(counts):
    stacked = nb.stack_chains(assemble(counts, scattered([TRUTH] * 4), {}))
    assert stacked.table["weight"].tolist() == [0.25] * 4
    assert (stacked.table["group"] == 0).all()


def test_too_short_chains_are_refused(counts):
    with pytest.raises(ValueError, match="chains have 5 draws; stacking needs 8"):
        nb.stack_chains(assemble(counts, scattered([TRUTH] * 2, n_draws=5), {}))


def test_a_chain_that_never_moved_can_be_weighed(counts):
    draws = scattered([TRUTH] * 4)
    for array in (draws.weights, draws.means, draws.dispersions):
        array[3] = array[3, :1]
    stacked = nb.stack_chains(assemble(counts, draws, {}))
    assert stacked.table["weight"].sum() == pytest.approx(1.0)
    assert np.isfinite(stacked.table["elpd"]).all()


def test_averages_over_all_chains_do_not_survive(counts):
    tree = nb.relabel(assemble(counts, scattered([TRUTH, LOWER, TRUTH, TRUTH]), {}))
    stacked = nb.stack_chains(nb.add_rates(nb.add_responsibilities(tree))).tree
    assert not {"responsibilities", "rates"} & set(stacked.children)
    nb.add_responsibilities(stacked)
