"""The DataTree that holds a posterior: how it is laid out, saved and loaded."""

from __future__ import annotations

import io
import os
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.files import as_file, write_whole
from pmnbmix.hdf5 import survey
from pmnbmix.mixture.draws import (
    Draws,
    group,
    read_draws,
    read_log_density,
    read_table,
    row_of_observation,
)
from pmnbmix.mixture.params import PARAMETERS

Floats = NDArray[np.float64]

# What is stored per observation without being asked for, and what is made on request, at most.
STORED_BYTES = 100_000_000
REQUESTED_BYTES = 1_000_000_000
# A file that unpacks to more than this is refused.
_LARGEST_FILE = 2**34
# What sample() makes has ten groups of ten variables; a tree of thousands takes minutes to open.
_MOST_GROUPS = 100
_MOST_VARIABLES = 2_000
_NEEDED_GROUPS = ("posterior", "unique_rows", "log_likelihood_unique")


class MixtureTree(xr.DataTree):  # type: ignore[no-untyped-call]
    """A DataTree that says which call to make where the log likelihood is too large to be kept.

    ArviZ's ``loo``, ``compare`` and ``psense`` read ``tree.log_likelihood`` one value per
    observation. Where that group was left out, a plain tree would answer "not found".
    """

    __slots__ = ()

    @property
    def log_likelihood(self) -> xr.DataTree:
        """The group of log densities per observation."""
        if "log_likelihood" in self.children:
            return self.children["log_likelihood"]
        if "log_likelihood_unique" not in self.children:
            raise AttributeError("this tree has no log likelihood")
        raise ValueError(
            "log_likelihood was not stored, because one number per draw and observation takes "
            f"{_expanded_bytes(self) / 1e6:.0f} MB. Call pmnbmix.loo(tree), which is exact on "
            "repeated rows, or tree = pmnbmix.add_log_likelihood(tree) first."
        )


def assemble(counts: Counts, draws: Draws, groups: dict[str, xr.Dataset]) -> MixtureTree:
    """Lay out draws and what belongs to them as a tree.

    Parameters
    ----------
    counts : Counts
    draws : Draws
    groups : dict of str to Dataset
        Further groups: sample_stats, log_prior, modes, prior, ...

    Returns
    -------
    MixtureTree
        With groups ``posterior``, ``log_likelihood_unique`` (a row each time it is distinct, with
        its frequency as coordinate), ``unique_rows``, ``observed_data``, ``constant_data`` and,
        below 100 MB, ``log_likelihood`` per observation.
    """
    n_chains, n_draws, k = draws.means.shape
    sample = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    dims = ("chain", "draw", "mixture_component")
    posterior = xr.Dataset(
        {name: (dims, getattr(draws, name)) for name in PARAMETERS},
        coords={**sample, "mixture_component": np.arange(k)},
    )
    table = counts.table
    rows = np.arange(counts.n_unique)
    unique = xr.Dataset(
        {
            "value": ("unique_row", table.values),
            "exposure": ("unique_row", table.exposure),
            "frequency": ("unique_row", table.frequency),
        },
        coords={"unique_row": rows},
        attrs={"name": counts.name, "n": counts.n, "has_exposure": int(counts.has_exposure)},
    )
    log_density = xr.Dataset(
        {counts.variable: (("chain", "draw", "unique_row"), draws.log_density(table))},
        coords={**sample, "unique_row": rows, "frequency": ("unique_row", table.frequency)},
    )
    content = {
        "posterior": posterior,
        **groups,
        "log_likelihood_unique": log_density,
        "unique_rows": unique,
    }
    if 8 * counts.n <= STORED_BYTES:
        inverse = counts.expanded_inverse()
        obs = {"obs": np.arange(counts.n)}
        unique["row_of_obs"] = ("obs", inverse)
        content["observed_data"] = xr.Dataset(
            {counts.variable: ("obs", table.values[inverse].astype(np.int64))}, coords=obs
        )
        content["constant_data"] = xr.Dataset(
            {"exposure": ("obs", table.exposure[inverse])}, coords=obs
        )
    tree = MixtureTree.from_dict(content)
    if _expanded_bytes(tree) <= STORED_BYTES:
        tree = as_mixture_tree(_with_log_likelihood(tree))
    return tree


def as_mixture_tree(tree: xr.DataTree) -> MixtureTree:
    """Return the tree itself if it is one already; xarray's operations give plain trees."""
    if isinstance(tree, MixtureTree):
        return tree
    new = MixtureTree.from_dict({name: child.to_dataset() for name, child in tree.children.items()})
    new.attrs.update(tree.attrs)
    return new


def add_log_likelihood(tree: xr.DataTree) -> xr.DataTree:
    """Add the log likelihood of every single observation, for ArviZ's own functions.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    xarray.DataTree
        A new tree with the group ``log_likelihood``, dimensions (chain, draw, obs).

    Raises
    ------
    ValueError
        Where it would take more than 1 GB (`loo` gives the same number from the unique rows), or
        groups of the tree were edited apart.
    """
    refuse_above_limit(
        _expanded_bytes(tree),
        "log likelihood",
        "pmnbmix.loo(tree) gives ArviZ's result from the unique rows.",
    )
    return _with_log_likelihood(tree)


