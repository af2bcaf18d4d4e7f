"""One attempt at sampling: chains, their draws relabelled, and whether these are good enough."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.labels.gates import DIVERGENCE_LIMIT, Gates
from pmnbmix.mixture.draws import unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.engines import Chains, Settings, run_nutpie, run_pymc
from pmnbmix.posterior.layout import Labelled, Posterior
from pmnbmix.posterior.modes import Mode, spread_starts
from pmnbmix.posterior.plan import Attempt, Plan
from pmnbmix.progress import Advance, progress_bar
from pmnbmix.tree.writing import MixtureTree

_log = logging.getLogger(__name__)

# Thinning is worth its time if the slowest parameter has a smaller share of effective draws.
_WORTH = 0.25
# The error of a squashed log likelihood may scatter this much over the draws, in nats, because so
# little changes no result.
_SQUASHING_LIMIT = 0.01


@dataclass(frozen=True, eq=False)
class Request:
    """The settings that all attempts have in common.

    Attributes
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved.
    modes : list of Mode
    draws, chains : int
        To be kept, per chain, and chains to be started.
    engine : {"nutpie", "pymc"}
    progressbar : bool
    on_draw : callable, optional
        Called with (done, total) draws, in place of the bar.
    """

    counts: Counts
    spec: MixtureSpec
    modes: list[Mode] = field(repr=False)
    draws: int
    chains: int
    engine: str
    progressbar: bool
    on_draw: Advance | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of the attempts so far; the draws are those of the last.

    Attributes
    ----------
    posterior : Posterior
    attempt : Attempt
    chains : Chains
        As the engine returned them, before any were left out by thinning.
    squashing_error : float
        Standard deviation over the draws of the error of the log likelihood that was sampled.
    failures : tuple of str
        Why attempts did not pass.
    passed : bool
        Whether the last one did.
    tries : int
    seconds : float
        Spent by the engine in all of them.
    """

    posterior: Posterior
    attempt: Attempt
    chains: Chains
    squashing_error: float
    failures: tuple[str, ...]
    passed: bool
    tries: int
    seconds: float

    def tree(self, plan: Plan, *, repetition_interrupted: bool = False) -> MixtureTree:
        """Lay out the draws, with attributes that say what was done."""
        diverging = self.chains.stats["diverging"]
        done: dict[str, str | int | float] = {
            "engine": self.chains.engine,
            "coordinate_system": "laplace-whitened" if self.attempt.whitened else "plain",
            "mode_mass": plan.mode_mass,
            "tune": self.attempt.tune,
            "target_accept": self.attempt.target_accept,
            "thinned_from": self.chains.packed.shape[1],
            "interrupted": int(not self.chains.complete),
            "n_divergent": int(diverging.sum()),
            "n_sampled": diverging.size,
            "attempts": self.tries,
            "failed_attempts": "; ".join(self.failures),
            "squashing_error_sd": self.squashing_error,
            "sampling_seconds": round(self.seconds, 3),
        }
        # k-hat is NaN if importance sampling was not tried.
        if not np.isnan(plan.k_hat):
            done["k_hat"] = plan.k_hat
        if repetition_interrupted:
            done["repetition_interrupted"] = 1
        return self.posterior.tree(done)


