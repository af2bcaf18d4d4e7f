"""Judge simulations: uniformity of ranks, coverage of intervals, size and power of the test.

Uniformity is judged by simultaneous bands of the empirical distribution function (Sailynoja,
Burkner and Vehtari 2022, doi:10.1007/s11222-022-10090-6), its p values adjusted by Holm's method
over every quantity of every setting.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit
from scipy import stats
from simulate import Setting

# Okabe and Ito's, told apart by all readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
_NULL = 20_000


def deviation(ranks: np.ndarray) -> float:
    """Smallest two-sided binomial probability of the distribution function over a grid."""
    n = ranks.size
    grid = np.arange(1, 100) / 100
    below = np.searchsorted(np.sort(ranks), grid, side="right")
    tails = np.minimum(stats.binom.cdf(below, n, grid), stats.binom.sf(below - 1, n, grid))
    return float(tails.min())


def of_kind(there: dict[Setting, pd.DataFrame], kind: str) -> dict[Setting, pd.DataFrame]:
    """Return the simulations of one kind."""
    return {setting: table for setting, table in there.items() if setting.kind == kind}


def quantities_of(table: pd.DataFrame) -> list[str]:
    """Names of the quantities that were ranked."""
    return [name.removeprefix("rank, ") for name in table.columns if name.startswith("rank, ")]


def holm(p: np.ndarray) -> np.ndarray:
    """P values adjusted by Holm's method."""
    order = np.argsort(p)
    steps = p[order] * np.arange(p.size, 0, -1)
    out = np.empty(p.size)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def described(setting: Setting) -> dict[str, object]:
    """Columns that name a setting."""
    return {"prior": setting.name, "k": setting.k, "n": setting.n, "exposed": setting.exposed}


def judge_ranks(there: dict[Setting, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return p values of uniformity, and coverage averaged over the prior, of every quantity."""
    rng = np.random.default_rng(0)
    null: dict[int, np.ndarray] = {}
    rows, covered = [], []
    for setting, table in of_kind(there, "ranks").items():
        n = len(table)
        if n not in null:
            null[n] = np.sort([deviation(rng.random(n)) for _ in range(_NULL)])
        for name in quantities_of(table):
            found = deviation(table[f"rank, {name}"].to_numpy())
            p = (1 + np.searchsorted(null[n], found, side="right")) / (1 + _NULL)
            here = {**described(setting), "simulations": n, "quantity": name}
            rows.append({**here, "p": p, "gate failed": int((~table["gate"]).sum())})
            for level in (0.5, 0.9):
                inside = (table[f"share, {name}"] - 0.5).abs() < level / 2
                z = (inside.mean() - level) / np.sqrt(level * (1 - level) / n)
                covered.append({**here, "level": level, "coverage": inside.mean(), "z": z})
    if not rows:
        return pd.DataFrame(), pd.DataFrame()
    out = pd.DataFrame(rows)
    out["p, Holm"] = holm(out["p"].to_numpy())
    return out, pd.DataFrame(covered)


def by_setting(ranks: pd.DataFrame, coverage: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting: the least uniform quantity, and the range of coverage."""
    rows = []
    keys = ["prior", "k", "n", "exposed"]
    for key, part in ranks.groupby(keys, sort=False):
        least = part.loc[part["p"].idxmin()]
        here = coverage.set_index(keys).loc[[key]]
        row = {
            **dict(zip(keys, key, strict=True)),
            "simulations": least["simulations"],
            "gate failed": least["gate failed"],
            "smallest p": f"{least['p']:.3f} ({least['quantity']})",
            "p, Holm": f"{least['p, Holm']:.2f}",
        }
        for level in (0.5, 0.9):
            held = here.loc[here["level"] == level, "coverage"]
            row[f"{level:.0%} intervals"] = f"{100 * held.min():.1f} to {100 * held.max():.1f}"
        row["largest z"] = f"{here['z'].abs().max():.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def coverage_at_truths(there: dict[Setting, pd.DataFrame]) -> pd.DataFrame:
    """Coverage of 50 and 90 % intervals at fixed truths, which has no nominal value."""
    rows = []
    for setting, table in of_kind(there, "fixed").items():
        for name in quantities_of(table):
            off = (table[f"share, {name}"] - 0.5).abs()
            rows.append(
                {
                    "truth": setting.name,
                    "simulations": len(table),
                    "quantity": name,
                    "50 %": (off < 0.25).mean(),
                    "90 %": (off < 0.45).mean(),
                }
            )
    return pd.DataFrame(rows)


def size_and_power(there: dict[Setting, pd.DataFrame]) -> pd.DataFrame:
    """How often the bootstrap test of one component against two rejects."""
    return pd.DataFrame(
        [
            {
                "law": setting.name,
                "data sets": len(table),
                "below 0.05": (table["p"] <= 0.05).mean(),
                "below 0.10": (table["p"] <= 0.10).mean(),
                "below 0.50": (table["p"] <= 0.50).mean(),
            }
            for setting, table in of_kind(there, "test").items()
        ]
    )


def figure(there: dict[Setting, pd.DataFrame], path: Path) -> None:
    """Draw the distribution functions of all ranks less the diagonal, with a band for each."""
    ranked = of_kind(there, "ranks")
    main = {setting: table for setting, table in ranked.items() if setting.simulations == 1000}
    fig, axes = plt.subplots(
        2, 3, figsize=(9.5, 5.6), sharex=True, sharey=True, layout="constrained"
    )
    grid = np.linspace(0, 1, 201)
    rng = np.random.default_rng(1)
    for ax, (setting, table) in zip(axes.ravel(), main.items(), strict=False):
        points, _, low, high = ecdf_pit(rng.random(len(table)), 0.95, 1000, rng=rng)
        ax.fill_between(points, low - points, high - points, color="0.88", lw=0)
        names = quantities_of(table)
        # the largest model has more quantities than colours: its weights are left out
        names = [name for name in names if setting.k < 3 or not name.startswith("weight")]
        for name, colour in zip(names, COLOURS, strict=False):
            ax.plot(
                grid,
                compute_ecdf(table[f"rank, {name}"].to_numpy(), grid) - grid,
                lw=1.2,
                color=colour,
                label=name,
            )
        word = "with" if setting.exposed else "without"
        plural = "s" * (setting.k > 1)
        ax.set_title(f"{setting.k} component{plural}, {word} exposures", fontsize=10)
        ax.legend(fontsize=8, frameon=False, ncols=2, loc="lower center")
    for ax in axes.ravel()[len(main) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylim(-0.24, 0.115)
    fig.supxlabel("rank of the true value among posterior draws, as a share")
    fig.supylabel("share of simulations below, less the rank")
    fig.savefig(path, dpi=120)
    plt.close(fig)
