"""Where EM starts. No single family of starts finds the best optimum on every data set.

Quantile splits fail where components share a mean and differ in spread, equal means fail where
components are far apart, and k-means fails where one component lies inside another. A pool of all
of them, run briefly and then polished one by one, misses least. It proves nothing, so the search
goes on from what it finds, and each optimum is listed with how often it was reached.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.design import Design

Floats = NDArray[np.float64]

_PER_FAMILY = 5
_NARROW = 14
_ROWS = 40
# Logarithms of exposures that are further apart than this are spread. Single seeds miss the best
# optimum where rows are few; with more of them, further starts would cost more than they bring.
_SPREAD = 1.0
_FEW_ROWS = 300


def start_pool(
    table: CountTable, n_components: int, rng: np.random.Generator
) -> list[tuple[str, Floats]]:
    """Make starting points of several families.

    Parameters
    ----------
    table : CountTable
    n_components : int
    rng : numpy.random.Generator

    Returns
    -------
    list of (str, ndarray of shape (3, k))
        Family and point (log weights, log means, log dispersions); the first is deterministic.
    """
    even = np.arange(1, n_components) / n_components
    pool = [("quantile", _from_split(table, _quantile_split(table, even), n_components))]
    if n_components == 1:
        return pool
    families: dict[str, Callable[[CountTable, int, np.random.Generator], Floats]] = {
        "random-quantile": _random_quantile,
        "k-means++": _k_means,
        "equal-means": _equal_means,
        "data-points": _data_points,
    }
    for name, make in families.items():
        pool.extend((name, make(table, n_components, rng)) for _ in range(_PER_FAMILY))
    if n_components > 2:
        # No other family finds a narrow component inside a broad one as reliably.
        pool.extend(("narrow", _narrow(table, n_components, rng)) for _ in range(_NARROW))
    if table.values.size <= _FEW_ROWS and np.ptp(np.log(table.exposure)) > _SPREAD:
        # A rate is the noisier the smaller the exposure, so the others cut where the noise is.
        pool.extend(("exposed-rows", _exposed_rows(table, n_components, rng)) for _ in range(_ROWS))
    # One and three observations on their own find the spurious optima, which are to be reported.
    for share in (1.0 / table.n, 3.0 / table.n, 0.01, 0.03, 0.1):
        pool.append(("top-tail", _top_tail(table, n_components, share)))
    return pool


def _from_split(table: CountTable, labels: NDArray[np.int64], k: int) -> Floats:
    """Point of a hard split of the rows: the moments of each part; an empty part takes all rows."""
    point = np.empty((3, k))
    for j in range(k):
        times = np.where(labels == j, table.frequency, 0.0)
        if not times.any():
            times = table.frequency
        point[:, j] = moments(table, times)
    return normalised(point)


def moments(table: CountTable, times: Floats) -> Floats:
    """Log size, log mean and log dispersion of weighted rows, kept inside the parameter space."""
    exposed = float(times @ table.exposure)
    # Half a count keeps the mean of a part that has only zeros above 0.
    mean = max(float(times @ table.values), 0.5) / exposed
    expected = table.exposure * mean
    excess = float(times @ ((table.values - expected) ** 2 - expected))
    dispersion = excess / float(times @ expected**2)
    return np.log([times.sum(), mean, min(max(dispersion, 1e-3), 1e3)])


def normalised(point: Floats) -> Floats:
    """Make the weights of a point sum to 1, in place."""
    point[0] -= np.log(np.exp(point[0] - point[0].max()).sum()) + point[0].max()
    return point


def off_edges(point: Floats, table: CountTable, design: Design) -> Floats:
    """Return a start with room to move: EM and Newton leave no edge under another objective."""
    floor = np.full(point.shape, -np.inf)
    lowest = np.log([0.5 / table.n, 0.3 / float(table.frequency @ table.exposure), 0.1])
    floor[design.intercepts, :] = lowest[:, None]
    # What is pinned stays where it is.
    free = np.isnan(design.pinned)
    return normalised(np.where(np.isneginf(point) & free, floor, point))


def rates(table: CountTable) -> Floats:
    """Count of each row for one unit of exposure."""
    return table.values / table.exposure


def _quantile_split(table: CountTable, cuts: Floats) -> NDArray[np.int64]:
    """Part of each row when the rates are cut at these shares of the observations."""
    order = np.argsort(rates(table), kind="stable")
    # The middle of a row's observations places it, so that a row wider than a part falls into one.
    cumulated = np.cumsum(table.frequency[order]) - 0.5 * table.frequency[order]
    labels = np.empty(order.size, dtype=np.int64)
    labels[order] = np.searchsorted(cuts * table.n, cumulated)
    _, dense = np.unique(labels, return_inverse=True)
    return _spread(dense.astype(np.int64), table, cuts.size + 1)


def _spread(labels: NDArray[np.int64], table: CountTable, k: int) -> NDArray[np.int64]:
    """Split the widest part at its middle row until there are k parts, or no row to split off."""
    position = rates(table)
    while (n_parts := int(labels.max()) + 1) < k:
        for part in np.argsort(-np.bincount(labels), kind="stable"):
            rows = np.flatnonzero(labels == part)
            if rows.size > 1:
                rows = rows[np.argsort(position[rows], kind="stable")]
                labels[rows[rows.size // 2 :]] = n_parts
                break
        else:
            break
    return labels


def _random_quantile(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    return _from_split(table, _quantile_split(table, np.sort(rng.random(k - 1))), k)


def _k_means(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    """k-means++ seeds and a few Lloyd steps on the square root of the rate.

    The square root has nearly constant variance for Poisson counts. Arthur and Vassilvitskii 2007,
    "k-means++: the advantages of careful seeding".
    """
    position = np.sqrt(rates(table))
    times = table.frequency
    centres = [position[rng.choice(position.size, p=times / times.sum())]]
    while len(centres) < k:
        distance = np.min((position[:, None] - np.array(centres)) ** 2, axis=1)
        mass = times * distance
        if not mass.any():
            break
        centres.append(position[rng.choice(position.size, p=mass / mass.sum())])
    seeds = np.array(centres)
    for _ in range(5):
        labels = np.argmin(np.abs(position[:, None] - seeds), axis=1)
        filled = np.bincount(labels, times, minlength=seeds.size)
        moved = np.bincount(labels, times * position, minlength=seeds.size)
        seeds = np.where(filled > 0, moved / np.maximum(filled, 1.0), seeds)
    labels = np.argmin(np.abs(position[:, None] - seeds), axis=1)
    return _from_split(table, labels.astype(np.int64), k)


def _equal_means(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    point = np.repeat(moments(table, table.frequency)[:, None], k, axis=1)
    point[2] = rng.normal(0.0, 1.5, k)
    return normalised(point)


def _data_points(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    """Means at randomly chosen observations, dispersions that cover their distance."""
    point = np.repeat(moments(table, table.frequency)[:, None], k, axis=1)
    size = min(k, table.values.size)
    chosen = rng.choice(table.values.size, size=size, replace=False)
    point[1, :size] = np.log(np.maximum(rates(table)[chosen], 0.3 * np.exp(point[1, 0]) / k))
    point[2] = np.log(rng.choice([0.02, 0.1, 0.5], k))
    return normalised(point)


def _exposed_rows(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    """Means at the rates of rows chosen by their counts, whose rates are known best.

    Dispersions are drawn from nearly Poisson to wide, since in small sets with spread exposures the
    best optimum often has a Poisson component.
    """
    point = np.repeat(moments(table, table.frequency)[:, None], k, axis=1)
    size = min(k, table.values.size)
    share = table.frequency * (table.values + 0.1)
    chosen = rng.choice(table.values.size, size=size, replace=False, p=share / share.sum())
    point[1, :size] = np.log(np.maximum(table.values[chosen], 0.3) / table.exposure[chosen])
    point[2] = np.log(rng.choice([1e-3, 0.1, 1.0], k))
    return normalised(point)


def _narrow(table: CountTable, k: int, rng: np.random.Generator) -> Floats:
    """A start of one component fewer, and a nearly Poisson component at a random observation."""
    make = _random_quantile if rng.random() < 0.5 else _k_means
    broad = make(table, k - 1, rng)
    broad[2] = np.maximum(broad[2], np.log(0.05))
    # At a frequent count it is a peak, at any other perhaps a second mode.
    share = table.frequency / table.n if rng.random() < 0.3 else None
    chosen = rng.choice(table.values.size, p=share)
    mean = max(rates(table)[chosen], 0.3 * np.exp(broad[1].min()))
    point = np.column_stack([broad, np.log([rng.choice([0.05, 0.1, 0.2]), mean, 1e-3])])
    return normalised(point)


def _top_tail(table: CountTable, k: int, share: float) -> Floats:
    """A small share of the largest rates on its own, the rest cut evenly."""
    share = min(share, 0.5)
    cuts = np.append(np.arange(1, k - 1) / (k - 1), 1.0) * (1.0 - share)
    return _from_split(table, _quantile_split(table, np.unique(cuts)), k)
