"""The folder that a run leaves behind; it appears complete or not at all."""

from __future__ import annotations

import logging
import os
import platform
import re
import reprlib
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import difference
from pmnbmix.files import read_json, write_json, write_whole
from pmnbmix.present.report.page import check_record, render
from pmnbmix.study import Choice, Fitted, make_choice
from pmnbmix.study.storage import RECORD as STUDY
from pmnbmix.study.storage import (
    finished,
    read_fitted,
    read_thorough,
    write_fitted,
    write_thorough,
)

_log = logging.getLogger(__name__)

RECORD = "run.json"
REPORT = "report.html"
_FORMAT = "pmnbmix run"
# Every name that a run gives a file, and that of one on which a run was killed.
_WRITTEN = re.compile(
    r"(?:\.saving-[0-9a-f]{12}-)?(?:run\.json|thorough\.json|choice\.csv|report\.html"
    r"|(fit|rootogram|ranks|estimates|chains|elpd|criteria|labels)\.png"
    r"|posterior_K\d+\.nc|(em|map)_K\d+\.json|(estimates|optima|diagnosis)_K\d+\.csv)"
)
_VERSIONS = ("pmnbmix", "pymc", "arviz", "nutpie", "numba", "numpy", "scipy", "xarray", "pandas")


def free_folder(name: str | Path) -> Path:
    """Folder of this name, or with the first free number behind it."""
    folder, number = Path(name), 2
    # a link that leads nowhere has the name all the same
    while os.path.lexists(folder):
        folder, number = Path(f"{name}-{number}"), number + 1
    return folder


def check_target(folder: Path, force: bool) -> None:
    """Check that a run may be written to a folder.

    Raises
    ------
    ValueError
        Where the folder exists and ``force`` is false, where it is not a run or holds other files
        too (then it is never replaced), where it cannot be replaced (the current folder, a mount
        point, a link), or where its parent is missing or cannot be written to.
    """
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link. Name the folder that it leads to with --out.")
    if folder.exists() and not _is_empty(folder):
        foreign = _foreign(folder)
        if foreign is not None:
            raise ValueError(
                f"{folder} exists and {foreign}, so it is left alone. Name another with --out."
            )
        if not force:
            raise ValueError(
                f"{folder} holds an earlier run. Name another folder with --out, or replace it "
                "with --force."
            )
    # a run comes into its place by a move, which these do not allow
    if folder.exists() and folder.samefile(os.curdir):
        raise ValueError(
            f"{folder} is the current folder, which cannot be replaced from within. Name a new "
            "folder in it with --out, such as --out run."
        )
    if os.path.ismount(folder):
        raise ValueError(
            f"{folder} is a mount point, which cannot be replaced. Name a new folder in it with "
            f"--out, such as --out {folder / 'run'}."
        )
    parent = folder.absolute().parent
    if not parent.is_dir():
        what = "this is a file" if parent.exists() else "there is no such folder"
        raise ValueError(f"{parent}: {what}. Create a folder, or name another --out.")
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{parent}: this folder cannot be written to. Name another --out.")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _foreign(folder: Path) -> str | None:
    """Why a folder is not one that a run wrote and may replace; None where it is."""
    try:
        # what is no file, such as a pipe, may never end
        ours = (folder / RECORD).is_file() and bool(read_json(folder / RECORD, _FORMAT))
    except ValueError:
        ours = False
    if not ours:
        return "is not the folder of a run"
    others = [entry.name for entry in folder.iterdir() if not _WRITTEN.fullmatch(entry.name)]
    return f"holds {sorted(others)[0]!r}, which no run wrote" if others else None


@dataclass
class Building:
    """A folder in the making: ``partial`` while it is, then ``folder``."""

    partial: Path
    folder: Path


@contextmanager
def building(folder: Path, force: bool = False) -> Iterator[Building]:
    """Give a temporary folder that becomes ``folder`` where the block succeeds.

    Where something else has appeared there meanwhile, or the earlier run cannot be moved away, the
    result takes the next free name; ``folder`` of what is yielded then says which.

    Raises
    ------
    ValueError
        Where nothing can be written beside ``folder``; or the result, which is then left under
        its temporary name, can be moved to no place.
    """
    made = Building(folder.absolute().parent / f".pmnbmix-{secrets.token_hex(6)}", folder)
    try:
        made.partial.mkdir()
    except OSError as error:
        raise ValueError(
            f"{made.partial.parent}: this folder cannot be written to ({error.strerror}). Name "
            "another --out."
        ) from None
    try:
        yield made
    except BaseException:
        shutil.rmtree(made.partial, ignore_errors=True)
        raise
    made.folder = _put(made.partial, folder, force)


def _put(partial: Path, folder: Path, force: bool) -> Path:
    """Move a finished folder to its place, or to the next free name where it cannot be had."""
    place = folder
    while True:
        try:
            if force and place == folder and _is_replaceable(folder):
                _replace(folder, partial)
            else:
                # a folder that is not empty is never renamed onto
                partial.rename(place)
            return place
        except OSError as error:
            if not os.path.lexists(place):
                raise ValueError(
                    f"{place}: the run cannot be moved there ({error.strerror}). It is finished, "
                    f"and is in {partial}."
                ) from None
            place = free_folder(folder)
            _log.warning(
                "%s has appeared meanwhile or cannot be replaced (%s); writing %s",
                *(folder, error.strerror, place),
            )


