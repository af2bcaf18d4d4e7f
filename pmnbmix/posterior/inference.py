"""`sample`: NUTS from every mode that matters, to a tree whose labels mean something."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Literal

import numpy as np
import xarray as xr

from pmnbmix.data.checks import fraction, function, one_of, whole
from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.labels.gates import DIVERGENCE_LIMIT, ESS_LIMIT, Gates, check_gates
from pmnbmix.mixture.draws import read_draws, read_table, row_log_density, unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.checks import check_arguments
from pmnbmix.posterior.engines import Chains, Settings, run_nutpie, run_pymc
from pmnbmix.posterior.layout import posterior_tree
from pmnbmix.posterior.modes import find_modes, spread_starts
from pmnbmix.posterior.plan import Attempt, Plan, make_plan
from pmnbmix.posterior.tree import MixtureTree
from pmnbmix.progress import Advance, progress_bar
from pmnbmix.seeds import as_rng

_log = logging.getLogger(__name__)

ENGINES = ("nutpie", "pymc")
# Share of effective draws of the slowest parameter below which thinning is worth its time.
_WORTH = 0.25
# Scatter of the error of a squashed log likelihood over the draws, in nats, that changes nothing.
_SQUASHING_LIMIT = 0.01


def sample(
    counts: Counts,
    spec: MixtureSpec,
    *,
    draws: int = 1000,
    tune: int | None = None,
    chains: int = 4,
    engine: Literal["nutpie", "pymc"] = "nutpie",
    target_accept: float | None = None,
    random_seed: int | np.random.Generator | None = None,
    progressbar: bool = True,
    on_draw: Advance | None = None,
) -> MixtureTree:
    """Sample the posterior of weights, means and dispersions by NUTS.

    Chains start, overdispersed, from the modes of the sampling density that hold mass (never from
    PyMC's default point, which is a saddle). Draws are relabelled by Stephens' algorithm, so that
    summaries of components mean something; the labels the sampler gave can be had back from the
    group ``relabelling``.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved against the counts if it is not yet; its priors must be proper.
    draws : int
        Draws per chain, 4 or more.
    tune : int, optional
        Tuning draws per chain. Where neither it nor ``target_accept`` is given, sampling begins
        with 200 and 0.8 where one mode holds 99 % of the mass and importance sampling finds its
        Laplace approximation close, in the coordinates of that; with 1000 and 0.9 in plain
        coordinates else. It is repeated while a gate fails, more than one draw in 1,000 diverges
        or the draws of a component are worth less than a quarter of their number: longer, more
        carefully, and thinned to ``draws``; but not where one chain, or fewer than 400 draws in
        all, could pass no gate. The attributes of the tree say what was done.
    chains : int
    engine : {"nutpie", "pymc"}
        "nutpie" samples the compiled log density; "pymc" runs `build_model` by PyMC's own sampler,
        slowly, as a check.
    target_accept : float, optional
        Between 0 and 1.
    random_seed : int or numpy.random.Generator, optional
        The same seed gives the same draws.
    progressbar : bool
    on_draw : callable, optional
        Called with (done, total) draws as they come, instead of the progress bar.

    Returns
    -------
    MixtureTree
        Groups posterior, sample_stats, log_likelihood_unique, log_likelihood (below 100 MB),
        log_prior, prior, prior_predictive, posterior_predictive, observed_data, constant_data,
        unique_rows, modes and relabelling.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and improper priors.
    KeyboardInterrupt
        Where sampling is interrupted before two chains have draws; later, the draws that are
        complete are returned, those of the attempt before if there was one, and a warning is
        logged.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman (2014), The No-U-Turn sampler, J. Mach. Learn. Res. 15,
       1593-1623, https://jmlr.org/papers/v15/hoffman14a.html
    """
    resolved = check_arguments(counts, spec)
    whole(draws, "draws", 4)
    whole(chains, "chains", 1)
    if tune is not None:
        whole(tune, "tune", 1)
    one_of(engine, "engine", ENGINES)
    if target_accept is not None:
        fraction(target_accept, "target_accept")
    function(on_draw, "on_draw")
    rng = as_rng(random_seed)
    modes = find_modes(counts, resolved, rng)
    plan = make_plan(
        counts,
        resolved,
        modes,
        rng,
        exact=engine == "pymc",
        # no gate can hold however carefully this few draws are made
        once=chains == 1 or draws * chains < ESS_LIMIT,
        tune=tune,
        target_accept=target_accept,
    )
    title = f"NUTS, {resolved.n_components} components"
    failures: list[str] = []
    tree: MixtureTree | None = None
    seconds, tries = 0.0, 0
    waiting = list(plan.attempts)
    while waiting:
        attempt = waiting.pop(0)
        starts, which = spread_starts(plan.target, modes, chains, rng)
        seeds = rng.integers(2**31, size=chains).tolist()
        settings = Settings(draws * attempt.thin, attempt.tune, attempt.target_accept)
        target = plan.target
        if attempt.whitened:
            target = target.whitened(modes[0].packed, modes[0].root)
            starts = np.linalg.solve(modes[0].root, (starts - modes[0].packed).T).T.copy()
        started = time.monotonic()
        try:
            with progress_bar(title, enabled=progressbar and on_draw is None) as bar:
                if engine == "nutpie":
                    got = run_nutpie(target, starts, seeds, settings, on_draw or bar)
                else:
                    got = run_pymc(counts, resolved, starts, seeds, settings, on_draw or bar)
            seconds += time.monotonic() - started
            if not got.complete and (tree is not None or got.packed.shape[1] < 4 * attempt.thin):
                # few draws are no better than all that were made before, and too few than none
                raise KeyboardInterrupt
            kept = got.thinned(attempt.thin)
            new = posterior_tree(
                counts, resolved, unpack(kept.packed), kept.stats, modes, which[kept.kept], rng
            )
            gates, error = check_gates(new), _squashing_error(new, plan.squashed)
        except KeyboardInterrupt:
            if tree is None:
                raise
            _log.warning("interrupted: what is kept is from the attempt before")
            tree.attrs["repetition_interrupted"] = 1
            return tree
        tree = new
        divergent = float(got.stats["diverging"].mean())
        if error > _SQUASHING_LIMIT:
            failures.append(f"squashing error {error:.2g} nats")
            exact = make_target(Problem.of(counts, resolved))
            plan = replace(plan, target=exact, squashed=None)
            # the settings are not to blame
            waiting.insert(0, attempt)
        elif _good_enough(gates, divergent, attempt, draws * chains):
            waiting = []
        else:
            failures.append(
                f"{'whitened' if attempt.whitened else 'plain'} coordinates, tune {attempt.tune}, "
                f"target_accept {attempt.target_accept}: r-hat {gates.row_r_hat:.3f} (rows), "
                f"{gates.component_r_hat:.3f} (components), ESS {gates.row_ess:.0f} and "
                f"{gates.component_ess:.0f}, {divergent:.2%} divergent"
            )
        tries += 1
        tree.attrs.update(
            {
                **_what_was_done(plan, attempt, got),
                "attempts": tries,
                "failed_attempts": "; ".join(failures),
                "squashing_error_sd": error,
                "sampling_seconds": round(seconds, 3),
            }
        )
        if not got.complete:
            break
        if len(failures) == tries:
            _log.info("attempt %d did not pass (%s)", tries, failures[-1])
    assert tree is not None
    return tree


def _what_was_done(plan: Plan, attempt: Attempt, got: Chains) -> dict[str, str | int | float]:
    """Attributes of a tree that say how its draws were made."""
    done: dict[str, str | int | float] = {
        "engine": got.engine,
        "coordinate_system": "laplace-whitened" if attempt.whitened else "plain",
        "mode_mass": plan.mode_mass,
        "tune": attempt.tune,
        "target_accept": attempt.target_accept,
        "thinned_from": got.packed.shape[1],
        "interrupted": int(not got.complete),
        "n_divergent": int(got.stats["diverging"].sum()),
        "n_sampled": got.stats["diverging"].size,
    }
    # NaN where none was tried
    return done if np.isnan(plan.k_hat) else {**done, "k_hat": plan.k_hat}


def _squashing_error(tree: xr.DataTree, squashed: CountTable | None) -> float:
    """Standard deviation over the draws of the error of the log likelihood that was sampled."""
    if squashed is None:
        return 0.0
    draws, table = read_draws(tree), read_table(tree)
    true = row_log_density(tree, draws, table) @ table.frequency
    sampled = draws.log_density(squashed) @ squashed.frequency
    return float((sampled - true).std())


def _good_enough(gates: Gates, divergent: float, attempt: Attempt, n_samples: int) -> bool:
    """Whether to stop here.

    Few effective draws of a heavy-tailed component have not seen its tail, whatever r-hat says, and
    their standard deviations come out too low. But components of a mixture with too many of them
    may never settle, so that they alone are worth one thinned attempt only.
    """
    if not gates.density_ok or divergent > DIVERGENCE_LIMIT:
        return False
    return attempt.thin > 1 or (gates.components_ok and gates.component_ess >= _WORTH * n_samples)
