"""The exact log density of a mixture of negative binomials on a table of rows.

With mean m = exposure * mean, inverse dispersion r and N = x + r, the log density is written in
its saddle-point form

    r L(N / (r + m)) + x L(N m / ((r + m) x)) + S(N) - S(r) - S(x) + log(r / (2 pi N x)) / 2,

where L(1 + t) = log(1 + t) - t and S is the remainder of Stirling's series. Both L terms are
non-positive and nothing large is subtracted from anything large, so the error stays near the last
bit for counts of 1e9 as for 0, and the formula runs smoothly into the Poisson density, which is
what r = inf gives. The idea is Loader's for the binomial (C. Loader 2000, "Fast and accurate
computation of binomial probabilities"), carried to the negative binomial.

What is here is of one count under one component; `pmnbmix.mixture.levels` has the rows of a table
under a mixture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.compiled import compiled
from pmnbmix.mixture.special import (
    log1pmx,
    log_ratio_excess,
    polygamma_excesses,
    polygamma_gaps,
    stirling_remainder,
)

_LOG_TWO_PI = math.log(2 * math.pi)
# If inverse dispersion over mean is above this, the distribution is Poisson to ten digits.
_POISSON_FROM = 1e12
# Below this, half the digits of the distance of the mean's share from 1 are lost.
_SPREAD_BELOW = 1e-8
# Probabilities of at most this many are summed count by count.
_MOST_SUMMED = 400
# If the log probability of 0 is lower, the sum could begin with an underflow.
_LEAST_SUMMED = -600.0


@compiled
def count_constant(x: float) -> float:
    """Part of the log density that depends on the count alone."""
    return stirling_remainder(x) + 0.5 * (_LOG_TWO_PI + math.log(x)) if x > 0.0 else 0.0


@compiled
def _poisson_log_density(x: float, m: float, constant: float) -> float:
    if x == 0.0:
        return -m
    return x * log_ratio_excess(m / x, (m - x) / x) - constant


@compiled
def component_value(x: float, constant: float, m: float, r: float, remainder: float) -> float:
    """Log density of one count under one component of mean m >= 0 and inverse dispersion r > 0.

    ``constant`` is `count_constant` of x, ``remainder`` `stirling_remainder` of r (0 for inf).
    """
    if m == 0.0:
        return 0.0 if x == 0.0 else -math.inf
    if math.isinf(r):
        return _poisson_log_density(x, m, constant)
    if x == 0.0:
        return -r * math.log1p(m / r)
    total = r + x
    inverse = 1.0 / (r + m)
    gap = x - m
    saddle = r * log_ratio_excess(total * inverse, gap * inverse)
    saddle += x * log_ratio_excess(total * inverse * (m / x), -gap * (r * inverse) / x)
    return saddle + stirling_remainder(total) - remainder - constant + 0.5 * math.log(r / total)


@compiled
def inverse_constants(r: float) -> tuple[float, float, float]:
    """Parts of `component_jet` that depend on r alone; 0 at the Poisson limit."""
    if math.isinf(r):
        return 0.0, 0.0, 0.0
    first, second = polygamma_excesses(r)
    return stirling_remainder(r), first, second


@compiled
def component_jet(
    x: float, constant: float, m: float, r: float, remainder: float, first: float, second: float
) -> tuple[float, float, float, float, float, float]:
    """Log density with all derivatives of first and second order in log mean and log dispersion.

    ``constant`` is `count_constant` of x; ``remainder``, ``first`` and ``second`` are the
    `inverse_constants` of r. For every m >= 0 and r > 0, inf included; derivatives in a log
    dispersion of minus infinity are 0.

    Returns
    -------
    tuple of float
        Value; by mean, by dispersion; by mean twice, by both, by dispersion twice.
    """
    if m == 0.0:
        return (0.0 if x == 0.0 else -math.inf), x, 0.0, 0.0, 0.0, 0.0
    gap = x - m
    if math.isinf(r):
        return _poisson_log_density(x, m, constant), gap, 0.0, -m, 0.0, 0.0
    inverse = 1.0 / (r + m)
    share = r * inverse
    standardised = gap * share
    total = r + x
    t = gap * inverse
    by_mean_mean = -m * share * (total * inverse)
    by_both = -standardised * (m * inverse)
    curved = standardised * (standardised / total)
    if x == 0.0:
        ratio = log1pmx(t) if t > -0.3 else -math.log1p(m / r) - t
        slope = -r * ratio
        return r * (ratio + t), standardised, slope, by_mean_mean, by_both, curved - slope
    ratio = log_ratio_excess(total * inverse, t)
    saddle = r * ratio
    saddle += x * log_ratio_excess(total * inverse * (m / x), -standardised / x)
    value = saddle + stirling_remainder(total) - remainder - constant + 0.5 * math.log(r / total)
    digamma, trigamma = polygamma_gaps(r, x, first, second)
    slope = -r * (digamma + ratio)
    return (
        value,
        standardised,
        slope,
        by_mean_mean,
        by_both,
        curved - slope + r * r * trigamma,
    )


def component_cdf(
    values: NDArray[np.float64], means: NDArray[np.float64], inv_disps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of at most ``values`` under one component; all three broadcast.

    A value below 0 has probability 0.
    """
    return _component_tail(values, means, inv_disps, upper=False)


