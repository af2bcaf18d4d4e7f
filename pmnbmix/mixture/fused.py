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

from pmnbmix.compiled import compiled, inlined, merged
from pmnbmix.mixture.blocks import (
    BLOCK,
    Block,
    Logs,
    block_of,
    block_size,
    fill_block,
    fill_remainders,
    raise_to,
)
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.elementary import quick_exp, quick_log
from pmnbmix.mixture.kernel import LADDER, Kernel, opened, opened_map
from pmnbmix.mixture.ladder import climb_ladder

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
    size = position.size
    whitened, centre, root = opened_map(buffer)
    packed, plain = position.copy(), np.empty(size)
    if whitened:
        for i in range(size):
            packed[i] = centre[i]
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


@merged
def _log_posterior(packed: np.ndarray, gradient: np.ndarray, buffer: np.ndarray) -> float:
    kernel = opened(buffer)
    prior, room = kernel.prior, kernel.room
    point, slopes = room.point, room.slopes
    by_weight, log_weights = room.by_weight, room.log_weights
    of_weights, of_means = kernel.weights.shape[0], kernel.means.shape[0]
    n_terms, k = kernel.place.shape
    _fill_point(packed, kernel.place, kernel.pinned, of_weights, point)
    _fill_linear(kernel.weights, point[:of_weights], log_weights)
    _fill_linear(kernel.means, point[of_weights : of_weights + of_means], room.log_means)
    _fill_linear(kernel.dispersions, point[of_weights + of_means :], room.log_dispersions)
    to_centre = log_sum_exp(point[0])
    if log_weights.shape[1] == 1:
        for j in range(k):
            log_weights[j, 0] -= to_centre
    else:
        _normalise(log_weights)
    total = log_likelihood(
        log_weights,
        room.log_means,
        room.log_dispersions,
        buffer,
        by_weight,
        room.by_mean,
        room.by_dispersion,
    )
    for j in range(k):
        total += prior.exponent * (point[0, j] - to_centre)
        squares = 0.0
        for row in range(1, n_terms):
            if prior.precision[row, j] > 0.0:
                squares += prior.precision[row, j] * (point[row, j] - prior.loc[row, j]) ** 2
        total -= 0.5 * squares
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
            at_centre = point[0, j] - to_centre
            slopes[0, j] += prior.exponent - k * prior.exponent * math.exp(at_centre)
    _transposed(kernel.means, room.by_mean, slopes[of_weights : of_weights + of_means])
    _transposed(kernel.dispersions, room.by_dispersion, slopes[of_weights + of_means :])
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
def _fill_point(
    packed: np.ndarray, place: np.ndarray, pinned: np.ndarray, of_weights: int, point: np.ndarray
) -> None:
    """Fill the point (n_terms, k) of a position; slopes of the weights sum to 0 over components."""
    n_terms, k = place.shape
    for row in range(n_terms):
        for j in range(k):
            last = row < of_weights and j == k - 1
            point[row, j] = 0.0 if last else pinned[row, j]
            if place[row, j] >= 0:
                point[row, j] = packed[place[row, j]]
        if 0 < row < of_weights:
            mean = point[row].sum() / k
            for j in range(k):
                point[row, j] -= mean


@compiled
def _fill_linear(matrix: np.ndarray, coefficients: np.ndarray, out: np.ndarray) -> None:
    """Fill linear predictors (k, L) of the coefficients (n_terms, k) of a part."""
    (n_terms, n_levels), k = matrix.shape, coefficients.shape[1]
    if n_levels == 1:
        for j in range(k):
            out[j, 0] = coefficients[0, j]
        return
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
        for j in range(k):
            slopes[0, j] = by_level[j, 0]
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
    buffer: np.ndarray,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
) -> float:
    """Log likelihood of the table of a buffer, from the parameters of its levels.

    The first three are (k, levels of the part). Derivatives by log weight (each on its own), log
    mean and log dispersion of each level fill the last three. Minus infinity if a parameter is too
    extreme for a number.
    """
    kernel = opened(buffer)
    k = log_weights.shape[0]
    means, dispersions = kernel.room.means, kernel.room.dispersions
    _fill_exp(log_means, means)
    _fill_exp(log_dispersions, dispersions)
    # Numbers outside the range are counted, since a loop that stops early runs one at a time.
    outside = 0
    for j in range(k):
        for level in range(dispersions.shape[1]):
            if log_dispersions[j, level] == -math.inf:
                dispersions[j, level] = _PINNED_DISPERSION
        outside += _count_outside(means[j]) + _count_outside(dispersions[j])
    if outside:
        return -math.inf
    if kernel.form == LADDER:
        total = climb_ladder(
            log_weights[:, 0],
            means[:, 0],
            kernel.exposure,
            dispersions[:, 0],
            kernel.grid,
            kernel.inverse,
            kernel.work,
            by_weight[:, 0],
            by_mean[:, 0],
            by_dispersion[:, 0],
        )
        if not math.isnan(total):
            return total
    for j in range(k):
        for level in range(dispersions.shape[1]):
            dispersions[j, level] = 1.0 / dispersions[j, level]
    return _walk_rows(
        log_weights, log_means, means, dispersions, kernel, by_weight, by_mean, by_dispersion
    )


