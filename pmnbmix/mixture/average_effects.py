"""What a change of a covariate does to expected counts, on average over the observations.

The expected counts are taken at every observed pattern of covariates, once as it is and once with
one covariate changed, all others as they are, and averaged (average partial effects; J. M.
Wooldridge 2010, Econometric Analysis of Cross Section and Panel Data, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.levels import Terms, levels_of
from pmnbmix.mixture.regressors import Regressors

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Change:
    """A change of one covariate at every row.

    Attributes
    ----------
    covariate : str
    what : str
        "+1", or "a to b" for categories.
    before, after : Terms
        At the rows without and with the change.
    """

    covariate: str
    what: str
    before: Terms
    after: Terms


def changes_of(regressors: Regressors, rows: Mapping[str, Any], n_rows: int) -> list[Change]:
    """Every change that is asked about: one unit of a number, the first category to another."""
    found = []
    for name in regressors.names:
        for what, *columns in _sides(rows[name], n_rows):
            try:
                sides = [regressors.terms_at({**rows, name: side}, n_rows) for side in columns]
            except ValueError as error:
                raise ValueError(
                    f"covariate {name!r} cannot be changed ({what}) everywhere: {error} Pass "
                    "covariates that leave room for the change."
                ) from None
            found.append(Change(name, what, sides[0], sides[1]))
    return found


def _sides(column: Any, n_rows: int) -> list[tuple[str, Any, Any]]:
    """Each change of a column: what it is called, the column without it and with it."""
    import pandas as pd

    if isinstance(column, pd.Categorical):
        names = list(column.categories)
        same = [
            pd.Categorical.from_codes([c] * n_rows, dtype=column.dtype) for c in range(len(names))
        ]
        return [(f"{names[0]} to {names[c]}", same[0], same[c]) for c in range(1, len(names))]
    if column.dtype == bool:
        return [("False to True", np.zeros(n_rows, bool), np.ones(n_rows, bool))]
    return [("+1", column, column + 1.0)]


def average_effect(change: Change, point: Floats, shares: Floats) -> Floats:
    """Average change of the expected count, and log rate ratio, (k + 1, 2).

    Parameters
    ----------
    change : Change
    point : ndarray, shape (n_terms, k)
    shares : ndarray, shape (n_rows,)
        Share of the observations at each row.

    Returns
    -------
    ndarray, shape (k + 1, 2)
        A row for each component, and last one for the mixture, whose weights may change too. At
        one unit of exposure.
    """
    before, after = (_averages(terms, point, shares) for terms in (change.before, change.after))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError(
            f"the expected counts are beyond floats where {change.covariate!r} changes "
            f"({change.what}): the fit says nothing so far out. If a unit of it is many times its "
            "spread, state it in smaller units and fit again."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(after) - np.log(before)
    # A point mass at zero stays one.
    ratio[(before == 0.0) & (after == 0.0)] = 0.0
    return np.column_stack([after - before, ratio])


def _averages(terms: Terms, point: Floats, shares: Floats) -> Floats:
    with np.errstate(over="ignore"):
        levels = levels_of(terms, point)
    means = np.broadcast_to(levels.means, (shares.size, point.shape[1]))
    weights = np.exp(levels.log_weights)
    overall = (weights / weights.sum(axis=1, keepdims=True) * means).sum(axis=1)
    return np.append(shares @ means, shares @ overall)
