"""One attempt at sampling: chains, their draws relabelled, and whether these are good enough.

If they are not, chains that agree go on from where they ended, and all their draws are kept; those
that diverged, or have not found one another, are run anew with more care.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.labels.gates import DIVERGENCE_LIMIT, R_HAT_LIMIT, Gates
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

# More draws are worth their time if the slowest parameter has a smaller share of effective ones.
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
    """Result of the attempts so far; the draws are those of the last, and what it went on from.

    Attributes
    ----------
    posterior : Posterior
    attempt : Attempt
    chains : Chains
        As the engine returned them, before any draws were left out by thinning.
    squashing_error : float
        Standard deviation over the draws of the error of the log likelihood that was sampled.
    failure : str
        Why the last attempt did not pass; empty if it did.
    may_go_on : bool
        Whether more draws of the same chains can mend that.
    failures : tuple of str
        Why attempts before it were repeated.
    extensions : tuple of str
        Why chains of the last attempt went on.
    seconds : float
        Spent by the engine in all of them.
    """

    posterior: Posterior
    attempt: Attempt
    chains: Chains
    squashing_error: float
    failure: str
    may_go_on: bool
    failures: tuple[str, ...]
    extensions: tuple[str, ...]
    seconds: float

    def tree(
        self, plan: Plan, rng: np.random.Generator, *, repetition_interrupted: bool = False
    ) -> MixtureTree:
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
            "attempts": len(self.failures) + 1,
            "failed_attempts": "; ".join(filter(None, (*self.failures, self.failure))),
            "extensions": len(self.extensions),
            "extended_because": "; ".join(self.extensions),
            "squashing_error_sd": self.squashing_error,
            "sampling_seconds": round(self.seconds, 3),
        }
        # k-hat is NaN if importance sampling was not tried.
        if not np.isnan(plan.k_hat):
            done["k_hat"] = plan.k_hat
        if repetition_interrupted:
            done["repetition_interrupted"] = 1
        return self.posterior.tree(done, rng)


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
    goes_on = before is not None and before.may_go_on
    failures, extensions = ((), ()) if before is None else (before.failures, before.extensions)
    if before is not None and goes_on:
        # The draws that are there are kept, so their settings are too.
        attempt = replace(before.attempt, thin=attempt.thin)
        starts, which = before.chains.packed[:, -1], before.posterior.which
        extensions = (*extensions, before.failure)
    else:
        starts, which = spread_starts(plan.target, modes, request.chains, rng)
        if before is not None:
            failures, extensions = (*failures, before.failure), ()
    seeds = rng.integers(2**31, size=request.chains).tolist()
    began = time.monotonic()
    chains = _run(request, plan, attempt, starts, seeds)
    seconds = time.monotonic() - began
    if not chains.complete and (before is not None or chains.packed.shape[1] < 4 * attempt.thin):
        # The few draws of an attempt cut short are worth less than all those of the attempt before,
        # and fewer than four cannot be judged.
        raise KeyboardInterrupt
    if before is not None and goes_on:
        chains = before.chains.followed_by(chains)
        attempt = replace(attempt, thin=chains.packed.shape[1] // request.draws)
    kept = chains.thinned(attempt.thin)
    posterior = Posterior.of(
        request.counts, request.spec, unpack(kept.packed), kept.stats, modes, which[kept.kept]
    )
    gates = posterior.labelled.gates()
    error = _squashing_error(posterior.labelled, plan.squashed)
    divergent = float(chains.stats["diverging"].mean())
    least = 0.0 if before is not None else _WORTH * request.draws * request.chains
    failure = ""
    if error > _SQUASHING_LIMIT:
        failure = f"squashing error {error:.2g} nats"
    elif not _good_enough(gates, divergent, least):
        failure = (
            f"{'whitened' if attempt.whitened else 'plain'} coordinates, tune {attempt.tune}, "
            f"target_accept {attempt.target_accept}, {chains.packed.shape[1]} draws a chain: r-hat "
            f"{gates.row_r_hat:.3f} (rows), {gates.component_r_hat:.3f} (components), ESS "
            f"{gates.row_ess:.0f} and {gates.component_ess:.0f}, {divergent:.2%} divergent"
        )
    may_go_on = (
        error <= _SQUASHING_LIMIT
        and divergent <= DIVERGENCE_LIMIT
        and gates.row_r_hat <= R_HAT_LIMIT
    )
    if failure and chains.complete:
        what = "will go on" if may_go_on else "did not pass"
        _log.info("attempt %d %s (%s)", len(failures) + 1, what, failure)
    return Outcome(
        posterior,
        attempt,
        chains,
        error,
        failure,
        may_go_on,
        failures,
        extensions,
        seconds=seconds + (before.seconds if before else 0.0),
    )


def what_is_left(plan: Plan, outcome: Outcome) -> Plan:
    """Return the plan after an attempt; without attempts if it is over."""
    if not outcome.failure or not outcome.chains.complete:
        return replace(plan, attempts=())
    if outcome.squashing_error > _SQUASHING_LIMIT:
        # The squashed table is to blame, so the same settings are tried again on the exact one.
        exact = make_target(Problem.of(outcome.posterior.counts, outcome.posterior.spec))
        return replace(plan, target=exact, squashed=None)
    return replace(plan, attempts=plan.attempts[1:])


def _run(
    request: Request, plan: Plan, attempt: Attempt, starts: np.ndarray, seeds: list[int]
) -> Chains:
    """Run the chains of an attempt."""
    mode = request.modes[0]
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


def _good_enough(gates: Gates, divergent: float, least: float) -> bool:
    """Whether an attempt is the last.

    Few effective draws of a heavy-tailed component have not seen its tail, whatever r-hat says, and
    their standard deviations come out too low; so the first attempt should have the least. But if a
    mixture has too many components, these may never settle; so a second is enough if the density
    gate holds, for which the least is 0.
    """
    if not gates.density_ok or divergent > DIVERGENCE_LIMIT:
        return False
    return least == 0.0 or (gates.components_ok and gates.component_ess >= least)