def _is_replaceable(folder: Path) -> bool:
    """Whether this is still what may be replaced; the work may have taken hours."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return _is_empty(folder) or _foreign(folder) is None


@dataclass
class Unfinished:
    """Folder beside that of a run where a study keeps what it has finished."""

    folder: Path
    complete: bool = False


@contextmanager
def unfinished(run: Path) -> Iterator[Unfinished]:
    """Give a folder for a study to go on from; it is removed where the study is complete or empty.

    Leave this block after that of `building`, so that a study is in the place of its run before it
    is removed; where the block fails, what is finished stays.

    Raises
    ------
    ValueError
        As `choose_components` where it holds another study.
    """
    kept = Unfinished(run.with_name(f"{run.name}.unfinished"))
    if kept.folder.is_dir() and (done := finished(kept.folder)):
        _log.warning(
            "going on with %s, where numbers of components %s are done",
            kept.folder,
            ", ".join(map(str, done)),
        )
    placed = False
    try:
        yield kept
        placed = kept.complete
    finally:
        ours = kept.folder.is_dir() and (kept.folder / STUDY).exists()
        if ours and (placed or not finished(kept.folder)):
            _remove_study(kept.folder)


def _remove_study(folder: Path) -> None:
    """Remove what a study has written; killed in between, the rest is a study to go on from."""
    ours = (e for e in folder.iterdir() if e.name == STUDY or _WRITTEN.fullmatch(e.name))
    # a posterior says that the files beside it are there, and the record that all are of a study
    for entry in sorted(ours, key=lambda e: (e.name == STUDY, e.suffix != ".nc")):
        entry.unlink()
    # what somebody else has put there stays
    with suppress(OSError):
        folder.rmdir()


def _replace(folder: Path, partial: Path) -> None:
    """Put a new folder in the place of an old one; where that fails, the old one stays."""
    old = partial.with_name(f"{partial.name}-old")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    try:
        shutil.rmtree(old)
    except OSError as error:
        _log.warning("the earlier run is left in %s (%s)", old, error.strerror)


def _write_tables(folder: Path, fitted: Fitted) -> None:
    """Write the fits of one number of components, and their tables for other programs."""
    k = fitted.n_components
    write_fitted(folder, fitted)
    fitted.estimates.to_csv(folder / f"estimates_K{k}.csv")
    fitted.em.optima.to_csv(folder / f"optima_K{k}.csv", index=False)
    fitted.diagnosis.table.to_csv(folder / f"diagnosis_K{k}.csv")


def write_fit_run(folder: Path, fitted: Fitted, settings: dict[str, Any]) -> dict[str, Any]:
    """Write everything of a run of ``fit``: fits, tables, figures, report and the record."""
    _write_tables(folder, fitted)
    record = _record(fitted.em.counts, settings, {"fit": _summary(fitted)})
    _write_report(folder, fitted, record)
    return record


def write_choice_run(folder: Path, choice: Choice, settings: dict[str, Any]) -> dict[str, Any]:
    """Write everything of a run of ``choose``; figures show the chosen number of components."""
    for fitted in choice.fits.values():
        _write_tables(folder, fitted)
    if choice.thorough is not None:
        write_thorough(folder, choice.thorough)
    choice.table.to_csv(folder / "choice.csv")
    result = {
        "chosen": choice.chosen,
        "plausible": sorted(choice.plausible),
        "reasons": list(choice.reasons),
        "note": choice.note,
        "fits": {str(k): _summary(fitted) for k, fitted in choice.fits.items()},
    }
    record = _record(choice.counts, settings, result)
    _write_report(folder, choice, record)
    return record


def read_run(folder: Path) -> tuple[Choice | Fitted, dict[str, Any]]:
    """Read what a run has left, and its record.

    Raises
    ------
    ValueError
        Where the folder is no run, or a file of it is missing or damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder. Name one that fit or choose wrote.")
    file = folder / RECORD
    record = read_json(file, _FORMAT)
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
    """Raise a ValueError where a folder has not the posteriors that its record speaks of."""
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


def _write_report(folder: Path, result: Choice | Fitted, record: dict[str, Any]) -> None:
    page, figures = render(result, record)
    for figure in figures:
        write_whole(folder / figure.file, figure.png)
    write_whole(folder / REPORT, page)
    write_json(folder / RECORD, record)


def _summary(fitted: Fitted) -> dict[str, Any]:
    diagnosis = fitted.diagnosis
    return {
        "em": {"log_likelihood": fitted.em.log_likelihood, "status": str(fitted.em.status)},
        "map": {"log_density": fitted.map.log_density, "status": str(fitted.map.status)},
        "density_ok": diagnosis.density_ok,
        "components_ok": diagnosis.components_ok,
        "findings": sorted(diagnosis.findings),
        "summary": list(diagnosis.summary),
        "sampling": {
            # the priors are in the settings already, as a table
            name: _plain(value)
            for name, value in fitted.tree.attrs.items()
            if name != "spec"
        },
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _record(counts: Counts, settings: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            _log.info("%s is not installed, so its version is not recorded", name)
    return {
        "format": _FORMAT,
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
