"""The result of every relabelling algorithm, and the algorithms that need parameters only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.permute import best_permutations

Floats = NDArray[np.float64]
Order = NDArray[np.intp]

METHODS = ("stephens", "ecr", "ecr-iterative-1", "ecr-iterative-2", "pra", "order")


@dataclass(frozen=True, eq=False)
class Relabelling:
    """Permutations of draws.

    Attributes
    ----------
    order : ndarray of int, shape (n_samples, k)
        The new component j of draw s is the old component ``order[s, j]``.
    cost : ndarray, shape (n_samples,)
        What each draw costs under its permutation: Kullback-Leibler loss in nats ("stephens"),
        observations allocated otherwise than in the pivot ("ecr" and its iterative forms), squared
        distance from the pivot ("pra"), 0 ("order").
    """

    order: Order
    cost: Floats

    @property
    def loss(self) -> float:
        """Total cost."""
        return float(self.cost.sum())


def identity(n_samples: int, k: int) -> Order:
    """Labels as they are, (n_samples, k)."""
    return np.tile(np.arange(k), (n_samples, 1))


def common_turn(one: Order, other: Order) -> tuple[Order, float]:
    """How the numbering of one relabelling differs from that of another in most draws.

    Parameters
    ----------
    one, other : ndarray of int, shape (n_samples, k)

    Returns
    -------
    turn : ndarray of int, shape (k,)
        In most draws, component j of ``one`` is component ``turn[j]`` of ``other``.
    share : float
        In which share of the draws.
    """
    relative = np.take_along_axis(np.argsort(other, axis=1), one, axis=1)
    patterns, times = np.unique(relative, axis=0, return_counts=True)
    return patterns[times.argmax()], float(times.max() / len(one))


def by_parameter(array: Floats) -> Relabelling:
    """Sort every draw by one parameter, (n_samples, k)."""
    return Relabelling(np.argsort(array, axis=1, kind="stable"), np.zeros(array.shape[0]))


def pra(draws: Floats, pivot: Floats) -> Relabelling:
    """Pivotal reordering: the permutation of each draw that is nearest to one point.

    Parameters
    ----------
    draws : ndarray, shape (n_samples, k, n_parameters)
    pivot : ndarray, shape (k, n_parameters)

    Returns
    -------
    Relabelling

    References
    ----------
    .. [1] J.-M. Marin, K. Mengersen, C. P. Robert (2005), Bayesian modelling and inference on
       mixtures of distributions, Handbook of Statistics 25, 459-507,
       https://doi.org/10.1016/S0169-7161(05)25016-2
    """
    # The nearest has the largest scalar product, because a permutation changes no norm.
    order, product = best_permutations(-np.einsum("jc,slc->sjl", pivot, draws))
    norms = (draws**2).sum(axis=(1, 2)) + (pivot**2).sum()
    return Relabelling(order, np.maximum(norms + 2.0 * product, 0.0))
