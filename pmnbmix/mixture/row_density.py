"""The log density of the rows under the draws, without an array of all rows by all draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.nodes import Nodes, every_row, nodes_of
from pmnbmix.mixture.params import PARAMETERS

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

# Log densities of all rows under all draws are kept up to this size; beyond it they are made at
# nodes, in blocks of at most this many numbers.
KEPT_BYTES = 100_000_000
# Those at nodes are kept up to this size, since each reader would make them again.
_NODES_BYTES = 200_000_000
_BLOCK = 10_000_000


@dataclass(frozen=True, eq=False)
class RowDensity:
    """Log density of the rows of a table under draws, made when it is first asked for.

    Attributes
    ----------
    draws : Draws
        Their labels do not matter.
    table : CountTable
    stored : ndarray, shape (chain, draw, n_unique), optional
        Of every row, if it is there already.
    """

    draws: Draws
    table: CountTable
    stored: Floats | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the log densities of all rows are kept."""
        size = 8 * self.draws.n_samples * self.table.values.size
        return self.stored is not None or size <= KEPT_BYTES

    @cached_property
    def nodes(self) -> Nodes:
        """Rows that stand for all: every one if all are kept."""
        return every_row(self.table) if self.is_kept else nodes_of(self.table)

    @cached_property
    def _whole(self) -> Floats | None:
        """Log densities at all nodes, (chain, draw, node); None if they are too many."""
        if self.stored is not None:
            return self.stored
        if 8 * self.draws.n_samples * self.nodes.table.values.size > _NODES_BYTES:
            return None
        return self.draws.log_density(self.nodes.table)

    @property
    def kept(self) -> Floats | None:
        """Log densities of every row, (chain, draw, n_unique), if they are kept."""
        return self._whole if self.is_kept else None

    def blocks(self, nodes: Nodes | None = None) -> Iterator[tuple[slice, Floats]]:
        """Log densities (chain, draw, m) at the nodes, or at others, a block at a time."""
        if nodes is None and self._whole is not None:
            yield slice(0, self.nodes.table.values.size), self._whole
            return
        table = (self.nodes if nodes is None else nodes).table
        step = max(1, _BLOCK // self.draws.n_samples)
        for first in range(0, table.values.size, step):
            rows = slice(first, first + step)
            yield rows, self.draws.log_density(table.taken(rows))

    def of_rows(self, rows: Whole) -> Floats:
        """Log densities of some rows of the table, (chain, draw, m)."""
        if self.kept is not None:
            return self.kept[..., rows]
        # The walk over a table relies on the order of its rows.
        ordered, place = np.unique(rows, return_inverse=True)
        return self.draws.log_density(self.table.taken(ordered))[..., place]

    def of_chains(self, chosen: NDArray[np.bool_]) -> RowDensity:
        """Return that of some of the chains."""
        draws = Draws(*(getattr(self.draws, name)[chosen] for name in PARAMETERS))
        kept = self.kept
        return RowDensity(draws, self.table, None if kept is None else kept[chosen])

    @cached_property
    def judged(self) -> tuple[Floats, CountTable]:
        """Log densities by which chains are judged, (chain, draw, m), and the m rows.

        Those of all nodes, or of some that are spread evenly if there are very many.
        """
        table = self.nodes.table
        if self._whole is not None:
            if self.is_kept:
                return self._whole, table
            return self._whole, table.taken(slice(None), np.maximum(table.frequency, 0.0))
        most = max(1, _BLOCK // self.draws.n_samples)
        chosen = np.unique(np.linspace(0, table.values.size - 1, most).astype(np.intp))
        some = table.taken(chosen, np.maximum(table.frequency[chosen], 0.0))
        return self.draws.log_density(some), some

    def variance(self) -> float:
        """Sum over all observations of the variance of their log density over the draws."""
        total, frequency = 0.0, self.nodes.table.frequency
        for rows, block in self.blocks():
            flat = block.reshape(-1, block.shape[2])
            total += float(flat.var(axis=0, ddof=1) @ frequency[rows])
        return total

    @cached_property
    def log_likelihood(self) -> Floats:
        """Log likelihood of the table under each draw, (chain, draw)."""
        total = np.zeros(self.draws.means.shape[:2])
        frequency = self.nodes.table.frequency
        for rows, block in self.blocks():
            total += block @ frequency[rows]
        if not self.nodes.exact:
            # At the centre the error is known, and nearly the same at every draw.
            at_nodes, at_rows = self.of_centre(self.nodes)
            error = at_nodes @ frequency - at_rows @ self.table.frequency
            # A centre that makes a row impossible tells nothing.
            total -= error if np.isfinite(error) else 0.0
        return total

    def of_centre(self, nodes: Nodes) -> tuple[Floats, Floats]:
        """Log density of every node and of every row at the centre of the draws."""
        with np.errstate(divide="ignore"):
            logs = [
                np.log(array).mean((0, 1)) for array in (self.draws.means, self.draws.dispersions)
            ]
        weights = self.draws.weights.mean((0, 1))
        centre = Draws(*(array[None, None] for array in (weights, *np.exp(logs))))
        return centre.log_density(nodes.table)[0, 0], centre.log_density(self.table)[0, 0]
