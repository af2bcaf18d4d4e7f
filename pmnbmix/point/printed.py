"""A point estimate as text and as HTML, laid out as regression tables are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pmnbmix.html import html_table

if TYPE_CHECKING:
    import pandas as pd

_METHODS = {"em": "maximum likelihood by EM", "map": "maximum a posteriori"}


class Printed:
    """How a `PointFit` prints itself."""

    def __str__(self) -> str:
        fit: Any = self
        table = _labelled(fit.standard_errors())
        numbers = _numbers(table).to_string()
        rule = "=" * max(len(line) for line in numbers.splitlines())
        facts = [f"{name}: {text}" for name, text in _facts(fit)]
        return "\n".join([_title(fit), *facts, rule, numbers, rule, *_notes(fit, table)])

    def _repr_html_(self) -> str:
        fit: Any = self
        table = _labelled(fit.standard_errors())
        numbers = _numbers(table)
        rows = [(name, *row) for name, row in zip(numbers.index, numbers.to_numpy(), strict=True)]
        facts = "; ".join(f"{name}: {text}" for name, text in _facts(fit))
        head = ("parameter", *numbers.columns)
        return html_table(_title(fit), rows, head, [facts, *_notes(fit, table)])


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Table of coefficients by name, as that of parameters is."""
    if "part" not in table:
        return table
    rows = zip(table["part"], table["component"], table["term"], strict=True)
    names = [
        f"{part} {term}" if part == "shared" else f"{part}[{component}] {term}"
        for part, component, term in rows
    ]
    return table.set_axis(names, axis=0)


def _title(fit: Any) -> str:
    k = fit.n_components
    return f"{k} component{'s' * (k > 1)} fitted to {fit.counts.name} ({_METHODS[fit.method]})"


def _facts(fit: Any) -> list[tuple[str, str]]:
    exposed = ", with exposure" if fit.counts.has_exposure else ""
    facts = [
        ("counts", f"{fit.counts.n:,}, {fit._objective.table.values.size:,} distinct{exposed}"),
        ("log likelihood", f"{fit.log_likelihood:,.2f} ({fit.n_parameters} parameters)"),
    ]
    if fit.method == "map":
        return [*facts, ("log density", f"{fit.log_density:,.2f}")]
    return [*facts, ("AIC", f"{fit.aic:,.2f}"), ("BIC", f"{fit.bic:,.2f}")]


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Estimates with their intervals as text; a star marks a row with a doubt."""
    columns = {"estimate": "estimate", "se": "se", "lower": "2.5 %", "upper": "97.5 %"}
    shown = table[list(columns)].map("{:.4g}".format).rename(columns=columns)
    shown[""] = ["*" if flag else "" for flag in table["flag"]]
    shown.index.name = None
    return shown


def _notes(fit: Any, table: pd.DataFrame) -> list[str]:
    """What to think of it, and each doubt once with the parameters that it is about."""
    about: dict[str, list[str]] = {}
    for name, flag in table["flag"].items():
        for part in filter(None, str(flag).split(" | ")):
            about.setdefault(part, []).append(str(name))
    return [
        fit.status.sentence,
        *(
            f"* {'every parameter' if len(names) == len(table) else ', '.join(names)}: {part}"
            for part, names in about.items()
        ),
    ]
