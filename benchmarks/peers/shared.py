"""Labels, LOO and columns against what one does without the package, in one process.

    python shared.py labels|loo|columns

Ratios of times within one process mean most on a noisy machine. Writes a list of rows as JSON.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import counts_of

import pmnbmix as nb

REPEATS = 5


def timed(run: Callable[[], Any], repeats: int = REPEATS) -> tuple[Any, list[float]]:
    """Result of a run after one that warms up, and its times."""
    result, times = run(), []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - begin)
    return result, times


def put_right(order: np.ndarray, shuffled: np.ndarray) -> float:
    """Share of draws that come back to one labelling, the most common one."""
    back = np.take_along_axis(shuffled, order, axis=1)
    return float(np.unique(back, axis=0, return_counts=True)[1].max() / len(back))


def by_kmeans(points: np.ndarray) -> np.ndarray:
    """Order from clusters of all components of all draws; draws that are no permutation stay."""
    from sklearn.cluster import KMeans

    s, k, dim = points.shape
    scaled = (points - points.mean((0, 1))) / points.std((0, 1))
    found = KMeans(k, n_init=10, random_state=0).fit_predict(scaled.reshape(-1, dim))
    labels = found.reshape(s, k)
    proper = (np.sort(labels, axis=1) == np.arange(k)).all(axis=1)
    return np.where(proper[:, None], np.argsort(labels, axis=1), np.arange(k))


def _never_switched(tree: Any) -> None:
    """Make sure that no chain switched, so that its labels are the truth."""
    order = tree["relabelling"].to_dataset()["permutation"].values
    if not (order == order[:, :1]).all():
        raise RuntimeError("a chain switched labels; choose counts whose labels are known")


def labels() -> list[dict[str, Any]]:
    """Draws whose labels are permuted at random, and how many each method puts right."""
    rng = np.random.default_rng(4)
    laws = {
        "separated": nb.MixtureParams([0.6, 0.4], [5.0, 50.0], [0.3, 0.3]),
        "equal means": nb.MixtureParams([0.7, 0.3], [6.0, 6.0], [0.05, 2.0]),
        "three": nb.MixtureParams([0.4, 0.35, 0.25], [2.0, 12.0, 60.0], [0.1, 0.1, 0.1]),
    }
    rows = []
    for name, law in laws.items():
        k = law.weights.size
        counts = nb.Counts(law.sample(1000, rng)[0])
        tree = nb.sample(counts, nb.MixtureSpec(k), random_seed=1, progressbar=False)
        _never_switched(tree)
        posterior = tree["posterior"].to_dataset()
        parts = [
            posterior[v].values.reshape(-1, k)[::4] for v in ("weights", "means", "dispersions")
        ]
        shuffled = rng.permuted(np.tile(np.arange(k), (len(parts[0]), 1)), axis=1)
        weights, means, dispersions = (np.take_along_axis(part, shuffled, 1) for part in parts)
        points = np.log(np.stack([weights, means, dispersions], axis=-1))
        table = counts.table
        p = np.stack(
            [
                nb.MixtureParams(w / w.sum(), m, d).responsibilities(table.values.astype(int))
                for w, m, d in zip(weights, means, dispersions, strict=True)
            ]
        )
        runs: dict[str, Callable[[], np.ndarray]] = {
            "pmnbmix, Stephens": lambda p=p, f=table.frequency: nb.relabel_draws(p, frequency=f),
            "sorted by means": lambda m=means: np.argsort(m, axis=1),
            "scikit-learn KMeans": lambda x=points: by_kmeans(x),
        }
        for method, run in runs.items():
            order, times = timed(run)
            rows.append(
                {
                    "case": name,
                    "method": method,
                    "accuracy": put_right(order, shuffled),
                    "seconds": times,
                }
            )
    return rows


def loo() -> list[dict[str, Any]]:
    """The same draws' LOO on distinct rows and, through ArviZ, on all observations."""
    import arviz as az

    rows = []
    for case, k in (("crab_satellites", 2), ("doctor_visits", 2)):
        tree = nb.sample(counts_of(case), nb.MixtureSpec(k), random_seed=1, progressbar=False)
        full = nb.add_log_likelihood(tree)
        few = 1 if case == "doctor_visits" else REPEATS
        runs = {
            "pmnbmix loo": (lambda tree=tree: nb.loo(tree, reff=1.0), REPEATS),
            "ArviZ loo": (lambda full=full: az.loo(full, reff=1.0), few),
        }
        for method, (run, repeats) in runs.items():
            result, times = timed(run, repeats)
            rows.append(
                {
                    "case": case,
                    "method": method,
                    "accuracy": float(result.elpd),
                    "seconds": times,
                }
            )
    return rows


def columns() -> list[dict[str, Any]]:
    """Many columns by each method; accuracy is the share within 0.01 nats of the best known."""
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1]))
    from columns import columns as simulated
    from columns import lbfgs
    from estimate import find_map
    from sklearn.mixture import GaussianMixture

    n_columns, n = 100, 2000
    matrix = np.column_stack(list(simulated(n_columns, n, 0.0, 9, None)))
    counts = [nb.Counts(column) for column in matrix.T]
    best = np.array([nb.fit_em(one, 2, random_seed=0).log_likelihood for one in counts])
    few = 5

    def maps() -> list[float]:
        out = []
        for one in counts[:few]:
            case = {
                "k": 2,
                "values": one.table.values.astype(int),
                "exposure": one.table.exposure,
                "frequency": one.table.frequency,
                "has_exposure": False,
                "log_mean_loc": nb.MixtureSpec(2).resolve(one).log_means.loc,
            }
            weights, means, dispersions = find_map(case, 0)[1]
            params = nb.MixtureParams(weights / weights.sum(), means, dispersions)
            table = one.table
            rows = params.logpmf(table.values.astype(int), table.exposure)
            out.append(float(table.frequency @ rows))
        return out

    logs = np.log1p(matrix.astype(float))
    runs: dict[str, tuple[Callable[[], Any], int, int]] = {
        "pmnbmix fit_columns": (
            lambda: nb.fit_columns(matrix, 2, n_jobs=1, progressbar=False).log_likelihood,
            n_columns,
            REPEATS,
        ),
        "scipy L-BFGS, our gradient, one start": (
            lambda: [lbfgs(one) for one in counts],
            n_columns,
            REPEATS,
        ),
        "PyMC find_MAP": (maps, few, 1),
        "scikit-learn GaussianMixture of log1p": (
            lambda: [GaussianMixture(2, random_state=0).fit(one[:, None]) for one in logs.T],
            n_columns,
            REPEATS,
        ),
    }
    rows = []
    for method, (run, done, repeats) in runs.items():
        result, times = timed(run, repeats)
        accuracy = np.nan
        # the one is another model, the other maximises another function
        if method.startswith(("pmnbmix", "scipy")):
            accuracy = float((best[:done] - np.asarray(result) < 0.01).mean())
        rows.append(
            {
                "case": f"{n_columns} columns of {n}",
                "method": method,
                "accuracy": accuracy,
                "seconds": [seconds / done for seconds in times],
            }
        )
    return rows


def main() -> None:
    """Run one comparison."""
    warnings.simplefilter("ignore")
    rows = {"labels": labels, "loo": loo, "columns": columns}[sys.argv[1]]()
    sys.stdout.write("\n" + json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
