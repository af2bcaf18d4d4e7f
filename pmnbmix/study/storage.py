"""Fits as files: a stopped study can be continued, and a run's folder can be read back."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.files import LEFT_OVER, read_json, write_json
from pmnbmix.labels.diagnose import diagnose_reading
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.as_json import mark_study, study_of
from pmnbmix.point.result import PointFit
from pmnbmix.posterior.checks import was_interrupted
from pmnbmix.selection.compare import compare_readings
from pmnbmix.selection.loo import loo_of_reading, terms_of_reading
from pmnbmix.study.adequacy import Adequacy
from pmnbmix.study.computed import Computed, computed_of, keep, taken_out
from pmnbmix.study.fitting import Fitted
from pmnbmix.study.refits import Refits, replace_terms
from pmnbmix.study.thorough import Thorough
from pmnbmix.tree.reading import Reading, difference_to, read
from pmnbmix.tree.storage import load, save

RECORD = "study.json"
FORMAT = "pmnbmix study"
_REFITS = "exact_loo"
# The attribute of a posterior that says to which study it belongs.
_STUDY = "digest_of_study"
_TESTED = "goodness_of_fit"
_POSTERIOR = re.compile(r"posterior_K(\d{1,3})\.nc")
# Variables of the exact terms, one value per observation, and the attributes they come from.
_TERMS = {"term": "elpd_i", "term_pareto_k": "pareto_k"}


def settings_of(
    counts: Counts, spec: MixtureSpec, draws: int, chains: int, **more: Any
) -> dict[str, Any]:
    """Settings that all fits of a folder share, except the seed.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved; its number of components does not matter.
    draws, chains : int
    more
        What else tells this work from other work.
    """
    return {
        "pmnbmix": version("pmnbmix"),
        "counts": counts.digest,
        "name": counts.name,
        "spec": spec.with_components(1).to_dict(),
        "draws": draws,
        "chains": chains,
        **more,
    }


@dataclass(frozen=True)
class Kept:
    """A folder of fits, one set for each number of components, in which a study can be continued.

    Attributes
    ----------
    folder : pathlib.Path
    entropy : int
        From which the random streams of the study follow.
    """

    folder: Path
    entropy: int

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], settings: dict[str, Any], entropy: int | None
    ) -> Kept:
        """Open a folder, or make it.

        Parameters
        ----------
        folder : path-like
        settings : dict
            From `settings_of`.
        entropy : int or None
            None takes that of the folder, or a new one.

        Raises
        ------
        ValueError
            If the folder holds something else, or fits of other counts or settings.
        """
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder must be the name of a folder; got {folder!r}.")
        path = Path(folder)
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError:
            raise ValueError(f"{path}: this is a file. Name a folder.") from None
        except OSError as error:
            raise ValueError(
                f"{path}: cannot be made ({error.strerror}). Name a folder in one that exists."
            ) from None
        record = path / RECORD
        if record.exists():
            stored = read_json(record, FORMAT)
            _refuse_other_study(path, stored, settings, entropy)
            return cls(path, stored["entropy"])
        # A study that was killed while writing its first file leaves nothing of value.
        if any(not LEFT_OVER.match(entry.name) for entry in path.iterdir()):
            raise ValueError(f"{path} holds other files. Name an empty or a new folder.")
        entropy = int(np.random.default_rng().integers(2**63)) if entropy is None else entropy
        write_json(record, {"format": FORMAT, **settings, "entropy": entropy})
        return cls(path, entropy)

    def read(self, n_components: int, counts: Counts, spec: MixtureSpec) -> Fitted | None:
        """Fits of one number of components; None if they must be made, or made again.

        Raises
        ------
        ValueError
            As `read_fitted`.
        """
        if n_components not in finished(self.folder):
            return None
        fitted = read_fitted(self.folder, n_components, counts, spec)
        return None if was_interrupted(fitted.tree) else fitted


def _refuse_other_study(
    path: Path, stored: dict[str, Any], settings: dict[str, Any], entropy: int | None
) -> None:
    """Raise a ValueError if a folder holds fits of other counts, settings or seed."""
    entropies = stored.get("entropy")
    if not isinstance(entropies, int) or isinstance(entropies, bool) or entropies < 0:
        raise ValueError(f"{path / RECORD}: entropy is {entropies!r}, not a number of 0 or above.")
    wanted = {"format": FORMAT, **settings, "entropy": entropies}
    differing = [name for name in wanted | stored if stored.get(name) != wanted.get(name)]
    if entropy is not None and entropy != entropies:
        differing.append("random_seed")
    if differing:
        raise ValueError(
            f"{path} holds a study that was begun with other {', '.join(differing)}. Name another "
            "folder, or delete this one."
        )


def study_digest(folder: Path) -> str | None:
    """SHA-256 of what a folder's study was begun with: counts, settings and seed.

    Every file of the study that is read back carries it; None if the folder has no record.
    """
    if not (folder / RECORD).is_file():
        return None
    record = json.dumps(read_json(folder / RECORD, FORMAT), sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()


def finished(folder: Path) -> tuple[int, ...]:
    """Numbers of components whose fits are in a folder, ascending."""
    found = (_POSTERIOR.fullmatch(entry.name) for entry in folder.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Write the fits of one number of components: two JSON files, then the posterior."""
    k, study = fitted.n_components, study_digest(folder)
    points = _point_files(folder, k)
    for fit, file in zip((fitted.em, fitted.map), points, strict=True):
        fit.write(file)
        if study is not None:
            mark_study(file, study)
    tree = fitted.tree.copy()
    tree.attrs.pop(_STUDY, None)
    if study is not None:
        tree.attrs[_STUDY] = study
    if fitted.refits is not None and fitted.refits.method != "none":
        tree[_REFITS] = xr.DataTree(_refits_to_dataset(fitted.refits))
    if fitted.tested is not None:
        tree = tree.copy()
        tree[_TESTED] = xr.DataTree(xr.Dataset(asdict(fitted.tested)))
    if fitted.terms is not None:
        tree = tree.copy()
        keep(tree, Computed(fitted.terms, fitted.estimates), points)
    # The posterior is written last, because its presence says that all files are there.
    save(tree, folder / f"posterior_K{k}.nc")


