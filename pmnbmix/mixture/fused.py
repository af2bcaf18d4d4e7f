"""The log posterior and its gradient in one pass, fast enough that NUTS costs little else.

Coordinates are those of NUTS: for each term of the weights the differences to the last component
(log ratios, for the intercept), then the free coefficients of log means and log dispersions,
Jacobian included. They give the parameters of every level; rows give derivatives at their level;
and these go back to the terms by the transposed matrices. The densities are those of
`pmnbmix.mixture.blocks`, or, if the table allows it, those of `pmnbmix.mixture.ladder`.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.blocks import (
    BLOCK,
    Block,
    Logs,
    block_of,
    block_size,
    fill_block,
    fill_remainders,
)
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.elementary import quick_exp, quick_log
from pmnbmix.mixture.kernel import LADDER, Kernel, opened
from pmnbmix.mixture.ladder import climb_ladder
from pmnbmix.mixture.levels import Rows

# This many sums are formed side by side.
LANES = 64
# Means and dispersions are kept in this range, so that their products do not overflow; near its
# lower end a dispersion pinned at 0 is Poisson to the last bit.
_LEAST, _MOST = 1e-140, 1e140
_PINNED_DISPERSION = 1e-139


@compiled
def evaluate(position: np.ndarray, gradient: np.ndarray, buffer: np.ndarray) -> float:
    """Log posterior at a position; its gradient is written into ``gradient``.

    Minus infinity if a parameter is too extreme for a number.
    """
    kernel = opened(buffer)
    size = position.size
    packed, plain = position.copy(), np.empty(size)
    if kernel.whitened:
        for i in range(size):
            packed[i] = kernel.centre[i]
            for j in range(size):
                packed[i] += kernel.root[i, j] * position[j]
    total = _log_posterior(packed, plain, kernel)
    if not math.isfinite(total):
        return -math.inf
    for j in range(size):
        gradient[j] = plain[j]
        if kernel.whitened:
            gradient[j] = 0.0
            for i in range(size):
                gradient[j] += kernel.root[i, j] * plain[i]
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
def _log_posterior(packed: np.ndarray, gradient: np.ndarray, kernel: Kernel) -> float:
    prior = kernel.prior
    of_weights, of_means = kernel.weights.shape[0], kernel.means.shape[0]
    n_terms, k = kernel.place.shape
    point = _point(packed, kernel)
    at_centre = point[0] - log_sum_exp(point[0])
    log_weights = at_centre.reshape((k, 1))
    if kernel.weights.shape[1] > 1:
        log_weights = _log_shares(_linear(kernel.weights, point[:of_weights]))
    log_means = _linear(kernel.means, point[of_weights : of_weights + of_means])
    log_dispersions = _linear(kernel.dispersions, point[of_weights + of_means :])
    by_weight = np.zeros(log_weights.shape)
    by_mean, by_dispersion = np.zeros(log_means.shape), np.zeros(log_dispersions.shape)
    total = log_likelihood(
        log_weights, log_means, log_dispersions, kernel, by_weight, by_mean, by_dispersion
    )
    for j in range(k):
        total += prior.exponent * at_centre[j]
        squares = 0.0
        for row in range(1, n_terms):
            if prior.precision[row, j] > 0.0:
                squares += prior.precision[row, j] * (point[row, j] - prior.loc[row, j]) ** 2
        total -= 0.5 * squares
    slopes = np.empty((n_terms, k))
    if log_weights.shape[1] == 1:
        # The Dirichlet prior acts like this many further observations at the only level.
        share = kernel.n + k * prior.exponent
        for j in range(k):
            members = by_weight[j, 0] + prior.exponent
            by_weight[j, 0] = members - share * math.exp(log_weights[j, 0])
    else:
        for j in range(k):
            for level in range(log_weights.shape[1]):
                by_weight[j, level] -= kernel.level_sizes[level] * quick_exp(log_weights[j, level])
    _transposed(kernel.weights, by_weight, slopes[:of_weights])
    if log_weights.shape[1] > 1:
        for j in range(k):
            slopes[0, j] += prior.exponent - k * prior.exponent * math.exp(at_centre[j])
    _transposed(kernel.means, by_mean, slopes[of_weights : of_weights + of_means])
    _transposed(kernel.dispersions, by_dispersion, slopes[of_weights + of_means :])
    gradient[:] = 0.0
    for row in range(n_terms):
        for j in range(k):
            if row > 0 and prior.precision[row, j] > 0.0:
                slopes[row, j] -= prior.precision[row, j] * (point[row, j] - prior.loc[row, j])
        # Slopes of the weights are differences from their mean: the mean derivative is taken off.
        mean = slopes[row].sum() / k if 0 < row < of_weights else 0.0
        for j in range(k):
            if kernel.place[row, j] >= 0:
                gradient[kernel.place[row, j]] += slopes[row, j] - mean
    return total


@compiled
def _point(packed: np.ndarray, kernel: Kernel) -> np.ndarray:
    """Point (n_terms, k) of a position; slopes of the weights sum to 0, not so their intercepts."""
    n_terms, k = kernel.place.shape
    of_weights = kernel.weights.shape[0]
    point = kernel.pinned.copy()
    for row in range(n_terms):
        if row < of_weights:
            point[row, k - 1] = 0.0
        for j in range(k):
            if kernel.place[row, j] >= 0:
                point[row, j] = packed[kernel.place[row, j]]
        if 0 < row < of_weights:
            point[row] -= point[row].sum() / k
    return point


@compiled
def _linear(matrix: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Linear predictors (k, L) of the coefficients (n_terms, k) of a part."""
    (n_terms, n_levels), k = matrix.shape, coefficients.shape[1]
    out = np.empty((k, n_levels))
    # Levels are walked in blocks that stay in the first cache while all their terms are added.
    for first in range(0, n_levels, BLOCK):
        stop = min(first + BLOCK, n_levels)
        for j in range(k):
            part = out[j][first:stop]
            part[:] = coefficients[0, j]
            for term in range(1, n_terms - 1, 2):
                _add_scaled(
                    matrix[term][first:stop],
                    coefficients[term, j],
                    matrix[term + 1][first:stop],
                    coefficients[term + 1, j],
                    part,
                )
            if n_terms % 2 == 0:
                last = matrix[n_terms - 1][first:stop]
                _add_scaled(last, coefficients[n_terms - 1, j], last, 0.0, part)
    return out


