"""Validated counts and their table of unique rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Counts are carried as floats inside the density; above this, floats skip integers.
LARGEST_COUNT = 2**53
# Squares and quotients of exposures, counts and means must stay finite floating-point numbers.
SMALLEST_EXPOSURE, LARGEST_EXPOSURE = 1e-100, 1e100
# Python's integers have no largest one, floats do.
_LARGEST_BITS = 1000
# Dimensions and coordinates of trees, which no variable beside them can be called.
_RESERVED = frozenset(
    ("chain", "draw", "obs", "row", "unique_row", "value", "frequency", "mixture_component")
)


@dataclass(frozen=True, eq=False)
class CountTable:
    """The unique (value, exposure) rows of a set of counts, as floats for the compiled code.

    Attributes
    ----------
    values : ndarray of float, shape (n_unique,)
        Counts, ascending.
    exposure : ndarray of float, shape (n_unique,)
        Exposure of each row, in the user's unit.
    frequency : ndarray of float, shape (n_unique,)
        How many observations have this value and exposure; always above 0.
    """

    values: NDArray[np.float64]
    exposure: NDArray[np.float64]
    frequency: NDArray[np.float64]

    @property
    def n(self) -> float:
        """Number of observations."""
        return float(self.frequency.sum())

    def typical_exposures(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Exposures with their shares: all if few, else those at evenly spaced quantiles."""
        exposures, index = np.unique(self.exposure, return_inverse=True)
        shares = np.bincount(index, weights=self.frequency) / self.n
        if exposures.size <= most:
            return exposures, shares
        quantiles = (np.arange(most) + 0.5) / most
        chosen = exposures[np.searchsorted(np.cumsum(shares), quantiles)]
        return chosen, np.full(most, 1.0 / most)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts with their exposure and frequency, validated.

    Identical rows are collapsed once, here; everything that costs time afterwards runs on
    ``table``, so that a million counts cost what their few dozen distinct values do.

    Parameters
    ----------
    values : array_like, shape (n_rows,)
        Non-negative integers. Floats are accepted where every one is integral.
    exposure : array_like, shape (n_rows,), optional
        Size factor of each row, above 0 and on the natural scale (not a log). The expected count
        of a component is exposure times its mean. 1 where absent.
    frequency : array_like, shape (n_rows,), optional
        How often each row was seen, non-negative integers. 1 where absent.
    name : str
        What is counted; it labels figures and the variables of trees.

    Attributes
    ----------
    n : int
        Number of observations, the sum of the frequencies.
    table : CountTable
        Unique rows with a frequency above 0.
    inverse : ndarray of int, shape (n_rows,)
        Row of ``table`` that each row went to; -1 where its frequency is 0.

    Raises
    ------
    TypeError
        For strings, booleans, complex numbers or objects in place of numbers.
    ValueError
        For values that are negative, fractional, missing, infinite or above 2**53, for exposures
        that are missing or outside 1e-100 to 1e100, for frequencies that are not non-negative
        integers, for arrays of another length or pandas Series in another order, and where no
        observation is left.
    """

    values: NDArray[np.int64]
    exposure: NDArray[np.float64]
    frequency: NDArray[np.int64]
    name: str
    has_exposure: bool
    table: CountTable = field(repr=False)
    inverse: NDArray[np.int64] = field(repr=False)

    def __init__(
        self,
        values: ArrayLike,
        exposure: ArrayLike | None = None,
        frequency: ArrayLike | None = None,
        name: str = "count",
    ) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be a non-empty string; got {name!r}.")
        refuse_other_order(values, exposure, "exposure")
        refuse_other_order(values, frequency, "frequency")
        checked = _integers(values, "values", "count", "Counts need whole numbers from 0 up")
        rows = checked.size
        if rows == 0:
            raise ValueError("values is empty: at least one count is needed. Check the column.")
        times = np.ones(rows, dtype=np.int64)
        if frequency is not None:
            times = as_frequency(frequency)
            _same_length(times, rows, "frequency")
            if not times.any():
                raise ValueError(
                    "every frequency is 0, so no observation is left. Check the frequency column."
                )
            if float(times.sum(dtype=np.float64)) > LARGEST_COUNT:
                raise ValueError(
                    f"the frequencies sum to {times.sum(dtype=np.float64):.6g}; at most "
                    f"2**53 = {LARGEST_COUNT} observations can be told apart. Check the column."
                )
        scale = np.ones(rows)
        if exposure is not None:
            scale = _exposure(exposure)
            _same_length(scale, rows, "exposure")
        table, inverse = _collapse(checked, scale, times)
        for array in (checked, scale, times, inverse, table.values, table.exposure):
            array.flags.writeable = False
        table.frequency.flags.writeable = False
        for attribute, value in (
            ("values", checked),
            ("exposure", scale),
            ("frequency", times),
            ("name", name),
            ("has_exposure", exposure is not None),
            ("table", table),
            ("inverse", inverse),
        ):
            object.__setattr__(self, attribute, value)

    @property
    def n(self) -> int:
        """Number of observations."""
        return int(self.frequency.sum())

    @property
    def n_unique(self) -> int:
        """Number of distinct (value, exposure) rows."""
        return self.table.values.size

    @property
    def variable(self) -> str:
        """The name as it can stand for a variable in a tree and its file."""
        plain = re.sub(r"[^\w.+-]", "_", self.name).strip("_.") or "count"
        return f"{plain}_count" if plain in _RESERVED else plain

    def expanded_inverse(self) -> NDArray[np.int64]:
        """Row of ``table`` for each single observation, (n,), in the order of the rows."""
        return np.repeat(self.inverse, self.frequency)

    def __repr__(self) -> str:
        exposed = ", with exposure" if self.has_exposure else ""
        return f"Counts({self.name!r}, n={self.n}, n_unique={self.n_unique}{exposed})"


def _collapse(
    values: NDArray[np.int64], exposure: NDArray[np.float64], frequency: NDArray[np.int64]
) -> tuple[CountTable, NDArray[np.int64]]:
    """Unique rows that were seen at all, and for each row which of them it is (-1: never seen)."""
    seen = np.flatnonzero(frequency > 0)
    order = seen[np.lexsort((exposure[seen], values[seen]))]
    first = np.ones(order.size, dtype=bool)
    first[1:] = (np.diff(values[order]) != 0) | (np.diff(exposure[order]) != 0)
    row = np.cumsum(first) - 1
    inverse = np.full(values.size, -1, dtype=np.int64)
    inverse[order] = row
    kept = order[first]
    table = CountTable(
        values=values[kept].astype(np.float64),
        exposure=exposure[kept].copy(),
        frequency=np.bincount(row, weights=frequency[order]).astype(np.float64),
    )
    return table, inverse


def refuse_other_order(rows: Any, numbers: Any, argument: str) -> None:
    """Refuse a Series whose labels are those of the observations in another order.

    Numbers are taken by position, so that each would go to another observation without a word.
    """
    own: Any = getattr(rows, "obs_names", getattr(rows, "index", None))
    labels: Any = getattr(numbers, "index", None)
    if not hasattr(own, "equals") or not hasattr(labels, "equals") or own.equals(labels):
        return
    if len(own) == len(labels) and set(own) == set(labels):
        raise ValueError(
            f"{argument} has the labels of the observations in another order, and numbers are "
            f"taken by position. Reorder it first: {argument}.loc[...]."
        )


def as_array(data: ArrayLike, argument: str) -> NDArray[Any]:
    """Make an array of anything; the kind and shape of its entries are left to check."""
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"{argument} must be numbers in a list or an array; its entries have different "
            f"lengths or are of different kinds: {data!r}."
        ) from None
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        # what only a long double holds becomes infinite, which is refused by whoever asks
        with np.errstate(over="ignore"):
            return array.astype(np.float64)
    return array


def as_values(values: ArrayLike, argument: str = "values") -> NDArray[np.int64]:
    """Check counts for which a density is asked; the same rules and errors as in ``Counts``."""
    return _integers(values, argument, "count", "Counts need whole numbers from 0 up")


def as_frequency(frequency: ArrayLike, argument: str = "frequency") -> NDArray[np.int64]:
    """Check how often rows were seen; the same rules and errors as in ``Counts``."""
    return _integers(frequency, argument, "frequency", "A frequency says how often a row was seen")


def as_exposure(exposure: ArrayLike | None, rows: int) -> NDArray[np.float64]:
    """Check the exposure of counts for which a density is asked; one number serves every row."""
    if exposure is None:
        return np.ones(rows)
    scalar = as_array(exposure, "exposure")
    if scalar.ndim == 0 and not isinstance(exposure, str | bytes | dict | set | frozenset):
        return np.full(rows, _exposure(np.atleast_1d(scalar))[0])
    checked = _exposure(exposure)
    _same_length(checked, rows, "exposure")
    return checked


def _one_dimensional(data: ArrayLike, argument: str) -> NDArray[Any]:
    if np.ma.isMaskedArray(data):
        masked = np.flatnonzero(np.ma.getmaskarray(data))
        if masked.size:
            raise ValueError(
                f"{argument} has {masked.size} masked entries, the first at index {masked[0]}. "
                "Drop or fill them first."
            )
    if isinstance(data, str | bytes | dict | set | frozenset) or not (
        hasattr(data, "__array__") or hasattr(data, "__len__")
    ):
        raise TypeError(
            f"{argument} must be a list or an array of numbers; got {type(data).__name__}. Pass "
            "one column."
        )
    if isinstance(data, list | tuple):
        # numpy would make 1 and 0 of booleans among numbers
        mixed = [i for i, entry in enumerate(data) if isinstance(entry, bool | np.bool_)]
        if mixed:
            raise TypeError(
                f"{argument} must be numbers; got {data[mixed[0]]!r} at index {mixed[0]}. "
                "Convert booleans first, for example with int()."
            )
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(
            f"{argument} must have one dimension; its entries have different lengths. "
            "Pass one flat list of numbers."
        ) from None
    if array.ndim != 1:
        raise ValueError(
            f"{argument} must have one dimension; got shape {array.shape}. "
            "Pass one column, or call .ravel() if all of it is one sample."
        )
    if array.size == 0:
        return array.astype(np.float64)
    if array.dtype.kind == "O":
        array = _numbers_from_objects(array, argument)
    if array.dtype.kind not in "iuf":
        kind = {"b": "booleans", "U": "strings", "S": "bytes", "c": "complex numbers"}.get(
            array.dtype.kind, str(array.dtype)
        )
        raise TypeError(
            f"{argument} must be numbers; got {kind}, the first is {array[0].item()!r}. "
            "Convert the column first, for example with pandas.to_numeric."
        )
    return array


def _numbers_from_objects(array: NDArray[Any], argument: str) -> NDArray[Any]:
    """Turn Python numbers in an object array into floats or integers, or say which is none."""
    for index, entry in enumerate(array):
        if _is_missing(entry):
            raise ValueError(
                f"{argument} has a missing value at index {index} ({entry!r}). "
                "Drop the missing rows first."
            )
        if isinstance(entry, bool | np.bool_) or not isinstance(
            entry, int | float | np.integer | np.floating
        ):
            raise TypeError(
                f"{argument} must be numbers; got {entry!r} of type {type(entry).__name__} at "
                f"index {index}. Convert the column first, for example with pandas.to_numeric."
            )
    entries = array.tolist()
    if all(isinstance(entry, int) and abs(entry) <= LARGEST_COUNT for entry in entries):
        return np.array(entries, dtype=np.int64)
    for index, entry in enumerate(entries):
        if isinstance(entry, int) and entry.bit_length() > _LARGEST_BITS:
            raise ValueError(
                f"{argument} must be at most {LARGEST_EXPOSURE:g} in size; the integer at index "
                f"{index} has {entry.bit_length()} bits. Check the column."
            )
    # other numbers too large for an array become floats here and are refused by their size later
    with np.errstate(over="ignore"):
        return np.array(entries, dtype=np.float64)


def _is_missing(entry: object) -> bool:
    if entry is None:
        return True
    try:
        return bool(entry != entry)
    except TypeError:  # pandas.NA refuses to be a truth value
        return True


def _integers(data: ArrayLike, argument: str, thing: str, why: str) -> NDArray[np.int64]:
    array = _one_dimensional(data, argument)
    if array.dtype.kind == "f":
        _refuse(~np.isfinite(array), array, argument, "finite", "Mend or drop these rows first.")
        _refuse(
            array != np.floor(array),
            array,
            argument,
            "whole numbers",
            f"{why}; normalised or averaged ones cannot be used.",
        )
    _refuse(array < 0, array, argument, "0 or above", f"{why}.")
    _refuse(
        array > LARGEST_COUNT,
        array,
        argument,
        f"at most 2**53 = {LARGEST_COUNT}",
        "Larger ones have no exact floating-point number.",
    )
    return np.array(array, dtype=np.int64)


def _exposure(data: ArrayLike) -> NDArray[np.float64]:
    # a wider float than 64 bits becomes inf, and is refused as that
    with np.errstate(over="ignore"):
        array = np.array(_one_dimensional(data, "exposure"), dtype=np.float64)
    advice = "Drop empty rows, or leave exposure out; it is a size factor, not its logarithm."
    _refuse(~np.isfinite(array), array, "exposure", "finite", advice)
    _refuse(array <= 0, array, "exposure", "above 0", advice)
    _refuse(
        (array < SMALLEST_EXPOSURE) | (array > LARGEST_EXPOSURE),
        array,
        "exposure",
        f"between {SMALLEST_EXPOSURE:g} and {LARGEST_EXPOSURE:g}",
        "Divide all of them by their mean; means are then per mean exposure.",
    )
    return array


def _refuse(
    wrong: NDArray[np.bool_], array: NDArray[Any], argument: str, expected: str, advice: str
) -> None:
    where = np.flatnonzero(wrong)
    if where.size:
        entries = "1 entry is" if where.size == 1 else f"{where.size} entries are"
        raise ValueError(
            f"{argument} must be {expected}; {entries} not, the first is "
            f"{array[where[0]].item()!r} at index {where[0]}. {advice}"
        )


def _same_length(array: NDArray[Any], rows: int, argument: str) -> None:
    if array.size != rows:
        raise ValueError(
            f"{argument} has {array.size} entries but values has {rows}. "
            "Both must come from the same rows."
        )
