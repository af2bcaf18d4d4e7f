"""Whatever is selected of a tree with xarray is selected of every group, draw by draw."""

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb

SETTINGS = {"draws": 60, "tune": 300, "chains": 4, "random_seed": 1, "progressbar": False}

SELECTIONS = {
    "first draws": lambda tree: tree.isel(draw=slice(0, 25)),
    "last draws": lambda tree: tree.isel(draw=slice(40, None)),
    "every other draw": lambda tree: tree.isel(draw=slice(None, None, 2)),
    "draws backwards": lambda tree: tree.isel(draw=slice(None, None, -1)),
    "draws by a mask": lambda tree: tree.isel(draw=np.arange(tree["posterior"].sizes["draw"]) > 3),
    "draws by label": lambda tree: tree.sel(draw=slice(10, 19)),
    "draws by a list of labels": lambda tree: tree.sel(draw=[7, 3, 30]),
    "chains": lambda tree: tree.isel(chain=[0, 1]),
    "chains by label": lambda tree: tree.sel(chain=[0, 1]),
    "the last chain": lambda tree: tree.isel(chain=[-1]),
    "chains in another order": lambda tree: tree.sel(chain=[3, 0]),
    "chains and draws": lambda tree: tree.sel(chain=[1, 2], draw=slice(5, None)),
    "one draw": lambda tree: tree.isel(draw=-1),
    "one chain": lambda tree: tree.isel(chain=2),
    "head": lambda tree: tree.map_over_datasets(_head),
}


def _head(dataset):
    return dataset.head(draw=10) if "draw" in dataset.dims else dataset


@pytest.fixture(scope="module")
def exposed():
    """Counts of which no two have the same exposure."""
    rng = np.random.default_rng(4)
    exposure = rng.uniform(0.5, 2.0, 40)
    values, _ = nb.MixtureParams([1.0], [4.0], [0.3]).sample(40, rng, exposure)
    return nb.Counts(values, exposure)


@pytest.fixture(scope="module")
def shared():
    """Counts of two exposures, rows of which are collapsed."""
    rng = np.random.default_rng(5)
    exposure = np.repeat([1.0, 2.0], 300)
    values, _ = nb.MixtureParams([1.0], [1.0], [0.3]).sample(600, rng, exposure)
    return nb.Counts(values, exposure)


@pytest.fixture(scope="module")
def many():
    """So many counts that only some draws predict them."""
    return nb.Counts([0, 1, 2, 7], frequency=[20_000_000, 900, 80, 1])


@pytest.fixture(scope="module")
def trees(crab, exposed, shared, many, tmp_path_factory):
    sampled = nb.sample(crab, nb.MixtureSpec(2), **SETTINGS)
    file = tmp_path_factory.mktemp("trees") / "crab.nc"
    nb.save(sampled, file)
    own = sampled["posterior"].to_dataset()
    foreign = type(sampled).from_dict({"posterior": own, "sample_stats": sampled["sample_stats"]})
    return {
        "sample": sampled,
        "laplace": nb.laplace(exposed, nb.MixtureSpec(1), draws=240, random_seed=1),
        "read back": nb.load(file),
        "relabelled": nb.relabel(sampled, "order", by="means"),
        "with exposures": nb.sample(exposed, nb.MixtureSpec(1), **SETTINGS),
        "collapsed rows": nb.sample(shared, nb.MixtureSpec(1), **SETTINGS),
        "thinned": nb.sample(
            crab, nb.MixtureSpec(2), draws=100, chains=4, random_seed=1, progressbar=False
        ),
        "very many counts": nb.sample(many, nb.MixtureSpec(1), **SETTINGS),
        "of another sampler": nb.from_datatree(foreign, crab),
        "added to": nb.add_log_likelihood(nb.add_responsibilities(sampled)),
    }


