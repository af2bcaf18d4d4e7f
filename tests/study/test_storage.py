import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmnbmix as nb
from pmnbmix.study import storage

QUIET = {"draws": 300, "watch": lambda title, done, total: None}


@pytest.fixture(scope="module")
def counts():
    # one count that a component of its own would catch, so that LOO needs exact refits
    values = nb.MixtureParams([1.0], [4.0], [0.3]).sample(60, random_seed=0)[0]
    return nb.Counts([*values.tolist(), 150], name="cells per field")


@pytest.fixture(scope="module")
def study(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "one"
    choice = nb.choose_components(
        counts, 2, thorough=True, random_seed=4, folder=folder, **QUIET
    )  # fmt: skip
    return choice, folder


def test_a_study_read_back_is_the_same_and_fits_nothing(study, counts, monkeypatch):
    first, folder = study
    for name in ("fit_all", "look_thoroughly"):
        monkeypatch.setattr(f"pmnbmix.study.choose.{name}", None)
    again = nb.choose_components(counts, 2, thorough=True, random_seed=4, folder=folder, **QUIET)
    assert again.reasons == first.reasons
    for k, fitted in first.fits.items():
        same = again.fits[k]
        # parameters go through a logarithm and back
        for name in ("weights", "means", "dispersions"):
            found, written = (getattr(one.em.params, name) for one in (same, fitted))
            np.testing.assert_allclose(found, written, rtol=1e-14)
        np.testing.assert_array_equal(same.elpd.elpd_i.values, fitted.elpd.elpd_i.values)
        assert "exact_loo" not in same.tree.children
        if fitted.refits.method != "none":
            refits = same.refits.table[fitted.refits.table.columns]
            assert refits.equals(fitted.refits.table)
            assert same.refits.sentence == fitted.refits.sentence
    assert {fitted.refits.method for fitted in first.fits.values()} >= {"refit"}
    pd.testing.assert_frame_equal(again.table, first.table, rtol=1e-12)


def test_without_a_seed_it_goes_on_with_that_of_the_folder(study, counts):
    first, folder = study
    third = nb.choose_components(counts, 3, folder=folder, stop_early=False, **QUIET)
    assert third.table.loc[2, "elpd"] == first.table.loc[2, "elpd"]
    whole = nb.choose_components(counts, 3, random_seed=4, stop_early=False, **QUIET)
    assert whole.table.loc[3, "elpd"] == third.table.loc[3, "elpd"]


def test_what_was_stopped_goes_on(counts, tmp_path):
    def stop_at_two(title, done, total):
        if title.startswith("K=2"):
            raise MemoryError

    with pytest.raises(MemoryError):
        nb.choose_components(
            counts, 2, draws=300, random_seed=4, watch=stop_at_two, folder=tmp_path / "study"
        )
    assert storage.finished(tmp_path / "study") == (1,)
    titles = []
    nb.choose_components(
        counts,
        2,
        draws=300,
        random_seed=4,
        watch=lambda title, done, total: titles.append(title),
        folder=tmp_path / "study",
    )
    assert titles
    assert all(title.startswith("K=2") for title in titles)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"draws": 301}, "draws"),
        ({"chains": 3}, "chains"),
        ({"random_seed": 5}, "random_seed"),
        ({"spec": nb.MixtureSpec(weights=nb.DirichletPrior(5.0))}, "spec"),
    ],
)
def test_a_study_of_other_settings_is_refused(study, counts, change, named):
    _, folder = study
    settings = {"random_seed": 4, "folder": folder, **QUIET, **change}
    with pytest.raises(ValueError, match=f"begun with other {named}. Name another"):
        nb.choose_components(counts, 2, **settings)


def test_a_study_of_other_counts_is_refused(study, counts):
    _, folder = study
    reordered = nb.Counts(counts.values[::-1].copy(), name=counts.name)
    with pytest.raises(ValueError, match="begun with other counts"):
        nb.choose_components(reordered, 2, random_seed=4, folder=folder, **QUIET)


