"""Squashed against exact fits, on exposures spread over 1, 3 and 8 orders of e.

Run ``python benchmarks/squashing.py``. For each of 20 simulated sets: the difference of the log
likelihood and of every parameter between a fit that searched on a squashed table and one that never
did, and the error of the squashed log likelihood at 200 points drawn from the Laplace approximation
around the optimum.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

import pmnbmix as nb
from pmnbmix.point.newton import information_spectrum, move, moving, spread_out
from pmnbmix.point.objective import Objective

N = 10_000
# Exposures are lognormal; nearly all lie within 4 standard deviations, which are these orders of e.
SPREADS = {1: 1 / 8, 3: 3 / 8, 8: 1.0}
MIXTURES = [
    nb.MixtureParams([0.6, 0.4], [2.0, 12.0], [0.2, 0.2]),
    nb.MixtureParams([0.7, 0.3], [0.05, 1.5], [0.5, 0.2]),
    nb.MixtureParams([0.6, 0.4], [0.5, 20.0], [0.0, 0.0]),
    nb.MixtureParams([0.5, 0.5], [1.0, 6.0], [0.0, 0.5]),
    nb.MixtureParams([0.3, 0.7], [3.0, 30.0], [1.0, 0.1]),
    nb.MixtureParams([0.5, 0.3, 0.2], [0.5, 5.0, 40.0], [0.3, 0.0, 0.2]),
    nb.MixtureParams([1.0], [4.0], [0.3]),
]


def laplace_points(objective: Objective, point: np.ndarray, rng: np.random.Generator) -> list:
    """Draw 200 points around an optimum by its observed information."""
    _, hessian = objective.derivatives(point)
    numbers = moving(objective.terms, objective.free, point)
    scale, eigenvalues, vectors = information_spectrum(
        hessian, numbers, objective.terms, point[0], objective.worth
    )
    spread = np.where(eigenvalues > 1e-6, 1 / np.sqrt(np.maximum(eigenvalues, 1e-6)), 0.0)
    points = []
    for _ in range(200):
        step = scale * (vectors @ (spread * rng.standard_normal(eigenvalues.size)))
        points.append(move(point, spread_out(step, numbers), objective.free))
    return points


def main() -> None:
    """Print a row for each set."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(20):
        orders = list(SPREADS)[index % 3]
        truth = MIXTURES[index % len(MIXTURES)]
        k = truth.n_components
        exposure = np.exp(rng.normal(0, SPREADS[orders], N))
        counts = nb.Counts(truth.sample(N, rng, exposure)[0], exposure)
        begin = time.perf_counter()
        quick = nb.fit_em(counts, k, random_seed=1)
        middle = time.perf_counter()
        exact = nb.fit_em(counts, k, random_seed=1, exact=True)
        end = time.perf_counter()
        gaps = [
            np.abs(one - other) / np.where(other > 0, other, 1.0)
            for one, other in zip(
                (quick.params.weights, quick.params.means, quick.params.dispersions),
                (exact.params.weights, exact.params.means, exact.params.dispersions),
                strict=True,
            )
        ]
        errors = [0.0]
        if quick.squashing is not None:
            point = quick._optima[0].point
            errors = [
                abs(quick._quick.log_likelihood(p) - quick._objective.log_likelihood(p))
                for p in laplace_points(quick._objective, point, rng)
            ]
        rows.append(
            {
                "orders of e": orders,
                "K": k,
                "poisson": int((truth.dispersions == 0).sum()),
                "rows": counts.n_unique,
                "squashed": quick.squashing.n_squashed if quick.squashing else counts.n_unique,
                "nats": abs(quick.log_likelihood - exact.log_likelihood),
                "parameters": max(gap.max() for gap in gaps),
                "error, median": np.median(errors),
                "95 %": np.quantile(errors, 0.95),
                "largest": max(errors),
                "times faster": (end - middle) / (middle - begin),
            }
        )
    table = pd.DataFrame(rows)
    sys.stdout.write(table.to_string(index=False, float_format="{:.1e}".format) + "\n")


if __name__ == "__main__":
    main()
