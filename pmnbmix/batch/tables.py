"""Columns of a sparse matrix, compiled: whether they are counts, and their tables of rows.

A column is held as its nonzero values and their rows; its zeros are what is left.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.data.checks import LARGEST_COUNT

# These say what is wrong with a value; 0 is nothing.
FINE, MISSING, INFINITE, NEGATIVE, FRACTIONAL, TOO_LARGE = range(6)

# Counts up to this many times their number are told apart by counting, larger ones by sorting.
_COUNTED = 4
_LARGEST_COUNT = float(LARGEST_COUNT)


@compiled
def find_faults(indptr: np.ndarray, values: np.ndarray, kinds: np.ndarray, at: np.ndarray) -> None:
    """Say of each column what is wrong with its first bad value, and where in ``values`` that is.

    ``kinds`` and ``at`` are (n_columns,), filled here.
    """
    for column in range(kinds.size):
        kinds[column] = FINE
        for i in range(indptr[column], indptr[column + 1]):
            value = values[i]
            kind = FINE
            if math.isnan(value):
                kind = MISSING
            elif math.isinf(value):
                kind = INFINITE
            elif value < 0.0:
                kind = NEGATIVE
            elif value > _LARGEST_COUNT:
                kind = TOO_LARGE
            elif value != math.floor(value):
                kind = FRACTIONAL
            if kind != FINE:
                kinds[column], at[column] = kind, i
                break


@compiled
def nonzeros(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (n_columns + 1,), rows and values of what is not 0 in a block of columns (n, m)."""
    indptr = np.zeros(dense.shape[1] + 1, dtype=np.int64)
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            indptr[j + 1] += dense[i, j] != 0.0
    indptr = np.cumsum(indptr)
    filled = indptr[:-1].copy()
    rows = np.empty(indptr[-1], dtype=np.int64)
    values = np.empty(indptr[-1])
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            if dense[i, j] != 0.0:
                rows[filled[j]] = i
                values[filled[j]] = dense[i, j]
                filled[j] += 1
    return indptr, rows, values


@compiled
def collapsed_table(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct counts, zeros for the log exposure, and frequencies of one column."""
    largest = 0.0
    for i in range(values.size):
        largest = max(largest, values[i])
    if largest > _COUNTED * values.size + 1000.0:
        return _sorted_table(values, n)
    seen = np.zeros(int(largest) + 1)
    for i in range(values.size):
        seen[int(values[i])] += 1.0
    seen[0] += n - values.size
    distinct = np.flatnonzero(seen)
    return distinct.astype(np.float64), np.zeros(distinct.size), seen[distinct]


@compiled
def _sorted_table(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = np.sort(values)
    zeros = n - values.size
    distinct = 1
    for i in range(1, ordered.size):
        distinct += ordered[i] != ordered[i - 1]
    size = distinct + (zeros > 0)
    found, frequency = np.zeros(size), np.zeros(size)
    at = 0 if zeros > 0 else -1
    if zeros > 0:
        frequency[0] = zeros
    for i in range(ordered.size):
        if i == 0 or ordered[i] != ordered[i - 1]:
            at += 1
            found[at] = ordered[i]
        frequency[at] += 1.0
    return found, np.zeros(size), frequency


@compiled
def exposed_table(
    rows: np.ndarray,
    values: np.ndarray,
    position: np.ndarray,
    by_position: np.ndarray,
    taken: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, log exposure and frequency 1 of every observation, by value, then exposure.

    ``position`` is the log exposure of every observation, ``by_position`` their order by it;
    ``taken`` is room (n,), False on entry and on return.
    """
    n = position.size
    found, where = np.zeros(n), np.empty(n)
    zeros = n - values.size
    for i in range(rows.size):
        taken[rows[i]] = True
    at = 0
    for i in range(n):
        if not taken[by_position[i]]:
            where[at] = position[by_position[i]]
            at += 1
    for i in range(rows.size):
        taken[rows[i]] = False
    # Rows are sorted by exposure first, then, stably, by value.
    first = np.argsort(position[rows], kind="mergesort")
    second = first[np.argsort(values[first], kind="mergesort")]
    for i in range(second.size):
        found[zeros + i] = values[second[i]]
        where[zeros + i] = position[rows[second[i]]]
    return found, where, np.ones(n)
