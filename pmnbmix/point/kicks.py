"""The search on from the best optima of a regression: kicks, each climbed again.

A pool of starts reaches the best optimum of a hard mixture of regressions in few runs. A kick moves
part of what an optimum is made of and leaves the rest: rows go to other components, a component is
dropped and another split, made anew from a few rows, or every coefficient is scattered. Kicks go on
while they bring better optima. (This is iterated local search: H. R. Lourenco, O. C. Martin,
T. Stutzle 2003, in Handbook of Metaheuristics, 320-353, doi:10.1007/0-306-48056-5_11.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.point.em import run_em
from pmnbmix.point.found import EM_TOLERANCE, Found
from pmnbmix.point.newton import Climb, climb
from pmnbmix.point.regression_starts import Ground, fresh, scattered
from pmnbmix.point.threads import in_order

Floats = NDArray[np.float64]

_EM_ITERATIONS = 10
# Kicks without a better optimum after which the search ends: as many as make this number of rows
# times components, within limits; and the most of all kicks.
_WORK = 300_000
_FEWEST, _DISAGREED, _PATIENCE = 48, 96, 240
_MOST = 800
# Kicks that depart from the same optima.
_AT_ONCE = 8
# Optima from which kicks depart, the best most often.
_FROM = 8
# How often each kind of kick is tried, in the order of `kick_on`. Each is the only one that reaches
# the best optimum of some model from some other; small sets need starts made anew.
_SHARES = (0.08, 0.15, 0.17, 0.2, 0.2, 0.05, 0.15)
# A gain in nats below which an optimum is no better.
_BETTER = 1e-3
# EM that has come no closer to the best optimum than this is not climbed on.
_TOO_FAR = 30.0


def kick_on(ground: Ground, found: Found, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Kick the best optima until that brings nothing better.

    Parameters
    ----------
    ground : Ground
    found : Found
        What a pool of starts has led to; what is found here is added.
    rng : numpy.random.Generator

    Yields
    ------
    done, total : int
        How many kicks were tried, and how many are to be as far as is known.
    """
    objective = ground.objective
    if objective.n_components < 2:
        return
    kicks: tuple[Callable[[Ground, Floats, np.random.Generator], Floats], ...] = (
        _rows_moved,
        _drop_and_split,
        _reseeded,
        _scattered,
        _one_scattered,
        _dispersion_moved,
        _made_anew,
    )
    rows, patience = objective.table.values.size, _patience(ground, found)
    best = found.optima()[0].log_density
    done, last = 0, 0
    while done - last < patience and done < _MOST:
        optima = found.optima()[:_FROM]
        # What is kicked does not depend on how many cores there are.
        departures = [
            (optima[min(int(child.geometric(0.4)) - 1, len(optima) - 1)].point, child)
            for child in rng.spawn(_AT_ONCE)
        ]

        def kicked(
            departure: tuple[Floats, np.random.Generator], above: float = best - _TOO_FAR
        ) -> tuple[tuple[Floats, Floats, Floats], Climb | None]:
            point, own = departure
            kick = kicks[int(own.choice(len(kicks), p=_SHARES))]
            path = run_em(objective, kick(ground, point, own), _EM_ITERATIONS, EM_TOLERANCE)
            if not path[2][-1] > above:
                return path, None
            return path, climb(objective, path[0], found.max_iter)

        for path, arrived in in_order(kicked, departures, rows):
            done += 1
            if arrived is not None:
                found.add_climb(arrived, *path[1:], "kick")
        if found.optima()[0].log_density > best + _BETTER:
            best, last = found.optima()[0].log_density, done
            patience = max(patience, _DISAGREED)
        yield done, min(last + patience, _MOST)


def _patience(ground: Ground, found: Found) -> int:
    """Kicks without a gain after which to end: more where they cost little, or starts disagree."""
    objective = ground.objective
    cheap = _WORK // (objective.table.values.size * objective.n_components)
    times = [optimum.times_reached for optimum in found.optima()]
    agreed = times[0] >= 0.5 * sum(times)
    return min(max(cheap, _FEWEST if agreed else _DISAGREED), _PATIENCE)


