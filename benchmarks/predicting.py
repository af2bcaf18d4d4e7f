"""What the chosen number, the best one and the average over all predict: kinds that fit badly.

    python benchmarks/predicting.py OUT.csv [SETS_OF_EACH_KIND]

Six kinds of counts, most of which are no mixture of a few negative binomials; rows are appended as
they come, and what is there already is not made again. Posteriors are made the quick way, as in
`choosing.py`. Loss is the log score of new counts behind
the best number of components, in nats for as many new counts as were fitted.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from choosing import exact_elpd, quick, rank

import pmnbmix as nb
from pmnbmix.selection.rule import judge_components
from pmnbmix.study.adequacy import judge_adequacy
from pmnbmix.study.averaging import AveragedPrediction

# The score of new counts is averaged over so many of them.
_NEW = 20_000
_MOST = 4

type Sampler = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray | None]]


def _mixture(params: nb.MixtureParams, spread: float = 0.0) -> Sampler:
    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        exposure = rng.lognormal(0.0, spread, n) if spread else None
        return params.sample(n, rng, exposure)[0], exposure

    return draw


def _zero_inflated(n: int, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    values = nb.MixtureParams([1.0], [6.0], [0.5]).sample(n, rng)[0]
    return np.where(rng.random(n) < 0.3, 0, values), None


def _lognormal_poisson(n: int, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return rng.poisson(rng.lognormal(1.5, 1.2, n)), None


def _contaminated(n: int, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    values = nb.MixtureParams([1.0], [5.0], [0.2]).sample(n, rng)[0]
    return np.where(rng.random(n) < 0.015, rng.integers(50, 300, n), values), None


KINDS: dict[str, tuple[int, Sampler]] = {
    "three overlapping": (
        300,
        _mixture(nb.MixtureParams([0.4, 0.35, 0.25], [2.0, 7.0, 18.0], [0.3, 0.2, 0.2])),
    ),
    "zero-inflated": (200, _zero_inflated),
    "lognormal-Poisson": (300, _lognormal_poisson),
    "contaminated": (150, _contaminated),
    "two with exposures": (
        200,
        _mixture(nb.MixtureParams([0.6, 0.4], [3.0, 12.0], [0.3, 0.2]), 0.5),
    ),
    "one with exposures": (150, _mixture(nb.MixtureParams([1.0], [5.0], [0.5]), 0.5)),
}


def one(kind: str, index: int) -> dict[str, Any]:
    """Losses on one set of counts."""

    n, draw = KINDS[kind]
    rng = np.random.default_rng([list(KINDS).index(kind), index])
    counts = nb.Counts(*draw(n, rng))
    resolved = nb.MixtureSpec().resolve(counts)
    rows, posteriors, elpds = {}, {}, {}
    for k in range(1, _MOST + 1):
        posteriors[k] = quick(counts, resolved.with_components(k), rng)
        elpds[k], _ = exact_elpd(counts, resolved.with_components(k), posteriors[k], rng)
        rows[k] = {"density_ok": posteriors[k].density_ok, "p_loo": elpds[k].p}
    table = pd.DataFrame.from_dict(rows, orient="index")
    gated = [k for k in rows if posteriors[k].density_ok]
    rank(table, {k: elpds[k] for k in gated})
    verdict = judge_components(table)
    assert verdict.chosen is not None
    assert verdict.best is not None
    weights = table["stacking_weight"].dropna()
    draws = tuple(posteriors[k].draws for k in gated)
    everything = AveragedPrediction(weights / weights.sum(), draws, counts.has_exposure)
    values, exposure = draw(_NEW, rng)
    scores = {k: float(_alone(everything, k).logpmf(values, exposure).mean()) for k in gated}
    averaged = float(everything.logpmf(values, exposure).mean())
    top = max(scores, key=lambda k: scores[k])
    adequacy = judge_adequacy(nb.fit_em(counts, verdict.chosen, random_seed=rng))
    return {
        "kind": kind,
        "n": n,
        "index": index,
        "chosen": verdict.chosen,
        "best": verdict.best,
        "top": top,
        "top_is_plausible": top in verdict.plausible,
        "loss_chosen": n * (scores[top] - scores[verdict.chosen]),
        "loss_best": n * (scores[top] - scores[verdict.best]),
        "loss_averaged": n * (scores[top] - averaged),
        "fit_p_chosen": adequacy.p_value,
    }


def _alone(everything: AveragedPrediction, k: int) -> AveragedPrediction:
    """The prediction of one number of components."""
    weights = pd.Series(0.0, everything.weights.index)
    weights[k] = 1.0
    return AveragedPrediction(weights, everything._draws, everything._has_exposure)


def main() -> None:
    """Append what is missing, kind by kind in turns."""
    path = Path(sys.argv[1])
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    done = set()
    if path.exists():
        old = pd.read_csv(path)
        done = set(zip(old["kind"], old["index"], strict=True))
    begin = time.monotonic()
    for index in range(number):
        for kind in KINDS:
            if (kind, index) in done:
                continue
            row = one(kind, index)
            fresh = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, row)
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
            sys.stdout.write(f"{kind} {index}, {time.monotonic() - begin:.0f} s\n")
            sys.stdout.flush()
    table = pd.read_csv(path)
    losses = ["loss_chosen", "loss_best", "loss_averaged"]
    sys.stdout.write(table.groupby("kind")[losses].mean().round(2).to_string() + "\n")


if __name__ == "__main__":
    main()
