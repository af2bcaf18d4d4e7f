"""Maximum likelihood of many columns, compiled from tables to standard errors.

Each column is climbed from a few starts by EM and Newton; the best is finished, edges and all, as
`fit_em` does. With exposures the search runs on a coarsely squashed table and is finished on a
fine one (`pmnbmix.data.squash`); what is reported of the fit is of the true rows.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.batch.ascent import approach
from pmnbmix.batch.starts import n_always, start_points
from pmnbmix.batch.tables import collapsed_table, exposed_table
from pmnbmix.compiled import compiled
from pmnbmix.data.squash import _squash
from pmnbmix.mixture.density import (
    component_value,
    count_constants,
    log_sum_exp,
    remainders_of,
)
from pmnbmix.point.em import _iterate
from pmnbmix.point.newton import FLAT, _climb, _move, free_coordinates, information_spectrum
from pmnbmix.point.objective import NOTHING_HELD, TableArrays, derivatives, log_likelihood

# Width of the bins of log exposure and nodes in each: for the search, and to finish on.
_COARSE = (1.0, 2)
_FINE = (0.5, 6)
# Tables with no more rows than this are not squashed.
_FEW_ROWS = 150
_EM_ITERATIONS = 3
_EM_TOLERANCE = 1e-6
_MAX_STEPS = 30
_MAX_ITER = 200
# Further starts are run until the best optimum was reached so often.
_OFTEN, _OFTEN_EXPOSED = 2, 3
# Two climbs have reached the same optimum where they agree to this many nats.
_SAME = 2e-3
# Optima of the coarse table that are this close in nats are both finished.
_CLOSE = 0.5
_ESCAPES = (1.0, 0.3, 0.1, 0.03, 0.01)

# What is told of a column beside its point and standard errors.
HEIGHT, ENTROPY, REACHED, STARTS, CONVERGED, SADDLE = range(6)
N_FACTS = 6


@compiled
def _arrays(values: np.ndarray, position: np.ndarray, frequency: np.ndarray) -> TableArrays:
    return values, np.exp(position), frequency, count_constants(values)


@compiled
def _squashed(
    values: np.ndarray, position: np.ndarray, frequency: np.ndarray, width: float, nodes: int
) -> TableArrays:
    rows, _ = _squash(values, position, frequency, width, nodes)
    return _arrays(rows[0].copy(), rows[1].copy(), rows[2].copy())


@compiled
def _finish(
    arrays: TableArrays, prior: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float, bool, bool]:
    """Climb to an optimum, edges and all; leave a saddle along its direction of positive curvature.

    Returns the point, its log likelihood, whether it converged and whether it is a saddle still.
    """
    point, path, _, converged, uphill = _climb(arrays, prior, False, start, NOTHING_HELD, _MAX_ITER)
    value = path[-1]
    if uphill.size > 0:
        for sign in (1.0, -1.0):
            for length in _ESCAPES:
                moved = _move(point, sign * length * uphill, False, NOTHING_HELD)
                if log_likelihood(arrays, moved) > value:
                    other, path, _, arrived, left = _climb(
                        arrays, prior, False, moved, NOTHING_HELD, _MAX_ITER
                    )
                    if path[-1] > value:
                        return other, path[-1], arrived, left.size > 0
                    break
    return point, value, converged, uphill.size > 0


@compiled
def _search(
    arrays: TableArrays, prior: np.ndarray, exposed: bool, k: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Points of all starts that were run and their heights; times the best was reached."""
    starts = start_points(arrays, k)
    heights = np.full(len(starts), -math.inf)
    best, times, run = -math.inf, 0, 0
    for i in range(len(starts)):
        if i >= n_always(k) and times >= (_OFTEN_EXPOSED if exposed else _OFTEN):
            break
        point, _, _ = _iterate(
            arrays, starts[i], prior, False, not exposed, _EM_ITERATIONS, _EM_TOLERANCE
        )
        starts[i], heights[i] = approach(arrays, prior, point, _MAX_STEPS, best)
        run += 1
        if heights[i] > best + _SAME:
            best, times = heights[i], 1
        elif heights[i] > best - _SAME:
            best = max(best, heights[i])
            times += 1
    return starts[:run], heights[:run], times, run