def make_attempt(
    request: Request, plan: Plan, before: Outcome | None, rng: np.random.Generator
) -> Outcome:
    """Run the next attempt of a plan.

    Parameters
    ----------
    request : Request
    plan : Plan
    before : Outcome, optional
        Of the attempts before.
    rng : numpy.random.Generator

    Returns
    -------
    Outcome

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted before it had more draws than are kept already.
    """
    attempt, modes = plan.attempts[0], request.modes
    starts, which = spread_starts(plan.target, modes, request.chains, rng)
    seeds = rng.integers(2**31, size=request.chains).tolist()
    began = time.monotonic()
    chains = _run(request, plan, starts, seeds)
    seconds = time.monotonic() - began
    if not chains.complete and (before is not None or chains.packed.shape[1] < 4 * attempt.thin):
        # The few draws of an attempt cut short are worth less than all those of the attempt before,
        # and fewer than four cannot be judged.
        raise KeyboardInterrupt
    kept = chains.thinned(attempt.thin)
    posterior = Posterior.of(
        request.counts,
        request.spec,
        unpack(kept.packed),
        kept.stats,
        modes,
        which[kept.kept],
        rng,
    )
    gates = posterior.labelled.gates()
    error = _squashing_error(posterior.labelled, plan.squashed)
    divergent = float(chains.stats["diverging"].mean())
    failure = ""
    if error > _SQUASHING_LIMIT:
        failure = f"squashing error {error:.2g} nats"
    elif not _good_enough(gates, divergent, attempt, request.draws * request.chains):
        failure = (
            f"{'whitened' if attempt.whitened else 'plain'} coordinates, tune {attempt.tune}, "
            f"target_accept {attempt.target_accept}: r-hat {gates.row_r_hat:.3f} (rows), "
            f"{gates.component_r_hat:.3f} (components), ESS {gates.row_ess:.0f} and "
            f"{gates.component_ess:.0f}, {divergent:.2%} divergent"
        )
    tries = 1 if before is None else before.tries + 1
    if failure and chains.complete:
        _log.info("attempt %d did not pass (%s)", tries, failure)
    return Outcome(
        posterior,
        attempt,
        chains,
        error,
        failures=(*(before.failures if before else ()), *([failure] if failure else ())),
        passed=not failure,
        tries=tries,
        seconds=seconds + (before.seconds if before else 0.0),
    )


def what_is_left(plan: Plan, outcome: Outcome) -> Plan:
    """Return the plan after an attempt; without attempts if it is over."""
    if outcome.passed or not outcome.chains.complete:
        return replace(plan, attempts=())
    if outcome.squashing_error > _SQUASHING_LIMIT:
        # The squashed table is to blame, so the same settings are tried again on the exact one.
        exact = make_target(Problem.of(outcome.posterior.counts, outcome.posterior.spec))
        return replace(plan, target=exact, squashed=None)
    return replace(plan, attempts=plan.attempts[1:])


def _run(request: Request, plan: Plan, starts: np.ndarray, seeds: list[int]) -> Chains:
    """Run the chains of the next attempt."""
    attempt, mode = plan.attempts[0], request.modes[0]
    settings = Settings(request.draws * attempt.thin, attempt.tune, attempt.target_accept)
    target = plan.target
    if attempt.whitened:
        target = target.whitened(mode.packed, mode.root)
        starts = np.linalg.solve(mode.root, (starts - mode.packed).T).T.copy()
    title = f"NUTS, {request.spec.n_components} components"
    with progress_bar(title, enabled=request.progressbar and request.on_draw is None) as bar:
        advance = request.on_draw or bar
        if request.engine == "nutpie":
            return run_nutpie(target, starts, seeds, settings, advance)
        return run_pymc(request.counts, request.spec, starts, seeds, settings, advance)


def _squashing_error(labelled: Labelled, squashed: CountTable | None) -> float:
    """Scatter over the draws of the error of the squashed log likelihood, in nats; 0 if exact."""
    if squashed is None:
        return 0.0
    true = labelled.density.log_likelihood
    sampled = labelled.draws.log_density(squashed) @ squashed.frequency
    return float((sampled - true).std())


def _good_enough(gates: Gates, divergent: float, attempt: Attempt, n_samples: int) -> bool:
    """Whether an attempt is the last.

    Few effective draws of a heavy-tailed component have not seen its tail, whatever r-hat says, and
    their standard deviations come out too low. But if a mixture has too many components, these may
    never settle; so one thinned attempt is enough if the density gate holds.
    """
    if not gates.density_ok or divergent > DIVERGENCE_LIMIT:
        return False
    return attempt.thin > 1 or (gates.components_ok and gates.component_ess >= _WORTH * n_samples)
