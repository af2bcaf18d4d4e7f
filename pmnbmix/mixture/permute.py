"""Assignment and permutation of components.

A permutation ``order`` gathers: the new component j is the old component ``order[j]``.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

# Up to this size, trying all (120) permutations for all draws at once is cheaper than solving
# the assignment of each draw.
_ENUMERATE_UP_TO = 5


def gather[T: np.generic](array: NDArray[T], order: NDArray[np.intp]) -> NDArray[T]:
    """Permute the last axis of ``array`` (..., k) by ``order`` (..., k)."""
    permuted: NDArray[T] = np.take_along_axis(array, order, axis=-1)
    return permuted


def invert(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Permutation (..., k) that undoes ``order`` (..., k)."""
    return np.argsort(order, axis=-1)


def canonical_order(weights: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order of the components by mean, then weight, as at every exit of a point estimate, (k,)."""
    return np.lexsort((weights, means))


def best_permutations(
    cost: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Permutation of least cost for each of many assignment problems.

    Parameters
    ----------
    cost : ndarray, shape (n_problems, k, k)
        ``cost[s, j, l]`` is the cost of giving the old component l the new label j.

    Returns
    -------
    order : ndarray of int, shape (n_problems, k)
        ``order[s, j]`` is the old component that gets label j.
    total : ndarray, shape (n_problems,)
        Cost of that permutation.
    """
    n_problems, k, _ = cost.shape
    new = np.arange(k)
    if k <= _ENUMERATE_UP_TO:
        candidates = np.array(list(itertools.permutations(range(k))))
        totals = np.zeros((n_problems, len(candidates)))
        for j in range(k):
            totals += cost[:, j, :][:, candidates[:, j]]
        best = totals.argmin(axis=1)
        return candidates[best], totals[np.arange(n_problems), best]
    order = np.empty((n_problems, k), dtype=np.intp)
    for s in range(n_problems):
        order[s] = linear_sum_assignment(cost[s])[1]
    return order, cost[np.arange(n_problems)[:, None], new, order].sum(axis=1)
