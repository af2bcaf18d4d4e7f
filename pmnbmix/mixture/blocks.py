"""Densities of rows under all components, a block of rows at a time.

With r the inverse dispersion, m the mean and t = (x - m) / (r + m), the log density of a count x is
up to a constant

    (r + x) log(1 + t) + x log(m / x) + h(x, r)

where nothing larger than the distance of x from m cancels, near Poisson or elsewhere; h, what is
left of the gamma functions, is Stirling's series once for each distinct count. Loops over rows
call nothing of the C library, so that they run as vector instructions, and a block is short enough
for all that is made of it to stay in the first cache.

If means differ by level and counts are small, a shorter form is enough, in which y log m is not
put together with what cancels it: of a thousand, that costs the thirteenth digit.

Parameters stand component by component here: ``log_weights``, ``means``, ``inv_disps`` are (k, L),
or (k, 1) if they are the same at every level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled, inlined
from pmnbmix.mixture.elementary import quick_exp, quick_log, quick_log1p
from pmnbmix.mixture.levels import Rows
from pmnbmix.mixture.special import (
    digamma_excess,
    digamma_series,
    stirling_remainder,
    stirling_series,
)

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

# A block has this many rows.
BLOCK = 256
# Below this, terms are summed one by one; from here on Stirling's series is exact.
_SUMMED = 16
# Up to this count the short form is as exact as doubles are in a sum of thousands of rows.
_LARGEST_SHORT = 1000
# Logarithms are taken of at least this, to be finite; their factor is at most the ratio itself.
_LEAST_RATIO = 1e-300


class Runs(NamedTuple):
    """Positions of the rows of each distinct count.

    Attributes
    ----------
    distinct : ndarray of float, shape (n_values,)
        Ascending.
    starts : ndarray of int, shape (n_values + 1,)
        First row of each, and the number of rows.
    """

    distinct: Floats
    starts: Whole


class Logs(NamedTuple):
    """Arrays that only the short form reads.

    Attributes
    ----------
    exposure : ndarray, shape (n,)
        Logarithms of the exposures.
    means : ndarray, shape (k, L)
        Logarithms of the means.
    """

    exposure: Floats
    means: Floats


class Block(NamedTuple):
    """Work space for a block of rows.

    Attributes
    ----------
    density : ndarray, shape (k, BLOCK)
        Density of each component relative to the largest of the row.
    by_dispersion, by_mean : ndarray, shape (k, BLOCK)
        Derivatives of the log density of a component in log dispersion and log mean.
    log_mass, mass : ndarray, shape (BLOCK,)
        Log density of the mixture without `count_constants`; frequency over the sum of ``density``.
    rate, log_rate, inv_disp : ndarray, shape (BLOCK,)
        Mean, its logarithm and inverse dispersion of each row, if levels differ.
    """

    density: Floats
    by_dispersion: Floats
    by_mean: Floats
    log_mass: Floats
    mass: Floats
    rate: Floats
    log_rate: Floats
    inv_disp: Floats


def runs_of(values: Floats) -> Runs:
    """Find the rows of each distinct count in sorted rows."""
    distinct, first = np.unique(values, return_index=True)
    return Runs(distinct, np.append(first, values.size).astype(np.intp))


@compiled
def block_size(k: int) -> int:
    """Size, in numbers, of the work space that `block_of` divides."""
    return (3 * k + 5) * BLOCK


@compiled
def block_of(room: np.ndarray, k: int) -> Block:
    """Divide a work space of `block_size` numbers."""
    rows = room.reshape((3 * k + 5, BLOCK))
    rest = 3 * k
    return Block(
        rows[:k],
        rows[k : 2 * k],
        rows[2 * k : rest],
        rows[rest],
        rows[rest + 1],
        rows[rest + 2],
        rows[rest + 3],
        rows[rest + 4],
    )


@inlined
def row_for(array: np.ndarray, level: int) -> int:
    """Column of (k, L) parameters that belongs to a level; those of one column serve all levels."""
    return level if array.shape[1] > 1 else 0


@compiled
def is_short(runs: Runs, means: np.ndarray, inv_disps: np.ndarray) -> bool:
    """Whether the short form is exact enough here."""
    small: bool = runs.distinct[-1] <= _LARGEST_SHORT
    return means.shape[1] > 1 and inv_disps.shape[1] == 1 and small


@compiled
def fill_remainders(
    runs: Runs, means: np.ndarray, inv_disps: np.ndarray, remainders: np.ndarray
) -> None:
    """Fill what each distinct count adds and its slope, (k, 2, n_values).

    It is h, and in the short form all that depends on the count and the dispersion alone. Nothing
    is filled if dispersions differ between levels.
    """
    if inv_disps.shape[1] > 1:
        return
    for j in range(inv_disps.shape[0]):
        r = inv_disps[j, 0]
        _remainders(runs.distinct, r, remainders[j, 0], remainders[j, 1])
        if is_short(runs, means, inv_disps):
            for i in range(runs.distinct.size):
                x = runs.distinct[i]
                growth = math.log1p(x / r)
                remainders[j, 0, i] += (r + x) * growth - (x * math.log(x) if x > 0.0 else 0.0)
                remainders[j, 1, i] += x - r * growth


@compiled
def fill_block(
    rows: Rows,
    runs: Runs,
    first: int,
    stop: int,
    run: int,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    remainders: np.ndarray,
    logs: Logs,
    block: Block,
) -> int:
    """Fill a block from the rows ``first`` to ``stop``; ``run`` is that of the first row.

    ``remainders`` are those of `fill_remainders`; ``logs`` are read in the short form only. Returns
    the run that the next block begins in.
    """
    size = stop - first
    values, level = rows.values[first:stop], rows.level[first:stop]
    after = run
    short = is_short(runs, means, inv_disps)
    for j in range(means.shape[0]):
        density, slope = block.density[j][:size], block.by_dispersion[j][:size]
        tilt = block.by_mean[j][:size]
        log_weight, mean, rate = log_weights[j, 0], means[j, 0], rows.exposure[first:stop]
        if means.shape[1] > 1:
            # Rates are looked up here: in the loop below that would stop vector instructions.
            rate, mean = block.rate[:size], 1.0
            for u in range(size):
                rate[u] = rows.exposure[first + u] * means[j, level[u]]
        if inv_disps.shape[1] > 1:
            spread = block.inv_disp[:size]
            for u in range(size):
                spread[u] = inv_disps[j, level[u]]
                density[u], slope[u] = _remainder(values[u], spread[u])
        else:
            after = _spread(runs.starts, first, stop, run, remainders[j], density, slope)
        if log_weights.shape[1] > 1:
            log_weight = 0.0
            for u in range(size):
                density[u] += log_weights[j, level[u]]
        if short:
            log_rate = block.log_rate[:size]
            for u in range(size):
                log_rate[u] = logs.exposure[first + u] + logs.means[j, level[u]]
            _fill_short_rows(
                log_weight, inv_disps[j, 0], values, rate, log_rate, density, slope, tilt
            )
        elif inv_disps.shape[1] > 1:
            _fill_spread_rows(log_weight, mean, block.inv_disp, values, rate, density, slope, tilt)
        else:
            _fill_rows(log_weight, mean, inv_disps[j, 0], values, rate, density, slope, tilt)
    _mix(block, rows.frequency[first:stop])
    return after


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
def _remainder(x: float, r: float) -> tuple[float, float]:
    """`_remainders` of one count, if every row has an inverse dispersion of its own."""
    if x < _SUMMED:
        log_sum, slope_sum = 0.0, 0.0
        for j in range(int(x)):
            log_sum += math.log1p(j / r)
            slope_sum += j / (r + j)
        growth = math.log1p(x / r)
        return log_sum - ((r + x) * growth - x), slope_sum - (x - r * growth)
    v = 1.0 / (r + x)
    value = (stirling_series(v) - stirling_remainder(r)) - 0.5 * math.log1p(x / r)
    return value, -r * (digamma_series(v) - digamma_excess(r))


@compiled
def _spread(
    starts: np.ndarray,
    first: int,
    stop: int,
    run: int,
    remainders: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
) -> int:
    """Give what belongs to a distinct count to each of its rows; returns the run of ``stop``."""
    at = first
    while at < stop:
        end = min(starts[run + 1], stop)
        for u in range(at - first, end - first):
            out[u], slope[u] = remainders[0, run], remainders[1, run]
        at = end
        if at == starts[run + 1]:
            run += 1
    return run


@compiled
def _fill_rows(
    log_weight: float,
    mean: float,
    r: float,
    values: np.ndarray,
    rate: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
    tilt: np.ndarray,
) -> None:
    """Weighted log density of the rows, and its derivatives in log dispersion and log mean.

    Without what depends on the row only; the mean of a row is ``rate`` times ``mean``. On entry
    ``out`` and ``slope`` hold the remainders.
    """
    for u in range(values.size):
        x, m = values[u], rate[u] * mean
        gap = x - m
        t = gap / (r + m)
        ratio = max((r + x) / (r + m), _LEAST_RATIO)
        # Near 1 the ratio has lost digits that t has; the second term puts them back.
        growth = quick_log(ratio) + ((t - (ratio - 1.0)) / ratio if t > -0.5 else 0.0)
        # If x = 0 the logarithm is multiplied by 0, so any finite value serves.
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
def _fill_short_rows(
    log_weight: float,
    r: float,
    values: np.ndarray,
    rate: np.ndarray,
    log_rate: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
    tilt: np.ndarray,
) -> None:
    """`_fill_rows` by one logarithm: with L = log(1 + m / r), x (log m - L) - r L is added."""
    dispersion = 1.0 / r
    for u in range(values.size):
        x, m = values[u], rate[u]
        t = dispersion * m
        whole = 1.0 + t
        shrunk = 1.0 / whole
        growth = quick_log(whole) + (t - (whole - 1.0)) * shrunk
        spread = r * growth
        out[u] += log_weight + x * (log_rate[u] - growth) - spread
        slope[u] += spread - (x * t + m) * shrunk
        tilt[u] = (x - m) * shrunk


@compiled
def _fill_spread_rows(
    log_weight: float,
    mean: float,
    inv_disp: np.ndarray,
    values: np.ndarray,
    rate: np.ndarray,
    out: np.ndarray,
    slope: np.ndarray,
    tilt: np.ndarray,
) -> None:
    """`_fill_rows` of rows with an inverse dispersion each."""
    for u in range(values.size):
        one = slice(u, u + 1)
        _fill_rows(
            log_weight,
            mean,
            inv_disp[u],
            values[one],
            rate[one],
            out[one],
            slope[one],
            tilt[one],
        )


@compiled
def _mix(block: Block, frequency: np.ndarray) -> None:
    """Turn weighted log densities into densities relative to the largest of each row.

    Fills their log sums, and frequency over sum, which make responsibilities of them.
    """
    n = frequency.size
    log_mass, mass = block.log_mass[:n], block.mass[:n]
    if block.density.shape[0] == 2:
        _mix_two(block.density[0][:n], block.density[1][:n], frequency, log_mass, mass)
        return
    log_mass[:] = block.density[0][:n]
    for j in range(1, block.density.shape[0]):
        raise_to(log_mass, block.density[j][:n])
    mass[:] = 0.0
    for j in range(block.density.shape[0]):
        _add_exponentials(block.density[j][:n], log_mass, mass)
    for u in range(n):
        log_mass[u] += quick_log(mass[u])
        mass[u] = frequency[u] / mass[u]


@compiled
def _mix_two(
    one: np.ndarray,
    other: np.ndarray,
    frequency: np.ndarray,
    log_mass: np.ndarray,
    mass: np.ndarray,
) -> None:
    """`_mix` of two components: the larger density is 1, so that one exponential serves both."""
    for u in range(one.size):
        a, b = one[u], other[u]
        largest = max(a, b)
        less = quick_exp(min(a, b) - largest)
        total = 1.0 + less
        one[u] = 1.0 if a >= b else less
        other[u] = 1.0 if b >= a else less
        log_mass[u] = largest + quick_log(total)
        mass[u] = frequency[u] / total


@compiled
def raise_to(largest: np.ndarray, row: np.ndarray) -> None:
    """Raise each number to the one beside it, in place, if that is larger."""
    for u in range(row.size):
        largest[u] = max(largest[u], row[u])


@compiled
def _add_exponentials(row: np.ndarray, largest: np.ndarray, mass: np.ndarray) -> None:
    for u in range(row.size):
        row[u] = quick_exp(row[u] - largest[u])
        mass[u] += row[u]
