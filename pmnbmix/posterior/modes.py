"""Modes of the sampling density, and the points from which chains start.

The sampling density is that of (log ratios of the weights, log means, log dispersions), Jacobian
included. A mixture often has several modes that are not permutations of each other; chains that
all start in one of them would hide the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import Target
from pmnbmix.point.fit import packed_start
from pmnbmix.point.objective import Objective, prior_objective, unpack_point
from pmnbmix.point.result import PointFit
from pmnbmix.point.search import search
from pmnbmix.seeds import as_rng

Floats = NDArray[np.float64]

# A mode gets chains if its Laplace mass is within this many nats of the largest.
MATTERS_WITHIN = 10.0
_MAX_ITER = 200
# Starts are spread this many Laplace standard deviations wide, because r-hat needs them to be wider
# than the posterior.
_OVERDISPERSION = 2.0


@dataclass(frozen=True, eq=False)
class Mode:
    """A local maximum of the sampling density; all its label permutations count as one.

    Attributes
    ----------
    packed : ndarray, shape (3k - 1,)
        Log ratios of the first k - 1 weights to the last, log means, log dispersions.
    params : MixtureParams
    log_density : float
        Log likelihood plus log density of the priors in these coordinates.
    root : ndarray, shape (3k - 1, 3k - 1)
        Triangular; root @ root.T is the inverse of the negative Hessian.
    log_mass : float
        Laplace approximation to the log of the probability around the mode, unnormalised.
    times_reached : int
        How many starts led here.
    """

    packed: Floats
    params: MixtureParams
    log_density: float
    root: Floats
    log_mass: float
    times_reached: int


def find_modes(
    counts: Counts,
    spec: MixtureSpec,
    random_seed: int | np.random.Generator | None = None,
    start: Sequence[MixtureParams | PointFit] = (),
) -> list[Mode]:
    """Find local maxima of the sampling density, as `fit_map` finds those of its own.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved, with proper priors.
    random_seed : int or numpy.random.Generator, optional
    start : sequence of MixtureParams or PointFit
        Further starts, as the optima of point fits are.

    Returns
    -------
    list of Mode
        Largest Laplace mass first; never empty.
    """
    objective = prior_objective(counts, spec, sampling_density=True)
    rng = as_rng(random_seed)
    modes = []
    starts = [packed_start(objective, params) for params in start]
    for optimum in search(objective, rng, _MAX_ITER, own_starts=starts).optima:
        root = _covariance_root(objective, optimum.point)
        if root is None:
            continue
        log_volume = np.log(np.diag(root)).sum() + 0.5 * root.shape[0] * np.log(2.0 * np.pi)
        modes.append(
            Mode(
                packed=objective.problem.design.pack(optimum.point),
                params=unpack_point(optimum.point),
                log_density=optimum.log_density,
                root=root,
                log_mass=optimum.log_density + float(log_volume),
                times_reached=optimum.times_reached,
            )
        )
    if not modes:
        raise RuntimeError(
            f"no local maximum of the posterior of {counts!r} with {spec.n_components} components "
            "was found from any start. Use fewer components or tighter priors."
        )
    return sorted(modes, key=lambda mode: -mode.log_mass)


def modes_that_matter(modes: list[Mode]) -> list[Mode]:
    """Return the modes whose Laplace mass is within 10 nats of the largest."""
    return [mode for mode in modes if mode.log_mass >= modes[0].log_mass - MATTERS_WITHIN]


def spread_starts(
    target: Target, modes: list[Mode], chains: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.intp]]:
    """Draw the starts of the chains, spread over the modes that matter, largest mass first.

    Parameters
    ----------
    target : Target
        In plain coordinates.
    modes : list of Mode
    chains : int
    rng : numpy.random.Generator

    Returns
    -------
    starts : ndarray, shape (chains, 3k - 1)
    which : ndarray of int, shape (chains,)
        Mode that each chain starts from.
    """
    mattering = modes_that_matter(modes)
    which = np.arange(chains) % len(mattering)
    return np.array([_jitter(target, mattering[i], rng) for i in which]), which


def _jitter(target: Target, mode: Mode, rng: np.random.Generator) -> Floats:
    """Draw widely around a mode; pull the draw in while its density is far below the mode's."""
    at_mode, _ = target.log_density(mode.packed)
    step = _OVERDISPERSION * (mode.root @ rng.standard_normal(mode.packed.size))
    for _ in range(20):
        if target.log_density(mode.packed + step)[0] > at_mode - 10.0 - 2.0 * mode.packed.size:
            return mode.packed + step
        step *= 0.7
    return mode.packed


def _covariance_root(objective: Objective, point: Floats) -> Floats | None:
    """Root of the inverse of the negative Hessian in the coordinates of NUTS, or None."""
    if not np.isfinite(point).all():
        return None
    _, hessian = objective.derivatives(point)
    information = -objective.problem.design.pull_hessian(hessian)
    try:
        # The matrix is reversed so that the root of its inverse comes out lower triangular.
        root = np.linalg.inv(np.linalg.cholesky(information[::-1, ::-1]))[::-1, ::-1].T
    except np.linalg.LinAlgError:
        return None
    return np.ascontiguousarray(root)