KINDS = (
    "sample",
    "laplace",
    "read back",
    "relabelled",
    "with exposures",
    "collapsed rows",
    "thinned",
    "very many counts",
    "of another sampler",
    "added to",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_group_has_the_draws_that_were_selected(trees, kind, selection):
    whole = trees[kind]
    part = SELECTIONS[selection](whole)
    wanted = part["posterior"]["means"]
    assert wanted.size
    for name, node in part.children.items():
        for variable in node.to_dataset().data_vars.values():
            for dim in {"chain", "draw"} & set(whole[name][variable.name].dims):
                np.testing.assert_array_equal(variable[dim], wanted[dim], err_msg=name)
            # the values are those that the same labels have in the whole tree
            if {"chain", "draw"} <= set(whole[name][variable.name].dims):
                labels = {dim: wanted[dim] for dim in ("chain", "draw")}
                expected = whole[name][variable.name].sel(labels)
                np.testing.assert_array_equal(variable, expected, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_with_draws_have_those_of_the_posterior(trees, kind):
    posterior = trees[kind]["posterior"]
    found = set()
    for name, node in trees[kind].children.items():
        if {"chain", "draw"} & set(node.sizes):
            found.add(name)
            for dim in ("chain", "draw"):
                np.testing.assert_array_equal(node[dim], posterior[dim], err_msg=name)
    assert {"posterior", "sample_stats", "relabelling"} <= found


@pytest.mark.filterwarnings("ignore:LOO of a posterior that failed")
@pytest.mark.parametrize("kind", ["sample", "relabelled", "read back", "thinned"])
@pytest.mark.parametrize("selection", ["last draws", "chains by label", "chains and draws"])
def test_what_is_selected_can_be_judged(trees, kind, selection, crab):
    part = SELECTIONS[selection](trees[kind])
    assert nb.loo(part).elpd == pytest.approx(nb.loo(trees[kind]).elpd, abs=2.0)
    pit = az.loo_pit(part)[crab.variable]
    assert abs(float(pit.mean()) - 0.5) < 0.15
    assert np.isfinite(nb.diagnose(part).table["ess_bulk"]).all()


class TestArvizOnPredictions:
    def test_loo_pit_and_expectations(self, trees, crab):
        tree = trees["thinned"]
        pit = az.loo_pit(tree)[crab.variable]
        assert pit.sizes["obs"] == crab.n
        # 173 values of a law near the uniform: their mean scatters by 0.022
        assert abs(float(pit.mean()) - 0.5) < 0.1
        mean, _ = az.loo_expectations(tree)
        assert float(mean.mean()) == pytest.approx(crab.values.mean(), rel=0.15)

    @pytest.mark.parametrize("name", ["plot_loo_pit", "plot_energy", "plot_ppc_rootogram"])
    def test_plots(self, trees, name):
        import matplotlib.pyplot as plt

        collection = getattr(az, name)(trees["thinned"], backend="matplotlib")
        figure = collection.viz["figure"].item()
        assert any(ax.lines or ax.collections for ax in figure.axes)
        plt.close("all")

    def test_a_table_of_every_draw_has_the_draws_of_the_posterior(self, trees):
        predicted = trees["very many counts"]["posterior_predictive_table"]
        assert predicted["times"].dims == ("chain", "draw", "value")


class TestEnergies:
    def test_those_of_thinned_draws_are_kept_with_the_e_bfmi_of_all(self, trees):
        stats = trees["thinned"]["sample_stats"].to_dataset()
        assert trees["thinned"].attrs["thinned_from"] > 100
        assert stats["energy"].sizes == {"chain": 4, "draw": 100}
        assert (stats["e_bfmi"] > 0.3).all()
        # thinned energies change by more from draw to draw than those of the sampler
        assert (az.bfmi(stats)["energy"] > stats["e_bfmi"]).any()
        found = nb.diagnose(trees["thinned"]).chains["e_bfmi"]
        np.testing.assert_array_equal(found, stats["e_bfmi"])

    @pytest.mark.parametrize("kind", ["sample", "with exposures", "collapsed rows"])
    def test_those_of_all_draws(self, trees, kind):
        stats = trees[kind]["sample_stats"].to_dataset()
        assert "e_bfmi" not in stats
        assert np.isfinite(az.bfmi(stats)["energy"]).all()


@pytest.mark.filterwarnings("ignore:LOO of a posterior that failed")
def test_an_old_file_whose_prior_and_predictions_had_other_draws_is_read(trees, tmp_path):
    """Up to release 1 the prior was one chain, and predictions were thinned."""
    old = trees["sample"].copy()
    for name in ("prior", "prior_predictive"):
        old[name] = type(old)(old[name].to_dataset().isel(chain=[0]))
    old["posterior_predictive"] = type(old)(
        old["posterior_predictive"].to_dataset().isel(draw=[0, 30, 59])
    )
    nb.save(old, tmp_path / "old.nc")
    loaded = nb.load(tmp_path / "old.nc")
    assert loaded["posterior_predictive"].sizes["draw"] == 3
    assert nb.loo(loaded).elpd == nb.loo(trees["sample"]).elpd
    nb.diagnose(nb.relabel(loaded))
