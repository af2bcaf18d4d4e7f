"""Tables in text files, read by pyarrow.

pyarrow refuses rows of another length and guesses neither names nor an index. Left to this module
are the encoding, the header, what only looks like a number, and words for what is wrong.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.numerals import (
    MISSING,
    NUMBER,
    PLAIN,
    Numerals,
    is_names,
    plain,
    refuse_ambiguous,
)

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# Csv files use this separator if the comma is their decimal sign.
_OTHER_SEPARATORS = (";", "\t")
# A file that unpacks to more bytes is refused; 2 GiB hold 268 million counts.
LARGEST_ARCHIVE = 2**31
# Pyarrow needs each line in one block, and the header of a matrix may be megabytes long.
_BLOCK = 2**24
# This line is put behind the last row: if a quotation has no end, it ends up in a cell.
_END = "end of the table"
# An error shows this many characters of a line, and this many names of columns.
_SHOWN, _LISTED = 80, 20
# 1.234, which is above a thousand if the comma is the decimal sign.
_SOME_THOUSANDS = re.compile(rb"(?<![\d.])[1-9]\d{0,2}\.\d{3}(?![\d.])")
# Names of columns 0, 1, 2, ... are those that pandas gives. The first counts of a table without a
# header line may be 0, 1, 2 as well, but hardly more of them.
_FEWEST_NUMBERED = 4


@dataclass(frozen=True, eq=False)
class _Text:
    """Unpacked text without blank lines around it, and what its header says.

    Its last line is `_END`, which has another number of fields than any row.
    """

    content: bytearray
    separator: str
    names: list[str]
    numerals: Numerals | None = None

    @property
    def commas_likely(self) -> bool:
        """Whether the comma may be the decimal sign, since it does not divide the cells."""
        return self.separator == ";"


class _TooManyFieldsError(ValueError):
    """The first data row has more fields than the header, which may lack the row names."""


def read_delimited(
    file: Path,
    separator: str,
    columns: Sequence[str] | None = None,
    *,
    rows_named: bool = False,
    numerals: Numerals | None = None,
) -> Any:
    """Read columns of a text file; a blank line below the header is a row of empty cells.

    Parameters
    ----------
    file : Path
        Gzipped if its name ends in .gz.
    separator : str
        Semicolons or tabs are tried as well if this one does not divide the header.
    columns : sequence of str, optional
        All if absent.
    rows_named : bool
        Whether the header may lack a field for the names of the rows, as R writes it. The name of
        that column is then empty.
    numerals : Numerals, optional
        How numbers are written; with a decimal point if absent.

    Returns
    -------
    pyarrow.Table
        Its columns hold numbers, true and false, or else text. Its metadata have the
        separator, and a sentence about lines that may be comments.

    Raises
    ------
    ValueError
        If the file is empty, damaged, no UTF-8 text, or unpacks to more than 2 GB; if it has no
        header line, a row with more or fewer fields than that, a quotation without end, or points
        that may divide thousands; if it lacks a column, or has two of its name.
    """
    content = _content(file)
    _trim(content, separator)
    if len(_header(content, separator)) == 1:
        found = [other for other in _OTHER_SEPARATORS if len(_header(content, other)) > 1]
        # The only column of a file may have commas in its cells.
        alone = [";"] if numerals is not None and separator in vars(numerals).values() else []
        separator = (found + alone or [separator])[0]
    names = _header(content, separator, strict=True)
    refuse_numbers_as_names(names, separator)
    content += f"\n{_END}{2 * separator if len(names) == 1 else ''}\n".encode()
    text = _Text(content, separator, names, numerals)
    try:
        return _columns(text, columns)
    except _TooManyFieldsError:
        text = replace(text, names=["", *names])
        if not rows_named or not _has_row_names(text):
            raise
    return _columns(text, columns)


def locate(names: Sequence[str], columns: Sequence[str] | None) -> list[int]:
    """Positions of columns, each once; of all if none are named.

    Raises
    ------
    ValueError
        If no column bears a name, or more than one does.
    """
    if columns is None:
        return list(range(len(names)))
    found = []
    for name in dict.fromkeys(columns):
        positions = [j for j, existing in enumerate(names) if existing == name]
        if not positions:
            listed = ", ".join(repr(existing) for existing in names[:_LISTED]) or "none"
            more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
            if names and names[0].startswith("#"):
                more += ". The first line may be a comment; remove it"
            raise ValueError(f"there is no column {name!r}. Existing columns: {listed}{more}.")
        if len(positions) > 1:
            raise ValueError(f"{len(positions)} columns are called {name!r}. Rename one of them.")
        found += positions
    return found


def _content(file: Path) -> bytearray:
    """Content of a file in UTF-8; unpacking stops at the largest size that is accepted."""
    content = bytearray()
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            while part := stream.read(2**20):
                content += part
                if isinstance(stream, gzip.GzipFile) and len(content) > LARGEST_ARCHIVE:
                    raise ValueError(
                        f"it unpacks to more than {LARGEST_ARCHIVE} bytes, which are not read. "
                        "Split it, or save it as .parquet, .npz or .h5ad."
                    )
        if not content.isascii():
            content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text; save it as UTF-8 csv.") from None
    except gzip.BadGzipFile:
        raise ValueError("this is not a gzipped file, whatever its name says.") from None
    except (EOFError, zlib.error):
        raise ValueError("the compressed file is damaged; copy it again.") from None
    return content


def _trim(content: bytearray, separator: str) -> None:
    """Leave out a byte order mark, and blank lines at the start and at the end."""
    space = b" " if separator == "\t" else b" \t"
    if content.startswith(codecs.BOM_UTF8):
        del content[: len(codecs.BOM_UTF8)]
    if blank := re.match(rb"(?:[" + space + rb"]*(?:\r\n|\r|\n))*", content):
        del content[: blank.end()]
    while content:
        # The text is checked in parts, because a copy of all of it may not fit into memory.
        part = content[-(2**16) :]
        n_kept = len(part.rstrip(space + b"\r\n"))
        del content[len(content) - len(part) + n_kept :]
        if n_kept:
            return
    raise ValueError("the file is empty; expected a header line and one row a count.")


def _header(content: bytearray, separator: str, *, strict: bool = False) -> list[str]:
    lines = (line[0].decode() for line in re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n)?", content))
    try:
        names = next(csv.reader(lines, delimiter=separator, strict=strict))
    except csv.Error as error:
        raise ValueError(
            f"the table cannot be parsed: its first line is no header ({error}). Look for a "
            "quotation mark too many."
        ) from None
    return [name.strip() for name in names]


def refuse_numbers_as_names(names: list[str], separator: str) -> None:
    """Refuse a table without a header line, whose first row would become names.

    Raises
    ------
    ValueError
    """
    numbered = len(names) >= _FEWEST_NUMBERED and names == [str(j) for j in range(len(names))]
    if not numbered and all(re.match(NUMBER, name) for name in names):
        line = separator.join(names)
        line = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        raise ValueError(
            f"the first line ({line}) holds numbers where the names of the columns are expected. "
            "Add a header line, for example: count"
        )


def _columns(text: _Text, columns: Sequence[str] | None) -> Any:
    import pyarrow as pa

    chosen = locate(text.names, columns)
    parsed = _parse(text, chosen, as_written=text.numerals is not None)
    cells = dict(zip(chosen, parsed.columns, strict=True))
    # Some columns are parsed again as text: dates and times, which stay text, and numbers whose
    # point may mean thousands.
    again = [
        j
        for j, column in cells.items()
        if pa.types.is_temporal(column.type)
        or (
            pa.types.is_floating(column.type)
            and _has_at_most_three_decimals(column.to_numpy())
            and _SOME_THOUSANDS.search(text.content)
        )
    ]
    if again:
        for j, written in zip(again, _parse(text, again, as_written=True).columns, strict=True):
            if pa.types.is_temporal(cells[j].type):
                cells[j] = written
            else:
                refuse_ambiguous(text.names[j], written, commas_likely=text.commas_likely)
    names = [text.names[j] for j in chosen]
    columns_read = [
        plain(column, name, text.numerals, commas_likely=text.commas_likely)
        for name, column in zip(names, cells.values(), strict=True)
    ]
    said = {"separator": text.separator}
    if _any_text(columns_read):
        said |= _comments(text)
    return pa.table(columns_read, names=names, metadata=said)


def _comments(text: _Text) -> dict[str, str]:
    if text.names[0].startswith("#"):
        return {"comments": "The first line begins with #: it may be a comment; remove it."}
    if re.search(rb"[\r\n]#", text.content):
        return {"comments": "Some lines begin with #: they may be comments; remove them."}
    return {}


def _any_text(columns: Sequence[Any]) -> bool:
    import pyarrow as pa

    return any(pa.types.is_string(column.type) for column in columns)


def _parse(text: _Text, chosen: Sequence[int], *, as_written: bool = False) -> Any:
    """Read the columns at these positions, as text if wanted."""
    import pyarrow as pa
    from pyarrow import csv as parser

    # Columns get new names here, because those of the header may come twice.
    own = [str(j) for j in range(len(text.names))]
    wanted = [own[j] for j in chosen]
    # Pyarrow would read hexadecimal numbers. Looking for the letter first is faster, because
    # searching for one byte takes less time than for two.
    as_written = as_written or any(
        mark in text.content and b"0" + mark in text.content for mark in (b"x", b"X")
    )
    odd: list[Any] = []

    def judge(row: Any) -> str:
        odd.append(row)
        return "skip" if row.text.rstrip(text.separator) == _END else "error"

    try:
        table = parser.read_csv(
            pa.BufferReader(text.content),
            # Rows are numbered only if a single thread reads them.
            parser.ReadOptions(
                use_threads=False, block_size=_BLOCK, column_names=own, skip_rows_after_names=1
            ),
            parser.ParseOptions(
                delimiter=text.separator,
                newlines_in_values=b'"' in text.content,
                ignore_empty_lines=False,
                invalid_row_handler=judge,
            ),
            parser.ConvertOptions(
                check_utf8=False,
                null_values=MISSING,
                # Pyarrow would read 1 as true beside a True.
                true_values=("True", "TRUE", "true"),
                false_values=("False", "FALSE", "false"),
                strings_can_be_null=True,
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()) if as_written else None,
            ),
        )
    except pa.ArrowInvalid as error:
        if odd:
            _refuse_row(odd[0], text)
        raise ValueError(f"the table cannot be parsed ({error}).") from None
    if not odd:
        raise ValueError("the table cannot be parsed: a quotation in its last row does not end.")
    return table


def _refuse_row(row: Any, text: _Text) -> NoReturn:
    """Refuse a row with more or fewer fields than the header, and say where they may come from."""
    # Pyarrow counts the header as its first row.
    place = f"data row {row.number - 1}"
    if not row.text.strip():
        raise ValueError(
            f"every cell of {place} is empty or missing, as in a blank line. Drop or fill that row "
            "first."
        )
    if _END in row.text:
        raise ValueError(f"the table cannot be parsed: a quotation in {place} does not end.")
    shown = row.text if len(row.text) <= _SHOWN else f"{row.text[:_SHOWN]}..."
    fields = f"{row.actual_columns} where it has {row.expected_columns}: {shown!r}"
    more = row.actual_columns > row.expected_columns
    if row.text.startswith("#"):
        cause = f"{place.capitalize()} begins with #: it may be a comment; remove it."
    elif text.names[0].startswith("#"):
        cause = "The first line begins with #: it may be a comment; remove it."
    elif more:
        cause = _why_more_fields(row, text)
    else:
        cause = "Look for a line that was cut off, or empty cells left out at its end."
    if row.number == 2 and more:
        raise _TooManyFieldsError(
            f"the first data row has more fields than the header ({fields}). {cause}"
        )
    raise ValueError(
        f"the table cannot be parsed: {place} has {'more' if more else 'fewer'} fields than the "
        f"header ({fields}). {cause}"
    )


def _why_more_fields(row: Any, text: _Text) -> str:
    if text.separator == "," and re.search(r"(?<!\d)\d+,\d+", row.text):
        if len(text.names) == 1:
            return (
                'If commas divide thousands, pass thousands=","; if they are decimal commas, '
                'decimal="," (command line: --thousands ",", --decimal ","). Otherwise look for '
                "names missing in the header."
            )
        return (
            "If a comma is part of a number (thousands, decimals), put such cells in quotes or "
            "semicolons between all cells. Otherwise look for a separator at the end of the line, "
            "or for names missing in the header, as that of the row names."
        )
    return (
        "Look for a separator at the end of the line, or for names missing in the header, as that "
        "of the row names."
    )


def _has_row_names(text: _Text) -> bool:
    """Whether the first of these columns names the rows.

    Numbers could be counts as well, and a last column without any cell is a separator too many.
    """
    try:
        first, last = (
            plain(cells, "", text.numerals or PLAIN)
            for cells in _parse(text, [0, len(text.names) - 1]).columns
        )
    except _TooManyFieldsError:
        return False
    return is_names(first) and last.null_count < len(last)


def _has_at_most_three_decimals(values: NDArray[np.float64]) -> bool:
    thousandths = 1000 * values[np.abs(values) < 1e6]
    return bool(np.allclose(thousandths, np.rint(thousandths), rtol=0, atol=1e-6))
