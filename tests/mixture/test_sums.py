"""Sums over the table against slow, independent arithmetic."""

import mpmath
import numpy as np
import pytest

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.levels import plain_terms, rows_of
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.sums import derivatives

COUNTS = Counts(
    [0, 1, 2, 7, 30, 400], exposure=[0.5, 1.0, 3.0, 0.1, 1.0, 20.0], frequency=[9, 4, 1, 2, 1, 3]
)
POINTS = {
    1: [[0.0], [0.7], [-0.4]],
    2: [[0.3, -0.5], [-0.2, 2.1], [1.2, -3.0]],
    3: [[0.3, -0.5, 1.0], [-0.2, 2.1, 4.0], [1.2, -3.0, -9.0]],
}


def slow_log_likelihood(coordinates):
    """The log likelihood in logits, log means and log dispersions, with 40 digits."""
    k = len(coordinates) // 3
    logits, means, dispersions = (coordinates[i * k : (i + 1) * k] for i in range(3))
    normaliser = mpmath.log(sum(mpmath.exp(entry) for entry in logits))
    table, total = COUNTS.table, mpmath.mpf(0)
    for x, s, times in zip(table.values, table.exposure, table.frequency, strict=True):
        density = mpmath.mpf(0)
        for j in range(k):
            m, r = s * mpmath.exp(means[j]), mpmath.exp(-dispersions[j])
            term = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
            term += r * mpmath.log(r / (r + m)) + x * mpmath.log(m / (r + m))
            density += mpmath.exp(logits[j] - normaliser + term)
        total += times * mpmath.log(density)
    return total


@pytest.mark.parametrize("k", [1, 2, 3])
def test_log_likelihood_gradient_and_hessian(k):
    point = np.array(POINTS[k])
    point[0] -= np.logaddexp.reduce(point[0])
    flat = Prior(0.0, np.zeros((3, k)), np.zeros((3, k)))
    value, gradient, hessian = derivatives(rows_of(COUNTS.table), plain_terms(), flat, point)
    with mpmath.workdps(40):
        flat = [mpmath.mpf(entry) for entry in point.ravel()]
        np.testing.assert_allclose(value, float(slow_log_likelihood(flat)), rtol=1e-13)

        def along(i, j):
            orders = [0] * (3 * k)
            orders[i] += 1
            if j is not None:
                orders[j] += 1
            return float(
                mpmath.diff(lambda *c: slow_log_likelihood(list(c)), tuple(flat), tuple(orders))
            )

        first = [along(i, None) for i in range(3 * k)]
        np.testing.assert_allclose(gradient, first, rtol=1e-9, atol=1e-9)
        for i, j in [(0, 0), (0, k), (k, k), (k, 2 * k), (2 * k, 2 * k), (k - 1, 3 * k - 1)]:
            np.testing.assert_allclose(hessian[i, j], along(i, j), rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(hessian, hessian.T)
