"""From where EM has stopped to the optimum: damped Newton on the marginal density, and its edges.

EM slows down as components overlap, and it never arrives at an edge of the parameter space. Newton
with the analytic Hessian finishes in a few steps; where the density still rises towards an edge (a
Poisson component, a point mass at zero, an empty component) the edge itself is tried and taken.

One coordinate can be held, which is how a profile likelihood is made. Coordinates are numbered
0 to 3k - 1: logits of the weights, log means, log dispersions. A held weight keeps its value while
the others share what it leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.point.edges import nearest_edge, release, snap
from pmnbmix.point.objective import (
    NOTHING_HELD,
    Objective,
    TableArrays,
    derivatives,
    log_prior,
    normalise,
    penalised,
)

Floats = NDArray[np.float64]

_LONGEST_STEP = 3.0
_HALVINGS = 40
# Predicted gain in nats below which the climb has arrived.
_ARRIVED = 1e-10
# Eigenvalues of the unit-diagonal information below this are flat directions.
FLAT = 1e-8
# Squared pivots above this leave no doubt that all eigenvalues are well above it.
_SAFE_PIVOT = 1e-4


@dataclass(frozen=True, eq=False)
class Climb:
    """Where a climb ended.

    Attributes
    ----------
    point : ndarray, shape (3, k)
    value : float
        Log likelihood plus log prior.
    path : ndarray, shape (n_steps,)
        Value after each step, never falling.
    likelihood_path : ndarray, shape (n_steps,)
        Log likelihood after each step.
    converged : bool
    uphill : ndarray, shape (3k,), or None
        Unit direction of positive curvature at the end, if there is one: the point is a saddle.
    """

    point: Floats
    value: float
    path: Floats
    likelihood_path: Floats
    converged: bool
    uphill: Floats | None


def climb(
    objective: Objective, start: Floats, max_iter: int = 200, held: int = NOTHING_HELD
) -> Climb:
    """Climb from a point to a stationary point of the objective.

    Parameters
    ----------
    objective : Objective
    start : ndarray, shape (3, k)
    max_iter : int
    held : int
        Coordinate that stays where it is.

    Returns
    -------
    Climb
    """
    prior = objective.prior_numbers
    point, likelihood_path, prior_path, converged, uphill = _climb(
        objective.arrays, prior, objective.equal_weights, start, held, max_iter
    )
    path = likelihood_path + prior_path + objective.constant
    return Climb(
        point,
        float(path[-1]),
        path[1:],
        likelihood_path[1:],
        bool(converged),
        uphill if uphill.size else None,
    )


def escape(objective: Objective, ended: Climb) -> Climb | None:
    """Leave a saddle along its direction of positive curvature and climb again."""
    if ended.uphill is None:
        return None
    best: Climb | None = None
    for sign in (1.0, -1.0):
        for length in (1.0, 0.3, 0.1, 0.03, 0.01):
            step = sign * length * ended.uphill
            moved = _move(ended.point, step, objective.equal_weights, NOTHING_HELD)
            if objective.value(moved) > ended.value:
                arrived = climb(objective, moved)
                if best is None or arrived.value > best.value:
                    best = arrived
                break
    return best


@compiled
def free_coordinates(
    point: np.ndarray, equal_weights: bool, held: int = NOTHING_HELD
) -> np.ndarray:
    """Tell which of the 3k coordinates can move from here; those at an edge cannot, (3k,)."""
    k = point.shape[1]
    free = np.zeros(3 * k, dtype=np.bool_)
    occupied = np.isfinite(point[0])
    movable = occupied.sum() - (1 if 0 <= held < k else 0)
    for j in range(k):
        if occupied[j]:
            free[j] = not equal_weights and movable > 1
            free[k + j] = math.isfinite(point[1, j])
            free[2 * k + j] = free[k + j] and math.isfinite(point[2, j])
    if held >= 0:
        free[held] = False
    return free


@compiled
def information_spectrum(
    hessian: np.ndarray, free: np.ndarray, log_weights: np.ndarray, n: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of the negative Hessian in free coordinates of about unit curvature.

    ``n`` is the number of observations, those that the prior is worth included. Returns the scale
    (n_free,) that was divided out, eigenvalues (n_free,) and vectors as columns. The logits of the
    weights have one redundant direction, in which the density is constant; it has eigenvalue 0
    and no gradient.
    """
    scale, information = _scaled_information(hessian, free, log_weights, n)
    eigenvalues, vectors = np.linalg.eigh(information)
    return scale, eigenvalues, vectors


