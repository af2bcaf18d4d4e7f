"""The log posterior and its gradient in one pass, fast enough that NUTS costs little else.

Coordinates are those of NUTS: (log ratios of the first k - 1 weights to the last, log means, log
dispersions), Jacobian included. Two forms are chosen from by the table:

- *ladder*: without exposures and with small counts, the density climbs from x to x + 1 by one
  multiplication, so that no logarithm or exponential of a component is taken at all;
- *rows*: with r the inverse dispersion, m the mean and t = (x - m) / (r + m), the log density of a
  count x is up to a constant

      (r + x) log(1 + t) + x log(m / x) + h(x, r)

  where nothing larger than the distance of x from m cancels, near Poisson or elsewhere; h, what is
  left of the gamma functions, is Stirling's series once for each distinct count.

Neither calls a function of the C library in a loop over the rows, so that both run as vector
instructions.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.elementary import quick_exp, quick_log, quick_log1p
from pmnbmix.mixture.special import (
    digamma_excess,
    digamma_series,
    log1pmx,
    stirling_remainder,
    stirling_series,
)

LADDER, ROWS = range(2)
# Values below this are summed one by one; from here on Stirling's series is exact.
_SUMMED = 16
# A density below this has lost digits to underflow.
_TINIEST = 1e-280
# Least ratio of which a logarithm is taken; it is multiplied by no more than the ratio itself.
_LEAST_RATIO = 1e-300
# Of the header: number of components, form, rows, distinct values, rungs of the ladder, whether the
# coordinates are whitened, exposure of the first row, number of observations, five prior numbers,
# length of the whole.
HEADER = 14


@compiled
def evaluate(position: np.ndarray, gradient: np.ndarray, buffer: np.ndarray) -> float:
    """Log posterior at a position; its gradient is written into ``gradient``.

    Minus infinity where a parameter is too extreme for a number.
    """
    size = position.size
    whitened = buffer[5] != 0.0
    root = buffer[HEADER + size : HEADER + size + size * size].reshape((size, size))
    packed, plain = position.copy(), np.empty(size)
    if whitened:
        for i in range(size):
            packed[i] = buffer[HEADER + i]
            for j in range(size):
                packed[i] += root[i, j] * position[j]
    total = _log_posterior(packed, plain, buffer)
    if not math.isfinite(total):
        return -math.inf
    for j in range(size):
        gradient[j] = plain[j]
        if whitened:
            gradient[j] = 0.0
            for i in range(size):
                gradient[j] += root[i, j] * plain[i]
    return total


@compiled
def evaluate_many(positions: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """Log posterior at every row of positions."""
    out = np.empty(positions.shape[0])
    gradient = np.empty(positions.shape[1])
    for i in range(positions.shape[0]):
        out[i] = evaluate(positions[i], gradient, buffer)
    return out


@compiled
def _log_posterior(packed: np.ndarray, gradient: np.ndarray, buffer: np.ndarray) -> float:
    k = int(buffer[0])
    prior = buffer[8:13]
    logits = np.zeros(k)
    logits[: k - 1] = packed[: k - 1]
    log_weights = logits - log_sum_exp(logits)
    sums = np.empty((k, 3))
    total = log_likelihood(
        log_weights, packed[k - 1 : 2 * k - 1], packed[2 * k - 1 :], buffer, sums
    )
    n = buffer[7]
    for j in range(k):
        total += prior[0] * log_weights[j]
        if j < k - 1:
            gradient[j] = sums[j, 0] + prior[0] - (n + k * prior[0]) * math.exp(log_weights[j])
        by_mean = (packed[k - 1 + j] - prior[1]) / prior[2]
        by_dispersion = (packed[2 * k - 1 + j] - prior[3]) / prior[4]
        total -= 0.5 * (by_mean * by_mean + by_dispersion * by_dispersion)
        gradient[k - 1 + j] = sums[j, 1] - by_mean / prior[2]
        gradient[2 * k - 1 + j] = sums[j, 2] - by_dispersion / prior[4]
    return total


@compiled
def log_likelihood(
    log_weights: np.ndarray,
    log_means: np.ndarray,
    log_dispersions: np.ndarray,
    buffer: np.ndarray,
    sums: np.ndarray,
) -> float:
    """Log likelihood of the table of a target.

    Its derivatives by log weight (each on its own), log mean and log dispersion are the columns of
    ``sums`` (k, 3). Minus infinity where a parameter is too extreme for a number.
    """
    k, form, length = int(buffer[0]), int(buffer[1]), int(buffer[2])
    n_values, rungs = int(buffer[3]), int(buffer[4])
    size = 3 * k - 1
    data = buffer[HEADER + size + size * size :]
    values, exposure = data[:length], data[length : 2 * length]
    frequency, constants = data[2 * length : 3 * length], data[3 * length : 4 * length]
    means, dispersions = np.exp(log_means), np.exp(log_dispersions)
    for j in range(k):
        # with room to be multiplied
        if not (1e-140 < means[j] < 1e140 and 1e-140 < dispersions[j] < 1e140):
            return -math.inf
    rest = data[4 * length :]
    distinct, starts = rest[:n_values], rest[n_values : 2 * n_values + 1]
    rest = rest[2 * n_values + 1 :]
    grid, inverse = rest[:rungs], rest[rungs : 2 * rungs]
    work = rest[2 * rungs :]
    if form == LADDER:
        total = _ladder(
            log_weights,
            means * buffer[6],
            dispersions,
            grid,
            inverse,
            work[: 2 * (k + 1) * rungs],
            sums,
        )
        if not math.isnan(total):
            return total
    blocks = work[: (3 * k + 2) * length].reshape((3 * k + 2, length))
    rest = work[(3 * k + 2) * length :]
    per_value = rest[: 2 * n_values].reshape((2, n_values))
    rows = (values, exposure, distinct, starts)
    fill_blocks(rows, frequency, log_weights, means, 1.0 / dispersions, blocks, per_value)
    log_mass, mass = blocks[3 * k], blocks[3 * k + 1]
    total = 0.0
    for u in range(length):
        total += frequency[u] * (log_mass[u] - constants[u])
    for j in range(k):
        _add_rows(mass, blocks[j], blocks[2 * k + j], blocks[k + j], sums[j])
    return total


@compiled
def fill_blocks(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    frequency: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    blocks: np.ndarray,
    per_value: np.ndarray,
) -> None:
    """Densities of all rows under all components, with what makes sums and derivatives of them.

    ``rows`` holds values, exposure, distinct values, and where the rows of each of those begin.
    Into ``blocks`` (3k + 2, n) go densities relative to the largest of the row (k), derivatives in
    log dispersion (k) and log mean (k), log densities of the mixture without `count_constants`, and
    frequency over the sum of the first k. ``per_value`` (2, n_values) is room to work in.
    """
    values, exposure, distinct, starts = rows
    k = means.size
    for j in range(k):
        density, slope, tilt = blocks[j], blocks[k + j], blocks[2 * k + j]
        _remainders(distinct, inv_disps[j], per_value[0], per_value[1])
        _spread(starts, per_value[0], per_value[1], density, slope)
        _fill_rows(log_weights[j], means[j], inv_disps[j], values, exposure, density, slope, tilt)
    _mix(blocks[:k], frequency, blocks[3 * k], blocks[3 * k + 1])


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
def _collect(
    mean: float,
    dispersion: float,
    members: float,
    counted: float,
    climbed: float,
    sums: np.ndarray,
) -> None:
    """Gradient of a component from the sums over its z, z x and z sum_{j<x} (j p / (1 + j p))."""
    _, gap, share, shrunk = _constants(mean, dispersion)
    sums[0] = members
    sums[1] = (counted - mean * members) * shrunk
    sums[2] = climbed - counted * share + members * gap


@compiled
def _ladder(
    log_weights: np.ndarray,
    means: np.ndarray,
    dispersions: np.ndarray,
    frequency: np.ndarray,
    inverse: np.ndarray,
    work: np.ndarray,
    sums: np.ndarray,
) -> float:
    """Log likelihood from densities multiplied up from 0; NaN where one of them underflows."""
    k, rungs = means.size, frequency.size
    blocks = work.reshape((2 * (k + 1), rungs))
    mass, log_mass = blocks[2 * k], blocks[2 * k + 1]
    mass[:] = 0.0
    for j in range(k):
        start, _, _, shrunk = _constants(means[j], dispersions[j])
        if not start - log_weights[j] < 600.0:
            return math.nan
        density, climbed = blocks[j], blocks[k + j]
        p, factor = dispersions[j], means[j] * shrunk
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
        _collect(means[j], dispersions[j], members, counted, climbed_sum, sums[j])
    return total


@compiled
def _remainders(values: np.ndarray, r: float, out: np.ndarray, slope: np.ndarray) -> None:
    """Fill h(x, r) and its derivative in the log dispersion, for ascending distinct counts x.

    Both are differences of Stirling's remainders of r + x and r. From 16 on the series is exact
    whatever r; below, they are what is left of the sums over j < x that they stand for.
    """
    log_sum, slope_sum = 0.0, 0.0
    u = 0
    for x in range(_SUMMED):
        if u < values.size and values[u] == x:
            growth = math.log1p(x / r)
            out[u] = log_sum - ((r + x) * growth - x)
            slope[u] = slope_sum - (x - r * growth)
            u += 1
        log_sum += math.log1p(x / r)
        slope_sum += x / (r + x)
    _series(values[u:], r, stirling_remainder(r), digamma_excess(r), out[u:], slope[u:])


@compiled
def _series(
    values: np.ndarray,
    r: float,
    remainder: float,
    excess: float,
    out: np.ndarray,
    slope: np.ndarray,
) -> None:
    for i in range(values.size):
        v = 1.0 / (r + values[i])
        out[i] = (stirling_series(v) - remainder) - 0.5 * quick_log1p(values[i] / r)
        slope[i] = -r * (digamma_series(v) - excess)


@compiled
def _spread(
    starts: np.ndarray,
    remainder: np.ndarray,
    remainder_slope: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Give what belongs to a distinct count to each of its rows."""
    for i in range(remainder.size):
        for u in range(int(starts[i]), int(starts[i + 1])):
            out[u], slope[u] = remainder[i], remainder_slope[i]


