"""The search on from the best optima: two components merged, another split, and climbed again.

Where clusters outnumber components, which of them share a component is a matter of combination, and
a pool of starts misses the best way in some runs. A way that is nearly the best differs from it in
few components, so that the best is found from there: every pair merged and every other component
split (N. Ueda, R. Nakano, Z. Ghahramani, G. E. Hinton 2000, SMEM algorithm for mixture models,
Neural Comput. 12, 2109-2128, doi:10.1162/089976600300015088), but from several of the best optima,
since the way from one to another may lead over a third.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.point.em import run_em
from pmnbmix.point.found import EM_TOLERANCE, Found
from pmnbmix.point.objective import Objective
from pmnbmix.point.optima import Optimum
from pmnbmix.point.starts import moments, normalised, rates

Floats = NDArray[np.float64]

# Moves are tried from the best optima: this many times the number of components, but from the best
# alone of three components, which the pool seldom misses. Of 1,476 runs on 41 sets of five to seven
# tight clusters (K = 4 to 6) 11 missed the best optimum with 1 in place of 1.5.
_BEST = 1.5
# Longer EM is dearer and no better: of 72 runs that had missed the best optimum, 20 still missed it
# after 8 iterations and 24 after 30, in three times as long (moves from 3 optima, 4 finished).
_EM_ITERATIONS = 8
# Moves that are finished by Newton, the highest first, and about as many as are tried at all.
_FINISHED = 12
_TRIED = 120


def search_on(objective: Objective, found: Found) -> Iterator[tuple[int, int]]:
    """Merge and split components of the best optima until these bring nothing new.

    Parameters
    ----------
    objective : Objective
    found : Found
        What a pool of starts has led to; what is found here is added.

    Yields
    ------
    done, tried : int
        Optima from which moves were tried, and those that are to be tried as far as is known.
    """
    if objective.n_components < 3:
        # One component is left when two are merged; the pool has every split of it.
        return
    k, tried = objective.n_components, list[Optimum]()
    most = math.ceil(_BEST * k) if k > 3 else 1
    while True:
        best = found.optima()[:most]
        open_ones = [one for one in best if not any(found.same(one, other) for other in tried)]
        yield len(tried), len(tried) + len(open_ones)
        if not open_ones:
            return
        tried.append(open_ones[0])
        paths = [
            run_em(objective, start, _EM_ITERATIONS, EM_TOLERANCE)
            for start in _moves(objective, open_ones[0].point)
        ]
        paths.sort(key=lambda path: -path[2][-1])
        for path in paths[:_FINISHED]:
            found.climb_on(*path, "split-merge")


def from_fewer(objective: Objective, point: Floats) -> list[Floats]:
    """Starts with one component more than a point has: each of its components split."""
    held = _held(objective, point)
    return [
        start
        for j in range(point.shape[1])
        if (start := _point(objective, [*_without(held, j), *_halves(objective.table, held[j])]))
        is not None
    ]


def from_more(objective: Objective, point: Floats) -> list[Floats]:
    """Starts with one component fewer than a point has: each pair of its components merged."""
    held = _held(objective, point)
    return [
        start
        for i, j in itertools.combinations(range(point.shape[1]), 2)
        if (start := _point(objective, [*_without(held, i, j), held[i] + held[j]])) is not None
    ]


def _moves(objective: Objective, point: Floats) -> list[Floats]:
    """Points with two components merged and another split, or half of one given to another."""
    table, held = objective.table, _held(objective, point)
    k = held.shape[0]
    halves = [_halves(table, held[j]) for j in range(k)]
    pairs = sorted(itertools.combinations(range(k), 2), key=lambda pair: -_overlap(held, *pair))
    made = []
    for i, j in pairs[: math.ceil(_TRIED / k)]:
        for split in sorted(set(range(k)) - {i, j}):
            made.append([*_without(held, i, j, split), held[i] + held[j], *halves[split]])
        for split, other in ((i, j), (j, i)):
            lower, upper = halves[split]
            for given, kept in ((lower, upper), (upper, lower)):
                made.append([*_without(held, i, j), kept, held[other] + given])
    return [start for parts in made if (start := _point(objective, parts)) is not None]


def _held(objective: Objective, point: Floats) -> Floats:
    """Number of observations of each row that each component holds, (k, n_unique)."""
    return np.ascontiguousarray(objective.table.frequency * objective.responsibilities(point).T)


def _overlap(held: Floats, i: int, j: int) -> float:
    """How much two components share rows, between 0 and 1, as Ueda et al. rank merges."""
    lengths = math.sqrt(float(held[i] @ held[i]) * float(held[j] @ held[j]))
    return float(held[i] @ held[j]) / lengths if lengths > 0 else 1.0


def _without(held: Floats, *components: int) -> list[Floats]:
    return [held[j] for j in range(held.shape[0]) if j not in components]


def _halves(table: CountTable, held: Floats) -> tuple[Floats, Floats]:
    """The observations that a component holds, cut into two halves at a rate."""
    order = np.argsort(rates(table), kind="stable")
    before = np.append(0.0, np.cumsum(held[order]))
    lower = np.empty_like(held)
    # The row at the cut belongs to both halves.
    lower[order] = np.diff(np.minimum(before, 0.5 * before[-1]))
    return lower, held - lower


def _point(objective: Objective, parts: list[Floats]) -> Floats | None:
    """Point whose components have the moments of these parts; None if a part has no rows."""
    if any(not part.sum() > 0 for part in parts):
        return None
    point = normalised(np.column_stack([moments(objective.table, part) for part in parts]))
    if objective.equal_weights:
        point[0] = -math.log(objective.n_components)
    return point
