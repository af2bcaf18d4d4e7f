import io
import zipfile

import numpy as np
import pytest

import pmnbmix as nb


def test_arrays_of_an_npz(tmp_path):
    path = tmp_path / "cells.npz"
    np.savez_compressed(path, x=[3, 0], s=[0.5, 1.5])
    counts = nb.read_counts(path, column="x", exposure="s", name="molecules")
    np.testing.assert_array_equal(counts.exposure, [0.5, 1.5])
    assert counts.name == "molecules"


def _npz(path, header):
    """An archive whose array x has this header and four bytes of content."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", stream.getvalue() + b"\0\0\0\0")


def test_python_objects_in_an_npz_are_never_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TypeError, match="run code"):
        nb.read_counts(path, "x")


def test_an_array_that_claims_more_than_the_file_holds(tmp_path):
    path = tmp_path / "huge.npz"
    _npz(path, {"descr": "<i8", "fortran_order": False, "shape": (10**15,)})
    with pytest.raises(ValueError, match="claims"):
        nb.read_counts(path, "x")


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(2**16, dtype=np.int64))
    assert path.stat().st_size < 2000
    monkeypatch.setattr("pmnbmix.data.archive.LARGEST_ARCHIVE", 2**19)
    with pytest.raises(ValueError, match=r"bomb\.npz: array 'x' unpacks to 524416 bytes; at most"):
        nb.read_counts(path)


def test_truncated_npz(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, x=np.arange(10_000))
    path = tmp_path / "half.npz"
    path.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="npz"):
        nb.read_counts(path, "x")


@pytest.mark.parametrize("content", [b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\n   ", b"\x93NUMPY"])
def test_an_npz_whose_header_is_damaged(tmp_path, content):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("count.npy", content)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        nb.read_counts(path)


def test_an_encrypted_npz(tmp_path):
    path = tmp_path / "locked.npz"
    np.savez(path, count=np.arange(5))
    content = bytearray(path.read_bytes())
    # the flag "encrypted" of the local and of the central header
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="encrypted"):
        nb.read_counts(path)
