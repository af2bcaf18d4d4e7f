"""The page of the calibration: its words with the numbers of the tables put in."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from judge import LEVELS
from scipy import stats

# Settings of so many simulations or more are told apart from the others.
_MANY = 400


def write_page(tables: dict[str, pd.DataFrame], picture: Path, page: Path) -> None:
    """Write the page, and its picture into the folder of figures beside it."""
    settings, quantities = tables["settings"], tables["quantities"]
    z = quantities[[f"{level:.0%}, z" for level in LEVELS]].abs()
    least = quantities.loc[quantities["p"].idxmin()]
    total = int(settings["simulations"].sum())
    words = {
        "TOTAL": f"{total:,}",
        "SETTINGS": _settings(settings),
        "QUANTITIES": str(len(quantities)),
        "SMALLEST_P": f"{least['p']:.3f} ({least['quantity']}, {_named(least)})",
        "HOLM": f"{quantities['p, Holm'].min():.2f}",
        "ZS": str(z.size),
        "LARGEST_Z": f"{np.max(z):.1f} ({_named(quantities.loc[z.max(axis=1).idxmax()])})",
        "LARGEST_MAIN_Z": f"{np.max(z[quantities['simulations'] >= _MANY]):.1f}",
        "FAILED": f"{settings['gate failed'].sum()} of {total:,}",
        "AGAIN": f"{settings['sampled again'].sum():,}",
        "POOLED": _pooled(tables["pooled"]),
        **_largest(tables["pooled"]),
        "FIXED": str(tables["fixed_truths"]["simulations"].min()),
        "TRUTHS": _truths(tables["fixed_truths"]),
        "TEST": _test(tables["bootstrap_test"]),
    }
    text = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    page.write_text(text, encoding="utf-8")
    shutil.copy(picture, page.parent / "figures" / picture.name)


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _named(quantity: pd.Series) -> str:
    exposed = ", with exposures" if quantity["exposed"] else ""
    return f"prior {quantity['prior']}, K = {quantity['k']}, n = {quantity['n']:,}{exposed}"


def _short(setting: pd.Series) -> str:
    words = [f"K = {setting['k']}", f"n = {setting['n']:,}"]
    words += ["exposures"] * bool(setting["exposed"])
    words += [setting["prior"]] * (setting["prior"] != "default")
    words += [f"`{setting['call']}`"] * (setting["call"] != "sample")
    return ", ".join(words)


def _settings(settings: pd.DataFrame) -> str:
    main = settings["simulations"] >= _MANY
    other = (settings["prior"] != "default") | (settings["call"] != "sample")
    order = settings.assign(_first=~main, _other=other).sort_values(
        ["_first", "_other", "prior", "call", "exposed", "n", "k"], kind="stable"
    )
    return "\n".join(
        _row(
            _short(one),
            f"{one['simulations']:,}",
            f"{one['gate failed']}, {one['sampled again']}",
            one["smallest p"],
            one["50% intervals"],
            one["90% intervals"],
            one["largest z"],
        )
        for _, one in order.iterrows()
    )


def _pooled(pooled: pd.DataFrame) -> str:
    return "\n".join(
        _row(
            one["k"],
            one["quantity"],
            f"{one['simulations']:,}",
            *(
                cell
                for level in LEVELS
                for cell in (f"{100 * one[f'{level:.0%}']:.1f}", f"{one[f'{level:.0%}, z']:+.1f}")
            ),
        )
        for _, one in pooled.iterrows()
    )


def _largest(pooled: pd.DataFrame) -> dict[str, str]:
    z = pooled[[f"{level:.0%}, z" for level in LEVELS]].abs().to_numpy()
    chance = 1.0 - (1.0 - 2.0 * stats.norm.sf(z.max())) ** z.size
    return {
        "POOLED_ZS": str(z.size),
        "POOLED_Z": f"{z.max():.1f}",
        "POOLED_CHANCE": f"{100 * chance:.0f}",
    }


def _truths(fixed: pd.DataFrame) -> str:
    names = list(dict.fromkeys(fixed["truth"]))
    wide = fixed.set_index(["quantity", "truth"])
    heads = [f"{name}, {level:.0%}".replace("%", " %") for name in names for level in LEVELS]
    rows = [
        _row(
            quantity,
            *(
                f"{100 * wide.loc[(quantity, name), f'{level:.0%}']:.0f}"
                for name in names
                for level in LEVELS
            ),
        )
        for quantity in dict.fromkeys(fixed["quantity"])
    ]
    return "\n".join([_row("interval of", *heads), "|---" * (1 + len(heads)) + "|", *rows])


def _test(tests: pd.DataFrame) -> str:
    rows = []
    for _, one in tests.iterrows():
        rates = [one[f"below {at}"] for at in ("0.05", "0.10", "0.50")]
        errors = [np.sqrt(rate * (1 - rate) / one["data sets"]) for rate in rates]
        cells = [f"{100 * r:.0f} ± {100 * e:.0f}" for r, e in zip(rates, errors, strict=True)]
        rows.append(_row(one["law"], one["data sets"], *cells))
    return "\n".join(rows)
