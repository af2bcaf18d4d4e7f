"""Distinct optima, gathered from the climbs that lead to them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pmnbmix.point.em import run_em
from pmnbmix.point.newton import Climb, climb, escape
from pmnbmix.point.objective import Objective
from pmnbmix.point.optima import Optimum, Status, judge
from pmnbmix.point.slopes import told_apart
from pmnbmix.progress import progress_bar

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

EM_ITERATIONS = 15
EM_TOLERANCE = 1e-8
# Two points are one optimum if values and fitted log densities agree to this many nats.
_SAME = 1e-3


@dataclass(frozen=True)
class Squashing:
    """How a table was squashed for the search, and how far it stands from the true rows.

    Attributes
    ----------
    n_rows, n_squashed : int
        Unique rows of the counts, and rows of the squashed table.
    width : float
        Width of the bins of log exposure, in natural log units.
    nodes : int
        Quadrature nodes in each bin.
    error : float
        Log likelihood on the squashed table minus that on the true rows, in nats, at the optimum
        of the squashed table.
    nearby_error : float
        Largest absolute error at four points drawn around that optimum with the standard
        deviation of its Laplace approximation.
    """

    n_rows: int
    n_squashed: int
    width: float
    nodes: int
    error: float
    nearby_error: float


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    Attributes
    ----------
    optima : list of Optimum
        On the true rows; highest log density first.
    complete : bool
        Whether every start was run.
    squashing : Squashing or None
        None where every step ran on the true rows.
    quick : Objective
        The objective on the table that was searched.
    """

    optima: list[Optimum]
    complete: bool
    squashing: Squashing | None
    quick: Objective


class Found:
    """What was found so far; points that are the same distribution are one optimum.

    Parameters
    ----------
    objective : Objective
    max_iter : int
        Limit on the Newton steps of a climb.
    """

    def __init__(self, objective: Objective, max_iter: int):
        self._objective, self.max_iter = objective, max_iter
        self._optima: list[Optimum] = []

    def optima(self) -> list[Optimum]:
        """Return all optima, highest log density first."""
        return sorted(self._optima, key=lambda optimum: -optimum.log_density)

    def same(self, one: Optimum, other: Optimum) -> bool:
        """Whether two optima are the same distribution."""
        return self._same(one.point, one.log_density, other)

    def run(self, steps: Iterable[tuple[int, int]], progressbar: bool, keep_partial: bool) -> bool:
        """Run the steps of a search, each of which adds what it finds; whether all were run.

        If interrupted, what was found so far is kept where ``keep_partial`` says so.
        """
        try:
            with progress_bar("starts", progressbar) as advance:
                for done, total in steps:
                    advance(done, total)
        except KeyboardInterrupt:
            if not keep_partial or not self._optima:
                raise
            _log.warning("interrupted; keeping the best of the starts that were run")
            return False
        return True

    def climb_on(
        self,
        point: Floats,
        likelihood_path: Floats,
        density_path: Floats,
        family: str,
        times: int = 1,
        *,
        saddles: bool = False,
    ) -> None:
        """Climb from a point to the optimum, and add it.

        Parameters
        ----------
        point : ndarray, shape (n_terms, k)
        likelihood_path, density_path : ndarray
            How the point was reached.
        family : str
            Kind of start from which it was reached.
        times : int
            Number of starts that led to the point.
        saddles : bool
            Where the climb ends at a saddle, climb on from there too.
        """
        arrived = climb(self._objective, point, self.max_iter)
        self.add_climb(arrived, likelihood_path, density_path, family, times, saddles=saddles)

    def add_climb(
        self,
        arrived: Climb,
        likelihood_path: Floats,
        density_path: Floats,
        family: str,
        times: int = 1,
        *,
        saddles: bool = False,
    ) -> None:
        """Add where a climb ended; arguments as in `climb_on`."""
        paths = _extend(likelihood_path, density_path, arrived)
        self._add(arrived, *paths, family, times)
        above = escape(self._objective, arrived) if saddles else None
        if above is not None:
            self._add(above, *_extend(*paths, above), family, times)

    def _add(
        self,
        arrived: Climb,
        likelihood_path: Floats,
        density_path: Floats,
        family: str,
        times: int,
    ) -> None:
        """Add a point to those found, or count it if it is already there."""
        objective = self._objective
        design = objective.problem.design
        order = design.canonical_order(arrived.point)
        # numpy orders a permuted point by columns, for which all would be compiled a second time.
        point = np.ascontiguousarray(arrived.point[:, order])
        place = len(self._optima)
        for index, other in enumerate(self._optima):
            if self._same(point, arrived.value, other):
                times += other.times_reached
                if not design.is_plain and told_apart(objective, point, other.point):
                    self._add_mirrored(index, point, times)
                    return
                if other.log_density >= arrived.value:
                    self._optima[index] = replace(other, times_reached=times)
                    return
                place = index
                break
        new = Optimum(
            point=point,
            log_likelihood=arrived.value - objective.log_prior(point),
            log_density=arrived.value,
            times_reached=times,
            statuses=judge(objective, point, arrived),
            likelihood_path=likelihood_path,
            density_path=density_path,
            family=family,
        )
        self._optima[place : place + 1] = [new]

    def _add_mirrored(self, index: int, point: Floats, times: int) -> None:
        """Say of an optimum that other components have the same density, and keep either always.

        The one of the flatter slopes is kept, so that the answer does not depend on chance.
        """
        other, design = self._optima[index], self._objective.problem.design
        statuses = other.statuses
        if Status.NOT_IDENTIFIED not in statuses:
            kept = [status for status in statuses if status is not Status.CONVERGED]
            statuses = (*kept, Status.NOT_IDENTIFIED)
        sizes = [float((design.slopes_of(one) ** 2).sum()) for one in (point, other.point)]
        chosen = point if sizes[0] < sizes[1] * (1.0 - 1e-6) else other.point
        self._optima[index] = replace(other, point=chosen, times_reached=times, statuses=statuses)

    def _same(self, point: Floats, value: float, other: Optimum) -> bool:
        if not abs(other.log_density - value) < _SAME:
            return False
        gaps = self._objective.log_densities(point) - self._objective.log_densities(other.point)
        return bool(np.abs(gaps).max() < _SAME)