def component_sf(
    values: NDArray[np.float64], means: NDArray[np.float64], inv_disps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of more than ``values`` under one component, exact even if it is tiny."""
    return _component_tail(values, means, inv_disps, upper=True)


def _component_tail(
    values: NDArray[np.float64],
    means: NDArray[np.float64],
    inv_disps: NDArray[np.float64],
    upper: bool,
) -> NDArray[np.float64]:
    values, means, inv_disps = np.broadcast_arrays(values, means, inv_disps)
    out = np.where((values >= 0) != upper, 1.0, 0.0)
    inside = (values >= 0) & (means > 0)
    if not upper:
        flat = (np.ravel(array).astype(np.float64) for array in (values, means, inv_disps))
        summed = _summed_cdf(*flat).reshape(out.shape)
        known = inside & ~np.isnan(summed)
        out[known] = summed[known]
        inside &= ~known
    gamma, beta = (
        (special.gammainc, special.betainc) if upper else (special.gammaincc, special.betaincc)
    )
    # Beyond this, the incomplete beta function loses digits that the incomplete gamma keeps.
    poisson = inside & (inv_disps > _POISSON_FROM * np.maximum(means, 1.0))
    # Far the other way the mean's share rounds to 1, so that of the inverse dispersion is taken.
    spread = inside & (inv_disps < _SPREAD_BELOW * means)
    mixed = inside & ~poisson & ~spread
    rest = inv_disps[spread] / (inv_disps[spread] + means[spread])
    other = special.betaincc if upper else special.betainc
    out[spread] = other(inv_disps[spread], values[spread] + 1.0, rest)
    out[poisson] = gamma(values[poisson] + 1.0, means[poisson])
    # The argument of the complement keeps its digits if the mean is far below inv_disps.
    share = means[mixed] / (inv_disps[mixed] + means[mixed])
    out[mixed] = beta(values[mixed] + 1.0, inv_disps[mixed], share)
    return out


@compiled
def _summed_cdf(values: np.ndarray, means: np.ndarray, inv_disps: np.ndarray) -> np.ndarray:
    """Probability of at most small counts, by a sum from 0; NaN if a count is large or remote.

    The incomplete beta function takes as long as some 700 steps of this sum.
    """
    out = np.empty(values.size)
    for u in range(values.size):
        x, mean, p = values[u], means[u], 1.0 / inv_disps[u]
        out[u] = math.nan
        if not 0.0 <= x <= _MOST_SUMMED or not 0.0 < mean < math.inf or not p < math.inf:
            continue
        log_none = component_value(0.0, 0.0, mean, inv_disps[u], 0.0)
        if not log_none > _LEAST_SUMMED:
            continue
        term = math.exp(log_none)
        total, factor = term, mean / (1.0 + mean * p)
        for j in range(int(x)):
            term *= factor * (1.0 + j * p) / (j + 1.0)
            total += term
        out[u] = min(total, 1.0)
    return out


@compiled
def count_constants(values: np.ndarray) -> np.ndarray:
    """`count_constant` of every row, (n_unique,)."""
    out = np.empty(values.size)
    for u in range(values.size):
        out[u] = count_constant(values[u])
    return out


@compiled
def log_sum_exp(terms: np.ndarray) -> float:
    """``log(sum(exp(terms)))``; minus infinity if every term is."""
    largest = -math.inf
    for term in terms:
        largest = max(largest, term)
    if math.isinf(largest):
        return largest
    total = 0.0
    for term in terms:
        total += math.exp(term - largest)
    return largest + math.log(total)


def conditional_rates(
    means: NDArray[np.float64],
    dispersions: NDArray[np.float64],
    values: NDArray[np.float64],
    exposure: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the rate behind a count, given its component; all arrays broadcast.

    The rate of a count x with exposure s is gamma distributed with shape r + x and mean
    mu (r + x) / (r + s mu), r = 1 / dispersion; at dispersion 0 it is the mean of the component.
    """
    growth = 1.0 + dispersions * values
    rate = means * growth / (1.0 + dispersions * (exposure * means))
    return rate, rate**2 * (dispersions / growth)
