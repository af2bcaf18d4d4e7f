"""The folder that a run leaves behind: its files appear whole, and its record last.

A folder without a record is that of a run which was stopped; the same command goes on with it.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import difference
from pmnbmix.files import LEFT_OVER, read_json, write_json, write_whole
from pmnbmix.posterior.checks import was_interrupted
from pmnbmix.present.assignments import are_assignable, assignments
from pmnbmix.present.report.page import RECORD, check_record, render
from pmnbmix.present.words import answer
from pmnbmix.study import Choice, Fitted, make_choice
from pmnbmix.study.storage import FORMAT as STUDY_FORMAT
from pmnbmix.study.storage import RECORD as STUDY
from pmnbmix.study.storage import (
    finished,
    read_fitted,
    read_thorough,
    study_digest,
    write_fitted,
    write_thorough,
)

_log = logging.getLogger(__name__)

REPORT = "report.html"
_FORMAT = "pmnbmix run"
# A run gives its files these names; a run that was killed may leave one that begins with .saving-.
_WRITTEN = re.compile(
    r"(?:\.saving-[0-9a-f]{12}-)?(?:run\.json|study\.json|thorough\.json|(choice|assignments)\.csv|report\.html"
    r"|(fit|rootogram|ranks|estimates|chains|elpd|criteria|labels)\.png"
    r"|posterior_K\d+\.nc|(em|map)_K\d+\.json|(estimates|optima|diagnosis)_K\d+\.csv)"
)
_VERSIONS = ("pmnbmix", "pymc", "arviz", "nutpie", "numba", "numpy", "scipy", "xarray", "pandas")


def free_folder(name: str, counts: Counts) -> Path:
    """First folder of this name, or with a number behind it, that is free or to be gone on with.

    An unfinished run is gone on with if it is of the same counts.
    """
    folder, number = Path(name), 2
    # A broken link takes up the name too, so lexists is asked and not exists.
    while os.path.lexists(folder) and not (
        _state(folder) == "unfinished"
        and read_json(folder / STUDY, STUDY_FORMAT).get("counts") in (None, counts.digest)
    ):
        folder, number = Path(f"{name}-{number}"), number + 1
    return folder


def left_behind(folder: Path) -> Callable[[], str]:
    """Return a function that says, after an interrupt, what a folder holds of the run."""
    before = _state(folder)

    def told() -> str:
        state = _state(folder)
        if state == "finished":
            return f"everything was finished and is in {folder}."
        numbers = finished(folder) if state else ()
        if numbers:
            return (
                f"{folder} holds the fits of {_listed(numbers)} "
                f"component{'s' * (numbers != (1,))}, and the same command with --out {folder} "
                "goes on from there."
            )
        gone = (
            f" The earlier run in {folder} was removed, as --force asks."
            if before == "finished"
            else ""
        )
        return f"nothing was finished, and nothing is written.{gone}"

    return told


def check_target(folder: Path, force: bool) -> None:
    """Check that a run may be written to a folder.

    Raises
    ------
    ValueError
        If it holds a finished run and ``force`` is false, if it holds anything but a run, or if it
        cannot be made or written to.
    """
    try:
        names = [entry.name for entry in folder.iterdir()]
        place = folder
    except FileNotFoundError:
        names, place = [], folder.absolute().parent
        if folder.is_symlink():
            raise ValueError(
                f"{folder} is a link that leads nowhere. Name the folder that is meant with --out."
            ) from None
    except OSError as error:
        raise ValueError(
            f"{folder}: this cannot be a folder ({error.strerror}). Name another --out."
        ) from None
    if not place.is_dir():
        raise ValueError(f"{place}: there is no such folder. Create it, or name another --out.")
    if not os.access(place, os.W_OK):
        raise ValueError(f"{place}: this folder cannot be written to. Name another --out.")
    if all(LEFT_OVER.match(name) for name in names):
        return
    state = _state(folder)
    if not state:
        raise ValueError(
            f"{folder} exists and is not the folder of a run, so it is left alone. Name another "
            "with --out."
        )
    if state == "finished" and not force:
        raise ValueError(
            f"{folder} holds an earlier run. Name another folder with --out, or replace it with "
            "--force."
        )


def _state(folder: Path) -> str:
    """Whether a folder holds a run, "finished" or "unfinished"; else empty."""
    for name, expected, state in (
        (RECORD, _FORMAT, "finished"),
        (STUDY, STUDY_FORMAT, "unfinished"),
    ):
        # Reading a pipe may never end, so only regular files are opened.
        with suppress(ValueError):
            if (folder / name).is_file() and read_json(folder / name, expected):
                return state
    return ""


@contextmanager
def begun(folder: Path) -> Iterator[None]:
    """Prepare a folder for the run that the block writes; a run that was stopped is continued.

    What a finished run has left is removed: `check_target` has allowed that. If the block fails
    before anything is finished, nothing is left.
    """
    there = folder.is_dir()
    if there and _state(folder) == "finished":
        _remove_run(folder)
    done = finished(folder) if there else ()
    if done:
        numbers = _listed(done)
        _log.warning("going on with %s, where numbers of components %s are done", folder, numbers)
    try:
        yield
    except BaseException:
        if (folder / STUDY).is_file() and not finished(folder):
            _remove_run(folder)
            if not there:
                # A folder that holds files of somebody else is not empty, and stays.
                with suppress(OSError):
                    folder.rmdir()
        raise


def _remove_run(folder: Path, keep: Iterable[str] = ()) -> None:
    """Remove the files of a run, its records last, so that it can be repeated if it is killed."""
    ours = [e for e in folder.iterdir() if _WRITTEN.fullmatch(e.name) and e.name not in keep]
    # Posteriors go first, because the presence of one says that its point fits are there.
    for entry in sorted(ours, key=lambda e: (e.name == STUDY, e.name == RECORD, e.suffix != ".nc")):
        entry.unlink()


def _write_tables(folder: Path, fitted: Fitted) -> set[str]:
    """Write the fits of one number of components and their tables; return the file names."""
    k = fitted.n_components
    if k not in finished(folder) or was_interrupted(fitted.tree):
        write_fitted(folder, fitted)
    tables = {
        f"estimates_K{k}.csv": fitted.estimates.to_csv(),
        f"optima_K{k}.csv": fitted.em.optima.to_csv(index=False),
        f"diagnosis_K{k}.csv": fitted.diagnosis.table.to_csv(),
    }
    for name, text in tables.items():
        write_whole(folder / name, text)
    return {*tables, f"em_K{k}.json", f"map_K{k}.json", f"posterior_K{k}.nc"}


def _write_assignments(folder: Path, fitted: Fitted, keep: dict[str, Any] | None) -> set[str]:
    """Write which component each row belongs to, if that may be said; return the file names."""
    if not are_assignable(fitted):
        return set()
    write_whole(folder / "assignments.csv", assignments(fitted, keep))
    return {"assignments.csv"}


def write_fit_run(
    folder: Path, fitted: Fitted, settings: dict[str, Any], keep: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the files of a run of ``fit``; the record is among them if the run is finished.

    ``keep`` are columns of identifiers for the assignments, as in `assignments`.

    Returns
    -------
    dict
        The record.
    """
    names = _write_tables(folder, fitted) | _write_assignments(folder, fitted, keep)
    result = {"answer": _answer(fitted), "fit": _summary(fitted)}
    record = _record(folder, fitted.em.counts, settings, result)
    _write_report(folder, fitted, record, names, complete=not was_interrupted(fitted.tree))
    return record


