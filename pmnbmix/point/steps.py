"""What the iterations of EM and of Newton share, compiled into each of them."""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import inlined
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.levels import row_at


@inlined
def share_out(
    frequency: np.ndarray,
    level_of: np.ndarray,
    log_weights: np.ndarray,
    table: np.ndarray,
    mass: np.ndarray,
    logs: np.ndarray,
) -> float:
    """Log likelihood; fills the number of observations of each row a component holds, (k, n).

    ``log_weights`` are those of each level, or (1, k); ``table`` has the log density of each row
    under each component, (n, k); ``logs`` is room for k numbers.
    """
    total = 0.0
    for u in range(frequency.size):
        at = row_at(log_weights, level_of[u])
        for j in range(logs.size):
            logs[j] = log_weights[at, j] + table[u, j]
        row = log_sum_exp(logs)
        total += frequency[u] * row
        for j in range(logs.size):
            mass[j, u] = frequency[u] * math.exp(logs[j] - row)
    return total


@inlined
def substitute(root: np.ndarray, step: np.ndarray) -> None:
    """Solve for a step in place, given the Cholesky factor in the lower half of ``root``."""
    size = step.size
    for j in range(size):
        for i in range(j):
            step[j] -= root[j, i] * step[i]
        step[j] /= root[j, j]
    for j in range(size - 1, -1, -1):
        for i in range(j + 1, size):
            step[j] -= root[i, j] * step[i]
        step[j] /= root[j, j]
