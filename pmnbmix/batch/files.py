"""A matrix of counts from a file, left on disk if its format allows it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.columnar import kind_of_table, read_table
from pmnbmix.data.delimited import LARGEST_ARCHIVE, locate
from pmnbmix.data.numerals import Numerals, is_names, numerals_of, why_no_number
from pmnbmix.files import as_file
from pmnbmix.hdf5 import survey

_EXPECTED = (
    "expected .h5ad, .zarr (an AnnData), .csv or .tsv (also .gz), .parquet, .feather, .xlsx, or "
    ".npz (scipy sparse)"
)
# R and pandas head the names of rows like this; pandas the second way if it wrote what it had read.
_NAMELESS = ("", "Unnamed: 0")


def open_matrix(
    path: str | os.PathLike[str],
    exposure: str | None = None,
    *,
    decimal: str | None = None,
    thousands: str | None = None,
) -> tuple[Any, str | NDArray[np.float64] | None]:
    """Open a file as a matrix, observations by columns.

    Parameters
    ----------
    path : path-like
        An AnnData (.h5ad, which stays on disk, or .zarr), a table of counts (.csv, .tsv, also
        gzipped, .parquet, .feather or .xlsx) or a sparse matrix that scipy saved (.npz). The first
        column of a table names the rows if its header is empty, or if every cell of it is text that
        is no number. The index of a DataFrame is none of the columns.
    exposure : str, optional
        Column of ``.obs``, or of the table, with the exposures.
    decimal, thousands : str, optional
        How numbers of a table are written, as `read_counts` takes them.

    Returns
    -------
    matrix, exposure
        As `fit_columns` takes them.

    Raises
    ------
    TypeError, ValueError
        Where the file is missing, damaged, a pipe or of another kind, where a table has no header
        line, names that come twice, rows of another length, a blank line, or both numbers and text
        in its first column, where there is no such column of exposures, and where what reads it is
        not installed.
    """
    file = as_file(path)
    if not file.exists():
        raise ValueError(f"{file}: there is no such file. Check the path; it is relative to here.")
    numerals = numerals_of(decimal, thousands)
    table = kind_of_table(file) is not None
    kind = kind_of_table(file) or file.suffix.lower()
    readers: dict[str, Callable[[Path], Any]] = {
        ".h5ad": _read_h5ad,
        ".zarr": _read_zarr,
        ".npz": _read_sparse,
    }
    if kind not in readers and not table:
        raise ValueError(f"{file}: files of this kind cannot be read; {_EXPECTED}.")
    if not (file.is_dir() if kind == ".zarr" else file.is_file()):
        # Reading a pipe may wait for ever.
        raise ValueError(
            f"{file}: this is not a {'folder' if kind == '.zarr' else 'file'}; {_EXPECTED}."
        )
    try:
        if table:
            return _open_table(file, exposure, numerals)
        matrix = readers[kind](file)
    # A file that is not what its name says may raise anything, classes of the libraries' own too.
    except Exception as error:
        if table and isinstance(error, TypeError | ValueError):
            # This error says what is wrong already, so only the file is added.
            own = TypeError if isinstance(error, TypeError) else ValueError
            raise own(f"{file}: {error}") from None
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ValueError(f"{file}: it cannot be read as {kind} ({reason[:200]}).") from None
    if exposure is not None and kind == ".npz":
        raise ValueError(
            f"{file}: a sparse matrix has no column {exposure!r}. Put counts and exposures into an "
            ".h5ad file, or call fit_columns(matrix, exposure=...)."
        )
    return matrix, exposure


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
    # The survey refuses a file that leads to other files.
    survey(file)
    return anndata.read_h5ad(file, backed="r")


def _read_zarr(file: Path) -> Any:
    return _anndata().read_zarr(file)


def _open_table(
    file: Path, exposure: str | None, numerals: Numerals | None
) -> tuple[Any, NDArray[np.float64] | None]:
    """A table, and its column of exposures."""
    table = read_table(file, rows_named=True, numerals=numerals)
    names = table.column_names
    _check_names(names)
    _refuse_blank_row(table)
    first = table.column(0)
    rows_named = len(names) > 1 and (names[0] in _NAMELESS or is_names(first))
    if rows_named:
        if exposure == names[0] and len(first):
            raise TypeError(
                f"column {exposure!r} cannot hold the exposures: it is the first, and names the "
                f"rows (data row 1 has {str(first[0].as_py())!r}). Name a column of numbers."
            )
        table = table.remove_column(0)
    else:
        _refuse_text(
            first, names[0], numerals, "If the column names the rows, leave its header empty."
        )
    for name, column in zip(table.column_names, table.columns, strict=True):
        _refuse_text(column, name, numerals)
    if exposure is None:
        return table.to_pandas(ignore_metadata=True, split_blocks=True), None
    [position] = locate(table.column_names, [exposure])
    matrix = table.remove_column(position).to_pandas(ignore_metadata=True, split_blocks=True)
    return matrix, table.column(position).to_numpy()


def _check_names(names: Sequence[str]) -> None:
    for position, name in enumerate(names, 1):
        # The first column may hold the names of the rows.
        if not name and (position > 1 or len(names) == 1):
            raise ValueError(
                f"column {position} of {len(names)} has no name in the first line. Name it, or "
                "look for a separator at the end of the lines."
            )
    if len(set(names)) < len(names):
        locate(names, names)


def _refuse_blank_row(table: Any) -> None:
    """Refuse a row without any cell, for which no column could be fitted."""
    import pyarrow.compute as pc

    blank = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        if not blank.any():
            return
        blank &= np.asarray(pc.is_null(column, nan_is_null=True))
    if blank.any():
        raise ValueError(
            f"every cell of data row {np.argmax(blank) + 1} is empty or missing, as in a blank "
            "line. Drop or fill that row first."
        )


def _refuse_text(column: Any, name: str, numerals: Numerals | None, also: str = "") -> None:
    """Refuse a column of counts in which some cell is none."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        raise TypeError(
            f"column {name!r} must hold numbers; {why_no_number(column, numerals)} {also}".rstrip()
        )


def _read_sparse(file: Path) -> Any:
    from scipy import sparse

    with zipfile.ZipFile(file) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST_ARCHIVE:
        raise ValueError(f"it unpacks to {size} bytes; at most {LARGEST_ARCHIVE} are read")
    return sparse.load_npz(file)
