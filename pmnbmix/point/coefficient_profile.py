"""Profile-likelihood intervals of the coefficients of a regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from pmnbmix.mixture.coefficients import INTERCEPT, Coefficient, Coefficients
from pmnbmix.mixture.design import Design, Part
from pmnbmix.point.objective import Objective
from pmnbmix.point.profile import Held

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_FIRST = 0.5
# A held fit that is so much higher than the estimate says that the estimate is not a maximum.
_HIGHER = 1e-4
_NOT_PROFILED = (
    "the profile of a logit that follows covariates or is of three components and more, and of an "
    "intercept under a prior, is not followed; use bootstrap()"
)
_ELSEWHERE = (
    "the likelihood is higher elsewhere on the profile: the estimate is not the maximum; refit "
    "with more starts"
)


def profile_table(
    objective: Objective,
    coefficients: Coefficients,
    points: Sequence[Floats],
    se: Floats,
    confidence: float,
) -> pd.DataFrame:
    """Tabulate profile-likelihood intervals; see `PointFit.profile_intervals`.

    Parameters
    ----------
    objective : Objective
    coefficients : Coefficients
        At the estimate.
    points : sequence of ndarray of shape (n_terms, k)
        The estimate, then other optima.
    se : ndarray, shape (n_rows,)
        Standard errors of the coefficients, for the length of the first step.
    confidence : float

    Returns
    -------
    pandas.DataFrame
        One row a coefficient: part, component, term, estimate, lower, upper, flag.
    """
    value = objective.value(points[0])
    target = value - 0.5 * float(stats.chi2.ppf(confidence, 1))
    followed = [points[0], *(rival for rival in points[1:] if objective.value(rival) > target)]
    at_zero = _recentred(objective)
    lower, upper, flag = [], [], []
    for i, row in enumerate(coefficients.rows):
        held = _held(objective, at_zero, followed, row)
        if held is None:
            lower.append(math.nan)
            upper.append(math.nan)
            flag.append(_NOT_PROFILED)
            continue
        paths, scale = held
        width = float(se[i]) * scale
        step = _FIRST * min(max(width, 0.05), 4.0) if math.isfinite(width) else 1.0
        # An end at the edge is at minus infinity.
        with np.errstate(divide="ignore"):
            ends = [[np.log(path.end(target, side)) for path in paths] for side in (-step, step)]
        if row.part == "weights":
            # An interval of a weight, of which the logit is twice what sums to zero.
            ends = [[0.5 * special.logit(np.exp(end)) for end in side] for side in ends]
        lower.append(min(ends[0]) / scale)
        upper.append(max(ends[1]) / scale)
        higher = max(path.highest for path in paths) > value + _HIGHER
        flag.append(_ELSEWHERE if higher else "")
    return coefficients.table(lower=lower, upper=upper, flag=flag)


def _held(
    objective: Objective,
    at_zero: Objective,
    points: Sequence[Floats],
    row: Coefficient,
) -> tuple[list[Held], float] | None:
    """Profiles of a coefficient from each optimum, and the scale of its covariate."""
    design = objective.problem.design
    _, of_means, of_dispersions = design.intercepts
    if row.part == "weights":
        if len(design.weights.terms) > 1 or design.n_components != 2:
            return None
        return [Held(objective, point, 0, int(row.component or 0)) for point in points], 1.0
    part = design.dispersions if row.part == "dispersions" else design.means
    first = of_dispersions if row.part == "dispersions" else of_means
    j = row.component
    if j is None:
        j = int(np.flatnonzero(np.isnan(design.pinned[first]))[0])
    if row.term == INTERCEPT and part.centre is not None:
        if objective.prior.precision[first, j] > 0.0:
            # The prior is of the centre of the covariates.
            return None
        moved = [_moved(design, point) for point in points]
        return [Held(at_zero, point, first, j) for point in moved], 1.0
    term = part.terms.index(row.term) if row.term != INTERCEPT else 0
    scale = 1.0 if part.scale is None else float(part.scale[term])
    return [Held(objective, point, first + term, j) for point in points], scale


def _recentred(objective: Objective) -> Objective:
    """The same objective with intercepts at 0 of the covariates, not at their centre."""
    problem = objective.problem
    design = problem.design
    parts = {name: _at_zero(getattr(design, name)) for name in ("means", "dispersions")}
    moved = Design(
        design.n_components,
        design.weights,
        parts["means"],
        parts["dispersions"],
        design.free,
        design.pinned,
    )
    return replace(objective, problem=replace(problem, design=moved))


def _at_zero(part: Part) -> Part:
    if part.centre is None or part.scale is None:
        return part
    matrix = part.matrix + part.centre / part.scale
    matrix[:, 0] = 1.0
    return replace(part, matrix=matrix, centre=np.zeros_like(part.centre))


def _moved(design: Design, point: Floats) -> Floats:
    """Point whose intercepts are at 0 of the covariates."""
    moved = point.copy()
    for part, first in (
        (design.means, design.intercepts[1]),
        (design.dispersions, design.intercepts[2]),
    ):
        if part.centre is not None and part.scale is not None:
            slopes = point[first + 1 : first + len(part.terms)]
            moved[first] -= (part.centre / part.scale)[1:] @ slopes
    return moved
