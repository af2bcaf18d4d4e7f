"""Point estimates against other ways to them: what is reached, and how long it takes.

Run ``python benchmarks/point.py [folder of csv or npz files]``. All methods run in one process, one
after another, so that ratios mean something on a noisy machine; times are medians of repeats.
``gap`` is how many nats a method ends below the best optimum known from 20 seeds of `fit_em`, or of
`fit_map` for find_MAP, which maximises the posterior density. Ours is the whole pool of starts,
every other row one start. find_MAP runs on pm.Mixture of every observation, as it is written
without this package, and on `build_model`, whose rows are collapsed. It compiles its functions in
every call; the second finds most of that in caches, and "L-BFGS alone" is the optimiser with both
functions ready.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
from pymc.blocking import DictToArrayBijection
from scipy import optimize

import pmnbmix as nb
from pmnbmix.mixture.sums import derivatives
from pmnbmix.point.objective import likelihood_objective
from pmnbmix.point.starts import start_pool

_PATH = Path(__file__).parent.parent / "models" / "original_em.py"
_SPEC = importlib.util.spec_from_file_location("original_em", _PATH)
original_em = importlib.util.module_from_spec(_SPEC)
sys.modules["original_em"] = original_em
_SPEC.loader.exec_module(original_em)

CASES = [
    ("crab_satellites", 2),
    ("earthquakes", 2),
    ("red_mites", 2),
    ("doctor_visits", 2),
    ("doctor_visits", 3),
]


def timed(run: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Result of a run and the median of its times in seconds."""
    times, value = [], np.nan
    for _ in range(repeats):
        begin = time.perf_counter()
        value = run()
        times.append(time.perf_counter() - begin)
    return value, float(np.median(times))


def lbfgs(counts: nb.Counts, k: int) -> float:
    """Maximise the likelihood by scipy's L-BFGS with our analytic gradient, one quantile start."""
    objective = likelihood_objective(counts, k, False)
    _, start = start_pool(counts.table, k, np.random.default_rng(0))[0]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = flat.reshape(3, k).copy()
        point[0] -= np.logaddexp.reduce(point[0])
        likelihood, gradient, _ = derivatives(
            objective.rows, objective.terms, objective.prior, point
        )
        return -likelihood, -gradient

    found = optimize.minimize(loss, start.ravel(), jac=True, method="L-BFGS-B")
    assert np.isfinite(found.x).all()
    return -float(found.fun)


def original(counts: nb.Counts, k: int, corrections: frozenset) -> float:
    """Log likelihood that the page's EM reaches; minus infinity where it raises or runs out."""
    values = np.repeat(counts.values, counts.frequency)
    try:
        with np.errstate(all="ignore"):
            # enough for all but the flattest; a minute of it for twenty thousand counts
            found = original_em.fit(values, k, corrections, max_iter=300).log_likelihood
    except (RuntimeError, ValueError):
        return -np.inf
    return found if np.isfinite(found) else -np.inf


def textbook_model(counts: nb.Counts, k: int) -> pm.Model:
    """The same model as a user writes it: pm.Mixture on every observation."""
    spec = nb.MixtureSpec(k).resolve(counts)
    values, exposure = (
        np.repeat(array, counts.frequency) for array in (counts.values, counts.exposure)
    )
    with pm.Model() as model:
        weights = pm.Dirichlet("weights", np.full(k, spec.weights.concentration))
        means = pm.Normal("log_means", spec.log_means.loc, spec.log_means.scale, shape=k)
        scale = spec.log_dispersions.scale
        dispersions = pm.Normal("log_dispersions", spec.log_dispersions.loc, scale, shape=k)
        rate = (
            pm.math.exp(means)
            if not counts.has_exposure
            else exposure[:, None] * pm.math.exp(means)
        )
        parts = pm.NegativeBinomial.dist(mu=rate, alpha=pm.math.exp(-dispersions))
        pm.Mixture("count", w=weights, comp_dists=parts, observed=values)
    return model


def find_map(model: pm.Model, jitter: bool) -> tuple[float, float, float, float]:
    """Log density that pm.find_MAP reaches; seconds of a first call, a second, its L-BFGS alone."""
    start = model.initial_point()
    if jitter:
        rng = np.random.default_rng(0)
        start = {name: value + rng.uniform(-1, 1, value.shape) for name, value in start.items()}
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        pm.find_MAP(start=start, model=model, progressbar=False)
        seconds.append(time.perf_counter() - begin)
    logp, dlogp = model.compile_logp(jacobian=False), model.compile_dlogp(jacobian=False)
    raveled = DictToArrayBijection.map(start)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        point = DictToArrayBijection.rmap(type(raveled)(x, raveled.point_map_info))
        return -float(logp(point)), -dlogp(point)

    def run() -> float:
        return -float(optimize.minimize(loss, raveled.data, jac=True, method="L-BFGS-B").fun)

    run()
    value, alone = timed(run, 3)
    return value, seconds[0], seconds[1], alone


