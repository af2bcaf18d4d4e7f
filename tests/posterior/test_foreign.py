"""Draws of other samplers, with names of their own."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

import pmnbmix as nb
from tests.synthetic import TRUTH, scattered

NAMES = {"weights": "w", "means": "mu", "inv_disps": "alpha"}


@pytest.fixture(scope="module")
def counts():
    return nb.Counts(TRUTH.sample(300, random_seed=2)[0])


@pytest.fixture(scope="module")
def draws():
    """Draws whose labels change from draw to draw."""
    clean = scattered([TRUTH] * 4, n_draws=300)
    order = np.random.default_rng(0).permuted(np.tile([0, 1], (4, 300, 1)), axis=-1)
    return clean.permuted(order)


@pytest.fixture(scope="module")
def foreign(draws):
    return az.from_dict(
        {
            "posterior": {
                "w": draws.weights,
                "mu": draws.means,
                "alpha": 1 / draws.dispersions,
                "tau": np.ones((4, 300)),
            }
        }
    )


def test_relabelled_under_its_own_names(counts, foreign):
    tree = nb.relabel(foreign, counts=counts, names=NAMES)
    posterior = tree["posterior"].to_dataset()
    assert set(posterior.data_vars) == {"w", "mu", "alpha", "tau"}
    assert posterior["mu"].dims == foreign["posterior"]["mu"].dims
    assert float(posterior["mu"][..., 0].max()) < 3 < 15 < float(posterior["mu"][..., 1].min())
    # each draw is the same set of components as before
    for name in ("w", "mu", "alpha"):
        np.testing.assert_array_equal(
            np.sort(posterior[name], axis=-1), np.sort(foreign["posterior"][name], axis=-1)
        )
    assert tree["relabelling"].attrs["method"] == "stephens"
    # what has no components is left alone
    assert posterior["tau"].identical(foreign["posterior"]["tau"])


@pytest.mark.parametrize("method", ["ecr", "ecr-iterative-2", "pra", "order"])
def test_every_method_takes_names(counts, foreign, method):
    stephens = nb.relabel(foreign, counts=counts, names=NAMES)["posterior"]["mu"]
    other = nb.relabel(foreign, method=method, counts=counts, names=NAMES)["posterior"]["mu"]
    np.testing.assert_array_equal(stephens, other)


def test_sorted_by_a_variable_of_its_own(counts, foreign):
    tree = nb.relabel(foreign, method="order", by="alpha", counts=counts, names=NAMES)
    alpha = tree["posterior"]["alpha"].values
    assert (np.diff(alpha) >= 0).all() or (np.diff(alpha) <= 0).all()
    with pytest.raises(ValueError, match="another variable of the posterior; got 'beta'"):
        nb.relabel(foreign, method="order", by="beta", counts=counts, names=NAMES)
    with pytest.raises(ValueError, match="'tau' has dimensions"):
        nb.relabel(foreign, method="order", by="tau", counts=counts, names=NAMES)


def test_diagnosed_as_our_own(counts, foreign, draws):
    from pmnbmix.tree.writing import assemble

    one = nb.diagnose(foreign, counts=counts, names=NAMES)
    own = nb.diagnose(assemble(counts, draws, {}))
    assert one.findings == own.findings == {"label-switching"}
    assert one.density_ok
    assert one.components_ok
    np.testing.assert_allclose(one.table["r_hat"], own.table["r_hat"])
    again = nb.diagnose(nb.relabel(foreign, counts=counts, names=NAMES), counts=counts, names=NAMES)
    assert again.findings == one.findings
    np.testing.assert_allclose(
        nb.co_cluster(foreign, counts=counts, names=NAMES).similarity,
        nb.co_cluster(assemble(counts, draws, {})).similarity,
    )


def test_taken_over_it_serves_every_function(counts, foreign, draws, tmp_path):
    tree = nb.from_datatree(foreign, counts, NAMES)
    assert tree["posterior"].sizes == {"chain": 4, "draw": 300, "mixture_component": 2}
    assert nb.diagnose(tree, optima=nb.fit_em(counts, 2, random_seed=0)).density_ok
    elpd = nb.loo(tree)
    em = nb.fit_em(counts, 2, random_seed=0)
    assert elpd.elpd == pytest.approx(em.log_likelihood, abs=15)
    nb.add_responsibilities(tree)
    nb.add_rates(tree)
    nb.plots.plot_fit(tree)
    nb.save(tree, tmp_path / "foreign.nc")
    assert (
        nb.load(tmp_path / "foreign.nc")["posterior"]
        .to_dataset()
        .identical(tree["posterior"].to_dataset())
    )
    estimates = nb.compare_estimates(em=em, nuts=tree)
    assert estimates.loc["means[1]", "nuts_median"] == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    ("key", "convert"),
    [
        ("dispersions", lambda inverse: 1 / inverse),
        ("log_dispersions", lambda inverse: -np.log(inverse)),
        ("log_inv_disps", np.log),
    ],
)
def test_other_scales(counts, foreign, key, convert):
    posterior = foreign["posterior"].to_dataset()
    posterior["phi"] = convert(posterior["alpha"])
    posterior["eta"] = np.log(posterior["mu"])
    other = foreign.copy()
    other["posterior"].dataset = posterior
    names = {"weights": "w", "log_means": "eta", key: "phi"}
    one, two = nb.from_datatree(other, counts, names), nb.from_datatree(foreign, counts, NAMES)
    for name in ("weights", "means", "dispersions"):
        np.testing.assert_allclose(one["posterior"][name], two["posterior"][name])


def test_a_named_dimension_permutes_all_that_have_it(counts, draws):
    dims = {name: ["cluster"] for name in ("w", "mu", "alpha", "extra")} | {
        "p": ["cluster", "item"]
    }
    posterior = {
        "w": draws.weights,
        "mu": draws.means,
        "alpha": 1 / draws.dispersions,
        "extra": 10 * draws.means,
        "p": draws.means[..., None] * np.arange(1, 4),
    }
    tree = az.from_dict({"posterior": posterior}, dims=dims)
    names = {**NAMES, "mixture_component": "cluster"}
    new = nb.relabel(tree, counts=counts, names=names)["posterior"].to_dataset()
    np.testing.assert_allclose(new["extra"], 10 * new["mu"])
    assert new["p"].dims == ("chain", "draw", "cluster", "item")
    np.testing.assert_allclose(new["p"].isel(item=2), 3 * new["mu"])


def broken(foreign, **changed):
    tree = foreign.copy()
    tree["posterior"].dataset = tree["posterior"].to_dataset().assign(changed)
    return tree


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"means": "mu", "weights": "w"}, "no variable 'dispersions'.*log_inv_disps"),
        ({**NAMES, "dispersions": "alpha"}, "one of them is enough"),
        ({**NAMES, "phi": "alpha"}, "names has no key 'phi'; it has mixture_component"),
        ({**NAMES, "mixture_component": "k"}, r"expected \('chain', 'draw', 'k'\)"),
        ({**NAMES, "means": "tau"}, "'tau' has dimensions"),
    ],
)
def test_wrong_names(counts, foreign, names, text):
    with pytest.raises(ValueError, match=text):
        nb.relabel(foreign, counts=counts, names=names)


def test_draws_that_are_no_parameters(counts, foreign):
    posterior = foreign["posterior"].to_dataset()
    hidden = posterior["mu"].where(posterior["mu"] < 5)
    cases = (
        ("mu", -posterior["mu"], "means of chain 0, draw 0, component 0 is -"),
        ("mu", hidden, r"means of chain 0, draw 0, component \d is nan"),
        ("w", 2 * posterior["w"], r"weights of chain 0, draw 0 sum to"),
        (
            "alpha",
            0 * posterior["alpha"],
            "dispersions of chain 0, draw 0, component 0 is inf; expected 0 or more",
        ),
    )
    for name, bad, text in cases:
        with pytest.raises(ValueError, match=text):
            nb.from_datatree(broken(foreign, **{name: bad}), counts, NAMES)
    narrow = broken(foreign, mu=posterior["mu"][..., :1].rename(mu_dim_0="other"))
    with pytest.raises(ValueError, match="have shapes"):
        nb.from_datatree(narrow, counts, NAMES)


def test_counts_are_needed(foreign):
    with pytest.raises(ValueError, match=r"no group 'unique_rows'.*counts="):
        nb.relabel(foreign, names=NAMES)
    with pytest.raises(TypeError, match="counts must be a Counts; got list"):
        nb.from_datatree(foreign, [1, 2, 3], NAMES)
    with pytest.raises(TypeError, match="counts must be a Counts"):
        nb.diagnose(foreign, counts=[1, 2], names=NAMES)


def test_variables_under_default_names_are_relabelled_with_the_others(counts, draws):
    posterior = {"weights": draws.weights, "mu": draws.means, "dispersions": draws.dispersions}
    tree = az.from_dict({"posterior": posterior})
    new = nb.relabel(tree, counts=counts, names={"means": "mu"})["posterior"]
    assert float(new["weights"][..., 0].max()) < 0.5 < float(new["weights"][..., 1].min())
    assert float(new["mu"][..., 0].max()) < 5
    all_default = az.from_dict({"posterior": {**posterior, "means": draws.means}})
    again = nb.relabel(all_default, counts=counts, names={})["posterior"]
    np.testing.assert_array_equal(again["means"], new["mu"])


def test_single_precision_is_enough(counts, draws):
    posterior = {
        "w": draws.weights.astype("f4"),
        "mu": draws.means.astype("f4"),
        "alpha": (1 / draws.dispersions).astype("f4"),
    }
    tree = az.from_dict({"posterior": posterior})
    assert nb.diagnose(tree, counts=counts, names=NAMES).components_ok
    taken = nb.from_datatree(tree, counts, NAMES)
    np.testing.assert_allclose(taken["posterior"]["weights"].sum("mixture_component"), 1.0)
    for method in ("ecr", "pra"):
        nb.relabel(tree, method=method, counts=counts, names=NAMES)


def test_draws_under_our_own_names_are_checked_too(counts, draws):
    means = draws.means.copy()
    means[1, 2, 0] = np.nan
    dims = {name: ["mixture_component"] for name in ("weights", "means", "dispersions")}
    posterior = {"weights": draws.weights, "means": means, "dispersions": draws.dispersions}
    tree = az.from_dict({"posterior": posterior}, dims=dims)
    for call in (nb.relabel, nb.diagnose, nb.co_cluster):
        with pytest.raises(ValueError, match="means of chain 1, draw 2, component 0 is nan"):
            call(tree, counts=counts)


def test_counts_that_are_not_those_of_the_tree(counts, foreign):
    tree = nb.from_datatree(foreign, counts, NAMES)
    for other in (nb.Counts(counts.values + 1), nb.Counts(counts.values[:100])):
        for call in (nb.relabel, nb.diagnose, nb.co_cluster):
            with pytest.raises(ValueError, match="Leave counts out, or pass those of the fit"):
                call(tree, counts=other)
    assert nb.diagnose(tree, counts=counts).density_ok


def test_labels_the_sampler_gave_are_remembered(counts, foreign):
    relabelled = nb.relabel(foreign, counts=counts, names=NAMES)
    taken = nb.from_datatree(relabelled, counts, NAMES)
    assert "label-switching" in nb.diagnose(taken).findings
    straight = nb.from_datatree(foreign, counts, NAMES)
    np.testing.assert_array_equal(
        taken["relabelling"]["permutation"], straight["relabelling"]["permutation"]
    )


def test_statistics_of_another_run_are_refused(counts, foreign):
    tree = foreign.copy()
    tree["sample_stats"] = xr.DataTree(
        xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, 200), bool))})
    )
    with pytest.raises(ValueError, match=r"sample_stats has \(chain, draw\) = \(4, 200\)"):
        nb.from_datatree(tree, counts, NAMES)


def test_a_tree_without_chains(counts, foreign):
    alone = foreign.isel(chain=0)
    with pytest.raises(ValueError, match="expected chain and draw among them"):
        nb.relabel(alone, counts=counts, names=NAMES)


def test_what_sampled_oddly_is_no_reason_to_fail(counts, foreign):
    """Energies that never change, divergences with a dimension of their own."""
    tree = foreign.copy()
    stats = {
        "energy": (("chain", "draw"), np.ones((4, 300))),
        "diverging": (("chain", "draw", "kind"), np.zeros((4, 300, 2), bool)),
    }
    tree["sample_stats"] = xr.DataTree(xr.Dataset(stats))
    chains = nb.diagnose(tree, counts=counts, names=NAMES).chains
    assert chains["e_bfmi"].isna().all()
    assert (chains["divergent"] == 0).all()


def test_a_tree_that_knows_its_rows_is_not_taken_over_for_other_counts(counts, foreign):
    tree = nb.from_datatree(foreign, counts, NAMES)
    others = nb.Counts(counts.values + 1), nb.Counts(counts.values, np.full(counts.n, 2.0))
    for other in others:
        with pytest.raises(ValueError, match="or pass those of the fit"):
            nb.from_datatree(tree, other)
    again = nb.from_datatree(tree, counts)
    np.testing.assert_array_equal(again["posterior"]["means"], tree["posterior"]["means"])


@pytest.fixture(scope="module")
def extended(foreign):
    """Draws of another sampler, with variables that a user added."""
    own = foreign["posterior"].to_dataset()
    component = next(dim for dim in own[NAMES["means"]].dims if dim not in ("chain", "draw"))
    added = own.assign(
        twice=2.0 * own[NAMES["means"]],
        pairs=own[NAMES["means"]].expand_dims(city=["A", "B"], axis=2),
        total=own[NAMES["means"]].sum(component),
    )
    return xr.DataTree.from_dict({"posterior": added})


class TestVariablesThatAUserAdded:
    """They are kept, and those of the components are permuted with them."""

    def check(self, taken):
        posterior = taken["posterior"].to_dataset()
        np.testing.assert_allclose(posterior["twice"], 2.0 * posterior["means"])
        np.testing.assert_allclose(posterior["pairs"].sel(city="B"), posterior["means"])
        assert posterior["pairs"].dims == ("chain", "draw", "city", "mixture_component")
        np.testing.assert_allclose(posterior["total"], posterior["means"].sum("mixture_component"))

    def test_by_from_datatree(self, counts, extended):
        taken = nb.from_datatree(extended, counts, NAMES)
        # the sampler's labels switch, so that what is not permuted would differ
        assert "label-switching" in nb.diagnose(taken).findings
        self.check(taken)
        assert not set(NAMES.values()) & set(taken["posterior"].data_vars)

    def test_twice_and_after_other_labels(self, counts, extended):
        relabelled = nb.relabel(extended, "order", by="means", counts=counts, names=NAMES)
        self.check(nb.from_datatree(relabelled, counts, NAMES))
        taken = nb.from_datatree(extended, counts, NAMES)
        self.check(nb.from_datatree(taken, counts))
        self.check(nb.relabel(taken, "order", by="means"))

    def test_saved_and_loaded(self, counts, extended, tmp_path):
        nb.save(nb.from_datatree(extended, counts, NAMES), tmp_path / "tree.nc")
        self.check(nb.load(tmp_path / "tree.nc"))
