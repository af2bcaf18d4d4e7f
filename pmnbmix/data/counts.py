"""Validated counts, as they were given, and their table of unique rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import (
    as_above,
    as_upper,
    as_values,
    exposure_column,
    frequency_column,
    refuse_other_order,
)
from pmnbmix.data.covariates import Covariates, as_covariates, as_subjects, covariates_digest
from pmnbmix.data.table import CountTable, collapse
from pmnbmix.html import html_table

if TYPE_CHECKING:
    import pandas as pd

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
    covariates : DataFrame or mapping from names to columns, optional
        What formulas may use, one row a count: numbers, booleans, strings or pandas categoricals,
        whose order of categories is kept.
    subject : array_like, shape (n_rows,), optional
        Whose count each row is, strings or whole numbers. Counts of one subject share a component.
    upper : array_like, shape (n_rows,), optional
        Largest count that each record may stand for, where ``values`` has the smallest: the same
        where the count is exact, inf for "10 or more".
    above : int or array_like, shape (n_rows,), optional
        Counts up to it could not be recorded: 0 where only counts from 1 up were, -1 where all.
    name : str
        What is counted; it labels figures and the variables of trees.

    Attributes
    ----------
    n : int
        Number of observations, the sum of the frequencies.
    covariates : mapping or None
        Read-only; for each name an array of float or bool, shape (n_rows,), or a
        `pandas.Categorical`.
    subject : ndarray of int, shape (n_rows,), or None
        Number of the subject of each row.
    subject_labels : ndarray, shape (n_subjects,), or None
        Who they are, sorted, or in the order of a categorical.
    upper : ndarray of float, shape (n_rows,), or None
    above : ndarray of int, shape (n_rows,), or None
    table : CountTable
        Unique rows of value and exposure with a frequency above 0, whatever else is known of them.
    inverse : ndarray of int, shape (n_rows,)
        Row of ``table`` that each row went to; -1 if its frequency is 0.

    Raises
    ------
    TypeError
        For strings, booleans, complex numbers or objects in place of numbers, and for covariates
        that hold dates or objects.
    ValueError
        For values that are negative, fractional, missing, infinite or above 2**53, for exposures
        that are missing or outside 1e-100 to 1e100, for frequencies that are not non-negative
        integers, for covariates and subjects that are missing or infinite, for an ``upper`` below
        its count or an ``above`` that is not, for arrays of another length or pandas Series in
        another order, and if no observation is left.

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

    Covariates that a formula may use:

    >>> visits = nb.Counts([0, 4, 2], covariates={"age": [31, 64, 47], "sex": ["f", "m", "f"]})
    >>> visits
    Counts('count', n=3, n_unique=3, 2 covariates)
    >>> list(visits.covariates["sex"].categories)
    ['f', 'm']

    A record may stand for several counts. What needs exact ones refuses it:

    >>> binned = nb.Counts([0, 1, 10], upper=[0, 9, float("inf")])
    >>> binned.refuse_observed("goodness_of_fit")
    Traceback (most recent call last):
        ...
    ValueError: goodness_of_fit cannot use upper=... yet: 2 of 3 records stand for ...
    """

    values: NDArray[np.int64]
    exposure: NDArray[np.float64]
    frequency: NDArray[np.int64]
    name: str
    has_exposure: bool
    covariates: Covariates | None
    subject: NDArray[np.intp] | None
    subject_labels: NDArray[Any] | None
    upper: NDArray[np.float64] | None
    above: NDArray[np.int64] | None
    table: CountTable = field(repr=False)
    inverse: NDArray[np.int64] = field(repr=False)

    def __init__(
        self,
        values: ArrayLike,
        exposure: ArrayLike | None = None,
        frequency: ArrayLike | None = None,
        covariates: Mapping[str, Any] | pd.DataFrame | None = None,
        subject: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        above: ArrayLike | None = None,
        name: str = "count",
    ) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be a non-empty string; got {name!r}.")
        refuse_other_order(values, exposure, "exposure")
        refuse_other_order(values, frequency, "frequency")
        refuse_other_order(values, upper, "upper")
        refuse_other_order(values, above, "above")
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
        columns, who, labels, limits, cut = None, None, None, None, None
        if covariates is not None:
            columns = as_covariates(covariates, rows, values)
        if subject is not None:
            who, labels = as_subjects(subject, rows, values)
        if upper is not None:
            limits = as_upper(upper, checked)
        if above is not None:
            cut = as_above(above, checked)
        table, inverse = collapse(checked, scale, times)
        for array in (checked, scale, times, inverse, limits, cut):
            if array is not None:
                array.flags.writeable = False
        for attribute, value in (
            ("values", checked),
            ("exposure", scale),
            ("frequency", times),
            ("name", name),
            ("has_exposure", exposure is not None),
            ("covariates", columns),
            ("subject", who),
            ("subject_labels", labels),
            ("upper", limits),
            ("above", cut),
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
        if self.covariates is not None:
            hashed.update(covariates_digest(self.covariates))
        for name, column in (
            ("subject", self.subject),
            ("upper", self.upper),
            ("above", self.above),
        ):
            if column is not None:
                hashed.update(f"\0{name}\0".encode() + column.astype("<f8").tobytes())
        return hashed.hexdigest()

    @property
    def variable(self) -> str:
        """The name in a form that a variable of a tree, and of its file, can have."""
        return variable_name(self.name)

    def expanded_inverse(self) -> NDArray[np.int64]:
        """Row of ``table`` for each single observation, (n,), in the order of the rows."""
        return np.repeat(self.inverse, self.frequency)

    def __getstate__(self) -> dict[str, Any]:
        # A read-only mapping cannot go to another process as it is.
        return vars(self) | {"covariates": self.covariates and dict(self.covariates)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        covariates = state["covariates"]
        vars(self).update(state, covariates=covariates and MappingProxyType(covariates))

    def refuse_observed(self, what: str) -> None:
        """Refuse these counts for something that takes each for exact and for its own unit.

        Parameters
        ----------
        what : str
            What cannot use them, such as the name of a function.

        Raises
        ------
        ValueError
            If several rows have one subject, if a record stands for several counts, or if some
            counts could not be recorded.
        """
        rows, said = self.values.size, None
        if self.subject is not None and np.unique(self.subject).size < rows:
            shared = f"{rows} counts are of {np.unique(self.subject).size} subjects"
            said = ("subject", f"{shared}, and it would take each for a subject of its own")
        elif self.upper is not None and (wide := int((self.upper > self.values).sum())):
            stand = f"{wide} of {rows} records stand for more than one count"
            said = ("upper", f"{stand}, and it would take the smallest for exact")
        elif self.above is not None and (cut := int((self.above >= 0).sum())):
            limited = f"{cut} of {rows} counts were recorded only above a limit"
            said = ("above", f"{limited}, and it would expect those up to it, too")
        if said:
            argument, why = said
            raise ValueError(
                f"{what} cannot use {argument}=... yet: {why}. Leave {argument} out if it may."
            )

    def __repr__(self) -> str:
        parts = [f"n={self.n}", f"n_unique={self.n_unique}"]
        if self.has_exposure:
            parts.append("with exposure")
        parts += [f"{how_many} {thing}" for thing, how_many in self._known_besides()]
        return f"Counts({self.name!r}, {', '.join(parts)})"

    def _known_besides(self) -> list[tuple[str, str]]:
        """What is known of the rows besides count, exposure and frequency."""
        known = []
        if self.covariates is not None:
            n = len(self.covariates)
            known.append(("covariates" if n > 1 else "covariate", f"{n:,}"))
        if self.subject_labels is not None:
            known.append(("subjects", f"{self.subject_labels.size:,}"))
        if self.upper is not None:
            known.append(("inexact", f"{(self.upper > self.values).sum():,}"))
        if self.above is not None:
            known.append(("cut off", f"{(self.above >= 0).sum():,}"))
        return known

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
        rows += self._known_besides()
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
