"""Tables in text files: what `read_counts` and `open_matrix` refuse alike.

pandas reads on where a table is not what it seems: it takes a field too many for names of the rows,
numbers names that come twice and leaves out lines that are blank. Each of these moves counts.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# What csv files are divided by where the comma is the decimal sign.
_OTHER_SEPARATORS = (";", "\t")
# An archive, or a gzipped text, that unpacks to more is refused: 2 GiB hold 268 million counts.
LARGEST_ARCHIVE = 2**31
_MARK = b"\xef\xbb\xbf"
# Of a first line that is shown in an error.
_SHOWN = 80


@dataclass(frozen=True, eq=False)
class Table:
    """A text file whose header was read.

    Attributes
    ----------
    content : bytes
        Unpacked, without blank lines at its end.
    separator : str
    n_blank : int
        Number of blank lines before the header.
    names : tuple of str
        Of the columns, as they are written but for space around them.
    excess : str
        What pandas says where the first data row has more fields than the header; else empty.
    """

    content: bytes
    separator: str
    n_blank: int
    names: tuple[str, ...]
    excess: str


def open_table(file: Path, separator: str) -> Table:
    """Unpack a text file and read its header.

    Parameters
    ----------
    file : Path
        Gzipped where its name ends in .gz.
    separator : str
        Semicolons or tabs are tried as well where this one divides nothing.

    Raises
    ------
    ValueError
        Where the file is empty, damaged, no UTF-8 text, or unpacks to more than 2 GB.
    """
    import pandas as pd

    with _in_words():
        content = _unpacked(file) if file.suffix.lower() == ".gz" else file.read_bytes()
        names = _first_line(content, separator)
        for other in _OTHER_SEPARATORS:
            if len(names) == 1 and other in names[0]:
                separator = other
                names = _first_line(content, separator)
        content, n_blank = _trim(content, separator)
        excess = ""
        try:
            _first_lines(content, separator, 2)
        except pd.errors.ParserError as error:
            excess = str(error).strip()
            if "Expected" not in excess:
                # a quotation without end, say
                raise
    return Table(content, separator, n_blank, names, excess)


def read_rows(table: Table, n_fields: int | None = None) -> Any:
    """Read what is below the header; a blank line is a row of empty cells.

    Parameters
    ----------
    table : Table
    n_fields : int, optional
        Number of fields of a row; that of the header where absent.

    Returns
    -------
    DataFrame
        Its columns are numbered from 0.

    Raises
    ------
    ValueError
        Where a row has more fields, or a quotation does not end.
    """
    import pandas as pd

    with _in_words():
        # names of its own, for pandas would number those that come twice, and must know how many
        # fields to expect where the first data row is blank
        frame = pd.read_csv(
            BytesIO(table.content),
            sep=table.separator,
            low_memory=False,
            header=0,
            names=range(len(table.names) if n_fields is None else n_fields),
            skiprows=table.n_blank,
            skip_blank_lines=False,
        )
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas took fields too many of the first data row for an index
        raise ValueError(too_many(table))
    return frame


def too_many(table: Table) -> str:
    """Error of a first data row with more fields than the header."""
    return (
        f"the first data row has more fields than the header ({table.excess}). Look for decimal "
        "commas, a separator at the end of the lines, or row names without a header."
    )


def refuse_numbers_as_names(names: Sequence[str], separator: str) -> None:
    """Refuse a table without a header line, whose first row would become names."""
    if names and all(is_number(name) for name in names):
        line = separator.join(names)
        line = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        raise ValueError(
            f"the first line ({line}) holds numbers where the names of the columns are expected. "
            "Add a header line, for example: count"
        )


def refuse_twice(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse wanted names that more than one column bears."""
    counted: dict[str, int] = {}
    for name in names:
        counted[name] = counted.get(name, 0) + 1
    for name in wanted:
        if counted[name] > 1:
            raise ValueError(f"{counted[name]} columns are called {name!r}. Rename one of them.")


def is_number(text: str) -> bool:
    """Whether a text is a number to Python."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_empty(series: Any) -> Any:
    """Which cells of a column are empty, missing, or of nothing but space.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    import pandas as pd

    empty = series.isna().to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return empty
    return empty | np.array([isinstance(cell, str) and not cell.strip() for cell in series], bool)


def _unpacked(file: Path) -> bytes:
    """Content of a gzipped file, measured before any of it is kept."""
    size = 0
    with gzip.open(file) as stream:
        while part := stream.read(2**20):
            size += len(part)
            if size > LARGEST_ARCHIVE:
                raise ValueError(
                    f"it unpacks to more than {LARGEST_ARCHIVE} bytes, which are not read. Split "
                    "it, or save it as .npz or .h5ad."
                )
    with gzip.open(file) as stream:
        return stream.read()


def _first_line(content: bytes, separator: str) -> tuple[str, ...]:
    line = _first_lines(content, separator, 1).iloc[0].fillna("")
    return tuple(str(name).strip() for name in line)


def _first_lines(content: bytes, separator: str, n_rows: int) -> Any:
    """First lines that are not blank, all as data, since pandas changes names."""
    import pandas as pd

    return pd.read_csv(
        BytesIO(content),
        sep=separator,
        header=None,
        nrows=n_rows,
        dtype=str,
        # NA may be the name of a column
        keep_default_na=False,
    )


def _trim(content: bytes, separator: str) -> tuple[bytes, int]:
    """Leave out blank lines at the end; make those at the start empty, and count them.

    Which lines are blank is for pandas to say where they stand inside, because a quotation may hold
    some. None can before the header, nor at the end, where it would not be closed.
    """
    space = b" " if separator == "\t" else b" \t"
    start = len(_MARK) if content.startswith(_MARK) else 0
    blank = re.compile(rb"(?:[" + space + rb"]*(?:\r\n|\r|\n))*").match(content, start)
    header = blank.end() if blank else start
    n_blank = len(content[start:header].splitlines())
    end = len(content.rstrip(space + b"\r\n"))
    # the last line keeps its own space
    rest = content[end:].splitlines()[:1]
    # pandas takes returns without a newline before the header for fewer lines than they are
    return n_blank * b"\n" + content[header:end] + b"".join(rest), n_blank


@contextmanager
def _in_words() -> Iterator[None]:
    """Say what is wrong with a file in place of what a library raises."""
    import pandas as pd

    try:
        yield
    except pd.errors.EmptyDataError:
        raise ValueError("the file is empty; expected a header line and one row a count.") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text; save it as UTF-8 csv.") from None
    except pd.errors.ParserError as error:
        raise ValueError(f"the table cannot be parsed ({str(error).strip()}).") from None
    except gzip.BadGzipFile:
        raise ValueError("this is not a gzipped file, whatever its name says.") from None
    except (EOFError, zlib.error):
        raise ValueError("the compressed file is damaged; copy it again.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"the file cannot be read ({reason}). Check its rights.") from None