@inlined
def _walk_rows(
    log_weights: np.ndarray,
    log_means: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    kernel: Kernel,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
) -> float:
    """`log_likelihood` row by row, if no ladder can be climbed."""
    k = log_weights.shape[0]
    rows, runs = kernel.rows, kernel.runs
    size = 2 * k * runs.distinct.size
    remainders = kernel.work[:size].reshape((k, 2, runs.distinct.size))
    block = block_of(kernel.work[size : size + block_size(k)], k)
    fill_remainders(runs, means, inv_disps, remainders)
    logs = Logs(kernel.log_exposure, log_means)
    one_level = log_weights.shape[1] * means.shape[1] * inv_disps.shape[1] == 1
    by_weight[:], by_mean[:], by_dispersion[:] = 0.0, 0.0, 0.0
    room = kernel.work[size + block_size(k) :][: 0 if one_level else 3 * k * BLOCK]
    room[:] = 0.0
    lanes = room.reshape((3, k, room.size // (3 * k)))
    total = 0.0
    run = runs.starts[0]
    for first in range(0, rows.values.size, BLOCK):
        stop = min(first + BLOCK, rows.values.size)
        run = fill_block(
            rows, runs, first, stop, run, log_weights, means, inv_disps, remainders, logs, block
        )
        for u in range(stop - first):
            total += rows.frequency[first + u] * (block.log_mass[u] - rows.constants[first + u])
        for j in range(k):
            if one_level:
                _add_rows(stop - first, block, j, by_weight[j], by_mean[j], by_dispersion[j])
            else:
                level = rows.level[first:stop]
                _add_levels(
                    level, block, j, by_weight[j], by_mean[j], by_dispersion[j], lanes[:, j]
                )
    if not one_level:
        for j in range(k):
            for i, out in enumerate((by_weight[j], by_mean[j], by_dispersion[j])):
                if out.size == 1:
                    out[0] = lanes[i, j].sum()
    return total


@inlined
def _fill_exp(logs: np.ndarray, out: np.ndarray) -> None:
    """Exponentials of (k, L) logarithms; many of them as vector instructions."""
    for j in range(logs.shape[0]):
        if logs.shape[1] == 1:
            out[j, 0] = math.exp(logs[j, 0])
        else:
            _fill_quick_exp(logs[j], out[j])


@compiled
def _fill_quick_exp(logs: np.ndarray, out: np.ndarray) -> None:
    for level in range(logs.size):
        out[level] = quick_exp(min(logs[level], 700.0))


@compiled
def _normalise(logits: np.ndarray) -> None:
    """Make log weights of the logits (k, L) of every level, in place."""
    largest, total = logits[0].copy(), np.zeros(logits.shape[1])
    for j in range(1, logits.shape[0]):
        raise_to(largest, logits[j])
    for j in range(logits.shape[0]):
        row = logits[j]
        for level in range(row.size):
            total[level] += quick_exp(row[level] - largest[level])
    for level in range(total.size):
        total[level] = largest[level] + quick_log(total[level])
    for j in range(logits.shape[0]):
        row = logits[j]
        for level in range(row.size):
            row[level] -= total[level]


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
    level: np.ndarray,
    block: Block,
    j: int,
    by_weight: np.ndarray,
    by_mean: np.ndarray,
    by_dispersion: np.ndarray,
    lanes: np.ndarray,
) -> None:
    """`_add_rows` at every level; parts of one level go to ``lanes`` (3, BLOCK), side by side."""
    size = level.size
    mass, density = block.mass[:size], block.density[j][:size]
    tilt, slope = block.by_mean[j][:size], block.by_dispersion[j][:size]
    _take_shares(mass, density, slope, tilt)
    parts = ((density, by_weight), (tilt, by_mean), (slope, by_dispersion))
    for i, (shares, out) in enumerate(parts):
        if out.size > 1:
            _scatter(shares, level, out)
        else:
            _add(shares, lanes[i])


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
