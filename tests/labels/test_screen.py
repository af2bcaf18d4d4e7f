import numpy as np
import pytest

from pmnbmix.labels.gates import r_hat_and_ess
from pmnbmix.labels.screen import FULL_UP_TO, suspects


def rows_of(parameters, n):
    """Smooth functions of a few parameters, as log densities of rows are."""
    position = np.linspace(-2, 2, n)
    return np.stack(
        [np.exp(-0.5 * (position - one[..., None]) ** 2) for one in parameters], axis=0
    ).sum(axis=0)


def autoregressive(rng, chains, draws, rho):
    noise = rng.normal(size=(chains, draws))
    out = np.empty_like(noise)
    out[:, 0] = noise[:, 0]
    for t in range(1, draws):
        out[:, t] = rho * out[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return out


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(2, 6))]
)
@pytest.mark.parametrize("kind", ["mixed", "slow", "stuck", "wide"])
def test_the_worst_rows_are_among_the_suspects(kind, seed):
    rng = np.random.default_rng(seed)
    good, slow = autoregressive(rng, 4, 600, 0.1), autoregressive(rng, 4, 600, 0.97)
    if kind == "stuck":
        slow[2] = 0.3 * slow[2] + 2.5
    if kind == "wide":
        # the same centre, another spread: only distances from the centre tell
        slow = good[::-1].copy()
        slow[1] *= 4
    array = rows_of([good, 0.5 * good + 1.0 if kind == "mixed" else slow], 400)
    chosen = suspects(array)
    assert chosen.size <= 40
    r_hat, ess = r_hat_and_ess(array)
    # a tenth of what may be missing, or of what the gate allows
    assert r_hat[chosen].max() >= min(1 + 0.9 * (r_hat.max() - 1), r_hat.max() - 0.001)
    assert ess[chosen].min() <= 1.1 * ess.min()


def test_few_rows_are_all_judged():
    assert suspects(np.zeros((2, 100, FULL_UP_TO))).size == FULL_UP_TO


def test_constant_rows_and_rows_that_are_no_numbers_do_not_hide_others():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(4, 200, 300))
    array[:, :, 7:40] = 1.0
    array[1, :, 211] += 5.0
    assert 211 in suspects(array)
