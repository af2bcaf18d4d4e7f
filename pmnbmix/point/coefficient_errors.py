"""Standard errors of the coefficients of a regression, and when not to use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture.coefficients import Coefficient, Coefficients, estimates_of
from pmnbmix.point.objective import Objective
from pmnbmix.point.optima import Optimum, Status
from pmnbmix.point.slopes import doubtful_slopes
from pmnbmix.point.uncertainty import entry_covariance, overlapping, rivals_of

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# A log dispersion with a larger standard error than this spans Poisson to geometric.
_WIDE_LOG_DISPERSION = 3.0
_NOT_IDENTIFIED = (
    "not identified: other coefficients fit exactly as well (see status), so that no interval "
    "around these says what is known; use fewer terms or components"
)
_TO_INFINITY = (
    "{} separates the counts of {}: this coefficient runs to infinity, or so far that the counts "
    "do not tell how far; see optima for others, or use fit_map(), whose prior holds it"
)


def coefficient_table(
    objective: Objective,
    coefficients: Coefficients,
    optima: Sequence[Optimum],
    confidence: float,
    sandwich: bool,
) -> pd.DataFrame:
    """Tabulate coefficients with Wald intervals and their doubts.

    Parameters
    ----------
    objective : Objective
    coefficients : Coefficients
        At the estimate.
    optima : sequence of Optimum
        The estimate first.
    confidence : float
    sandwich : bool
        As in `wald`.

    Returns
    -------
    pandas.DataFrame
        One row a coefficient: part, component, term, estimate, se, lower, upper, flag.
    """
    point = coefficients.point
    known = entry_covariance(objective, point, sandwich)
    change = coefficients.change
    se = np.sqrt(np.maximum(((change @ known.entries) * change).sum(axis=1), 0.0))
    pinned = ~np.isnan(objective.problem.design.pinned.ravel())
    held = objective.problem.design.free.ravel() >= 0
    # Fixed weights are known: they have an interval of no length.
    fixed = (objective.free.ravel() < 0) & held
    doubtful = known.undetermined & ~pinned & ~fixed
    unknown = (np.abs(change[:, doubtful]) > 0).any(axis=1)
    se[unknown] = np.inf
    estimate = estimates_of(change, point)
    half = float(special.ndtri(0.5 + 0.5 * confidence)) * se
    with np.errstate(invalid="ignore"):
        lower = np.where(np.isfinite(se), estimate - half, -np.inf)
        upper = np.where(np.isfinite(se), estimate + half, np.inf)
    flags = _flags(objective, coefficients, estimate, se, unknown, known.saddle)
    reason = rivals_flag(optima)
    if Status.NOT_IDENTIFIED in optima[0].statuses:
        reason = " | ".join(part for part in (_NOT_IDENTIFIED, reason) if part)
    flags = [" | ".join(part for part in (flag, reason) if part) for flag in flags]
    return coefficients.table(se=se, lower=lower, upper=upper, flag=flags)


def rivals_flag(optima: Sequence[Optimum]) -> str:
    """Say that other optima are close; empty if none is."""
    rivals = len(rivals_of(optima)) - 1
    if not rivals:
        return ""
    close = "another optimum lies" if rivals == 1 else f"{rivals} other optima lie"
    return f"{close} within 4 nats (see optima): an interval around one of them is too short"


def _flags(
    objective: Objective,
    coefficients: Coefficients,
    estimate: Floats,
    se: Floats,
    unknown: NDArray[np.bool_],
    saddle: bool,
) -> list[str]:
    point, design = coefficients.point, objective.problem.design
    centre = design.at_centre(point)
    separated, _ = doubtful_slopes(objective, point)
    runs = (np.abs(coefficients.change[:, separated.ravel()]) > 0).any(axis=1)
    unclear = overlapping(objective, point)
    return [
        _flag(row, centre, estimate[i], se[i], unknown[i], runs[i], saddle, unclear)
        for i, row in enumerate(coefficients.rows)
    ]


def _flag(
    row: Coefficient,
    centre: Floats,
    estimate: float,
    se: float,
    unknown: bool,
    runs: bool,
    saddle: bool,
    unclear: NDArray[np.bool_],
) -> str:
    j = row.component
    if j is not None and not np.isfinite(centre[0, j]):
        return "empty component: nothing is known of it; fit fewer components"
    if j is not None and row.part != "weights" and np.isneginf(centre[1, j]):
        return "mean 0: its other coefficients have no effect"
    if np.isneginf(estimate):
        return "Poisson limit: no standard error there; use profile_intervals()"
    if runs:
        where = "all components" if j is None else f"component {j}"
        name = "a covariate" if row.term == "Intercept" else row.term
        return _TO_INFINITY.format(name, where)
    if unknown:
        return "not determined by the data: fit fewer components, or use a prior, as fit_map() does"
    if saddle:
        return "not an optimum: standard errors mean nothing here"
    if row.part == "dispersions":
        if se > _WIDE_LOG_DISPERSION:
            return "nearly Poisson: the Wald interval is unsafe; use profile_intervals()"
        if j is not None and unclear[j]:
            return (
                "overlaps with another component: a dispersion can look determined and be far off; "
                "use profile_intervals() or bootstrap()"
            )
    return ""
