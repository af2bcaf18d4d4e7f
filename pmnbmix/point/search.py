"""The search for optima: on a squashed table if rows are many, finished on all rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.squash import squash
from pmnbmix.point.found import Found, Search, Squashing, finish_optima, run_starts
from pmnbmix.point.local_search import from_fewer, from_more, search_on
from pmnbmix.point.newton import information_spectrum, move, moving, spread_out
from pmnbmix.point.objective import Objective
from pmnbmix.point.regression_search import search_regression
from pmnbmix.point.starts import start_pool

Floats = NDArray[np.float64]

# Tables with fewer rows than this are searched in less time than squashing is worth.
_SQUASH_FROM = 3000
# A squashed table is used if it has at most this share of the rows.
_SMALL = 0.5
# Error of the log likelihood at the optimum, in nats, that a squashed table may have.
TOLERANCE = 1e-6
# Width of the bins of log exposure and nodes in each, from coarse to fine.
_STAGES = ((0.5, 6), (0.5, 8), (0.5, 12), (0.25, 12))
_NEARBY = 4


def search(
    objective: Objective,
    rng: np.random.Generator,
    max_iter: int,
    *,
    own_starts: Sequence[Floats] = (),
    exact: bool = False,
    progressbar: bool = False,
    keep_partial: bool = False,
) -> Search:
    """Find optima of an objective: from a pool of starts, then on from the best.

    Parameters
    ----------
    objective : Objective
    rng : numpy.random.Generator
    max_iter : int
        Limit on the Newton steps from each start.
    own_starts : sequence of ndarray of shape (n_terms, k), optional
        Further starts. One with a component fewer is split in every way, one with a component more
        is merged in every way.
    exact : bool
        Never squash.
    progressbar : bool
    keep_partial : bool
        Where interrupted, return what was found so far instead of raising.

    Returns
    -------
    Search
    """
    if not objective.problem.design.is_plain:
        return search_regression(
            objective, rng, max_iter, own_starts, progressbar=progressbar, keep_partial=keep_partial
        )
    stages = [] if exact else list(_STAGES)
    quick, stage = squashed(objective, stages)
    starts = start_pool(quick.table, quick.n_components, rng)
    for start in own_starts:
        starts += _own(quick, start)
    if objective.equal_weights:
        for _, point in starts:
            point[0] = -np.log(objective.n_components)
    found = Found(quick, max_iter)
    complete = found.run(_steps(quick, starts, found), progressbar, keep_partial)
    optima = found.optima()
    if stage is None:
        return Search(optima, complete, None, quick)
    error = _error(objective, quick, optima[0].point)
    while abs(error) > TOLERANCE and stage is not None:
        quick, stage = squashed(objective, stages)
        optima = finish_optima(quick, optima, max_iter)
        error = _error(objective, quick, optima[0].point)
    squashing = None
    if stage is not None:
        nearby = [abs(_error(objective, quick, point)) for point in _around(quick, optima[0].point)]
        squashing = Squashing(
            n_rows=objective.table.values.size,
            n_squashed=quick.table.values.size,
            width=stage[0],
            nodes=stage[1],
            error=error,
            nearby_error=max(nearby),
        )
        optima = finish_optima(objective, optima, max_iter)
    return Search(optima, complete, squashing, quick)


def squashed(
    objective: Objective, stages: list[tuple[float, int]] | None = None
) -> tuple[Objective, tuple[float, int] | None]:
    """Squash the table of an objective if that is worth it.

    Parameters
    ----------
    objective : Objective
    stages : list of (float, int), optional
        Widths and nodes that are left to try; the first is taken off. The coarsest where absent.

    Returns
    -------
    quick : Objective
        On the squashed table, or the objective itself.
    stage : (float, int) or None
        Width and nodes; None where nothing was squashed.
    """
    stages = list(_STAGES[:1]) if stages is None else stages
    rows = objective.table.values.size
    if stages and rows >= _SQUASH_FROM:
        stage = stages.pop(0)
        table = squash(objective.table, *stage)
        if table.values.size <= _SMALL * rows:
            return objective.on(table), stage
    return objective, None


def _own(objective: Objective, start: Floats) -> list[tuple[str, Floats]]:
    """Starts that are made of one, which may have a component more or fewer."""
    more = start.shape[1] - objective.n_components
    if more == 0:
        return [("user", start)]
    made = from_fewer(objective, start) if more < 0 else from_more(objective, start)
    return [("split" if more < 0 else "merge", one) for one in made]


def _steps(
    objective: Objective, starts: list[tuple[str, Floats]], found: Found
) -> Iterator[tuple[int, int]]:
    """Run the pool, then the search on from the best; both are counted as one."""
    yield from run_starts(objective, starts, found)
    for done, tried in search_on(objective, found):
        yield len(starts) + done, len(starts) + tried


def _error(objective: Objective, quick: Objective, point: Floats) -> float:
    return quick.log_likelihood(point) - objective.log_likelihood(point)


def _around(objective: Objective, point: Floats) -> list[Floats]:
    """Points scattered around an optimum as widely as its Laplace approximation says."""
    _, hessian = objective.derivatives(point)
    numbers = moving(objective.terms, objective.free, point)
    if not (numbers >= 0).any():
        return [point]
    scale, eigenvalues, vectors = information_spectrum(
        hessian, numbers, objective.terms, point[0], objective.worth
    )
    # Along flat directions the points spread by a fixed distance.
    spread = 1.0 / np.sqrt(np.maximum(np.abs(eigenvalues), 1e-2))
    # These points only measure an error, so a fixed seed keeps the report the same every time.
    rng = np.random.default_rng(0)
    points = []
    for _ in range(_NEARBY):
        step = scale * (vectors @ (spread * rng.standard_normal(eigenvalues.size)))
        points.append(move(point, spread_out(step, numbers), objective.free))
    return points
