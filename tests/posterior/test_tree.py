import os
import warnings

import arviz as az
import h5py
import numpy as np
import pytest
import xarray as xr

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


class TestFiles:
    """Trees come back from files as they were; damaged and hostile files are refused."""

    @pytest.fixture
    def saved(self, crab_choice, tmp_path):
        path = tmp_path / "tree.nc"
        nb.save(crab_choice.trees[2], path)
        return path

    def test_save_and_load(self, crab_choice, saved):
        tree, loaded = crab_choice.trees[2], nb.load(saved)
        assert set(loaded.children) == set(tree.children)
        for name in tree.children:
            assert loaded[name].to_dataset().equals(tree[name].to_dataset()), name
        assert loaded.attrs == tree.attrs
        assert nb.diagnose(loaded).findings == nb.diagnose(tree).findings

    def test_groups_within_groups_come_back(self, crab_choice, tmp_path):
        note = xr.Dataset({"asked": 3.0}, attrs={"by": "a user"})
        tree = crab_choice.trees[2].copy()
        tree["posterior/notes"] = xr.DataTree(note)
        nb.save(tree, tmp_path / "noted.nc")
        loaded = nb.load(tmp_path / "noted.nc")
        assert loaded["posterior/notes"].to_dataset(inherit=False).identical(note)

    def test_loaded_trees_name_the_call_too(self, doctor_tree, tmp_path):
        nb.save(doctor_tree.isel(draw=slice(0, 500)), tmp_path / "d.nc")
        with pytest.raises(ValueError, match="add_log_likelihood"):
            az.loo(nb.load(tmp_path / "d.nc"))

    def test_the_file_is_closed_and_replaced_whole(self, crab_choice, saved):
        nb.load(saved)
        nb.save(crab_choice.trees[1], saved)
        assert nb.load(saved)["posterior"].sizes["mixture_component"] == 1
        assert os.listdir(saved.parent) == ["tree.nc"]

    def test_a_failed_save_leaves_the_old_file(self, crab_choice, saved):
        broken = crab_choice.trees[2].copy()
        broken["posterior"]["bad"] = ("chain", np.array([object()] * 4, dtype=object))
        with pytest.raises((TypeError, ValueError)):
            nb.save(broken, saved)
        assert nb.load(saved)["posterior"].sizes["mixture_component"] == 2
        assert os.listdir(saved.parent) == ["tree.nc"]

    def test_truncated(self, saved):
        saved.write_bytes(saved.read_bytes()[:5000])
        with pytest.raises(ValueError, match="not a readable netCDF"):
            nb.load(saved)

    def test_not_netcdf(self, tmp_path):
        (tmp_path / "a.nc").write_text("hello")
        with pytest.raises(ValueError, match="not a readable netCDF"):
            nb.load(tmp_path / "a.nc")
        with pytest.raises(ValueError, match="no such file"):
            nb.load(tmp_path / "b.nc")

    def test_another_posterior(self, tmp_path):
        other = xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("draw", [1.0])})})
        other.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
        with pytest.raises(ValueError, match="no posterior of a mixture"):
            nb.load(tmp_path / "other.nc")

    def test_a_missing_variable(self, saved):
        with h5py.File(saved, "a") as file:
            del file["posterior"]["weights"]
        with pytest.raises(ValueError, match="weights"):
            nb.load(saved)

    @pytest.mark.parametrize("coordinate", [False, True])
    def test_a_file_that_unpacks_to_too_much(self, coordinate, tmp_path):
        path = tmp_path / "bomb.nc"
        with h5py.File(path, "w") as file:
            variable = file.create_group("posterior").create_dataset(
                "x", shape=(10**10,), dtype="f8", chunks=(10**6,), compression="gzip"
            )
            if coordinate:
                # xarray reads it whole as soon as it opens the file
                variable.make_scale("x")
        assert path.stat().st_size < 10**6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match="GB"):
                nb.load(path)

    def test_bad_requests(self, crab_choice, tmp_path):
        with pytest.raises(TypeError, match="DataTree"):
            nb.save({"a": 1}, tmp_path / "a.nc")
        with pytest.raises(ValueError, match="cannot write a"):
            nb.save(crab_choice.trees[1], tmp_path / "none" / "a.nc")


def test_point_fits_come_back_from_their_file(crab, tmp_path):
    tree = nb.fit_em(crab, 2, random_seed=0).to_datatree()
    nb.save(tree, tmp_path / "em.nc")
    back = nb.load(tmp_path / "em.nc")
    assert back["posterior"].to_dataset().equals(tree["posterior"].to_dataset())
    assert back.attrs["n_observations"] == 173
    with pytest.raises(ValueError, match="is a folder"):
        nb.save(tree, tmp_path)


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