def read_fitted(
    folder: Path,
    n_components: int,
    counts: Counts | None = None,
    spec: MixtureSpec | None = None,
) -> Fitted:
    """Read the files of `write_fitted`; what follows from them is judged, or computed, again.

    LOO and the comparison of the estimates are as they were written, unless a file was edited.

    Parameters
    ----------
    folder : pathlib.Path
    n_components : int
    counts : Counts, optional
        Counts that must have been fitted; if absent, the fits must agree among themselves.
    spec : MixtureSpec, optional
        Resolved priors that they must have, for any number of components.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        If a file is missing, damaged, or does not belong to the others or to ``counts`` and
        ``spec``.
    """
    k = n_components
    points = _point_files(folder, k)
    em, map_ = map(PointFit.read, points)
    file = folder / f"posterior_K{k}.nc"
    tree = load(file)
    kept = taken_out(tree, points)
    exact, test = (
        tree[name].to_dataset() if name in tree.children else None for name in (_REFITS, _TESTED)
    )
    for name in {_REFITS, _TESTED} & set(tree.children):
        del tree[name]
    sizes = em.n_components, map_.n_components, tree["posterior"].sizes["mixture_component"]
    if sizes != (k, k, k):
        raise ValueError(f"{file} and its point fits have {sizes} components; expected {k}.")
    reading = read(tree)
    _refuse_other_counts(folder, em, map_, reading, em.counts if counts is None else counts)
    if spec is not None:
        _refuse_other_priors(folder, map_, reading, spec.with_components(k))
    _refuse_parts_of_another_study(folder, k, tree)
    # The mark is of the file; the posterior is then as it was when it was sampled.
    tree.attrs.pop(_STUDY, None)
    try:
        diagnosis = diagnose_reading(reading, optima=em)
        known = None if kept is None else computed_of(kept, reading)
        terms = terms_of_reading(reading) if known is None else known.terms
        elpd, refits = loo_of_reading(reading, diagnosis.density_ok, terms=terms), None
        if diagnosis.density_ok:
            refits = Refits(elpd, "none", 0, pd.DataFrame())
            if exact is not None:
                refits = _refits_from_dataset(exact, elpd)
            elpd = refits.elpd
        estimates = (
            compare_readings(em, map_, reading, diagnosis) if known is None else known.estimates
        )
        tested = None if test is None else Adequacy.of(test)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: this is no whole posterior ({error}).") from None
    return Fitted(em, map_, tree, diagnosis, elpd, estimates, refits, tested, terms)


def _point_files(folder: Path, k: int) -> tuple[Path, Path]:
    return folder / f"em_K{k}.json", folder / f"map_K{k}.json"


def _refuse_other_counts(
    folder: Path, em: PointFit, map_: PointFit, reading: Reading, counts: Counts
) -> None:
    """Raise a ValueError that names the file if one was fitted to other counts."""
    k = em.n_components
    for file, found in (
        (f"em_K{k}.json", em.counts),
        (f"map_K{k}.json", map_.counts),
        (f"posterior_K{k}.nc", reading),
    ):
        try:
            differing = difference_to(found, counts)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{folder / file}: this is no whole posterior ({error}).") from None
        if differing:
            raise ValueError(
                f"{folder / file} was fitted to other counts: {differing}. {_another(k)}"
            )