@compiled
def _scaled_information(
    hessian: np.ndarray, free: np.ndarray, log_weights: np.ndarray, n: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scale (n_free,) of the free coordinates and the negative Hessian in them."""
    k = log_weights.size
    index = np.flatnonzero(free)
    scale = np.empty(index.size)
    for i in range(index.size):
        diagonal = abs(hessian[index[i], index[i]])
        if index[i] < k:
            # where components coincide the logits have no curvature at all, and rounding must not
            # be blown up to one: theirs is taken from known labels, n w (1 - w)
            weight = math.exp(log_weights[index[i]])
            diagonal = n * weight * (1.0 - weight)
        # below this a coordinate has no curvature to speak of, and its scale would overflow
        scale[i] = 1.0 / math.sqrt(diagonal) if diagonal > 1e-100 else 1.0
    information = np.empty((index.size, index.size))
    for i in range(index.size):
        for j in range(index.size):
            information[i, j] = -hessian[index[i], index[j]] * scale[i] * scale[j]
    return scale, information


@compiled
def _solve(
    information: np.ndarray, slope: np.ndarray, redundant: np.ndarray
) -> tuple[bool, np.ndarray]:
    """Solve for the step by Cholesky, where the information is safely positive definite.

    It takes a tenth of the time of the spectrum, which is needed only where there are directions
    that are flat or go up. ``redundant`` is the direction in which there is no curvature at all.
    """
    size = slope.size
    root = information + np.outer(redundant, redundant)
    step = slope.copy()
    for j in range(size):
        for i in range(j):
            root[j, j] -= root[j, i] * root[j, i]
        if not root[j, j] > _SAFE_PIVOT:
            return False, step
        root[j, j] = math.sqrt(root[j, j])
        for row in range(j + 1, size):
            for i in range(j):
                root[row, j] -= root[row, i] * root[j, i]
            root[row, j] /= root[j, j]
    for j in range(size):
        for i in range(j):
            step[j] -= root[j, i] * step[i]
        step[j] /= root[j, j]
    for j in range(size - 1, -1, -1):
        for i in range(j + 1, size):
            step[j] -= root[i, j] * step[i]
        step[j] /= root[j, j]
    return True, step


@compiled
def _move(point: np.ndarray, step: np.ndarray, equal_weights: bool, held: int) -> np.ndarray:
    """Point after a step in the 3k coordinates, weights normalised."""
    moved: np.ndarray = point + step.reshape(point.shape)
    normalise(moved, equal_weights, held)
    return moved


@compiled
def _hold_weight(
    gradient: np.ndarray, hessian: np.ndarray, log_weights: np.ndarray, held: int
) -> None:
    """Derivatives, in place, along moves that keep one weight and share the rest.

    To keep its weight, the logit of the held component must follow the log sum of the others: its
    first derivative in the logit of i is q_i = w_i / (1 - w_held), its second q_i d_ij - q_i q_j.
    """
    k = log_weights.size
    weights = np.exp(log_weights)
    share = weights / (1.0 - weights[held])
    share[held] = 0.0
    by_held = gradient[held]
    row = hessian[held].copy()
    twice = row[held]
    for i in range(k):
        gradient[i] += by_held * share[i]
        hessian[i, i] += by_held * share[i]
        for j in range(gradient.size):
            hessian[i, j] += share[i] * row[j]
            hessian[j, i] += share[i] * row[j]
        for j in range(k):
            hessian[i, j] += (twice - by_held) * share[i] * share[j]


@compiled
def _derivatives(
    arrays: TableArrays, prior: np.ndarray, point: np.ndarray, held: int
) -> tuple[float, np.ndarray, np.ndarray]:
    likelihood, gradient, hessian = derivatives(arrays, prior, point)
    if 0 <= held < point.shape[1]:
        _hold_weight(gradient, hessian, point[0], held)
    return likelihood, gradient, hessian


@compiled
def _climb(
    arrays: TableArrays,
    prior: np.ndarray,
    equal_weights: bool,
    start: np.ndarray,
    held: int,
    max_iter: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray]:
    """`climb` on plain arrays: point, paths of log likelihood and log prior, converged, uphill."""
    point = start.copy()
    k = point.shape[1]
    n = arrays[2].sum() + k * prior[0]
    likelihood_path = np.empty(max_iter + 1)
    prior_path = np.empty(max_iter + 1)
    likelihood_path[0], gradient, hessian = _derivatives(arrays, prior, point, held)
    prior_path[0] = log_prior(point, prior)
    done = 0
    radius = _LONGEST_STEP
    converged = False
    while done < max_iter:
        value = likelihood_path[done] + prior_path[done]
        moved, candidate = nearest_edge(arrays, prior, equal_weights, point, value, gradient, held)
        known = False
        if not moved:
            moved, known, candidate, gain, there, radius = _newton(
                arrays, prior, equal_weights, point, value, gradient, hessian, held, n, radius
            )
            if not moved:
                moved, candidate = release(arrays, prior, equal_weights, point, value, held)
                if not moved:
                    snapped = snap(arrays, prior, point, likelihood_path[done])
                    if done == 0 or snapped[0] >= likelihood_path[done - 1]:
                        likelihood_path[done], point = snapped
                    # a refused step with gain left means that rounding hides what is left
                    converged = gain < 1e-6
                    break
        point = candidate
        done += 1
        if not known:
            there = _derivatives(arrays, prior, point, held)
        likelihood_path[done], gradient, hessian = there
        prior_path[done] = log_prior(point, prior)
    uphill = np.empty(0)
    free = free_coordinates(point, equal_weights, held)
    if free.any():
        scale, eigenvalues, vectors = information_spectrum(hessian, free, point[0], n)
        if eigenvalues[0] < -1e-6:
            uphill = np.zeros(3 * k)
            uphill[free] = scale * vectors[:, 0]
            uphill /= np.abs(uphill).max()
    return point, likelihood_path[: done + 1], prior_path[: done + 1], converged, uphill


@compiled
def _newton(
    arrays: TableArrays,
    prior: np.ndarray,
    equal_weights: bool,
    point: np.ndarray,
    value: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
    held: int,
    n: float,
    radius: float,
) -> tuple[bool, bool, np.ndarray, float, tuple[float, np.ndarray, np.ndarray], float]:
    """A higher point along a Newton direction, if there is one.

    Returns whether there is one, whether its derivatives are known, the point, the gain that was
    promised, log likelihood and derivatives at the first point that was tried, and how far to go
    next. The first point is mostly taken, because the last steps tell how far the quadratic
    holds, so that trying it with its derivatives saves a pass over the table.
    """
    there = (value, gradient, hessian)
    free = free_coordinates(point, equal_weights, held)
    if not free.any():
        return False, False, point, 0.0, there, radius
    scale, information = _scaled_information(hessian, free, point[0], n)
    slope = scale * gradient[free]
    # moving all free logits by the same amount changes no weight
    redundant = np.zeros(scale.size)
    logits = free[: point.shape[1]].sum()
    redundant[:logits] = 1.0 / scale[:logits]
    if logits:
        redundant /= np.sqrt((redundant**2).sum())
    solved, scaled_step = False, slope
    if held < 0 or held >= point.shape[1]:
        solved, scaled_step = _solve(information, slope, redundant)
    if not solved:
        eigenvalues, vectors = np.linalg.eigh(information)
        # |eigenvalue| turns a saddle's downhill directions into uphill ones
        curvature = np.maximum(np.abs(eigenvalues), FLAT)
        scaled_step = vectors @ ((vectors.T @ slope) / curvature)
    gain = 0.5 * (slope * scaled_step).sum()
    if gain < _ARRIVED:
        return False, False, point, gain, there, radius
    step = np.zeros(gradient.size)
    step[free] = scale * scaled_step
    longest = np.abs(step).max()
    if longest > radius:
        step *= radius / longest
        longest = radius
    for halving in range(_HALVINGS):
        moved = _move(point, step, equal_weights, held)
        if halving == 0:
            there = _derivatives(arrays, prior, moved, held)
            higher = there[0] + log_prior(moved, prior) > value
        else:
            higher = penalised(arrays, prior, moved) > value
        if higher:
            first = halving == 0
            wider = min(_LONGEST_STEP, max(radius, 2.0 * longest))
            return True, first, moved, gain, there, wider if first else longest
        step *= 0.5
        longest *= 0.5
    return False, False, point, gain, there, _LONGEST_STEP
