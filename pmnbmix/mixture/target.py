"""The log posterior of a table as one block of numbers, which compiled code can be handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.fused import evaluate, evaluate_many
from pmnbmix.mixture.kernel import HEADER, HEADER_SIZE, laid_out
from pmnbmix.mixture.problem import Problem

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target:
    """A log posterior as one block of numbers, which compiled code and samplers can be handed.

    Attributes
    ----------
    buffer : ndarray
        As `pmnbmix.mixture.kernel` lays it out. Evaluation writes into it, so threads must not
        share it: `copy` it for each.
    size : int
        Number of coordinates, 3k - 1 in the plain model.
    """

    buffer: Floats
    size: int

    @property
    def _header(self) -> Any:
        return self.buffer[:HEADER_SIZE].view(HEADER)[0]

    def _map(self) -> tuple[Floats, Floats]:
        """Views of the centre and the root of whitened coordinates."""
        d, rest = self.size, self.buffer[HEADER_SIZE:]
        return rest[:d], rest[d : d + d * d].reshape(d, d)

    @property
    def form(self) -> int:
        """Which of the forms is used."""
        return int(self._header["form"])

    def copy(self) -> Target:
        """Return the same target with a work space of its own."""
        return Target(self.buffer.copy(), self.size)

    def whitened(self, centre: Floats, root: Floats) -> Target:
        """Return the target in coordinates z, where the present ones are centre + root @ z."""
        new = self.copy()
        new._header["whitened"] = 1
        for view, given in zip(new._map(), (centre, root), strict=True):
            view[:] = given
        return new

    def unwhitened(self, positions: Floats) -> Floats:
        """Positions (..., size) in the coordinates of the target before it was whitened."""
        if not self._header["whitened"]:
            return positions
        centre, root = self._map()
        return np.asarray(centre + positions @ root.T)

    def log_density(self, position: Floats) -> tuple[float, Floats]:
        """Log posterior (without the constants of the priors) and its gradient at a position."""
        gradient = np.empty(self.size)
        return evaluate(position, gradient, self.buffer), gradient

    def log_densities(self, positions: Floats) -> Floats:
        """Log posterior at many positions (n, size), (n,)."""
        return evaluate_many(np.ascontiguousarray(positions), self.buffer)


def make_target(problem: Problem, form: int | None = None) -> Target:
    """Lay out the sampling density of a problem.

    Parameters
    ----------
    problem : Problem
    form : int, optional
        `LADDER` or `ROWS`; chosen by the table if absent.

    Returns
    -------
    Target
    """
    return Target(laid_out(problem, form), problem.design.size)
