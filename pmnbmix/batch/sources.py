"""Where columns come from: every container of a matrix, read in blocks of columns.

A source knows its shape and names, and yields blocks in the order in which they are asked for.
Nothing larger than `BUDGET` is held of a matrix that lies on disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pmnbmix.batch.blocks import Block, Bounds, as_floats, block_of, check_dtype
from pmnbmix.batch.disk import RowsOnDisk, open_group

# So many bytes of a matrix on disk are held at a time.
BUDGET = 2**28
_CONTAINERS = (
    "a numpy array, a scipy sparse matrix or array, a pandas DataFrame, an xarray DataArray, an "
    "AnnData, a zarr or h5py array, or a Dask array"
)


class Source(Protocol):
    """A matrix of observations by columns."""

    @property
    def n(self) -> int:
        """Number of observations."""

    @property
    def names(self) -> NDArray[Any]:
        """Names of the columns."""

    def blocks(self, bounds: Bounds) -> Iterator[Block]:
        """Yield the blocks of columns with these bounds, which ascend."""


def column_of(source: Source, position: int) -> NDArray[np.float64]:
    """All counts of one column, (n,)."""
    block = next(iter(source.blocks([(position, position + 1)])))
    values = np.zeros(source.n)
    values[block.rows] = block.values
    return values


def check_shape(shape: tuple[int, ...], what: str = "matrix") -> None:
    """Check that there are observations and columns."""
    if len(shape) != 2:
        raise ValueError(
            f"{what} must have two dimensions, observations by columns; its shape is {shape}. A "
            "single column is for fit_em(Counts(values))."
        )
    if 0 in shape:
        raise ValueError(f"{what} is empty: its shape is {shape}. At least one count is needed.")


@dataclass(frozen=True, eq=False)
class Slices:
    """Anything whose ``[:, a:b]`` is columns of numbers, or becomes so by ``read``."""

    data: Any
    n: int
    names: NDArray[Any]
    # So many columns are read at a time; those of one block if absent.
    width: int | None = None

    def blocks(self, bounds: Bounds) -> Iterator[Block]:
        """Yield the blocks of columns with these bounds."""
        start, stop, held = 0, 0, None
        for a, b in bounds:
            if self.width is None:
                yield block_of(self._read(a, b), a)
                continue
            if held is None or not start <= a < b <= stop:
                start, stop = a, min(max(b, a + self.width), self.names.size)
                held = self._read(start, stop)
            yield block_of(held[:, a - start : b - start], a)

    def _read(self, a: int, b: int) -> Any:
        part = self.data[:, a:b]
        # Dask has compute(), xarray has load().
        for method in ("compute", "to_numpy"):
            if hasattr(part, method):
                part = getattr(part, method)()
        return part


class Computed(Slices):
    """Columns that are computed when read (Dask), which is better done beside the fit."""

    def lazily(self, bounds: Bounds) -> Iterator[tuple[Any, int]]:
        """Yield columns that are yet to be computed, and the index of the first."""
        for a, b in bounds:
            yield self.data[:, a:b], a


@dataclass(frozen=True, eq=False)
class FrameColumns:
    """Columns of a pandas DataFrame, missing values as NaN."""

    frame: Any
    n: int
    names: NDArray[Any]

    def blocks(self, bounds: Bounds) -> Iterator[Block]:
        """Yield the blocks of columns with these bounds."""
        for a, b in bounds:
            parts = [self.frame.iloc[:, j] for j in range(a, b)]
            columns = [
                part.to_numpy(dtype=np.float64, na_value=np.nan)
                if part.hasnans
                else as_floats(part.to_numpy())
                for part in parts
            ]
            yield block_of(np.column_stack(columns), a)


def open_source(matrix: Any, layer: str | None = None) -> Source:
    """Wrap a container of a matrix, observations by columns.

    Raises
    ------
    TypeError, ValueError
        For a container that is not known or holds no numbers, another number of dimensions, an
        empty matrix, and a layer that does not exist.
    """
    # If a library was never imported, the container cannot be one of its own.
    anndata, pandas = sys.modules.get("anndata"), sys.modules.get("pandas")
    xarray, dask = sys.modules.get("xarray"), sys.modules.get("dask.array")
    if anndata is not None and isinstance(matrix, anndata.AnnData):
        return _open_anndata(matrix, layer)
    if layer is not None:
        raise TypeError(
            f"layer={layer!r} names a layer of an AnnData, but matrix is a "
            f"{type(matrix).__name__}. Leave it out."
        )
    if pandas is not None and isinstance(matrix, pandas.DataFrame):
        return _open_frame(matrix)
    if xarray is not None and isinstance(matrix, xarray.DataArray):
        check_shape(matrix.shape)
        check_dtype(matrix.dtype, "matrix")
        return Slices(matrix, matrix.shape[0], _names_of(matrix))
    if dask is not None and isinstance(matrix, dask.Array):
        check_shape(matrix.shape)
        if np.isnan(matrix.shape).any():
            raise ValueError("the Dask array does not know its shape: call compute_chunk_sizes().")
        check_dtype(matrix.dtype, "matrix")
        return Computed(matrix, matrix.shape[0], np.arange(matrix.shape[1]))
    return open_plain(matrix, None)


def open_plain(matrix: Any, names: NDArray[Any] | None) -> Source:
    """Wrap an array, in memory or on disk, whose columns may have names elsewhere."""
    if isinstance(matrix, list | tuple):
        try:
            matrix = np.asarray(matrix)
        except ValueError:
            raise ValueError("matrix is a list of rows of different lengths.") from None
    if not hasattr(matrix, "shape"):
        matrix = open_group(matrix) or matrix
    if not hasattr(matrix, "shape") or not hasattr(matrix, "dtype"):
        hints = {
            "str": " Open the file first: anndata.read_h5ad(path, backed='r').",
            "Path": " Open the file first: anndata.read_h5ad(path, backed='r').",
            "Raw": " Pass adata.raw.to_adata(), if it holds counts.",
            "Dataset": " Pass one of its variables.",
        }
        kind = type(matrix).__name__
        hint = hints.get(kind.removeprefix("Posix").removeprefix("Windows"), "")
        raise TypeError(f"matrix must be {_CONTAINERS}; got {kind}.{hint}")
    shape = tuple(int(extent) for extent in matrix.shape)
    check_shape(shape)
    check_dtype(matrix.dtype, "matrix")
    n, labels = shape[0], np.arange(shape[1]) if names is None else names
    if np.ma.isMaskedArray(matrix):
        # Masked entries are missing ones.
        return Slices(np.ma.filled(matrix.astype(np.float64), np.nan), n, labels)
    if isinstance(matrix, np.ndarray):
        return Slices(np.asarray(matrix), n, labels)
    if hasattr(matrix, "tocsc"):
        # The matrix is turned into compressed sparse columns once, if it is not so already.
        return Slices(matrix.tocsc(), n, labels)
    if getattr(matrix, "format", None) == "csr":
        return RowsOnDisk(matrix, n, labels, BUDGET)
    if getattr(matrix, "format", None) == "csc":
        return Slices(matrix, n, labels)
    if hasattr(matrix, "chunks"):
        # Whole chunks are read, since a chunk comes in one piece however little is wanted.
        chunk = (matrix.chunks or shape)[1]
        most = max(BUDGET // (n * np.dtype(matrix.dtype).itemsize), 1)
        return Slices(matrix, n, labels, max(most // chunk * chunk, min(most, chunk)))
    raise TypeError(f"matrix must be {_CONTAINERS}; got {type(matrix).__name__}.")


def _open_anndata(adata: Any, layer: str | None) -> Source:
    if layer is None:
        data, where = adata.X, "X"
    else:
        if layer not in adata.layers:
            listed = ", ".join(repr(name) for name in adata.layers if name is not None) or "none"
            raise ValueError(f"there is no layer {layer!r} in the AnnData; it has {listed}.")
        data, where = adata.layers[layer], f"layers[{layer!r}]"
    if data is None:
        raise ValueError(f"{where} of the AnnData is empty. Name a layer with counts: layer=NAME.")
    if type(data).__module__.startswith("dask"):
        names = adata.var_names.to_numpy(dtype=str)
        return Computed(data, data.shape[0], names)
    try:
        return open_plain(data, adata.var_names.to_numpy(dtype=str))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where} of the AnnData: {error}") from None
    # h5py raises this for a damaged file.
    except (KeyError, OSError, RuntimeError) as error:
        raise ValueError(f"{where} of the AnnData cannot be read ({error}).") from None


def _open_frame(frame: Any) -> Source:
    import pandas as pd

    check_shape(frame.shape)
    for name, dtype in frame.dtypes.items():
        number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        if not number or pd.api.types.is_complex_dtype(dtype):
            raise TypeError(
                f"column {name!r} of the DataFrame holds {dtype} where counts are expected. Drop "
                "it, or convert it to numbers."
            )
    return FrameColumns(frame, frame.shape[0], np.array([str(name) for name in frame.columns]))


def _names_of(array: Any) -> NDArray[Any]:
    dim = array.dims[1]
    if dim not in array.coords:
        return np.arange(array.shape[1])
    labels = np.asarray(array.coords[dim].to_numpy())
    return labels if labels.dtype.kind in "iu" else labels.astype(str)
