"""Maximum likelihood of many columns, compiled from tables to standard errors.

Each column is climbed from a few starts by EM and Newton; the best is finished, edges and all, as
`fit_em` does. With exposures the search runs on a coarsely squashed table and is finished on a
fine one (`pmnbmix.data.squash`); what is reported of the fit is of the true rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pmnbmix.batch.ascent import approach
from pmnbmix.batch.starts import n_always, start_points
from pmnbmix.batch.tables import collapsed_table, exposed_table
from pmnbmix.compiled import compiled, merged, read_only, uncounted
from pmnbmix.data.squash import squash_rows
from pmnbmix.mixture.density import count_constants, log_sum_exp
from pmnbmix.mixture.levels import Rows, Terms, component_table, levels_of, plain_terms
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.sums import derivatives, log_likelihood
from pmnbmix.point.em import iterate
from pmnbmix.point.newton import (
    FLAT,
    climb_from,
    information_spectrum,
    move,
    moving,
    redundant_directions,
)
from pmnbmix.point.objective import joined

# The bins of log exposure have this width and so many nodes, for the search and to finish on.
_COARSE = (1.0, 2)
_FINE = (0.5, 6)
# Tables with no more rows than this are not squashed.
_FEW_ROWS = 150
# For a plain integer, numba would compile what is called with it for that number alone, too.
_EM_ITERATIONS: Any = np.int64(3)
_EM_TOLERANCE = 1e-6
_MAX_STEPS = 30
_MAX_ITER: Any = np.int64(200)
# Further starts are run until the best optimum was reached so many times.
_OFTEN, _OFTEN_EXPOSED = 2, 3
# Two climbs have reached the same optimum if they agree to this many nats.
_SAME = 2e-3
# Optima of the coarse table that are this close in nats are both finished.
_CLOSE = 0.5
_ESCAPES = (1.0, 0.3, 0.1, 0.03, 0.01)

# These numbers describe a column beside its point and standard errors.
HEIGHT, ENTROPY, REACHED, STARTS, CONVERGED, SADDLE = range(6)
N_FACTS = 6


@compiled
def _rows(values: np.ndarray, position: np.ndarray, frequency: np.ndarray) -> Rows:
    level = np.zeros(values.size, np.intp)
    return Rows(
        read_only(values),
        read_only(np.exp(position)),
        read_only(frequency),
        read_only(count_constants(values)),
        read_only(level),
    )


@compiled
def _squashed(
    values: np.ndarray, position: np.ndarray, frequency: np.ndarray, width: float, nodes: int
) -> Rows:
    level = np.zeros(values.size, np.intp)
    rows, _, _ = squash_rows(values, level, position, frequency, width, nodes)
    return _rows(rows[0].copy(), rows[1].copy(), rows[2].copy())


@compiled
def _finish(
    rows: Rows, terms: Terms, prior: Prior, free: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float, bool, bool]:
    """Climb to an optimum, edges and all; leave a saddle along its direction of positive curvature.

    Returns the point, its log likelihood, whether it converged and whether it is a saddle still.
    """
    arrays = joined(rows, terms, prior, free)
    point, path, _, converged, uphill = climb_from(arrays, start, _MAX_ITER)
    value = path[-1]
    if uphill.size > 0:
        for sign in (1.0, -1.0):
            for length in _ESCAPES:
                moved = move(point, sign * length * uphill, free)
                if log_likelihood(rows, terms, moved) > value:
                    other, path, _, arrived, left = climb_from(arrays, moved, _MAX_ITER)
                    if path[-1] > value:
                        return other, path[-1], arrived, left.size > 0
                    break
    return point, value, converged, uphill.size > 0


@compiled
def _search(
    rows: Rows, terms: Terms, prior: Prior, free: np.ndarray, exposed: bool
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Points of all starts that were run and their heights; times the best was reached."""
    rows, terms, prior = uncounted(rows), uncounted(terms), uncounted(prior)
    k = free.shape[1]
    arrays = joined(rows, terms, prior, free)
    starts = start_points(rows, k)
    heights = np.full(len(starts), -math.inf)
    best, times, run = -math.inf, 0, 0
    for i in range(len(starts)):
        if i >= n_always(k) and times >= (_OFTEN_EXPOSED if exposed else _OFTEN):
            break
        point, _, _ = iterate(arrays, starts[i], not exposed, _EM_ITERATIONS, _EM_TOLERANCE)
        starts[i], heights[i] = approach(rows, terms, prior, point, _MAX_STEPS, best)
        run += 1
        if heights[i] > best + _SAME:
            best, times = heights[i], 1
        elif heights[i] > best - _SAME:
            best = max(best, heights[i])
            times += 1
    return starts[:run], heights[:run], times, run


