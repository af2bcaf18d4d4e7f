"""What was computed from a posterior, kept in its file, so that it need not be computed again.

A seal says what it was computed from. Where the seal does not fit, because a file was edited or
another version of this package wrote it, what was kept is left aside.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.selection.loo_terms import Terms
from pmnbmix.tree.reading import Reading

GROUP = "computed"
_SEAL = "seal"
_TERMS = ("elpd", "pareto_k", "lpd")
_ERROR = "interpolation_error"
_TABLE = "estimates"
_NUMBERS = (
    *("em", "em_se", "map", "map_se"),
    *("nuts_mean", "nuts_sd", "nuts_median", "nuts_lower", "nuts_upper"),
    *("em_difference", "map_difference"),
)
_BESIDE = ("log_likelihood", "log_posterior", "kl", "total_variation")


class Computed(NamedTuple):
    """What takes seconds to compute from a posterior and its point fits.

    Attributes
    ----------
    terms : Terms
        Of LOO, from `pmnbmix.selection.loo.terms_of_reading`.
    estimates : pandas.DataFrame
        From `pmnbmix.selection.compare.compare_readings`.
    """

    terms: Terms
    estimates: pd.DataFrame


def keep(tree: xr.DataTree, computed: Computed, points: tuple[Path, ...]) -> None:
    """Add to a tree what was computed from it, under a seal.

    Parameters
    ----------
    tree : xarray.DataTree
        With all that will be in its file.
    computed : Computed
    points : tuple of pathlib.Path
        The files of the point fits that the estimates are of.
    """
    terms, table = computed
    dataset = xr.Dataset({name: ("unique_row", getattr(terms, name)) for name in _TERMS})
    if terms.error is not None:
        dataset[_ERROR] = terms.error
    dataset[_TABLE] = json.dumps({"columns": table.to_dict("list"), "attrs": table.attrs})
    tree[GROUP] = xr.DataTree(dataset)
    tree[GROUP].attrs[_SEAL] = _seal_of(tree, points)


def taken_out(tree: xr.DataTree, points: tuple[Path, ...]) -> xr.Dataset | None:
    """Take out of a tree what was kept in it; None if nothing was, or its seal does not fit."""
    if GROUP not in tree.children:
        return None
    seal = tree[GROUP].attrs.pop(_SEAL, None)
    whole = isinstance(seal, str) and seal == _seal_of(tree, points)
    dataset = tree[GROUP].to_dataset()
    del tree[GROUP]
    return dataset if whole else None


def computed_of(dataset: xr.Dataset, reading: Reading) -> Computed | None:
    """Read what was kept; None if it cannot have been computed from this posterior."""
    try:
        return Computed(_terms(dataset, reading), _estimates(dataset, reading))
    # Brackets nested too deeply in the JSON end in a RecursionError.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return None


def _terms(dataset: xr.Dataset, reading: Reading) -> Terms:
    elpd, pareto_k, lpd = (np.asarray(dataset[name].values, np.float64) for name in _TERMS)
    error = float(dataset[_ERROR]) if _ERROR in dataset else None
    for array in (elpd, pareto_k, lpd):
        if array.shape != reading.table.values.shape or np.isnan(array).any():
            raise ValueError("there is not one term for each row")
    if max(elpd.max(), lpd.max()) == np.inf or not (error is None or 0.0 <= error < np.inf):
        raise ValueError("a term is infinite")
    return Terms(elpd, pareto_k, lpd, error)


def _estimates(dataset: xr.Dataset, reading: Reading) -> pd.DataFrame:
    stored = json.loads(str(dataset[_TABLE].values))
    columns, beside = stored["columns"], stored["attrs"]
    k = reading.draws.n_components
    index = pd.Index([f"{name}[{j}]" for name in PARAMETERS for j in range(k)], name="parameter")
    numbers = np.array([columns[name] for name in _NUMBERS], np.float64)
    flags = columns["flag"]
    if numbers.shape != (len(_NUMBERS), index.size) or np.isnan(numbers).any():
        raise ValueError("there is not one number for each parameter")
    if len(flags) != index.size or not all(isinstance(flag, str) for flag in flags):
        raise ValueError("there is not one flag for each parameter")
    if not set(beside) <= set(_BESIDE):
        raise ValueError("there are other attributes than those of estimates")
    table = pd.DataFrame(dict(zip(_NUMBERS, numbers, strict=True)), index=index)
    table["flag"] = list(flags)
    for name, entries in beside.items():
        table.attrs[name] = {pair: float(number) for pair, number in entries.items()}
    return table


def _seal_of(tree: xr.DataTree, points: tuple[Path, ...]) -> str:
    """SHA-256 of all that a tree holds, the point fits and the version of this package."""
    sealed = hashlib.sha256(version("pmnbmix").encode())
    for file in points:
        sealed.update(file.read_bytes())
    for node in sorted(tree.subtree, key=lambda node: node.path):
        sealed.update(node.path.encode())
        dataset = node.to_dataset(inherit=False)
        parts = [
            (str(name), str(part.dims), part.values) for name, part in dataset.variables.items()
        ]
        # A list of one entry comes back from a file as that entry.
        parts += [(name, "attribute", np.ravel(value)) for name, value in dataset.attrs.items()]
        for name, kind, array in sorted(parts, key=lambda part: part[:2]):
            sealed.update(f"{name} {kind} {array.shape}".encode())
            sealed.update(_plain(array))
    return sealed.hexdigest()


def _plain(array: np.ndarray[Any, Any]) -> Any:
    """Bytes that are the same before a file is written and after it is read."""
    if array.dtype.kind in "biuf":
        return np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64)
    return repr([str(entry) for entry in array.ravel().tolist()]).encode()
