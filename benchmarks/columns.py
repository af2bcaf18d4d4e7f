"""Columns a second and peak memory of `fit_columns`, and how far its log likelihoods fall short.

Run ``python benchmarks/columns.py [folder]``; the folder takes a file of 20,000 genes by 10,000
cells, a temporary one where it is absent. Everything of one matrix runs in one process, one after
another, so that ratios mean something on a noisy machine. ``gap`` is the log likelihood of
`fit_em`, with its whole pool of starts, minus that of `fit_columns`. L-BFGS is scipy's, with our
analytic gradient, from one start on collapsed rows, in a Python loop; GaussianMixture fits two
normal components to log1p of the counts, which is another model, for orientation only.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, sparse

import pmnbmix as nb
from pmnbmix.mixture.sums import derivatives
from pmnbmix.point.objective import likelihood_objective
from pmnbmix.point.starts import start_pool

K = 2
# Columns that the slower methods are run on.
_SOME = 200
_TURNS = 5


def columns(
    n_columns: int, n: int, log_mean: float, random_seed: int, exposure: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yield columns of counts of two components whose parameters are drawn anew for each."""
    rng = np.random.default_rng(random_seed)
    for _ in range(n_columns):
        low = np.exp(rng.normal(log_mean, 1.3))
        means = np.array([low, low * np.exp(rng.uniform(0.2, 3.0))])
        dispersions = np.exp(rng.normal(-0.7, 1.0, 2))
        z = (rng.random(n) > rng.uniform(0.2, 0.95)).astype(int)
        rate = means[z] * rng.gamma(1 / dispersions[z], dispersions[z])
        yield rng.poisson(rate if exposure is None else rate * exposure)


