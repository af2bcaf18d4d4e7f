"""Relabelling: seconds against R's label.switching on its reference outputs, and a million counts.

    python benchmarks/labels.py [FOLDER]

FOLDER holds K2_in.npz, K2_ref.npz, ...: draws, and what label.switching 1.8 made of them in how
many seconds; without it only the second table is made. Seconds of R were measured on another day,
so ratios within a factor of two mean little.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.tree.writing import assemble

REPEATS = 7


def seconds(run: Callable[[], Any]) -> float:
    """Median of some runs after one that warms up."""
    run()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def against_reference(folder: Path) -> pd.DataFrame:
    """Seconds of each method, and how many times as long R took."""
    rows = []
    for name in ("K2", "K3", "K5"):
        data, reference = np.load(folder / f"{name}_in.npz"), np.load(folder / f"{name}_ref.npz")
        taken = dict(zip(reference["methods"], reference["seconds"], strict=True))
        p, z, mcmc = data["p"], data["z"] - 1, data["mcmc"]
        best, pivot = int(reference["best"]), reference["zpivot"]
        calls = {
            "STEPHENS": {"p": p, "method": "stephens"},
            "ECR": {"z": z, "method": "ecr", "pivot": pivot},
            "ECR1": {"z": z, "method": "ecr-iterative-1"},
            "ECR2": {"z": z, "p": p, "method": "ecr-iterative-2"},
            "PRA": {"draws": mcmc, "method": "pra", "pivot": best},
            "AIC": {"draws": mcmc, "method": "order"},
        }
        for key, call in calls.items():
            ours = seconds(lambda call=call: nb.relabel_draws(**call))
            same = (nb.relabel_draws(**call) == reference[f"perm_{key}"]).all(axis=1).mean()
            rows.append((name, call["method"], ours, taken[key], taken[key] / ours, same))
    columns = ["case", "method", "seconds", "seconds of R", "times", "same permutations"]
    return pd.DataFrame(rows, columns=columns)


def a_million(exposed: bool) -> dict[str, Any]:
    """Stephens' algorithm on 4 x 1,000 draws of three components, labels permuted at random."""
    rng = np.random.default_rng(0)
    truth = nb.MixtureParams([0.3, 0.4, 0.3], [2.0, 20.0, 200.0], [0.3, 0.3, 0.2])
    n, shape = 1_000_000, (4, 1000, 3)
    exposure = np.exp(rng.normal(0, 0.5, n)) if exposed else None
    counts = nb.Counts(truth.sample(n, random_seed=1, exposure=exposure)[0], exposure=exposure)
    weights = truth.weights * np.exp(rng.normal(0, 0.01, shape))
    draws = Draws(
        weights / weights.sum(-1, keepdims=True),
        truth.means * np.exp(rng.normal(0, 0.01, shape)),
        truth.dispersions * np.exp(rng.normal(0, 0.02, shape)),
    )
    labels = rng.permuted(np.tile(np.arange(3), (*shape[:2], 1)), axis=-1)
    tree = None if exposed else assemble(counts, draws.permuted(labels), {})
    begin = time.perf_counter()
    if tree is None:
        from pmnbmix.labels.relabel import relabel_by_responsibilities

        # the log density of a million distinct rows is no part of relabelling
        order = relabel_by_responsibilities(draws.permuted(labels), counts.table).order
    else:
        order = nb.relabel(tree)["relabelling"]["permutation"].values.reshape(-1, 3)
    took = time.perf_counter() - begin
    restored = np.take_along_axis(labels.reshape(-1, 3), order, axis=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "distinct rows": counts.n_unique,
        "seconds": took,
        "peak memory of the process, GB": peak,
        "right": float((restored == restored[0]).all(axis=1).mean()),
    }


def main() -> None:
    """Print both tables."""
    with pd.option_context("display.float_format", "{:.4g}".format, "display.width", 120):
        if len(sys.argv) > 1:
            sys.stdout.write(f"{against_reference(Path(sys.argv[1])).to_string()}\n\n")
        # small ones first: the peak is of all that went before
        a_million(exposed=False)
        table = pd.DataFrame([a_million(exposed) for exposed in (False, True)])
        sys.stdout.write(f"a million counts\n{table.to_string()}\n")


if __name__ == "__main__":
    main()
