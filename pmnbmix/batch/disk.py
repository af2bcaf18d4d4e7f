"""Sparse matrices on disk that are stored by rows, read by columns in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.batch.blocks import Block, Bounds, block_of
from pmnbmix.compiled import compiled

# So many numbers are read at a time, and one of them takes so many bytes among columns.
_READ = 2**21
_BYTES = 12


@dataclass(frozen=True, eq=False)
class RowsOnDisk:
    """Compressed sparse rows on disk, as AnnData backs them.

    The columns that fit into the budget are gathered in one pass over the file, and there are as
    many passes as that takes: nothing is written, and the matrix is never held whole.
    """

    data: Any
    n: int
    names: NDArray[Any]
    # This is how many bytes of it are held at a time.
    budget: int

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of stored values of every column."""
        sizes = np.zeros(self.names.size, dtype=np.int64)
        for _, part in self._parts():
            sizes += np.bincount(part.indices, minlength=sizes.size)
        return sizes

    def blocks(self, bounds: Bounds) -> Iterator[Block]:
        """Yield the blocks of columns with these bounds, many to one pass."""
        waiting: list[tuple[int, int]] = []
        room = self.budget
        for a, b in bounds:
            needed = _BYTES * int(self.sizes[a:b].sum())
            if waiting and needed > room:
                yield from self._gather(waiting)
                waiting, room = [], self.budget
            waiting.append((a, b))
            room -= needed
        if waiting:
            yield from self._gather(waiting)

    def _parts(self) -> Iterator[tuple[int, Any]]:
        """Yield the first row and the rows of parts of the matrix, from the top down."""
        stored = int(self.data.group["indices"].shape[0])
        step = max(1, int(_READ * self.n / max(stored, 1)))
        for first in range(0, self.n, step):
            last = min(first + step, self.n)
            try:
                part = self.data[first:last]
                # Machine code goes by these pointers, and would follow wrong ones anywhere.
                part.check_format(full_check=True)
            except (ValueError, IndexError, TypeError, OSError, RuntimeError) as error:
                raise ValueError(
                    f"rows {first} to {last - 1} of the sparse matrix on disk cannot be read "
                    f"({error}); the file is damaged. Copy it again."
                ) from None
            yield first, part

    def _gather(self, bounds: list[tuple[int, int]]) -> Iterator[Block]:
        first, last = bounds[0][0], bounds[-1][1]
        wanted = np.zeros(last - first, dtype=np.bool_)
        for a, b in bounds:
            wanted[a - first : b - first] = True
        indptr = np.append(0, np.cumsum(np.where(wanted, self.sizes[first:last], 0)))
        rows = np.empty(indptr[-1], dtype=np.int32)
        values = np.empty(indptr[-1], dtype=self.data.dtype)
        filled = indptr[:-1].copy()
        for row, part in self._parts():
            _scatter(row, part.indptr, part.indices, part.data, first, wanted, filled, rows, values)
        for a, b in bounds:
            part = slice(indptr[a - first], indptr[b - first])
            starts = indptr[a - first : b - first + 1] - part.start
            yield _columns(a, starts, rows[part], values[part], self.n)


def _columns(
    first: int, indptr: NDArray[Any], rows: NDArray[Any], values: NDArray[Any], n: int
) -> Block:
    from scipy import sparse

    return block_of(sparse.csc_array((values, rows, indptr), (n, indptr.size - 1)), first)


@compiled
def _scatter(
    row: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    first: int,
    wanted: np.ndarray,
    filled: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
) -> None:
    """Append the values of some rows to the columns that are wanted."""
    for i in range(indptr.size - 1):
        for at in range(indptr[i], indptr[i + 1]):
            column = indices[at] - first
            if 0 <= column < wanted.size and wanted[column]:
                rows[filled[column]] = row + i
                values[filled[column]] = data[at]
                filled[column] += 1


def open_group(group: Any) -> Any:
    """Open a sparse matrix that a group of h5py or zarr holds; None for anything else."""
    if type(group).__name__ != "Group" or "indptr" not in group:
        return None
    if "anndata" not in sys.modules:
        try:
            import anndata  # noqa: F401
        except ImportError:
            raise TypeError(
                "a sparse matrix on disk is read by anndata, which is not installed. Install it: "
                'pip install "pmnbmix[anndata]".'
            ) from None
    return sys.modules["anndata"].io.sparse_dataset(group)
