"""Special functions that keep the negative binomial exact from strong overdispersion to Poisson.

The textbook formula subtracts log gamma functions that agree in almost every digit once the
inverse dispersion is large. The functions here are what is left after that subtraction was done
on paper: remainders of Stirling's series and of ``log1p``, each computed to full precision.
Series coefficients: NIST Digital Library of Mathematical Functions, sections 5.11 and 5.15,
https://dlmf.nist.gov/5.11.
"""

from __future__ import annotations

import math

from pmnbmix.compiled import compiled, inlined

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

# From this argument on, five to eight terms of the asymptotic series reach the last bit.
_SERIES_FROM = 15.0

# B_2k / (2k (2k - 1)): log gamma
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
# digamma(z) - log(z) + 1/(2z), a polynomial in 1/z^2 without constant term
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760)
# trigamma(z) - 1/z - 1/(2z^2) times z, a polynomial in 1/z^2 without constant term
_TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
Series = tuple[float, float, float, float, float, float]


@compiled
def log1pmx(t: float) -> float:
    """``log(1 + t) - t`` for t > -1, without cancellation near 0.

    With y = t / (2 + t), log(1 + t) is 2 atanh(y), and 2y - t is exactly -t y.
    """
    if t < -0.3 or t > 0.4:
        return math.log1p(t) - t
    y = t / (2.0 + t)
    square = y * y
    # |y| < 0.18: the term y^26 is below 1e-19
    series = 0.0
    for j in range(25, 1, -2):
        series = series * square + 1.0 / j
    return 2.0 * y * square * series - t * y


@compiled
def log_ratio_excess(ratio: float, t: float) -> float:
    """``log(ratio) - t`` where ratio = 1 + t.

    Both are passed because the caller knows each of them to full relative precision: near 1 the
    difference t decides, far from 1 the ratio does.
    """
    if t < -0.3 or t > 0.4:
        return math.log(ratio) - t
    return log1pmx(t)


@compiled
def stirling_remainder(z: float) -> float:
    """``lgamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2)`` for z > 0."""
    if z < _SERIES_FROM:
        return math.lgamma(z) - (z - 0.5) * math.log(z) + z - HALF_LOG_TWO_PI
    return stirling_series(1.0 / z)


@inlined
def stirling_series(inverse: float) -> float:
    """`stirling_remainder` of z from 15 on, from 1/z."""
    return _horner(_STIRLING, inverse * inverse) * inverse


@inlined
def digamma_series(inverse: float) -> float:
    """`digamma_excess` of z from 15 on, from 1/z."""
    return _polynomial(_DIGAMMA, inverse * inverse) - 0.5 * inverse


@inlined
def _horner(c: Series, u: float) -> float:
    """Sum of c[j] u^j; written out, for a loop within a loop is not turned into vectors."""
    return ((((c[5] * u + c[4]) * u + c[3]) * u + c[2]) * u + c[1]) * u + c[0]


@inlined
def _polynomial(c: Series, u: float) -> float:
    """Polynomial in u without constant term."""
    return _horner(c, u) * u


@compiled
def _divided_difference(coefficients: Series, u: float, v: float) -> float:
    """``(p(u) - p(v)) / (u - v)`` of a polynomial without constant term, by synthetic division."""
    quotient = 0.0
    value = 0.0
    for coefficient in coefficients[::-1]:
        value = value * u + coefficient
        quotient = quotient * v + value
    return quotient


@compiled
def digamma_excess(z: float) -> float:
    """``digamma(z) - log(z)`` for z > 0."""
    if z >= _SERIES_FROM:
        return digamma_series(1.0 / z)
    steps = math.ceil(_SERIES_FROM - z)
    total = 0.0
    for j in range(steps):
        total += 1.0 / (z + j)
    return math.log1p(steps / z) + digamma_series(1.0 / (z + steps)) - total


@compiled
def polygamma_excesses(z: float) -> tuple[float, float]:
    """``digamma(z) - log(z)`` and ``trigamma(z) - 1/z`` for z > 0, sharing their recurrence."""
    steps = math.ceil(_SERIES_FROM - z) if z < _SERIES_FROM else 0
    total, squares = 0.0, 0.0
    for j in range(steps):
        inverse = 1.0 / (z + j)
        total += inverse
        squares += inverse * inverse
    shifted = z + steps
    inverse = 1.0 / shifted
    first = digamma_series(inverse)
    second = inverse * (_polynomial(_TRIGAMMA, inverse * inverse) + 0.5 * inverse)
    if steps == 0:
        return first, second
    return (
        math.log1p(steps / z) + first - total,
        squares + second - steps / (z * shifted),
    )


@compiled
def polygamma_gaps(r: float, x: float, first: float, second: float) -> tuple[float, float]:
    """Gaps of digamma and trigamma beyond those of log and 1/z, for r > 0, x >= 0.

    ``digamma(r + x) - digamma(r) - log((r + x) / r)``, and ``trigamma(r + x) - trigamma(r) - 1/(r +
    x) + 1/r``; ``first`` and ``second`` are the `polygamma_excesses` of r. For large r both sides
    of the subtractions agree to x/r; the divided differences carry that factor out exactly.
    """
    if x == 0.0:
        return 0.0, 0.0
    if r < _SERIES_FROM:
        excesses = polygamma_excesses(r + x)
        return excesses[0] - first, excesses[1] - second
    u, v = 1.0 / (r + x), 1.0 / r
    square_u, square_v = u * u, v * v
    factor = -x * u * v
    digamma_quotient = _divided_difference(_DIGAMMA, square_u, square_v)
    # u p(u^2) - v p(v^2) = (u - v) p(u^2) + v (u^2 - v^2) quotient
    trigamma_quotient = _divided_difference(_TRIGAMMA, square_u, square_v)
    series = _polynomial(_TRIGAMMA, square_u) + v * (u + v) * trigamma_quotient
    return (
        factor * ((u + v) * digamma_quotient - 0.5),
        factor * (series + 0.5 * (u + v)),
    )
