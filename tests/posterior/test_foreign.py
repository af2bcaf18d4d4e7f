"""Draws of other samplers, with names of their own."""

import arviz as az
import numpy as np
import pytest

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
    from pmnbmix.posterior.tree import assemble

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
