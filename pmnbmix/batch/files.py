"""A matrix of counts from a file, left on disk where its format allows it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.readers import LARGEST_ARCHIVE
from pmnbmix.hdf5 import refuse_unreadable

_EXPECTED = "expected .h5ad, .zarr (an AnnData), .csv or .tsv (also .gz), or .npz (scipy sparse)"


def open_matrix(
    path: str | os.PathLike[str], exposure: str | None = None
) -> tuple[Any, str | NDArray[np.float64] | None]:
    """Open a file as a matrix, observations by columns.

    Parameters
    ----------
    path : path-like
        An AnnData (.h5ad, which stays on disk, or .zarr), a table of counts (.csv, .tsv, also
        gzipped; a first column of text names the rows) or a sparse matrix that scipy saved (.npz).
    exposure : str, optional
        Column of ``.obs``, or of the table, with the exposures.

    Returns
    -------
    matrix, exposure
        As `fit_columns` takes them.

    Raises
    ------
    TypeError, ValueError
        Where the file is missing, damaged, a pipe or of another kind, where there is no such column
        of exposures, and where what reads it is not installed.
    """
    file = Path(path)
    if not file.exists():
        raise ValueError(f"{file}: there is no such file. Check the path; it is relative to here.")
    packed = file.suffix.lower() == ".gz"
    kind = (file.with_suffix("") if packed else file).suffix.lower()
    readers: dict[str, Callable[[Path], Any]] = {
        ".h5ad": _read_h5ad,
        ".zarr": _read_zarr,
        ".csv": lambda f: _read_table(f, ","),
        ".tsv": lambda f: _read_table(f, "\t"),
        ".npz": _read_sparse,
    }
    if kind not in readers:
        raise ValueError(f"{file}: files of this kind cannot be read; {_EXPECTED}.")
    if not (file.is_dir() if kind == ".zarr" else file.is_file()):
        # reading a pipe may wait for ever
        raise ValueError(
            f"{file}: this is not a {'folder' if kind == '.zarr' else 'file'}; {_EXPECTED}."
        )
    try:
        matrix = readers[kind](file)
    # whatever libraries raise where a file is not what its name says: their own classes too
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ValueError(f"{file}: it cannot be read as {kind} ({reason[:200]}).") from None
    if exposure is None or kind in (".h5ad", ".zarr"):
        return matrix, exposure
    if kind == ".npz":
        raise ValueError(
            f"{file}: a sparse matrix has no column {exposure!r}. Put counts and exposures into an "
            ".h5ad file, or call fit_columns(matrix, exposure=...)."
        )
    if exposure not in matrix.columns:
        listed = ", ".join(repr(name) for name in matrix.columns[:20])
        raise ValueError(f"{file}: there is no column {exposure!r}. Existing columns: {listed}.")
    return matrix.drop(columns=exposure), matrix[exposure].to_numpy()


def _anndata() -> Any:
    try:
        import anndata
    except ImportError:
        raise ValueError(
            'anndata is not installed, which reads such files: pip install "pmnbmix[anndata]"'
        ) from None
    return anndata


def _read_h5ad(file: Path) -> Any:
    anndata = _anndata()
    refuse_unreadable(file)
    return anndata.read_h5ad(file, backed="r")


def _read_zarr(file: Path) -> Any:
    return _anndata().read_zarr(file)


def _read_table(file: Path, separator: str) -> Any:
    import pandas as pd

    frame = pd.read_csv(file, sep=separator, low_memory=False)
    unnamed = str(frame.columns[0]) == "Unnamed: 0"
    if frame.shape[1] > 1 and (unnamed or not pd.api.types.is_numeric_dtype(frame.dtypes.iloc[0])):
        # names of the rows, as pandas and R write them
        frame = frame.iloc[:, 1:]
    return frame


def _read_sparse(file: Path) -> Any:
    from scipy import sparse

    with zipfile.ZipFile(file) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST_ARCHIVE:
        raise ValueError(f"it unpacks to {size} bytes; at most {LARGEST_ARCHIVE} are read")
    return sparse.load_npz(file)
