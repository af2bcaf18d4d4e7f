"""Equivalence classes representatives (ECR): allocations that agree best with a pivot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pmnbmix.labels.relabelling import Order, Relabelling, common_turn
from pmnbmix.mixture.permute import best_permutations, invert

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]
Blocks = Callable[[], Iterable[tuple[slice, Floats]]]

_MAX_ITER = 100
# Draws are counted in blocks of about this many allocations, to save memory.
_BLOCK = 2_000_000


class Allocations(Protocol):
    """Which observation belongs to which component in each draw, sampled or in expectation."""

    @property
    def n(self) -> float:
        """Number of observations."""

    def agreement(self, pivot: Integers) -> Floats:
        """Observations with pivot j and label l in draw s, (n_samples, k, k)."""

    def votes(self, order: Order) -> Floats:
        """How many relabelled draws give each observation each label, (n_rows, k)."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """Allocations as a sampler draws them: labels (n_samples, n_rows) from 0 to k - 1."""

    labels: Integers
    n_components: int
    frequency: Floats

    @property
    def n(self) -> float:
        """Number of observations."""
        return float(self.frequency.sum())

    def agreement(self, pivot: Integers) -> Floats:
        """Observations with pivot j and label l in draw s, (n_samples, k, k)."""
        k, parts = self.n_components, []
        for labels in self._blocks():
            cell = (np.arange(len(labels))[:, None] * k + pivot) * k + labels
            weight = np.broadcast_to(self.frequency, labels.shape).ravel()
            counted = np.bincount(cell.ravel(), weight, minlength=len(labels) * k * k)
            parts.append(counted.reshape(-1, k, k))
        return np.concatenate(parts)

    def votes(self, order: Order) -> Floats:
        """How many relabelled draws give each observation each label, (n_rows, k)."""
        k, n_rows = self.n_components, self.labels.shape[1]
        new, total, first = invert(order), np.zeros(n_rows * k), 0
        for labels in self._blocks():
            last = first + len(labels)
            relabelled = np.take_along_axis(new[first:last], labels, axis=1)
            cell = np.arange(n_rows) * k + relabelled
            total += np.bincount(cell.ravel(), minlength=n_rows * k)
            first = last
        return total.reshape(n_rows, k)

    def _blocks(self) -> Iterable[NDArray[np.intp]]:
        step = max(1, _BLOCK // self.labels.shape[1])
        for first in range(0, self.labels.shape[0], step):
            yield self.labels[first : first + step].astype(np.intp)


@dataclass(frozen=True, eq=False)
class Expected:
    """Allocations integrated out: responsibilities stand for the labels that would be drawn.

    ``blocks`` gives (rows, responsibilities (n_samples, n_rows, k)) pairs that cover all rows.
    """

    blocks: Blocks
    frequency: Floats
    shape: tuple[int, int]

    @property
    def n(self) -> float:
        """Number of observations."""
        return float(self.frequency.sum())

    def agreement(self, pivot: Integers) -> Floats:
        """Observations expected with pivot j and label l in draw s, (n_samples, k, k)."""
        n_samples, k = self.shape
        total = np.zeros((n_samples, k, k))
        for rows, p in self.blocks():
            members = self.frequency[rows, None] * (pivot[rows, None] == np.arange(k))
            total += np.matmul(members.T[None], p)
        return total

    def votes(self, order: Order) -> Floats:
        """Sum over draws of relabelled responsibilities, (n_rows, k)."""
        total = np.empty((self.frequency.size, self.shape[1]))
        for rows, p in self.blocks():
            total[rows] = len(order) * mean_by(p, order)
        return total


def mean_by(p: Floats, order: Order) -> Floats:
    """Mean over draws of relabelled responsibilities, (n_rows, k)."""
    n_samples, _, k = p.shape
    mean = np.empty(p.shape[1:])
    for j in range(k):
        mean[:, j] = sum(
            np.einsum("s,su->u", (order[:, j] == i) / n_samples, p[:, :, i])
            for i in np.unique(order[:, j])
        )
    return mean


def ecr(allocations: Allocations, pivot: Integers) -> Relabelling:
    """Relabel so that each draw's allocation agrees with a pivot as well as it can.

    Parameters
    ----------
    allocations : Sampled or Expected
    pivot : ndarray of int, shape (n_rows,)

    Returns
    -------
    Relabelling

    References
    ----------
    .. [1] P. Papastamoulis, G. Iliopoulos (2010), An artificial allocations based solution to the
       label switching problem in Bayesian analysis of mixtures of distributions, J. Comput. Graph.
       Stat. 19, 313-331, https://doi.org/10.1198/jcgs.2010.09008
    """
    order, cost = best_permutations(-allocations.agreement(pivot))
    return Relabelling(order, np.maximum(allocations.n + cost, 0.0))


def ecr_iterative(
    allocations: Allocations,
    starts: Iterable[Order],
    votes: Callable[[Order], Floats] | None = None,
) -> Relabelling:
    """Relabel by ECR with a pivot that the relabelled draws elect themselves; best of some starts.

    Parameters
    ----------
    allocations : Sampled or Expected
    starts : iterable of ndarray of int, each (n_samples, k)
    votes : callable, optional
        Gives votes (n_rows, k) for relabelled draws: those of the allocations if absent (ECR
        iterative 1), or sums of relabelled responsibilities (ECR iterative 2).

    Returns
    -------
    Relabelling
        The iterate of least total cost; of those that tie, that of the earlier start.

    References
    ----------
    .. [1] P. Papastamoulis (2016), label.switching: an R package for dealing with the label
       switching problem in MCMC outputs, J. Stat. Softw. 69 (Code Snippet 1),
       https://doi.org/10.18637/jss.v069.c01
    """
    votes = votes or allocations.votes
    reached = [_iterate(allocations, start, votes) for start in starts]
    best = min(reached, key=lambda found: found.loss)
    # Components are numbered as from the first start, since the numbering would otherwise depend on
    # which start was best.
    turn, _ = common_turn(reached[0].order, best.order)
    return Relabelling(best.order[:, turn], best.cost)


def _iterate(
    allocations: Allocations, start: Order, votes: Callable[[Order], Floats]
) -> Relabelling:
    best = ecr(allocations, votes(start).argmax(axis=1))
    for _ in range(_MAX_ITER):
        found = ecr(allocations, votes(best.order).argmax(axis=1))
        if not found.loss < best.loss:
            break
        best = found
    return best
