"""Stephens' algorithm: responsibilities that agree as well as they can with their own mean."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.labels.ecr import Blocks, mean_by
from pmnbmix.labels.relabelling import Order, Relabelling
from pmnbmix.mixture.elementary import quick_log
from pmnbmix.mixture.permute import best_permutations

Floats = NDArray[np.float64]

_MAX_ITER = 100


def stephens_best_of(
    blocks: Blocks, frequency: Floats, starts: Iterable[Order], tolerance: float = 0.0
) -> Relabelling:
    """Run Stephens' algorithm from several starts and keep the result of least loss.

    Parameters
    ----------
    blocks, frequency
        As in `stephens`.
    starts : iterable of ndarray of int, each (n_samples, k)
    tolerance : float
        Relative gain for which the result of an earlier start is given up.

    Returns
    -------
    Relabelling
    """
    distinct = list({start.astype(np.intp).tobytes(): start for start in starts}.values())
    entropy = _negative_entropy(blocks, frequency, *distinct[0].shape)
    best = stephens(blocks, frequency, distinct[0], entropy)
    for start in distinct[1:]:
        found = stephens(blocks, frequency, start, entropy)
        if found.loss < best.loss * (1.0 - tolerance):
            best = found
    return best


def _negative_entropy(blocks: Blocks, frequency: Floats, n_samples: int, k: int) -> Floats:
    """Sum over observations of p log p for each draw and component, (n_samples, k)."""
    total = np.zeros((n_samples, k))
    for rows, p in blocks():
        _add_negative_entropy(p, frequency[rows], total)
    return total


@compiled
def _add_negative_entropy(p: np.ndarray, frequency: np.ndarray, total: np.ndarray) -> None:
    n_samples, n_rows, k = p.shape
    for s in range(n_samples):
        for u in range(n_rows):
            for j in range(k):
                if p[s, u, j] > 1e-300:
                    total[s, j] += frequency[u] * p[s, u, j] * quick_log(p[s, u, j])


def stephens(
    blocks: Blocks, frequency: Floats, start: Order, entropy: Floats | None = None
) -> Relabelling:
    """Iterate Stephens' algorithm from one start.

    The loss is the Kullback-Leibler divergence of each draw's responsibilities from their mean over
    relabelled draws, summed over observations. It has local minima.

    Parameters
    ----------
    blocks : callable
        Gives (rows, responsibilities (n_samples, n_rows, k)) pairs that cover all rows.
    frequency : ndarray, shape (n_rows,)
        How many observations each row stands for.
    start : ndarray of int, shape (n_samples, k)
    entropy : ndarray, shape (n_samples, k), optional
        Sum over observations of p log p, which the labels do not change; computed if absent.

    Returns
    -------
    Relabelling

    References
    ----------
    .. [1] M. Stephens (2000), Dealing with label switching in mixture models, J. R. Stat. Soc. B
       62, 795-809, https://doi.org/10.1111/1467-9868.00265
    """
    order = start
    n_samples, k = order.shape
    if entropy is None:
        entropy = _negative_entropy(blocks, frequency, n_samples, k)
    best = Relabelling(order, np.full(n_samples, np.inf))
    for _ in range(_MAX_ITER):
        divergence = entropy[:, None, :] + _cross_entropy(blocks, frequency, order)
        new_order, cost = best_permutations(divergence)
        found = Relabelling(new_order, np.maximum(cost, 0.0))
        if not found.loss < best.loss * (1.0 - 1e-12):
            break
        best = found
        if np.array_equal(new_order, order):
            break
        order = new_order
    return best


def losses_under(blocks: Blocks, frequency: Floats, orders: list[Order]) -> list[float]:
    """Stephens' losses of relabellings made in whatever way, in nats over all draws."""
    n_samples, k = orders[0].shape
    entropy = _negative_entropy(blocks, frequency, n_samples, k).sum()
    draw, new, losses = np.arange(n_samples)[:, None], np.arange(k), []
    for order in orders:
        cross = _cross_entropy(blocks, frequency, order)[draw, new, order].sum()
        losses.append(max(float(entropy + cross), 0.0))
    return losses


def _cross_entropy(blocks: Blocks, frequency: Floats, order: Order) -> Floats:
    """Cross entropy of old component l of each draw and mean of new component j, (s, j, l)."""
    n_samples, k = order.shape
    cross = np.zeros((n_samples, k, k))
    for rows, p in blocks():
        mean = mean_by(p, order)
        # a mean of 0 makes any other responsibility infinitely costly; the log of the smallest
        # number says so without 0 times infinity
        log_mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
        weighted = log_mean * frequency[rows][:, None]
        cross -= np.matmul(weighted.T[None], p)
    return cross


def swap_margin(blocks: Blocks, frequency: Floats, order: Order) -> Floats:
    """Loss that the cheapest exchange of two labels would add to each draw, in nats, (n_samples,).

    Large if labels are certain; about 0 if a draw might as well be labelled otherwise.
    """
    k = order.shape[1]
    cross = _cross_entropy(blocks, frequency, order)
    # cost of giving new label j to the component that has new label l
    cost = np.take_along_axis(cross, order[:, None, :].repeat(k, axis=1), axis=2)
    own = np.diagonal(cost, axis1=1, axis2=2)
    swapped = cost + cost.transpose(0, 2, 1) - own[:, :, None] - own[:, None, :]
    swapped[:, np.arange(k), np.arange(k)] = np.inf
    return np.asarray(swapped.min(axis=(1, 2)))
