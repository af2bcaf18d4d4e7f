"""Fits on disk, block by block: a zarr folder that a killed job goes on from.

The numbers of a block are written first and the mark that it is done last, so that a block that
was being written when the job died is fitted again. Labels are made from the numbers when they are
read. Only what this module writes is read: zarr format 3, with codecs that run no code of a file.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.batch.blocks import Block
from pmnbmix.batch.fitting import Results, Task, blank
from pmnbmix.files import building

_KEY = "pmnbmix_columns"
_FORMAT = 1
_CODECS = frozenset(("BytesCodec", "ZstdCodec", "VLenUTF8Codec"))
# More columns or components than this are not read, since sizes in a file may be wrong.
_MOST_COLUMNS, _MOST_COMPONENTS = 10_000_000, 1000
_DIMENSIONS = {1: ("column",), 2: ("column", "mixture_component")}


# These arrays do not hold numbers of columns.
_MARKS = ("done", "digest", "column")


@dataclass(frozen=True, eq=False)
class Store:
    """A folder of fits that is being filled.

    Attributes
    ----------
    group : zarr.Group
    width : int
        Columns to a block.
    """

    group: Any
    width: int

    def done(self) -> NDArray[np.bool_]:
        """Which blocks are finished, (n_blocks,)."""
        return np.asarray(_unpacked(self.group, "done", slice(None), "blocks") == 1)

    def digest(self, index: int) -> bytes:
        """What the counts of a finished block were."""
        return _unpacked(self.group, "digest", index, f"block {index}").tobytes()

    def write(self, index: int, results: Results, digest: bytes) -> None:
        """Write the numbers of one block, then that it is done."""
        first = index * self.width
        for name, numbers in results.items():
            self.group[name][first : first + len(numbers)] = numbers
        self.group["digest"][index] = np.frombuffer(digest, dtype=np.uint8)
        self.group["done"][index] = 1

    def read(self, index: int, n_columns: int) -> Results:
        """Read the numbers of one block."""
        part = slice(index * self.width, index * self.width + n_columns)
        names = [name for name in self.group.array_keys() if name not in _MARKS]
        rows = f"columns {part.start} to {part.stop - 1}"
        return {name: _unpacked(self.group, name, part, rows) for name in names}


def block_digest(block: Block) -> bytes:
    """Sixteen bytes that tell the counts of a block from others."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (block.indptr, block.rows, block.values):
        digest.update(f"{array.dtype}{array.size}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def open_store(
    path: str | os.PathLike[str],
    attrs: dict[str, Any],
    names: NDArray[Any],
    task: Task,
    width: int,
) -> Store:
    """Make a store, or open the one of the same fits that was begun.

    Raises
    ------
    ValueError
        Where something else is there, or fits of other columns or settings.
    """
    import zarr

    folder = Path(path)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        found_group = _open_group(folder)
        found = dict(found_group.attrs[_KEY])
        for key, wanted in attrs.items():
            if key == "exposure_digest" and found.get(key) != wanted:
                raise ValueError(
                    f"{folder} holds fits with other exposures. Name another folder, or delete it."
                )
            if found.get(key) != wanted:
                raise ValueError(
                    f"{folder} holds fits with {key} {found.get(key)!r}, but {wanted!r} is asked "
                    "for. Name another folder, or delete this one."
                )
        if not np.array_equal(_labels(found_group).astype(str), names.astype(str)):
            raise ValueError(
                f"{folder} holds fits of other columns. Name another folder, or delete this one."
            )
        return Store(found_group, int(found_group["means"].chunks[0]))
    # A store is there with all its arrays or not at all.
    with building(folder) as partial:
        _make(partial, attrs, names, task, width)
    return Store(zarr.open_group(str(folder), mode="r+", zarr_format=3), width)