def write_choice_run(
    folder: Path, choice: Choice, settings: dict[str, Any], keep: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the files of a run of ``choose``; figures show the chosen number of components.

    ``keep`` are columns of identifiers for the assignments, as in `assignments`.

    Returns
    -------
    dict
        The record, which the folder has only if nothing was interrupted.
    """
    names = {"choice.csv"}.union(*(_write_tables(folder, one) for one in choice.fits.values()))
    if choice.thorough is not None:
        write_thorough(folder, choice.thorough)
        names.add("thorough.json")
    write_whole(folder / "choice.csv", choice.table.to_csv())
    if choice.chosen is not None:
        names |= _write_assignments(folder, choice.fits[choice.chosen], keep)
    result = {
        "answer": _answer(choice),
        "chosen": choice.chosen,
        "best": choice.best,
        "plausible": sorted(choice.plausible),
        "reasons": list(choice.reasons),
        "stacking_weights": _numbers(choice.table["stacking_weight"]),
        "note": choice.note,
        "fits": {str(k): _summary(fitted) for k, fitted in choice.fits.items()},
    }
    record = _record(folder, choice.counts, settings, result)
    _write_report(folder, choice, record, names, choice.complete)
    return record


def read_run(folder: Path) -> tuple[Choice | Fitted, dict[str, Any]]:
    """Read the result of a run from its folder, and its record.

    Raises
    ------
    ValueError
        If the folder is no run, or a file of it is missing or damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder. Name one that fit or choose wrote.")
    file = folder / RECORD
    if not file.exists() and (folder / STUDY).exists():
        raise ValueError(
            f"{folder}: this run is not finished. The command that began it goes on with it."
        )
    record = read_json(file, _FORMAT)
    if record.get("study") != study_digest(folder):
        raise ValueError(
            f"{file} belongs to another study than {folder / STUDY}, of other counts, settings or "
            "seed. Put back that of this run, or run fit or choose again."
        )
    result = record.get("result")
    if not isinstance(result, dict):
        raise ValueError(f"{file}: it has no result. Run fit or choose again.")
    note = result.get("note", "")
    if not isinstance(note, str):
        raise ValueError(f"{file}: note must be text; got {reprlib.repr(note)}. Run choose again.")
    try:
        check_record(record, str(file))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} Run fit or choose again.") from None
    numbers = finished(folder)
    if not numbers:
        raise ValueError(f"{folder}: there is no posterior in it. Run fit or choose again.")
    _refuse_other_numbers(folder, result, numbers)
    fits = {k: read_fitted(folder, k) for k in numbers}
    first = fits[numbers[0]]
    if "fit" in result:
        return first, record
    for k, fitted in fits.items():
        differs = difference(
            fitted.em.counts.table, first.em.counts.table, (f"K = {k}", f"K = {numbers[0]}")
        )
        if differs:
            raise ValueError(
                f"{folder / f'em_K{k}.json'}: its counts are not those of em_K{numbers[0]}.json: "
                f"{differs}. "
                "Take out what is of another run, or run choose again."
            )
    return make_choice(first.em.counts, fits, note, read_thorough(folder)), record