@compiled
def _describe(
    arrays: TableArrays, point: np.ndarray, mass: np.ndarray, shared: np.ndarray
) -> tuple[float, float]:
    """Log likelihood and entropy of the responsibilities, over all rows.

    Fills for each component the number of observations that it holds (k,), and for each two what
    they hold together, the sum of the products of their responsibilities (k, k).
    """
    values, exposure, frequency, constants = arrays
    k = point.shape[1]
    means, inv_disps = np.exp(point[1]), np.exp(-point[2])
    remainders = remainders_of(inv_disps)
    terms = np.empty(k)
    total, lost, entropy = 0.0, 0.0, 0.0
    mass[:] = 0.0
    shared[:] = 0.0
    for u in range(values.size):
        for j in range(k):
            terms[j] = point[0, j] + component_value(
                values[u], constants[u], exposure[u] * means[j], inv_disps[j], remainders[j]
            )
        row = log_sum_exp(terms)
        addend = frequency[u] * row - lost
        moved = total + addend
        lost = (moved - total) - addend
        total = moved
        for j in range(k):
            terms[j] -= row
            held = frequency[u] * math.exp(terms[j])
            if held > 0.0:
                entropy -= held * terms[j]
                mass[j] += held
                for i in range(j):
                    shared[i, j] += held * math.exp(terms[i])
                shared[j, j] += held * math.exp(terms[j])
    for j in range(k):
        for i in range(j):
            shared[j, i] = shared[i, j]
    return total, entropy


@compiled
def _standard_errors(arrays: TableArrays, prior: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Wald standard errors of weights, means and dispersions, (3, k), as `uncertainty.wald`."""
    k = point.shape[1]
    errors = np.full((3, k), math.inf)
    if k == 1:
        errors[0, 0] = 0.0
    free = free_coordinates(point, False, NOTHING_HELD)
    if not free.any():
        return errors
    _, _, hessian = derivatives(arrays, prior, point)
    scale, eigenvalues, vectors = information_spectrum(hessian, free, point[0], arrays[2].sum())
    index = np.flatnonzero(free)
    logits = (index < k).sum()
    # the direction in which all logits move together changes nothing
    redundant = np.zeros(index.size)
    redundant[:logits] = 1.0 / scale[:logits]
    if logits:
        redundant /= math.sqrt((redundant**2).sum())
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
        # weights are known by what they are beside each other
        shift = (weights[index[:logits]] * moved[:logits]).sum()
        for i in range(index.size):
            along = moved[i] - shift if i < logits else moved[i]
            variance[i] += along * along
    for i in range(index.size):
        if flat[i] <= 1e-6:
            row, j = index[i] // k, index[i] % k
            errors[row, j] = math.exp(point[row, j]) * math.sqrt(variance[i])
    return errors


@compiled
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
    prior = np.zeros(5)
    exact = _arrays(values, position, frequency)
    search, finish = exact, exact
    if exposed and values.size > _FEW_ROWS:
        search = _squashed(values, position, frequency, *_COARSE)
        finish = _squashed(values, position, frequency, *_FINE)
    points, heights, times, run = _search(search, prior, exposed, k)
    ranked = np.argsort(-heights, kind="mergesort")
    found, height, converged, saddle = _finish(finish, prior, points[ranked[0]])
    if exposed:
        # on the coarse table two optima of nearly the same height may have changed places
        for i in ranked[1:]:
            if heights[i] < heights[ranked[0]] - _CLOSE:
                break
            if heights[i] < heights[ranked[0]] - _SAME:
                other, higher, arrived, left = _finish(finish, prior, points[i])
                if higher > height:
                    found, height, converged, saddle = other, higher, arrived, left
                break
    point[:] = found
    errors[:] = _standard_errors(finish, prior, found)
    facts[HEIGHT], facts[ENTROPY] = _describe(exact, found, mass, shared)
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
            table = exposed_table(rows[part], values[part], position, by_position, taken)
        else:
            table = collapsed_table(values[part], n)
        fit_column(
            *table,
            exposed,
            k,
            points[column],
            errors[column],
            mass[column],
            shared[column],
            facts[column],
        )
