"""Effective draws per second of `sample` against PyMC, and what a gradient costs.

Run ``python benchmarks/posterior.py [folder with reference data] [cases]``; every method runs in a
process of its own, after imports and with machine code on disk, on the same priors. Times count
everything from counts in memory to the finished tree: compilation of PyMC's models, search for
modes, tuning, and for ours relabelling, gates, log likelihoods and predictions as well. The figure
is the bulk ESS of the slowest of weights, means and dispersions after sorting each draw by means.
PyMC and NumPyro (where it is installed) start in our mode, for their own starts lead into others.

A: molecules of spike-ins per droplet; B: 10,000 counts with continuous exposures; C: doctor visits;
D: a million counts. The digit is the number of components.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pmnbmix as nb
from pmnbmix.compiled import compiled
from pmnbmix.mixture import fused
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target

# Tuning draws, draws and chains; seconds, ESS and a note.
Settings = tuple[int, int, int]
Found = tuple[float, float, str]

CASES = ("A2", "A3", "B2", "C2", "C3", "D2")
# Tuning draws, draws and chains of PyMC on all rows, as many as its speed allows.
ALL_ROWS = {
    "A2": (1000, 1000, 2),
    "A3": (1000, 1000, 2),
    "B2": (500, 500, 2),
    "C2": (300, 300, 2),
    "C3": (150, 150, 2),
}
_REPEATS = 3


def counts_of(case: str, folder: Path | None) -> nb.Counts:
    """Counts of a case."""
    rng = np.random.default_rng(0)
    if case[0] == "A":
        path = folder / "chromium2-ERCC-00031.npz" if folder else None
        if path and path.exists():
            return nb.read_counts(path, "s")
        return nb.simulate_droplets(2000, random_seed=0)
    if case[0] == "B":
        exposure = np.exp(rng.normal(0.0, 0.5, 10_000))
        truth = nb.MixtureParams([0.6, 0.4], [2.0, 12.0], [0.3, 0.2])
        return nb.Counts(truth.sample(10_000, rng, exposure)[0], exposure)
    if case[0] == "C":
        return nb.load_dataset("doctor_visits")
    truth = nb.MixtureParams([0.4, 0.6], [5.0, 15.0], [0.2, 0.1])
    return nb.Counts(truth.sample(1_000_000, rng)[0])


def slowest(weights: np.ndarray, means: np.ndarray, dispersions: np.ndarray) -> float:
    """Bulk ESS of the slowest parameter of draws (chain, draw, k), each sorted by its means."""
    import arviz as az

    order = np.argsort(means, axis=-1)
    return min(
        float(
            az.ess(az.convert_to_datatree({"q": np.take_along_axis(array, order, -1)}))["q"].min()
        )
        for array in (weights, means, dispersions)
    )


def ours(counts: nb.Counts, k: int) -> Found:
    """Seconds, ESS and a note of `sample` with its defaults."""
    import arviz  # noqa: F401
    import nutpie  # noqa: F401
    import pymc  # noqa: F401

    # what is imported on first use, as PyMC is above
    sample = nb.sample
    begin = time.perf_counter()
    tree = sample(counts, nb.MixtureSpec(k), random_seed=1, progressbar=False)
    seconds = time.perf_counter() - begin
    posterior = tree["posterior"].to_dataset()
    draws = [posterior[name].values for name in ("weights", "means", "dispersions")]
    note = f"{tree.attrs['coordinate_system']}, {tree.attrs['attempts']} attempts, "
    return seconds, slowest(*draws), note + f"{tree.attrs['n_divergent']} divergent"


def start_values(counts: nb.Counts, k: int) -> dict[str, np.ndarray]:
    """Our mode, by the names of the models' variables."""
    params = nb.fit_map(counts, nb.MixtureSpec(k), random_seed=1).params
    return {
        "weights": params.weights,
        "log_means": np.log(params.means),
        "log_dispersions": np.log(params.dispersions),
    }


def pymc(make_model: Callable[[], Any], start: dict[str, np.ndarray], settings: Settings) -> Found:
    """Time pm.sample on a model, building and compiling included."""
    import pymc as pm

    tune, draws, chains = settings
    begin = time.perf_counter()
    with make_model():
        trace = pm.sample(
            draws,
            tune=tune,
            chains=chains,
            random_seed=1,
            initvals=start,
            # with jitter half the chains end in lower modes
            compile_kwargs={"jitter_rvs": set()},
            progressbar=False,
            compute_convergence_checks=False,
        )
    seconds = time.perf_counter() - begin
    posterior = trace["posterior"].to_dataset()
    divergent = int(trace["sample_stats"]["diverging"].sum())
    return seconds, ess_of_logs(posterior), f"{tune}/{draws} x {chains}, {divergent} divergent"


def ess_of_logs(draws: Any) -> float:
    """Like `slowest`, of variables as the peers sample them."""
    weights, *logs = (
        np.asarray(draws[name]) for name in ("weights", "log_means", "log_dispersions")
    )
    return slowest(weights, *map(np.exp, logs))


