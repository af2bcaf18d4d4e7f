"""A block of columns: what every source yields, what is fitted, and what travels to workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.batch.tables import nonzeros
from pmnbmix.data.checks import LARGEST_COUNT

# A block is told by its first column and the one after its last.
Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Block:
    """Some columns next to each other, as compressed sparse columns without stored zeros.

    Attributes
    ----------
    first : int
        Index of the first column.
    indptr : ndarray of int64, shape (n_columns + 1,)
    rows : ndarray of int32 or int64, shape (n_nonzero,)
        Ascending within each column.
    values : ndarray, shape (n_nonzero,)
        Of any type of number that holds them.
    """

    first: int
    indptr: NDArray[np.int64]
    rows: NDArray[Any]
    values: NDArray[Any]


def check_dtype(dtype: Any, what: str) -> None:
    """Check that numbers are what a container holds."""
    if np.dtype(dtype).kind not in "iuf":
        raise TypeError(
            f"{what} must hold numbers; its dtype is {dtype}. Counts are whole numbers from 0 up: "
            "convert it first, or leave out what is no count."
        )


def block_of(data: Any, first: int) -> Block:
    """Make a block of columns of a numpy array or a scipy sparse matrix."""
    if hasattr(data, "tocsc"):
        check_dtype(data.dtype, "matrix")
        return _sparse_block(data.tocsc(), first)
    dense = np.asarray(data)
    check_dtype(dense.dtype, "matrix")
    indptr, rows, values = nonzeros(np.ascontiguousarray(as_floats(dense)))
    return Block(first, indptr, rows.astype(np.int32), _small(values))


def _sparse_block(columns: Any, first: int) -> Block:
    # Summing what is stored twice in place would change the matrix of the user.
    columns = columns if columns.has_canonical_format else columns.copy()
    columns.sum_duplicates()
    indptr, rows, values = columns.indptr, columns.indices, columns.data
    if (values == 0).any():
        kept = values != 0
        indptr = np.append(0, np.cumsum(kept))[indptr]
        rows, values = rows[kept], values[kept]
    return Block(first, indptr.astype(np.int64), rows.astype(np.int32), _small(as_floats(values)))


def as_floats(values: NDArray[Any]) -> NDArray[np.float64]:
    """Floats, in which integers that floats cannot hold are still seen to be too large."""
    floats = values.astype(np.float64)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        floats[values > LARGEST_COUNT] = 2.0 * LARGEST_COUNT
    return floats


def _small(values: NDArray[np.float64]) -> NDArray[Any]:
    """Values in the smallest type that holds them all, for blocks that wait or travel."""
    if values.size == 0:
        return values.astype(np.uint8)
    low, high = values.min(), values.max()
    for dtype in (np.uint8, np.uint16, np.uint32):
        if low >= 0 and high <= np.iinfo(dtype).max:
            with np.errstate(invalid="ignore"):
                narrow = values.astype(dtype)
            if (narrow == values).all():
                return narrow
    return values
