"""The EM of the page that this project began with, in our words, each correction by its name.

The page fits a mixture of negative binomials by alternating responsibilities (E step) and numerical
maximisation for each component (M step). As printed it cannot run; `Correction` lists what stands
in its way, and any set of corrections can be switched on:

    fit(values, corrections=frozenset())              # IndexError, as printed
    fit(values, corrections=MINIMAL)                  # runs, and stops at the pooled distribution
    fit(values, corrections=ALL)                      # what the page intended

Nothing in `pmnbmix` imports this. Tests hold it against the figures that the page prints and
against `pmnbmix.fit_em`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]

_EPSILON = 1e-8


class Correction(Enum):
    """A departure from the printed page, and why it is needed."""

    KEEP_COLUMNS = "the responsibilities of one component stay a column: the objective asks for it"
    SINGLE_OBJECTIVE = "progress is summed over components, each with its own two parameters"
    WEIGHT_THE_DENSITY = "responsibilities multiply the log density; log z + log density ignores z"
    NO_EPSILON = "no 1e-8 inside logarithms: it makes the likelihood unbounded near Poisson"
    MIXING_WEIGHTS = "components have weights of their own; softmax(density) fixes them at 1 / K"
    MONITOR_LIKELIHOOD = "progress is the log likelihood, which EM never lowers"
    TIGHT_STOP = "stop at an absolute gain of 1e-8; isclose gives up at 1e-5 of the whole"
    WARM_START = "an M step goes on from where the last one ended"
    SPLIT_START = "start from a split at the quantiles: random halves have equal means"


# With these the page runs at all; with the second set it does what it says.
MINIMAL = frozenset({Correction.KEEP_COLUMNS, Correction.SINGLE_OBJECTIVE})
INTENDED = MINIMAL | {Correction.WEIGHT_THE_DENSITY}
ALL = frozenset(Correction)


@dataclass(frozen=True, eq=False)
class OriginalFit:
    """Result of `fit`.

    Attributes
    ----------
    weights, means, inv_disps : ndarray, shape (k,)
    log_likelihood : float
        Of the mixture with these weights, computed without epsilon.
    n_iter : int
    """

    weights: Floats
    means: Floats
    inv_disps: Floats
    log_likelihood: float
    n_iter: int


def log_density(values: Floats, mean: Floats, inv_disp: Floats, epsilon: float) -> Floats:
    """Negative binomial log density in the page's form; it loses digits near Poisson."""
    ratio = mean / inv_disp
    return (
        values * np.log(ratio + epsilon)
        - (values + inv_disp) * np.log1p(ratio)
        + special.gammaln(values + inv_disp)
        - special.gammaln(inv_disp)
        - special.gammaln(values + 1)
    )


def objective(
    theta: Floats, values: Floats, responsibilities: Floats, corrections: frozenset[Correction]
) -> float:
    """What an M step minimises: ``theta`` holds the log means, then the log inverse dispersions."""
    k = responsibilities.shape[1]
    mean, inv_disp = np.exp(theta[:k]), np.exp(theta[k:])
    epsilon = 0.0 if Correction.NO_EPSILON in corrections else _EPSILON
    density = log_density(values, mean, inv_disp, epsilon)
    if Correction.WEIGHT_THE_DENSITY in corrections:
        return -float((responsibilities * density).sum())
    return -float((np.log(responsibilities + _EPSILON) + density).sum())


def start(values: Floats, responsibilities: Floats, rng: np.random.RandomState) -> Floats:
    """Log means of the rows that lean to each component; log inverse dispersions at random."""
    theta = rng.normal(size=(2, responsibilities.shape[1]))
    for j in range(theta.shape[1]):
        theta[0, j] = np.log(values[responsibilities[:, j] > 0.5].mean())
    return theta