def lbfgs(counts: nb.Counts) -> float:
    """Maximise the likelihood by L-BFGS from one quantile start; the log likelihood reached."""
    objective = likelihood_objective(counts, K, False)
    _, start = start_pool(counts.table, K, np.random.default_rng(0))[0]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = flat.reshape(3, K).copy()
        point[0] -= np.logaddexp.reduce(point[0])
        likelihood, gradient, _ = derivatives(
            objective.rows, objective.terms, objective.prior, point
        )
        return -likelihood, -gradient

    return -float(optimize.minimize(loss, start.ravel(), jac=True, method="L-BFGS-B").fun)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def peak_megabytes() -> float:
    """Most memory that this process has held; what its parent held is not in it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not say how much memory a process held")


def seconds_of(run: Callable[[], object]) -> tuple[object, float]:
    """Result of a run and how long it took."""
    begin = time.perf_counter()
    found = run()
    return found, time.perf_counter() - begin


def compare(name: str, matrix: np.ndarray, exposure: np.ndarray | None) -> None:
    """Print columns a second of every method on one matrix, and the gaps of `fit_columns`."""
    from sklearn.mixture import GaussianMixture

    n_columns = matrix.shape[1]
    stored = sparse.csc_array(matrix)
    options = {"exposure": exposure, "progressbar": False}
    # compiled, and read from disk, before anything is timed
    nb.fit_columns(stored[:, :4], K, **options)
    fits = nb.fit_columns(stored, K, **options)
    # by turns, so that a disturbance falls on both
    turns = [
        [
            n_columns / seconds_of(lambda n=n: nb.fit_columns(stored, K, n_jobs=n, **options))[1]
            for n in (1, 2)
        ]
        for _ in range(_TURNS)
    ]
    one, two = np.median(turns, axis=0)
    some = n_columns if exposure is None else _SOME
    counts = [nb.Counts(matrix[:, j], exposure) for j in range(some)]
    single, em = seconds_of(
        lambda: [nb.fit_em(one, K, random_seed=0).log_likelihood for one in counts]
    )
    gap = np.array(single) - fits.log_likelihood.to_numpy()[:some]
    few = counts[:_SOME]
    reached, quasi = seconds_of(lambda: [lbfgs(one) for one in few])
    logs = np.log1p(matrix[:, :_SOME].astype(float))
    _, normal = seconds_of(
        lambda: [GaussianMixture(K, random_state=0).fit(column[:, None]) for column in logs.T]
    )
    distinct = np.mean([np.unique(column).size for column in matrix.T])
    say(f"\n{name}: {n_columns} columns of {len(matrix)}, density {(matrix > 0).mean():.0%}, ")
    say(f"{distinct:.1f} distinct counts a column on average")
    rows = {
        "fit_columns, one thread": one,
        "fit_columns, two threads": two,
        "loop over fit_em": some / em,
        "loop over L-BFGS, one start": len(few) / quasi,
        "GaussianMixture of log1p": len(few) / normal,
    }
    table = pd.DataFrame({"columns/s": rows})
    table["ratio"] = table["columns/s"] / table["columns/s"].iloc[0]
    say(table.round(3).to_string())
    least, most = np.min(turns, axis=0), np.max(turns, axis=0)
    say(
        f"medians of {_TURNS} turns; one thread {least[0]:.0f} to {most[0]:.0f}, "
        f"two {least[1]:.0f} to {most[1]:.0f}"
    )
    shares = {f"within {limit:g}": (gap < limit).mean() for limit in (1e-4, 1e-3, 0.01, 0.1, 1)}
    say("gaps to fit_em in nats: " + ", ".join(f"{k} {s:.2%}" for k, s in shares.items()))
    say(
        f"largest {gap.max():.3g}, better than fit_em by more than 0.01: {(gap < -0.01).mean():.2%}"
    )
    behind = np.array(single[: len(few)]) - np.array(reached)
    say(f"L-BFGS from one start within 0.01: {(behind < 0.01).mean():.0%}")


def write_h5ad(path: Path, n_columns: int, n: int) -> None:
    """Write a sparse AnnData, by rows as they come from most tools, with exposures in .obs."""
    import anndata

    rng = np.random.default_rng(5)
    exposure = np.exp(rng.normal(0, 0.4, n))
    parts = [
        sparse.csc_array(column.astype(np.float32)[:, None])
        for column in columns(n_columns, n, -5.0, 6, exposure)
    ]
    adata = anndata.AnnData(
        sparse.hstack(parts, format="csr"),
        obs=pd.DataFrame({"size": exposure}, index=[f"cell{i}" for i in range(n)]),
        var=pd.DataFrame(index=[f"gene{j}" for j in range(n_columns)]),
    )
    say(f"\n{n_columns} columns of {n}, density {adata.X.nnz / n / n_columns:.1%}, on disk")
    adata.write_h5ad(path)


def from_disk(path: str, out: str) -> None:
    """Fit a backed file, end to end, in a process of its own."""
    import anndata

    begin = time.perf_counter()
    adata = anndata.read_h5ad(path, backed="r")
    before = peak_megabytes()
    fits = nb.fit_columns(adata, K, exposure="size", out=out, progressbar=False)
    seconds = time.perf_counter() - begin
    peak = peak_megabytes()
    say(f"{seconds:.0f} s from the open file to the last block on disk")
    say(f"{fits.sizes['column'] / seconds:.0f} columns/s on all cores")
    say(f"peak memory {peak:.0f} MB, of which {before:.0f} MB before the first column")
    say(pd.Series(fits.status.to_numpy()).value_counts().to_string())


def main() -> None:
    """Print everything."""
    plain = np.column_stack(list(columns(2000, 5000, -2.3, 1, None)))
    compare("without exposures", plain, None)
    exposure = np.exp(np.random.default_rng(2).normal(0, 0.4, 5000))
    compare(
        "distinct exposures",
        np.column_stack(list(columns(2000, 5000, -2.3, 3, exposure))),
        exposure,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "genes.h5ad"
        if not path.exists():
            write_h5ad(path, 20_000, 10_000)
        out = Path(temporary) / "fits.zarr"
        process = multiprocessing.get_context("spawn").Process(
            target=from_disk, args=(str(path), str(out))
        )
        process.start()
        process.join()


if __name__ == "__main__":
    main()