def _make(folder: Path, attrs: dict[str, Any], names: NDArray[Any], task: Task, width: int) -> None:
    """Make a folder with every array, empty."""
    import zarr

    group: Any = zarr.open_group(str(folder), mode="w", zarr_format=3)
    n_blocks = -(-names.size // width)
    for name, numbers in blank(task, names.size).items():
        array = group.create_array(
            name,
            shape=numbers.shape,
            chunks=(min(width, names.size), *numbers.shape[1:]),
            dtype=numbers.dtype,
            fill_value=numbers.ravel()[0].item(),
            dimension_names=("column", "candidate")
            if name == "candidate_criterion"
            else _DIMENSIONS[numbers.ndim],
        )
        array.attrs["long_name"] = name.replace("_", " ")
    text = names.dtype.kind not in "iu"
    label = group.create_array(
        "column",
        shape=names.shape,
        chunks=names.shape,
        dtype=str if text else np.int64,
        dimension_names=("column",),
    )
    label[:] = names.astype(object) if text else names.astype(np.int64)
    for name, shape, dims in (
        ("digest", (n_blocks, 16), ("block", "byte")),
        ("done", (n_blocks,), ("block",)),
    ):
        chunks = (1, *shape[1:])
        group.create_array(
            name, shape=shape, chunks=chunks, dtype=np.uint8, fill_value=0, dimension_names=dims
        )
    group.attrs[_KEY] = {"format": _FORMAT, **attrs}


def read_store(path: str | os.PathLike[str]) -> tuple[Results, NDArray[Any], dict[str, Any]]:
    """Read the numbers of all columns, their names and attributes; see `ColumnFits.read`."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be the name of a folder; got {type(path).__name__}.")
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder. Pass what fit_columns(out=) wrote.")
    group = _open_group(folder)
    attrs = dict(group.attrs[_KEY])
    names = _labels(group)
    store = Store(group, int(group["means"].chunks[0]))
    attrs["finished"] = int(store.done().all())
    return store.read(0, names.size), names, attrs


def _unpacked(group: Any, name: str, part: Any, what: str) -> NDArray[Any]:
    """Read a part of an array."""
    try:
        return np.asarray(group[name][part])
    # A chunk that cannot be unpacked raises a RuntimeError.
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{name} of {what} cannot be read in {group.store_path} ({error}). Delete the folder "
            "and fit again."
        ) from None


def _labels(group: Any) -> NDArray[Any]:
    labels = _unpacked(group, "column", slice(None), "columns")
    return labels if labels.dtype.kind in "iu" else np.array(labels.tolist(), dtype=np.str_)


def _open_group(folder: Path) -> Any:
    """Open a folder whose every array is as this module would have written it."""
    import zarr

    try:
        group: Any = zarr.open_group(str(folder), mode="r+", zarr_format=3)
        attrs = group.attrs[_KEY]
        task = Task(int(attrs["n"]), tuple(int(k) for k in attrs["candidates"]), "bic")
        n_columns = int(group["column"].shape[0])
        if attrs["format"] != _FORMAT:
            raise ValueError(f"its format is {attrs['format']}, this version reads {_FORMAT}")
        if not 0 < n_columns <= _MOST_COLUMNS or not 0 < task.width <= _MOST_COMPONENTS:
            raise ValueError(f"it claims {n_columns} columns of {task.width} components")
        shapes = {name: array.shape for name, array in blank(task, 1).items()}
        for name, shape in shapes.items():
            array = group[name]
            if array.shape != (n_columns, *shape[1:]):
                raise ValueError(f"{name} has shape {array.shape}")
        for name in (*shapes, "column", "done", "digest"):
            codecs = {type(codec).__name__ for codec in group[name].metadata.codecs}
            if not codecs <= _CODECS:
                raise ValueError(f"{name} is packed by {', '.join(sorted(codecs - _CODECS))}")
        if group["done"].shape[0] != -(-n_columns // int(group["means"].chunks[0])):
            raise ValueError("its blocks do not fit its columns")
    except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
        raise ValueError(
            f"{folder}: this is no folder of fits ({error}). Name another folder, or delete it."
        ) from None
    return group
