"""Columns beside the counts: covariates, and the subjects that were counted several times.

A column holds numbers, true and false, or categories. Categories are a `pandas.Categorical`, since
whoever evaluates formulas takes that, and so does a DataFrame; their names are text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import refuse_other_order

Covariates = Mapping[str, Any]
# Codes of combined columns stay below this, so that one more column cannot overflow them.
_LARGEST_CODE = 2**62
# Longer whole numbers are written as floats are.
_LONGEST_WHOLE = 1e15
_SAME_ROWS = "Both must come from the same rows."


def as_covariates(covariates: object, n_rows: int, counted: object = None) -> Covariates:
    """Check covariates, one row a count.

    Parameters
    ----------
    covariates : DataFrame or mapping
        Columns of numbers, booleans, strings or pandas categoricals, by name.
    n_rows : int
    counted : optional
        What the user gave as counts, whose labels the covariates must have in the same order.

    Returns
    -------
    mapping
        Read-only. For each name an array of float or bool, or a `pandas.Categorical` of text:
        strings in alphabetical order, categoricals in their own.

    Raises
    ------
    TypeError
        If it is no mapping, a name is no text, or a column holds dates, complex numbers or objects.
    ValueError
        If there is no column, or two of one name; for another number of rows, values that are
        missing or infinite, and a pandas index in another order than that of the counts.
    """
    names, column_of = _named_columns(covariates)
    if not names:
        raise ValueError("covariates has no columns. Name some, or leave covariates out.")
    refuse_other_order(counted, covariates, "covariates")
    checked = {}
    for name in names:
        column = column_of(name)
        refuse_other_order(counted, column, f"covariate {name!r}")
        checked[name] = as_column(column, f"covariate {name!r}", n_rows)
    return MappingProxyType(checked)


def _named_columns(covariates: Any) -> tuple[list[str], Any]:
    """Names of the columns, checked, and a function that gives the column of a name."""
    is_frame = hasattr(covariates, "columns") and hasattr(covariates, "iloc")
    if not is_frame and not isinstance(covariates, Mapping):
        raise TypeError(
            "covariates must be a DataFrame or a mapping from names to columns; got "
            f"{type(covariates).__name__}. Try covariates={{'age': ages}}."
        )
    names = list(covariates.columns) if is_frame else list(covariates)
    earlier: set[str] = set()
    for j, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise TypeError(
                f"covariates must be named by text; column {j} is named {name!r}. Rename it, for "
                f"example 'x{j}'."
            )
        if name in earlier:
            raise ValueError(
                f"covariates has {names.count(name)} columns called {name!r}. Rename one of them."
            )
        earlier.add(name)
    return names, covariates.__getitem__


def as_column(column: Any, argument: str, n_rows: int) -> Any:
    """Check one column; ``argument`` is what errors call it, and `as_covariates` says the rest."""
    import pandas as pd

    if isinstance(column, str | bytes | dict | set) or not hasattr(column, "__len__"):
        raise TypeError(
            f"{argument} must be a column of {n_rows} values; got {column!r}. Repeat a value that "
            "is the same in every row."
        )
    try:
        cells = column if isinstance(column, pd.Series) else _series(column)
    except (ValueError, TypeError):
        raise ValueError(
            f"{argument} must be one column; got {type(column).__name__} of shape "
            f"{np.shape(column) if hasattr(column, 'shape') else (len(column),)}. Pass one flat "
            "list or array."
        ) from None
    if len(cells) != n_rows:
        raise ValueError(
            f"{argument} has {len(cells)} entries but there are {n_rows} counts. {_SAME_ROWS}"
        )
    missing = np.flatnonzero(np.asarray(cells.isna(), dtype=bool))
    if missing.size:
        raise ValueError(
            f"{argument} has {missing.size} missing value{'s' * (missing.size > 1)}, the first at "
            f"index {missing[0]}. Drop these rows, or fill them, first."
        )
    kind = cells.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return _as_categories(pd.Categorical(cells), argument)
    if pd.api.types.is_bool_dtype(kind):
        return _read_only(cells.to_numpy(dtype=bool))
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        return _as_numbers(cells, argument)
    inferred = pd.api.types.infer_dtype(cells, skipna=False)
    if inferred == "string":
        return _as_categories(pd.Categorical(cells), argument)
    if inferred == "boolean":
        return _read_only(cells.to_numpy(dtype=bool))
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _as_numbers(cells, argument)
    raise TypeError(
        f"{argument} must hold numbers, booleans or strings; got {_what(cells, inferred)}."
    )


def _series(column: Any) -> Any:
    import pandas as pd

    try:
        return pd.Series(column)
    except OverflowError:
        # Integers that no float can hold stay objects, and are refused by their size.
        return pd.Series(column, dtype=object)


def _what(cells: Any, inferred: str) -> str:
    """What a column holds that cannot be taken, where, and what to do."""
    first = cells.iloc[0] if len(cells) else None
    if "date" in inferred or "time" in inferred or "period" in inferred:
        return (
            f"dates or times, the first is {str(first)!r}. Turn them into numbers, such as days "
            "since the first, or into text"
        )
    other = next((row for row, cell in enumerate(cells) if type(cell) is not type(first)), None)
    if inferred.startswith("mixed") and other is not None:
        return (
            f"{first!r} at index 0 and {cells.iloc[other]!r} at index {other}. Make all of them "
            "numbers, or all of them text"
        )
    return (
        f"{first!r} of type {type(first).__name__} at index 0. Convert the column first, for "
        "example with .astype(str)"
    )


def _as_numbers(cells: Any, argument: str) -> NDArray[np.float64]:
    try:
        with np.errstate(over="ignore"):
            # Adding 0 turns minus zero into zero, which would be another pattern to a digest.
            numbers = np.asarray(cells.to_numpy(dtype=np.float64)) + 0.0
    except OverflowError:
        numbers = np.array([_as_float(cell) for cell in cells])
    infinite = np.flatnonzero(~np.isfinite(numbers))
    if infinite.size:
        raise ValueError(
            f"{argument} must be finite; {infinite.size} "
            f"{'entries are' if infinite.size > 1 else 'entry is'} not, the first is "
            f"{numbers[infinite[0]]} at index {infinite[0]}. Mend or drop these rows first."
        )
    checked: NDArray[np.float64] = _read_only(numbers)
    return checked


def _as_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def _as_categories(cells: Any, argument: str) -> Any:
    """A categorical whose categories are text, in the order that they had."""
    import pandas as pd

    names = [label(category) for category in cells.categories]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"{argument} has two categories that are both written {twice!r}. Rename one of them."
        )
    return pd.Categorical.from_codes(cells.codes, categories=pd.Index(names))


def label(category: object) -> str:
    """A category as text; whole numbers have no decimals, so that 2 and 2.0 are the same."""
    if isinstance(category, float | np.floating):
        number = float(category)
        if number.is_integer() and abs(number) < _LONGEST_WHOLE:
            return str(int(number))
    return str(category)


def as_subjects(subject: object, n_rows: int, counted: object) -> tuple[NDArray[np.intp], Any]:
    """Number the subjects, in the order of their labels.

    Parameters
    ----------
    subject : array_like, shape (n_rows,)
        Strings, whole numbers or a pandas categorical.
    n_rows : int
    counted
        What the user gave as counts, whose labels ``subject`` must have in the same order.

    Returns
    -------
    codes : ndarray of int, shape (n_rows,)
    labels : ndarray, shape (n_subjects,)
        Integers, or objects that are strings; only those that some row has.

    Raises
    ------
    TypeError, ValueError
        For the reasons of `as_covariates`, and for numbers that are not whole.
    """
    refuse_other_order(counted, subject, "subject")
    cells = as_column(subject, "subject", n_rows)
    if isinstance(cells, np.ndarray):
        if cells.dtype.kind == "b":
            raise TypeError(
                "subject must hold labels, strings or whole numbers; got booleans. Pass the column "
                "that says whose count each row is."
            )
        fractional = np.flatnonzero((cells != np.floor(cells)) | (np.abs(cells) > 2**53))
        if fractional.size:
            row = fractional[0]
            raise ValueError(
                f"subject must hold labels, strings or whole numbers up to 2**53; got "
                f"{cells[row].item()!r} at index {row}. Name another column, or make text of it."
            )
        labels, codes = np.unique(cells.astype(np.int64), return_inverse=True)
    else:
        used, codes = np.unique(cells.codes, return_inverse=True)
        labels = np.asarray(cells.categories, dtype=object)[used]
    return _read_only(codes.astype(np.intp)), _read_only(labels)


def taken(covariates: Covariates, rows: Any) -> dict[str, Any]:
    """Some rows of every column."""
    return {name: column[rows] for name, column in covariates.items()}


def distinct_rows(
    covariates: Covariates, names: Sequence[str], n_rows: int, seen: NDArray[np.bool_]
) -> tuple[dict[str, Any], NDArray[np.intp]]:
    """Distinct patterns of some covariates among the rows that were seen.

    Parameters
    ----------
    covariates : mapping
        As `as_covariates` makes them.
    names : sequence of str
        Columns that make up a pattern; without any there is one pattern.
    n_rows : int
    seen : ndarray of bool, shape (n_rows,)

    Returns
    -------
    rows : dict
        For each name one entry a pattern: an array, or a categorical with the categories of all.
    level : ndarray of int, shape (n_rows,)
        Pattern of each row, -1 where it was not seen. Patterns are sorted by the first column,
        then the second: numbers ascending, categories in their order.
    """
    where = np.flatnonzero(seen)
    combined = np.zeros(where.size, dtype=np.int64)
    n_combined = 1
    for name in names:
        codes, n_codes = _codes(covariates[name][where])
        if n_combined * n_codes > _LARGEST_CODE:
            present, combined = np.unique(combined, return_inverse=True)
            n_combined = present.size
        combined = combined * n_codes + codes
        n_combined *= n_codes
    _, first, pattern = np.unique(combined, return_index=True, return_inverse=True)
    level = np.full(n_rows, -1, dtype=np.intp)
    level[where] = pattern
    return taken({name: covariates[name] for name in names}, where[first]), level


def _codes(column: Any) -> tuple[NDArray[np.int64], int]:
    """Whole numbers in the order of a column's values, and how many there may be."""
    if not isinstance(column, np.ndarray):
        return column.codes.astype(np.int64), max(len(column.categories), 1)
    if column.dtype.kind == "b":
        return column.astype(np.int64), 2
    import pandas as pd

    codes, values = pd.factorize(column, sort=True)
    return codes.astype(np.int64), max(values.size, 1)


def covariates_digest(covariates: Covariates) -> bytes:
    """Bytes that are the same for the same columns in the same order."""
    parts = []
    for name, column in covariates.items():
        if isinstance(column, np.ndarray):
            kind, cells = column.dtype.kind, column.astype("<f8")
        else:
            kind, cells = repr(list(column.categories)), column.codes.astype("<i8")
        parts.append(f"\0covariate {name!r} {kind}\0".encode() + cells.tobytes())
    return b"".join(parts)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array
