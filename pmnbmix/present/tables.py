"""Results as tables and sentences on the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pmnbmix.present.words import answer, components, doubts, estimate_cells, gates, standing

# Consoles of at least so many columns show the whole table of estimates, and of all criteria.
_WIDE, _VERY_WIDE = 100, 106
_DROPPED = ("NUTS mean", "sd")
_COLOURS = {"sound": "green", "doubtful": "yellow", "unsound": "red"}

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from pmnbmix.data.counts import Counts
    from pmnbmix.study import Choice, Fitted


def output_console() -> Console:
    """Console on standard output."""
    from rich.console import Console

    # A table written to a file or a pipe is not cut at 80 columns, unless COLUMNS says so. If
    # standard output is closed, sys.stdout is None, and rich does not write anything.
    terminal = sys.stdout is not None and sys.stdout.isatty()
    wide = None if terminal or "COLUMNS" in os.environ else 110
    return Console(width=wide)


def print_heading(console: Console, counts: Counts) -> None:
    """Print which counts were read; names from files are printed as text, never as markup."""
    console.print(repr(counts), style="bold", markup=False, highlight=False)


def print_folder(console: Console, folder: Path) -> None:
    """Print the folder of the results, and which file to open."""
    report = folder / "report.html"
    where = f"\nWritten to {folder}" if folder.is_dir() else f"\nWritten: {folder}"
    console.print(where, style="bold", markup=False, highlight=False)
    if report.exists():
        console.print(f"Open {report} in a browser.", markup=False, highlight=False)


def print_answer(console: Console, result: Choice | Fitted) -> None:
    """Print the answer in a frame whose title says how far it can be relied on."""
    from rich.panel import Panel
    from rich.text import Text

    said = answer(result)
    console.print()
    console.print(
        Panel(
            Text("\n".join(said.sentences)),
            title=Text(said.label, style="bold"),
            title_align="left",
            border_style=_COLOURS[said.level],
        )
    )


def print_choice(console: Console, choice: Choice) -> None:
    """Print the evidence on each number of components, the reasons and the chosen fit."""
    import pandas as pd

    def figures(name: str) -> pd.Series:
        return choice.table[name].map(
            lambda number: f"{round(number, 1) + 0.0:.1f}" if pd.notna(number) else "-"
        )

    shown = pd.DataFrame(
        {
            "elpd": figures("elpd"),
            "se": figures("elpd_se"),
            "diff": figures("elpd_diff"),
            "diff se": figures("diff_se"),
            "p": figures("p_loo"),
            "high k": choice.table["high_k"],
            "BIC": figures("bic"),
            "ICL": figures("icl"),
            "fit p": choice.table["goodness_of_fit"].map("{:.2f}".format),
            "gates": [gates(choice.fits[k].diagnosis) for k in choice.table.index],
            "verdict": [standing(choice, k) for k in choice.table.index],
        }
    )
    shown.index.name = "K"
    if console.width < _VERY_WIDE:
        shown = shown.drop(columns=["se", "p", "high k", "BIC", "ICL"])
    _print_table(console, shown, "How many components (K)", highlight=choice.chosen)
    for reason in choice.reasons[1:]:
        console.print(f"- {reason}", highlight=False)
    for k, fitted in choice.fits.items():
        if k == choice.chosen or (choice.chosen is None and k == max(choice.fits)):
            print_fitted(console, fitted)
        else:
            _print_summary(console, fitted)
    print_answer(console, choice)


def print_fitted(console: Console, fitted: Fitted) -> None:
    """Print EM, MAP and posterior side by side, and a word on labels and convergence."""
    estimates = fitted.estimates
    columns = {
        "em": "EM",
        "em_se": "se",
        "map": "MAP",
        "nuts_mean": "NUTS mean",
        "nuts_sd": "sd",
        "nuts_median": "median",
        "nuts_lower": "2.5 %",
        "nuts_upper": "97.5 %",
    }
    if console.width < _WIDE:
        # If there is not room for all, median and interval say more than mean and sd.
        columns = {name: label for name, label in columns.items() if label not in _DROPPED}
    shown = estimate_cells(estimates, columns).rename(columns=columns)
    _print_table(console, shown, f"\n{components(fitted)}: EM, MAP and posterior")
    console.print(f"EM: {fitted.em.status.sentence}", highlight=False)
    if not fitted.diagnosis.components_ok:
        console.print(f"NUTS: {fitted.diagnosis.summary[0]}", highlight=False)
    for note in doubts(fitted):
        console.print(f"- {note}", highlight=False, markup=False)
    _print_summary(console, fitted)


def _print_summary(console: Console, fitted: Fitted) -> None:
    console.print(f"[bold]{components(fitted)}, labels and convergence[/bold]", highlight=False)
    for sentence in fitted.diagnosis.summary:
        console.print(f"- {sentence}", highlight=False)


def _print_table(
    console: Console, frame: pd.DataFrame, title: str, highlight: int | None = None
) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column(str(frame.index.name).replace("_", " "), no_wrap=True)
    for name in frame.columns:
        table.add_column(str(name).replace("_", " "), justify="right", no_wrap=True)
    for label, row in frame.iterrows():
        style = "bold" if highlight is not None and label == highlight else None
        table.add_row(str(label), *(str(cell) for cell in row), style=style)
    console.print(table)