class TestGroupsEditedApart:
    """Groups that were cut, sorted or changed on their own are refused by whoever reads them."""

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
    def tree(self, crab_choice):
        return crab_choice.trees[2].copy()

    @staticmethod
    def refused(tree, text, readers=READERS):
        for reader in readers:
            with pytest.raises(ValueError, match=text):
                reader(tree)

    def test_burn_in_cut_from_the_posterior_alone(self, tree):
        tree["posterior"] = tree["posterior"].isel(draw=slice(100, None))
        text = (
            r"has \(chain, draw\) = \(4, 1000\), but the posterior has \(4, 900\).*whole tree, as"
        )
        self.refused(tree, text)

    def test_one_chain_in_the_posterior_alone(self, tree):
        tree["posterior"] = tree["posterior"].isel(chain=[0])
        self.refused(tree, r"but the posterior has \(1, 1000\)")

    @pytest.mark.parametrize(
        "name", ["log_likelihood_unique", "log_prior", "relabelling", "sample_stats"]
    )
    def test_other_draws_in_a_group_alone(self, tree, name):
        posterior = tree["posterior"]
        tree[name] = tree[name].isel(draw=slice(None, None, -1))
        self.refused(tree, f"{name} has draw 999 at place 0, where the posterior has 0")
        tree["posterior"] = posterior.isel(draw=slice(None, 500))
        tree[name] = tree[name].isel(draw=slice(500))
        self.refused(tree, "has")

    def test_draws_of_the_whole_tree_can_be_selected(self, tree):
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

    def test_a_tree_without_its_chain_dimension(self, tree):
        self.refused(
            tree.isel(chain=0), "Keep both, as in tree.isel", [nb.loo, nb.add_log_likelihood]
        )

    def test_rows_in_another_order(self, tree):
        text = "has unique_row 14 at place 0; expected 0 to 14 in order"
        turned = tree.isel(unique_row=slice(None, None, -1))
        self.refused(turned, text, [nb.diagnose, nb.add_rates, nb.stack_chains, nb.loo_pit])
        self.refused(turned, text, [nb.loo, nb.add_log_likelihood])
        tree["log_likelihood_unique"] = turned["log_likelihood_unique"]
        self.refused(tree, text, [nb.diagnose, nb.add_log_likelihood, nb.stack_chains, nb.loo])

    def test_rows_and_observations_left_out(self, tree):
        few = tree.isel(unique_row=slice(10))
        self.refused(few, "row_of_obs has 173 observations", [nb.add_rates, nb.add_log_likelihood])
        few = tree.isel(obs=slice(100))
        self.refused(few, "row_of_obs has 100 observations", [nb.add_rates, nb.add_log_likelihood])
        tree["unique_rows"] = tree["unique_rows"].isel(unique_row=slice(10))
        self.refused(tree, "has 15 rows, but there are 10", [nb.diagnose, nb.loo_pit])

    def test_a_log_density_that_is_no_number(self, tree):
        for group in ("log_likelihood_unique", "log_prior"):
            for number in (np.nan, np.inf):
                spoilt = tree.copy(deep=True)
                name = next(iter(spoilt[group].data_vars))
                spoilt[group][name][2, 5] = number
                self.refused(spoilt, f"{group}.* of chain 2, draw 5.* is {number}", [nb.diagnose])
        # under a draw that makes a count impossible it is no error
        tree = tree.copy(deep=True)
        next(iter(tree["log_likelihood_unique"].data_vars.values()))[2, 5, 3] = -np.inf
        nb.add_log_likelihood(tree)

    def test_a_relabelling_that_is_no_permutation(self, tree):
        tree["relabelling"]["permutation"] = tree["relabelling"]["permutation"] * 0
        self.refused(tree, "relabelling holds no permutation of 2", [nb.diagnose, nb.relabel])


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        (3, TypeError, "path must be the name of a file .*; got 3"),
        (b"a.nc", TypeError, "path must be the name of a file"),
        ("a\0b.nc", ValueError, "cannot be the path of a file"),
        ("a" * 5000, ValueError, "cannot be the path of a file"),
    ],
)
def test_paths_that_are_none_are_refused_in_words(crab_choice, path, error, text):
    with pytest.raises(error, match=text):
        nb.save(crab_choice.trees[1], path)
    with pytest.raises(error, match=text):
        nb.load(path)


def test_load_reads_what_xarray_reads(crab_choice, tmp_path):
    tree = crab_choice.trees[2].copy()
    more = {
        "word": ("obs", np.array(["one", "zwölf", ""])),
        "yes": ("obs", np.array([True, False, True])),
        "time": ("obs", np.array(["2024-01-01", "2024-01-03", "NaT"], "datetime64[ns]")),
        "small": ("obs", np.array([0.0, np.nan, 2.0])),
        "single": 3,
    }
    tree["more/inside"] = xr.DataTree(xr.Dataset(more, attrs={"unit": "cells", "list": [1, 2]}))
    tree["more/inside"]["small"].encoding = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}
    nb.save(tree, tmp_path / "tree.nc")
    found = nb.load(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as expected:
        assert [node.path for node in found.subtree] == [node.path for node in expected.subtree]
        xr.testing.assert_identical(xr.DataTree.from_dict(found.to_dict()), expected)
        for node in expected.subtree:
            for name, variable in node.variables.items():
                assert found[node.path].variables[name].dtype == variable.dtype
