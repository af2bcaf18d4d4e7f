import mpmath
import numpy as np
import pytest

from pmnbmix.compiled import compiled
from pmnbmix.mixture.elementary import quick_exp, quick_log, quick_log1p


@compiled
def each_log(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = quick_log(x[i])
    return out


@compiled
def each_log1p(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = quick_log1p(x[i])
    return out


@compiled
def each_exp(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = quick_exp(x[i])
    return out


def worst(found, x, function):
    with mpmath.workdps(60):
        exact = [function(mpmath.mpf(float(entry))) for entry in x]
        return max(
            float(abs(one - other) / abs(other))
            for one, other in zip(found, exact, strict=True)
            if other
        )


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "x",
    [
        np.exp(RNG.uniform(-700, 700, 500)),
        1.0 + RNG.normal(size=500) * 10.0 ** RNG.uniform(-15, -1, 500),
        np.array([1.0, 2.0, 0.5, np.sqrt(2), np.sqrt(0.5), np.nextafter(1, 0), 2.3e-308]),
    ],
    ids=["everywhere", "near 1", "edges"],
)
def test_log(x):
    assert worst(each_log(x), x, mpmath.log) < 3e-16


def test_log1p_keeps_small_arguments():
    x = 10.0 ** RNG.uniform(-40, 300, 500)
    assert worst(each_log1p(x), x, lambda t: mpmath.log(1 + t)) < 3e-16
    assert each_log1p(np.zeros(1))[0] == 0.0


def test_exp():
    x = np.append(RNG.uniform(-707, 700, 500), -(10.0 ** RNG.uniform(-18, 0, 100)))
    assert worst(each_exp(x), x, mpmath.exp) < 3e-16
    assert each_exp(np.zeros(1))[0] == 1.0
    # where the true value has no normal number, the smallest stands for it
    assert 0.0 < each_exp(np.array([-800.0, -np.inf])).max() < 1e-300
