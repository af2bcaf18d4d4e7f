"""Onto the edges of the parameter space and off them: Poisson components, point masses, empty ones.

A climb tries an edge where the density still rises towards it, and leaves one where the density
falls towards it. Coordinates and the held one are those of `pmnbmix.point.newton`.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.density import component_table, log_sum_exp
from pmnbmix.point.objective import TableArrays, log_likelihood, normalise, penalised

# Log of the excess variance, relative to Poisson, below which a dispersion is next to 0.
_TINY_EXCESS = math.log(1e-6)
# Nats by which an exact 0 may seem worse than next to 0.
_ROUNDING = 1e-9


@compiled
def nearest_edge(
    arrays: TableArrays,
    prior: np.ndarray,
    equal_weights: bool,
    point: np.ndarray,
    value: float,
    gradient: np.ndarray,
    held: int,
) -> tuple[bool, np.ndarray]:
    """Point at an edge that is no lower, where the density rises towards that edge."""
    k = point.shape[1]
    largest = arrays[1].max()
    n = arrays[2].sum()
    # beside a held weight some component has to be left that takes the rest
    emptiable = np.isfinite(point[0]).sum() > (2 if 0 <= held < k else 1)
    for j in range(k):
        if not math.isfinite(point[0, j]):
            continue
        share = n * math.exp(point[0, j])
        inside = (
            math.isfinite(point[0, j]),
            math.isfinite(point[1, j]),
            math.isfinite(point[2, j]),
        )
        near_poisson = point[1, j] + point[2, j] + math.log(largest) < math.log(0.3)
        for row in (2, 1, 0):
            if not inside[row] or held == row * k + j or gradient[row * k + j] > 0.0:
                continue
            if row == 2:
                tried = prior[4] == 0.0 and near_poisson
            elif gradient[row * k + j] == 0.0:
                tried = False
            elif row == 1:
                tried = prior[2] == 0.0 and share * math.exp(point[1, j]) * largest < 0.5
            else:
                tried = emptiable and not equal_weights and prior[0] == 0.0 and share < 0.5
            if tried:
                moved = point.copy()
                moved[row, j] = -math.inf
                normalise(moved, equal_weights, held)
                if penalised(arrays, prior, moved) >= value:
                    return True, moved
    return False, point


@compiled
def nearly_poisson(arrays: TableArrays, prior: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where a dispersion without prior is so small that the density cannot tell it from 0, (3, k).

    Gradient and curvature are in proportion to a dispersion, so that from here Newton sees nothing
    to gain in either direction.
    """
    tiny = np.zeros(point.shape, dtype=np.bool_)
    if prior[4] == 0.0:
        largest = math.log(arrays[1].max())
        for j in range(point.shape[1]):
            finite = math.isfinite(point[2, j]) and math.isfinite(point[1, j])
            tiny[2, j] = finite and point[1, j] + point[2, j] + largest < _TINY_EXCESS
    return tiny


@compiled
def snap(
    arrays: TableArrays, prior: np.ndarray, point: np.ndarray, value: float
) -> tuple[float, np.ndarray]:
    """Log likelihood and point with dispersions of next to 0 at 0, where that costs nothing."""
    tiny = nearly_poisson(arrays, prior, point)
    if tiny.any():
        moved = point.copy()
        for j in range(point.shape[1]):
            if tiny[2, j]:
                moved[2, j] = -math.inf
        likelihood = log_likelihood(arrays, moved)
        if likelihood >= value - _ROUNDING:
            return likelihood, moved
    return value, point


@compiled
def release(
    arrays: TableArrays,
    prior: np.ndarray,
    equal_weights: bool,
    point: np.ndarray,
    value: float,
    held: int,
) -> tuple[bool, np.ndarray]:
    """Higher point inside, for a component at an edge that the density falls towards."""
    k = point.shape[1]
    at_edge = np.isinf(point) | nearly_poisson(arrays, prior, point)
    if held >= 0:
        at_edge[held // k, held % k] = False
    if not at_edge.any():
        return False, point
    values, exposure, frequency, _ = arrays
    means = np.exp(point[1])
    components = component_table(values, exposure, means, np.exp(-point[2]))
    n = frequency.sum()
    terms = np.empty(k)
    # for each component: sum of likelihood ratios; and over its members, of the excess variance
    # and of what a unit of dispersion would add to it
    ratios, excess, unit = np.zeros(k), np.zeros(k), np.zeros(k)
    for u in range(values.size):
        for j in range(k):
            terms[j] = point[0, j] + components[u, j]
        row = log_sum_exp(terms)
        for j in range(k):
            ratio = frequency[u] * math.exp(components[u, j] - row)
            ratios[j] += ratio
            expected = exposure[u] * means[j]
            mass = math.exp(point[0, j]) * ratio
            excess[j] += mass * ((values[u] - expected) ** 2 - values[u])
            unit[j] += mass * expected**2
    for j in range(k):
        for i in range(5):
            moved = point.copy()
            if at_edge[0, j]:
                # the directional derivative of the log likelihood towards this component
                if ratios[j] <= n or i == 4:
                    break
                share = 10.0 ** -(i + 1)
                moved[0] += math.log1p(-share)
                moved[0, j] = math.log(share)
                if 0 <= held < k:
                    moved[0, held] = point[0, held]
                normalise(moved, equal_weights, held)
            elif at_edge[2, j] and not at_edge[1, j]:
                if excess[j] <= 0.0:
                    break
                factor = (1.0, 0.3, 0.1, 0.01, 1e-3)[i]
                moved[2, j] = math.log(factor * excess[j] / unit[j])
            else:
                break
            if penalised(arrays, prior, moved) > value:
                return True, moved
    return False, point
