"""Predictions of all numbers of components together, averaged by their stacking weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from pmnbmix.data.checks import as_exposure, whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import Draws, predict_counts
from pmnbmix.seeds import as_rng

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AveragedPrediction:
    """The predictive distribution of several numbers of components, each with a weight.

    Attributes
    ----------
    weights : pandas.Series
        Indexed by number of components; they sum to 1. Those of stacking maximise the log score of
        left-out counts.

    References
    ----------
    .. [1] Y. Yao, A. Vehtari, D. Simpson, A. Gelman (2018), Using stacking to average Bayesian
       predictive distributions, Bayesian Anal. 13, 917-1007, https://doi.org/10.1214/17-BA1091

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> averaged = choice.averaged
    >>> round(float(averaged.weights.sum()), 6)
    1.0
    >>> draws = averaged.sample(1000, random_seed=1)
    >>> draws.shape, bool(abs(draws.mean() - counts.values.mean()) < 2)
    ((1000, 1), True)
    >>> averaged.logpmf([15, 40]).round(1)
    array([-2.9, -6.1])
    """

    weights: pd.Series
    _draws: tuple[Draws, ...] = field(repr=False)
    _has_exposure: bool = field(repr=False)

    def sample(
        self,
        n_draws: int = 4000,
        *,
        exposure: ArrayLike | None = None,
        random_seed: int | np.random.Generator | None = None,
    ) -> NDArray[np.int64]:
        """Draw new counts from the averaged prediction.

        Parameters
        ----------
        n_draws : int
        exposure : array_like, shape (n,), optional
            Of the new observations; needed if the fits had exposures, else one of exposure 1.
        random_seed : int or numpy.random.Generator, optional

        Returns
        -------
        ndarray of int, shape (n_draws, n)
            Each row is of one number of components and one draw of its posterior.

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind or out of range, and where the fits had exposures but
            none is given.
        """
        n_draws, rng = whole(n_draws, "n_draws", 1), as_rng(random_seed)
        scale = self._needed(exposure, max(1, np.asarray(exposure).size))
        times = rng.multinomial(n_draws, self.weights.to_numpy())
        parts = [
            predict_counts(_chosen(draws, rng.integers(draws.n_samples, size=m)), scale, rng)[0]
            for draws, m in zip(self._draws, times, strict=True)
            if m
        ]
        return np.asarray(rng.permutation(np.concatenate(parts)))

    def logpmf(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Log density of new counts, (n,) in nats; exposures as in `sample`."""
        counts = Counts(values, self._needed(exposure, np.asarray(values).size))
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights.to_numpy())
        parts = [
            logsumexp(draws.log_density(counts.table), axis=(0, 1)) - np.log(draws.n_samples)
            for draws in self._draws
        ]
        return np.asarray(logsumexp(np.array(parts) + logs[:, None], axis=0)[counts.inverse])

    def _needed(self, exposure: ArrayLike | None, rows: int) -> Floats:
        if exposure is None and self._has_exposure:
            raise ValueError(
                "the fits were made with exposures, so new counts need theirs: pass exposure=..., "
                "or exposure=1 for counts at unit exposure."
            )
        return as_exposure(exposure, rows)


def _chosen(draws: Draws, which: NDArray[np.int64]) -> Draws:
    """Some draws, as one chain."""
    k = draws.n_components
    arrays = (draws.weights, draws.means, draws.dispersions)
    return Draws(*(array.reshape(1, -1, k)[:, which] for array in arrays))
