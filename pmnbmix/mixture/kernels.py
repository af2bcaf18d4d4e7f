"""Compiled sums over the table: log likelihood with derivatives, and the log posterior for NUTS.

Derivatives are taken in the coordinates (L, a, b) of length 3 n_components: L the logits of the
weights (weights = softmax(L)), a the log means, b the log dispersions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.data.counts import CountTable
from pmnbmix.mixture.density import (
    component_jet,
    component_terms,
    count_constants,
    inverse_constants,
    log_sum_exp,
)
from pmnbmix.mixture.special import digamma_excess, stirling_remainder

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


@compiled
def log_posterior(
    packed: np.ndarray,
    gradient: np.ndarray,
    values: np.ndarray,
    exposure: np.ndarray,
    frequency: np.ndarray,
    constants: np.ndarray,
    prior: np.ndarray,
) -> float:
    """Log posterior and its gradient (written into ``gradient``) in the coordinates of NUTS.

    ``packed`` (3k - 1,) holds the log ratios of the first k - 1 weights to the last, the log means
    and the log dispersions. ``constants`` is `density.count_constants` of the values. ``prior``
    holds the Dirichlet concentration, then loc and scale of the log means and of the log
    dispersions. The Jacobian of the log ratios, the product of all weights, is included; constants
    of the priors are not. Minus infinity where a parameter is too extreme for a number.
    """
    k = (packed.size + 1) // 3
    concentration, mean_loc, mean_scale, dispersion_loc, dispersion_scale = prior
    logits = np.zeros(k)
    logits[: k - 1] = packed[: k - 1]
    log_weights = logits - log_sum_exp(logits)
    weights = np.exp(log_weights)
    means = np.exp(packed[k - 1 : 2 * k - 1])
    inv_disps = np.exp(-packed[2 * k - 1 :])
    remainders, excesses = np.empty(k), np.empty(k)
    for j in range(k):
        if not (0.0 < means[j] < math.inf and 0.0 < inv_disps[j] < math.inf):
            return -math.inf
        remainders[j] = stirling_remainder(inv_disps[j])
        excesses[j] = digamma_excess(inv_disps[j])

    terms, by_mean, by_dispersion = np.empty(k), np.empty(k), np.empty(k)
    total = 0.0
    gradient[:] = 0.0
    for u in range(values.size):
        largest = -math.inf
        for j in range(k):
            value, by_mean[j], by_dispersion[j] = component_terms(
                values[u],
                constants[u],
                exposure[u] * means[j],
                inv_disps[j],
                remainders[j],
                excesses[j],
            )
            terms[j] = log_weights[j] + value
            largest = max(largest, terms[j])
        if not math.isfinite(largest):
            return -math.inf
        mass = 0.0
        for j in range(k):
            terms[j] = math.exp(terms[j] - largest)
            mass += terms[j]
        total += frequency[u] * (largest + math.log(mass))
        share = frequency[u] / mass
        for j in range(k):
            z = share * terms[j]
            if j < k - 1:
                gradient[j] += z
            gradient[k - 1 + j] += z * by_mean[j]
            gradient[2 * k - 1 + j] += z * by_dispersion[j]
    n = frequency.sum()
    for j in range(k):
        total += concentration * log_weights[j]
        if j < k - 1:
            gradient[j] += concentration - (n + k * concentration) * weights[j]
        mean_deviation = (packed[k - 1 + j] - mean_loc) / mean_scale
        dispersion_deviation = (packed[2 * k - 1 + j] - dispersion_loc) / dispersion_scale
        total -= 0.5 * (mean_deviation**2 + dispersion_deviation**2)
        gradient[k - 1 + j] -= mean_deviation / mean_scale
        gradient[2 * k - 1 + j] -= dispersion_deviation / dispersion_scale
    return total
