import json
import shutil
from functools import partial

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.batch import columns as batch_columns
from tests.batch.columns_data import simulate

zarr = pytest.importorskip("zarr", reason="zarr is not installed")


def fit(*args, **kwargs):
    return nb.fit_columns(*args, progressbar=False, **kwargs)


@pytest.fixture(scope="module")
def matrix():
    return simulate(64, 200, 21)[0]


@pytest.fixture(scope="module")
def whole(matrix):
    return fit(matrix)


@pytest.fixture
def fitted_blocks(monkeypatch):
    """First columns of the blocks that were fitted."""
    started = []

    def record(part, *rest):
        started.append(part.first)
        return fitting(part, *rest)

    fitting = batch_columns._fit_part
    monkeypatch.setattr(batch_columns, "_fit_part", record)
    return started


def same(one, other):
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.variables:
        np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))


def test_what_is_written_is_what_is_returned(matrix, whole, tmp_path):
    returned = fit(matrix, out=tmp_path / "fits.zarr")
    read = nb.ColumnFits.read(tmp_path / "fits.zarr")
    same(returned, whole)
    same(read, whole)
    assert read.attrs["finished"]


def test_other_tools_read_the_numbers(matrix, whole, tmp_path):
    import xarray as xr

    fit(matrix, out=tmp_path / "fits.zarr")
    opened = xr.open_zarr(tmp_path / "fits.zarr", consolidated=False)
    assert opened.means.dims == ("column", "mixture_component")
    np.testing.assert_array_equal(opened.means, whole.means)


def test_names_are_kept(matrix, tmp_path):
    import pandas as pd

    names = [f"gène {j}" for j in range(64)]
    fit(pd.DataFrame(matrix, columns=names), out=tmp_path / "fits.zarr")
    assert nb.ColumnFits.read(tmp_path / "fits.zarr").column.to_numpy().tolist() == names


def test_only_missing_blocks_are_fitted_again(matrix, whole, tmp_path, fitted_blocks):
    fit(matrix, out=tmp_path / "fits.zarr")
    assert len(fitted_blocks) == 32
    group = zarr.open_group(str(tmp_path / "fits.zarr"), mode="r+")
    group["done"][5:7] = 0
    # what a block held that was being written when the job died
    group["means"][10:12] = 1e9
    fitted_blocks.clear()
    same(fit(matrix, out=tmp_path / "fits.zarr"), whole)
    assert fitted_blocks == [10, 12]


def test_an_interrupted_job_goes_on(matrix, whole, tmp_path, monkeypatch):
    fitting = batch_columns._fit_part

    def interrupt(part, *rest):
        if part.first >= 20:
            raise KeyboardInterrupt
        return fitting(part, *rest)

    monkeypatch.setattr(batch_columns, "_fit_part", interrupt)
    part = fit(matrix, out=tmp_path / "fits.zarr", n_jobs=1)
    assert not part.attrs["finished"]
    read = nb.ColumnFits.read(tmp_path / "fits.zarr")
    assert not read.attrs["finished"]
    same(read, part)
    assert (read.status.to_numpy() == "interrupted").sum() == 44
    # interrupted again before another block is done, it still has what there was
    same(fit(matrix, out=tmp_path / "fits.zarr", n_jobs=1), part)
    monkeypatch.setattr(batch_columns, "_fit_part", fitting)
    same(fit(matrix, out=tmp_path / "fits.zarr"), whole)


CHANGES = {
    "n_components": (lambda m: {"n_components": 3}, r"candidates \[2\], but \[3\]"),
    "criterion": (lambda m: {"n_components": "bic"}, "candidates"),
    "exposure": (lambda m: {"exposure": np.linspace(1, 2, 200)}, "has_exposure 0, but 1"),
    "exposures": (lambda m: {"exposure": np.full(200, 2.0)}, "has_exposure|other exposures"),
    "observations": (lambda m: {"matrix": m[1:]}, "n 200, but 199"),
    "a count": (lambda m: {"matrix": np.where(np.arange(64) == 9, m + 1, m)}, "columns 8 to 9"),
    "columns": (lambda m: {"matrix": m[:, :60]}, "other columns"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fits_of_something_else_are_not_mixed_with_these(change, matrix, tmp_path):
    fit(matrix, out=tmp_path / "fits.zarr")
    altered, text = CHANGES[change]
    with pytest.raises(ValueError, match=text):
        fit(**{"matrix": matrix, **altered(matrix)}, out=tmp_path / "fits.zarr")


def test_a_folder_of_something_else_is_left_alone(matrix, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no folder of fits"):
        fit(matrix, out=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def damage_metadata(folder, name, change):
    path = folder / name / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


DAMAGES = {
    "no marks": lambda f: shutil.rmtree(f / "done"),
    "no attributes": lambda f: damage_metadata(f, ".", lambda m: m.update(attributes={})),
    "not json": lambda f: (f / "zarr.json").write_text("{"),
    "a shape of petabytes": lambda f: damage_metadata(
        f, "means", lambda m: m.update(shape=[10**15, 2])
    ),
    "petabytes of columns": lambda f: damage_metadata(
        f, "column", lambda m: m.update(shape=[10**15])
    ),
    "another codec": lambda f: damage_metadata(
        f,
        "means",
        lambda m: m.update(
            codecs=[
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "gzip", "configuration": {"level": 1}},
            ]
        ),
    ),
    "components without end": lambda f: damage_metadata(
        f,
        ".",
        lambda m: m["attributes"]["pmnbmix_columns"].update(candidates=[10**9]),
    ),
    "another format": lambda f: damage_metadata(
        f, ".", lambda m: m["attributes"]["pmnbmix_columns"].update(format=99)
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_and_hostile_folders_are_refused(case, matrix, tmp_path):
    folder = tmp_path / "fits.zarr"
    fit(matrix, out=folder)
    DAMAGES[case](folder)
    with pytest.raises(ValueError, match="no folder of fits"):
        nb.ColumnFits.read(folder)
    with pytest.raises(ValueError, match="no folder of fits"):
        fit(matrix, out=folder)


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        nb.ColumnFits.read(tmp_path / "none")
    with pytest.raises(TypeError, match="name of a folder; got int"):
        nb.ColumnFits.read(3)


@pytest.mark.parametrize(
    ("array", "named"),
    [
        ("means", "means of columns 0 to 3"),
        ("done", "done of blocks"),
        ("digest", "digest of block 0"),
        ("column", "column of columns"),
    ],
)
def test_a_damaged_chunk_is_named(array, named, tmp_path):
    matrix = np.random.default_rng(1).poisson(3.0, (30, 4))
    out = tmp_path / "fits.zarr"
    nb.fit_columns(matrix, 1, out=out, progressbar=False)
    chunks = [path for path in (out / array / "c").rglob("*") if path.is_file()]
    # the second is what begins as zstd does
    for content in (b"no chunk", b"\x28\xb5\x2f\xfd\x20\x01\x09\x00"):
        for chunk in chunks:
            chunk.write_bytes(content)
        # digests are read where fits go on only
        read = partial(nb.ColumnFits.read, out)
        if array == "digest":
            read = partial(fit, matrix, 1, out=out)
        with pytest.raises(ValueError, match=rf"{named} cannot be read in .*fits\.zarr"):
            read()
