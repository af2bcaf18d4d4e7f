"""Simulation-based calibration of the default model: whether its posteriors are right on average.

Run ``python benchmarks/calibration.py [simulations] [folder]``. Parameters are drawn from the
resolved prior and counts from them; where the posterior is computed rightly, the rank of each true
quantity among its posterior draws is uniform (Talts et al. 2018, arXiv:1804.06788). Uniformity is
judged by simultaneous bands of the empirical distribution function (Sailynoja, Burkner and Vehtari
2022, doi:10.1007/s11222-022-10090-6), its p values adjusted by Holm's method over all quantities.
Results are kept in the folder as they come; the same command goes on where it was interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit
from scipy import stats

import pmnbmix as nb

N = 100
LOG_MEAN = 1.5
SETTINGS = [(1, False), (1, True), (2, False), (2, True)]
# Okabe and Ito's, told apart by all readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
_MOST_DRAWS = 400
_NULL = 4000


def quantities(
    weights: np.ndarray, means: np.ndarray, dispersions: np.ndarray
) -> dict[str, np.ndarray]:
    """Label-invariant quantities of draws (n, k)."""
    k = means.shape[1]
    order = np.argsort(means, axis=1)
    sorted_ = [np.take_along_axis(array, order, 1) for array in (weights, means, dispersions)]
    out = {}
    for name, array in zip(("weight", "mean", "dispersion"), sorted_, strict=True):
        for j in range(k if name != "weight" else k - 1):
            out[f"{name} {j}" if k > 1 else name] = array[:, j]
    if k > 1:
        out["mixture mean"] = (weights * means).sum(axis=1)
    return out


def simulate(k: int, exposed: bool, index: int) -> dict[str, float]:
    """Ranks of one simulation as numbers between 0 and 1, and how the sampler did."""
    rng = np.random.default_rng([index, k, exposed, 7])
    spec = nb.MixtureSpec(k, log_means=nb.NormalPrior(LOG_MEAN, 2.0))
    weights = rng.dirichlet(np.full(k, spec.weights.concentration))
    means = np.exp(rng.normal(LOG_MEAN, spec.log_means.scale, k))
    dispersions = np.exp(rng.normal(spec.log_dispersions.loc, spec.log_dispersions.scale, k))
    truth = nb.MixtureParams(weights / weights.sum(), means, dispersions)
    exposure = np.exp(rng.normal(0.0, 0.7, N)) if exposed else None
    counts = nb.Counts(truth.sample(N, rng, exposure)[0], exposure)
    tree = nb.sample(counts, spec, draws=500, random_seed=rng, progressbar=False)
    posterior = tree["posterior"].to_dataset()
    names = ("weights", "means", "dispersions")
    flat = [posterior[name].values.reshape(-1, k) for name in names]
    draws = quantities(*flat)
    true = quantities(truth.weights[None], truth.means[None], truth.dispersions[None])
    unique = tree["log_likelihood_unique"].to_dataset()
    rows = next(iter(unique.data_vars.values())).values
    draws["log likelihood"] = (rows @ unique["frequency"].values).ravel()
    table = counts.table
    true["log likelihood"] = np.array(
        [table.frequency @ truth.logpmf(table.values.astype(int), table.exposure)]
    )
    chains = posterior.sizes["chain"]
    out: dict[str, float] = {"attempts": tree.attrs["attempts"], "k": k, "exposed": exposed}
    out["gate"] = nb.diagnose(tree).density_ok
    for name, array in draws.items():
        ess = float(az.ess(az.convert_to_datatree({"q": array.reshape(chains, -1)}))["q"])
        kept = int(np.clip(ess, 10, _MOST_DRAWS))
        thinned = array[np.linspace(0, array.size - 1, kept).astype(int)]
        below, ties = (thinned < true[name][0]).sum(), (thinned == true[name][0]).sum()
        out[name] = (below + rng.random() * (ties + 1)) / (kept + 1)
    return out


def deviation(ranks: np.ndarray) -> float:
    """Smallest two-sided binomial probability of the distribution function over a grid."""
    n = ranks.size
    grid = np.arange(1, 100) / 100
    below = np.searchsorted(np.sort(ranks), grid, side="right")
    tails = np.minimum(stats.binom.cdf(below, n, grid), stats.binom.sf(below - 1, n, grid))
    return float(tails.min())


def p_values(table: pd.DataFrame) -> pd.DataFrame:
    """Raw and Holm-adjusted p value of uniformity of each quantity in each setting."""
    rng = np.random.default_rng(0)
    rows, null = [], {}
    for (k, exposed), part in table.groupby(["k", "exposed"], sort=False):
        n = len(part)
        if n not in null:
            null[n] = np.sort([deviation(rng.random(n)) for _ in range(_NULL)])
        for name in part.columns.drop(["k", "exposed", "attempts", "gate"]):
            ranks = part[name].dropna().to_numpy()
            if ranks.size == n:
                p = (1 + np.searchsorted(null[n], deviation(ranks), side="right")) / (1 + _NULL)
                rows.append({"k": k, "exposed": exposed, "quantity": name, "p": p})
    out = pd.DataFrame(rows)
    order = np.argsort(out["p"].to_numpy())
    steps = out["p"].to_numpy()[order] * np.arange(len(out), 0, -1)
    holm = np.empty(len(out))
    holm[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    out["p, Holm"] = holm
    return out


def figure(table: pd.DataFrame, path: Path) -> None:
    """Draw the distribution functions of all ranks less the diagonal, with a band for all of it."""
    settings = list(dict.fromkeys(zip(table["k"], table["exposed"], strict=True)))
    fig, axes = plt.subplots(2, 2, figsize=(8, 5.6), sharex=True, sharey=True, layout="constrained")
    grid = np.linspace(0, 1, 201)
    rng = np.random.default_rng(1)
    for ax, (k, exposed) in zip(axes.ravel(), settings, strict=False):
        part = table[(table["k"] == k) & (table["exposed"] == exposed)]
        points, _, low, high = ecdf_pit(rng.random(len(part)), 0.95, 1000, rng=rng)
        ax.fill_between(points, low - points, high - points, color="0.88", lw=0)
        names = [
            name
            for name in part.columns.drop(["k", "exposed", "attempts", "gate"])
            if part[name].notna().all()
        ]
        for name, colour in zip(names, COLOURS, strict=False):
            below = compute_ecdf(part[name].to_numpy(), grid)
            ax.plot(grid, below - grid, lw=1.2, color=colour, label=name)
        word = "with" if exposed else "without"
        ax.set_title(f"{k} component{'s' * (k > 1)}, {word} exposures", fontsize=10)
        ax.legend(fontsize=7, frameon=False, ncols=2, loc="lower center")
    axes[0, 0].set_ylim(-0.24, 0.1)
    fig.supxlabel("rank of the true value among posterior draws, as a share")
    fig.supylabel("share of simulations below, less the rank")
    fig.savefig(path, dpi=120)
    plt.close(fig)


def main() -> None:
    """Run what is missing, print the table of p values and draw the figure."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "calibration")
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for k, exposed in SETTINGS:
        path = folder / f"ranks_{k}_{'exposed' if exposed else 'plain'}.csv"
        rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        for index in range(len(rows), simulations):
            rows.append(simulate(k, exposed, index))
            if len(rows) % 20 == 0 or len(rows) == simulations:
                partial = path.with_suffix(".part")
                pd.DataFrame(rows).to_csv(partial, index=False)
                partial.replace(path)
        parts.append(pd.DataFrame(rows[:simulations]))
    table = pd.concat(parts)
    figure(table, folder / "calibration.png")
    result = p_values(table)
    result.to_csv(folder / "p_values.csv", index=False)
    failed = table.groupby(["k", "exposed"])["gate"].apply(lambda gate: int((~gate).sum()))
    sys.stdout.write(f"{simulations} simulations a setting, n = {N}\n{result.to_string()}\n")
    sys.stdout.write(f"\nsimulations whose density gate failed\n{failed.to_string()}\n")


if __name__ == "__main__":
    main()