@compiled
def _describe(
    rows: Rows, terms: Terms, point: np.ndarray, mass: np.ndarray, shared: np.ndarray
) -> tuple[float, float]:
    """Log likelihood and entropy of the responsibilities, over all rows.

    Fills for each component the number of observations that it holds (k,), and for each two what
    they hold together, the sum of the products of their responsibilities (k, k).
    """
    frequency = rows.frequency
    k = point.shape[1]
    table = component_table(rows, levels_of(terms, point))
    logs = np.empty(k)
    total, lost, entropy = 0.0, 0.0, 0.0
    mass[:] = 0.0
    shared[:] = 0.0
    for u in range(frequency.size):
        for j in range(k):
            logs[j] = point[0, j] + table[u, j]
        row = log_sum_exp(logs)
        addend = frequency[u] * row - lost
        moved = total + addend
        lost = (moved - total) - addend
        total = moved
        for j in range(k):
            logs[j] -= row
            held = frequency[u] * math.exp(logs[j])
            if held > 0.0:
                entropy -= held * logs[j]
                mass[j] += held
                for i in range(j):
                    shared[i, j] += held * math.exp(logs[i])
                shared[j, j] += held * math.exp(logs[j])
    for j in range(k):
        for i in range(j):
            shared[j, i] = shared[i, j]
    return total, entropy


@compiled
def _standard_errors(
    rows: Rows, terms: Terms, prior: Prior, free: np.ndarray, point: np.ndarray
) -> np.ndarray:
    """Wald standard errors of weights, means and dispersions, (3, k), as `uncertainty.wald`."""
    k = point.shape[1]
    errors = np.full((3, k), math.inf)
    if k == 1:
        errors[0, 0] = 0.0
    numbers = moving(terms, free, point)
    if not (numbers >= 0).any():
        return errors
    _, _, hessian = derivatives(rows, terms, prior, point)
    scale, eigenvalues, vectors = information_spectrum(
        hessian, numbers, terms, point[0], rows.frequency.sum()
    )
    index = np.flatnonzero(numbers >= 0)
    logits = (index < k).sum()
    redundant = redundant_directions(numbers, terms, scale, k)[0]
    weights = np.exp(point[0])
    flat = np.zeros(index.size)
    variance = np.zeros(index.size)
    for m in range(index.size):
        vector = vectors[:, m]
        if abs(eigenvalues[m]) < FLAT:
            across = vector - (vector * redundant).sum() * redundant
            flat += across**2
            continue
        moved = vector * scale / math.sqrt(abs(eigenvalues[m]))
        # Only differences of logits matter, so their weighted mean is taken off.
        shift = (weights[index[:logits]] * moved[:logits]).sum()
        for i in range(index.size):
            along = moved[i] - shift if i < logits else moved[i]
            variance[i] += along * along
    for i in range(index.size):
        if flat[i] <= 1e-6:
            row, j = index[i] // k, index[i] % k
            errors[row, j] = math.exp(point[row, j]) * math.sqrt(variance[i])
    return errors


@merged
def fit_column(
    values: np.ndarray,
    position: np.ndarray,
    frequency: np.ndarray,
    exposed: bool,
    k: int,
    point: np.ndarray,
    errors: np.ndarray,
    mass: np.ndarray,
    shared: np.ndarray,
    facts: np.ndarray,
) -> None:
    """Fit one column from its rows; results go into the last five (see `fit_columns_of`)."""
    terms = plain_terms()
    prior = Prior(0.0, np.zeros((3, k)), np.zeros((3, k)))
    free = np.arange(3 * k).reshape((3, k))
    exact = _rows(values, position, frequency)
    search, finish = exact, exact
    if exposed and values.size > _FEW_ROWS:
        search = _squashed(values, position, frequency, *_COARSE)
        finish = _squashed(values, position, frequency, *_FINE)
    points, heights, times, run = _search(search, terms, prior, free, exposed)
    ranked = np.argsort(-heights, kind="mergesort")
    found, height, converged, saddle = _finish(finish, terms, prior, free, points[ranked[0]])
    if exposed:
        # On the coarse table two optima of nearly the same height may have changed places.
        for i in ranked[1:]:
            if heights[i] < heights[ranked[0]] - _CLOSE:
                break
            if heights[i] < heights[ranked[0]] - _SAME:
                other, higher, arrived, left = _finish(finish, terms, prior, free, points[i])
                if higher > height:
                    found, height, converged, saddle = other, higher, arrived, left
                break
    point[:] = found
    errors[:] = _standard_errors(finish, terms, prior, free, found)
    facts[HEIGHT], facts[ENTROPY] = _describe(exact, terms, found, mass, shared)
    facts[REACHED], facts[STARTS] = times, run
    facts[CONVERGED], facts[SADDLE] = converged, saddle


@compiled
def fit_columns_of(
    indptr: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    position: np.ndarray,
    by_position: np.ndarray,
    n: int,
    k: int,
    wanted: np.ndarray,
    points: np.ndarray,
    errors: np.ndarray,
    mass: np.ndarray,
    shared: np.ndarray,
    facts: np.ndarray,
) -> None:
    """Fit the wanted columns of a compressed sparse block; results go into the last five.

    ``position`` is empty where all exposures are 1. ``points`` and ``errors`` are (n_columns, 3,
    k), ``mass`` (n_columns, k) and ``shared`` (n_columns, k, k) as `_describe` fills them, and
    ``facts`` (n_columns, 6).
    """
    exposed = position.size > 0
    taken = np.zeros(n if exposed else 0, dtype=np.bool_)
    for column in wanted:
        part = slice(indptr[column], indptr[column + 1])
        if exposed:
            count, where, times = exposed_table(
                rows[part], values[part], position, by_position, taken
            )
        else:
            count, where, times = collapsed_table(values[part], n)
        fit_column(
            count,
            where,
            times,
            exposed,
            k,
            points[column],
            errors[column],
            mass[column],
            shared[column],
            facts[column],
        )
