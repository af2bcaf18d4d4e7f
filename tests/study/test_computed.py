"""What a posterior's file keeps of what was computed from it, and when that is computed again."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmnbmix as nb
from pmnbmix.study import computed, storage
from pmnbmix.study.computed import GROUP
from pmnbmix.tree.reading import read


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    # one count that a component of its own would catch, so that LOO needs exact refits
    rng = np.random.default_rng(1)
    exposure = rng.choice([0.5, 1.0, 2.0], 61)
    values = nb.MixtureParams([1.0], [4.0], [0.3]).sample(60, 0, exposure[:60])[0]
    folder = tmp_path_factory.mktemp("studies") / "one"
    counts = nb.Counts([*values.tolist(), 150], exposure)
    quiet = {"draws": 300, "watch": lambda title, done, total: None}
    return nb.choose_components(counts, 2, random_seed=4, folder=folder, **quiet).fits, folder


@pytest.fixture
def copied(study, tmp_path):
    return shutil.copytree(study[1], tmp_path / "copied")


@pytest.fixture
def nothing_is_computed(monkeypatch):
    for name in ("terms_of_reading", "compare_readings"):
        monkeypatch.setattr(storage, name, None)


def posterior_of(folder, k):
    return folder / f"posterior_K{k}.nc"


def edited(folder, k, change, sealed=False):
    """Change a stored posterior, and perhaps give it a seal that fits."""
    tree = nb.load(posterior_of(folder, k))
    change(tree)
    if sealed:
        points = (folder / f"em_K{k}.json", folder / f"map_K{k}.json")
        del tree[GROUP].attrs["seal"]
        tree[GROUP].attrs["seal"] = computed._seal_of(tree, points)
    nb.save(tree, posterior_of(folder, k))


def assert_same_elpd(found, expected):
    for part in dataclasses.fields(expected):
        one, other = (getattr(elpd, part.name) for elpd in (found, expected))
        if isinstance(other, xr.DataArray):
            assert one.identical(other)
        else:
            assert one == other


def assert_same_verdict(found, expected):
    for part in dataclasses.fields(expected):
        one, other = (getattr(diagnosis, part.name) for diagnosis in (found, expected))
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        else:
            np.testing.assert_array_equal(one, other)


def assert_same_table(found, expected, **how):
    pd.testing.assert_frame_equal(found, expected, **(how or {"check_exact": True}))
    assert found.attrs.keys() == expected.attrs.keys()
    for name, numbers in expected.attrs.items():
        assert found.attrs[name] == (numbers if not how else pytest.approx(numbers, abs=1e-9))


@pytest.mark.parametrize("k", [1, 2])
def test_what_is_read_back_is_what_was_computed_to_the_bit(study, k, nothing_is_computed):
    fits, folder = study
    again = storage.read_fitted(folder, k)
    assert_same_verdict(again.diagnosis, fits[k].diagnosis)
    assert_same_elpd(again.elpd, fits[k].elpd)
    assert_same_table(again.estimates, fits[k].estimates)
    assert again.refits.table.equals(fits[k].refits.table[again.refits.table.columns])
    assert again.tree.children.keys() == fits[k].tree.children.keys()
    # terms that were made exact afterwards are kept beside those of importance sampling
    assert {fitted.refits.method for fitted in fits.values()} >= {"refit"}


@pytest.mark.parametrize("k", [1, 2])
def test_a_file_that_keeps_nothing_is_computed_anew(study, copied, k):
    def without(tree):
        del tree[GROUP]

    edited(copied, k, without)
    again = storage.read_fitted(copied, k)
    assert_same_verdict(again.diagnosis, study[0][k].diagnosis)
    assert_same_elpd(again.elpd, study[0][k].elpd)
    # parameters of point fits go through a logarithm and back
    assert_same_table(again.estimates, study[0][k].estimates, rtol=1e-9, atol=1e-9)


def test_a_kept_error_of_interpolation_is_read(study, tmp_path, nothing_is_computed):
    fitted = study[0][1]
    terms = fitted.terms._replace(error=0.25, pareto_k=np.full_like(fitted.terms.elpd, np.inf))
    storage.write_fitted(tmp_path, dataclasses.replace(fitted, terms=terms))
    found = storage.read_fitted(tmp_path, 1).terms
    assert found.error == 0.25
    for name in ("elpd", "pareto_k", "lpd"):
        np.testing.assert_array_equal(getattr(found, name), getattr(terms, name))


def fewer_draws(tree):
    for name in ("posterior", "sample_stats", "log_prior", "relabelling", "log_likelihood_unique"):
        if name in tree.children:
            tree[name].dataset = tree[name].to_dataset().isel(draw=slice(0, 200))


def other_draws(tree):
    dataset = tree["posterior"].to_dataset()
    dataset["means"] = 1.5 * dataset["means"]
    tree["posterior"].dataset = dataset


def other_densities(tree):
    dataset = tree["log_likelihood_unique"].to_dataset()
    tree["log_likelihood_unique"].dataset = dataset - 1.0


@pytest.mark.parametrize("change", [fewer_draws, other_draws, other_densities])
def test_an_edited_posterior_is_judged_anew(study, copied, change):
    edited(copied, 2, lambda tree: (change(tree), tree["exact_loo"].orphan()))
    again = storage.read_fitted(copied, 2)
    tree = again.tree
    assert_same_verdict(again.diagnosis, nb.diagnose(tree, again.em))
    assert_same_elpd(again.elpd, nb.loo(tree, diagnosis=again.diagnosis))
    expected = nb.compare_estimates(again.em, again.map, tree, again.diagnosis)
    assert_same_table(again.estimates, expected)
    before = study[0][2]
    assert (again.elpd.elpd, again.estimates.loc["means[0]", "nuts_mean"]) != (
        *(before.elpd.elpd, before.estimates.loc["means[0]", "nuts_mean"]),
    )


def test_estimates_of_another_point_fit_are_compared_anew(study, copied):
    em = nb.fit_em(study[0][2].em.counts, 2, mixing="equal", random_seed=1)
    em.write(copied / "em_K2.json")
    again = storage.read_fitted(copied, 2)
    np.testing.assert_allclose(again.estimates.loc[["weights[0]", "weights[1]"], "em"], 0.5)


def test_what_another_version_computed_is_computed_anew(copied, monkeypatch):
    asked = []
    compare, terms = storage.compare_readings, storage.terms_of_reading
    monkeypatch.setattr(storage, "compare_readings", lambda *a: (asked.append("c"), compare(*a))[1])
    monkeypatch.setattr(storage, "terms_of_reading", lambda *a: (asked.append("t"), terms(*a))[1])
    storage.read_fitted(copied, 1)
    assert asked == []
    monkeypatch.setattr(computed, "version", lambda name: "another")
    storage.read_fitted(copied, 1)
    assert asked == ["t", "c"]


def put(name, value):
    """Replace a variable of what was kept by another, or by none."""

    def change(tree):
        dataset = tree[GROUP].to_dataset()
        found = value(dataset) if callable(value) else value
        dataset = dataset.drop_vars(name, errors="ignore")
        tree[GROUP].dataset = dataset if found is None else dataset.assign({name: found})

    return change


def row(entry):
    return lambda dataset: ("unique_row", np.full(dataset["elpd"].size, entry))


def in_table(part, change):
    def value(dataset):
        stored = json.loads(str(dataset["estimates"].values))
        return json.dumps({**stored, part: change(stored[part])})

    return put("estimates", value)


def in_column(name, change):
    return in_table("columns", lambda found: {**found, name: change(found[name])})


DAMAGED = {
    "no terms": put("elpd", None),
    "too few terms": put("elpd", ("other", np.zeros(3))),
    "terms that are no numbers": put("lpd", row(np.nan)),
    "infinite terms": put("elpd", row(np.inf)),
    "terms that are words": put("pareto_k", row("x")),
    "a negative error": put("interpolation_error", -1.0),
    "two errors": put("interpolation_error", ("two", [0.1, 0.2])),
    "no table": put("estimates", None),
    "a number as table": put("estimates", 3.0),
    "brackets": put("estimates", "[" * 100_000),
    "half a table": in_table("columns", lambda found: {"em": found["em"]}),
    "no columns": in_table("columns", lambda found: None),
    "a short column": in_column("em", lambda found: found[:1]),
    "words in a column": in_column("em", lambda found: ["x"] * len(found)),
    "no number in a column": in_column("em", lambda found: [np.nan] * len(found)),
    "a number beyond all": in_column("em", lambda found: [10**400] * len(found)),
    "a flag that is no text": in_column("flag", lambda found: [1] * len(found)),
    "a flag too few": in_column("flag", lambda found: found[1:]),
    "another attribute": in_table("attrs", lambda found: {**found, "x": {}}),
    "an attribute that is none": in_table("attrs", lambda found: {**found, "kl": 3}),
    "a word as distance": in_table("attrs", lambda found: {**found, "kl": {"em, map": "far"}}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_even_under_a_seal(study, name):
    folder = study[1]
    tree = nb.load(posterior_of(folder, 1))
    assert computed.computed_of(tree[GROUP].to_dataset(), read(tree)) is not None
    DAMAGED[name](tree)
    assert computed.computed_of(tree[GROUP].to_dataset(), read(tree)) is None


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_damaged_is_computed_anew(study, copied, sealed):
    edited(copied, 1, DAMAGED["terms that are no numbers"], sealed)
    again = storage.read_fitted(copied, 1)
    assert_same_elpd(again.elpd, study[0][1].elpd)
    assert_same_table(again.estimates, study[0][1].estimates, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seal", ["", "0" * 64, 7, [1.0, 2.0]])
def test_another_seal_is_none(study, copied, seal):
    edited(copied, 1, lambda tree: tree[GROUP].attrs.update(seal=seal))
    again = storage.read_fitted(copied, 1)
    assert_same_elpd(again.elpd, study[0][1].elpd)


def test_what_was_kept_is_under_the_seal_too(copied):
    change = in_column("flag", lambda found: ["edited"] * len(found))
    edited(copied, 1, change)
    assert "edited" not in storage.read_fitted(copied, 1).estimates["flag"].tolist()
    edited(copied, 2, change, sealed=True)
    assert set(storage.read_fitted(copied, 2).estimates["flag"]) == {"edited"}