def test_folders_of_other_things_are_left_alone(counts, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        nb.choose_components(counts, 1, folder=tmp_path, **QUIET)
    with pytest.raises(ValueError, match="cannot be made"):
        nb.choose_components(counts, 1, folder=tmp_path / "none" / "here", **QUIET)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_damaged_files_are_named(study, tmp_path):
    choice, _ = study
    storage.write_fitted(tmp_path, choice.fits[1])
    (tmp_path / "map_K1.json").write_text("{")
    with pytest.raises(ValueError, match=r"map_K1\.json: this is not JSON"):
        storage.read_fitted(tmp_path, 1)
    choice.fits[2].map.write(tmp_path / "map_K1.json")
    with pytest.raises(ValueError, match=r"have \(1, 2, 1\) components; expected 1"):
        storage.read_fitted(tmp_path, 1)
    (tmp_path / "thorough.json").write_text(json.dumps({"format": "pmnbmix study"}))
    with pytest.raises(ValueError, match=r"thorough\.json: these are no whole criteria"):
        storage.read_thorough(tmp_path)
    (tmp_path / "study.json").write_text('{"format": "pmnbmix study", "entropy": -1}')
    with pytest.raises(ValueError, match="entropy is -1"):
        nb.choose_components(choice.counts, 1, folder=tmp_path, **QUIET)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(ValueError, match="this is no pmnbmix study"):
        nb.choose_components(choice.counts, 1, folder=tmp_path, **QUIET)


def test_exact_terms_of_other_observations_are_refused(study, tmp_path):
    choice, _ = study
    fitted = choice.fits[2]
    storage.write_fitted(tmp_path, fitted)
    tree = nb.load(tmp_path / "posterior_K2.nc")
    if "exact_loo" in tree.children:
        short = tree["exact_loo"].to_dataset().isel(obs=slice(0, 5))
        del tree["exact_loo"]
    else:
        # the draws of some processors leave no count whose term has to be exact
        terms = {name: ("obs", np.zeros(5)) for name in ("term", "term_pareto_k")}
        attrs = {"method": "refit", "n_high_k": 1}
        short = xr.Dataset({**terms, "density_ok": ("refit", [True])}, attrs=attrs)
    tree["exact_loo"] = type(tree)(short)
    nb.save(tree, tmp_path / "posterior_K2.nc")
    with pytest.raises(ValueError, match="exact terms have shape"):
        storage.read_fitted(tmp_path, 2)


@pytest.fixture
def copied(study, tmp_path):
    """A copy of a study's folder, to be changed."""
    _, folder = study
    return shutil.copytree(folder, tmp_path / "copied")


def begun(counts, folder, **settings):
    """Folder of a study that was stopped before anything was finished."""

    def stop(title, done, total):
        raise MemoryError

    with pytest.raises(MemoryError):
        nb.choose_components(counts, 2, folder=folder, watch=stop, **settings)
    return folder


def test_fits_copied_from_a_study_of_other_counts_are_refused(study, counts, tmp_path):
    _, folder = study
    # the same sums, in another order
    other = nb.Counts(counts.values[::-1].copy(), name=counts.name)
    for name in ("em_K1.json", "map_K1.json", "posterior_K1.nc"):
        shutil.copy(folder / name, begun(other, tmp_path / "other", draws=300))
    with pytest.raises(
        ValueError, match=r"em_K1\.json was fitted to other counts: the rows are in another order"
    ):
        nb.choose_components(other, 1, folder=tmp_path / "other", **QUIET)


@pytest.mark.parametrize("name", ["em_K1.json", "map_K1.json", "posterior_K1.nc"])
def test_each_file_of_other_counts_is_named(study, counts, copied, name):
    other = nb.Counts(counts.values[::-1].copy(), name=counts.name)
    if name.startswith("em"):
        nb.fit_em(other, 1).write(copied / name)
    elif name.startswith("map"):
        nb.fit_map(other, nb.MixtureSpec(1)).write(copied / name)
    else:
        tree = nb.load(copied / name)
        rows = tree["unique_rows"].to_dataset()
        rows["row_of_obs"] = rows["row_of_obs"].copy(data=rows["row_of_obs"].values[::-1])
        tree["unique_rows"].dataset = rows
        # as in one of an earlier release
        del tree.attrs["digest_of_counts"]
        nb.save(tree, copied / name)
    with pytest.raises(ValueError, match=f"{copied / name} was fitted to other counts"):
        nb.choose_components(counts, 1, folder=copied, **QUIET)
    # a run's folder, whose counts are those of its fits
    with pytest.raises(ValueError, match="was fitted to other counts"):
        storage.read_fitted(copied, 1)


@pytest.mark.parametrize("name", ["map_K1.json", "posterior_K1.nc"])
def test_fits_of_other_priors_are_refused(counts, copied, name):
    spec = nb.MixtureSpec(1, nb.DirichletPrior(5.0)).resolve(counts)
    if name.startswith("map"):
        nb.fit_map(counts, spec).write(copied / name)
    else:
        tree = nb.load(copied / name)
        tree.attrs["spec"] = json.dumps(spec.to_dict())
        nb.save(tree, copied / name)
    with pytest.raises(ValueError, match=f"{name} has other priors: .*concentration=5.0"):
        nb.choose_components(counts, 1, folder=copied, **QUIET)


def test_priors_of_a_posterior_that_are_none_are_named(counts, copied):
    tree = nb.load(copied / "posterior_K1.nc")
    tree.attrs["spec"] = "{"
    nb.save(tree, copied / "posterior_K1.nc")
    with pytest.raises(ValueError, match=r"posterior_K1\.nc: this is no whole posterior"):
        nb.choose_components(counts, 1, folder=copied, **QUIET)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"draws": 2}, ValueError, "draws must be a whole number of 4 or above; got 2"),
        ({"draws": 50.0}, TypeError, "draws must be a whole number .*; got 50.0"),
        ({"chains": 0}, ValueError, "chains must be a whole number of 1 or above; got 0"),
        ({"spec": nb.MixtureSpec(log_means=nb.NormalPrior(0.0, np.inf))}, ValueError, "be proper"),
        ({"watch": 3}, TypeError, "watch must be a function; got 3"),
        ({"on_fitted": "x"}, TypeError, "on_fitted must be a function; got 'x'"),
    ],
)
def test_refused_settings_leave_no_folder_behind(counts, tmp_path, change, error, text):
    with pytest.raises(error, match=text):
        nb.choose_components(counts, 1, folder=tmp_path / "study", random_seed=1, **change)
    assert list(tmp_path.iterdir()) == []