def fit(
    values: NDArray[np.int64],
    n_components: int = 2,
    corrections: frozenset[Correction] = ALL,
    random_seed: int = 0,
    max_iter: int = 1000,
) -> OriginalFit:
    """Fit by the page's EM with a set of corrections.

    Parameters
    ----------
    values : ndarray of int, shape (n,)
    n_components : int
    corrections : frozenset of Correction
    random_seed : int
        Of the legacy generator that the page used.
    max_iter : int

    Returns
    -------
    OriginalFit

    Raises
    ------
    IndexError, ValueError, RuntimeError
        As the page does, where the corrections that would prevent it are off, and where the
        iterations run out.
    """
    # the page's figures come from this generator
    rng = np.random.RandomState(random_seed)
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    held = _first_responsibilities(column, n_components, corrections, rng)
    theta = start(column, held, rng)
    weights = np.full(n_components, 1.0 / n_components)
    progress = np.inf
    for iteration in range(max_iter):
        new = _m_step(theta, column, held, corrections, rng)
        if Correction.MIXING_WEIGHTS in corrections:
            weights = held.mean(axis=0)
        new_progress = _progress(new, weights, column, held, corrections)
        if Correction.TIGHT_STOP in corrections:
            done = abs(progress - new_progress) < 1e-8
        else:
            done = bool(np.isclose(new_progress, progress))
        theta, progress = new, new_progress
        if done:
            return _result(theta, weights, column, iteration + 1)
        held = special.softmax(np.log(weights) + _densities(theta, column, corrections), axis=1)
    raise RuntimeError(f"EM did not converge in {max_iter} iterations")


def _first_responsibilities(
    column: Floats,
    n_components: int,
    corrections: frozenset[Correction],
    rng: np.random.RandomState,
) -> Floats:
    if Correction.SPLIT_START in corrections:
        rank = np.argsort(np.argsort(column[:, 0], kind="stable"), kind="stable")
        part = rank * n_components // rank.size
        # no row belongs to one component alone, so that none is empty
        return 0.05 / n_components + 0.95 * np.eye(n_components)[part]
    held = rng.uniform(size=(column.shape[0], n_components))
    return np.asarray(held / held.sum(axis=1, keepdims=True))


def _m_step(
    theta: Floats,
    column: Floats,
    held: Floats,
    corrections: frozenset[Correction],
    rng: np.random.RandomState,
) -> Floats:
    """Maximise over the two parameters of each component."""
    warm = Correction.WARM_START in corrections
    begin = theta if warm else start(column, held, rng)
    new = np.empty_like(theta)
    for j in range(theta.shape[1]):
        mine = held[:, j : j + 1] if Correction.KEEP_COLUMNS in corrections else held[:, j]
        found = optimize.minimize(objective, begin[:, j], args=(column, mine, corrections))
        # BFGS without a gradient often ends in "precision loss" where nothing is left to gain
        new[:, j] = found.x
    return new


def _progress(
    theta: Floats,
    weights: Floats,
    column: Floats,
    held: Floats,
    corrections: frozenset[Correction],
) -> float:
    if Correction.MONITOR_LIKELIHOOD in corrections:
        return -_log_likelihood(theta, weights, column, corrections)
    if Correction.SINGLE_OBJECTIVE in corrections:
        return sum(
            objective(theta[:, j], column, held[:, j : j + 1], corrections)
            for j in range(theta.shape[1])
        )
    return sum(objective(each, column, held, corrections) for each in theta.T)


def _densities(theta: Floats, column: Floats, corrections: frozenset[Correction]) -> Floats:
    epsilon = 0.0 if Correction.NO_EPSILON in corrections else _EPSILON
    return log_density(column, np.exp(theta[0]), np.exp(theta[1]), epsilon)


def _log_likelihood(
    theta: Floats, weights: Floats, column: Floats, corrections: frozenset[Correction]
) -> float:
    terms = np.log(weights) + _densities(theta, column, corrections)
    return float(special.logsumexp(terms, axis=1).sum())


def _result(theta: Floats, weights: Floats, column: Floats, n_iter: int) -> OriginalFit:
    order = np.argsort(theta[0])
    return OriginalFit(
        weights=weights[order],
        means=np.exp(theta[0, order]),
        inv_disps=np.exp(theta[1, order]),
        log_likelihood=_log_likelihood(theta, weights, column, ALL),
        n_iter=n_iter,
    )
