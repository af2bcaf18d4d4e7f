"""Profile-likelihood intervals: where the best fit with one parameter held is still good enough.

A value of a parameter belongs to the interval when the log likelihood, maximised over all other
parameters, is within half a chi-square quantile of its maximum. Unlike Wald's the interval need
not be symmetric, it may end at an edge of the parameter space or nowhere, and it does not depend
on the scale. Where several optima are nearly as good, each is followed on its own, and the interval
reaches as far as one of them does. See D. J. Venzon and S. H. Moolgavkar 1988, J. R. Stat. Soc. C
37, 87-94, doi:10.2307/2347496.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from pmnbmix.point.newton import climb
from pmnbmix.point.objective import Objective

Floats = NDArray[np.float64]

_MAX_ITER = 100
# A held fit that is so much higher than the estimate says that the estimate is not a maximum.
_HIGHER = 1e-4
# Steps away from the estimate begin at this share of the standard error and grow by this factor.
_FIRST = 0.5
_GROWTH = 1.5
# This far from the estimate in logs, or from 0 in logits, a parameter is at its edge for every
# purpose; logits much farther out have a complement that is lost to rounding.
_FARTHEST = 40.0
_FARTHEST_LOGIT = 25.0
_PRECISION = 1e-5
# The profile is looked at once more so far beyond an end.
_BEYOND = 1e-3


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile-likelihood intervals.

    Attributes
    ----------
    lower, upper : ndarray, shape (3, k)
        Rows: weights, means, dispersions, on the natural scales. An end is at the edge of the
        parameter space (0, 1 or inf) where the likelihood never falls low enough.
    flag : list of list of str
        What is wrong with an interval; empty where nothing is.
    """

    lower: Floats
    upper: Floats
    flag: list[list[str]]


def profile(
    objective: Objective, points: Sequence[Floats], spread: Floats, confidence: float
) -> Profile:
    """Interval of every parameter.

    Parameters
    ----------
    objective : Objective
    points : sequence of ndarray of shape (3, k)
        The maximum, then other optima; those too low to matter at this confidence are left out.
    spread : ndarray, shape (3, k)
        Guess of the standard error on logit and log scales, for the length of the first step.
    confidence : float
        Confidence, between 0 and 1.

    Returns
    -------
    Profile
    """
    k, point = objective.n_components, points[0]
    value = objective.value(point)
    target = value - 0.5 * float(stats.chi2.ppf(confidence, 1))
    followed = [point, *(rival for rival in points[1:] if objective.value(rival) > target)]
    lower, upper = np.exp(point), np.exp(point)
    flag = [[""] * k for _ in range(3)]
    fixed_weights = objective.equal_weights or k == 1
    for row in range(3):
        for j in range(k):
            if row == 0 and fixed_weights:
                continue
            if not math.isfinite(point[0, j]):
                lower[row, j], upper[row, j] = 0.0, 1.0 if row == 0 else math.inf
                flag[row][j] = "empty component: nothing is known of it; fit fewer components"
                continue
            if row == 2 and not math.isfinite(point[1, j]):
                lower[row, j], upper[row, j] = 0.0, math.inf
                flag[row][j] = "mean 0: its dispersion has no effect"
                continue
            width = float(spread[row, j])
            step = _FIRST * min(max(width, 0.05), 4.0) if math.isfinite(width) else 1.0
            paths = [Held(objective, start, row, j) for start in followed]
            lower[row, j] = min(path.end(target, -step) for path in paths)
            upper[row, j] = max(path.end(target, step) for path in paths)
            if max(path.highest for path in paths) > value + _HIGHER:
                flag[row][j] = (
                    "the likelihood is higher elsewhere on the profile: the estimate is not the "
                    "maximum; refit with more starts"
                )
    return Profile(lower, upper, flag)


