"""`sample_columns`: the posterior of chosen columns, by importance sampling or by NUTS.

Which columns deserve it is what `fit_columns` tells; the machine code of the density is the same
for all of them, so that no column waits for a compiler.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pmnbmix.batch.column_fits import as_names, exposure_of
from pmnbmix.batch.sources import Source, column_of, open_source
from pmnbmix.data.checks import as_exposure, one_of, whole
from pmnbmix.data.counts import Counts
from pmnbmix.labels.diagnose import diagnose_reading
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec, as_spec, refuse_regression
from pmnbmix.posterior.checks import was_interrupted
from pmnbmix.posterior.inference import sample
from pmnbmix.posterior.laplace import approximate
from pmnbmix.progress import progress_bar
from pmnbmix.seeds import entropy_of, stream
from pmnbmix.tree.reading import difference_to, read
from pmnbmix.tree.storage import load, save
from pmnbmix.tree.writing import MixtureTree

_log = logging.getLogger(__name__)

METHODS = ("auto", "laplace", "nuts")
_INTERVAL = (0.05, 0.95)
_PER_COMPONENT = tuple(
    f"{name}{part}" for name in PARAMETERS for part in ("", "_sd", "_lower", "_upper")
)
_CHAINS = 4
# This attribute of a tree says by which method it was asked for.
_ASKED = "method_asked"
# A column on which the work was interrupted has this reason.
_INTERRUPTED = (
    "interrupted while it was sampled; the draws it had are not kept. The same call samples it "
    "again."
)
# A result is a tree, k-hat, and why there is no tree.
_Sampled = tuple[MixtureTree | None, float, str]


def sample_columns(
    matrix: Any,
    columns: Sequence[Hashable],
    spec: MixtureSpec | int | None = None,
    exposure: ArrayLike | str | None = None,
    *,
    method: Literal["auto", "laplace", "nuts"] = "auto",
    draws: int = 1000,
    layer: str | None = None,
    out: str | os.PathLike[str] | None = None,
    random_seed: int | np.random.Generator | None = None,
    progressbar: bool = True,
) -> xr.Dataset:
    """Summarise the posterior of chosen columns of a matrix.

    Parameters
    ----------
    matrix : array_like of shape (n, n_columns)
        As in `fit_columns`.
    columns : sequence
        Names of columns; indices where the container has no names.
    spec : MixtureSpec or int, optional
        Or a number of components with the default priors, 2 if absent; resolved for each column.
    exposure : array_like of shape (n,), or str, optional
        As in `fit_columns`.
    method : {"auto", "laplace", "nuts"}
        "laplace" samples by importance around the mode and refuses a column where that cannot be
        trusted; "nuts" runs `sample`; "auto" runs it where the first refuses.
    draws : int
        Draws per chain, of which there are four.
    layer : str, optional
        Layer of an AnnData.
    out : path-like, optional
        Folder to which the tree of each column is saved ("column-00017.nc"). A column whose tree
        is there is not sampled again, whatever the seed was; its counts, priors, method and number
        of draws must be the same. A tree whose sampling was interrupted is not saved.
    random_seed : int or numpy.random.Generator, optional
        A column's draws depend on it and on the column, not on the others.
    progressbar : bool

    Returns
    -------
    Dataset
        Of (column, mixture_component): posterior means ``weights``, ``means``, ``dispersions``,
        with ``_sd`` and the ends of central 90 % intervals, ``_lower`` and ``_upper``. Of
        (column,): ``method`` ("laplace" or "nuts", empty where there is no posterior), ``k_hat``
        (NaN where several modes matter), ``density_ok`` and ``components_ok`` (`diagnose`),
        ``findings`` (divided by commas) and ``reason``. Where interrupted it ends with the column
        that was being sampled, whose ``reason`` says so, or with the one before.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, columns that do not exist or whose name is
        that of another, and an ``out`` that is no folder or holds trees of other counts, priors or
        settings. Not for the counts of a column.
    KeyboardInterrupt
        Where interrupted before a column has draws; later, what is done is returned, and a warning
        is logged.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry (2024), Pareto smoothed importance
       sampling, J. Mach. Learn. Res. 25, 1-58, https://jmlr.org/papers/v25/19-556.html

    Examples
    --------
    >>> import pmnbmix as nb
    >>> truth = nb.MixtureParams([0.6, 0.4], [2.0, 30.0], [0.2, 0.1])
    >>> matrix = truth.sample(300, random_seed=1)[0][:, None]
    >>> found = nb.sample_columns(matrix, [0], draws=200, random_seed=1, progressbar=False)
    >>> found["method"].item(), found["components_ok"].item()
    ('laplace', True)
    >>> found[["means", "means_lower", "means_upper"]].to_array()[:, 0].to_numpy().round()
    array([[ 2., 30.],
           [ 2., 28.],
           [ 2., 32.]])
    """
    source = open_source(matrix, layer)
    wanted = _positions(source, columns)
    spec = as_spec(2 if spec is None else spec)
    refuse_regression(spec, "sample_columns")
    if not spec.is_proper:
        raise ValueError("the priors must be proper to be sampled. Use fit_columns for flat ones.")
    one_of(method, "method", METHODS)
    whole(draws, "draws", 100)
    given = exposure_of(matrix, exposure)
    scale = None if given is None else as_exposure(given, source.n)
    entropy = entropy_of(random_seed)
    # The folder is made last, so that a refused call leaves nothing behind.
    folder = None if out is None else _folder(out)
    rows: list[dict[str, Any]] = []
    with progress_bar("posteriors", progressbar, unit="columns") as advance:
        try:
            for position in wanted:
                rng = stream(entropy, position)
                file = None if folder is None else folder / f"column-{position:05d}.nc"
                rows.append(_row(source, position, scale, spec, method, draws, file, rng))
                if rows[-1].get("reason") == _INTERRUPTED:
                    # sample() keeps what it has, but a user who stops it wants all to stop.
                    _log.warning("interrupted; keeping the %d columns that are done", len(rows) - 1)
                    break
                advance(len(rows), len(wanted))
        except KeyboardInterrupt:
            if not rows:
                raise
            _log.warning("interrupted; keeping the %d columns that are done", len(rows))
    return _as_dataset(rows, source.names[wanted[: len(rows)]], spec)


def _positions(source: Source, columns: Sequence[Hashable]) -> list[int]:
    wanted = as_names(columns)
    index: dict[Any, list[int]] = {}
    for at, name in enumerate(source.names.tolist()):
        index.setdefault(name, []).append(at)
    for name in wanted:
        if name not in index:
            raise ValueError(
                f"there is no column {name!r} among the {source.names.size} of the matrix."
            )
        if len(index[name]) > 1:
            raise ValueError(
                f"{len(index[name])} columns of the matrix are called {name!r}. Make the names "
                "unique."
            )
    if not wanted:
        raise ValueError("columns is empty. Name the columns whose posterior is wanted.")
    return [index[name][0] for name in wanted]


def _folder(out: str | os.PathLike[str]) -> Path:
    """Folder for the trees, made if it is not there."""
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out must be the name of a folder; got {out!r}.")
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"{folder}: this is a file. Name a folder as out.") from None
    except OSError as error:
        raise ValueError(
            f"{folder}: cannot be made ({error.strerror or error}). Name a folder in one that may "
            "be written to."
        ) from None
    return folder


def _row(
    source: Source,
    position: int,
    exposure: NDArray[np.float64] | None,
    spec: MixtureSpec,
    method: str,
    draws: int,
    file: Path | None,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What is told of one column."""
    try:
        counts = Counts(column_of(source, position), exposure)
    except ValueError as error:
        return {"reason": str(error)}
    kept = None
    if file is not None and file.exists():
        kept = _kept(file, counts, spec.resolve(counts), method, draws)
    if kept is not None:
        sampled: _Sampled = kept, float(kept.attrs.get("k_hat", np.nan)), ""
    else:
        sampled = _sampled(counts, spec, method, draws, rng)
    tree, k_hat, doubt = sampled
    if tree is None:
        return {"reason": doubt, "k_hat": k_hat}
    if was_interrupted(tree):
        return {"reason": _INTERRUPTED, "k_hat": k_hat}
    if file is not None and kept is None:
        tree.attrs[_ASKED] = method
        save(tree, file)
    reading = read(tree)
    diagnosis = diagnose_reading(reading)
    row: dict[str, Any] = {
        "method": _method_of(tree),
        "k_hat": k_hat,
        "density_ok": diagnosis.density_ok,
        "components_ok": diagnosis.components_ok,
        "findings": ", ".join(sorted(diagnosis.findings)),
    }
    for name in PARAMETERS:
        numbers = getattr(reading.draws, name).reshape(-1, spec.n_components)
        lower, upper = np.quantile(numbers, _INTERVAL, axis=0)
        row |= {name: numbers.mean(axis=0), f"{name}_sd": numbers.std(axis=0, ddof=1)}
        row |= {f"{name}_lower": lower, f"{name}_upper": upper}
    return row


