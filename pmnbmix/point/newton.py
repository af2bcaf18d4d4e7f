"""From where EM has stopped to the optimum: damped Newton on the marginal density, and its edges.

EM slows down as components overlap, and it never arrives at an edge of the parameter space. Newton
with the analytic Hessian finishes in a few steps; where the density still rises towards an edge (a
Poisson component, a point mass at zero, an empty component) the edge itself is tried and taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture import density
from pmnbmix.point.objective import Objective, inv_disps

Floats = NDArray[np.float64]

_LONGEST_STEP = 3.0
_HALVINGS = 40
# Predicted gain in nats below which the climb has arrived.
_ARRIVED = 1e-10
# Eigenvalues of the unit-diagonal information below this are flat directions.
FLAT = 1e-8


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


def free_coordinates(objective: Objective, point: Floats) -> NDArray[np.bool_]:
    """Tell which of the 3k coordinates can move from here; those at an edge cannot, (3k,)."""
    occupied = np.isfinite(point[0])
    mean_free = occupied & np.isfinite(point[1])
    weight_free = occupied & (not objective.equal_weights) & (occupied.sum() > 1)
    return np.concatenate([weight_free, mean_free, mean_free & np.isfinite(point[2])])


def information_spectrum(
    objective: Objective, point: Floats, hessian: Floats, free: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Eigenvalues and vectors of the negative Hessian in free coordinates of about unit curvature.

    Returns the scale (n_free,) that was divided out, eigenvalues (n_free,) and vectors as columns.
    The logits of the weights have one redundant direction, in which the density is constant; it
    has eigenvalue 0 and no gradient.
    """
    k = objective.n_components
    information = -hessian[np.ix_(free, free)]
    diagonal = np.abs(np.diag(hessian)).copy()
    # where components coincide the logits have no curvature at all, and rounding must not be
    # blown up to one: theirs is taken from known labels, n w (1 - w)
    weights = np.exp(point[0])
    n = objective.table.n + k * objective.weight_exponent
    diagonal[:k] = n * weights * (1.0 - weights)
    kept = diagonal[free]
    # below this a coordinate has no curvature to speak of, and its scale would overflow
    scale = 1.0 / np.sqrt(np.where(kept > 1e-100, kept, 1.0))
    eigenvalues, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    return scale, eigenvalues, vectors


def climb(objective: Objective, start: Floats, max_iter: int = 200) -> Climb:
    """Climb from a point to a stationary point of the objective.

    Parameters
    ----------
    objective : Objective
    start : ndarray, shape (3, k)
    max_iter : int

    Returns
    -------
    Climb
    """
    point = start.copy()
    value = objective.value(point)
    _, gradient, hessian = objective.derivatives(point)
    path: list[float] = []
    likelihood_path: list[float] = []
    converged = False
    for _ in range(max_iter):
        candidate = _edge(objective, point, value, gradient)
        if candidate is None:
            candidate, gain = _newton(objective, point, value, gradient, hessian)
            if candidate is None or gain < _ARRIVED:
                released = _release(objective, point, value)
                if released is None:
                    # a refused step with gain left means that rounding hides what is left
                    converged = gain < 1e-6
                    break
                candidate = released
        point = candidate
        # one way of summing throughout, so that rounding cannot make the path fall
        value = objective.value(point)
        _, gradient, hessian = objective.derivatives(point)
        path.append(value)
        likelihood_path.append(value - objective.log_prior(point))
    return Climb(
        point,
        value,
        np.array(path),
        np.array(likelihood_path),
        converged,
        _uphill(objective, point, hessian),
    )


def escape(objective: Objective, ended: Climb) -> Climb | None:
    """Leave a saddle along its direction of positive curvature and climb again."""
    if ended.uphill is None:
        return None
    best: Climb | None = None
    for sign in (1.0, -1.0):
        for length in (1.0, 0.3, 0.1, 0.03, 0.01):
            moved = _move(objective, ended.point, sign * length * ended.uphill)
            if objective.value(moved) > ended.value:
                arrived = climb(objective, moved)
                if best is None or arrived.value > best.value:
                    best = arrived
                break
    return best


def _move(objective: Objective, point: Floats, step: Floats) -> Floats:
    """Point after a step in the 3k coordinates, weights normalised."""
    moved = point + step.reshape(3, objective.n_components)
    if not objective.equal_weights:
        moved[0] -= special.logsumexp(moved[0])
    return moved


