"""Files that keep a library busy for ever, take all memory or end the process; found by fuzzing."""

import gzip
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix import hdf5
from pmnbmix.batch.files import open_matrix

# one of the limits is met first, or what the library says at that of memory
LIMITED = r"\(.*(it is damaged|memory allocation failed)"
FILES = Path(__file__).parent / "files"


@pytest.fixture(params=["hdf5_without_end", "hdf5_of_all_memory"])
def hostile(request, tmp_path, monkeypatch):
    """Copy of an HDF5 file that its library never comes to the end of."""
    monkeypatch.setattr(hdf5, "_SECONDS", 1)
    file = tmp_path / f"{request.param}.h5ad"
    with gzip.open(FILES / f"{file.name}.gz") as packed, file.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return file


def test_hdf5_that_does_not_end_is_refused(hostile):
    with pytest.raises(ValueError, match=rf"not a readable netCDF file of draws {LIMITED}"):
        nb.load(hostile)


def test_an_anndata_that_does_not_end_is_refused(hostile):
    pytest.importorskip("anndata", reason="anndata is not installed")
    with pytest.raises(ValueError, match=rf"cannot be read as \.h5ad {LIMITED}"):
        open_matrix(hostile)


@pytest.fixture
def numbers(tmp_path):
    file = tmp_path / "numbers.h5"
    with h5py.File(file, "w") as content:
        content["small"] = np.arange(4.0)
        content["group/text"] = "some"
        content["empty"] = np.empty((0, 3))
        content.create_dataset("large", (3000, 3000), "f8", chunks=(1000, 1000))[-1, -1] = 1.0
        content["small"].attrs["unit"] = "counts"
    return file


def test_what_is_whole_is_read(numbers):
    hdf5.refuse_unreadable(numbers)


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_the_words_of_hdf5(numbers, cut):
    content = numbers.read_bytes()
    numbers.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(ValueError, match=r"truncated|signature"):
        hdf5.refuse_unreadable(numbers)


def test_nothing_is_imported_from_where_the_user_is(numbers, monkeypatch):
    (numbers.parent / "h5py.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(numbers.parent)
    numbers.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="signature"):
        hdf5.refuse_unreadable(numbers)


def test_without_an_interpreter_nothing_is_tried(numbers, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    hdf5.refuse_unreadable(numbers)


def test_a_disk_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text("import time; time.sleep(60)")
    file = tmp_path / "any"
    file.touch()
    monkeypatch.setattr(hdf5, "_PROBE", probe)
    monkeypatch.setattr(hdf5, "_PATIENCE", -3)
    with pytest.raises(ValueError, match="does not end"):
        hdf5.refuse_unreadable(file)
