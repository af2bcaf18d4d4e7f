"""The exact log density of a mixture of negative binomials on a table of rows.

With mean m = exposure * mean, inverse dispersion r and N = x + r, the log density is written in
its saddle-point form

    r L(N / (r + m)) + x L(N m / ((r + m) x)) + S(N) - S(r) - S(x) + log(r / (2 pi N x)) / 2,

where L(1 + t) = log(1 + t) - t and S is the remainder of Stirling's series. Both L terms are
non-positive and nothing large is subtracted from anything large, so the error stays near the last
bit for counts of 1e9 as for 0, and the formula runs smoothly into the Poisson density, which is
what r = inf gives. The idea is Loader's for the binomial (C. Loader 2000, "Fast and accurate
computation of binomial probabilities"), carried to the negative binomial.

Arrays of a table: ``values``, ``exposure``, ``frequency`` (n_unique,) of floats; of a mixture:
``log_weights``, ``means``, ``inv_disps`` (n_components,).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture.compiled import compiled
from pmnbmix.mixture.special import (
    digamma_excess,
    digamma_gap,
    log1pmx,
    log_ratio_excess,
    stirling_remainder,
    trigamma_gap,
)

_LOG_TWO_PI = math.log(2 * math.pi)
# Inverse dispersion over mean above which a distribution function is Poisson's to ten digits.
_POISSON_FROM = 1e12


@compiled
def count_constant(x: float) -> float:
    """Part of the log density that depends on the count alone."""
    return stirling_remainder(x) + 0.5 * (_LOG_TWO_PI + math.log(x)) if x > 0.0 else 0.0


@compiled
def component_log_density(x: float, m: float, r: float) -> float:
    """Log density of one count under one component of mean m >= 0 and inverse dispersion r > 0."""
    if m == 0.0:
        return 0.0 if x == 0.0 else -math.inf
    if math.isinf(r):
        return _poisson_log_density(x, m, count_constant(x))
    if x == 0.0:
        return -r * math.log1p(m / r)
    total = r + x
    inverse = 1.0 / (r + m)
    gap = x - m
    saddle = r * log_ratio_excess(total * inverse, gap * inverse)
    saddle += x * log_ratio_excess(total * inverse * (m / x), -gap * (r * inverse) / x)
    remainder = stirling_remainder(total) - stirling_remainder(r) - count_constant(x)
    return saddle + remainder + 0.5 * math.log(r / total)


@compiled
def _poisson_log_density(x: float, m: float, constant: float) -> float:
    if x == 0.0:
        return -m
    return x * log_ratio_excess(m / x, (m - x) / x) - constant


@compiled
def component_terms(
    x: float, constant: float, m: float, r: float, remainder: float, excess: float
) -> tuple[float, float, float]:
    """Log density, and its derivatives in log mean and log dispersion, sharing what they share.

    ``constant`` is `count_constant` of x; ``remainder`` and ``excess`` are `stirling_remainder`
    and `digamma_excess` of r. For finite r and m > 0.
    """
    inverse = 1.0 / (r + m)
    gap = x - m
    t = gap * inverse
    if x == 0.0:
        ratio = log1pmx(t) if t > -0.3 else -math.log1p(m / r) - t
        return r * (ratio + t), gap * (r * inverse), -r * ratio
    total = r + x
    ratio = log_ratio_excess(total * inverse, t)
    saddle = r * ratio
    saddle += x * log_ratio_excess(total * inverse * (m / x), -gap * (r * inverse) / x)
    value = saddle + stirling_remainder(total) - remainder - constant + 0.5 * math.log(r / total)
    return value, gap * (r * inverse), -r * (digamma_gap(r, x, excess) + ratio)


@compiled
def component_gradient(x: float, m: float, r: float) -> tuple[float, float]:
    """Derivatives of the log density in log mean and in log dispersion (0 at the Poisson limit)."""
    if math.isinf(r):
        return x - m, 0.0
    shared = r + m
    gap = x - m
    excess = log_ratio_excess((r + x) / shared, gap / shared)
    return gap * (r / shared), -r * (digamma_gap(r, x, digamma_excess(r)) + excess)


@compiled
def component_hessian(x: float, m: float, r: float) -> tuple[float, float, float]:
    """Second derivatives: mean-mean, mean-dispersion, dispersion-dispersion, all in logs."""
    if math.isinf(r):
        return -m, 0.0, 0.0
    shared = r + m
    total = r + x
    gap = x - m
    share = r / shared
    by_mean_mean = -m * share * (total / shared)
    by_mean_dispersion = -gap * share * (m / shared)
    first = r * (
        digamma_gap(r, x, digamma_excess(r)) + log_ratio_excess(total / shared, gap / shared)
    )
    standardised = gap * share
    second = r * r * trigamma_gap(r, x) + standardised * (standardised / total)
    return by_mean_mean, by_mean_dispersion, first + second


@compiled
def poisson_dispersion_score(x: float, m: float) -> float:
    """Derivative of the log density in the dispersion itself (not its log) at dispersion 0."""
    gap = x - m
    return 0.5 * (gap * gap - x)


def component_cdf(
    values: NDArray[np.float64], means: NDArray[np.float64], inv_disps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of at most ``values`` under one component; all three broadcast.

    A value below 0 has probability 0.
    """
    values, means, inv_disps = np.broadcast_arrays(values, means, inv_disps)
    out = np.where(values >= 0, 1.0, 0.0)
    inside = (values >= 0) & (means > 0)
    # beyond this the incomplete beta function loses digits that the incomplete gamma has
    poisson = inside & (inv_disps > _POISSON_FROM * np.maximum(means, 1.0))
    mixed = inside & ~poisson
    out[poisson] = special.gammaincc(values[poisson] + 1.0, means[poisson])
    # the complement's argument keeps its digits where the mean is far below inv_disps
    share = means[mixed] / (inv_disps[mixed] + means[mixed])
    out[mixed] = special.betaincc(values[mixed] + 1.0, inv_disps[mixed], share)
    return out


