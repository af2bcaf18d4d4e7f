"""Which rows of a large table may be the worst converged: cheap figures of all of them.

Rank-normalised r-hat and ESS of one row take milliseconds, of ten thousand rows half a minute. The
log densities of all rows are functions of the same few parameters, so that the worst of them are
found among those that simple figures without ranks put last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled

Floats = NDArray[np.float64]

# All rows are judged in full up to this many.
FULL_UP_TO = 48
# Rows taken by each of the figures, and evenly over the table.
_TAKEN = 10
_LAGS = (1, 2, 4, 8)


def suspects(array: Floats) -> NDArray[np.intp]:
    """Rows among which the worst r-hat and ESS are to be looked for.

    Parameters
    ----------
    array : ndarray, shape (chain, draw, n)

    Returns
    -------
    ndarray of int
        All of them up to 48 rows, and if there are fewer than 32 draws a chain; else at most 40,
        ascending.
    """
    n = array.shape[2]
    if n <= FULL_UP_TO or array.shape[1] < 4 * max(_LAGS):
        return np.arange(n)
    figures = _figures(np.ascontiguousarray(array))
    # A row whose log density is not a number is suspect.
    figures = np.where(np.isnan(figures), np.inf, figures)
    chosen = [np.linspace(0, n - 1, _TAKEN).astype(np.intp)]
    chosen += [np.argsort(-row, kind="stable")[:_TAKEN] for row in figures]
    return np.unique(np.concatenate(chosen))


@compiled
def _figures(array: np.ndarray) -> np.ndarray:
    """Split r-hat, that of distances from the mean, and autocorrelation of each row, (3, n)."""
    n_chains, n_draws, n = array.shape
    half = n_draws // 2
    parts = 2 * n_chains
    means = np.zeros((parts, n))
    for part in range(parts):
        first = (part % 2) * (n_draws - half)
        for t in range(first, first + half):
            draw = array[part // 2, t]
            for u in range(n):
                means[part, u] += draw[u]
        for u in range(n):
            means[part, u] /= half
    centre = np.zeros(n)
    for part in range(parts):
        for u in range(n):
            centre[u] += means[part, u] / parts
    variance, folded_mean, folded_square = (
        np.zeros((parts, n)),
        np.zeros((parts, n)),
        np.zeros((parts, n)),
    )
    lagged = np.zeros((len(_LAGS), n))
    for part in range(parts):
        first = (part % 2) * (n_draws - half)
        chain, own = array[part // 2], means[part]
        for t in range(first, first + half):
            draw = chain[t]
            for u in range(n):
                deviation, distance = draw[u] - own[u], abs(draw[u] - centre[u])
                variance[part, u] += deviation * deviation / (half - 1)
                folded_mean[part, u] += distance / half
                folded_square[part, u] += distance * distance / (half - 1)
            for i in range(len(_LAGS)):
                if t + _LAGS[i] < first + half:
                    later = chain[t + _LAGS[i]]
                    for u in range(n):
                        lagged[i, u] += (draw[u] - centre[u]) * (later[u] - centre[u])
    out = np.empty((3, n))
    for u in range(n):
        within, folded_within = 0.0, 0.0
        for part in range(parts):
            within += variance[part, u] / parts
            folded_within += (
                folded_square[part, u] - folded_mean[part, u] ** 2 * half / (half - 1)
            ) / parts
        out[:, u] = 0.0
        if within == 0.0 and means[:, u].var() == 0.0:
            # A row that never moves has converged.
            continue
        out[0, u] = means[:, u].var() / within
        out[1, u] = folded_mean[:, u].var() / folded_within
        for i in range(len(_LAGS)):
            out[2, u] += _LAGS[i] * lagged[i, u] / within
    return out
