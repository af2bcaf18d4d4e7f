"""The specifications as TOML: each reads, says what it claims to, and serves its purpose."""

import tomllib

import numpy as np
import pytest

import pmnbmix as nb
from tests.conftest import ROOT

FOLDER = ROOT / "models"
NAMES = ("default", "flat", "poisson_friendly", "single", "sparse")
FLAT = nb.NormalPrior(0.0, float("inf"))
MEANT = {
    "default": nb.MixtureSpec(),
    "flat": nb.MixtureSpec(2, nb.DirichletPrior(1.0), FLAT, FLAT),
    "poisson_friendly": nb.MixtureSpec(log_dispersions=nb.NormalPrior(-1.3, 2.2)),
    "single": nb.MixtureSpec(1),
    "sparse": nb.MixtureSpec(6, nb.DirichletPrior(0.1)),
}


def read(name):
    return nb.MixtureSpec.read(FOLDER / f"{name}.toml")


def test_every_file_is_tested():
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_what_is_meant(name):
    assert read(name) == MEANT[name]


def test_the_default_leaves_nothing_to_a_default():
    stated = tomllib.loads((FOLDER / "default.toml").read_text(encoding="utf-8"))
    assert stated == nb.MixtureSpec().to_dict()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "flat"])
def test_a_proper_specification_makes_a_model(name, crab):
    spec = read(name)
    assert spec.is_proper
    model = nb.build_model(crab, spec)
    assert np.isfinite(model.compile_logp()(model.initial_point()))
    # too few draws to judge, but every one of them a mixture
    tree = nb.sample(crab, spec, draws=20, tune=50, chains=1, random_seed=1, progressbar=False)
    posterior = tree["posterior"].to_dataset()
    assert posterior.sizes["mixture_component"] == spec.n_components
    assert np.isfinite(np.log(posterior[["means", "dispersions"]])).all()
    np.testing.assert_allclose(posterior["weights"].sum("mixture_component"), 1.0)


def test_under_the_flat_one_map_is_em(crab):
    spec = read("flat")
    found = nb.fit_map(crab, spec, random_seed=1)
    expected = nb.fit_em(crab, 2, random_seed=1)
    # the flat Dirichlet of two components has density 1
    assert found.log_density == pytest.approx(found.log_likelihood, abs=1e-9)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-8)
    for name in ("weights", "means", "dispersions"):
        estimate, target = getattr(found.params, name), getattr(expected.params, name)
        np.testing.assert_allclose(estimate, target, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="flat"):
        nb.sample(crab, spec, draws=20)


def test_the_single_component_has_the_mean_of_the_counts():
    counts = nb.Counts(np.repeat([0, 1, 5, 9], 500))
    fit = nb.fit_map(counts, read("single"))
    assert fit.params.n_components == 1
    # loc is the log of that mean, so that the prior does not pull it away
    assert fit.params.means[0] == pytest.approx(counts.values.mean(), rel=1e-6)


def test_the_sparse_one_empties_a_component_that_is_not_needed():
    counts = nb.Counts(np.repeat([0, 1, 2, 3, 6], 20))
    k = read("sparse").n_components

    def gain(spec):
        """What the log density gains where all but one of equal components are nearly emptied."""
        resolved = spec.resolve(counts)
        same = (np.full(k, 2.0), np.full(k, 1.0))
        emptied = np.array([1.0 - (k - 1) * 1e-6, *[1e-6] * (k - 1)])
        return sum(
            sign
            * (
                nb.MixtureParams(weights, *same).logpmf(counts.values).sum()
                + float(resolved.weights.log_density(weights))
            )
            for sign, weights in ((1.0, emptied), (-1.0, np.full(k, 1.0 / k)))
        )

    assert gain(read("sparse")) > 30
    assert gain(nb.MixtureSpec(k)) < -30
    with pytest.raises(ValueError, match="has no MAP"):
        nb.fit_map(counts, read("sparse"))


def test_the_poisson_friendly_one_comes_nearer_to_poisson():
    counts = nb.Counts(np.random.default_rng(1).poisson(5.0, 200))
    fits = {
        name: nb.fit_map(counts, read(name).with_components(1))
        for name in ("default", "poisson_friendly")
    }
    dispersion = {name: fit.params.dispersions[0] for name, fit in fits.items()}
    assert dispersion["poisson_friendly"] < 0.8 * dispersion["default"]


def test_the_readme_names_every_file():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.rglob("*.*"):
        if path.suffix in (".json", ".py", ".stan", ".toml"):
            assert f"`{path.relative_to(FOLDER).as_posix()}`" in text, path.name
