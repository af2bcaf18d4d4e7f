"""The log posterior of a table as one block of numbers, which compiled code can be handed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import count_constants
from pmnbmix.mixture.fused import HEADER, LADDER, ROWS, evaluate, evaluate_many
from pmnbmix.mixture.spec import MixtureSpec

Floats = NDArray[np.float64]

# From larger counts on a climb from 0 could underflow on its way.
_LARGEST_LADDER = 500


@dataclass(frozen=True, eq=False)
class Target:
    """A log posterior as one block of numbers, which compiled code and samplers can be handed.

    Attributes
    ----------
    buffer : ndarray
        Header, map of the coordinates, table and room to work in. The work makes it unfit to be
        shared between threads: `copy` it.
    size : int
        Number of coordinates, 3k - 1.
    """

    buffer: Floats
    size: int

    @property
    def form(self) -> int:
        """Which of the forms is used."""
        return int(self.buffer[1])

    def copy(self) -> Target:
        """Return the same target with room of its own to work in."""
        return Target(self.buffer.copy(), self.size)

    def whitened(self, centre: Floats, root: Floats) -> Target:
        """Return the target in coordinates z, where the present ones are centre + root @ z."""
        new = self.copy()
        d = self.size
        new.buffer[5] = 1.0
        new.buffer[HEADER : HEADER + d] = centre
        new.buffer[HEADER + d : HEADER + d + d * d] = root.ravel()
        return new

    def unwhitened(self, positions: Floats) -> Floats:
        """Positions (..., 3k - 1) in the coordinates of the target before it was whitened."""
        if self.buffer[5] == 0.0:
            return positions
        d = self.size
        root = self.buffer[HEADER + d : HEADER + d + d * d].reshape(d, d)
        return np.asarray(self.buffer[HEADER : HEADER + d] + positions @ root.T)

    def log_density(self, position: Floats) -> tuple[float, Floats]:
        """Log posterior (without the constants of the priors) and its gradient at a position."""
        gradient = np.empty(self.size)
        return evaluate(position, gradient, self.buffer), gradient

    def log_densities(self, positions: Floats) -> Floats:
        """Log posterior at many positions (n, 3k - 1), (n,)."""
        return evaluate_many(np.ascontiguousarray(positions), self.buffer)


def make_target(table: CountTable, spec: MixtureSpec, form: int | None = None) -> Target:
    """Lay out the log posterior of a table under a resolved specification.

    Parameters
    ----------
    table : CountTable
        Sorted by value, then exposure; frequencies may be fractional.
    spec : MixtureSpec
        Resolved.
    form : int, optional
        One of the forms; chosen by the table where absent.

    Returns
    -------
    Target
    """
    k = spec.n_components
    size = 3 * k - 1
    values, exposure, frequency = table.values, table.exposure, table.frequency
    if form is None:
        form = _choose(table)
    distinct, starts = runs_of(values)
    rungs = int(values[-1]) + 1 if form == LADDER else 0
    grid = np.zeros(rungs)
    if rungs:
        grid[values.astype(np.intp)] = frequency
    header = [k, form, values.size, distinct.size, rungs, 0.0, exposure[0], frequency.sum()]
    work = 2 * distinct.size + (3 * k + 2) * values.size + 2 * (k + 1) * rungs
    buffer = np.concatenate(
        [
            header,
            spec.sampling_numbers(),
            np.zeros(1 + size + size * size),
            values,
            exposure,
            frequency,
            count_constants(values),
            distinct,
            starts,
            grid,
            # the last factor of the step from x to x + 1
            1.0 / np.arange(1.0, rungs + 1.0),
            np.zeros(work),
        ]
    )
    buffer[13] = buffer.size
    return Target(buffer, size)


def runs_of(values: Floats) -> tuple[Floats, Floats]:
    """Distinct values of sorted rows, (n_values,), and where the rows of each begin, one longer."""
    distinct, first = np.unique(values, return_index=True)
    return distinct, np.append(first, values.size).astype(np.float64)


def _choose(table: CountTable) -> int:
    one_exposure = bool((table.exposure == table.exposure[0]).all())
    short = table.values[-1] <= min(_LARGEST_LADDER, 2 * table.values.size + 16)
    return LADDER if one_exposure and short else ROWS
