"""The rows of a set of counts as a model sees them: equal rows stand there once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CountTable:
    """Unique rows of a set of counts, as arrays that compiled code can be handed.

    Attributes
    ----------
    values : ndarray of float, shape (n_rows,)
        Counts, ascending; within one count by level, then exposure.
    exposure : ndarray of float, shape (n_rows,)
        Exposure of each row, in the user's unit.
    level : ndarray of int, shape (n_rows,)
        Which distinct pattern of covariates the row has, the exposure not among them; 0
        everywhere in the plain model.
    unit : ndarray of int, shape (n_rows,)
        Which unit the row belongs to: each row is its own, unless several counts share a
        component.
    frequency : ndarray of float, shape (n_units,)
        How many times the unit was seen; always above 0.
    """

    values: Floats
    exposure: Floats
    level: Whole
    unit: Whole
    frequency: Floats

    def __post_init__(self) -> None:
        # Every table is read-only, so that one compiled version of what reads it serves them all.
        for name, array in list(vars(self).items()):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @classmethod
    def plain(cls, values: Floats, exposure: Floats, frequency: Floats) -> CountTable:
        """Return rows without covariates, each its own unit."""
        rows = values.size
        return cls(values, exposure, np.zeros(rows, np.intp), np.arange(rows), frequency)

    def taken(self, rows: slice | Whole, frequency: Floats | None = None) -> CountTable:
        """Return some of the rows, seen as often as they were or by another ``frequency``.

        Every row must be its own unit.
        """
        values = self.values[rows]
        return CountTable(
            values,
            self.exposure[rows],
            self.level[rows],
            np.arange(values.size),
            self.frequency[rows] if frequency is None else frequency,
        )

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


def collapse(
    values: NDArray[np.int64],
    exposure: NDArray[np.float64],
    frequency: NDArray[np.int64],
    level: Whole | None = None,
) -> tuple[CountTable, NDArray[np.int64]]:
    """Unique rows that were seen at all, and for each row which of them it is (-1: never seen).

    ``level`` is the pattern of covariates of each row; all are 0 if absent.
    """
    seen = np.flatnonzero(frequency > 0)
    levels = () if level is None else (level[seen],)
    order = seen[np.lexsort((exposure[seen], *levels, values[seen]))]
    first = np.ones(order.size, dtype=bool)
    first[1:] = (np.diff(values[order]) != 0) | (np.diff(exposure[order]) != 0)
    if level is not None:
        first[1:] |= np.diff(level[order]) != 0
    row = np.cumsum(first) - 1
    inverse = np.full(values.size, -1, dtype=np.int64)
    inverse[order] = row
    kept = order[first]
    table = CountTable.plain(
        values=values[kept].astype(np.float64),
        exposure=exposure[kept].copy(),
        frequency=np.bincount(row, weights=frequency[order]).astype(np.float64),
    )
    if level is not None:
        table = replace(table, level=level[kept])
    return table, inverse


def difference(
    one: CountTable, other: CountTable, names: tuple[str, str], by_value: bool = False
) -> str:
    """In which row two tables differ first, in words; empty if they are the same.

    Parameters
    ----------
    one, other : CountTable
        Rows sorted and distinct, as `Counts` makes them.
    names : tuple of str
        What the two are called.
    by_value : bool
        Whether exposures are left out of it, if they are not known.

    Returns
    -------
    str
    """
    if by_value:
        one, other = _by_value(one), _by_value(other)
    columns = ("values", "exposure", "frequency")
    if all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns):
        return ""
    times = [
        dict(zip(zip(table.values, table.exposure, strict=True), table.frequency, strict=True))
        for table in (one, other)
    ]
    for row in sorted(times[0].keys() | times[1].keys()):
        first, second = (found.get(row, 0.0) for found in times)
        if first != second:
            at = "" if by_value else f" at exposure {row[1]:g}"
            return (
                f"count {row[0]:.0f}{at} comes {first:.0f} times in {names[0]}, {second:.0f} times "
                f"in {names[1]}"
            )
    return f"rows are in another order in {names[0]} than in {names[1]}"


def _by_value(table: CountTable) -> CountTable:
    values, which = np.unique(table.values, return_inverse=True)
    return CountTable.plain(values, np.ones(values.size), np.bincount(which, table.frequency))
