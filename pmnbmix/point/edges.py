"""Onto the edges of the parameter space and off them: Poisson components, point masses, empty ones.

A climb tries an edge where the density still rises towards it, and leaves one where the density
falls towards it. Edges belong to the intercepts of the weights, means and dispersions.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled, inlined, merged
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.levels import Rows, Terms, component_table, levels_of, row_at
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.sums import log_likelihood, penalised
from pmnbmix.point.objective import held_weight, n_occupied, normalise

# Log of the excess variance, relative to Poisson, below which a dispersion is next to 0.
_TINY_EXCESS = math.log(1e-6)
# Nats by which an exact 0 may seem worse than next to 0.
_ROUNDING = 1e-9


@compiled
def intercepts(terms: Terms) -> tuple[int, int, int]:
    """Rows of the point that are the intercepts of the weights, means and dispersions."""
    of_means = terms.weights.shape[1]
    return 0, of_means, of_means + terms.means.shape[1]


@inlined
def log_largest(rows: Rows, terms: Terms, point: np.ndarray, j: int, log_exposure: float) -> float:
    """Logarithm of the largest count that a component expects of any row.

    ``log_exposure`` is that of the largest exposure.
    """
    _, mean, dispersion = intercepts(terms)
    log_mean: float = point[mean, j]
    if terms.means.shape[0] == 1 or not math.isfinite(log_mean):
        return log_mean + log_exposure
    largest = -math.inf
    for u in range(rows.exposure.size):
        total = log_mean
        for row in range(mean + 1, dispersion):
            total += terms.means[rows.level[u], row - mean] * point[row, j]
        largest = max(largest, total + math.log(rows.exposure[u]))
    return largest


@merged
def nearest_edge(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    free: np.ndarray,
    point: np.ndarray,
    value: float,
    gradient: np.ndarray,
) -> tuple[bool, np.ndarray]:
    """Point at an edge that is no lower, if the density rises towards that edge."""
    k = point.shape[1]
    weight, mean, dispersion = intercepts(terms)
    n, log_exposure = rows.frequency.sum(), math.log(rows.exposure.max())
    # Beside a held weight, some component has to be left that takes the rest.
    emptiable = n_occupied(point) > (2 if held_weight(free) >= 0 else 1)
    for j in range(k):
        if not math.isfinite(point[weight, j]):
            continue
        share = n * math.exp(point[weight, j])
        largest = log_largest(rows, terms, point, j, log_exposure)
        log_dispersion = point[dispersion, j]
        near_poisson = largest + log_dispersion < math.log(0.3)
        for row in (dispersion, mean, weight):
            slope = gradient[row * k + j]
            if not math.isfinite(point[row, j]) or free[row, j] < 0 or slope > 0.0:
                continue
            if row == dispersion:
                tried = prior.precision[row, j] == 0.0 and near_poisson
            elif slope == 0.0:
                tried = False
            elif row == mean:
                expected = share * math.exp(largest)
                tried = prior.precision[row, j] == 0.0 and expected < 0.5
            else:
                tried = emptiable and prior.exponent == 0.0 and share < 0.5
            if tried:
                moved = point.copy()
                moved[row, j] = -math.inf
                normalise(moved, free)
                if penalised(rows, terms, prior, moved) >= value:
                    return True, moved
    return False, point


@compiled
def nearly_poisson(rows: Rows, terms: Terms, prior: Prior, point: np.ndarray) -> np.ndarray:
    """Tell which dispersions without prior are so small that the density cannot tell them from 0.

    An array of the shape of the point. Gradient and curvature are in proportion to a dispersion, so
    that from here Newton sees nothing to gain in either direction.
    """
    tiny = np.zeros(point.shape, dtype=np.bool_)
    _, mean, dispersion = intercepts(terms)
    log_exposure = math.log(rows.exposure.max())
    for j in range(point.shape[1]):
        log_mean, log_dispersion = point[mean, j], point[dispersion, j]
        if prior.precision[dispersion, j] == 0.0:
            finite = math.isfinite(log_dispersion) and math.isfinite(log_mean)
            largest = log_largest(rows, terms, point, j, log_exposure)
            tiny[dispersion, j] = finite and largest + log_dispersion < _TINY_EXCESS
    return tiny


@merged
def snap(
    rows: Rows, terms: Terms, prior: Prior, point: np.ndarray, value: float
) -> tuple[float, np.ndarray]:
    """Log likelihood and point with dispersions of next to 0 at 0, if that costs nothing."""
    tiny = nearly_poisson(rows, terms, prior, point)
    if tiny.any():
        moved = point.copy()
        _, _, dispersion = intercepts(terms)
        for j in range(point.shape[1]):
            if tiny[dispersion, j]:
                moved[dispersion, j] = -math.inf
        likelihood = log_likelihood(rows, terms, moved)
        if likelihood >= value - _ROUNDING:
            return likelihood, moved
    return value, point


@merged
def release(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    free: np.ndarray,
    point: np.ndarray,
    value: float,
) -> tuple[bool, np.ndarray]:
    """Higher point inside, for a component at an edge that the density falls towards."""
    k = point.shape[1]
    _, mean, dispersion = intercepts(terms)
    at_edge = (np.isinf(point) | nearly_poisson(rows, terms, prior, point)) & (free >= 0)
    if not at_edge.any():
        return False, point
    levels = levels_of(terms, point)
    components = component_table(rows, levels)
    n = rows.frequency.sum()
    logs = np.empty(k)
    # For each component these are sums: of likelihood ratios, and over its members of the excess
    # variance and of what a unit of dispersion would add to it.
    ratios, excess, unit = np.zeros(k), np.zeros(k), np.zeros(k)
    values, exposure, frequency, _, level_of = rows
    log_weights, means, _ = levels
    for u in range(values.size):
        mean_row, weight_row = row_at(means, level_of[u]), row_at(log_weights, level_of[u])
        for j in range(k):
            logs[j] = log_weights[weight_row, j] + components[u, j]
        row = log_sum_exp(logs)
        for j in range(k):
            ratio = frequency[u] * math.exp(components[u, j] - row)
            ratios[j] += ratio
            expected = exposure[u] * means[mean_row, j]
            mass = math.exp(log_weights[weight_row, j]) * ratio
            excess[j] += mass * ((values[u] - expected) ** 2 - values[u])
            unit[j] += mass * expected**2
    held = held_weight(free)
    for j in range(k):
        for i in range(5):
            moved = point.copy()
            if at_edge[0, j]:
                # The ratios less n are the slope of the log likelihood towards this component.
                if ratios[j] <= n or i == 4:
                    break
                share = 10.0 ** -(i + 1)
                moved[0] += math.log1p(-share)
                moved[0, j] = math.log(share)
                if held >= 0:
                    moved[0, held] = point[0, held]
                normalise(moved, free)
            elif at_edge[dispersion, j] and not at_edge[mean, j]:
                if excess[j] <= 0.0:
                    break
                factor = (1.0, 0.3, 0.1, 0.01, 1e-3)[i]
                moved[dispersion, j] = math.log(factor * excess[j] / unit[j])
            else:
                break
            if penalised(rows, terms, prior, moved) > value:
                return True, moved
    return False, point
