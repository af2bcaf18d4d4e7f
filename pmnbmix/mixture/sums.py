"""The walk over a table: log likelihood with first and second derivatives in every coefficient.

It has four passes. The *row pass* takes the density of each row under each component, with its
derivatives; the *unit pass* mixes the components of a unit, which today is a row; the *level pass*
sums derivatives by level; the *design pass* carries them from levels to terms. In the plain model
the last two are copies.

Derivatives are taken in the coefficients of logits, log means and log dispersions, which are
numbered as the entries of a point (n_terms, k) are, row after row.
"""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled, dot, inlined
from pmnbmix.mixture.density import component_jet, inverse_constants, log_sum_exp
from pmnbmix.mixture.levels import Levels, Rows, Terms, levels_of, log_densities, row_at
from pmnbmix.mixture.priors import Prior, log_prior


@compiled
def log_likelihood(rows: Rows, terms: Terms, point: np.ndarray) -> float:
    """Log likelihood of the table at a point (n_terms, k)."""
    total: float = dot(rows.frequency, log_densities(rows, terms, point))
    # A row of density 0 makes the compensated sum NaN.
    return total if not math.isnan(total) else -math.inf


@compiled
def penalised(rows: Rows, terms: Terms, prior: Prior, point: np.ndarray) -> float:
    """Log likelihood plus log prior, without the constants of the prior."""
    return log_likelihood(rows, terms, point) + log_prior(prior, point)


