"""Counts from files. Reading never runs code from the file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.archive import read_archive
from pmnbmix.data.checks import one_of
from pmnbmix.data.columnar import kind_of_table, labelled, read_table
from pmnbmix.data.counts import Counts
from pmnbmix.data.delimited import locate
from pmnbmix.data.numerals import Numerals, numerals_of, why_no_number
from pmnbmix.files import as_file

_log = logging.getLogger(__name__)

_KINDS = ".csv, .tsv (also .gz), .parquet, .feather, .xlsx or .npz"
# Files that pandas turns into csv in one line.
_PANDAS = {".xls": "excel", ".ods": "excel", ".dta": "stata", ".sav": "spss", ".sas7bdat": "sas"}


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns of a file by what they are for, and which rows of the file they have.

    A covariate is for "covariate 'age'", as errors call it.
    """

    names: dict[str, str]
    cells: dict[str, Any]
    rows: NDArray[np.intp] | None = None

    def arguments(self) -> dict[str, Any]:
        """What `Counts` is given."""
        covariates = {
            self.names[role]: cells for role, cells in self.cells.items() if _is_covariate(role)
        }
        others = {role: cells for role, cells in self.cells.items() if not _is_covariate(role)}
        return others | ({"covariates": covariates} if covariates else {})


def read_counts(
    path: str | os.PathLike[str],
    column: str | None = None,
    exposure: str | None = None,
    frequency: str | None = None,
    name: str | None = None,
    *,
    decimal: Literal[".", ","] | None = None,
    thousands: Literal[".", ",", " ", "'"] | None = None,
    covariates: str | Sequence[str] | None = None,
    subject: str | None = None,
    upper: str | None = None,
    above: int | str | None = None,
    missing: Literal["error", "drop"] = "error",
) -> Counts:
    """Read counts from a csv, tsv (also gzipped), parquet, feather, xlsx or npz file.

    Parameters
    ----------
    path : path-like
        File whose suffix is .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .feather, .xlsx (its first
        sheet; needs openpyxl, ``pip install "pmnbmix[excel]"``) or .npz. A text file needs a header
        line; a blank line below it is a row of empty cells, unless nothing follows.
    column : str, optional
        Column (npz: array) with the counts. May be left out if the file has only one.
    exposure : str, optional
        Column with the exposure of each row, on the natural scale.
    frequency : str, optional
        Column that says how often each row was seen.
    name : str, optional
        What is counted; the name of the column if absent.
    decimal : {".", ","}, optional
        Decimal sign of numbers that are text. If neither this nor ``thousands`` is given, it is the
        point, and what may as well mean something else is refused: a column with ``1.000`` and
        ``12``, or one with ``1,5``.
    thousands : {".", ",", " ", "'"}, optional
        What divides thousands in numbers that are text; "." makes the comma the decimal sign.
    covariates : str or sequence of str, optional
        Columns that formulas may use: numbers, true and false, or text, of which each distinct cell
        is a category.
    subject : str, optional
        Column that says whose count each row is, in text or whole numbers.
    upper : str, optional
        Column with the largest count that each record may stand for: the count itself where that is
        exact, inf for a count or more.
    above : int or str, optional
        Counts up to it could not be recorded: a number, or a column with one for each row.
    missing : {"error", "drop"}
        What becomes of rows that lack a cell in a column that is asked for. "drop" leaves them out
        and logs how many they were.

    Returns
    -------
    Counts

    Raises
    ------
    ValueError
        If the file is missing, unreadable or of another kind, if it lacks a column (the
        text lists those that exist), if a cell is empty or can be read in two ways, and for every
        reason of `Counts`.
    TypeError
        If a column does not hold numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> import pmnbmix as nb
    >>> patients = pd.DataFrame({"visits": [0, 2, 5, 2], "years": [1.0, 0.5, 2.0, 0.5]})
    >>> patients.to_csv("patients.csv", index=False)
    >>> nb.read_counts("patients.csv", column="visits", exposure="years")
    Counts('visits', n=4, n_unique=3, with exposure)

    A table as a German spreadsheet writes it, where 1.204 is above a thousand:

    >>> cells = pd.DataFrame({"molecules": ["7", "1.204"], "size": [0.5, 2.25]})
    >>> cells.to_csv("cells.csv", sep=";", decimal=",", index=False)
    >>> nb.read_counts("cells.csv", "molecules", "size", thousands=".").values
    array([   7, 1204])

    Covariates beside the counts:

    >>> patients.assign(sex=["f", "m", "m", "f"]).to_csv("patients.csv", index=False)
    >>> counts = nb.read_counts("patients.csv", "visits", covariates=["sex", "years"])
    >>> counts.covariates["years"]
    array([1. , 0.5, 2. , 0.5])
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path must be the name of a file; got {type(path).__name__}. Counts(values) takes "
            "numbers."
        )
    for argument, text in (
        ("column", column),
        ("exposure", exposure),
        ("frequency", frequency),
        ("name", name),
        ("subject", subject),
        ("upper", upper),
    ):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{argument} must be a name, as text; got {text!r}.")
    file = as_file(path)
    if not str(path) or not file.exists():
        raise ValueError(f"{file}: there is no such file. Check the path; it is relative to here.")
    if not file.is_file():
        raise ValueError(f"{file}: this is not a file. Pass {_KINDS}.")
    wanted = {
        "values": column,
        "exposure": exposure,
        "frequency": frequency,
        "subject": subject,
        "upper": upper,
        "above": above if isinstance(above, str) else None,
        **{f"covariate {one!r}": one for one in _names_of(covariates)},
    }
    one_of(missing, "missing", ("error", "drop"))
    numerals = numerals_of(decimal, thousands)
    found = None
    try:
        if file.suffix.lower() == ".npz":
            found = _Columns(*read_archive(file, lambda existing: _choose(wanted, existing)))
        else:
            found = _read_columns(file, wanted, numerals, missing == "error")
        if missing == "drop":
            found = _without_missing(found, file)
        given = found.arguments() | ({} if isinstance(above, str) else {"above": above})
        return Counts(**given, name=name or found.names["values"])
    except TypeError as error:
        raise TypeError(f"{file}: {_in_words_of_the_file(str(error), wanted, found)}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {_in_words_of_the_file(str(error), wanted, found)}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{file}: the file cannot be read ({reason}). Check its rights.") from None


def _in_words_of_the_file(text: str, wanted: dict[str, str | None], found: _Columns | None) -> str:
    """Reword an error of `Counts`: it names the column, and counts rows of the file from 1."""
    for argument, column in (wanted if found is None else found.names).items():
        if column is not None and text.startswith(f"{argument} "):
            text = f"column {column!r} ({_purpose(argument)}){text.removeprefix(argument)}"
    rows = None if found is None else found.rows

    def row(index: int) -> int:
        return int(index if rows is None else rows[index]) + 1

    return re.sub(r"at index (\d+)", lambda place: f"in data row {row(int(place[1]))}", text)


def _is_covariate(role: str) -> bool:
    return role.startswith("covariate ")


def _purpose(role: str) -> str:
    """What a column is for, in a word."""
    return "covariate" if _is_covariate(role) else role


def _names_of(covariates: object) -> list[str]:
    """Check names of columns: one, or several that are distinct."""
    names = [covariates] if isinstance(covariates, str) else covariates
    if names is None:
        return []
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"covariates must be names of columns, as a list of text; got {covariates!r}. Try "
            'covariates=["age", "sex"].'
        )
    for j, name in enumerate(names):
        if name in names[:j]:
            raise ValueError(f"covariates names column {name!r} twice. Name it once.")
    return list(names)


def _choose(wanted: dict[str, str | None], existing: list[str]) -> dict[str, str]:
    """Match the wanted columns with those that exist."""
    chosen: dict[str, str] = {}
    for role, name in wanted.items():
        if name is None:
            if role != "values":
                continue
            if len(existing) != 1:
                listed = ", ".join(repr(name) for name in existing) or "none"
                raise ValueError(
                    f"it has {len(existing)} columns, so the one with the counts must be named. "
                    f"Existing columns: {listed}. Pass column=NAME (command line: --column NAME)."
                )
            name = existing[0]
        locate(existing, [name])
        # A covariate may be anything else besides, such as the exposure.
        if not _is_covariate(role) and name in chosen.values():
            raise ValueError(f"column {name!r} is named for two things. Name another for {role}.")
        chosen[role] = name
    return chosen


def _read_columns(
    file: Path, wanted: dict[str, str | None], numerals: Numerals | None, whole: bool
) -> _Columns:
    """Columns of a table; ``whole`` says that no cell may be missing."""
    if kind_of_table(file) is None:
        raise ValueError(_other_kind(file))
    named = [name for name in wanted.values() if name is not None]
    labels = [name for role, name in wanted.items() if name is not None and _has_labels(role)]
    table = read_table(
        file,
        named if wanted["values"] is not None else None,
        numerals=numerals,
        as_stored=labels,
    )
    names = _choose(wanted, table.column_names)
    said = table.schema.metadata or {}
    cells = {}
    for role, name in names.items():
        column = f"column {name!r} ({_purpose(role)})"
        if whole:
            _refuse_missing(table.column(name), column)
        if _has_labels(role):
            cells[role] = labelled(table.column(name), column)
        else:
            cells[role] = _numeric(table.column(name), column, numerals, said)
    return _Columns(names, cells)


def _has_labels(role: str) -> bool:
    return role == "subject" or _is_covariate(role)


def _other_kind(file: Path) -> str:
    """Why a file of this kind is not read, and what to do."""
    suffix = "".join(file.suffixes[-2:] if file.suffix.lower() == ".gz" else file.suffixes[-1:])
    kind = f"files ending in {suffix!r}" if suffix else "files without a suffix"
    said = f"{kind} cannot be read; expected {_KINDS}."
    if reader := _PANDAS.get(suffix.lower()):
        return (
            f'{said} pandas makes a csv of it: pandas.read_{reader}("{file.name}").to_csv('
            f'"{file.stem}.csv", index=False).'
        )
    if suffix.lower() == ".h5ad":
        return f'{said} One gene of an AnnData: pmnbmix.Counts(adata[:, "GENE"].to_df()["GENE"]).'
    if suffix.lower() in ("", ".txt", ".dat"):
        return f"{said} If it is a table as text, name it .csv (commas, semicolons) or .tsv (tabs)."
    return said


def _refuse_missing(cells: Any, column: str) -> None:
    import pyarrow.compute as pc

    missing = np.flatnonzero(pc.is_null(cells, nan_is_null=True))
    if missing.size:
        raise ValueError(
            f"{column} has {missing.size} empty or missing cell{'s' * (missing.size > 1)}, the "
            f"first in data row {missing[0] + 1}. Fill these rows, or leave them out: "
            'missing="drop" (command line: --missing drop); a blank line is a row, too.'
        )


def _numeric(
    cells: Any, column: str, numerals: Numerals | None, said: Mapping[bytes, bytes]
) -> NDArray[Any]:
    """One column as numbers; the error of a cell that is not a number names its row.

    ``said`` is what reading the file has found out about it.
    """
    import pyarrow as pa

    if not len(cells):
        return np.empty(0)
    if pa.types.is_boolean(cells.type):
        raise TypeError(f"{column} holds true and false where numbers are expected.")
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
        return np.asarray(cells.to_numpy())
    if pa.types.is_string(cells.type):
        why = why_no_number(cells, numerals, commas_likely=said.get(b"separator") == b";")
        if b"comments" in said and "comment" not in why:
            why += f" {said[b'comments'].decode()}"
        raise TypeError(f"{column} must hold numbers; {why}")
    raise TypeError(
        f"{column} must hold numbers; data row 1 has {str(cells[0].as_py())!r}. "
        "Mend or drop that row, or name another column."
    )


def _without_missing(found: _Columns, file: Path) -> _Columns:
    """Rows with a cell in every column; how many others there were is logged.

    Raises
    ------
    ValueError
        If no row is left.
    """
    columns = list(found.cells.values())
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        # `Counts` says what is wrong.
        return found
    missing = np.zeros(columns[0].size, dtype=bool)
    for column in columns:
        if not isinstance(column, np.ndarray):
            missing |= column.codes < 0
        elif column.dtype.kind == "f":
            missing |= np.isnan(column)
        elif column.dtype.kind == "O":
            missing |= np.array([cell is None for cell in column], dtype=bool)
    if not missing.any():
        return found
    kept = np.flatnonzero(~missing)
    if not kept.size:
        raise ValueError(
            f"every row lacks a number in {', '.join(map(repr, found.names.values()))}, so none is "
            "left. Check the columns."
        )
    n = missing.size - kept.size
    _log.warning(
        "%s: left out %s of %s rows with an empty or missing cell, the first is data row %s",
        *(file, n, missing.size, int(np.argmax(missing)) + 1),
    )
    return replace(
        found, cells={role: cells[kept] for role, cells in found.cells.items()}, rows=kept
    )
