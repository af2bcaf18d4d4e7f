"""Log densities and responsibilities of every row under many draws, on all cores."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import count_constants, mixture_rows, responsibilities_table
from pmnbmix.mixture.fused import fill_blocks
from pmnbmix.mixture.target import runs_of

Floats = NDArray[np.float64]

# Fewer densities than this are not worth starting threads for.
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
    rows = (table.values, table.exposure, *runs_of(table.values))
    constants = count_constants(table.values)
    by_draw = (log_weights, means, inv_disps, log_density, responsibilities)
    n_draws = means.shape[0]
    workers = os.cpu_count() or 1
    if means.size * table.values.size < _PARALLEL_FROM or workers == 1:
        _fill(rows, constants, *by_draw)
        return
    cuts = np.linspace(0, n_draws, workers + 1).astype(np.intp)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_fill, rows, constants, *(array[a:b] for array in by_draw))
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
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    constants: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    log_density: np.ndarray,
    responsibilities: np.ndarray,
) -> None:
    """Fill log densities (n_draws, n) and responsibilities (n_draws, n, k), or those with room."""
    values, exposure, distinct, _ = rows
    k = means.shape[1]
    blocks, per_value = np.empty((3 * k + 2, values.size)), np.empty((2, distinct.size))
    once = np.ones(values.size)
    for s in range(means.shape[0]):
        parameters = (log_weights[s], means[s], inv_disps[s])
        quick = _is_inside(*parameters)
        if quick:
            fill_blocks(rows, once, *parameters, blocks, per_value)
        if log_density.size:
            if quick:
                log_density[s] = blocks[3 * k] - constants
            else:
                log_density[s] = mixture_rows(values, exposure, constants, *parameters)
        if responsibilities.size:
            if quick:
                for u in range(values.size):
                    for j in range(k):
                        responsibilities[s, u, j] = blocks[j, u] * blocks[3 * k + 1, u]
            else:
                responsibilities[s] = responsibilities_table(values, exposure, *parameters)