def _refuse_other_numbers(folder: Path, result: dict[str, Any], found: tuple[int, ...]) -> None:
    """Raise a ValueError if a folder lacks posteriors of its record or holds others."""
    if "fit" in result:
        if len(found) > 1:
            raise ValueError(
                f"{folder}: a run of fit has one posterior; found those of {_listed(found)} "
                "components. Take out what is of another run."
            )
        return
    fits = result.get("fits")
    if not isinstance(fits, dict) or not all(re.fullmatch(r"[1-9]\d{0,2}", k) for k in fits):
        raise ValueError(
            f"{folder / RECORD}: fits must be a table by number of components; got "
            f"{reprlib.repr(fits)}. Run choose again."
        )
    recorded = sorted(map(int, fits))
    for k in recorded:
        if k not in found:
            raise ValueError(
                f"{folder / f'posterior_K{k}.nc'}: there is no such file, but the run fitted "
                f"{_listed(recorded)} components. Put it back, or run choose again."
            )
    for k in found:
        if k not in recorded:
            raise ValueError(
                f"{folder / f'posterior_K{k}.nc'}: the run fitted {_listed(recorded)} components. "
                "Take out what is of another run, or run choose again."
            )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _write_report(
    folder: Path,
    result: Choice | Fitted,
    record: dict[str, Any],
    names: set[str],
    complete: bool,
) -> None:
    """Write the report; then, for a complete run, remove files of other work, write the record."""
    page, figures = render(result, record, folder)
    for figure in figures:
        if figure.png:
            write_whole(folder / figure.file, figure.png)
    write_whole(folder / REPORT, page)
    if complete:
        _remove_run(folder, keep={*names, *(one.file for one in figures if one.png), REPORT, STUDY})
        write_json(folder / RECORD, record)


def _answer(result: Choice | Fitted) -> dict[str, Any]:
    said = answer(result)
    return {"level": said.level, "sentences": list(said.sentences)}


def _numbers(series: pd.Series) -> dict[str, float | None]:
    """Numbers by name; what is not finite is null, because JSON has no word for it."""
    return {
        str(name): float(value) if np.isfinite(value) else None for name, value in series.items()
    }


def _estimates(fitted: Fitted) -> dict[str, Any]:
    numbers = fitted.estimates.drop(columns="flag")
    return {
        str(name): {**_numbers(numbers.loc[name]), "flag": str(fitted.estimates.loc[name, "flag"])}
        for name in numbers.index
    }


def _summary(fitted: Fitted) -> dict[str, Any]:
    diagnosis = fitted.diagnosis
    return {
        "em": {"log_likelihood": fitted.em.log_likelihood, "status": str(fitted.em.status)},
        "map": {"log_density": fitted.map.log_density, "status": str(fitted.map.status)},
        "density_ok": diagnosis.density_ok,
        "components_ok": diagnosis.components_ok,
        "findings": sorted(diagnosis.findings),
        "summary": list(diagnosis.summary),
        "adequacy": {
            **_numbers(pd.Series(asdict(fitted.adequacy))),
            "verdict": fitted.adequacy.verdict,
            "sentence": fitted.adequacy.sentence,
        },
        "noticed": list(fitted.marks),
        "elpd": {"estimate": float(fitted.elpd.elpd), "se": float(fitted.elpd.se)},
        "estimates": _estimates(fitted),
        "sampling": {
            # The priors are left out here, because the settings have them as a table.
            name: _plain(value)
            for name, value in fitted.tree.attrs.items()
            if name != "spec"
        },
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _record(
    folder: Path, counts: Counts, settings: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            _log.info("%s is not installed, so its version is not recorded", name)
    return {
        "format": _FORMAT,
        "study": study_digest(folder),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "settings": settings,
        "counts": {
            "name": counts.name,
            "n": counts.n,
            "n_unique": counts.n_unique,
            "has_exposure": counts.has_exposure,
        },
        "result": result,
        "versions": versions,
    }
