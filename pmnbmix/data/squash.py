"""Exposures by Gauss quadrature: a small table that stands for one whose rows do not collapse.

Rows with distinct exposures do not collapse. But for one count, the sum over its rows of a smooth
function of log exposure is an integral against the empirical distribution of the log exposures;
the Gauss rule of that distribution, bin by bin, gives it with geometrically falling error. Weights
are positive and keep the number of observations, so the result is a count table like any other,
with fractional frequencies. That a small data set can keep the moments of a large one is an idea
of W. DuMouchel et al. 1999, "Squashing flat files flatter", KDD-99, doi:10.1145/312129.312184; the
rule is made as in G. H. Golub and J. H. Welsch 1969, "Calculation of Gauss quadrature rules",
Math. Comp. 23, 221-230, doi:10.1090/S0025-5718-69-99647-1.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled, dot
from pmnbmix.data.table import CountTable

# A part of the spread this small cannot be told from rounding: the rule is already exact.
_EXHAUSTED = 1e-13


def squash(table: CountTable, width: float, nodes: int) -> CountTable:
    """Replace the exposures of each count at each level by the nodes of a quadrature rule.

    Parameters
    ----------
    table : CountTable
        Sorted by count, then level, then exposure; every row is its own unit.
    width : float
        Width of the bins of log exposure, in natural log units.
    nodes : int
        Nodes of the rule in each bin. A bin with no more rows than this is kept as it is.

    Returns
    -------
    CountTable
        Sorted as before; frequencies are positive, fractional, and keep their sum for each count.
    """
    rows, level, kept = squash_rows(
        table.values, table.level, np.log(table.exposure), table.frequency, width, nodes
    )
    values, log_exposure, frequency = rows
    exposure = np.exp(log_exposure)
    # A row that was not replaced keeps its exposure to the last bit.
    exposure[kept >= 0] = table.exposure[kept[kept >= 0]]
    return CountTable(values, exposure, level, np.arange(values.size), frequency)


@compiled
def squash_rows(
    values: np.ndarray,
    level: np.ndarray,
    position: np.ndarray,
    frequency: np.ndarray,
    width: float,
    nodes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (3, n_rows) of value, log exposure and frequency, and their levels (n_rows,).

    Last, which row each of them was before, or -1.
    """
    out = np.empty((3, values.size))
    levels, kept = np.empty_like(level), np.full(values.size, -1)
    filled = 0
    start = 0
    while start < values.size:
        # A bin holds rows of one count at one level, begins at the first of them and is at most
        # ``width`` wide.
        stop, begun = start + 1, filled
        while (
            stop < values.size
            and values[stop] == values[start]
            and level[stop] == level[start]
            and position[stop] - position[start] < width
        ):
            stop += 1
        if position[stop - 1] == position[start] and stop - start > 1:
            # Exposures that differ in their last bits only have equal logarithms.
            out[:, filled] = values[start], position[start], frequency[start:stop].sum()
            filled += 1
        elif stop - start <= nodes:
            for row in range(start, stop):
                out[:, filled] = values[row], position[row], frequency[row]
                kept[filled] = row
                filled += 1
        else:
            where, weight = gauss_rule(position[start:stop], frequency[start:stop], nodes)
            for node in range(where.size):
                out[:, filled] = values[start], where[node], weight[node]
                filled += 1
        levels[begun:filled] = level[start]
        start = stop
    return out[:, :filled], levels[:filled], kept[:filled]


@compiled
def gauss_rule(
    position: np.ndarray, weight: np.ndarray, nodes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of a discrete measure, exact for polynomials up to degree 2 nodes - 1.

    The Lanczos process, with full reorthogonalisation, gives the Jacobi matrix of the measure; its
    eigenvalues are the nodes. Fewer nodes come back if the measure has fewer points.

    Parameters
    ----------
    position : ndarray, shape (n,)
        Ascending.
    weight : ndarray, shape (n,)
        Above 0.
    nodes : int

    Returns
    -------
    where, mass : ndarray, shape (<= nodes,)
    """
    total = weight.sum()
    middle = 0.5 * (position[0] + position[-1])
    half = 0.5 * (position[-1] - position[0])
    basis = np.zeros((nodes, position.size))
    diagonal, beside = np.zeros(nodes), np.zeros(nodes)
    scaled = (position - middle) / half
    basis[0] = np.sqrt(weight / total)
    rank = nodes
    for j in range(nodes):
        vector = scaled * basis[j]
        diagonal[j] = dot(vector, basis[j])
        for _ in range(2):
            for i in range(j + 1):
                vector -= dot(vector, basis[i]) * basis[i]
        beside[j] = math.sqrt(dot(vector, vector))
        if j + 1 == nodes or beside[j] < _EXHAUSTED:
            rank = j + 1
            break
        basis[j + 1] = vector / beside[j]
    jacobi = np.zeros((rank, rank))
    for j in range(rank):
        jacobi[j, j] = diagonal[j]
        if j + 1 < rank:
            jacobi[j, j + 1] = jacobi[j + 1, j] = beside[j]
    eigenvalues, vectors = np.linalg.eigh(jacobi)
    return middle + half * eigenvalues, total * vectors[0] ** 2
