"""Tables from .xlsx files, read by openpyxl where it is installed."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pmnbmix.data.delimited import locate, refuse_numbers_as_names
from pmnbmix.data.numerals import MISSING

# Each cell takes many times its size in the file, so that less is read than of other kinds.
LARGEST_SPREADSHEET = 2**28
# An error shows this many characters of what openpyxl says.
_SHOWN = 200


def read_spreadsheet(file: Path, columns: Sequence[str] | None = None) -> Any:
    """Read columns of the first sheet of an .xlsx file.

    Formulas count as the numbers that were saved with them. Blank rows before the header and
    behind the last row are none of the table.

    Parameters
    ----------
    file : Path
    columns : sequence of str, optional
        All if absent.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        If openpyxl is not installed, if the file is damaged, too large or empty, if it has no
        header line, lacks a column or has two of its name.
    """
    try:
        import openpyxl
    except ImportError:
        raise ValueError(
            'openpyxl is not installed, which reads .xlsx: pip install "pmnbmix[excel]". Or save '
            f'the sheet as csv, where pandas reads it: pandas.read_excel("{file.name}").to_csv('
            f'"{file.stem}.csv", index=False).'
        ) from None
    import pyarrow as pa

    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size <= LARGEST_SPREADSHEET:
            sheets, rows = _first_sheet(openpyxl, file)
    # A damaged file may raise anything, classes of parsers of XML too.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            # The system raised this one, so that the file itself may be whole.
            raise
        reason = (str(error).strip() or repr(error)).splitlines()[0][:_SHOWN]
        raise ValueError(f"it is not a whole .xlsx file ({reason}). Save it again.") from None
    if size > LARGEST_SPREADSHEET:
        raise ValueError(
            f"it unpacks to {size} bytes; at most {LARGEST_SPREADSHEET} are read. Save it as csv "
            "or parquet."
        )
    if not rows:
        raise ValueError(
            f"its first sheet, {sheets[0]!r}, is empty; expected a header line and one row a count."
        )
    width = max(map(len, rows))
    header, *rows = [(*row, *(width - len(row)) * (None,)) for row in rows]
    names = ["" if name is None else str(name).strip() for name in header]
    refuse_numbers_as_names(names, ",")
    try:
        chosen = locate(names, columns)
    except ValueError as error:
        others = ", ".join(map(repr, sheets[1:]))
        first = f" Only the first sheet, {sheets[0]!r}, is read, not {others}." if others else ""
        raise ValueError(f"{error}{first}") from None
    cells = [_as_column([row[j] for row in rows]) for j in chosen]
    return pa.table(cells, names=[names[j] for j in chosen])


def _first_sheet(openpyxl: Any, file: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of all sheets, and rows of the first without blank rows and columns around them."""
    with warnings.catch_warnings():
        # openpyxl warns of styles and checks that it does not know; cells are read all the same.
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        try:
            sheet = book.worksheets[0]
            # A file may claim any size, and openpyxl would fill it with empty cells.
            sheet.reset_dimensions()
            rows = [_trimmed(row) for row in sheet.iter_rows(values_only=True)]
            names = [one.title for one in book.worksheets]
        finally:
            book.close()
    while rows and not rows[-1]:
        rows.pop()
    first = next((j for j, row in enumerate(rows) if row), 0)
    return names, rows[first:]


def _trimmed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    n = len(row)
    while n and (row[n - 1] is None or str(row[n - 1]).strip() == ""):
        n -= 1
    return row[:n]


def _as_column(cells: list[Any]) -> Any:
    """Cells as numbers or booleans if all are; else as text."""
    import pyarrow as pa

    cells = [None if isinstance(c, str) and c.strip() in MISSING else c for c in cells]
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int}:
        # An integer too long for the machine becomes a float, and is refused by its size.
        large = any(cell is not None and abs(cell) >= 2**63 for cell in cells)
        return pa.array(cells, pa.float64() if large else pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if c is None else float(c) for c in cells], pa.float64())
    if kinds == {bool}:
        return pa.array(cells, pa.bool_())
    return pa.array([None if c is None else str(c) for c in cells], pa.string())