def numpyro_collapsed(counts: nb.Counts, k: int, settings: Settings) -> Found:
    """Time NumPyro's NUTS on collapsed rows."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS, init_to_value

    numpyro.enable_x64()
    spec = nb.MixtureSpec(k).resolve(counts)
    start = start_values(counts, k)
    tune, draws, chains = settings
    begin = time.perf_counter()
    table = counts.table
    values, exposure, frequency = map(jnp.array, (table.values, table.exposure, table.frequency))

    def model() -> None:
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.full(k, 2.0)))
        prior = dist.Normal(spec.log_means.loc, spec.log_means.scale).expand([k])
        log_means = numpyro.sample("log_means", prior)
        prior = dist.Normal(0.0, spec.log_dispersions.scale).expand([k])
        log_dispersions = numpyro.sample("log_dispersions", prior)
        parts = dist.NegativeBinomial2(
            exposure[:, None] * jnp.exp(log_means), jnp.exp(-log_dispersions)
        )
        rows = dist.MixtureSameFamily(dist.Categorical(weights), parts).log_prob(values)
        numpyro.factor("log_likelihood", (frequency * rows).sum())

    run = MCMC(
        NUTS(model, init_strategy=init_to_value(values=start)),
        num_warmup=tune,
        num_samples=draws,
        num_chains=chains,
        chain_method="sequential",
        progress_bar=False,
    )
    run.run(jax.random.PRNGKey(1))
    found = {name: np.asarray(draw) for name, draw in run.get_samples(group_by_chain=True).items()}
    seconds = time.perf_counter() - begin
    divergent = int(run.get_extra_fields()["diverging"].sum())
    return seconds, ess_of_logs(found), f"{tune}/{draws} x {chains}, {divergent} divergent"


@compiled
def _digamma(x: float) -> float:
    value = 0.0
    while x < 6.0:
        value -= 1.0 / x
        x += 1.0
    w = 1.0 / (x * x)
    return value + math.log(x) - 0.5 / x - w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w / 240)))


@compiled
def _floor(values: np.ndarray, inv_disps: np.ndarray, times: int) -> float:
    """One lgamma and one digamma for each row and component."""
    total = 0.0
    for _ in range(times):
        for j in range(inv_disps.size):
            for u in range(values.size):
                z = values[u] + inv_disps[j]
                total += math.lgamma(z) + _digamma(z)
    return total


@compiled
def _gradients(packed: np.ndarray, buffer: np.ndarray, times: int) -> float:
    gradient, total = np.empty(packed.size), 0.0
    for _ in range(times):
        total += fused.evaluate(packed, gradient, buffer)
    return total


def gradient_row(case: str, counts: nb.Counts) -> dict[str, Any]:
    """Microseconds of one gradient and of the floor, taken in turns."""
    k = int(case[1])
    spec = nb.MixtureSpec(k).resolve(counts)
    start = start_values(counts, k)
    ratios = np.log(start["weights"][:-1] / start["weights"][-1])
    packed = np.concatenate([ratios, start["log_means"], start["log_dispersions"]])
    inv_disps = np.exp(-start["log_dispersions"])
    target = make_target(Problem.of(counts, spec))
    times = max(10, 200_000 // counts.n_unique)
    runs: dict[str, Callable[[], float]] = {
        "gradient": lambda: _gradients(packed, target.buffer, times),
        "floor": lambda: _floor(counts.table.values, inv_disps, times),
    }
    best = dict.fromkeys(runs, np.inf)
    for repeat in range(8):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if repeat:
                best[name] = min(best[name], time.perf_counter() - begin)
    micro = {name: 1e6 * seconds / times for name, seconds in best.items()}
    ratio = micro["gradient"] / micro["floor"]
    return {"case": case, "rows": counts.n_unique, **micro, "gradient / floor": ratio}


def one(case: str, method: str, folder: Path | None) -> None:
    """Run one method in this process and write its figures as a line of JSON."""
    warnings.simplefilter("ignore")
    counts, k = counts_of(case, folder), int(case[1])
    if method == "pmnbmix":
        seconds, ess, note = ours(counts, k)
    elif method == "pm.Mixture":
        from point import textbook_model

        start = start_values(counts, k)
        seconds, ess, note = pymc(lambda: textbook_model(counts, k), start, ALL_ROWS[case])
    elif method == "NumPyro":
        seconds, ess, note = numpyro_collapsed(counts, k, (300, 300, 2))
    else:
        spec = nb.MixtureSpec(k)
        start = start_values(counts, k)
        seconds, ess, note = pymc(lambda: nb.build_model(counts, spec), start, (1000, 1000, 2))
    sys.stdout.write(json.dumps({"seconds": seconds, "ess": ess, "note": note}) + "\n")


def measured(case: str, method: str, folder: Path | None) -> dict[str, Any]:
    """Figures of one method in a process of its own."""
    command = [sys.executable, __file__, "--one", case, method, str(folder or "")]
    out = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    found = json.loads(out.stdout.strip().splitlines()[-1])
    return {"case": case, "method": method, **found}


def main() -> None:
    """Run every method on every case and write both tables."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1] else None
    cases = sys.argv[2].split(",") if len(sys.argv) > 2 else list(CASES)
    rows = []
    for case in cases:
        # the first run of ours may compile
        measured(case, "pmnbmix", folder)
        mine = [measured(case, "pmnbmix", folder) for _ in range(_REPEATS)]
        rates = sorted(row["ess"] / row["seconds"] for row in mine)
        best = rates[len(rates) // 2]
        others = [measured(case, "collapsed", folder)]
        if case in ALL_ROWS:
            others.append(measured(case, "pm.Mixture", folder))
        if importlib.util.find_spec("numpyro"):
            others.append(measured(case, "NumPyro", folder))
        for row in [*mine, *others]:
            row["ESS/s"] = row["ess"] / row["seconds"]
            row["ours is"] = best / row["ESS/s"]
            rows.append(row)
        sys.stdout.write(pd.DataFrame(rows[-len(others) - _REPEATS :]).to_string() + "\n\n")
        sys.stdout.flush()
    gradients = [gradient_row(case, counts_of(case, folder)) for case in cases]
    sys.stdout.write(pd.DataFrame(gradients).round(2).to_string(index=False) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--one":
        one(sys.argv[2], sys.argv[3], Path(sys.argv[4]) if sys.argv[4] else None)
    else:
        main()