def _sampled(
    counts: Counts, spec: MixtureSpec, method: str, draws: int, rng: np.random.Generator
) -> _Sampled:
    k_hat = np.nan
    if method != "nuts":
        tried = approximate(counts, spec.resolve(counts), _CHAINS * draws, rng)
        k_hat = tried.k_hat
        if tried.tree is not None or method == "laplace":
            return tried.tree, k_hat, tried.doubt
    tree = sample(counts, spec, draws=draws, chains=_CHAINS, random_seed=rng, progressbar=False)
    if np.isfinite(k_hat):
        tree.attrs["k_hat"] = k_hat
    return tree, k_hat, ""


def _method_of(tree: MixtureTree) -> str:
    return "laplace" if "importance_ess" in tree.attrs else "nuts"


def _kept(
    file: Path, counts: Counts, resolved: MixtureSpec, method: str, draws: int
) -> MixtureTree | None:
    """Tree of a file; None if its sampling was interrupted, a ValueError if it is another."""
    tree = load(file)
    try:
        differing = difference_to(read(tree), counts)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{file}: this is no posterior of sample_columns ({error}). Delete it."
        ) from None
    if not differing and tree.attrs.get("spec") != json.dumps(resolved.to_dict()):
        differing = "the priors differ"
    if differing:
        raise ValueError(
            f"{file} is the posterior of other counts or priors ({differing}). Name another "
            "folder, or delete it."
        )
    if was_interrupted(tree):
        # An earlier release saved such trees.
        return None
    shape = tuple(tree["posterior"].sizes[dim] for dim in ("chain", "draw"))
    if shape != (_CHAINS, draws):
        raise ValueError(
            f"{file} holds {shape[0]} chains of {shape[1]} draws, but {_CHAINS} of draws={draws} "
            "are asked for. Name another folder, or delete it."
        )
    found = _method_of(tree)
    # Earlier releases did not note what was asked for, and either may come of "auto".
    asked = tree.attrs.get(_ASKED, method if method == "auto" else found)
    if asked != method:
        raise ValueError(
            f"{file} was made by {found!r} for method={asked!r}, but method={method!r} is asked "
            "for. Name another folder, or delete it."
        )
    return tree


def _as_dataset(rows: list[dict[str, Any]], names: NDArray[Any], spec: MixtureSpec) -> xr.Dataset:
    k = spec.n_components
    data: dict[str, Any] = {
        name: (
            ("column", "mixture_component"),
            np.array([row.get(name, np.full(k, np.nan)) for row in rows]),
        )
        for name in _PER_COMPONENT
    }
    for name in ("method", "findings", "reason"):
        data[name] = ("column", np.array([row.get(name, "") for row in rows], dtype=np.str_))
    for name in ("density_ok", "components_ok"):
        data[name] = ("column", np.array([row.get(name, False) for row in rows]))
    data["k_hat"] = ("column", np.array([row.get("k_hat", np.nan) for row in rows]))
    coords = {"column": names, "mixture_component": np.arange(k)}
    return xr.Dataset(data, coords=coords, attrs={"spec": json.dumps(spec.to_dict())})
