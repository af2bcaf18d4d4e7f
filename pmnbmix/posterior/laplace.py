"""The Laplace approximation, how well importance sampling mends it, and draws if it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.checks import whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import Target, make_target
from pmnbmix.posterior.checks import check_arguments
from pmnbmix.posterior.layout import Posterior
from pmnbmix.posterior.modes import Mode, find_modes
from pmnbmix.seeds import as_rng
from pmnbmix.tree.writing import MixtureTree

Floats = NDArray[np.float64]

# Averages under importance weights cannot be trusted from this k-hat on (Vehtari et al. 2024).
K_HAT_LIMIT = 0.7
# One mode may stand for all if its share of their mass is above this.
ONE_MODE = 0.99
# Degrees of freedom of the proposal, whose tails should be heavier than those of the posterior.
_FREEDOM = 5.0
# Independent draws are laid out as chains, so that functions that compare chains take them.
_CHAINS = 4


@dataclass(frozen=True, eq=False)
class Importance:
    """Draws around a mode with the weights that make them draws of the posterior.

    Attributes
    ----------
    packed : ndarray, shape (n, 3k - 1)
    log_weights : ndarray, shape (n,)
        Pareto smoothed, summing to 1 on the natural scale.
    k_hat : float
        Shape of the Pareto tail of the raw weights; infinite if too few of them are finite.
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
    return np.asarray(special.softmax([mode.log_mass for mode in modes]))


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
    # The density of the proposal is needed up to a constant only.
    square = (normal**2).sum(axis=1) * scale**2
    log_ratio += 0.5 * (_FREEDOM + d) * np.log1p(square / _FREEDOM)
    if np.isfinite(log_ratio).sum() < max(n // 2, 100):
        return Importance(packed, np.full(n, -np.log(n)), np.inf)
    # psislw takes the logarithm of the inverse ratios.
    log_weights, k_hat = array_stats.psislw(-np.maximum(log_ratio, log_ratio.max() - 700.0))
    return Importance(packed, log_weights - special.logsumexp(log_weights), float(k_hat))


def laplace(
    counts: Counts,
    spec: MixtureSpec | int,
    *,
    draws: int = 4000,
    random_seed: int | np.random.Generator | None = None,
) -> MixtureTree:
    """Draw from the posterior by importance sampling around its mode, without chains.

    Draws are independent. They are resampled from five times as many weighted ones, without
    repetition if the weights allow it.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec or int
        Resolved against the counts if it is not yet; its priors must be proper. A number of
        components has the default priors.
    draws : int
        How many, 100 or more and a multiple of 4: they are laid out as four chains.
    random_seed : int or numpy.random.Generator, optional

    Returns
    -------
    MixtureTree
        As `sample` returns. Its attributes hold ``k_hat`` and ``importance_ess``, the number of
        independent draws that the weighted ones are worth.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range; if no mode has over 99 % of the Laplace
        mass of all, if k-hat is 0.7 or above, or if the weighted draws are worth fewer than were
        asked for: `sample` handles these three.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry (2024), Pareto smoothed importance
       sampling, J. Mach. Learn. Res. 25, 1-58, https://jmlr.org/papers/v25/19-556.html

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> tree = nb.laplace(counts, nb.MixtureSpec(1), draws=1000, random_seed=1)
    >>> tree.attrs["k_hat"] < 0.7
    True
    >>> dict(tree["posterior"].sizes)
    {'chain': 4, 'draw': 250, 'mixture_component': 1}
    >>> print(f"{tree['posterior']['means'].mean():.1f}")
    19.4
    """
    resolved = check_arguments(counts, spec)
    whole(draws, "draws", 100)
    if draws % _CHAINS:
        raise ValueError(
            f"draws must be a multiple of {_CHAINS}, of which chains are made; got {draws}."
        )
    tried = approximate(counts, resolved, draws, as_rng(random_seed))
    if tried.tree is None:
        raise ValueError(tried.doubt)
    return tried.tree


@dataclass(frozen=True, eq=False)
class Approximation:
    """Result of importance sampling around the largest mode.

    Attributes
    ----------
    tree : MixtureTree or None
        None if it cannot be trusted.
    doubt : str
        Why, and what to do instead.
    k_hat : float
        NaN if several modes matter, because it was not computed then.
    """

    tree: MixtureTree | None
    doubt: str
    k_hat: float


def approximate(
    counts: Counts, resolved: MixtureSpec, draws: int, rng: np.random.Generator
) -> Approximation:
    """Do as `laplace` does, but return the reason in place of an error."""
    modes = find_modes(counts, resolved, rng)
    share = float(mass_shares(modes)[0])
    if share <= ONE_MODE:
        doubt = (
            f"{len(modes)} modes matter: the largest has {share:.0%} of the Laplace mass, and one "
            "approximation stands for one mode only. Use sample(), which visits them all."
        )
        return Approximation(None, doubt, np.nan)
    found = importance(make_target(Problem.of(counts, resolved)), modes[0], 5 * draws, rng)
    if not found.k_hat < K_HAT_LIMIT:
        doubt = (
            f"k-hat of the importance weights is {found.k_hat:.2f}, and from {K_HAT_LIMIT} on they "
            "cannot be trusted: the posterior is far from its Laplace approximation. Use sample()."
        )
        return Approximation(None, doubt, found.k_hat)
    if found.effective < draws:
        doubt = (
            f"{5 * draws} weighted draws are worth {found.effective:.0f} independent ones, fewer "
            f"than the {draws} asked for. Use sample(), or ask for fewer."
        )
        return Approximation(None, doubt, found.k_hat)
    # Resampling is systematic, because a draw of weight below 1 / draws then comes once at most.
    edges = np.cumsum(np.exp(found.log_weights))
    chosen = np.searchsorted(edges / edges[-1], (np.arange(draws) + rng.random()) / draws)
    packed = rng.permutation(found.packed[chosen])
    packed = packed.reshape(_CHAINS, -1, packed.shape[1])
    stats = xr.Dataset(
        {"diverging": (("chain", "draw"), np.zeros(packed.shape[:2], dtype=bool))},
        coords={"chain": np.arange(_CHAINS), "draw": np.arange(packed.shape[1])},
    )
    which = np.zeros(_CHAINS, dtype=np.intp)
    posterior = Posterior.of(counts, resolved, unpack(packed), stats, modes, which)
    tree = posterior.tree(
        {
            "engine": "importance sampling around the mode",
            "k_hat": found.k_hat,
            "mode_mass": share,
            "importance_ess": found.effective,
        },
        rng,
    )
    return Approximation(tree, "", found.k_hat)
