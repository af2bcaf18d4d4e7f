"""Groups that were cut, sorted or changed on their own are refused by whoever reads them."""

import numpy as np
import pytest

import pmnbmix as nb

READERS = (
    nb.diagnose,
    nb.relabel,
    nb.loo,
    nb.loo_pit,
    nb.quantile_residuals,
    nb.stack_chains,
    nb.add_rates,
    nb.add_responsibilities,
    nb.co_cluster,
    nb.log_evidence,
    lambda tree: nb.compare_estimates(nuts=tree),
)


@pytest.fixture
def tree(crab_choice):
    return crab_choice.trees[2].copy()


def refused(tree, text, readers=READERS):
    for reader in readers:
        with pytest.raises(ValueError, match=text):
            reader(tree)


def test_burn_in_cut_from_the_posterior_alone(tree):
    tree["posterior"] = tree["posterior"].isel(draw=slice(100, None))
    text = r"has \(chain, draw\) = \(4, 1000\), but the posterior has \(4, 900\).*whole tree, as"
    refused(tree, text)


def test_one_chain_in_the_posterior_alone(tree):
    tree["posterior"] = tree["posterior"].isel(chain=[0])
    refused(tree, r"but the posterior has \(1, 1000\)")


@pytest.mark.parametrize(
    "name", ["log_likelihood_unique", "log_prior", "relabelling", "sample_stats"]
)
def test_other_draws_in_a_group_alone(tree, name):
    posterior = tree["posterior"]
    tree[name] = tree[name].isel(draw=slice(None, None, -1))
    refused(tree, f"{name} has draw 999 at place 0, where the posterior has 0")
    tree["posterior"] = posterior.isel(draw=slice(None, 500))
    tree[name] = tree[name].isel(draw=slice(500))
    refused(tree, "has")


def test_draws_of_the_whole_tree_can_be_selected(tree):
    whole = nb.quantile_residuals(tree, random_seed=0)
    for part in (
        tree.isel(draw=slice(100, None)),
        tree.isel(draw=slice(None, None, 5)),
        tree.isel(chain=slice(0, 2)),
        tree.isel(chain=[0]),
        tree.sel(chain=slice(1, 2), draw=slice(50, None)),
    ):
        assert nb.quantile_residuals(part, random_seed=0).shape == whole.shape
        nb.diagnose(part)
        nb.add_log_likelihood(part)
        nb.stack_chains(part)


def test_a_tree_without_its_chain_dimension(tree):
    refused(tree.isel(chain=0), "Keep both, as in tree.isel", [nb.loo, nb.add_log_likelihood])


def test_rows_in_another_order(tree):
    text = "has unique_row 14 at place 0; expected 0 to 14 in order"
    turned = tree.isel(unique_row=slice(None, None, -1))
    refused(turned, text, [nb.diagnose, nb.add_rates, nb.stack_chains, nb.loo_pit])
    refused(turned, text, [nb.loo, nb.add_log_likelihood])
    tree["log_likelihood_unique"] = turned["log_likelihood_unique"]
    refused(tree, text, [nb.diagnose, nb.add_log_likelihood, nb.stack_chains, nb.loo])


def test_rows_and_observations_left_out(tree):
    few = tree.isel(unique_row=slice(10))
    refused(few, "row_of_obs has 173 observations", [nb.add_rates, nb.add_log_likelihood])
    few = tree.isel(obs=slice(100))
    refused(few, "row_of_obs has 100 observations", [nb.add_rates, nb.add_log_likelihood])
    tree["unique_rows"] = tree["unique_rows"].isel(unique_row=slice(10))
    refused(tree, "has 15 rows, but there are 10", [nb.diagnose, nb.loo_pit])


def test_a_log_density_that_is_no_number(tree):
    for group in ("log_likelihood_unique", "log_prior"):
        for number in (np.nan, np.inf):
            spoilt = tree.copy(deep=True)
            name = next(iter(spoilt[group].data_vars))
            spoilt[group][name][2, 5] = number
            refused(spoilt, f"{group}.* of chain 2, draw 5.* is {number}", [nb.diagnose])
    # under a draw that makes a count impossible it is no error
    tree = tree.copy(deep=True)
    next(iter(tree["log_likelihood_unique"].data_vars.values()))[2, 5, 3] = -np.inf
    nb.add_log_likelihood(tree)


def test_a_relabelling_that_is_no_permutation(tree):
    tree["relabelling"]["permutation"] = tree["relabelling"]["permutation"] * 0
    refused(tree, "relabelling holds no permutation of 2", [nb.diagnose, nb.relabel])
