"""The samplers: nutpie on the compiled log density, and PyMC's own on the pm.Model."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.labels.chains import e_bfmi
from pmnbmix.mixture.draws import FURTHEST_LOG
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import Target
from pmnbmix.posterior.handover import nutpie_model
from pmnbmix.progress import Advance

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

_STATS = {
    "logp": "lp",
    "diverging": "diverging",
    "n_steps": "n_steps",
    "depth": "tree_depth",
    "step_size": "step_size",
    "energy": "energy",
    "mean_tree_accept": "acceptance_rate",
}


@dataclass(frozen=True, eq=False)
class Chains:
    """The draws of a run of an engine, and its statistics.

    Attributes
    ----------
    packed : ndarray, shape (chain, draw, 3k - 1)
    stats : Dataset
    engine : str
        Name and version.
    kept : list of int
        Which of the chains that were started these are.
    complete : bool
        Whether the run came to its end.
    """

    packed: Floats
    stats: xr.Dataset
    engine: str
    kept: list[int]
    complete: bool

    def followed_by(self, other: Chains) -> Chains:
        """Append the draws of the same chains that went on from the last of these."""
        stats = xr.concat([self.stats, other.stats], dim="draw")
        packed = np.concatenate([self.packed, other.packed], axis=1)
        stats = stats.assign_coords(draw=np.arange(packed.shape[1]))
        return replace(self, packed=packed, stats=stats)

    def thinned(self, thin: int) -> Chains:
        """Keep every ``thin``-th draw; its statistics count the divergences in between.

        E-BFMI is that of all draws, because it needs the change of energy from each draw to the
        next.
        """
        if thin == 1:
            return self
        whole = self.packed.shape[1] // thin * thin
        blocks = self.stats.isel(draw=slice(0, whole)).coarsen(draw=thin)
        stats = self.stats.isel(draw=slice(thin - 1, whole, thin)).copy()
        stats["diverging"] = stats["diverging"].copy(data=blocks.max()["diverging"].values > 0)
        stats["n_steps"] = stats["n_steps"].copy(data=blocks.sum()["n_steps"].values)
        if "energy" in stats:
            stats["e_bfmi"] = ("chain", e_bfmi(self.stats))
        stats = stats.assign_coords(draw=np.arange(stats.sizes["draw"]))
        return replace(self, packed=self.packed[:, thin - 1 : whole : thin], stats=stats)


@dataclass(frozen=True)
class Settings:
    """Settings of one run of an engine."""

    draws: int
    tune: int
    target_accept: float


def run_nutpie(
    target: Target,
    starts: Floats,
    seeds: list[int],
    settings: Settings,
    advance: Advance,
) -> Chains:
    """Run the compiled log density, one nutpie sampler a chain so that each has its own start.

    ``starts`` (chains, 3k - 1) are in the coordinates of the target; the draws are not whitened.
    """
    import nutpie

    models = [nutpie_model(target.copy(), start) for start in starts]
    per_chain = settings.tune + settings.draws
    done = [0] * len(models)
    stop = threading.Event()

    def run_chain(chain: int) -> xr.DataTree | None:
        def update(progress: list[Any]) -> None:
            done[chain] = int(progress[0].finished_draws)

        if stop.is_set():
            return None
        sampler = nutpie.sample(
            models[chain],
            draws=settings.draws,
            tune=settings.tune,
            chains=1,
            cores=1,
            seed=seeds[chain],
            save_warmup=False,
            progress_bar=False,
            progress_callback=update,
            target_accept=settings.target_accept,
            blocking=False,
        )
        trace: xr.DataTree
        while not stop.is_set():
            # Waiting for a chain that is not complete ends in a TimeoutError.
            with contextlib.suppress(TimeoutError):
                trace = sampler.wait(timeout=0.01)
                done[chain] = per_chain
                return trace
        trace = sampler.abort()
        return trace if "posterior" in trace.children else None

    # An interrupt reaches the main thread only, so it cannot hit a chain that hands over its draws.
    interrupted = False
    with ThreadPoolExecutor(min(len(models), os.cpu_count() or 1)) as pool:
        running = [pool.submit(run_chain, chain) for chain in range(len(models))]
        try:
            while wait(running, timeout=0.02, return_when=FIRST_EXCEPTION).not_done:
                advance(sum(done), len(models) * per_chain)
            advance(sum(done), len(models) * per_chain)
        except KeyboardInterrupt:
            interrupted = True
            with warnings.catch_warnings():
                # ArviZ warns of a chain of one draw, which it takes for two swapped dimensions.
                warnings.simplefilter("ignore", UserWarning)
                stop.set()
                wait(running)
        finally:
            stop.set()
    found = {chain: _result(job, chain) for chain, job in enumerate(running)}
    traces = {chain: trace for chain, trace in found.items() if trace is not None}
    if interrupted:
        traces = _worth_keeping(traces)
        if not traces:
            raise KeyboardInterrupt
        _log.warning(
            "interrupted: %d of %d chains are kept, with %d of %d draws each",
            len(traces),
            len(models),
            next(iter(traces.values()))["posterior"].sizes["draw"],
            settings.draws,
        )
    kept = sorted(traces)
    finished = [traces[chain] for chain in kept]
    stats = xr.concat(
        [trace["sample_stats"].to_dataset()[list(_STATS)] for trace in finished], dim="chain"
    ).rename(_STATS)
    return Chains(
        packed=target.unwhitened(
            np.concatenate([trace["posterior"]["packed"].values for trace in finished])
        ),
        # The attributes are dropped because they are those of one chain.
        stats=stats.drop_attrs().assign_coords(chain=np.arange(len(kept))),
        engine=f"nutpie {version('nutpie')}",
        kept=kept,
        complete=not interrupted,
    )


def _result(job: Future[xr.DataTree | None], chain: int) -> xr.DataTree | None:
    """Trace of a chain; if nutpie failed, an error with the first line of its message."""
    try:
        return job.result()
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise RuntimeError(
            f"NUTS failed in chain {chain} ({reason}): the log posterior has no value or no slope "
            "where it started. Use priors nearer to the counts, or fewer components."
        ) from None


def _worth_keeping(traces: dict[int, xr.DataTree]) -> dict[int, xr.DataTree]:
    """Choose two chains or more that have the most draws when cut to one length; {} if none.

    R-hat and ESS need four draws, so shorter chains are not kept.
    """
    lengths = sorted((trace["posterior"].sizes["draw"] for trace in traces.values()), reverse=True)
    totals = {length: length * place for place, length in enumerate(lengths, start=1) if place > 1}
    kept = max(totals, key=lambda length: totals[length], default=0)
    if kept < 4:
        return {}
    return {
        chain: trace.isel(draw=slice(0, kept))
        for chain, trace in traces.items()
        if trace["posterior"].sizes["draw"] >= kept
    }


def run_pymc(
    counts: Counts,
    spec: MixtureSpec,
    starts: Floats,
    seeds: list[int],
    settings: Settings,
    advance: Advance,
) -> Chains:
    """Run the pm.Model by PyMC's own sampler, from the same starts."""
    import pymc as pm

    from pmnbmix.posterior.model import build_model
    from pmnbmix.posterior.starting import as_point

    trace = pm.sample(
        settings.draws,
        tune=settings.tune,
        chains=len(starts),
        cores=1,
        nuts_sampler="pymc",
        init="adapt_diag",
        initvals=[as_point(start) for start in starts],
        random_seed=seeds,
        model=build_model(counts, spec),
        nuts={"target_accept": settings.target_accept},
        progressbar=False,
        compute_convergence_checks=False,
    )
    advance(1, 1)
    posterior = trace["posterior"].to_dataset()
    # A weight of 0 has no logarithm, so weights are raised to a least one.
    weights = np.maximum(posterior["weights"].values, np.exp(-FURTHEST_LOG))
    packed = np.concatenate(
        [
            np.log(weights[..., :-1]) - np.log(weights[..., -1:]),
            posterior["log_means"].values,
            posterior["log_dispersions"].values,
        ],
        axis=-1,
    )
    stats = trace["sample_stats"].to_dataset()
    names = [name for name in _STATS.values() if name in stats]
    return Chains(
        packed,
        stats[names],
        f"pymc {version('pymc')}",
        kept=list(range(packed.shape[0])),
        # If interrupted, PyMC returns as many draws as every chain has.
        complete=packed.shape[:2] == (len(starts), settings.draws),
    )
