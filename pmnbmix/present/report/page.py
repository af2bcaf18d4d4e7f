"""The page of a report, put together from words, tables and figures."""

from __future__ import annotations

import math
import os
import platform
import reprlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from pmnbmix.files import as_file, write_whole
from pmnbmix.mixture.priors import NormalPrior
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.present.report.figures import Figure, figures_of
from pmnbmix.present.words import (
    answer,
    components,
    doubts,
    estimate_cells,
    gates,
    number,
    shown,
    standing,
)
from pmnbmix.selection.adequacy import loo_pit
from pmnbmix.study import Choice, Fitted

RECORD = "run.json"
_SHOWN_VERSIONS = ("pmnbmix", "pymc", "arviz", "nutpie", "numba", "numpy", "scipy", "xarray")


@dataclass(frozen=True)
class Table:
    """Cells as text, with a line on how to read them."""

    title: str
    reading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None


def write_report(
    result: Choice | Fitted,
    path: str | os.PathLike[str],
    *,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write a report as one HTML file.

    Parameters
    ----------
    result : Choice or Fitted
        From `choose_components` or ``fit_all``.
    path : path-like
        A file of that name is replaced in one step.
    record : mapping, optional
        Settings and versions of the run, if a command made it; otherwise the report says how to
        call the function.

    Raises
    ------
    TypeError
        If ``result`` is neither, ``path`` is not the name of a file, or ``record`` or a part of it
        is not a mapping.
    ValueError
        If the folder does not exist or cannot be written to, or ``record`` has priors that are
        invalid.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> nb.write_report(choice, "report.html")
    """
    if not isinstance(result, Choice | Fitted):
        raise TypeError(
            f"a report needs a Choice, as choose_components() returns, or a Fitted; got "
            f"{type(result).__name__}."
        )
    file = as_file(path)
    if record is not None:
        check_record(record, "record")
    if file.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, such as report.html.")
    write_whole(file, render(result, record or {}, file.parent)[0])


def check_record(record: Any, where: str) -> None:
    """Check what a report takes from the record of a run.

    Parameters
    ----------
    record
    where : str
        Stands before the text of an error.

    Raises
    ------
    TypeError, ValueError
        If it is not a mapping, or its priors are invalid.
    """
    if not isinstance(record, Mapping):
        raise TypeError(
            f"{where} must be a mapping, as run.json holds; got {reprlib.repr(record)}."
        )
    for part in ("settings", "versions"):
        found = record.get(part, {})
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise TypeError(
                f"{where}: {part} must be a mapping by name; got {reprlib.repr(found)}."
            )
    settings = record.get("settings", {})
    if settings.get("spec") is not None:
        MixtureSpec.from_dict(settings["spec"], f"{where}: spec")
    if settings.get("command") == "demo" and "dataset" not in settings:
        raise ValueError(
            f"{where}: settings of demo must have a dataset; got {reprlib.repr(dict(settings))}."
        )


def render(
    result: Choice | Fitted, record: Mapping[str, Any], folder: Path | None = None
) -> tuple[str, tuple[Figure, ...]]:
    """HTML of a report, and the figures in it.

    Parameters
    ----------
    result : Choice or Fitted
    record : mapping
        Of the run; empty if no command made it.
    folder : Path, optional
        Where the report will lie; the tables of a run that lie there are linked to.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    choice = result if isinstance(result, Choice) else None
    fitted = shown(choice) if choice is not None else result
    assert isinstance(fitted, Fitted)
    counts = fitted.em.counts
    environment = Environment(
        loader=PackageLoader("pmnbmix.present.report", "."),
        # Names come from files and may hold HTML, which must be shown as text.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pit = loo_pit(fitted.tree)
    figures = tuple(figures_of(fitted, choice, pit))
    page = environment.get_template("page.html").render(
        name=counts.name,
        n=counts.n,
        n_unique=counts.n_unique,
        has_exposure=counts.has_exposure,
        source=_source(record),
        date=record.get("date", "") or f"{datetime.now(UTC):%Y-%m-%d}",
        files=() if folder is None or "result" not in record else _files(folder, result),
        answer=answer(result),
        priors=_priors(fitted),
        fitted=components(fitted),
        reasons=() if choice is None else choice.reasons,
        tables=_tables(choice, fitted),
        figures=figures,
        doubts=(
            *(fitted.diagnosis.summary),
            f"EM: {fitted.em.status.sentence}",
            *doubts(fitted),
        ),
        code=_code(choice, fitted, record),
        versions=_versions(record),
    )
    return page, figures


def _source(record: Mapping[str, Any]) -> str:
    """The file or data set that the counts came from; empty if that is not known."""
    settings = record.get("settings", {})
    if "file" in settings:
        column = f", column {settings['column']}" if "column" in settings else ""
        return f"{settings['file']}{column}"
    return f"data set {settings['dataset']}" if "dataset" in settings else ""


def _files(folder: Path, result: Choice | Fitted) -> tuple[tuple[str, str], ...]:
    """Tables that lie beside the report, and what is in them."""
    fits = result.fits if isinstance(result, Choice) else {result.n_components: result}
    named = [
        ("choice.csv", "every criterion by number of components"),
        ("assignments.csv", "probability of each component for each row of the counts"),
        *((f"estimates_K{k}.csv", f"EM, MAP and posterior of K = {k}") for k in fits),
        *((f"optima_K{k}.csv", f"optima that EM found with K = {k}") for k in fits),
        *((f"diagnosis_K{k}.csv", f"r-hat and ESS of K = {k}") for k in fits),
    ]
    return tuple((name, text) for name, text in named if (folder / name).exists())


def _priors(fitted: Fitted) -> tuple[str, ...]:
    """The priors with their numbers."""
    spec = fitted.map.spec
    if spec is None:
        return ()
    means, spreads = spec.log_means, spec.log_dispersions
    per = " per unit of exposure" if fitted.em.counts.has_exposure else ""
    lines = [
        f"log mean{per} ~ Normal({float(means.loc):.3g}, {means.scale:.3g}): means "
        f"{_range(means)} with probability 0.95",
        f"log dispersion ~ Normal({float(spreads.loc):.3g}, {spreads.scale:.3g}): dispersions "
        f"{_range(spreads)} with probability 0.95",
    ]
    if spec.n_components > 1:
        lines.insert(0, f"weights ~ Dirichlet({spec.weights.concentration:g})")
    return tuple(lines)


def _range(prior: NormalPrior) -> str:
    if prior.is_flat:
        return "anywhere"
    low, high = (math.exp(float(prior.loc) + z * prior.scale) for z in (-1.96, 1.96))
    return f"{number(low)} to {number(high)}"


def _tables(choice: Choice | None, fitted: Fitted) -> tuple[Table, ...]:
    found = [_estimates(fitted)]
    if choice is not None:
        found.insert(0, _evidence(choice))
    return tuple(found)


def _evidence(choice: Choice) -> Table:
    columns = {"elpd": "elpd_se", "elpd_diff": "diff_se", "bic": None, "icl": None}
    rows = []
    for k, row in choice.table.iterrows():
        which = int(str(k))
        figures = (_figure(row, name, error) for name, error in columns.items())
        p_value = row["goodness_of_fit"]
        fit = f"{p_value:.2f}" if pd.notna(p_value) else "none"
        gate = gates(choice.diagnoses[which])
        rows.append((str(which), standing(choice, which), gate, fit, *figures))
    return Table(
        "How many components",
        "A number is ruled out where its elpd is worse than the best by more than 4 and by more "
        "than 2 standard errors; of the others the smallest is chosen. The words are explained "
        "below.",
        ("components", "verdict", "gates", "fit p", "elpd (se)", "to the best (se)", "BIC", "ICL"),
        tuple(rows),
        next((i for i, row in enumerate(rows) if row[1].startswith("chosen")), None),
    )


def _figure(row: pd.Series, name: str, error: str | None) -> str:
    if pd.isna(row[name]):
        return "not ranked"
    # Adding 0 turns a negative zero into a plain one.
    text = f"{round(row[name], 1) + 0.0:,.1f}"
    return text if error is None else f"{text} ({row[error]:,.1f})"


def _estimates(fitted: Fitted) -> Table:
    columns = {
        "em": "EM",
        "em_se": "EM se",
        "map": "MAP",
        "nuts_median": "posterior median",
        "nuts_lower": "2.5 %",
        "nuts_upper": "97.5 %",
        "em_difference": "EM off by (sd)",
    }
    rows = []
    for name, row in estimate_cells(fitted.estimates, columns).iterrows():
        rows.append((str(name), *row))
    return Table(
        f"Estimates of {components(fitted)}",
        "EM is maximum likelihood, MAP adds the priors, the rest is the posterior. The variance of "
        "a component is mean + dispersion times mean squared; dispersion 0 is Poisson.",
        ("parameter", *columns.values()),
        tuple(rows),
    )


def _code(choice: Choice | None, fitted: Fitted, record: Mapping[str, Any]) -> str:
    """Code or a command that makes this result again."""
    if "settings" in record:
        return _command(dict(record["settings"]))
    posterior = fitted.tree["posterior"]
    sampled = f"draws={posterior.sizes['draw']}, chains={posterior.sizes['chain']}"
    if choice is None:
        return (
            "import pmnbmix as nb\n\n"
            f"em = nb.fit_em(counts, {fitted.n_components}, random_seed=...)\n"
            f"tree = nb.sample(counts, spec, {sampled}, random_seed=...)\n"
        )
    thorough = ", thorough=True" if choice.thorough is not None else ""
    return (
        "import pmnbmix as nb\n\n"
        f"choice = nb.choose_components(counts, {max(choice.fits)}{thorough}, {sampled},"
        " random_seed=...)\n"
        'nb.write_report(choice, "report.html")\n'
    )


def _command(settings: dict[str, Any]) -> str:
    """The command line of a run, and its priors if they are not the default ones."""
    words = ["pmnbmix", str(settings.pop("command", "choose"))]
    if "file" in settings:
        words.append(shlex.quote(str(settings.pop("file"))))
    stated = settings.pop("spec", None)
    text = ""
    if stated is not None:
        spec = MixtureSpec.from_dict(stated)
        if words[1] == "fit":
            settings["components"] = spec.n_components
        if spec.with_components(2) != MixtureSpec():
            settings["spec"] = "priors.toml"
            text = f"\n# priors.toml\n{spec.to_toml()}"
    if words[1] == "demo":
        words.append(shlex.quote(str(settings.pop("dataset"))))
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not False:
            words += [option, shlex.quote(str(value))]
    return " ".join(words) + "\n" + text


def _versions(record: Mapping[str, Any]) -> str:
    stated = record.get("versions") or {
        "python": platform.python_version(),
        **{name: version(name) for name in _SHOWN_VERSIONS},
    }
    return ", ".join(f"{name} {value}" for name, value in stated.items())
