"""From where EM has stopped to the optimum: damped Newton on the marginal density, and its edges.

EM slows down as components overlap, and it never arrives at an edge of the parameter space. Newton
with the analytic Hessian finishes in a few steps; where the density still rises towards an edge (a
Poisson component, a point mass at zero, an empty component) the edge itself is tried and taken.

One entry of a point can be held, which is how a profile likelihood is made. A held weight keeps its
value while the others share what it leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled, merged
from pmnbmix.mixture.levels import Rows, Terms
from pmnbmix.mixture.priors import Prior, log_prior
from pmnbmix.mixture.sums import derivatives, penalised
from pmnbmix.point.edges import intercepts, nearest_edge, release, snap
from pmnbmix.point.objective import Objective, held_weight, n_occupied, normalise, parted
from pmnbmix.point.steps import substitute

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
    point : ndarray, shape (n_terms, k)
    value : float
        Log likelihood plus log prior.
    path : ndarray, shape (n_steps,)
        Value after each step, never falling.
    likelihood_path : ndarray, shape (n_steps,)
        Log likelihood after each step.
    converged : bool
    uphill : ndarray, shape (n_terms k,), or None
        Unit direction of positive curvature at the end, if there is one: the point is a saddle.
    """

    point: Floats
    value: float
    path: Floats
    likelihood_path: Floats
    converged: bool
    uphill: Floats | None


def climb(objective: Objective, start: Floats, max_iter: int = 200) -> Climb:
    """Climb from a point to a stationary point of the objective.

    Parameters
    ----------
    objective : Objective
    start : ndarray, shape (n_terms, k)
    max_iter : int

    Returns
    -------
    Climb
    """
    try:
        point, likelihood_path, prior_path, converged, uphill = climb_from(
            objective.arrays, start, max_iter
        )
    except np.linalg.LinAlgError:
        # So far out, as where a mean overflows, there are no derivatives to climb by.
        nowhere = np.empty(0)
        return Climb(start, objective.value(start), nowhere, nowhere, False, None)
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
            moved = move(ended.point, sign * length * ended.uphill, objective.free)
            if objective.value(moved) > ended.value:
                arrived = climb(objective, moved)
                if best is None or arrived.value > best.value:
                    best = arrived
                break
    return best