def test_integers_of_numpy_are_settings_too(counts, tmp_path):
    folder = begun(counts, tmp_path / "study", draws=np.int64(50), chains=np.int32(2))
    record = json.loads((folder / "study.json").read_text())
    assert (record["draws"], record["chains"]) == (50, 2)
    # and the same as those of Python
    begun(counts, folder, draws=50, chains=2)


def test_a_posterior_that_does_not_say_whether_it_was_interrupted_was_not(
    study, counts, copied, monkeypatch
):
    first, _ = study
    monkeypatch.setattr("pmnbmix.study.choose.fit_all", None)
    tree = nb.load(copied / "posterior_K1.nc")
    del tree.attrs["interrupted"]
    nb.save(tree, copied / "posterior_K1.nc")
    again = nb.choose_components(counts, 2, folder=copied, **QUIET)
    assert again.note == first.note == ""
    assert list(again.fits) == [1, 2]


def test_a_posterior_that_does_not_say_what_its_modes_were(study, counts, copied, monkeypatch):
    first, _ = study
    monkeypatch.setattr("pmnbmix.study.choose.fit_all", None)
    tree = nb.load(copied / "posterior_K1.nc")
    del tree["modes"]
    nb.save(tree, copied / "posterior_K1.nc")
    again = nb.choose_components(counts, 2, folder=copied, **QUIET)
    assert np.isnan(again.table.loc[1, "n_modes"])
    assert again.table.loc[2, "n_modes"] == first.table.loc[2, "n_modes"]


def test_a_file_in_the_place_of_the_folder_is_refused(counts, tmp_path):
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(ValueError, match=r"file: this is a file\. Name a folder"):
        nb.choose_components(counts, 1, folder=tmp_path / "file", **QUIET)
    with pytest.raises(ValueError, match="below: cannot be made"):
        nb.choose_components(counts, 1, folder=tmp_path / "file" / "below", **QUIET)
    with pytest.raises(TypeError, match="folder must be the name of a folder; got 7"):
        nb.choose_components(counts, 1, folder=7, **QUIET)
    assert (tmp_path / "file").read_text() == "years of work"


@pytest.fixture(scope="module")
def neighbour(study, counts, tmp_path_factory):
    """A study of the same counts and priors, begun with another seed."""
    choice, _ = study
    folder = tmp_path_factory.mktemp("studies") / "neighbour"
    nb.choose_components(counts, 1, random_seed=5, folder=folder, **QUIET)
    storage.write_thorough(folder, choice.thorough)
    return folder


PARTS = ("em_K1.json", "map_K1.json", "posterior_K1.nc", "thorough.json")


@pytest.mark.parametrize("name", PARTS)
def test_files_of_another_study_of_the_same_counts_are_refused(counts, copied, neighbour, name):
    shutil.copy(neighbour / name, copied / name)
    with pytest.raises(ValueError, match=f"{name} belongs to another study, of other") as caught:
        nb.choose_components(counts, 2, thorough=True, folder=copied, **QUIET)
    assert str(copied / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PARTS)
def test_every_file_says_to_which_study_it_belongs(study, name):
    _, folder = study
    if name.endswith(".nc"):
        found = nb.load(folder / name).attrs["digest_of_study"]
    else:
        found = json.loads((folder / name).read_text())["study"]
    assert found == storage.study_digest(folder)


def test_the_digest_of_a_study_is_that_of_its_settings(study, neighbour, copied):
    _, folder = study
    own = storage.study_digest(folder)
    assert storage.study_digest(copied) == own
    assert storage.study_digest(neighbour) != own
    record = json.loads((copied / "study.json").read_text())
    for name in ("counts", "spec", "draws", "chains", "entropy", "name"):
        (copied / "study.json").write_text(json.dumps({**record, name: "other"}))
        assert storage.study_digest(copied) != own
    # the order of what is written is none of its settings
    (copied / "study.json").write_text(json.dumps(dict(reversed(record.items()))))
    assert storage.study_digest(copied) == own


def test_a_folder_without_a_record_holds_fits_that_agree(study, neighbour, copied):
    (copied / "study.json").unlink()
    assert storage.read_fitted(copied, 1).n_components == 1
    shutil.copy(neighbour / "map_K1.json", copied)
    with pytest.raises(ValueError, match=r"map_K1\.json belongs to another study"):
        storage.read_fitted(copied, 1)


def test_a_fit_written_by_hand_is_taken_for_its_counts_and_priors(study, counts, copied):
    nb.PointFit.read(copied / "em_K1.json").write(copied / "em_K1.json")
    again = nb.choose_components(counts, 1, folder=copied, **QUIET)
    assert again.fits[1].n_components == 1
