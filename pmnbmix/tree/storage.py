"""Trees as netCDF files; nothing in a file is ever run."""

from __future__ import annotations

import io
import os
from pathlib import Path

import h5netcdf
import h5py
import xarray as xr

from pmnbmix.files import as_file, write_whole
from pmnbmix.hdf5 import survey
from pmnbmix.tree.checks import group
from pmnbmix.tree.reading import read
from pmnbmix.tree.writing import MixtureTree

# A file that unpacks to more than this is refused.
_LARGEST_FILE = 2**34
# A tree of sample() has about ten groups of ten variables; one of thousands takes minutes to open.
_MOST_GROUPS = 100
_MOST_VARIABLES = 2_000
_NEEDED_GROUPS = ("posterior", "unique_rows")


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
        If ``tree`` is no DataTree, or ``path`` no path.
    ValueError
        If the folder does not exist or cannot be written to, or no file can have that name.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> nb.save(tree, "crabs.nc")
    >>> nb.load("crabs.nc").attrs["digest_of_counts"] == counts.digest
    True
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"save needs an xarray.DataTree; got {type(tree).__name__}.")
    # A bad path is refused here, because write_whole would refuse it only after the work.
    file = as_file(path)
    # The file is made in memory first, because HDF5 may end the process if the disk is full.
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
        If ``path`` is no path.
    ValueError
        If the file is missing, is no netCDF file of this package, unpacks to over 16 GB,
        leads to other files, or holds over 100 groups or 2,000 variables.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> nb.save(tree, "crabs.nc")
    >>> loaded = nb.load("crabs.nc")
    >>> loaded["posterior"].equals(tree["posterior"])
    True
    """
    file = as_file(path)
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file. Check the path.")
    try:
        # The content is checked before the groups are read, which may take all memory.
        _check_content(file)
        content = _read_groups(file)
    # h5netcdf raises an AttributeError if a list of dimensions is damaged.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{file}: this is not a readable netCDF file of draws ({error}). "
            "Load what pmnbmix.save or a run has written."
        ) from None
    tree = MixtureTree.from_dict(content)
    try:
        if "optimizer_result" in tree.children:
            # This is a point fit, which has one draw and no rows.
            read(tree)
            return tree
        for name in _NEEDED_GROUPS:
            group(tree, name, "sample()")
        n_rows = read(tree).table.values.size
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file}: this file holds no posterior of a mixture ({error})") from None
    if n_rows == 0:
        raise ValueError(f"{file}: this file holds no counts.")
    return tree


def _read_groups(file: Path) -> dict[str, xr.Dataset]:
    """Read every group of a netCDF file, by its path.

    `xarray.open_datatree` gives the same but takes twice the time, because it opens each variable
    anew for each of its properties.
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
                    # xarray tells texts from other objects by this type.
                    {"dtype": h5py.check_vlen_dtype(variable.dtype) or variable.dtype},
                )
                for name, variable in part.variables.items()
            }
            content[path] = xr.decode_cf(xr.Dataset(variables, attrs=dict(part.attrs)))
            ahead += [(f"{path.rstrip('/')}/{name}", child) for name, child in part.groups.items()]
    # Numbers that were stored in smaller types have been unpacked only now.
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