def best(fit: Callable[[int], float]) -> float:
    """Highest value from 20 seeds."""
    return max(fit(seed) for seed in range(20))


def compare(name: str, counts: nb.Counts, k: int) -> list[dict[str, object]]:
    """Every method on one set of counts."""
    spec = nb.MixtureSpec(k)
    top = best(lambda seed: nb.fit_em(counts, k, random_seed=seed).log_likelihood)
    top_map = best(lambda seed: nb.fit_map(counts, spec, random_seed=seed).log_density)
    rows: list[dict[str, object]] = []

    def add(method: str, gap: float, seconds: float) -> None:
        rows.append({"data": name, "K": k, "method": method, "gap": gap, "seconds": seconds})

    value, seconds = timed(lambda: nb.fit_em(counts, k, random_seed=1).log_likelihood, 5)
    ours = seconds
    add("fit_em, whole pool", top - value, seconds)
    value, seconds = timed(lambda: nb.fit_map(counts, spec, random_seed=1).log_density, 5)
    ours_map = seconds
    add("fit_map, whole pool", top_map - value, seconds)
    value, seconds = timed(lambda: lbfgs(counts, k), 5)
    add("L-BFGS, analytic gradient, one start", top - value, seconds)
    for word, corrections in (("few", original_em.INTENDED), ("all", original_em.ALL)):
        value, seconds = timed(lambda c=corrections: original(counts, k, c), 1)
        add(f"original EM, {word} corrections", top - value, seconds)
    models = {
        "pm.Mixture": textbook_model(counts, k),
        "build_model": nb.build_model(counts, spec),
    }
    for name_of_model, model in models.items():
        for word, jitter in (("default start", False), ("jittered start", True)):
            value, first, again, alone = find_map(model, jitter)
            method = f"find_MAP, {name_of_model}, {word}"
            add(f"{method}, first call", top_map - value, first)
            add(f"{method}, second call", top_map - value, again)
            add(f"{method}, L-BFGS alone", top_map - value, alone)
    for row in rows:
        base = ours_map if "MAP" in str(row["method"]) else ours
        row["times ours"] = float(row["seconds"]) / base
    return rows


def scaling() -> None:
    """Counts in the hundreds of thousands."""
    truth = nb.MixtureParams([0.4, 0.6], [10.0, 60.0], [0.2, 0.1])
    rng = np.random.default_rng(1)
    many = nb.Counts(truth.sample(1_000_000, rng)[0])
    _, seconds = timed(lambda: nb.fit_em(many, 2, random_seed=1).log_likelihood, 5)
    sys.stdout.write(f"1,000,000 counts, table made: {seconds:.3f} s\n")
    for means, dispersions, spread in (
        ([0.05, 1.5], [0.5, 0.2], 0.4),
        ([2.0, 12.0], [0.2, 0.2], 0.5),
    ):
        exposure = np.exp(rng.normal(0, spread, 100_000))
        values, _ = nb.MixtureParams([0.6, 0.4], means, dispersions).sample(100_000, rng, exposure)
        _, seconds = timed(
            lambda v=values, e=exposure: nb.fit_em(nb.Counts(v, e), 2, random_seed=1).n_iter, 3
        )
        sys.stdout.write(
            f"100,000 counts with distinct exposures, means {means}, table and all: "
            f"{seconds:.3f} s\n"
        )


def main() -> None:
    """Print one table, and the scaling."""
    warnings.simplefilter("ignore")
    cases = [(name, nb.load_dataset(name), k) for name, k in CASES]
    if len(sys.argv) > 1:
        for path in sorted(Path(sys.argv[1]).glob("*.npz")):
            cases.append((path.stem, nb.read_counts(path, "x"), 2))
    nb.fit_em(cases[0][1], 2, random_seed=0)
    rows = [row for name, counts, k in cases for row in compare(name, counts, k)]
    table = pd.DataFrame(rows)
    formats = {"gap": "{:.2g}".format, "seconds": "{:.4f}".format, "times ours": "{:.1f}".format}
    sys.stdout.write(table.to_string(index=False, formatters=formats) + "\n\n")
    scaling()


if __name__ == "__main__":
    main()