@compiled
def moving(terms: Terms, free: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Number of the coordinate that each entry of the point moves with, (n_terms k,); -1: none.

    Entries at an edge do not move, nor do those to which the edge leaves no meaning. Coordinates
    are numbered without gaps; entries that share a coefficient have the same number.
    """
    n_terms, k = point.shape
    _, mean, dispersion = intercepts(terms)
    weighted = n_occupied(point) - (1 if held_weight(free) >= 0 else 0) > 1
    # In the second row stands the number of each coefficient of the design.
    numbers = np.full((2, n_terms * k), -1)
    size = 0
    for row in range(n_terms):
        for j in range(k):
            moves = math.isfinite(point[0, j]) and free[row, j] >= 0
            if row < mean:
                moves = moves and weighted
            else:
                moves = moves and math.isfinite(point[mean, j])
                if row >= dispersion:
                    moves = moves and math.isfinite(point[dispersion, j])
            if moves:
                if numbers[1, free[row, j]] < 0:
                    numbers[1, free[row, j]] = size
                    size += 1
                numbers[0, row * k + j] = numbers[1, free[row, j]]
    of_entries: np.ndarray = numbers[0]
    return of_entries


@compiled
def information_spectrum(
    hessian: np.ndarray, numbers: np.ndarray, terms: Terms, log_weights: np.ndarray, n: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of the negative Hessian in coordinates of about unit curvature.

    ``numbers`` are those of `moving`; ``n`` is the number of observations, those that the prior is
    worth included. Returns the scale (size,) that was divided out, eigenvalues (size,) and vectors
    as columns. The logits of the weights have one redundant direction for each of their terms, in
    which the density is constant; it has eigenvalue 0 and no gradient.
    """
    scale, information = _scaled_information(hessian, numbers, terms, log_weights, n)
    eigenvalues, vectors = np.linalg.eigh(information)
    return scale, eigenvalues, vectors


@compiled
def _scaled_information(
    hessian: np.ndarray, numbers: np.ndarray, terms: Terms, log_weights: np.ndarray, n: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scale (size,) of the coordinates and the negative Hessian in them."""
    k = log_weights.size
    size = numbers.max() + 1
    information = np.zeros((size, size))
    for i in range(numbers.size):
        for j in range(numbers.size):
            if numbers[i] >= 0 and numbers[j] >= 0:
                information[numbers[i], numbers[j]] -= hessian[i, j]
    scale = np.empty(size)
    for i in range(numbers.size):
        at = numbers[i]
        if at < 0:
            continue
        diagonal = abs(information[at, at])
        if i < k * terms.weights.shape[1]:
            # If components coincide, the logits have no curvature at all, and rounding must not be
            # blown up to one: theirs is what known labels would give, n w (1 - w).
            weight = math.exp(log_weights[i % k])
            diagonal = n * weight * (1.0 - weight)
        # A coordinate without curvature to speak of would have a scale that overflows.
        scale[at] = 1.0 / math.sqrt(diagonal) if diagonal > 1e-100 else 1.0
    for i in range(size):
        for j in range(size):
            information[i, j] = information[i, j] * scale[i] * scale[j]
    return scale, information


@compiled
def redundant_directions(
    numbers: np.ndarray, terms: Terms, scale: np.ndarray, k: int
) -> np.ndarray:
    """Unit directions, one a term of the weights, in which all its logits move by the same."""
    directions = np.zeros((terms.weights.shape[1], scale.size))
    for term in range(directions.shape[0]):
        for i in range(term * k, (term + 1) * k):
            if numbers[i] >= 0:
                directions[term, numbers[i]] = 1.0 / scale[numbers[i]]
        squares = 0.0
        for u in range(scale.size):
            squares += directions[term, u] * directions[term, u]
        if squares > 0.0:
            length = math.sqrt(squares)
            for u in range(scale.size):
                directions[term, u] /= length
    return directions


@compiled
def _solve(
    information: np.ndarray, slope: np.ndarray, redundant: np.ndarray
) -> tuple[bool, np.ndarray]:
    """Solve for the step by Cholesky, if the information is safely positive definite.

    It takes a tenth of the time of the spectrum, which is needed only where there are directions
    that are flat or go up. ``redundant`` are the directions in which there is no curvature at all.
    """
    size = slope.size
    root = information.copy()
    for term in range(redundant.shape[0]):
        for i in range(size):
            for j in range(size):
                root[i, j] += redundant[term, i] * redundant[term, j]
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
    substitute(root, step)
    return True, step


@compiled
def move(point: np.ndarray, step: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Point after a step in all its entries, weights normalised."""
    moved: np.ndarray = point + step.reshape(point.shape)
    normalise(moved, free)
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


@merged
def _derivatives(
    rows: Rows, terms: Terms, prior: Prior, free: np.ndarray, point: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    likelihood, gradient, hessian = derivatives(rows, terms, prior, point)
    held = held_weight(free)
    if held >= 0:
        _hold_weight(gradient, hessian, point[0], held)
    return likelihood, gradient, hessian


@compiled
def climb_from(
    arrays: tuple[Any, ...], start: np.ndarray, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray]:
    """`climb` on plain arrays: point, paths of log likelihood and log prior, converged, uphill."""
    rows, terms, prior, free = parted(arrays)
    point = start.copy()
    n = rows.frequency.sum() + point.shape[1] * prior.exponent
    likelihood_path = np.empty(max_iter + 1)
    prior_path = np.empty(max_iter + 1)
    likelihood_path[0], gradient, hessian = _derivatives(rows, terms, prior, free, point)
    prior_path[0] = log_prior(prior, point)
    done = 0
    radius = _LONGEST_STEP
    converged = False
    while done < max_iter:
        value = likelihood_path[done] + prior_path[done]
        moved, candidate = nearest_edge(rows, terms, prior, free, point, value, gradient)
        known = False
        if not moved:
            moved, known, candidate, gain, there, radius = _newton(
                rows, terms, prior, free, point, value, gradient, hessian, n, radius
            )
            if not moved:
                moved, candidate = release(rows, terms, prior, free, point, value)
                if not moved:
                    snapped = snap(rows, terms, prior, point, likelihood_path[done])
                    if done == 0 or snapped[0] >= likelihood_path[done - 1]:
                        likelihood_path[done], point = snapped
                    # A refused step that promised this little was refused because of rounding.
                    converged = gain < 1e-6
                    break
        point = candidate
        done += 1
        if not known:
            there = _derivatives(rows, terms, prior, free, point)
        likelihood_path[done], gradient, hessian = there
        prior_path[done] = log_prior(prior, point)
    uphill = np.empty(0)
    numbers = moving(terms, free, point)
    if (numbers >= 0).any():
        scale, eigenvalues, vectors = information_spectrum(hessian, numbers, terms, point[0], n)
        if eigenvalues[0] < -1e-6:
            uphill = spread_out(scale * vectors[:, 0], numbers)
            uphill /= np.abs(uphill).max()
    return point, likelihood_path[: done + 1], prior_path[: done + 1], converged, uphill


@compiled
def spread_out(step: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Step in all entries of a point, from one in the coordinates numbered by `moving`."""
    out = np.zeros(numbers.size)
    for i in range(numbers.size):
        if numbers[i] >= 0:
            out[i] = step[numbers[i]]
    return out


@merged
def _newton(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    free: np.ndarray,
    point: np.ndarray,
    value: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
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
    numbers = moving(terms, free, point)
    if not (numbers >= 0).any():
        return False, False, point, 0.0, there, radius
    scale, information = _scaled_information(hessian, numbers, terms, point[0], n)
    slope = np.zeros(scale.size)
    for i in range(numbers.size):
        if numbers[i] >= 0:
            slope[numbers[i]] += gradient[i]
    slope *= scale
    redundant = redundant_directions(numbers, terms, scale, point.shape[1])
    solved, scaled_step = False, slope
    if held_weight(free) < 0:
        solved, scaled_step = _solve(information, slope, redundant)
    if not solved:
        eigenvalues, vectors = np.linalg.eigh(information)
        # |eigenvalue| turns a saddle's downhill directions into uphill ones.
        curvature = np.maximum(np.abs(eigenvalues), FLAT)
        scaled_step = vectors @ ((vectors.T @ slope) / curvature)
    gain = 0.5 * (slope * scaled_step).sum()
    if gain < _ARRIVED:
        return False, False, point, gain, there, radius
    step = spread_out(scale * scaled_step, numbers)
    longest = np.abs(step).max()
    if longest > radius:
        step *= radius / longest
        longest = radius
    for halving in range(_HALVINGS):
        moved = move(point, step, free)
        if halving == 0:
            there = _derivatives(rows, terms, prior, free, moved)
            higher = there[0] + log_prior(prior, moved) > value
        else:
            higher = penalised(rows, terms, prior, moved) > value
        if higher:
            first = halving == 0
            wider = min(_LONGEST_STEP, max(radius, 2.0 * longest))
            return True, first, moved, gain, there, wider if first else longest
        step *= 0.5
        longest *= 0.5
    return False, False, point, gain, there, _LONGEST_STEP
