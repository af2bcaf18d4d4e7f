"""Checks of what users hand over: numbers, words, counts, frequencies, exposures, other arrays."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The density carries counts as floats, and floats above this skip integers.
LARGEST_COUNT = 2**53
# Squares and quotients of exposures, counts and means must stay finite floating-point numbers.
SMALLEST_EXPOSURE, LARGEST_EXPOSURE = 1e-100, 1e100
# More draws at a time are refused, because their arrays would take tens of gigabytes.
_MOST_DRAWS = 2**31
# Python's integers may be larger than any float, and would overflow on conversion.
_LARGEST_BITS = 1000


def whole(number: object, name: str, least: int, most: int | None = None, also: str = "") -> int:
    """Check an argument that is a whole number; ``also`` says what else it may be.

    Raises
    ------
    TypeError
        If it is not an integer of Python or NumPy; a boolean is not one here.
    ValueError
        For a number below ``least`` or above ``most``.
    """
    upper = "" if most is None else f" and at most {most}"
    told = f"{name} must be a whole number of {least} or above{upper}{also}; got {number!r}"
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise TypeError(f"{told} of type {type(number).__name__}.")
    if number < least or (most is not None and number > most):
        raise ValueError(f"{told}.")
    return int(number)


def as_size(n: object, name: str) -> int:
    """Check how many are to be drawn: a whole number from 1 up that an array can hold."""
    return whole(n, name, 1, _MOST_DRAWS)


def one_of(word: object, name: str, words: Sequence[str]) -> None:
    """Check an argument that is one of some words.

    Raises
    ------
    ValueError
        For anything else.
    """
    if not isinstance(word, str) or word not in words:
        *first, last = (f'"{one}"' for one in words)
        raise ValueError(f"{name} must be {', '.join(first)} or {last}; got {word!r}.")


def fraction(number: object, name: str) -> float:
    """Check an argument that is a number between 0 and 1, both left out.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or is another number.
    """
    told = f"{name} must be between 0 and 1; got {number!r}. Write 0.95 for 95 %."
    if isinstance(number, bool) or not isinstance(number, int | float | np.integer | np.floating):
        raise TypeError(told)
    if not 0.0 < number < 1.0:
        raise ValueError(told)
    return float(number)


def function(given: object, name: str) -> None:
    """Check an argument that is a function, or None."""
    if given is not None and not callable(given):
        raise TypeError(f"{name} must be a function; got {given!r}.")


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
    """Make an array of anything; the caller checks the kind and shape of its entries."""
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"{argument} must be numbers in a list or an array; its entries have different "
            f"lengths or are of different kinds: {data!r}."
        ) from None
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        # A number too large for 64 bits becomes infinite here, and every caller refuses infinity.
        with np.errstate(over="ignore"):
            return array.astype(np.float64)
    return array


def as_values(values: ArrayLike, argument: str = "values") -> NDArray[np.int64]:
    """Check counts for which a density is asked; the same rules and errors as in ``Counts``."""
    return _integers(values, argument, "count", "Counts need whole numbers from 0 up")


def as_frequency(frequency: ArrayLike, argument: str = "frequency") -> NDArray[np.int64]:
    """Check how often rows were seen; the same rules and errors as in ``Counts``."""
    return _integers(frequency, argument, "frequency", "A frequency says how often a row was seen")


def frequency_column(frequency: ArrayLike, rows: int) -> NDArray[np.int64]:
    """Check how often each row was seen: at least once in all, and at most 2**53 times."""
    times = as_frequency(frequency)
    _same_length(times, rows, "frequency")
    if not times.any():
        raise ValueError(
            "every frequency is 0, so no observation is left. Check the frequency column."
        )
    if float(times.sum(dtype=np.float64)) > LARGEST_COUNT:
        raise ValueError(
            f"frequency sums to {times.sum(dtype=np.float64):.6g}; at most "
            f"2**53 = {LARGEST_COUNT} observations can be told apart. Check the column."
        )
    return times


def as_exposure(exposure: ArrayLike | None, rows: int) -> NDArray[np.float64]:
    """Check the exposure of counts for which a density is asked; one number serves every row."""
    if exposure is None:
        return np.ones(rows)
    scalar = as_array(exposure, "exposure")
    if scalar.ndim == 0 and not isinstance(exposure, str | bytes | dict | set | frozenset):
        return np.full(rows, _exposure(np.atleast_1d(scalar))[0])
    return exposure_column(exposure, rows)


def exposure_column(exposure: ArrayLike, rows: int) -> NDArray[np.float64]:
    """Check a column of exposures, one a row; a single number is refused."""
    checked = _exposure(exposure)
    _same_length(checked, rows, "exposure")
    return checked


def as_upper(upper: ArrayLike, values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Check the largest counts that records may stand for: whole numbers, or inf for no limit.

    Raises
    ------
    TypeError, ValueError
        Besides the reasons of `as_values`, if one is below the count of its row.
    """
    # A number too large for 64 bits becomes infinite here, which is as good as no limit.
    with np.errstate(over="ignore"):
        limits = np.array(_one_dimensional(upper, "upper"), dtype=np.float64)
    _same_length(limits, values.size, "upper")
    why = "It is the largest count that the record may stand for"
    _refuse(
        np.isnan(limits),
        limits,
        "upper",
        "present",
        f"{why}: write the count itself where that is exact, inf for a count or more.",
    )
    open_ended = np.isposinf(limits)
    _integers(np.where(open_ended, 0.0, limits), "upper", "limit", why)
    below = np.flatnonzero(limits < values)
    if below.size:
        row = below[0]
        raise ValueError(
            f"upper must be the count or above; it is {limits[row]:.0f} at index {row}, where the "
            f"count is {values[row]}. {why}, and values holds the smallest."
        )
    return limits


