"""The plan of sampling: its table, coordinates and settings, and what to try if a gate fails."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import Target, make_target
from pmnbmix.point.objective import Objective, prior_objective
from pmnbmix.point.search import squashed
from pmnbmix.posterior.laplace import ONE_MODE, importance, mass_shares
from pmnbmix.posterior.modes import Mode, spread_starts

# Width of the bins of log exposure and nodes in each, from coarse to fine. Chains take whatever
# their error allows, which is more than a search for optima may take.
_SQUASHINGS = ((1.0, 6), (0.5, 6))
# The error of the squashed log likelihood may scatter this much over possible starts, in nats. They
# are spread wider than the draws, over which it may scatter twice as much.
_SQUASHING_ERROR = 0.005
_SQUASHING_POINTS = 24
_IMPORTANCE_DRAWS = 2000
# This is below the limit for the weights themselves, because k-hat of so few draws scatters by a
# tenth, and plain coordinates cost little if whitened ones would have done.
_WHITEN_BELOW = 0.5


@dataclass(frozen=True)
class Attempt:
    """Settings of one run of the sampler.

    Attributes
    ----------
    tune : int
        Tuning draws per chain.
    target_accept : float
    thin : int
        How many draws are made for one that is kept.
    whitened : bool
        Whether chains run in coordinates in which the Laplace approximation is a standard normal,
        which leaves little to tune, rather than in plain coordinates.
    """

    tune: int
    target_accept: float
    thin: int = 1
    whitened: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """The attempts to make, in order, while a gate fails.

    If the chains of an attempt need only be longer, they go on, for as many draws as the next says.

    Attributes
    ----------
    target : Target
        In plain coordinates.
    squashed : CountTable or None
        The table of the target if it is not that of the counts.
    mode_mass : float
        Share of the largest mode in the Laplace mass of all that were found.
    k_hat : float
        Of importance sampling around that mode; NaN if it was not tried, because others matter or
        the engine does not use it.
    attempts : tuple of Attempt
    """

    target: Target
    squashed: CountTable | None
    mode_mass: float
    k_hat: float
    attempts: tuple[Attempt, ...]


# In plain coordinates the slowest component needs four draws for one of the posterior: with these
# settings the first attempt was the last on all of the built-in sets. Neither nutpie's low-rank
# adaptation nor whitening at the mode needed fewer steps for the same, and both diverged more.
_CAREFUL = (
    Attempt(1000, 0.9, thin=4),
    Attempt(2000, 0.95, thin=4),
    Attempt(4000, 0.98, thin=8),
)
_QUICK = Attempt(200, 0.8, whitened=True)


def make_plan(
    counts: Counts,
    spec: MixtureSpec,
    modes: list[Mode],
    rng: np.random.Generator,
    *,
    exact: bool,
    once: bool,
    tune: int | None,
    target_accept: float | None,
) -> Plan:
    """Choose table, coordinates and settings.

    Whitening assumes that the posterior has the shape of its largest mode. The importance weights
    around that mode show whether it has.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved.
    modes : list of Mode
    rng : numpy.random.Generator
    exact : bool
        Whether the engine samples the pm.Model, which is neither squashed nor whitened.
    once : bool
        Whether one attempt is enough, because no other could pass a gate.
    tune, target_accept : int and float, optional
        As the user asked for; one attempt with these takes the place of all.

    Returns
    -------
    Plan
    """
    objective = prior_objective(counts, spec, sampling_density=True)
    quick = objective if exact else _quick(objective, modes)
    target = make_target(quick.problem)
    mode_mass, k_hat = float(mass_shares(modes)[0]), np.nan
    if mode_mass > ONE_MODE and not exact:
        k_hat = importance(target, modes[0], _IMPORTANCE_DRAWS, rng).k_hat
    whitened = k_hat < _WHITEN_BELOW
    attempts: tuple[Attempt, ...] = (_QUICK, *_CAREFUL) if whitened else _CAREFUL
    if tune is not None or target_accept is not None:
        first = attempts[0]
        attempts = (
            replace(
                first,
                # Whoever says how to sample gets the draws as they come.
                thin=1,
                tune=first.tune if tune is None else tune,
                target_accept=first.target_accept if target_accept is None else target_accept,
            ),
        )
    return Plan(
        target=target,
        squashed=None if quick is objective else quick.table,
        mode_mass=mode_mass,
        k_hat=k_hat,
        attempts=(replace(attempts[0], thin=1),) if once else attempts,
    )


def _quick(objective: Objective, modes: list[Mode]) -> Objective:
    """Squash the table as coarsely as the error allows; all rows if neither is good enough."""
    for stage in _SQUASHINGS:
        quick, taken = squashed(objective, [stage])
        if taken is not None and _scatter(objective, quick, modes) <= _SQUASHING_ERROR:
            return quick
    return objective


def _scatter(objective: Objective, quick: Objective, modes: list[Mode]) -> float:
    """Standard deviation of the error of a squashed log likelihood where chains might start."""
    # These points only measure an error, so they take nothing from the stream of the chains.
    rng = np.random.default_rng(0)
    rough = make_target(quick.problem)
    points, _ = spread_starts(rough, modes, _SQUASHING_POINTS, rng)
    # The priors are the same, so the difference is that of the log likelihoods.
    true = make_target(objective.problem).log_densities(points)
    return float(np.std(rough.log_densities(points) - true))
