"""Files that lead elsewhere or in circles, that run code or send machine code out of an array."""

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

import pmnbmix as nb
from pmnbmix.batch.files import open_matrix
from pmnbmix.hdf5 import survey


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


def test_what_is_whole_is_counted(numbers):
    # a text is a pointer of 8 bytes
    assert survey(numbers) == (1, 4, 4 * 8 + 8 + 3000 * 3000 * 8)


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_the_words_of_hdf5(numbers, cut):
    content = numbers.read_bytes()
    numbers.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(ValueError, match=r"numbers\.h5.*(truncated|signature)"):
        nb.load(numbers)


def _link_to_pipe(content, folder):
    content["group/other"] = h5py.ExternalLink(str(folder / "pipe"), "/")


def _numbers_elsewhere(content, folder):
    (folder / "secret").write_bytes(bytes(80))
    content.create_dataset("other", (10,), "f8", external=[(folder / "secret", 0, 80)])


def _numbers_of_pipe(content, folder):
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(folder / "pipe", "x", (10,))
    content.create_virtual_dataset("other", layout)


def _group_of_itself(content, folder):
    content["group/other"] = content["/"]


def _name_of_its_parent(content, folder):
    content["group/other"] = h5py.SoftLink("/")


def _name_of_a_link(content, folder):
    # names come in the order of the alphabet, and this one is before that of the link
    content["a"] = h5py.SoftLink("/group/other/x")
    _link_to_pipe(content, folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_link_to_pipe, "/group/other is a link to another file"),
        (_numbers_elsewhere, "numbers of /other are in another file"),
        (_numbers_of_pipe, "numbers of /other are in another file"),
        (_group_of_itself, "the group /group/other is also /"),
        (_name_of_its_parent, "the group /group/other is also /"),
        (_name_of_a_link, "/group/other is a link to another file"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_hdf5_that_leads_elsewhere_or_in_circles_is_refused(numbers, damage, told):
    # opening the pipe to read waits for ever
    os.mkfifo(numbers.parent / "pipe")
    with h5py.File(numbers, "r+") as content:
        damage(content, numbers.parent)
    with pytest.raises(ValueError, match=told):
        nb.load(numbers)
    with pytest.raises(ValueError, match=told):
        survey(numbers)


def test_two_names_of_one_array_and_a_named_type_are_read(numbers):
    with h5py.File(numbers, "r+") as content:
        content["again"] = h5py.SoftLink("/small")
        content["group/again"] = content["small"]
        content["type"] = np.dtype("f8")
    assert survey(numbers)[:2] == (1, 5)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ("groups", "101 groups; at most 100"),
        ("groups in groups", "101 groups; at most 100"),
        ("variables", "at most 2000"),
    ],
)
def test_a_tree_of_too_many_parts_is_refused(tmp_path, parts, told):
    file = tmp_path / "many.nc"
    with h5py.File(file, "w") as content:
        if parts == "groups":
            for index in range(101):
                content.create_group(f"g{index}")
        elif parts == "groups in groups":
            content.create_group("/".join("a" * 101))
        else:
            for index in range(2001):
                content[f"v{index}"] = 1.0
    with pytest.raises(ValueError, match=told):
        nb.load(file)


def test_a_pipe_is_no_file_of_counts(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5ad")
    with pytest.raises(ValueError, match="not a file"):
        open_matrix(tmp_path / "pipe.h5ad")


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("indptr", 2, 5000), ("indptr", 1, 3), ("indptr", 4, 100), ("indices", 1, 99)],
    ids=["far out", "backwards", "longer than the data", "no such column"],
)
def test_a_sparse_matrix_with_wrong_pointers_is_refused(tmp_path, name, at, value):
    """Found by guided fuzzing; machine code followed those that scipy does not check."""
    anndata = pytest.importorskip("anndata", reason="anndata is not installed")
    matrix = sparse.csr_matrix(np.array([[0, 1.0], [2.0, 0], [1.0, 1.0], [0, 3.0]]))
    file = tmp_path / "a.h5ad"
    anndata.AnnData(matrix).write_h5ad(file)
    with h5py.File(file, "r+") as content:
        content[f"X/{name}"][at] = value
    with pytest.raises(ValueError, match=r"rows 0 to 3 of the sparse matrix on disk .* damaged"):
        nb.fit_columns(open_matrix(file)[0], 1, n_jobs=1, progressbar=False)


class _Touch:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_an_anndata_folder_runs_no_code(tmp_path):
    pytest.importorskip("anndata", reason="anndata is not installed")
    (tmp_path / "a.zarr/X").mkdir(parents=True)
    array = {"shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None, "order": "C"}
    codecs = {"filters": [{"id": "vlen-utf8"}], "compressor": {"id": "pickle", "protocol": 4}}
    for name, content in {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": {"encoding-type": "anndata", "encoding-version": "0.1.0"},
        "X/.zarray": {"zarr_format": 2, **array, **codecs},
        "X/.zattrs": {"encoding-type": "string-array", "encoding-version": "0.2.0"},
    }.items():
        (tmp_path / "a.zarr" / name).write_text(json.dumps(content))
    (tmp_path / "a.zarr/X/0").write_bytes(pickle.dumps(_Touch(tmp_path / "was run")))
    with pytest.raises(ValueError, match=r"cannot be read as \.zarr"):
        open_matrix(tmp_path / "a.zarr")
    assert not (tmp_path / "was run").exists()
