"""What a gradient of a mixture of two regressions costs, beside PyMC's own mixture, and fits.

Run ``python benchmarks/regressions.py``. Ten coefficients of the mean in each component, no two
rows with the same covariates; and the same counts without covariates, by the kernel of the plain
model. Times are of one thread's processor, least of several turns, one case after another.

``python benchmarks/regressions.py fits`` fits many rows instead: five numbers as covariates, no two
rows the same, and three factors. Peak memory is that of the process, in which smaller fits come
first.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt

import pmnbmix as nb
from pmnbmix.compiled import compiled
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.design import Design, Part
from pmnbmix.mixture.fused import evaluate
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target

TERMS, K = 10, 2
_TURNS, _TIMES = 15, 20


def problem_of(n: int, regression: bool) -> Problem:
    """Counts with a gamma distributed rate, their covariates standard normal."""
    rng = np.random.default_rng(0)
    covariates = np.column_stack([np.ones(n), rng.normal(size=(n, TERMS - 1))])
    rate = np.exp(1.0 + covariates[:, 1:] @ rng.normal(0.0, 0.2, TERMS - 1))
    values = rng.poisson(rate * rng.gamma(1.0, 1.0, n))
    order = np.argsort(values, kind="stable")
    exposure = rng.lognormal(0.0, 0.3, n)
    table = CountTable(
        values[order].astype(float), exposure, np.arange(n), np.arange(n), np.ones(n)
    )
    means = Part(tuple(map(str, range(TERMS))), covariates[order], (False,) * TERMS)
    design = Design.of(K, means=means if regression else None)
    return Problem(nb.MixtureSpec(K, log_means=nb.NormalPrior(1.0, 2.0)), table, design)


@compiled
def _gradients(packed: np.ndarray, gradient: np.ndarray, buffer: np.ndarray, times: int) -> float:
    total = 0.0
    for _ in range(times):
        total += evaluate(packed, gradient, buffer)
    return total


def ours(problem: Problem) -> Callable[[], object]:
    """Several gradients of the compiled log posterior."""
    target = make_target(problem)
    packed, gradient = np.full(target.size, 0.1), np.empty(target.size)
    return lambda: _gradients(packed, gradient, target.buffer, _TIMES)


def of_pymc(problem: Problem) -> Callable[[], object]:
    """Several gradients of the same model in PyMC's distributions, compiled by numba."""
    table, matrix = problem.table, problem.design.means.matrix
    with pm.Model() as model:
        weights = pm.Dirichlet("weights", np.full(K, 2.0))
        coefficients = pm.Normal("coefficients", 0.0, 1.0, shape=(TERMS, K))
        log_dispersions = pm.Normal("log_dispersions", 0.0, 2.0, shape=K)
        means = table.exposure[:, None] * pt.exp(pt.dot(matrix, coefficients))
        parts = pm.NegativeBinomial.dist(mu=means, alpha=pt.exp(-log_dispersions))
        pm.Mixture("count", w=weights, comp_dists=parts, observed=table.values.astype(int))
    with pytensor.config.change_flags(mode="NUMBA"):
        function = model.logp_dlogp_function(ravel_inputs=True)
    function.set_extra_values({})
    at = np.full(function.size if hasattr(function, "size") else (K - 1) + TERMS * K + K, 0.1)
    function(at)

    def run() -> None:
        for _ in range(_TIMES):
            function(at)

    return run


def fits() -> None:
    """Print seconds and peak memory of `fit_em` for each number of rows."""
    rng = np.random.default_rng(0)
    frames = {}
    for n in (10_000, 200_000):
        frames[f"{n:,} rows, five numbers"] = pd.DataFrame(
            rng.normal(size=(n, 5)), columns=list("abcde")
        )
    factors = {"a": list("pqrs"), "b": list("xyz"), "c": list("tuvw")}
    frames["1,000,000 rows, three factors"] = pd.DataFrame(
        {name: rng.choice(levels, 1_000_000) for name, levels in factors.items()}
    )
    warm = nb.Counts([0, 1, 5, 9, 2, 3], covariates={"a": [1.0, 2.0, 4.0, 7.0, 9.0, 3.0]})
    nb.fit_em(warm, nb.MixtureSpec(2, mean_formula="a"), random_seed=0)
    for name, frame in frames.items():
        column = frame["a"].to_numpy()
        x = column if column.dtype == float else (column == "q").astype(float)
        first = rng.random(len(frame)) < 0.4
        rate = np.exp(np.where(first, 0.2 + 0.3 * x, 1.5 - 0.1 * x))
        values = rng.poisson(rate * rng.gamma(3.0, 1.0 / 3.0, len(frame)))
        begin = time.perf_counter()
        counts = nb.Counts(values, covariates=frame)
        spec = nb.MixtureSpec(2, mean_formula=" + ".join(frame))
        fit = nb.fit_em(counts, spec, random_seed=1)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        sys.stdout.write(f"{name}: {seconds:.1f} s, peak {peak:.2f} GB, {fit.status}\n")


def main() -> None:
    """Print a row for each number of rows."""
    if sys.argv[1:] == ["fits"]:
        fits()
        return
    sys.stdout.write(f"{'rows':>7} {'ours':>9} {'plain':>9} {'pm.Mixture':>11}  microseconds\n")
    for n in (4406, 20190):
        runs = [
            ours(problem_of(n, True)),
            ours(problem_of(n, False)),
            of_pymc(problem_of(n, True)),
        ]
        best = [np.inf] * len(runs)
        for _ in range(_TURNS):
            for i, run in enumerate(runs):
                begin = time.process_time()
                run()
                best[i] = min(best[i], (time.process_time() - begin) / _TIMES * 1e6)
        sys.stdout.write(f"{n:7d} {best[0]:9.0f} {best[1]:9.0f} {best[2]:11.0f}\n")


if __name__ == "__main__":
    main()
