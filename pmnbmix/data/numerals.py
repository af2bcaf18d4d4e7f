"""How numbers are written in text: the decimal sign, and the mark between thousands.

Where a column can be read in two ways, neither is taken: the error names both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pmnbmix.data.checks import one_of

# These words stand for a missing cell.
MISSING = (
    *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf(inity)?))$"
# 1,234 or 1 234.5 or 2,5 or 1.234.567: numbers to a reader, though not to a parser.
_GROUPED = (
    r"^[+-]?\d+([,'\x{2019} \x{a0}\x{2009}\x{202f}]\d+)+(\.\d*)?$|^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$"
)
# 1.234, which is above a thousand if the comma is the decimal sign.
_THOUSANDS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
# A mark stands for whatever looks like it: spaces that do not break a line, thin ones, both
# kinds of apostrophes.
_LOOKALIKES = {
    " ": r"[ \x{a0}\x{2009}\x{202f}]",
    "'": r"['\x{2019}]",
    ".": r"\.",
    ",": ",",
}
_MARKS = {" ": "spaces", "'": "apostrophes", ".": "points", ",": "commas"}


@dataclass(frozen=True)
class Numerals:
    """A way to write numbers.

    Attributes
    ----------
    decimal : str
        Point or comma.
    thousands : str or None
        What divides thousands: point, comma, space or apostrophe; None if nothing does.
    """

    decimal: str = "."
    thousands: str | None = None

    @property
    def pattern(self) -> str:
        """Regular expression that a number written in this way matches as a whole."""
        sign = _LOOKALIKES[self.decimal]
        whole = r"\d+"
        if self.thousands is not None:
            whole = rf"(\d{{1,3}}({_LOOKALIKES[self.thousands]}\d{{3}})+|\d+)"
        return rf"^[+-]?(({whole}({sign}\d*)?|{sign}\d+)([eE][+-]?\d+)?|(?i:inf(inity)?))$"

    @property
    def words(self) -> str:
        """What the way is, in words."""
        comma = "decimal commas" if self.decimal == "," else ""
        marks = f"{_MARKS[self.thousands]} between thousands" if self.thousands else ""
        return " and ".join(filter(None, (comma, marks))) or "a decimal point"

    @property
    def options(self) -> str:
        """What to pass to read numbers in this way."""
        given = {"decimal": self.decimal, "thousands": self.thousands}
        if self.thousands is not None and self.decimal == _usual_decimal(self.thousands):
            del given["decimal"]
        named = {name: value for name, value in given.items() if value is not None}
        python = ", ".join(f'{name}="{value}"' for name, value in named.items())
        shell = " ".join(f'--{name} "{value}"' for name, value in named.items())
        return f"{python} (command line: {shell})"

    def meaning(self, cell: str) -> str:
        """What a cell stands for, as a parser would write it."""
        if self.thousands is not None:
            cell = re.sub(_python(_LOOKALIKES[self.thousands]), "", cell)
        return f"{float(cell.strip().replace(self.decimal, '.')):.15g}"


PLAIN = Numerals()
# Those that an error can name, the simplest first.
_WAYS = (
    Numerals(","),
    *(Numerals(".", mark) for mark in (",", " ", "'")),
    *(Numerals(",", mark) for mark in (".", " ", "'")),
)


def numerals_of(decimal: str | None, thousands: str | None) -> Numerals | None:
    """Check how numbers are said to be written; None if nothing is said.

    Raises
    ------
    ValueError
        If one is another sign, or both are the same.
    """
    if decimal is not None:
        one_of(decimal, "decimal", (".", ","))
    if thousands is not None:
        one_of(thousands, "thousands", tuple(_MARKS))
    if decimal is None and thousands is None:
        return None
    if decimal is None:
        decimal = _usual_decimal(thousands)
    if decimal == thousands:
        raise ValueError(
            f"decimal and thousands are both {decimal!r}. A sign cannot be both; leave one out."
        )
    return Numerals(decimal, thousands)


def _usual_decimal(thousands: str | None) -> str:
    return "," if thousands == "." else "."


def plain(
    column: Any, name: str, numerals: Numerals | None = None, *, commas_likely: bool = False
) -> Any:
    """A column as numbers, true and false, or text; text whose cells are all numbers as numbers.

    Cells of nothing but space are missing.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    name : str
    numerals : Numerals, optional
        How its numbers are written; if absent, as a parser expects them.
    commas_likely : bool
        Whether the file looks as if the comma were its decimal sign.

    Raises
    ------
    ValueError
        If points may divide thousands.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type), name, numerals, commas_likely=commas_likely)
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_temporal(kind):
        return column.cast(pa.string())
    if pa.types.is_large_string(kind):
        column = column.cast(pa.string())
    elif not pa.types.is_string(kind):
        return column
    trimmed = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(trimmed, ""), None, column)
    if column.null_count == len(column):
        return column.cast(pa.float64())
    if not pc.all(is_number(column, numerals)).as_py():
        return column
    if numerals is None:
        refuse_ambiguous(name, column, commas_likely=commas_likely)
    digits = pc.utf8_ltrim(pc.if_else(pc.equal(trimmed, ""), None, trimmed), "+")
    if numerals is not None:
        digits = _as_parsed(digits, numerals)
    try:
        return digits.cast(pa.int64())
    except pa.ArrowInvalid:
        return digits.cast(pa.float64())


