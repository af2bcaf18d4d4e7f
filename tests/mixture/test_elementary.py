import mpmath
import numba
import numpy as np
import pytest

from pmnbmix.mixture.elementary import quick_exp, quick_log, quick_log1p


def in_a_loop(function):
    """The function on arrays, in a loop that the compiler may turn into vectors."""

    @numba.njit(error_model="numpy")
    def loop(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = function(x[i])
        return out

    return loop


each_log, each_log1p, each_exp = map(in_a_loop, (quick_log, quick_log1p, quick_exp))


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