def _newton(
    objective: Objective, point: Floats, value: float, gradient: Floats, hessian: Floats
) -> tuple[Floats | None, float]:
    """Best point along a Newton direction and the gain it promised; None if nothing is higher."""
    free = free_coordinates(objective, point)
    if not free.any():
        return None, 0.0
    scale, eigenvalues, vectors = information_spectrum(objective, point, hessian, free)
    slope = vectors.T @ (scale * gradient[free])
    # |eigenvalue| turns a saddle's downhill directions into uphill ones
    curvature = np.maximum(np.abs(eigenvalues), FLAT)
    gain = 0.5 * float((slope**2 / curvature).sum())
    if gain < _ARRIVED:
        return None, gain
    step = np.zeros(gradient.size)
    step[free] = scale * (vectors @ (slope / curvature))
    step *= min(1.0, _LONGEST_STEP / np.abs(step).max())
    for _ in range(_HALVINGS):
        moved = _move(objective, point, step)
        if objective.value(moved) > value:
            return moved, gain
        step *= 0.5
    return None, gain


def _edge(objective: Objective, point: Floats, value: float, gradient: Floats) -> Floats | None:
    """Point at an edge that is no lower, where the density rises towards that edge."""
    k = objective.n_components
    by_weight, by_mean, by_dispersion = gradient.reshape(3, k)
    largest = objective.table.exposure.max()
    n = objective.table.n
    for j in range(k):
        if not np.isfinite(point[0, j]):
            continue
        trials = []
        share = n * np.exp(point[0, j])
        if (
            not objective.dispersion_prior[1]
            and np.isfinite(point[2, j])
            and by_dispersion[j] <= 0
            and point[1, j] + point[2, j] + np.log(largest) < np.log(0.3)
        ):
            trials.append((2, j))
        if (
            not objective.mean_prior[1]
            and np.isfinite(point[1, j])
            and by_mean[j] < 0
            and share * np.exp(point[1, j]) * largest < 0.5
        ):
            trials.append((1, j))
        if (
            not objective.equal_weights
            and not objective.weight_exponent
            and by_weight[j] < 0
            and share < 0.5
        ):
            trials.append((0, j))
        for trial in trials:
            moved = point.copy()
            moved[trial] = -np.inf
            if trial[0] == 0:
                moved[0] -= special.logsumexp(moved[0])
            if objective.value(moved) >= value:
                return moved
    return None


def _release(objective: Objective, point: Floats, value: float) -> Floats | None:
    """Higher point inside, for a component at an edge that the density falls towards."""
    table = objective.table
    means, inverse = np.exp(point[1]), inv_disps(point)
    rows = density.mixture_table(table.values, table.exposure, point[0], means, inverse)
    components = density.component_table(table.values, table.exposure, means, inverse)
    for j in range(objective.n_components):
        ratio = np.exp(components[:, j] - rows)
        if not np.isfinite(point[0, j]):
            # directional derivative of the log likelihood towards this component
            if float(table.frequency @ ratio) <= table.n:
                continue
            trials = [(0, share) for share in (0.1, 0.01, 1e-3, 1e-4)]
        elif not np.isfinite(point[2, j]) and np.isfinite(point[1, j]):
            mass = table.frequency * np.exp(point[0, j]) * ratio
            expected = table.exposure * means[j]
            excess = float(mass @ ((table.values - expected) ** 2 - table.values))
            if excess <= 0:
                continue
            moment = excess / float(mass @ expected**2)
            trials = [(2, moment * factor) for factor in (1.0, 0.3, 0.1, 0.01, 1e-3)]
        else:
            continue
        for row, size in trials:
            moved = point.copy()
            if row == 0:
                moved[0] += np.log1p(-size)
            moved[row, j] = np.log(size)
            if objective.value(moved) > value:
                return moved
    return None


def _uphill(objective: Objective, point: Floats, hessian: Floats) -> Floats | None:
    """Direction of positive curvature, if there is one."""
    free = free_coordinates(objective, point)
    if not free.any():
        return None
    scale, eigenvalues, vectors = information_spectrum(objective, point, hessian, free)
    if eigenvalues[0] > -1e-6:
        return None
    direction = np.zeros(point.size)
    direction[free] = scale * vectors[:, 0]
    direction /= np.abs(direction).max()
    return direction
