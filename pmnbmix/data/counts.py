"""Validated counts, as they were given, and their table of unique rows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import as_values, exposure_column, frequency_column, refuse_other_order
from pmnbmix.data.table import CountTable, collapse
from pmnbmix.html import html_table

# Trees have dimensions and coordinates of these names, so a variable cannot have them.
_RESERVED = frozenset(
    ("chain", "draw", "obs", "row", "unique_row", "value", "frequency", "mixture_component")
)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts with their exposure and frequency, validated.

    Identical rows are collapsed once, here; everything that costs time afterwards runs on
    ``table``, so that a million counts cost what their few dozen distinct values do.

    Parameters
    ----------
    values : array_like, shape (n_rows,)
        Non-negative integers. Floats are accepted if every one is integral, and so is a sparse
        matrix of one column or row, such as ``adata[:, "CD8A"].X``.
    exposure : array_like, shape (n_rows,), optional
        Size factor of each row, above 0 and on the natural scale (not a log). The expected count
        of a component is exposure times its mean. 1 if absent.
    frequency : array_like, shape (n_rows,), optional
        How often each row was seen, non-negative integers. 1 if absent.
    name : str
        What is counted; it labels figures and the variables of trees.

    Attributes
    ----------
    n : int
        Number of observations, the sum of the frequencies.
    table : CountTable
        Unique rows with a frequency above 0.
    inverse : ndarray of int, shape (n_rows,)
        Row of ``table`` that each row went to; -1 if its frequency is 0.

    Raises
    ------
    TypeError
        For strings, booleans, complex numbers or objects in place of numbers.
    ValueError
        For values that are negative, fractional, missing, infinite or above 2**53, for exposures
        that are missing or outside 1e-100 to 1e100, for frequencies that are not non-negative
        integers, for arrays of another length or pandas Series in another order, and if no
        observation is left.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.Counts([0, 3, 0, 12, 3, 3], exposure=[1, 2, 1, 2, 2, 2], name="visits")
    >>> counts
    Counts('visits', n=6, n_unique=3, with exposure)
    >>> counts.table.values
    array([ 0.,  3., 12.])
    >>> counts.expanded_inverse()  # the row of that table which each observation went to
    array([0, 1, 0, 2, 1, 1])

    A published table says how often each count was seen:

    >>> nb.Counts([0, 1, 2, 3], frequency=[120, 30, 7, 1]).n
    158
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
        checked = as_values(values)
        rows = checked.size
        if rows == 0:
            raise ValueError("values is empty: at least one count is needed. Check the column.")
        times = np.ones(rows, dtype=np.int64)
        if frequency is not None:
            times = frequency_column(frequency, rows)
        scale = np.ones(rows)
        if exposure is not None:
            scale = exposure_column(exposure, rows)
        table, inverse = collapse(checked, scale, times)
        for array in (checked, scale, times, inverse):
            array.flags.writeable = False
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
    def digest(self) -> str:
        """SHA-256 of the rows in their order, which tells results of other counts apart."""
        hashed = hashlib.sha256()
        for array in (self.values, self.exposure, self.frequency):
            hashed.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return hashed.hexdigest()

    @property
    def variable(self) -> str:
        """The name in a form that a variable of a tree, and of its file, can have."""
        return variable_name(self.name)

    def expanded_inverse(self) -> NDArray[np.int64]:
        """Row of ``table`` for each single observation, (n,), in the order of the rows."""
        return np.repeat(self.inverse, self.frequency)

    def __repr__(self) -> str:
        exposed = ", with exposure" if self.has_exposure else ""
        return f"Counts({self.name!r}, n={self.n}, n_unique={self.n_unique}{exposed})"

    def _repr_html_(self) -> str:
        table = self.table
        rows = [
            ("counts", f"{self.n:,}"),
            ("distinct", f"{self.n_unique:,}"),
            ("smallest, largest", f"{table.values.min():,.0f}, {table.values.max():,.0f}"),
            ("mean", f"{table.frequency @ table.values / table.n:,.4g}"),
            ("zeros", f"{table.frequency[table.values == 0.0].sum() / table.n:.1%}"),
        ]
        if self.has_exposure:
            low, high = table.exposure.min(), table.exposure.max()
            rows.append(("exposure", f"{low:,.4g} to {high:,.4g}"))
        return html_table(self.name, rows)


def variable_name(name: str) -> str:
    """Name of counts in a form that a variable of a tree, and of its file, can have."""
    plain = re.sub(r"[^\w.+-]", "_", name).strip("_.") or "count"
    return f"{plain}_count" if plain in _RESERVED else plain


def fingerprint(counts: Counts) -> dict[str, float | str]:
    """Attributes of a tree that tell results of other counts apart."""
    table = counts.table
    return {
        "n_observations": counts.n,
        "n_unique": counts.n_unique,
        "sum_of_counts": float(table.frequency @ table.values),
        "sum_of_exposure": float(table.frequency @ table.exposure),
        "digest_of_counts": counts.digest,
    }
