"""Newton inside the parameter space, lean: how near an optimum a start leads, and at what height.

It does without the edges of the parameter space, saddles and the last digits, which are left for
`pmnbmix.point.newton` to settle from the best point only.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.levels import Rows, Terms
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.sums import derivatives, log_likelihood

_LONGEST_STEP = 3.0
_HALVINGS = 20
_SAFE_PIVOT = 1e-4
_FLAT = 1e-8
# A step has to promise this gain in nats: the first if the density is concave, else the second.
_NEAR = 1e-3
_NEAR_SADDLE = 1e-5
# A climb is given up if several times the gain that it promises cannot reach the best.
_HOPE = 5.0
_LOST = 0.01


@compiled
def _coordinate(i: int, skipped: int) -> int:
    """Index among all 3k coordinates of the i-th of those without the ``skipped`` logit."""
    return i if i < skipped else i + 1


@compiled
def _factor(hessian: np.ndarray, scale: np.ndarray, skipped: int, root: np.ndarray) -> bool:
    """Cholesky root of the scaled negative Hessian, if that is safely positive definite."""
    for j in range(scale.size):
        b = _coordinate(j, skipped)
        for i in range(j, scale.size):
            value = -hessian[_coordinate(i, skipped), b] * scale[i] * scale[j]
            for m in range(j):
                value -= root[i, m] * root[j, m]
            if i > j:
                root[i, j] = value / root[j, j]
            elif value > _SAFE_PIVOT:
                root[j, j] = math.sqrt(value)
            else:
                return False
    return True


@compiled
def _direction(
    gradient: np.ndarray,
    hessian: np.ndarray,
    log_weights: np.ndarray,
    n: float,
    skipped: int,
    step: np.ndarray,
    scale: np.ndarray,
    root: np.ndarray,
) -> tuple[float, bool]:
    """Promised gain, and whether the density is concave here; fills the step (3k - 1,).

    The logit of one weight is skipped, for the others to be relative to.
    """
    size, k = step.size, log_weights.size
    for i in range(size):
        at = _coordinate(i, skipped)
        diagonal = abs(hessian[at, at])
        if at < k:
            # If components coincide, the logits have no curvature; they get a share of what known
            # labels would give them.
            weight = math.exp(log_weights[at])
            diagonal = max(diagonal, 1e-3 * n * weight * (1.0 - weight))
        scale[i] = 1.0 / math.sqrt(diagonal) if diagonal > 1e-100 else 1.0
        step[i] = gradient[at] * scale[i]
    gain = 0.0
    concave = _factor(hessian, scale, skipped, root)
    if concave:
        for j in range(size):
            for i in range(j):
                step[j] -= root[j, i] * step[i]
            step[j] /= root[j, j]
            gain += 0.5 * step[j] * step[j]
        for j in range(size - 1, -1, -1):
            for i in range(j + 1, size):
                step[j] -= root[i, j] * step[i]
            step[j] /= root[j, j]
    else:
        information = np.empty((size, size))
        for j in range(size):
            for i in range(size):
                value = hessian[_coordinate(i, skipped), _coordinate(j, skipped)]
                information[i, j] = -value * scale[i] * scale[j]
        eigenvalues, vectors = np.linalg.eigh(information)
        slope = step.copy()
        step[:] = 0.0
        for m in range(size):
            along = 0.0
            for i in range(size):
                along += vectors[i, m] * slope[i]
            # |eigenvalue| turns a saddle's downhill directions into uphill ones.
            length = along / max(abs(eigenvalues[m]), _FLAT)
            gain += 0.5 * along * length
            for i in range(size):
                step[i] += length * vectors[i, m]
    for i in range(size):
        step[i] *= scale[i]
    return gain, concave


@compiled
def approach(
    rows: Rows, terms: Terms, prior: Prior, start: np.ndarray, max_iter: int, best: float
) -> tuple[np.ndarray, float]:
    """Point near an optimum and its log likelihood; given up if ``best`` is out of reach."""
    point, moved = start.copy(), start.copy()
    k = point.shape[1]
    size = 3 * k - 1
    n = rows.frequency.sum()
    root, scale, step = np.empty((size, size)), np.empty(size), np.empty(size)
    value, gradient, hessian = derivatives(rows, terms, prior, point)
    if not np.isfinite(point).all():
        # EM has gone to an edge, where only `pmnbmix.point.newton` can go on.
        return point, value
    radius = _LONGEST_STEP
    for _ in range(max_iter):
        skipped = int(np.argmax(point[0]))
        gain, concave = _direction(gradient, hessian, point[0], n, skipped, step, scale, root)
        if not gain >= (_NEAR if concave else _NEAR_SADDLE):
            break
        if concave and gain < 1.0 and value + _HOPE * gain + _LOST < best:
            break
        longest = np.abs(step).max()
        length = min(1.0, radius / longest)
        higher = value
        for halving in range(_HALVINGS):
            for i in range(size):
                at = _coordinate(i, skipped)
                moved[at // k, at % k] = point[at // k, at % k] + length * step[i]
            moved[0, skipped] = point[0, skipped]
            moved[0] -= log_sum_exp(moved[0])
            if halving == 0:
                # This point is mostly taken, so that its derivatives save a pass over the table.
                higher, first, second = derivatives(rows, terms, prior, moved)
            else:
                higher = log_likelihood(rows, terms, moved)
            if higher > value:
                break
            length *= 0.5 if halving == 0 else 0.25
        if not higher > value:
            break
        point[:] = moved
        if halving == 0:
            radius = min(_LONGEST_STEP, max(radius, 2.0 * length * longest))
            value, gradient, hessian = higher, first, second
        else:
            radius = length * longest
            value, gradient, hessian = derivatives(rows, terms, prior, point)
    return point, value
