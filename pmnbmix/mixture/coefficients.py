"""The coefficients of a mixture of regressions, as a user reads them.

Inside, covariates are centred and scaled; here coefficients are those of the covariates as they
were given. Logits of the weights are stated with sum to zero over the components, so that no
component is special; subtract one component's from another's for log odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.design import Design, Part
from pmnbmix.mixture.levels import Levels, Terms, levels_of
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.regressors import Regressors

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

INTERCEPT = "Intercept"


class Coefficient(NamedTuple):
    """A row of the table of coefficients.

    Attributes
    ----------
    part : str
        "weights", "means", "shared" or "dispersions".
    component : int or None
        None for a coefficient of all components.
    term : str
    """

    part: str
    component: int | None
    term: str


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The parameters of a mixture of regressions.

    Attributes
    ----------
    design : Design
    regressors : Regressors or None
        None if nothing follows covariates.
    point : ndarray, shape (n_terms, k)
        In the centred and scaled design.
    """

    design: Design
    regressors: Regressors | None
    point: Floats

    @property
    def rows(self) -> list[Coefficient]:
        """What each row of the table is."""
        return [row for row, _ in _rows_of(self.design)]

    @property
    def change(self) -> Floats:
        """Coefficients of the table, of the entries of a point, (n_rows, n_terms k)."""
        size = self.design.n_terms * self.design.n_components
        return np.array([change for _, change in _rows_of(self.design)]).reshape(-1, size)

    @property
    def estimates(self) -> Floats:
        """The coefficients of the table, (n_rows,); minus infinity at an edge."""
        return estimates_of(self.change, self.point)

    def estimates_at(self, points: Floats) -> Floats:
        """Coefficients of the table at other points (m, n_terms, k), (m, n_rows)."""
        change = self.change
        return np.array([estimates_of(change, point) for point in points])

    def table(self, **columns: Any) -> pd.DataFrame:
        """Tabulate the coefficients, one row each, with further columns beside them."""
        import pandas as pd

        rows = self.rows
        return pd.DataFrame(
            {
                "part": [row.part for row in rows],
                "component": pd.array([row.component for row in rows], dtype="Int64"),
                "term": [row.term for row in rows],
                "estimate": self.estimates,
                **columns,
            }
        )

    def levels_at(self, rows: Mapping[str, Any] | None, n_rows: int) -> Levels:
        """Parameters at rows of covariates; at the one level there is if nothing follows them."""
        terms = self.design.terms
        if self.regressors is not None:
            terms = self.regressors.terms_at(rows or {}, n_rows)
        return levels_of(Terms(*map(np.ascontiguousarray, terms)), self.point)

    def at(self, rows: Mapping[str, Any]) -> MixtureParams:
        """Mixture at one row of covariates."""
        return params_of(self.levels_at(rows, 1), 0)


def estimates_of(change: Floats, point: Floats) -> Floats:
    """Coefficients of the table at a point; minus infinity where an intercept is."""
    entries = point.ravel()
    at_edge = np.isneginf(entries)
    found: Floats = change @ np.where(at_edge, 0.0, entries)
    found[(change[:, at_edge] > 0.4).any(axis=1)] = -np.inf
    return found


def params_of(levels: Levels, level: int) -> MixtureParams:
    """Mixture at one level."""
    log_weights, means, inv_disps = (array[level if len(array) > 1 else 0] for array in levels)
    weights = np.exp(log_weights)
    return MixtureParams(weights / weights.sum(), means, 1.0 / inv_disps)


def _rows_of(design: Design) -> list[tuple[Coefficient, Floats]]:
    """Every coefficient, and what it is made of, (n_terms k,)."""
    k, found = design.n_components, list[tuple[Coefficient, Floats]]()
    first = 0
    for name, part in (
        ("weights", design.weights),
        ("means", design.means),
        ("dispersions", design.dispersions),
    ):
        own = [t for t, shared in enumerate(part.shared) if not shared]
        for j in range(k):
            if name == "weights" and k == 1:
                continue
            if not np.isnan(design.pinned[first, j]):
                # A family leaves nothing to say of a part that it pins.
                continue
            for t in own:
                row = Coefficient(name, j, _term(part, t))
                found.append((row, _change(design, part, first, t, j, name == "weights")))
        alive = np.flatnonzero(np.isnan(design.pinned[first]))
        for t, shared in enumerate(part.shared):
            if shared and alive.size:
                row = Coefficient("shared", None, _term(part, t))
                found.append((row, _change(design, part, first, t, int(alive[0]), False)))
        first += len(part.terms)
    return found


def _term(part: Part, t: int) -> str:
    return INTERCEPT if t == 0 else part.terms[t]


def _change(design: Design, part: Part, first: int, t: int, j: int, sum_to_zero: bool) -> Floats:
    change = np.zeros((design.n_terms, design.n_components))
    change[first : first + len(part.terms), j] = part.to_given[t]
    if sum_to_zero:
        rows = slice(first, first + len(part.terms))
        change[rows] -= part.to_given[t][:, None] / design.n_components
    return change.ravel()
