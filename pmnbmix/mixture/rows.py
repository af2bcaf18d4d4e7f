"""Log densities and responsibilities of every row under many draws, on all cores."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled, read_only
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.blocks import (
    BLOCK,
    Logs,
    Runs,
    block_of,
    block_size,
    fill_block,
    fill_remainders,
    runs_of,
)
from pmnbmix.mixture.levels import (
    Levels,
    Rows,
    mixture_rows,
    responsibilities_table,
    rows_of,
)

Floats = NDArray[np.float64]

# Starting threads takes longer than computing fewer densities than this.
_PARALLEL_FROM = 200_000


def draws_log_density(
    table: CountTable, log_weights: Floats, means: Floats, inv_disps: Floats
) -> Floats:
    """Log density of every row under every draw of the mixture, (n_draws, n_unique).

    ``log_weights``, ``means`` and ``inv_disps`` are (n_draws, n_components).
    """
    out = np.empty((means.shape[0], table.values.size))
    _on_all_cores(table, log_weights, means, inv_disps, out, np.empty((means.shape[0], 0, 0)))
    return out


def draws_responsibilities(
    table: CountTable, log_weights: Floats, means: Floats, inv_disps: Floats
) -> Floats:
    """P(component | row) under every draw, (n_draws, n_unique, n_components)."""
    out = np.empty((means.shape[0], table.values.size, means.shape[1]))
    _on_all_cores(table, log_weights, means, inv_disps, np.empty((means.shape[0], 0)), out)
    return out


def _on_all_cores(
    table: CountTable,
    log_weights: Floats,
    means: Floats,
    inv_disps: Floats,
    log_density: Floats,
    responsibilities: Floats,
) -> None:
    rows, runs = rows_of(table), runs_of(table.values)
    by_draw = (log_weights, means, inv_disps, log_density, responsibilities)
    n_draws = means.shape[0]
    workers = os.cpu_count() or 1
    if means.size * table.values.size < _PARALLEL_FROM or workers == 1:
        _fill(rows, runs, *by_draw)
        return
    cuts = np.linspace(0, n_draws, workers + 1).astype(np.intp)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_fill, rows, runs, *(array[a:b] for array in by_draw))
            for a, b in itertools.pairwise(cuts)
        ]
        for job in jobs:
            job.result()


@compiled
def _is_inside(log_weights: np.ndarray, means: np.ndarray, inv_disps: np.ndarray) -> bool:
    """Whether the fast form can do it: no component empty, Poisson or a point mass."""
    for j in range(means.size):
        inside = log_weights[j] > -1e300 and 1e-140 < means[j] < 1e140
        if not (inside and 1e-140 < inv_disps[j] < 1e140):
            return False
    return True


@compiled
def _fill(
    rows: Rows,
    runs: Runs,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    log_density: np.ndarray,
    responsibilities: np.ndarray,
) -> None:
    """Fill log densities (n_draws, n) and responsibilities (n_draws, n, k), or those with room."""
    k, n = means.shape[1], rows.values.size
    block = block_of(np.empty(block_size(k)), k)
    remainders = np.empty((k, 2, runs.distinct.size))
    unused = Logs(np.empty(0), np.empty((0, 0)))
    once = Rows(rows.values, rows.exposure, read_only(np.ones(n)), rows.constants, rows.level)
    for s in range(means.shape[0]):
        if not _is_inside(log_weights[s], means[s], inv_disps[s]):
            levels = Levels(log_weights[s : s + 1], means[s : s + 1], inv_disps[s : s + 1])
            if log_density.size:
                log_density[s] = mixture_rows(rows, levels)
            if responsibilities.size:
                responsibilities[s] = responsibilities_table(rows, levels)
            continue
        of_draw = (
            log_weights[s].reshape((k, 1)),
            means[s].reshape((k, 1)),
            inv_disps[s].reshape((k, 1)),
        )
        fill_remainders(runs, of_draw[1], of_draw[2], remainders)
        run = 0
        for first in range(0, n, BLOCK):
            stop = min(first + BLOCK, n)
            run = fill_block(once, runs, first, stop, run, *of_draw, remainders, unused, block)
            if log_density.size:
                for u in range(stop - first):
                    log_density[s, first + u] = block.log_mass[u] - rows.constants[first + u]
            if responsibilities.size:
                for u in range(stop - first):
                    for j in range(k):
                        responsibilities[s, first + u, j] = block.density[j, u] * block.mass[u]
