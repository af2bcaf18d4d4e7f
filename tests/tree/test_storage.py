"""Trees come back from files as they were; damaged and hostile files are refused."""

import os
import warnings

import arviz as az
import h5py
import numpy as np
import pytest
import xarray as xr

import pmnbmix as nb


@pytest.fixture
def saved(crab_choice, tmp_path):
    path = tmp_path / "tree.nc"
    nb.save(crab_choice.trees[2], path)
    return path


def test_save_and_load(crab_choice, saved):
    tree, loaded = crab_choice.trees[2], nb.load(saved)
    assert set(loaded.children) == set(tree.children)
    for name in tree.children:
        assert loaded[name].to_dataset().equals(tree[name].to_dataset()), name
    assert loaded.attrs == tree.attrs
    assert nb.diagnose(loaded).findings == nb.diagnose(tree).findings


def test_groups_within_groups_come_back(crab_choice, tmp_path):
    note = xr.Dataset({"asked": 3.0}, attrs={"by": "a user"})
    tree = crab_choice.trees[2].copy()
    tree["posterior/notes"] = xr.DataTree(note)
    nb.save(tree, tmp_path / "noted.nc")
    loaded = nb.load(tmp_path / "noted.nc")
    assert loaded["posterior/notes"].to_dataset(inherit=False).identical(note)


def test_loaded_trees_name_the_call_too(doctor_tree, tmp_path):
    nb.save(doctor_tree.isel(draw=slice(0, 500)), tmp_path / "d.nc")
    with pytest.raises(ValueError, match="add_log_likelihood"):
        az.loo(nb.load(tmp_path / "d.nc"))


def test_the_file_is_closed_and_replaced_whole(crab_choice, saved):
    nb.load(saved)
    nb.save(crab_choice.trees[1], saved)
    assert nb.load(saved)["posterior"].sizes["mixture_component"] == 1
    assert os.listdir(saved.parent) == ["tree.nc"]


def test_a_failed_save_leaves_the_old_file(crab_choice, saved):
    broken = crab_choice.trees[2].copy()
    broken["posterior"]["bad"] = ("chain", np.array([object()] * 4, dtype=object))
    with pytest.raises((TypeError, ValueError)):
        nb.save(broken, saved)
    assert nb.load(saved)["posterior"].sizes["mixture_component"] == 2
    assert os.listdir(saved.parent) == ["tree.nc"]


def test_truncated(saved):
    saved.write_bytes(saved.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a readable netCDF"):
        nb.load(saved)


def test_not_netcdf(tmp_path):
    (tmp_path / "a.nc").write_text("hello")
    with pytest.raises(ValueError, match="not a readable netCDF"):
        nb.load(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="no such file"):
        nb.load(tmp_path / "b.nc")


def test_another_posterior(tmp_path):
    other = xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("draw", [1.0])})})
    other.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="no posterior of a mixture"):
        nb.load(tmp_path / "other.nc")


def test_a_missing_variable(saved):
    with h5py.File(saved, "a") as file:
        del file["posterior"]["weights"]
    with pytest.raises(ValueError, match="weights"):
        nb.load(saved)


@pytest.mark.parametrize("coordinate", [False, True])
def test_a_file_that_unpacks_to_too_much(coordinate, tmp_path):
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


def test_bad_requests(crab_choice, tmp_path):
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
