"""Fits as files: a study goes on where it was stopped, and a run's folder can be read back."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
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
from pmnbmix.point.result import PointFit
from pmnbmix.selection.compare import compare_readings
from pmnbmix.selection.loo import loo_of_reading
from pmnbmix.study.fitting import Fitted
from pmnbmix.study.refits import Refits, replace_terms
from pmnbmix.study.thorough import Thorough
from pmnbmix.tree.reading import Reading, difference_to, read
from pmnbmix.tree.storage import load, save

RECORD = "study.json"
_FORMAT = "pmnbmix study"
_REFITS = "exact_loo"
_POSTERIOR = re.compile(r"posterior_K(\d{1,3})\.nc")
# Variables of the exact terms, one value per observation, and the attributes that they are.
_TERMS = {"term": "elpd_i", "term_pareto_k": "pareto_k"}


@dataclass(frozen=True)
class Kept:
    """A folder with the numbers of components that a study has finished.

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
        cls,
        folder: str | os.PathLike[str],
        counts: Counts,
        spec: MixtureSpec,
        *,
        draws: int,
        chains: int,
        entropy: int | None,
    ) -> Kept:
        """Open the folder of a study, or make it.

        Parameters
        ----------
        folder : path-like
        counts : Counts
        spec : MixtureSpec
            Resolved.
        draws, chains : int
        entropy : int or None
            None takes that of the folder, or a new one.

        Raises
        ------
        ValueError
            Where the folder holds something else, or a study of other counts or settings.
        """
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder must be the name of a folder; got {folder!r}.")
        path = Path(folder)
        settings: dict[str, Any] = {
            "pmnbmix": version("pmnbmix"),
            "counts": _digest(counts),
            "name": counts.name,
            # of every number of components, so that one does not matter
            "spec": spec.with_components(1).to_dict(),
            "draws": draws,
            "chains": chains,
        }
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
            stored = read_json(record, _FORMAT)
            _refuse_other_study(path, stored, settings, entropy)
            return cls(path, stored["entropy"])
        # what is left of a study that was killed on its first file is no one's
        if any(not LEFT_OVER.match(entry.name) for entry in path.iterdir()):
            raise ValueError(f"{path} holds other files. Name an empty or a new folder.")
        entropy = int(np.random.default_rng().integers(2**63)) if entropy is None else entropy
        write_json(record, {"format": _FORMAT, **settings, "entropy": entropy})
        return cls(path, entropy)

    def finished(self) -> tuple[int, ...]:
        """Numbers of components that are there."""
        return finished(self.folder)


def _refuse_other_study(
    path: Path, stored: dict[str, Any], settings: dict[str, Any], entropy: int | None
) -> None:
    """Raise a ValueError where a folder holds a study of other counts, settings or seed."""
    entropies = stored.get("entropy")
    if not isinstance(entropies, int) or isinstance(entropies, bool) or entropies < 0:
        raise ValueError(f"{path / RECORD}: entropy is {entropies!r}, not a number of 0 or above.")
    differing = [name for name, value in settings.items() if stored.get(name) != value]
    if entropy is not None and entropy != entropies:
        differing.append("random_seed")
    if differing:
        raise ValueError(
            f"{path} holds a study that was begun with other {', '.join(differing)}. Name another "
            "folder, or delete this one."
        )