@compiled
def _add_scaled(
    one: np.ndarray, by_one: float, other: np.ndarray, by_other: float, out: np.ndarray
) -> None:
    for u in range(out.size):
        out[u] += by_one * one[u] + by_other * other[u]


@compiled
def _transposed(matrix: np.ndarray, by_level: np.ndarray, slopes: np.ndarray) -> None:
    """Fill the derivatives (n_terms, k) by coefficients from those (k, L) by level."""
    n_terms, n_levels = matrix.shape
    k = by_level.shape[0]
    if n_levels == 1:
        slopes[0] = by_level[:, 0]
        return
    # Several sums are formed side by side, because the processor can carry them out at once.
    sums = np.zeros((n_terms, k, LANES))
    slopes[:] = 0.0
    for first in range(0, n_levels, 4 * LANES):
        stop = min(first + 4 * LANES, n_levels)
        for term in range(n_terms):
            for j in range(k):
                row, slope = matrix[term][first:stop], by_level[j][first:stop]
                if row.size == 4 * LANES:
                    _add_products(row, slope, sums[term, j])
                else:
                    for u in range(row.size):
                        slopes[term, j] += row[u] * slope[u]
    for term in range(n_terms):
        for j in range(k):
            slopes[term, j] += sums[term, j].sum()