def run_starts(
    objective: Objective, starts: list[tuple[str, Floats]], found: Found
) -> Iterator[tuple[int, int]]:
    """Run EM and Newton from every start.

    A start that several families made is run once and counted as often as it was made.

    Parameters
    ----------
    objective : Objective
    starts : list of (str, ndarray of shape (3, k))
    found : Found
        Everything that they lead to is added.

    Yields
    ------
    done, total : int
        How many of the starts were run.
    """
    made: dict[bytes, list[tuple[str, Floats]]] = {}
    for family, start in starts:
        order = np.lexsort(start)
        made.setdefault(start[:, order].tobytes(), []).append((family, start))
    done = 0
    for alike in made.values():
        family, start = alike[0]
        reached = run_em(objective, start, EM_ITERATIONS, EM_TOLERANCE)
        found.climb_on(*reached, family, len(alike), saddles=True)
        done += len(alike)
        yield done, len(starts)


def finish_optima(objective: Objective, optima: list[Optimum], max_iter: int) -> list[Optimum]:
    """Climb on from optima of nearly the same objective; merge what has become the same."""
    found = Found(objective, max_iter)
    for optimum in optima:
        # The path was climbed on the other objective, so it is moved to where this one begins.
        offset = objective.log_likelihood(optimum.point) - optimum.log_likelihood
        found.climb_on(
            optimum.point,
            optimum.likelihood_path + offset,
            optimum.density_path + offset,
            optimum.family,
            optimum.times_reached,
        )
    return found.optima()


def _extend(likelihood_path: Floats, density_path: Floats, arrived: Climb) -> tuple[Floats, Floats]:
    """Both paths with the steps of a climb, but for steps that gain less than rounding loses."""
    kept = arrived.path >= np.maximum.accumulate(np.append(density_path[-1], arrived.path))[1:]
    return (
        np.append(likelihood_path, arrived.likelihood_path[kept]),
        np.append(density_path, arrived.path[kept]),
    )