def finished(folder: Path) -> tuple[int, ...]:
    """Numbers of components whose fits are in a folder, ascending."""
    found = (_POSTERIOR.fullmatch(entry.name) for entry in folder.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Write the fits of one number of components: two JSON files, then the posterior."""
    k = fitted.n_components
    fitted.em.write(folder / f"em_K{k}.json")
    fitted.map.write(folder / f"map_K{k}.json")
    tree = fitted.tree
    if fitted.refits is not None and fitted.refits.method != "none":
        tree = tree.copy()
        tree[_REFITS] = xr.DataTree(_refits_to_dataset(fitted.refits))
    # last, for its presence says that all is there
    save(tree, folder / f"posterior_K{k}.nc")


def read_fitted(
    folder: Path,
    n_components: int,
    counts: Counts | None = None,
    spec: MixtureSpec | None = None,
) -> Fitted:
    """Read what `write_fitted` wrote; whatever follows from it is computed again.

    Parameters
    ----------
    folder : pathlib.Path
    n_components : int
    counts : Counts, optional
        Whose fits they must be; all of the same where absent.
    spec : MixtureSpec, optional
        Resolved priors that they must have, for any number of components.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        Where a file is missing, damaged, or does not belong to the others or to ``counts`` and
        ``spec``.
    """
    k = n_components
    em, map_ = (PointFit.read(folder / f"{name}_K{k}.json") for name in ("em", "map"))
    file = folder / f"posterior_K{k}.nc"
    tree = load(file)
    exact = None
    if _REFITS in tree.children:
        exact = tree[_REFITS].to_dataset()
        del tree[_REFITS]
    sizes = em.n_components, map_.n_components, tree["posterior"].sizes["mixture_component"]
    if sizes != (k, k, k):
        raise ValueError(f"{file} and its point fits have {sizes} components; expected {k}.")
    reading = read(tree)
    _refuse_other_counts(folder, em, map_, reading, em.counts if counts is None else counts)
    if spec is not None:
        _refuse_other_priors(folder, map_, reading, spec.with_components(k))
    try:
        diagnosis = diagnose_reading(reading, optima=em)
        elpd, refits = loo_of_reading(reading, diagnosis.density_ok), None
        if diagnosis.density_ok:
            refits = Refits(elpd, "none", 0, pd.DataFrame())
            if exact is not None:
                refits = _refits_from_dataset(exact, elpd)
            elpd = refits.elpd
        estimates = compare_readings(em, map_, reading, diagnosis)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: this is no whole posterior ({error}).") from None
    return Fitted(em, map_, tree, diagnosis, elpd, estimates, refits)


def _refuse_other_counts(
    folder: Path, em: PointFit, map_: PointFit, reading: Reading, counts: Counts
) -> None:
    """Raise a ValueError that names the file where one was fitted to other counts."""
    k = em.n_components
    for name, fit in (("em", em), ("map", map_)):
        if _digest(fit.counts) != _digest(counts):
            found, wanted = (
                f"{one.n} observations with sum {one.table.frequency @ one.table.values:.0f}"
                for one in (fit.counts, counts)
            )
            raise ValueError(
                f"{folder / f'{name}_K{k}.json'} was fitted to other counts: {found}, expected "
                f"{wanted}, in the same order and with the same exposures. {_another(k)}"
            )
    file = folder / f"posterior_K{k}.nc"
    try:
        differing = difference_to(reading, counts)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{file}: this is no whole posterior ({error}).") from None
    if differing:
        raise ValueError(f"{file} was fitted to other counts: {differing}. {_another(k)}")


def _refuse_other_priors(folder: Path, map_: PointFit, reading: Reading, spec: MixtureSpec) -> None:
    """Raise a ValueError that names the file where one has other priors."""
    k = spec.n_components
    try:
        sampled = reading.spec
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / f'posterior_K{k}.nc'}: this is no whole posterior (its priors: {error})."
        ) from None
    for name, found in ((f"map_K{k}.json", map_.spec), (f"posterior_K{k}.nc", sampled)):
        # a tree of another sampler does not say what its priors were
        if found is not None and found != spec:
            raise ValueError(
                f"{folder / name} has other priors: {found!r}, expected {spec!r}. {_another(k)}"
            )


def _another(k: int) -> str:
    return f"Name another folder, or delete every file of K{k} in this one, to fit it again."


def write_thorough(folder: Path, thorough: Thorough) -> None:
    """Write the other criteria as JSON."""
    table = thorough.table.astype(object).where(thorough.table.notna(), None)
    write_json(
        folder / "thorough.json",
        {
            "format": _FORMAT,
            "table": {str(k): dict(row) for k, row in table.iterrows()},
            "occupied": thorough.occupied.tolist(),
            "occupied_ok": thorough.occupied_ok,
        },
    )


def read_thorough(folder: Path) -> Thorough | None:
    """Read the other criteria; None where they were not asked for."""
    file = folder / "thorough.json"
    if not file.exists():
        return None
    data = read_json(file, _FORMAT)
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


def _digest(counts: Counts) -> str:
    """Hash of the observations in their order, so that other counts are told apart."""
    hashed = hashlib.sha256()
    for array in (counts.values, counts.exposure, counts.frequency):
        hashed.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return hashed.hexdigest()


def _refits_to_dataset(refits: Refits) -> xr.Dataset:
    dataset = xr.Dataset.from_dataframe(refits.table.reset_index(drop=True).rename_axis("refit"))
    for name, attribute in _TERMS.items():
        dataset[name] = ("obs", np.asarray(getattr(refits.elpd, attribute).values))
    dataset.attrs = {"method": refits.method, "n_high_k": refits.n_high_k}
    # netCDF has no booleans
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