@compiled
def _fill_rows(
    log_weight: float,
    mean: float,
    r: float,
    values: np.ndarray,
    exposure: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
    tilt: np.ndarray,
) -> None:
    """Weighted log density of the rows, and its derivatives in log dispersion and log mean.

    Without what depends on the row only. On entry ``out`` and ``slope`` hold the remainders.
    """
    for u in range(values.size):
        x, m = values[u], exposure[u] * mean
        gap = x - m
        t = gap / (r + m)
        ratio = max((r + x) / (r + m), _LEAST_RATIO)
        # near 1 the logarithm of the ratio is the gap, of which t has all digits
        growth = quick_log(ratio) + ((t - (ratio - 1.0)) / ratio if t > -0.5 else 0.0)
        # for x = 0 the logarithm is multiplied by 0
        least = max(x, 1.0)
        quotient = m / least
        near = quotient > 0.5 and x > 0.0
        share = quick_log(quotient) + (
            (-gap / least - (quotient - 1.0)) / quotient if near else 0.0
        )
        out[u] += log_weight + (r + x) * growth + x * share
        slope[u] -= r * (growth - t)
        tilt[u] = r * t


@compiled
def _add_rows(
    mass: np.ndarray, density: np.ndarray, tilt: np.ndarray, slope: np.ndarray, sums: np.ndarray
) -> None:
    members, by_mean, by_dispersion = 0.0, 0.0, 0.0
    for u in range(mass.size):
        z = mass[u] * density[u]
        members += z
        by_mean += z * tilt[u]
        by_dispersion += z * slope[u]
    sums[0], sums[1], sums[2] = members, by_mean, by_dispersion


@compiled
def _mix(terms: np.ndarray, frequency: np.ndarray, log_mass: np.ndarray, mass: np.ndarray) -> None:
    """Turn weighted log densities (k, n) into densities relative to the largest of each row.

    Fills their log sums (n,), and frequency over sum (n,), which make responsibilities of them.
    """
    k, n = terms.shape
    log_mass[:] = terms[0]
    for j in range(1, k):
        _raise_to(log_mass, terms[j])
    mass[:] = 0.0
    for j in range(k):
        _add_exponentials(terms[j], log_mass, mass)
    for u in range(n):
        log_mass[u] += quick_log(mass[u])
        mass[u] = frequency[u] / mass[u]


@compiled
def _raise_to(largest: np.ndarray, row: np.ndarray) -> None:
    for u in range(row.size):
        largest[u] = max(largest[u], row[u])


@compiled
def _add_exponentials(row: np.ndarray, largest: np.ndarray, mass: np.ndarray) -> None:
    for u in range(row.size):
        row[u] = quick_exp(row[u] - largest[u])
        mass[u] += row[u]
