"""How often a single run of `fit_em`, `fit_map` and the search for modes misses the best optimum.

Run ``python benchmarks/searching.py [FILE] [SETS]``. Each set has five to seven tight clusters,
mostly more than the components that are fitted: log means 0.6 to 2 apart, dispersions 0.003 to 0.1,
unequal sizes, 150 to 2,800 counts. Six seeds are run with K = 4, 5 and 6. The best known is the
best of these and of random kicks from there, each climbed again, until sixty in a row bring
nothing; a run misses if it ends more than 0.1 nats below. What is done goes into FILE, and the same
command goes on from there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import pmnbmix as nb
from pmnbmix.point.em import run_em
from pmnbmix.point.newton import climb
from pmnbmix.point.objective import Objective, likelihood_objective, prior_objective
from pmnbmix.point.search import search
from pmnbmix.point.starts import off_edges

_SETS = 40
_SEEDS = 6
_MISSED = 0.1
_QUIET = 60


def clusters(index: int) -> nb.Counts:
    """Draw one of the sets."""
    rng = np.random.default_rng([21, index])
    k = int(rng.integers(5, 8))
    steps = rng.uniform(0.6, 2.0, k - 1)
    log_means = rng.uniform(0.5, 3.0) + np.append(0.0, np.cumsum(steps))
    dispersions = np.exp(rng.uniform(np.log(0.003), np.log(0.1), k))
    weights = rng.dirichlet(np.full(k, 2.0))
    n = int(np.exp(rng.uniform(np.log(150), np.log(2800))))
    truth = nb.MixtureParams(weights, np.exp(log_means), dispersions)
    return nb.Counts(truth.sample(n, random_seed=index)[0])


def kicked(objective: Objective, point: np.ndarray) -> float:
    """Best value that random kicks from a point lead to."""
    rng = np.random.default_rng(99)
    best, quiet = objective.value(point), 0
    while quiet < _QUIET:
        quiet += 1
        kick = rng.normal(0, rng.choice([0.1, 0.3, 1.0]), point.shape)
        start = off_edges(off_edges(point, objective.table) + kick, objective.table)
        if not np.isfinite(objective.value(start)):
            continue
        ended = climb(objective, run_em(objective, start, 8, 1e-8)[0], 200)
        if ended.value > best + 1e-3:
            best, point, quiet = ended.value, ended.point, 0
    return best


def run(index: int, k: int) -> list[dict[str, object]]:
    """Run all seeds of the three searches."""
    counts = clusters(index)
    spec = nb.MixtureSpec(k).resolve(counts)
    objectives = {
        "fit_em": likelihood_objective(counts, k, False),
        "fit_map": prior_objective(counts, spec, sampling_density=False),
        "modes": prior_objective(counts, spec, sampling_density=True),
    }
    rows: list[dict[str, object]] = []
    for what, objective in objectives.items():
        began = time.process_time()
        found = [
            search(objective, np.random.default_rng(seed), 200).optima[0] for seed in range(_SEEDS)
        ]
        seconds = (time.process_time() - began) / _SEEDS
        top = max(found, key=lambda optimum: optimum.log_density)
        best = max(top.log_density, kicked(objective, top.point))
        gaps = [best - optimum.log_density for optimum in found]
        rows.append(
            {
                "set": index,
                "n": counts.n,
                "n_components": k,
                "what": what,
                "missed": sum(gap > _MISSED for gap in gaps),
                "largest_gap": round(max(gaps), 2),
                "seconds": round(seconds, 3),
            }
        )
    return rows


def main() -> None:
    """Run what FILE does not have, and say how often the best was missed."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("searching.csv")
    sets = int(sys.argv[2]) if len(sys.argv) > 2 else _SETS
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["set", "n_components"])
    done = set(zip(table["set"], table["n_components"], strict=True))
    for index in range(sets):
        for k in (4, 5, 6):
            if (index, k) not in done:
                table = pd.concat([table, pd.DataFrame(run(index, k))], ignore_index=True)
                table.to_csv(file, index=False)
    shown = table.groupby(["what", "n_components"]).agg(
        sets=("set", "size"),
        missed=("missed", "sum"),
        largest_gap=("largest_gap", "max"),
        seconds=("seconds", "mean"),
    )
    shown = shown.assign(runs=shown["sets"] * _SEEDS)
    sys.stdout.write(shown.to_string(float_format="{:.3g}".format) + "\n")


if __name__ == "__main__":
    main()
