"""The Laplace approximation, how well importance sampling mends it, and draws where it does."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture.target import Target
from pmnbmix.posterior.modes import Mode

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

# Above this importance weights have no variance to speak of (Vehtari et al. 2024).
K_HAT_LIMIT = 0.7
# Share of the mass of all modes from which one of them may stand for all.
ONE_MODE = 0.99
# Degrees of freedom of the proposal: heavier tails than the posterior's, mostly.
_FREEDOM = 5.0


@dataclass(frozen=True, eq=False)
class Importance:
    """Draws around a mode with the weights that make them draws of the posterior.

    Attributes
    ----------
    packed : ndarray, shape (n, 3k - 1)
    log_weights : ndarray, shape (n,)
        Pareto smoothed, summing to 1 on the natural scale.
    k_hat : float
        Shape of the Pareto tail of the raw weights; infinite where they are not numbers.
    """

    packed: Floats
    log_weights: Floats
    k_hat: float

    @property
    def effective(self) -> float:
        """Number of independent draws that the weighted ones are worth."""
        return float(np.exp(-special.logsumexp(2.0 * self.log_weights)))


def mass_shares(modes: list[Mode]) -> Floats:
    """Share of each mode of the Laplace mass of all, (n_modes,)."""
    log_mass = np.array([mode.log_mass for mode in modes])
    return np.asarray(np.exp(log_mass - special.logsumexp(log_mass)))


def importance(target: Target, mode: Mode, n: int, rng: np.random.Generator) -> Importance:
    """Draw from a multivariate t around a mode and weight by the posterior.

    Parameters
    ----------
    target : Target
        In plain coordinates.
    mode : Mode
    n : int
        Number of draws.
    rng : numpy.random.Generator

    Returns
    -------
    Importance

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry (2024), Pareto smoothed importance
       sampling, J. Mach. Learn. Res. 25, 1-58, https://jmlr.org/papers/v25/19-556.html
    """
    from arviz_stats.base import array_stats

    d = mode.packed.size
    normal = rng.standard_normal((n, d))
    scale = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    packed = mode.packed + (normal * scale[:, None]) @ mode.root.T
    log_ratio = target.log_densities(packed)
    # density of the proposal up to a constant
    square = (normal**2).sum(axis=1) * scale**2
    log_ratio += 0.5 * (_FREEDOM + d) * np.log1p(square / _FREEDOM)
    if np.isfinite(log_ratio).sum() < max(n // 2, 100):
        return Importance(packed, np.full(n, -np.log(n)), np.inf)
    # psislw wants the logarithm of the inverse ratios
    log_weights, k_hat = array_stats.psislw(-np.maximum(log_ratio, log_ratio.max() - 700.0))
    return Importance(packed, log_weights - special.logsumexp(log_weights), float(k_hat))
