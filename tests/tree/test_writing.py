"""What the tree of a posterior holds, and what ArviZ makes of it."""

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb

GROUPS = {
    "posterior",
    "sample_stats",
    "log_likelihood_unique",
    "log_likelihood",
    "log_prior",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "observed_data",
    "constant_data",
    "unique_rows",
    "modes",
    "relabelling",
}


def test_groups_and_dimensions(crab_choice, crab):
    tree = crab_choice.trees[2]
    assert set(tree.children) == GROUPS
    for name in ("weights", "means", "dispersions"):
        assert tree["posterior"][name].dims == ("chain", "draw", "mixture_component")
    assert tree["log_likelihood"][crab.name].dims == ("chain", "draw", "obs")
    np.testing.assert_array_equal(tree["observed_data"][crab.name], crab.values)
    rows = tree["log_likelihood_unique"].to_dataset()
    assert rows["frequency"].sum() == crab.n
    draw = tree["posterior"].to_dataset().isel(chain=1, draw=7)
    params = nb.MixtureParams(draw["weights"], draw["means"], draw["dispersions"])
    np.testing.assert_allclose(
        tree["log_likelihood"][crab.name].isel(chain=1, draw=7),
        params.logpmf(crab.values),
        rtol=1e-12,
    )


class TestArviz:
    """ArviZ's own functions are right on a tree as it comes, or say which call to make first."""

    def test_summary_is_of_one_component_each(self, crab_choice):
        summary = az.summary(crab_choice.trees[2], round_to="none")
        means = summary.loc[["means[0]", "means[1]"], "mean"]
        assert means.iloc[0] < means.iloc[1]
        assert (summary["r_hat"] <= 1.01).all()

    def test_loo_and_compare(self, crab_choice):
        trees = {str(k): tree for k, tree in crab_choice.trees.items()}
        for tree in trees.values():
            assert az.loo(tree).elpd == pytest.approx(nb.loo(tree).elpd, abs=0.01)
        table = az.compare(trees)
        assert table.index[-1] == "1"

    def test_plots(self, crab_choice):
        import matplotlib.pyplot as plt

        for plot in (az.plot_rank, az.plot_forest):
            collection = plot(crab_choice.trees[2], backend="matplotlib")
            figure = collection.viz["figure"].item()
            assert any(ax.lines or ax.collections for ax in figure.axes)
            plt.close("all")

    def test_psense(self, crab_choice):
        table = az.psense_summary(crab_choice.trees[2])
        assert table[["prior", "likelihood"]].notna().all().all()

    def test_without_single_log_likelihoods_the_error_names_the_call(self, doctor_tree):
        assert "log_likelihood" not in doctor_tree.children
        for function in (az.loo, az.psense_summary):
            with pytest.raises(ValueError, match=r"pmnbmix\.loo.*add_log_likelihood"):
                function(doctor_tree)
        with pytest.raises(ValueError, match="model a") as caught:
            az.compare({"a": doctor_tree, "b": doctor_tree})
        assert "add_log_likelihood" in str(caught.value.__cause__)
        assert np.isfinite(az.summary(doctor_tree)["r_hat"]).all()

    def test_on_request_it_is_added_and_right(self, doctor_tree, doctor_visits):
        few = doctor_tree.isel(draw=slice(0, 100))
        whole = nb.add_log_likelihood(few)
        array = whole["log_likelihood"][doctor_visits.name]
        assert array.sizes["obs"] == doctor_visits.n
        draw = few["posterior"].to_dataset().isel(chain=0, draw=3)
        params = nb.MixtureParams(draw["weights"], draw["means"], draw["dispersions"])
        np.testing.assert_allclose(
            array.isel(chain=0, draw=3), params.logpmf(doctor_visits.values), rtol=1e-12
        )

    def test_too_much_is_refused(self):
        counts = nb.Counts([0, 1], frequency=[3_000_000, 4_000_000])
        tree = nb.sample(
            counts, nb.MixtureSpec(1), draws=10, tune=50, chains=2, random_seed=1, progressbar=False
        )
        with pytest.raises(ValueError, match="1 GB"):
            nb.add_log_likelihood(tree)
        assert "posterior_predictive_table" in tree.children


def test_observations_are_all_in_the_tree_of_a_point_fit():
    fit = nb.fit_em(nb.Counts([0, 1, 4], frequency=[50, 3, 2]), 1)
    assert fit.to_datatree()["observed_data"]["count"].size == 55


def test_the_prior_is_labelled_as_the_posterior_is(crab_choice):
    prior = crab_choice.trees[3]["prior"]["means"].values
    assert (np.diff(prior, axis=-1) >= 0).all()


def test_a_log_likelihood_of_rows_whose_order_was_not_kept():
    counts = nb.Counts([0, 3], frequency=[13_000_000, 2])
    tree = nb.sample(
        counts, nb.MixtureSpec(1), draws=4, tune=50, chains=2, random_seed=1, progressbar=False
    )
    assert "row_of_obs" not in tree["unique_rows"]
    whole = nb.add_log_likelihood(tree)
    assert whole["log_likelihood"].sizes["obs"] == 13_000_002
