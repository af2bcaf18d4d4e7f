"""Few rows that stand for many: what belongs to a row is a smooth function of its log exposure.

For one count, whatever a posterior says of a row (its log density, what is left of it when the row
is left out, its tail probability) depends smoothly on the logarithm of the exposure. So it is made
at the Chebyshev nodes of that logarithm and interpolated by a polynomial in its barycentric form
(J.-P. Berrut, L. N. Trefethen 2004, SIAM Rev. 46, 501-517, doi:10.1137/S0036144502417715).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.data.table import CountTable

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

# Nodes in a panel, and its width in log exposure at most. So the log density of a row is within
# 1e-4 nats for two components that overlap, and within 0.02 for three that are far apart; what is
# left of it without that of a typical draw is far closer.
NODES = 12
_WIDTH = 1.25


@dataclass(frozen=True, eq=False)
class Nodes:
    """Rows at which functions of a row are made, and how these reach the rows of a table.

    Rows of one count whose exposures are near each other are a panel. A panel with more rows than
    nodes has nodes of its own; the rows of any other are its nodes.

    Attributes
    ----------
    table : CountTable
        The nodes. Their frequency makes a sum over nodes the sum over all rows of the polynomial
        through them; it may be below 0.
    rows, starts : ndarray of int, shape (n_panels + 1,)
        First row and first node of each panel, and their numbers.
    place : ndarray, shape (n_rows,)
        Where each row lies in its panel, from -1 to 1.
    """

    table: CountTable
    rows: Whole
    starts: Whole
    place: Floats

    @property
    def exact(self) -> bool:
        """Whether every row is a node."""
        return self.table.values.size == self.place.size

    def spread(self, at_nodes: Floats) -> Floats:
        """Values (n_rows,) of a function of the rows from those at the nodes (n_nodes,)."""
        if self.exact:
            return at_nodes
        return _spread(self.rows, self.starts, self.place, np.ascontiguousarray(at_nodes))

    def interpolated(self) -> NDArray[np.bool_]:
        """Tell which rows are no nodes, (n_rows,)."""
        sizes = np.diff(self.rows)
        return np.repeat(sizes != np.diff(self.starts), sizes)


def nodes_of(table: CountTable, nodes: int = NODES) -> Nodes:
    """Choose the nodes of a table of the plain model, its rows sorted by value, then exposure.

    Parameters
    ----------
    table : CountTable
    nodes : int
        In each panel that has more rows.

    Returns
    -------
    Nodes
    """
    logs = np.log(table.exposure)
    first = np.flatnonzero(np.diff(table.values, prepend=np.nan) != 0)
    run = np.repeat(np.arange(first.size), np.diff(first, append=logs.size))
    low = logs[first][run]
    widths = np.maximum.reduceat(logs, first) - logs[first]
    parts = np.maximum(np.ceil(widths / _WIDTH), 1.0)
    part = np.floor((logs - low) / np.maximum(widths / parts, 1e-300)[run])
    part = np.minimum(part, parts[run] - 1.0)
    rows = np.flatnonzero((np.diff(run, prepend=-1) != 0) | (np.diff(part, prepend=-1.0) != 0))
    rows = np.append(rows, logs.size)
    sizes = np.diff(rows)
    counts = np.where(sizes > nodes, nodes, sizes)
    starts = np.append(0, np.cumsum(counts))
    place, values, exposure, frequency = _laid_out(
        table.values, table.exposure, table.frequency, logs, rows, starts
    )
    return Nodes(CountTable.plain(values, exposure, frequency), rows, starts, place)


def every_row(table: CountTable) -> Nodes:
    """Take every row as its own node."""
    ends = np.array([0, table.values.size])
    return Nodes(table, ends, ends, np.zeros(table.values.size))


@compiled
def _laid_out(
    values: np.ndarray,
    exposure: np.ndarray,
    frequency: np.ndarray,
    logs: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Place of every row in its panel; value, exposure and frequency of every node."""
    place = np.zeros(values.size)
    out = np.zeros((3, starts[-1]))
    for panel in range(rows.size - 1):
        first, stop, node = rows[panel], rows[panel + 1], starts[panel]
        n = starts[panel + 1] - node
        if n == stop - first:
            for i in range(n):
                out[0, node + i], out[1, node + i] = values[first + i], exposure[first + i]
                out[2, node + i] = frequency[first + i]
            continue
        centre = 0.5 * (logs[first] + logs[stop - 1])
        half = 0.5 * (logs[stop - 1] - logs[first])
        shares = np.empty(n)
        for i in range(n):
            out[0, node + i] = values[first]
            out[1, node + i] = math.exp(centre + half * _node(i, n))
        for u in range(first, stop):
            place[u] = min(max((logs[u] - centre) / half, -1.0), 1.0)
            _fill_shares(place[u], shares)
            for i in range(n):
                out[2, node + i] += frequency[u] * shares[i]
    return place, out[0].copy(), out[1].copy(), out[2].copy()


@compiled
def _spread(
    rows: np.ndarray, starts: np.ndarray, place: np.ndarray, at_nodes: np.ndarray
) -> np.ndarray:
    out = np.empty(place.size)
    for panel in range(rows.size - 1):
        first, stop, node = rows[panel], rows[panel + 1], starts[panel]
        n = starts[panel + 1] - node
        if n == stop - first:
            for i in range(n):
                out[first + i] = at_nodes[node + i]
            continue
        shares = np.empty(n)
        for u in range(first, stop):
            _fill_shares(place[u], shares)
            total = 0.0
            for i in range(n):
                total += shares[i] * at_nodes[node + i]
            out[u] = total
    return out


@compiled
def _node(i: int, n: int) -> float:
    """Chebyshev node of the first kind, ascending."""
    return -math.cos(math.pi * (2 * i + 1) / (2 * n))


@compiled
def _fill_shares(t: float, shares: np.ndarray) -> None:
    """Share of each node in the value of the polynomial at t."""
    n = shares.size
    total = 0.0
    for i in range(n):
        gap = t - _node(i, n)
        if gap == 0.0:
            shares[:] = 0.0
            shares[i] = 1.0
            return
        sign = 1.0 if i % 2 == 0 else -1.0
        shares[i] = sign * math.sin(math.pi * (2 * i + 1) / (2 * n)) / gap
        total += shares[i]
    for i in range(n):
        shares[i] /= total