def _refuse_other_priors(folder: Path, map_: PointFit, reading: Reading, spec: MixtureSpec) -> None:
    """Raise a ValueError that names the file if one has other priors."""
    k = spec.n_components
    try:
        sampled = reading.spec
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / f'posterior_K{k}.nc'}: this is no whole posterior (its priors: {error})."
        ) from None
    for name, found in ((f"map_K{k}.json", map_.spec), (f"posterior_K{k}.nc", sampled)):
        # The tree of another sampler does not say which priors it had.
        if found is not None and found != spec:
            raise ValueError(
                f"{folder / name} has other priors: {found!r}, expected {spec!r}. {_another(k)}"
            )


def _refuse_parts_of_another_study(folder: Path, k: int, tree: xr.DataTree) -> None:
    """Raise a ValueError that names the file if one carries the digest of another study.

    A file that carries none was put there by hand; its counts and priors were compared already.
    """
    parts = {name: study_of(folder / name) for name in (f"em_K{k}.json", f"map_K{k}.json")}
    parts[f"posterior_K{k}.nc"] = tree.attrs.get(_STUDY)
    own = study_digest(folder) or next(filter(None, parts.values()), None)
    for name, study in parts.items():
        if study not in (None, own):
            raise ValueError(
                f"{folder / name} belongs to another study, of other counts, settings or seed. "
                f"{_another(k)}"
            )


def _another(k: int) -> str:
    return f"Name another folder, or delete every file of K{k} in this one, to fit it again."


def write_thorough(folder: Path, thorough: Thorough) -> None:
    """Write the other criteria as JSON."""
    table = thorough.table.astype(object).where(thorough.table.notna(), None)
    write_json(
        folder / "thorough.json",
        {
            "format": FORMAT,
            "study": study_digest(folder),
            "table": {str(k): dict(row) for k, row in table.iterrows()},
            "occupied": thorough.occupied.tolist(),
            "occupied_ok": thorough.occupied_ok,
        },
    )


def read_thorough(folder: Path) -> Thorough | None:
    """Read the other criteria; None if they were not asked for.

    Raises
    ------
    ValueError
        If the file is damaged, or belongs to another study than the folder.
    """
    file = folder / "thorough.json"
    if not file.exists():
        return None
    data = read_json(file, FORMAT)
    if (own := study_digest(folder)) is not None and data.get("study") != own:
        raise ValueError(
            f"{file} belongs to another study, of other counts, settings or seed. Put back that of "
            "this one, or delete the file; choose --thorough makes it again."
        )
    try:
        if not isinstance(data["table"], dict):
            raise ValueError("its table is none")
        table = pd.DataFrame.from_dict(data["table"], orient="index", dtype=np.float64)
        table.index = pd.Index([int(k) for k in table.index], name="n_components")
        index = pd.RangeIndex(1, len(data["occupied"]) + 1, name="occupied")
        occupied = pd.Series(data["occupied"], index, np.float64, name="probability")
        return Thorough(table, occupied, bool(data["occupied_ok"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: these are no whole criteria ({error!r}).") from None


def _refits_to_dataset(refits: Refits) -> xr.Dataset:
    dataset = xr.Dataset.from_dataframe(refits.table.reset_index(drop=True).rename_axis("refit"))
    for name, attribute in _TERMS.items():
        dataset[name] = ("obs", np.asarray(getattr(refits.elpd, attribute).values))
    dataset.attrs = {"method": refits.method, "n_high_k": refits.n_high_k}
    # NetCDF cannot store booleans.
    dataset["density_ok"] = dataset["density_ok"].astype(np.int8)
    return dataset


def _refits_from_dataset(dataset: xr.Dataset, elpd: Any) -> Refits:
    terms, pareto_k = (np.asarray(dataset[name].values, np.float64) for name in _TERMS)
    if terms.shape != elpd.elpd_i.shape or not np.isfinite(terms).all():
        raise ValueError(f"its exact terms have shape {terms.shape} or are not finite")
    table = dataset.drop_vars([*_TERMS, "obs"], errors="ignore").to_dataframe()
    table["density_ok"] = table["density_ok"].astype(bool)
    method = str(dataset.attrs["method"])
    table.index.name = "fold" if method.endswith("fold") else None
    return Refits(
        replace_terms(elpd, terms, pareto_k, table), method, int(dataset.attrs["n_high_k"]), table
    )