@compiled
def count_constants(values: np.ndarray) -> np.ndarray:
    """`count_constant` of every row, (n_unique,)."""
    out = np.empty(values.size)
    for u in range(values.size):
        out[u] = count_constant(values[u])
    return out


@compiled
def component_table(
    values: np.ndarray, exposure: np.ndarray, means: np.ndarray, inv_disps: np.ndarray
) -> np.ndarray:
    """Log density of every row under every component, (n_unique, n_components)."""
    table = np.empty((values.size, means.size))
    for k in range(means.size):
        for u in range(values.size):
            table[u, k] = component_log_density(values[u], exposure[u] * means[k], inv_disps[k])
    return table


@compiled
def log_sum_exp(terms: np.ndarray) -> float:
    """``log(sum(exp(terms)))``; minus infinity where every term is."""
    largest = -math.inf
    for term in terms:
        largest = max(largest, term)
    if math.isinf(largest):
        return largest
    total = 0.0
    for term in terms:
        total += math.exp(term - largest)
    return largest + math.log(total)


@compiled
def mixture_table(
    values: np.ndarray,
    exposure: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> np.ndarray:
    """Log density of every row under the mixture, (n_unique,)."""
    out = np.empty(values.size)
    terms = np.empty(means.size)
    for u in range(values.size):
        for k in range(means.size):
            terms[k] = log_weights[k] + component_log_density(
                values[u], exposure[u] * means[k], inv_disps[k]
            )
        out[u] = log_sum_exp(terms)
    return out


@compiled
def draws_table(
    values: np.ndarray,
    exposure: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> np.ndarray:
    """Log density of every row under every draw of the mixture, (n_draws, n_unique).

    ``log_weights``, ``means`` and ``inv_disps`` are (n_draws, n_components).
    """
    out = np.empty((means.shape[0], values.size))
    for s in range(means.shape[0]):
        out[s] = mixture_table(values, exposure, log_weights[s], means[s], inv_disps[s])
    return out


@compiled
def responsibilities_table(
    values: np.ndarray,
    exposure: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> np.ndarray:
    """P(component | row), (n_unique, n_components); NaN in a row that no component can produce."""
    table = component_table(values, exposure, means, inv_disps)
    for u in range(values.size):
        for k in range(means.size):
            table[u, k] += log_weights[k]
        normaliser = log_sum_exp(table[u])
        for k in range(means.size):
            table[u, k] = math.exp(table[u, k] - normaliser)
    return table


@compiled
def draws_responsibilities(
    values: np.ndarray,
    exposure: np.ndarray,
    log_weights: np.ndarray,
    means: np.ndarray,
    inv_disps: np.ndarray,
) -> np.ndarray:
    """P(component | row) under every draw, (n_draws, n_unique, n_components)."""
    out = np.empty((means.shape[0], values.size, means.shape[1]))
    for s in range(means.shape[0]):
        out[s] = responsibilities_table(values, exposure, log_weights[s], means[s], inv_disps[s])
    return out
