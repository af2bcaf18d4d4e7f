"""The log likelihood by a climb: from a count to the next by one multiplication.

Without exposures, covariates or large counts no logarithm or exponential of a component is taken.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.elementary import quick_log
from pmnbmix.mixture.special import log1pmx

# A density below this has lost digits because it underflows.
_TINIEST = 1e-280


@compiled
def climb_ladder(
    log_weights: np.ndarray,
    means: np.ndarray,
    exposure: float,
    dispersions: np.ndarray,
    frequency: np.ndarray,
    inverse: np.ndarray,
    work: np.ndarray,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
) -> float:
    """Log likelihood from densities multiplied up from 0; NaN if one of them underflows.

    Derivatives by log weight, log mean and log dispersion of each component fill the last three.
    """
    k, rungs = means.size, frequency.size
    blocks = work[: 2 * (k + 1) * rungs].reshape((2 * (k + 1), rungs))
    mass, log_mass = blocks[2 * k], blocks[2 * k + 1]
    mass[:] = 0.0
    for j in range(k):
        mean, p = exposure * means[j], dispersions[j]
        start, _, _, shrunk = _constants(mean, p)
        if not start - log_weights[j] < 600.0:
            return math.nan
        density, climbed = blocks[j], blocks[k + j]
        factor = mean * shrunk
        for x in range(rungs):
            climbed[x] = 1.0 + x * p
            density[x] = factor * climbed[x] * inverse[x]
            climbed[x] = x * p / climbed[x]
        value, steps = math.exp(log_weights[j] - start), 0.0
        for x in range(rungs):
            grown, step = density[x], climbed[x]
            density[x], climbed[x] = value, steps
            value *= grown
            steps += step
        for x in range(rungs):
            mass[x] += density[x]
    for x in range(rungs):
        log_mass[x] = quick_log(max(mass[x], _TINIEST))
    total = 0.0
    for x in range(rungs):
        if frequency[x] > 0.0:
            if not _TINIEST < mass[x] < math.inf:
                return math.nan
            total += frequency[x] * log_mass[x]
        mass[x] = frequency[x] / max(mass[x], _TINIEST)
    for j in range(k):
        density, climbed = blocks[j], blocks[k + j]
        members, counted, climbed_sum = 0.0, 0.0, 0.0
        for x in range(rungs):
            z = mass[x] * density[x]
            members += z
            counted += z * x
            climbed_sum += z * climbed[x]
        by_weight[j] = members
        by_mean[j], by_dispersion[j] = _slopes(
            exposure * means[j], dispersions[j], members, counted, climbed_sum
        )
    return total


@compiled
def _constants(mean: float, dispersion: float) -> tuple[float, float, float, float]:
    """``log(1 + t) / p``, ``log(1 + t) / p - m / (1 + t)``, ``t / (1 + t)`` and ``1 / (1 + t)``.

    t is m p.
    """
    t = mean * dispersion
    shrunk = 1.0 / (1.0 + t)
    share = t * shrunk if t < 1e300 else 1.0
    if t < 0.3:
        # (log(1 + t) - t) / p + m t / (1 + t): both of the size of m t
        excess = log1pmx(t) / dispersion
        return mean + excess, excess + mean * share, share, shrunk
    start = math.log1p(t) / dispersion
    return start, start - share / dispersion, share, shrunk


@compiled
def _slopes(
    mean: float, dispersion: float, members: float, counted: float, climbed: float
) -> tuple[float, float]:
    """Derivatives of a component by log mean and log dispersion.

    From the sums over its z, z x and z sum_{j<x} (j p / (1 + j p)).
    """
    _, gap, share, shrunk = _constants(mean, dispersion)
    return (counted - mean * members) * shrunk, climbed - counted * share + members * gap