@compiled
def derivatives(
    rows: Rows, terms: Terms, prior: Prior, point: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log likelihood; gradient (n_terms k,) and Hessian of it and the log prior together."""
    levels = levels_of(terms, point)
    likelihood, by_level, twice = level_derivatives(rows, levels)
    gradient, hessian = _by_terms(terms, by_level, twice)
    _add_prior(prior, point, gradient, hessian)
    return likelihood, gradient, hessian


@inlined
def level_derivatives(rows: Rows, levels: Levels) -> tuple[float, np.ndarray, np.ndarray]:
    """Log likelihood with gradient (L, 3k) and Hessian (L, 3k, 3k) of the part of each level.

    Coordinates are the logits, log means and log dispersions of the level. For one row with
    responsibilities z and scores g_j of component j, the Hessian of log sum_j exp(L_j + f_j) is
    sum_j z_j (H_j + g_j g_j') minus the outer square of sum_j z_j g_j.
    """
    # Arrays are taken out of their tuples once: each access would count references.
    log_weights, means, inv_disps = levels
    level_of = rows.level
    n_rows, k = level_of.size, means.shape[1]
    n_levels = max(len(log_weights), len(means), len(inv_disps))
    weights = np.exp(log_weights)
    fixed = _fixed_constants(inv_disps)
    n = np.zeros(n_levels)
    gradient = np.zeros((n_levels, 3 * k))
    hessian = np.zeros((n_levels, 3 * k, 3 * k))
    room = np.empty(9 * k)
    total, lost = 0.0, 0.0
    # Numba would compile what is called with a literal 0 for that number alone, too.
    first = 0 * n_rows
    while first < n_rows:
        stop = first + 1 if n_levels > 1 else n_rows
        while stop < n_rows and level_of[stop] == level_of[first]:
            stop += 1
        level = row_at(n, level_of[first])
        weight, spread = row_at(weights, level), row_at(fixed, level)
        n[level], total, lost = _add_stretch(
            rows,
            first,
            stop,
            log_weights[weight],
            weights[weight],
            means[row_at(means, level)],
            inv_disps[spread],
            fixed[spread],
            room,
            n[level],
            total,
            lost,
            gradient[level],
            hessian[level],
        )
        first = stop
    for level in range(n_levels):
        bend, weight = hessian[level], row_at(weights, level)
        for i in range(k):
            bend[i, i] -= n[level] * weights[weight, i]
            for j in range(i, k):
                bend[i, j] += n[level] * weights[weight, i] * weights[weight, j]
        for i in range(3 * k):
            for j in range(i):
                bend[i, j] = bend[j, i]
    return total, gradient, hessian


@compiled
def _add_stretch(
    rows: Rows,
    first: int,
    stop: int,
    log_weights: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
    fixed: np.ndarray,
    room: np.ndarray,
    n: float,
    total: float,
    lost: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
) -> tuple[float, float, float]:
    """Add consecutive rows of one level to its derivatives, and to n and log likelihood.

    The log likelihood is a sum with what it has lost to rounding, because a climb compares gains
    of single bits. It is minus infinity once a row has density 0.
    """
    k = means.size
    terms, jets, score = room[:k], room[k : 6 * k], room[6 * k :]
    # Arrays are taken out of the tuple before the loop: in it, each access would count references.
    values, exposure, frequency, constants, _ = rows
    for u in range(first, stop):
        times = frequency[u]
        n += times
        row = _row_jets(
            values[u], exposure[u], constants[u], log_weights, means, inv_disps, fixed, terms, jets
        )
        if math.isinf(row) or math.isinf(total):
            total = -math.inf
            continue
        addend = times * row - lost
        moved = total + addend
        lost = (moved - total) - addend
        total = moved
        for j in range(k):
            z = math.exp(terms[j] - row)
            by_mean, by_dispersion = jets[5 * j], jets[5 * j + 1]
            score[j] = z
            score[k + j] = z * by_mean
            score[2 * k + j] = z * by_dispersion
            gradient[j] += times * (z - weights[j])
            gradient[k + j] += times * score[k + j]
            gradient[2 * k + j] += times * score[2 * k + j]
            hessian[j, j] += times * z
            hessian[j, k + j] += times * score[k + j]
            hessian[j, 2 * k + j] += times * score[2 * k + j]
            hessian[k + j, k + j] += times * z * (jets[5 * j + 2] + by_mean * by_mean)
            hessian[k + j, 2 * k + j] += times * z * (jets[5 * j + 3] + by_mean * by_dispersion)
            hessian[2 * k + j, 2 * k + j] += (
                times * z * (jets[5 * j + 4] + by_dispersion * by_dispersion)
            )
        for i in range(3 * k):
            for j in range(i, 3 * k):
                hessian[i, j] -= times * score[i] * score[j]
    return n, total, lost


@compiled
def row_scores(rows: Rows, terms: Terms, point: np.ndarray) -> np.ndarray:
    """Gradient of the log density of each row, (n, n_terms k)."""
    levels = levels_of(terms, point)
    k = point.shape[1]
    weights = np.exp(levels.log_weights)
    out = np.empty((rows.values.size, point.size))
    by_level = np.empty(3 * k)
    logs, jets = np.empty(k), np.empty(5 * k)
    fixed = _fixed_constants(levels.inv_disps)
    values, exposure, _, constants, level_of = rows
    log_weights, means, inv_disps = levels
    for u in range(values.size):
        level = level_of[u]
        weight, spread = row_at(weights, level), row_at(inv_disps, level)
        row = _row_jets(
            values[u],
            exposure[u],
            constants[u],
            log_weights[weight],
            means[row_at(means, level)],
            inv_disps[spread],
            fixed[spread],
            logs,
            jets,
        )
        for j in range(k):
            z = math.exp(logs[j] - row)
            by_level[j] = z - weights[weight, j]
            by_level[k + j] = z * jets[5 * j]
            by_level[2 * k + j] = z * jets[5 * j + 1]
        first = 0
        for part in range(3):
            matrix, at = _matrix(terms, part, level)
            for term in range(matrix.shape[1]):
                for j in range(k):
                    out[u, first] = matrix[at, term] * by_level[part * k + j]
                    first += 1
    return out


@inlined
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
    """Log density of one row; fills its weighted components (k,) and their derivatives (5k,)."""
    for j in range(terms.size):
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
            jets[5 * j + i] = jet[i + 1]
    return log_sum_exp(terms)


@compiled
def _fixed_constants(inv_disps: np.ndarray) -> np.ndarray:
    """`inverse_constants` of every inverse dispersion, (L or 1, k, 3)."""
    fixed = np.empty((*inv_disps.shape, 3))
    for level in range(inv_disps.shape[0]):
        for j in range(inv_disps.shape[1]):
            remainder, first, second = inverse_constants(inv_disps[level, j])
            fixed[level, j, 0], fixed[level, j, 1], fixed[level, j, 2] = remainder, first, second
    return fixed


@compiled
def _matrix(terms: Terms, part: int, level: int) -> tuple[np.ndarray, int]:
    """Matrix of a part, and its row for a level."""
    matrix = terms.weights if part == 0 else terms.means if part == 1 else terms.dispersions
    return matrix, row_at(matrix, level)


@inlined
def _by_terms(
    terms: Terms, by_level: np.ndarray, twice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian in the coefficients of the terms, from those of the levels."""
    n_levels, k = by_level.shape[0], by_level.shape[1] // 3
    size = k * (terms.weights.shape[1] + terms.means.shape[1] + terms.dispersions.shape[1])
    if n_levels == 1 and size == 3 * k:
        return by_level[0], twice[0]
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    for level in range(n_levels):
        first = 0
        for part in range(3):
            matrix, at = _matrix(terms, part, level)
            for term in range(matrix.shape[1]):
                x = matrix[at, term]
                other_first = 0
                for other in range(3):
                    others, beside = _matrix(terms, other, level)
                    for partner in range(others.shape[1]):
                        both = x * others[beside, partner]
                        for i in range(k):
                            for j in range(k):
                                hessian[first + i, other_first + j] += (
                                    both * twice[level, part * k + i, other * k + j]
                                )
                        other_first += k
                for i in range(k):
                    gradient[first + i] += x * by_level[level, part * k + i]
                first += k
    return gradient, hessian


@compiled
def _add_prior(prior: Prior, point: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> None:
    """Add the derivatives of the log prior, in place."""
    k = point.shape[1]
    if prior.exponent > 0.0:
        weights = np.exp(point[0])
        for i in range(k):
            gradient[i] += prior.exponent * (1.0 - k * weights[i])
            hessian[i, i] -= prior.exponent * k * weights[i]
            for j in range(k):
                hessian[i, j] += prior.exponent * k * weights[i] * weights[j]
    for row in range(1, point.shape[0]):
        for j in range(k):
            precision = prior.precision[row, j]
            if precision > 0.0:
                gradient[row * k + j] -= precision * (point[row, j] - prior.loc[row, j])
                hessian[row * k + j, row * k + j] -= precision
