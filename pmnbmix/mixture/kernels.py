"""Compiled sums over the table: log likelihood with first and second derivatives.

Derivatives are taken in the coordinates (L, a, b) of length 3 n_components: L the logits of the
weights (weights = softmax(L)), a the log means, b the log dispersions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import (
    component_jet,
    count_constants,
    inverse_constants,
    log_sum_exp,
)

Floats = NDArray[np.float64]


def table_arrays(table: CountTable) -> tuple[Floats, Floats, Floats, Floats]:
    """What compiled sums need of a table: values, exposure, frequency and count constants."""
    constants = count_constants(table.values)
    # as the other three, for one compiled version to serve all tables
    constants.flags.writeable = False
    return table.values, table.exposure, table.frequency, constants


@compiled
def _row_jets(
    x: float,
    exposure: float,
    constant: float,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    fixed: np.ndarray,
    terms: np.ndarray,
    jets: np.ndarray,
) -> float:
    """Log density of one row; fills its weighted components (k,) and their derivatives (k, 5)."""
    for j in range(means.size):
        jet = component_jet(
            x,
            constant,
            exposure * means[j],
            inv_disps[j],
            fixed[j, 0],
            fixed[j, 1],
            fixed[j, 2],
        )
        terms[j] = log_weights[j] + jet[0]
        for i in range(5):
            jets[j, i] = jet[i + 1]
    return log_sum_exp(terms)


@compiled
def _fixed_constants(inv_disps: np.ndarray) -> np.ndarray:
    """`inverse_constants` of every component, (k, 3)."""
    fixed = np.empty((inv_disps.size, 3))
    for j in range(inv_disps.size):
        fixed[j] = inverse_constants(inv_disps[j])
    return fixed


@compiled
def marginal_derivatives(
    values: np.ndarray,
    exposure: np.ndarray,
    frequency: np.ndarray,
    constants: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log likelihood of the table with gradient (3k,) and Hessian (3k, 3k) in (L, a, b).

    For one row with responsibilities z and scores g_k of component k, the Hessian of
    log sum_k exp(L_k + f_k) is sum_k z_k (H_k + g_k g_k') minus the outer square of sum_k z_k g_k.
    """
    k = means.size
    weights = np.exp(log_weights)
    fixed = _fixed_constants(inv_disps)
    # compensated, for a climb compares gains of single bits
    total, lost = 0.0, 0.0
    gradient = np.zeros(3 * k)
    hessian = np.zeros((3 * k, 3 * k))
    terms = np.empty(k)
    jets = np.empty((k, 5))
    score = np.empty(3 * k)
    impossible = False
    for u in range(values.size):
        times = frequency[u]
        row = _row_jets(
            values[u], exposure[u], constants[u], log_weights, means, inv_disps, fixed, terms, jets
        )
        if math.isinf(row):
            impossible = True
            continue
        addend = times * row - lost
        moved = total + addend
        lost = (moved - total) - addend
        total = moved
        for j in range(k):
            z = math.exp(terms[j] - row)
            by_mean, by_dispersion, aa, ab, bb = jets[j]
            score[j] = z
            score[k + j] = z * by_mean
            score[2 * k + j] = z * by_dispersion
            gradient[j] += times * (z - weights[j])
            gradient[k + j] += times * score[k + j]
            gradient[2 * k + j] += times * score[2 * k + j]
            hessian[j, j] += times * z
            hessian[j, k + j] += times * score[k + j]
            hessian[j, 2 * k + j] += times * score[2 * k + j]
            hessian[k + j, k + j] += times * z * (aa + by_mean * by_mean)
            hessian[k + j, 2 * k + j] += times * z * (ab + by_mean * by_dispersion)
            hessian[2 * k + j, 2 * k + j] += times * z * (bb + by_dispersion * by_dispersion)
        for i in range(3 * k):
            for j in range(i, 3 * k):
                hessian[i, j] -= times * score[i] * score[j]
    n = frequency.sum()
    for i in range(k):
        hessian[i, i] -= n * weights[i]
        for j in range(i, k):
            hessian[i, j] += n * weights[i] * weights[j]
    for i in range(3 * k):
        for j in range(i):
            hessian[i, j] = hessian[j, i]
    return (-math.inf if impossible else total), gradient, hessian


@compiled
def row_scores(
    values: np.ndarray,
    exposure: np.ndarray,
    constants: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> np.ndarray:
    """Gradient of the log density of each row in (L, a, b), (n_unique, 3k)."""
    k = means.size
    weights = np.exp(log_weights)
    out = np.zeros((values.size, 3 * k))
    terms, jets = np.empty(k), np.empty((k, 5))
    fixed = _fixed_constants(inv_disps)
    for u in range(values.size):
        row = _row_jets(
            values[u], exposure[u], constants[u], log_weights, means, inv_disps, fixed, terms, jets
        )
        for j in range(k):
            z = math.exp(terms[j] - row)
            out[u, j] = z - weights[j]
            out[u, k + j] = z * jets[j, 0]
            out[u, 2 * k + j] = z * jets[j, 1]
    return out