def refuse_above_limit(size: float, what: str, instead: str) -> None:
    """Raise a ValueError where a result for every observation takes more than 1 GB."""
    if size > REQUESTED_BYTES:
        raise ValueError(
            f"the {what} of every observation takes {size / 1e9:.1f} GB, above the limit of "
            f"{REQUESTED_BYTES / 1e9:.0f} GB. {instead}"
        )


def _with_log_likelihood(tree: xr.DataTree) -> xr.DataTree:
    rows, inverse = read_log_density(tree), row_of_observation(tree)
    unique = tree["log_likelihood_unique"].to_dataset()
    new = tree.copy()
    new["log_likelihood"] = xr.DataTree(
        xr.Dataset(
            {rows.name: (("chain", "draw", "obs"), np.take(rows.values, inverse, axis=2))},
            coords={
                "chain": unique["chain"].values,
                "draw": unique["draw"].values,
                "obs": np.arange(inverse.size),
            },
        )
    )
    return new


def _expanded_bytes(tree: xr.DataTree) -> float:
    rows = group(tree, "log_likelihood_unique", "sample()").to_dataset()
    n = float(rows["frequency"].sum())
    return 8.0 * n * rows.sizes.get("chain", 1) * rows.sizes.get("draw", 1)


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Save a tree as netCDF; a file of that name is replaced in one step, or not at all.

    Parameters
    ----------
    tree : xarray.DataTree
    path : path-like
        File name; .nc by custom.

    Raises
    ------
    TypeError
        Where ``tree`` is no DataTree, or ``path`` no path.
    ValueError
        Where the folder does not exist or cannot be written to, or no file can have that name.
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"save needs an xarray.DataTree; got {type(tree).__name__}.")
    # refused before the work; write_whole would do it afterwards
    file = as_file(path)
    # made in memory first: on a full disk HDF5 may end the whole process
    with io.BytesIO() as buffer:
        tree.to_netcdf(buffer, engine="h5netcdf")
        with buffer.getbuffer() as content:
            write_whole(file, content)


def load(path: str | os.PathLike[str]) -> MixtureTree:
    """Load a tree that `save` wrote. Nothing in the file is ever run.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MixtureTree
        In memory; the file is closed. A posterior, or a point estimate as a tree.

    Raises
    ------
    TypeError
        Where ``path`` is no path.
    ValueError
        Where the file is missing, is no netCDF file of this package, unpacks to over 16 GB,
        leads to other files, or holds over 100 groups or 2,000 variables.
    """
    file = as_file(path)
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file. Check the path.")
    try:
        # before it is opened as a tree, which reads every coordinate
        _check_content(file)
        content = _read_groups(file)
    # AttributeError: h5netcdf's, of a damaged list of dimensions
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{file}: this is not a readable netCDF file of draws ({error}). "
            "Load what pmnbmix.save or a run has written."
        ) from None
    tree = MixtureTree.from_dict(content)
    try:
        if "optimizer_result" in tree.children:
            # a point fit, which has one draw and no rows
            read_draws(tree)
            return tree
        for name in _NEEDED_GROUPS:
            group(tree, name, "sample()")
        draws, table = read_draws(tree), read_table(tree)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file}: this file holds no posterior of a mixture ({error})") from None
    if draws.n_samples == 0 or table.values.size == 0:
        raise ValueError(f"{file}: this file holds no draws or no counts.")
    return tree


def _read_groups(file: Path) -> dict[str, xr.Dataset]:
    """Every group of a netCDF file by its path.

    `xarray.open_datatree` gives the same, at twice the time: it opens each variable anew for each
    of its properties.
    """
    content, ahead = {}, [("/", h5netcdf.File(file, "r", decode_vlen_strings=True))]
    with ahead[0][1]:
        while ahead:
            path, part = ahead.pop(0)
            variables = {
                name: (
                    variable.dimensions,
                    variable[...],
                    dict(variable.attrs),
                    # by which xarray tells texts from other objects
                    {"dtype": h5py.check_vlen_dtype(variable.dtype) or variable.dtype},
                )
                for name, variable in part.variables.items()
            }
            content[path] = xr.decode_cf(xr.Dataset(variables, attrs=dict(part.attrs)))
            ahead += [(f"{path.rstrip('/')}/{name}", child) for name, child in part.groups.items()]
    # numbers that were stored as smaller ones are unpacked only now
    _check_size(sum(dataset.nbytes for dataset in content.values()))
    return {path: dataset.load() for path, dataset in content.items()}


def _check_content(file: Path) -> None:
    """Refuse an HDF5 file that is too large unpacked, or of too many parts to be walked through."""
    groups, variables, size = survey(file)
    _check_size(size)
    for found, most, parts in (
        (groups, _MOST_GROUPS, "groups"),
        (variables, _MOST_VARIABLES, "variables"),
    ):
        if found > most:
            raise ValueError(f"it holds {found} {parts}; at most {most} are loaded")


def _check_size(size: int) -> None:
    if size > _LARGEST_FILE:
        raise ValueError(
            f"it unpacks to {size / 1e9:.1f} GB; at most {_LARGEST_FILE / 1e9:.0f} GB are loaded"
        )