def _as_parsed(cells: Any, numerals: Numerals) -> Any:
    """Cells without marks of thousands, and with a decimal point."""
    import pyarrow.compute as pc

    if numerals.thousands is not None:
        cells = pc.replace_substring_regex(cells, _LOOKALIKES[numerals.thousands], "")
    return pc.replace_substring(cells, numerals.decimal, ".")


def is_number(text: Any, numerals: Numerals | None = None) -> Any:
    """Whether each cell of a column of text is a number; missing cells stay missing."""
    import pyarrow.compute as pc

    pattern = NUMBER if numerals is None else numerals.pattern
    return pc.match_substring_regex(pc.utf8_trim_whitespace(text), pattern)


def is_names(column: Any) -> bool:
    """Whether the cells of a column are text and not numbers; some may be empty, but not all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = column.drop_null()
    if not pa.types.is_string(cells.type) or not len(cells):
        return False
    grouped = pc.match_substring_regex(pc.utf8_trim_whitespace(cells), _GROUPED)
    return not pc.any(pc.or_(is_number(cells), grouped)).as_py()


def refuse_ambiguous(name: str, column: Any, *, commas_likely: bool) -> None:
    """Refuse points before three digits in some cells if no other cell says what they are.

    Parameters
    ----------
    name : str
    column : pyarrow.ChunkedArray
        As it is written.
    commas_likely : bool
        Whether the file looks as if the comma were its decimal sign; then even a column where
        every cell has such a point is refused.

    Raises
    ------
    ValueError
    """
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(column)
    marked = pc.match_substring_regex(cells, _THOUSANDS)
    # Missing cells are neither.
    others = cells.filter(pc.invert(marked))
    if not pc.any(marked).as_py() or (not len(others) and not commas_likely):
        return
    if pc.any(pc.match_substring_regex(others, r"\.|^[+-]?(?i:inf)")).as_py():
        return
    row = pc.index(marked, True).as_py()
    cell = cells[row].as_py()
    german, own = Numerals(",", "."), PLAIN
    likely = (
        " The file looks like the first: semicolons divide its cells, as where the comma is the "
        "decimal sign."
    )
    raise ValueError(
        f"column {name!r} has {cell!r} in data row {row + 1}"
        f"{', and cells without a point' if len(others) else ''}. It may mean "
        f"{german.meaning(cell)}, with points between thousands: pass {german.options}; or "
        f"{own.meaning(cell)}, with a decimal point: pass {own.options}."
        f"{likely if commas_likely else ''}"
    )


def why_no_number(
    cells: Any, numerals: Numerals | None = None, *, commas_likely: bool = False
) -> str:
    """Which cell of a column of text is the first that is no number, and how it may be meant.

    Parameters
    ----------
    cells : pyarrow.ChunkedArray
        Text, of which some cell is no number.
    numerals : Numerals, optional
        How numbers were expected to be written.
    commas_likely : bool
        Whether the file looks as if the comma were its decimal sign.

    Returns
    -------
    str
        Sentences; the first begins in lower case.
    """
    import pyarrow.compute as pc

    bad = pc.index(pc.fill_null(is_number(cells, numerals), True), False).as_py()
    cell = cells[bad].as_py()
    said = f"data row {bad + 1} has {cell!r}"
    if cell.lstrip().startswith("#"):
        return f"{said}, which may be a comment. Remove that line."
    if numerals is not None:
        return f"{said}, which is no number written with {numerals.words}. {_also(cell, numerals)}"
    readable = cells.filter(
        pc.or_kleene(
            pc.match_substring_regex(pc.utf8_trim_whitespace(cells), _GROUPED), is_number(cells)
        )
    )
    ways = [way for way in _WAYS if pc.all(is_number(readable, way)).as_py()]
    if not pc.match_substring_regex(cells.slice(bad, 1), _GROUPED)[0].as_py():
        return f"{said}. Mend or drop that row, or name another column."
    kept: list[Numerals] = []
    for way in ways:
        # A way with a mark that no cell has is the same as one without it.
        if not any(
            way.thousands == one.thousands or (way.decimal == one.decimal and not one.thousands)
            for one in kept
        ):
            kept.append(way)
    if not kept and not any(_matches(cell, way) for way in _WAYS):
        return f"{said}. Write that number without marks between its digits."
    if not kept:
        return (
            f"{said}, and other cells write their numbers in another way. Write all of them alike, "
            "best without marks of thousands."
        )
    if len(kept) == 1:
        return f"{said}, which is written with {kept[0].words}: pass {kept[0].options}."
    likely = " The first is likely, because semicolons divide the cells." if commas_likely else ""
    meant = "; or ".join(
        f"{way.meaning(cell)}, with {way.words}: pass {way.options}" for way in kept
    )
    return f"{said}, which may mean {meant}.{likely}"


def _also(cell: str, numerals: Numerals) -> str:
    """What to do about a cell that is not written as it was said."""
    for way in _WAYS:
        if way.thousands and way.decimal == numerals.decimal and _matches(cell, way):
            return f"If {_MARKS[way.thousands]} divide thousands, pass {way.options}."
    return (
        "Mend that cell, or say how all are written by decimal= and thousands= (command line: "
        "--decimal, --thousands)."
    )


def _matches(cell: str, way: Numerals) -> bool:
    return re.match(_python(way.pattern), cell.strip()) is not None


def _python(pattern: str) -> str:
    """A pattern of RE2 in the form of Python."""
    letters = re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), pattern)
    return letters.replace("$", r"\Z")
