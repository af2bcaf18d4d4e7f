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
from simulate import RANKED, Setting

# Okabe and Ito's, told apart by all readers, and one of Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333", "#882255")
_NULL = 20_000
LEVELS = (0.5, 0.9)


def deviation(ranks: np.ndarray) -> float:
    """Smallest two-sided binomial probability of the distribution function over a grid."""
    n = ranks.size
    grid = np.arange(1, 100) / 100
    below = np.searchsorted(np.sort(ranks), grid, side="right")
    tails = np.minimum(stats.binom.cdf(below, n, grid), stats.binom.sf(below - 1, n, grid))
    return float(tails.min())


def of_kind(there: dict[Setting, pd.DataFrame], *kinds: str) -> dict[Setting, pd.DataFrame]:
    """Return the simulations of some kinds."""
    return {setting: table for setting, table in there.items() if setting.kind in kinds}


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
    return {
        "prior": setting.name,
        "call": "sample" if setting.kind == "ranks" else "sample_columns",
        "k": setting.k,
        "n": setting.n,
        "exposed": setting.exposed,
    }


def judge_ranks(there: dict[Setting, pd.DataFrame]) -> pd.DataFrame:
    """Uniformity of every quantity, and coverage of its intervals averaged over the prior."""
    rng = np.random.default_rng(0)
    null: dict[int, np.ndarray] = {}
    rows = []
    for setting, table in of_kind(there, *RANKED).items():
        n = len(table)
        if n not in null:
            null[n] = np.sort([deviation(rng.random(n)) for _ in range(_NULL)])
        for name in quantities_of(table):
            found = deviation(table[f"rank, {name}"].to_numpy())
            row = {
                **described(setting),
                "simulations": n,
                "gate failed": int((~table["gate"]).sum()),
                "sampled again": int((table["attempts"] > 1).sum()),
                "quantity": name,
                "p": (1 + np.searchsorted(null[n], found, side="right")) / (1 + _NULL),
            }
            for level in LEVELS:
                held = ((table[f"share, {name}"] - 0.5).abs() < level / 2).mean()
                row[f"{level:.0%}"] = held
                row[f"{level:.0%}, z"] = (held - level) / np.sqrt(level * (1 - level) / n)
            rows.append(row)
    out = pd.DataFrame(rows)
    out.insert(out.columns.get_loc("p") + 1, "p, Holm", holm(out["p"].to_numpy()))
    return out


def pooled(there: dict[Setting, pd.DataFrame]) -> pd.DataFrame:
    """Coverage by number of components and quantity, over all settings, each of which is exact.

    A simulation gives one rank of a quantity, so that the ranks that are pooled are independent.
    """
    ranked = of_kind(there, *RANKED)
    rows = []
    for k in sorted({setting.k for setting in ranked}):
        tables = [table for setting, table in ranked.items() if setting.k == k]
        for name in quantities_of(tables[0]):
            share = np.concatenate([table[f"share, {name}"] for table in tables])
            row: dict[str, object] = {"k": k, "quantity": name, "simulations": share.size}
            for level in LEVELS:
                held = (np.abs(share - 0.5) < level / 2).mean()
                row[f"{level:.0%}"] = held
                row[f"{level:.0%}, z"] = (held - level) / np.sqrt(level * (1 - level) / share.size)
            rows.append(row)
    return pd.DataFrame(rows)


def by_setting(quantities: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting: the least uniform quantity, and the range of coverage."""
    rows = []
    keys = ["prior", "call", "k", "n", "exposed"]
    for key, part in quantities.groupby(keys, sort=False):
        least = part.loc[part["p"].idxmin()]
        row = {
            **dict(zip(keys, key, strict=True)),
            "simulations": least["simulations"],
            "gate failed": least["gate failed"],
            "sampled again": least["sampled again"],
            "smallest p": f"{least['p']:.3f} ({least['quantity']})",
            "p, Holm": f"{least['p, Holm']:.2f}",
        }
        for level in LEVELS:
            held = 100 * part[f"{level:.0%}"]
            row[f"{level:.0%} intervals"] = f"{held.min():.1f} to {held.max():.1f}"
        row["largest z"] = f"{max(part[f'{level:.0%}, z'].abs().max() for level in LEVELS):.1f}"
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
                    **{f"{level:.0%}": (off < level / 2).mean() for level in LEVELS},
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
    top = 0.0
    for ax, (setting, table) in zip(axes.ravel(), main.items(), strict=False):
        points, _, low, high = ecdf_pit(rng.random(len(table)), 0.95, 1000, rng=rng)
        ax.fill_between(points, low - points, high - points, color="0.88", lw=0)
        top = max(top, (high - points).max())
        names = quantities_of(table)
        # the largest model has more quantities than colours: its weights are not drawn
        names = [name for name in names if setting.k < 3 or not name.startswith("weight")]
        for name, colour in zip(names, COLOURS, strict=False):
            off = compute_ecdf(table[f"rank, {name}"].to_numpy(), grid) - grid
            top = max(top, np.abs(off).max())
            ax.plot(grid, off, lw=1.2, color=colour, label=name)
        word = "with" if setting.exposed else "without"
        plural = "s" * (setting.k > 1)
        ax.set_title(f"{setting.k} component{plural}, {word} exposures", fontsize=10)
        ax.legend(fontsize=8, frameon=False, ncols=2, loc="lower center")
    for ax in axes.ravel()[len(main) :]:
        ax.set_axis_off()
    # below the curves is room for the legend
    axes[0, 0].set_ylim(-3.2 * top, 1.2 * top)
    fig.supxlabel("rank of the true value among posterior draws, as a share")
    fig.supylabel("share of simulations below, less the rank")
    fig.savefig(path, dpi=120)
    plt.close(fig)