def _held(ground: Ground, point: Floats) -> Floats:
    """Number of observations of each row that each component holds, (k, n_rows)."""
    objective = ground.objective
    return np.ascontiguousarray(objective.table.frequency * objective.responsibilities(point).T)


def _rows_moved(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """A share of the rows goes to components at random."""
    held = _held(ground, point)
    k, n = held.shape
    moved = np.flatnonzero(rng.random(n) < rng.choice([0.05, 0.15, 0.4]))
    held[:, moved] = 0.0
    held[rng.integers(k, size=moved.size), moved] = ground.objective.table.frequency[moved]
    return ground.settled(held, point)


def _drop_and_split(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """The rows of one component go to the others, and another is cut in two by its residuals."""
    held = _held(ground, point)
    k, n = held.shape
    dropped, cut = rng.permutation(k)[:2]
    position = ground.residuals if rng.random() < 0.5 else rng.random(n)
    order = np.argsort(position, kind="stable")
    before = np.cumsum(held[cut][order])
    above = np.empty(n, bool)
    above[order] = before > rng.uniform(0.2, 0.8) * before[-1]
    rest = held[dropped].copy()
    held[dropped] = np.where(above, held[cut], 0.0)
    held[cut] -= held[dropped]
    others = [j for j in range(k) if j not in (dropped, cut)] or [cut]
    held[others[int(rng.integers(len(others)))]] += rest
    return ground.settled(held, point)


def _reseeded(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """One component is made anew from a few rows."""
    held = _held(ground, point)
    k, n = held.shape
    design = ground.objective.problem.design
    j, few = int(rng.integers(k)), len(design.means.terms) + int(rng.integers(1, 6))
    chosen = rng.choice(n, size=min(few, n), replace=False)
    taken = 0.05 * held[j]
    taken[chosen] = ground.objective.table.frequency[chosen]
    held[j] = taken
    # The component begins where one regression is, to which few rows hold it.
    start = point.copy()
    fresh = np.ones(start.shape[0], bool)
    fresh[: len(design.weights.terms)] = False
    own = fresh & ~np.concatenate(
        [part.shared for part in (design.weights, design.means, design.dispersions)]
    )
    start[own, j] = ground.point[own, j]
    return ground.settled(held, start, ridge=0.3)


def _scattered(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """Every coefficient is moved a little, those at an edge from next to it."""
    off = np.where(np.isfinite(point) | ~(ground.objective.free >= 0), point, -4.0)
    return scattered(ground, off, float(rng.choice([0.1, 0.3, 0.8])), rng)


def _one_scattered(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """The coefficients of one component are moved far."""
    off = np.where(np.isfinite(point) | ~(ground.objective.free >= 0), point, -4.0)
    moved = scattered(ground, off, float(rng.choice([0.4, 0.8, 1.5])), rng)
    shared = (ground.objective.free == ground.objective.free[:, :1]).all(axis=1)
    others = np.arange(point.shape[1]) != rng.integers(point.shape[1])
    # What is shared is that of all, and the weights are of all together.
    kept = ~shared
    kept[0] = False
    moved[np.ix_(kept, others)] = off[np.ix_(kept, others)]
    return moved


def _made_anew(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """A start that has nothing of the optimum."""
    return fresh(ground, rng)


def _dispersion_moved(ground: Ground, point: Floats, rng: np.random.Generator) -> Floats:
    """The dispersion of one component becomes small, or large."""
    free, design = ground.objective.free, ground.objective.problem.design
    first = design.n_terms - len(design.dispersions.terms)
    moves = np.flatnonzero(free[first] >= 0)
    if moves.size == 0:
        return _rows_moved(ground, point, rng)
    moved = np.where(np.isfinite(point) | ~(free >= 0), point, -4.0)
    moved[first, rng.choice(moves)] = rng.choice([-6.0, -2.0, 1.0])
    if (free[0] >= 0).any():
        # A component that was empty has some weight again.
        moved[0] -= special.logsumexp(moved[0])
    return moved