def as_above(above: ArrayLike, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Check up to which counts nothing could be recorded: whole numbers from -1 up, or one.

    Raises
    ------
    TypeError, ValueError
        Besides the reasons of `as_values`, if a count was recorded that could not be.
    """
    single = isinstance(above, int | float | np.number) and not isinstance(above, bool)
    column = np.full(values.size, above) if single else _one_dimensional(above, "above")
    _same_length(column, values.size, "above")
    why = "Counts up to it could not be recorded; -1 says that all could"
    # An unsigned 0 would wrap around, and -1 is the one negative number that means something.
    shifted = np.where(column == -1, 0, column)
    cut = np.where(column == -1, -1, _integers(shifted, "above", "limit", why))
    recorded = np.flatnonzero(values <= cut)
    if recorded.size:
        row = recorded[0]
        raise ValueError(
            f"above must be below every count; a count of {values[row]} was recorded at index "
            f"{row}, though above={cut[row]} says that counts up to {cut[row]} could not be. Drop "
            "that row, or lower above."
        )
    return cut.astype(np.int64)


def _sparse_column(data: Any, argument: str) -> Any:
    """A sparse column or row of scipy as an array, as a slice of an AnnData is one; else ``data``.

    Raises
    ------
    ValueError
        If it has several columns and rows.
    """
    scipy_sparse = sys.modules.get("scipy.sparse")
    # A matrix of scipy exists only if its module was loaded.
    if scipy_sparse is None or not scipy_sparse.issparse(data):
        return data
    if max(data.shape) != math.prod(data.shape):
        raise ValueError(
            f"{argument} must be one column; got a sparse matrix of shape {data.shape}. Pass "
            "matrix[:, [j]], or all of them to fit_columns."
        )
    return data.toarray().ravel()


def _one_dimensional(data: ArrayLike, argument: str) -> NDArray[Any]:
    data = _sparse_column(data, argument)
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
        # NumPy would turn booleans among numbers into 1 and 0 without a word.
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
    """Turn an object array into floats or integers, or say which entry is not a number."""
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
    # Integers too large for an array become floats here; the caller refuses them by their size.
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
    # A number too large for 64 bits becomes infinite here and is refused below.
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