@compiled
def _add_products(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Add the products of four times as many numbers as there are sums."""
    for u in range(LANES):
        v, w, x = u + LANES, u + 2 * LANES, u + 3 * LANES
        out[u] += (a[u] * b[u] + a[v] * b[v]) + (a[w] * b[w] + a[x] * b[x])


@compiled
def log_likelihood(
    log_weights: np.ndarray,
    log_means: np.ndarray,
    log_dispersions: np.ndarray,
    kernel: Kernel,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
) -> float:
    """Log likelihood of the table of a kernel, from the parameters of its levels.

    The first three are (k, levels of the part). Derivatives by log weight (each on its own), log
    mean and log dispersion of each level are added to the last three, which are 0 on entry. Minus
    infinity if a parameter is too extreme for a number.
    """
    k = log_weights.shape[0]
    means, dispersions = _exp(log_means), _exp(log_dispersions)
    for j in range(k):
        for level in range(dispersions.shape[1]):
            if math.isinf(log_dispersions[j, level]) and log_dispersions[j, level] < 0.0:
                dispersions[j, level] = _PINNED_DISPERSION
            if not _LEAST < dispersions[j, level] < _MOST:
                return -math.inf
    # Means outside the range are counted, since a loop that stops early runs one number at a time.
    outside = 0
    for j in range(k):
        outside += _count_outside(means[j])
    if outside:
        return -math.inf
    rungs = kernel.grid.size
    if kernel.form == LADDER:
        sums = np.empty((k, 3))
        total = climb_ladder(
            log_weights[:, 0].copy(),
            means[:, 0] * kernel.exposure,
            dispersions[:, 0].copy(),
            kernel.grid,
            kernel.inverse,
            kernel.work[: 2 * (k + 1) * rungs],
            sums,
        )
        if not math.isnan(total):
            for j in range(k):
                by_weight[j, 0], by_mean[j, 0], by_dispersion[j, 0] = sums[j]
            return total
    rows, runs = kernel.rows, kernel.runs
    size = 2 * k * runs.distinct.size
    remainders = kernel.work[:size].reshape((k, 2, runs.distinct.size))
    block = block_of(kernel.work[size : size + block_size(k)], k)
    inv_disps = 1.0 / dispersions
    fill_remainders(runs, means, inv_disps, remainders)
    logs = Logs(kernel.log_exposure, log_means)
    sums = np.zeros((2, k, BLOCK))
    total = 0.0
    run = 0
    for first in range(0, rows.values.size, BLOCK):
        stop = min(first + BLOCK, rows.values.size)
        run = fill_block(
            rows, runs, first, stop, run, log_weights, means, inv_disps, remainders, logs, block
        )
        for u in range(stop - first):
            total += rows.frequency[first + u] * (block.log_mass[u] - rows.constants[first + u])
        for j in range(k):
            if means.shape[1] > 1:
                _add_levels(rows, first, stop, block, j, by_weight, by_mean, by_dispersion, sums)
            else:
                _add_rows(stop - first, block, j, by_weight[j], by_mean[j], by_dispersion[j])
    for j in range(k):
        if by_weight.shape[1] == 1:
            by_weight[j, 0] += sums[0, j].sum()
        if by_dispersion.shape[1] == 1:
            by_dispersion[j, 0] += sums[1, j].sum()
    return total


@compiled
def _exp(logs: np.ndarray) -> np.ndarray:
    """Exponentials of (k, L) logarithms; many of them as vector instructions."""
    if logs.shape[1] == 1:
        return np.exp(logs)
    out = np.empty(logs.shape)
    for j in range(logs.shape[0]):
        row, made = logs[j], out[j]
        for level in range(row.size):
            made[level] = quick_exp(min(row[level], 700.0))
    return out


@compiled
def _log_shares(logits: np.ndarray) -> np.ndarray:
    """Log weights of the logits (k, L) of every level."""
    largest, total = logits[0].copy(), np.zeros(logits.shape[1])
    for j in range(1, logits.shape[0]):
        largest = np.maximum(largest, logits[j])
    for j in range(logits.shape[0]):
        row = logits[j]
        for level in range(row.size):
            total[level] += quick_exp(row[level] - largest[level])
    for level in range(total.size):
        total[level] = largest[level] + quick_log(total[level])
    return logits - total


@compiled
def _count_outside(means: np.ndarray) -> int:
    outside = 0
    for level in range(means.size):
        outside += 0 if _LEAST < means[level] < _MOST else 1
    return outside


@compiled
def _add_rows(
    size: int,
    block: Block,
    j: int,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
) -> None:
    """Add the rows of a block to the derivatives of a component, at the only level."""
    members, tilted, sloped = by_weight[0], by_mean[0], by_dispersion[0]
    mass, density = block.mass, block.density[j]
    tilt, slope = block.by_mean[j], block.by_dispersion[j]
    for u in range(size):
        z = mass[u] * density[u]
        members += z
        tilted += z * tilt[u]
        sloped += z * slope[u]
    by_weight[0], by_mean[0], by_dispersion[0] = members, tilted, sloped


@compiled
def _add_levels(
    rows: Rows,
    first: int,
    stop: int,
    block: Block,
    j: int,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
    sums: np.ndarray,
) -> None:
    """`_add_rows` at every level; parts of one level go to ``sums`` (2, k, BLOCK), side by side."""
    size = stop - first
    level = rows.level[first:stop]
    mass, density = block.mass[:size], block.density[j][:size]
    tilt, slope = block.by_mean[j][:size], block.by_dispersion[j][:size]
    _take_shares(mass, density, slope, tilt)
    if by_weight.shape[1] > 1:
        _scatter(density, level, by_weight[j])
    else:
        _add(density, sums[0, j])
    if by_dispersion.shape[1] > 1:
        _scatter(slope, level, by_dispersion[j])
    else:
        _add(slope, sums[1, j])
    _scatter(tilt, level, by_mean[j])


@compiled
def _take_shares(
    mass: np.ndarray, density: np.ndarray, slope: np.ndarray, tilt: np.ndarray
) -> None:
    """Make responsibilities of the densities, and of the slopes their share, in place."""
    for u in range(mass.size):
        held = mass[u] * density[u]
        density[u] = held
        slope[u] *= held
        tilt[u] *= held


@compiled
def _add(a: np.ndarray, out: np.ndarray) -> None:
    for u in range(a.size):
        out[u] += a[u]


@compiled
def _scatter(a: np.ndarray, level: np.ndarray, out: np.ndarray) -> None:
    for u in range(a.size):
        out[level[u]] += a[u]
