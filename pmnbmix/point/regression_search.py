"""The search for optima of a mixture of regressions: on some of the rows if they are many.

A pool of starts is run shortly and its best are finished; then the search goes on by kicks, the
longer the less the finished starts agree. Where rows are many, all of this runs on a sample of the
observations, and what it finds is finished on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pmnbmix.point.em import run_em
from pmnbmix.point.found import EM_TOLERANCE, Found, Search
from pmnbmix.point.kicks import kick_on
from pmnbmix.point.newton import climb
from pmnbmix.point.objective import Objective
from pmnbmix.point.regression_starts import Ground, from_other, regression_pool
from pmnbmix.point.threads import in_order

Floats = NDArray[np.float64]

# Of many short runs, the best are finished.
_SHORT, _FINISHED = 10, 24
# A table with more rows than the first number is searched on a sample of as many observations as
# the second; a component of one observation in a hundred has thirty of them.
_MANY, _SAMPLED = 6000, 3000
# Optima of the sample that are finished on all rows.
_CARRIED = 8
_EM_ITERATIONS = 10


def search_regression(
    objective: Objective,
    rng: np.random.Generator,
    max_iter: int,
    own_starts: Sequence[Floats],
    *,
    progressbar: bool,
    keep_partial: bool,
) -> Search:
    """Find optima of a mixture of regressions; arguments as in `search`."""
    sampled = _sample(objective, rng) if objective.table.values.size > _MANY else objective
    ground = Ground(sampled)
    starts = regression_pool(sampled, rng, ground)
    for start in own_starts:
        starts += [("user", one) for one in from_other(ground, start, rng)]
    if objective.equal_weights:
        for _, point in starts:
            point[0] = -np.log(objective.n_components)
    found = Found(sampled, max_iter)
    complete = found.run(_steps(ground, starts, found, rng), progressbar, keep_partial)
    if sampled is not objective:
        found = _on_all_rows(objective, found, max_iter)
    return Search(found.optima(), complete, None, objective)


def _steps(
    ground: Ground, starts: list[tuple[str, Floats]], found: Found, rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Run the pool, finish the best of it, then kick on from the best optima."""
    yield from run_shortly(ground.objective, starts, found)
    for done, total in kick_on(ground, found, rng):
        yield len(starts) + done, len(starts) + total


def _sample(objective: Objective, rng: np.random.Generator) -> Objective:
    """The objective on a sample of the observations."""
    table = objective.table
    times = rng.multinomial(_SAMPLED, table.frequency / table.n).astype(np.float64)
    problem = objective.problem.on(table.taken(np.flatnonzero(times), times[times > 0]))
    return replace(objective, problem=problem.of_levels_seen())


def _on_all_rows(objective: Objective, sampled: Found, max_iter: int) -> Found:
    """The best optima of a sample, climbed on with all rows."""
    found = Found(objective, max_iter)
    for optimum in sampled.optima()[:_CARRIED]:
        path = run_em(objective, optimum.point, _EM_ITERATIONS, EM_TOLERANCE)
        found.climb_on(*path, optimum.family, optimum.times_reached, saddles=True)
    return found


def run_shortly(
    objective: Objective, starts: list[tuple[str, Floats]], found: Found
) -> Iterator[tuple[int, int]]:
    """Run a few EM iterations from every start, and climb on from the best of them.

    Yields as `run_starts`.
    """
    rows = objective.table.values.size
    paths = []
    short = in_order(lambda one: run_em(objective, one[1], _SHORT, EM_TOLERANCE), starts, rows)
    for done, ((family, _), path) in enumerate(zip(starts, short, strict=True)):
        paths.append((family, path))
        yield done, len(starts)
    # A start that is impossible has a density of minus infinity, or none.
    possible = [one for one in paths if np.isfinite(one[1][2][-1])]
    possible.sort(key=lambda one: -one[1][2][-1])
    best = possible[:_FINISHED] or paths[:1]
    climbs = in_order(lambda one: climb(objective, one[1][0], found.max_iter), best, rows)
    for (family, path), arrived in zip(best, climbs, strict=True):
        found.add_climb(arrived, *path[1:], family, saddles=True)
    yield len(starts), len(starts)
