"""Starts for one column, the same every time: few, and of families that find different optima.

The families were chosen so that together they reach the best optimum that the pool of `fit_em`
does, on simulated and real columns; `benchmarks/columns.py` reports how often they do.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.levels import Rows


@compiled
def _moments(rows: Rows, first: int, stop: int, order: np.ndarray) -> np.ndarray:
    """Log size, log mean and log dispersion of some rows, kept inside the parameter space."""
    values, exposure, frequency = rows.values, rows.exposure, rows.frequency
    size, counted, exposed = 0.0, 0.0, 0.0
    for i in range(first, stop):
        u = order[i]
        size += frequency[u]
        counted += frequency[u] * values[u]
        exposed += frequency[u] * exposure[u]
    mean = max(counted, 0.5) / exposed
    excess, squared = 0.0, 0.0
    for i in range(first, stop):
        u = order[i]
        expected = exposure[u] * mean
        excess += frequency[u] * ((values[u] - expected) ** 2 - expected)
        squared += frequency[u] * expected * expected
    dispersion = min(max(excess / squared, 1e-3), 1e3)
    return np.array([math.log(size), math.log(mean), math.log(dispersion)])


@compiled
def _split(rows: Rows, order: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Point of a split of the rows, by rate, at these shares of the observations."""
    frequency = rows.frequency
    k = cuts.size + 1
    point = np.empty((3, k))
    n = frequency.sum()
    first, seen = 0, 0.0
    for j in range(k):
        stop = first
        if j + 1 == k:
            stop = order.size
        else:
            # Every part keeps at least one row, as far as there are enough.
            while stop < order.size - (k - 1 - j) and (
                stop == first or seen + 0.5 * frequency[order[stop]] < cuts[j] * n
            ):
                seen += frequency[order[stop]]
                stop += 1
        if stop > first:
            point[:, j] = _moments(rows, first, stop, order)
        else:
            point[:, j] = _moments(rows, 0, order.size, order)
        first = stop
    point[0] -= math.log(np.exp(point[0]).sum())
    return point


@compiled
def _top_cuts(k: int, top: float) -> np.ndarray:
    """Cuts that leave the last part what is above ``top`` and divide the rest evenly."""
    cuts = np.empty(k - 1)
    for j in range(k - 1):
        cuts[j] = top * (j + 1) / (k - 1)
    return cuts


@compiled
def start_points(rows: Rows, k: int) -> np.ndarray:
    """Deterministic starts, (n_starts, 3, k); the first `n_always` of them find most optima."""
    order = np.argsort(rows.values / rows.exposure, kind="mergesort")
    if k == 1:
        only = np.empty((1, 3, 1))
        only[0] = _split(rows, order, np.empty(0))
        return only
    starts = np.empty((8 if k == 2 else 12, 3, k))
    whole = _moments(rows, 0, order.size, order)
    starts[0] = _split(rows, order, np.linspace(0.2, 0.8, k - 1))
    half = (k - 1) / 2.0
    for j in range(k):
        above = max(j - 1, 0)
        share = -math.log(k)
        # This start has a Poisson component under broad ones.
        starts[1, 0, j], starts[1, 1, j] = share, whole[1] + 2.0 * above
        starts[1, 2, j] = whole[2] + (0.5 if j else -6.0)
        # This start has rare components that lie far above the rest.
        starts[2, 0, j], starts[2, 1, j] = -3.0 * j, whole[1] + (3.0 * j if j else -0.05)
        starts[2, 2, j] = -1.0 if j else whole[2] - 0.5
        # This start has broad components below the rest.
        starts[3, 0, j], starts[3, 1, j] = share, whole[1] + (-3.0 * j if j else 0.6)
        starts[3, 2, j] = 0.0 if j else whole[2] - 1.0
        # This start has equal means, told apart by their dispersions.
        starts[6, 0, j], starts[6, 1, j] = share, whole[1]
        starts[6, 2, j] = whole[2] + 3.0 * (j - half) / half * 0.5
    starts[4] = _split(rows, order, _top_cuts(k, 0.999))
    starts[5] = _split(rows, order, _top_cuts(k, 0.6))
    starts[7] = _split(rows, order, _top_cuts(k, 0.95))
    if k > 2:
        even = np.empty(k - 1)
        for j in range(k - 1):
            even[j] = (j + 1) / k
        starts[8] = _split(rows, order, even)
        starts[9] = _split(rows, order, _top_cuts(k, 0.8))
        # This start has narrow components where the parts are.
        starts[10] = starts[8]
        starts[10, 2] = -4.0
        # This start has one narrow component beside broad parts.
        starts[11] = starts[7]
        starts[11, 2, 0] = -5.0
    for i in (1, 2, 3, 6):
        starts[i, 0] -= math.log(np.exp(starts[i, 0]).sum())
    return starts


@compiled
def n_always(k: int) -> int:
    """How many of the starts are run whatever they find."""
    return 4 if k == 2 else 9