class Held:
    """The profile of one entry of a point, followed from an optimum outwards."""

    def __init__(self, objective: Objective, point: Floats, row: int, j: int):
        self.objective, self.point, self.row, self.j = objective, point, row, j
        free = objective.free
        # Other entries that have the same coefficient move with it.
        self.alike = (
            free[row] == free[row, j] if free[row, j] >= 0 else np.arange(free.shape[1]) == j
        )
        self.holding = objective.holding(row, j)
        self.highest = objective.value(point)
        # Points at which the profile is known, by their coordinate.
        self.known = {self._coordinate(point): point}

    def end(self, target: float, step: float) -> float:
        """End of the interval on the side of ``step``, on the natural scale.

        The profile is followed outwards, never looked up at the edge at once: far away the
        component can trade places with another, and the same fit comes back.
        """
        edge = -math.inf if step < 0 else math.inf
        centre = inside = self._coordinate(self.point)
        if centre == edge or self._free():
            return self._natural(edge)
        if not math.isfinite(centre):
            # The optimum is at the edge that this side leads away from.
            inside = self._first_inside()
            if self._at(inside) < target:
                edge_of_it = inside + math.copysign(_FARTHEST, centre)
                if self.row == 0:
                    edge_of_it = math.copysign(_FARTHEST_LOGIT, centre)
                return self._natural(self._crossing(target, edge_of_it, inside))
        begin, farthest = (0.0, _FARTHEST_LOGIT) if self.row == 0 else (inside, _FARTHEST)
        while abs(inside - begin) <= farthest:
            outside = inside + step
            if self.row == 0:
                outside = min(max(outside, -_FARTHEST_LOGIT - 1.0), _FARTHEST_LOGIT + 1.0)
            if self._at(outside) < target:
                inside = self._crossing(target, inside, outside)
                # A long climb may end below an optimum that a short one from nearby finds.
                if self._at(inside + math.copysign(_BEYOND, step)) < target:
                    return self._natural(inside)
                outside = inside + math.copysign(_BEYOND, step)
            else:
                step *= _GROWTH
            inside = outside
        return self._natural(edge)

    def _free(self) -> bool:
        """Whether the parameter has no effect: an empty component, the dispersion of a mean 0."""
        before = [at for at in self.objective.problem.design.intercepts if at < self.row]
        return bool(np.isneginf(self.point[before, self.j]).any())

    def _crossing(self, target: float, inside: float, outside: float) -> float:
        def drop(t: float) -> float:
            return self._at(t) - target

        return float(optimize.brentq(drop, inside, outside, xtol=_PRECISION, rtol=1e-8))

    def _at(self, t: float) -> float:
        """Profile at a coordinate, climbed to from the nearest known points on either side."""
        below = max((s for s in self.known if s <= t), default=None)
        above = min((s for s in self.known if s >= t), default=None)
        best = -math.inf
        for nearest in {s for s in (below, above) if s is not None}:
            start = self._moved(self.known[nearest], t)
            if not math.isfinite(self.objective.value(start)):
                continue
            ended = climb(self.holding, start, _MAX_ITER)
            if ended.value > best:
                best, self.known[t] = ended.value, ended.point
        self.highest = max(self.highest, best)
        return best

    def _moved(self, point: Floats, t: float) -> Floats:
        """The point with the parameter held at a coordinate."""
        start = point.copy()
        if self.row > 0:
            start[self.row, self.alike] = t
            return start
        start[0, self.j] = -math.inf
        rest = special.logsumexp(start[0])
        if math.isinf(rest):
            # All others are empty, so they share what is left.
            start[0] = 0.0
            start[0, self.j] = -math.inf
            rest = special.logsumexp(start[0])
        start[0] += float(special.log_expit(-t)) - rest
        start[0, self.j] = float(special.log_expit(t))
        return start

    def _coordinate(self, point: Floats) -> float:
        value = float(point[self.row, self.j])
        if self.row > 0:
            return value
        others = np.delete(point[0], self.j)
        return value - float(special.logsumexp(others))

    def _natural(self, t: float) -> float:
        return float(special.expit(t)) if self.row == 0 else float(np.exp(t))

    def _first_inside(self) -> float:
        """A coordinate inside the space but next to its edge, for a parameter that is at one."""
        if self.row == 0:
            away = math.log(self.objective.table.n) + 3.0
            return math.copysign(away, self._coordinate(self.point))
        _, of_means, _ = self.objective.problem.design.intercepts
        if self.row == of_means:
            return math.log(0.1) - math.log(float(self.objective.table.exposure.sum()))
        mean = float(np.exp(self.point[of_means, self.j]))
        mean *= float(self.objective.table.exposure.max())
        return math.log(1e-3) - math.log(mean)
