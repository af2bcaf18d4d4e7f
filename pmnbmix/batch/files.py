"""A matrix of counts from a file, left on disk where its format allows it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.delimited import (
    LARGEST_ARCHIVE,
    SEPARATORS,
    Table,
    is_empty,
    open_table,
    read_rows,
    refuse_numbers_as_names,
    refuse_twice,
    too_many,
)
from pmnbmix.files import as_file
from pmnbmix.hdf5 import survey

_EXPECTED = "expected .h5ad, .zarr (an AnnData), .csv or .tsv (also .gz), or .npz (scipy sparse)"
# Header of the names of rows: of R and pandas, and of pandas where it wrote what it had read.
_NAMELESS = ("", "Unnamed: 0")
# Names of columns 0, 1, 2, ... are those that pandas gives. The first counts of a table without a
# header line may be 0, 1, 2 as well, but hardly more of them.
_FEWEST_NUMBERED = 4
# Numbers to a reader, though not to pandas: 1,234 or 1 234.5 or 2,5
_GROUPED = r"\s*[+-]?\d+([,' ]\d+)+(\.\d*)?\s*"


def open_matrix(
    path: str | os.PathLike[str], exposure: str | None = None
) -> tuple[Any, str | NDArray[np.float64] | None]:
    """Open a file as a matrix, observations by columns.

    Parameters
    ----------
    path : path-like
        An AnnData (.h5ad, which stays on disk, or .zarr), a table of counts (.csv, .tsv, also
        gzipped) or a sparse matrix that scipy saved (.npz). The first column of a table names the
        rows where its header is empty, or where every cell of it is text that is no number.
    exposure : str, optional
        Column of ``.obs``, or of the table, with the exposures.

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
    packed = file.suffix.lower() == ".gz"
    kind = (file.with_suffix("") if packed else file).suffix.lower()
    readers: dict[str, Callable[[Path], Any]] = {
        ".h5ad": _read_h5ad,
        ".zarr": _read_zarr,
        ".npz": _read_sparse,
    }
    if kind not in readers and kind not in SEPARATORS:
        raise ValueError(f"{file}: files of this kind cannot be read; {_EXPECTED}.")
    if not (file.is_dir() if kind == ".zarr" else file.is_file()):
        # reading a pipe may wait for ever
        raise ValueError(
            f"{file}: this is not a {'folder' if kind == '.zarr' else 'file'}; {_EXPECTED}."
        )
    try:
        if kind in SEPARATORS:
            return _open_text(file, SEPARATORS[kind], exposure)
        matrix = readers[kind](file)
    # whatever libraries raise where a file is not what its name says: their own classes too
    except Exception as error:
        if kind in SEPARATORS and isinstance(error, TypeError | ValueError):
            # it says all already
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
    # it refuses what leads to other files
    survey(file)
    return anndata.read_h5ad(file, backed="r")


def _read_zarr(file: Path) -> Any:
    return _anndata().read_zarr(file)


def _open_text(
    file: Path, separator: str, exposure: str | None
) -> tuple[Any, NDArray[np.float64] | None]:
    """A table, and its column of exposures."""
    table = open_table(file, separator)
    names = list(table.names)
    if len(names) < _FEWEST_NUMBERED or names != [str(j) for j in range(len(names))]:
        refuse_numbers_as_names(names, table.separator)
    frame = _rows_of(table)
    _refuse_blank_row(frame)
    first, header = frame.iloc[:, 0], frame.columns[0]
    rows_named = frame.shape[1] > 1 and (header in _NAMELESS or _is_names(first))
    if not rows_named:
        _refuse_text(first, header)
    matrix = frame.iloc[:, 1:] if rows_named else frame
    if exposure is None:
        return matrix, None
    if rows_named and first.size and exposure == header:
        raise TypeError(
            f"column {exposure!r} cannot hold the exposures: it is the first, and names the rows "
            f"(data row 1 has {str(first.iloc[0])!r}). Name a column of numbers."
        )
    if exposure not in matrix.columns:
        listed = ", ".join(repr(name) for name in matrix.columns[:20])
        raise ValueError(f"there is no column {exposure!r}. Existing columns: {listed}.")
    return matrix.drop(columns=exposure), matrix[exposure].to_numpy()


def _rows_of(table: Table) -> Any:
    """Rows of a table under the names of the header."""
    names = list(table.names)
    if table.excess:
        # R writes no field for the names of the rows into the header. Where they are numbers they
        # could be counts as well, and a last column without any is a separator too many.
        frame = read_rows(table, len(names) + 1)
        if not _is_names(frame.iloc[:, 0]) or is_empty(frame.iloc[:, -1]).all():
            raise ValueError(too_many(table))
        names = ["", *names]
        _check_names(names)
    else:
        _check_names(names)
        frame = read_rows(table)
    frame.columns = names
    return frame


def _check_names(names: Sequence[str]) -> None:
    for position, name in enumerate(names, 1):
        # the first may be that of the names of the rows
        if not name and (position > 1 or len(names) == 1):
            raise ValueError(
                f"column {position} of {len(names)} has no name in the first line. Name it, or "
                "look for a separator at the end of the lines."
            )
    refuse_twice(names, names)


def _refuse_blank_row(frame: Any) -> None:
    """Refuse a row without any cell, for which no column could be fitted."""
    rows = np.flatnonzero(is_empty(frame.iloc[:, 0]))
    blank = rows[frame.iloc[rows, 1:].isna().all(axis=1).to_numpy(dtype=bool)]
    if blank.size:
        raise ValueError(
            f"every cell of data row {blank[0] + 1} is empty or missing, as in a blank line. Drop "
            "or fill that row first."
        )


def _is_names(column: Any) -> bool:
    """Whether every cell is text that is no number; some may be empty, but not all."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    cells = column[~is_empty(column)]
    return (
        cells.size > 0
        and all(isinstance(cell, str) for cell in cells)
        and not pd.to_numeric(cells, errors="coerce").notna().any()
        and not cells.str.fullmatch(_GROUPED).any()
    )


def _refuse_text(column: Any, name: str) -> None:
    """Refuse a first column of counts in which some cell is none."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return
    numbers = pd.to_numeric(column, errors="coerce").notna() | column.isna()
    bad = np.flatnonzero(~numbers.to_numpy(dtype=bool))
    if bad.size:
        raise TypeError(
            f"column {name!r} must hold numbers; data row {bad[0] + 1} has "
            f"{str(column.iloc[bad[0]])!r}. Mend or drop that row; or, where the column names the "
            "rows, leave its header empty."
        )


def _read_sparse(file: Path) -> Any:
    from scipy import sparse

    with zipfile.ZipFile(file) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST_ARCHIVE:
        raise ValueError(f"it unpacks to {size} bytes; at most {LARGEST_ARCHIVE} are read")
    return sparse.load_npz(file)
