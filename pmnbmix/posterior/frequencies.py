"""How often each value comes up among many counts of one exposure, drawn at once.

Counts that share a law are exchangeable, so one multinomial of their values and a shuffle give what
as many gamma and Poisson draws would, in a tenth of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import component_sf
from pmnbmix.mixture.draws import Draws

Floats = NDArray[np.float64]

# No count is drawn beyond this, since floats are not whole numbers there.
_LARGEST_COUNT = 2.0**52


def draw_frequencies(
    draws: Draws, exposure: float, n: int, largest: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw how often each value comes up among ``n`` counts of one exposure, for every draw.

    Parameters
    ----------
    draws : Draws
    exposure : float
    n : int
    largest : int
        The last value; it stands for itself and all above.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (chain, draw, largest + 1)
        Summing to n over the values.
    """
    values = np.arange(largest, dtype=np.float64)
    every = CountTable.plain(values, np.full(largest, exposure), np.ones(largest))
    density = np.exp(draws.log_density(every))
    above = np.maximum(1.0 - density.sum(-1, keepdims=True), 0.0)
    share = np.concatenate([density, above], axis=-1)
    return rng.multinomial(n, share / share.sum(-1, keepdims=True))


def draw_counts(
    draws: Draws, exposure: float, n: int, largest: int, rng: np.random.Generator
) -> NDArray[np.signedinteger]:
    """Draw ``n`` counts of one exposure for every draw, (chain, draw, n), in the smallest type.

    Arguments are those of `draw_frequencies`; values below ``largest`` are drawn fast, so few
    counts should lie above.
    """
    times = draw_frequencies(draws, exposure, n, largest, rng)
    values = np.arange(largest + 1, dtype=smallest_type(largest))
    counts = np.repeat(np.tile(values, draws.n_samples), times.ravel())
    counts = counts.reshape(*times.shape[:2], n)
    rng.permuted(counts, axis=-1, out=counts)
    chain, draw, obs = np.nonzero(counts == largest)
    if not chain.size:
        return counts
    high = _above(
        draws.weights[chain, draw],
        draws.means[chain, draw] * exposure,
        draws.dispersions[chain, draw],
        largest,
        rng,
    )
    counts = counts.astype(np.promote_types(counts.dtype, smallest_type(int(high.max()))))
    counts[chain, draw, obs] = high
    return counts


def smallest_type(largest: int) -> np.dtype[np.signedinteger]:
    """Return the smallest signed type from 16 bits on that holds counts up to ``largest``."""
    fitting = (t for t in (np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return np.dtype(next(fitting))


def _above(
    weights: Floats, means: Floats, dispersions: Floats, least: int, rng: np.random.Generator
) -> Floats:
    """One count of each mixture (m, k), given that it is ``least`` or more.

    The inverse of the upper tail is found by bisection, since 1 minus a tail of 1e-12 has four
    digits.
    """
    with np.errstate(divide="ignore", over="ignore"):
        inv_disps = 1.0 / dispersions

    def tail(values: Floats) -> Floats:
        of_each = component_sf(values[:, None], means, inv_disps)
        return np.asarray((weights * of_each).sum(axis=-1))

    low = np.full(weights.shape[0], least - 1.0)
    high = 2.0 * low + 2.0
    wanted = rng.random(low.size) * tail(low)
    while (far := (tail(high) > wanted) & (high < _LARGEST_COUNT)).any():
        low, high = np.where(far, high, low), np.where(far, 2.0 * high, high)
    # The answer is above ``low`` and at most ``high``.
    while (wide := high - low > 1.0).any():
        middle = np.where(wide, np.floor(0.5 * (low + high)), high)
        beyond = tail(middle) > wanted
        low = np.where(wide & beyond, middle, low)
        high = np.where(wide & ~beyond, middle, high)
    return high
