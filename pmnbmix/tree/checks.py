"""Checks that a tree holds draws of a mixture, and that its groups still belong together.

Groups are matched by place, so groups that were cut or sorted apart would give wrong results
without an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# These groups have values for each draw of the posterior and are read beside it.
_OF_DRAWS = ("log_likelihood_unique", "log_prior", "relabelling", "sample_stats")
_SAMPLE = ("chain", "draw")
AS_MADE = "Take the tree as sample() made it"


def group(tree: xr.DataTree, name: str, maker: str) -> xr.DataTree:
    """Return a group of a tree, or raise an error that says which call makes it."""
    import xarray as xr

    if not isinstance(tree, xr.DataTree):
        raise TypeError(
            f"expected an xarray.DataTree, as {maker} returns; got {type(tree).__name__}."
        )
    if name not in tree.children:
        raise ValueError(
            f"the tree has no group {name!r}; it has {list(tree.children)}. "
            f"{maker} makes that group."
        )
    return tree.children[name]


def refuse_edited_apart(tree: xr.DataTree) -> None:
    """Raise a ValueError if a group has other draws than the posterior."""
    for name in _OF_DRAWS:
        node = tree.children.get(name)
        if node is None or not set(_SAMPLE) & set(node.sizes):
            continue
        if not set(_SAMPLE) <= set(node.sizes):
            raise ValueError(
                f"{name} has dimensions {tuple(map(str, node.sizes))}; expected chain and draw "
                "among them. Keep both, as in tree.isel(chain=[0])."
            )
        differs = _other_draws(node, tree.children["posterior"])
        if differs:
            raise ValueError(
                f"{name} has {differs}. Select draws of the whole tree, as in "
                "tree.isel(draw=slice(100, None)), not of a group of it."
            )


def _other_draws(node: xr.DataTree, posterior: xr.DataTree) -> str:
    """Say how the draws of a group differ from those of the posterior; empty if they do not."""
    found, own = (tuple(one.sizes[dim] for dim in _SAMPLE) for one in (node, posterior))
    if found != own:
        return f"(chain, draw) = {found}, but the posterior has {own}"
    for dim in _SAMPLE:
        if dim in node.coords and dim in posterior.coords:
            here, there = node.coords[dim].values, posterior.coords[dim].values
            for at in np.flatnonzero(here != there)[:1]:
                return f"{dim} {here[at]} at place {at}, where the posterior has {there[at]}"
    return ""


def refuse_other_order(node: xr.DataTree, name: str) -> None:
    """Raise a ValueError if the unique rows of a group are not all there and in order."""
    if "unique_row" not in node.coords:
        return
    rows = np.atleast_1d(node.coords["unique_row"].values)
    wrong = np.flatnonzero(rows != np.arange(rows.size))
    if wrong.size:
        raise ValueError(
            f"{name} has unique_row {rows[wrong[0]]} at place {wrong[0]}; expected 0 to "
            f"{rows.size - 1} in order, by which observations find their row. {AS_MADE}; for "
            "fewer rows, fit the counts that are left."
        )


def columns_of_rows(rows: xr.Dataset) -> list[Floats]:
    """Return value, exposure and frequency of the group ``unique_rows``; all must be finite."""
    columns = []
    for name in ("value", "exposure", "frequency"):
        if name not in rows or rows[name].dims != ("unique_row",):
            found = rows[name].dims if name in rows else f"only {list(rows.data_vars)}"
            raise ValueError(
                f"unique_rows should have {name} of dimensions ('unique_row',); it has {found}. "
                f"{AS_MADE}."
            )
        column = np.asarray(rows[name].values, np.float64)
        for row in np.flatnonzero(~np.isfinite(column))[:1]:
            raise ValueError(
                f"{name} of unique_row {row} is {column[row]}; expected a finite number. {AS_MADE}."
            )
        columns.append(column)
    return columns


def refuse_other_observations(row: NDArray[Any], frequency: Floats) -> None:
    """Raise a ValueError if a row does not have as many observations as its frequency says."""
    if row.ndim != 1 or row.dtype.kind not in "iu" or row.min(initial=0) < 0:
        raise ValueError(
            f"row_of_obs of unique_rows has shape {row.shape} and type {row.dtype}; expected the "
            f"row of each observation, 0 or above. {AS_MADE}."
        )
    times = np.bincount(row, minlength=frequency.size)
    if not np.array_equal(times, frequency):
        raise ValueError(
            f"row_of_obs has {row.size} observations in {np.count_nonzero(times)} rows, but by "
            f"frequency there are {frequency.sum():.0f} in {frequency.size}, or others. {AS_MADE}; "
            "for fewer observations, fit those."
        )


def refuse_impossible(weights: Floats, means: Floats, dispersions: Floats) -> None:
    """Raise a ValueError if draws from elsewhere are no parameters of a mixture."""
    if not weights.shape == means.shape == dispersions.shape:
        raise ValueError(
            f"weights, means and dispersions have shapes {weights.shape}, {means.shape} and "
            f"{dispersions.shape}; expected the same (chain, draw, component)."
        )
    if weights.size == 0:
        raise ValueError(f"there are no draws: shape {weights.shape}.")
    finite = "0 or more and finite"
    for name, array, below, expected in (
        # No comparison holds for NaN. An infinite weight is found by the sum of the weights.
        ("weights", weights, np.inf, "0 or more"),
        ("means", means, np.finfo(np.float64).max, finite),
        ("dispersions", dispersions, np.finfo(np.float64).max, finite),
    ):
        for chain, draw, j in np.argwhere(~((array >= 0.0) & (array <= below)))[:1]:
            raise ValueError(
                f"{name} of chain {chain}, draw {draw}, component {j} is {array[chain, draw, j]}; "
                f"expected {expected}. Check names: logarithms and inverses have keys of their own."
            )
    total = weights.sum(axis=-1)
    for chain, draw in np.argwhere(np.abs(total - 1.0) > 1e-6)[:1]:
        raise ValueError(
            f"weights of chain {chain}, draw {draw} sum to {total[chain, draw]}; expected 1."
        )


def refuse_no_number(array: Floats, what: str) -> None:
    """Raise a ValueError if log densities (chain, draw, ...) are NaN or plus infinity."""
    # A sum is below infinity only if all terms are, and it needs no second array of this size.
    with np.errstate(invalid="ignore", over="ignore"):
        if array.sum() < np.inf:
            return
    for bad in np.argwhere(~(array < np.inf))[:1]:
        chain, draw, *rest = map(int, bad)
        of_row = f", unique_row {rest[0]}" if rest else ""
        raise ValueError(
            f"{what} of chain {chain}, draw {draw}{of_row} is {array[tuple(bad)]}; expected a log "
            "density, below infinity. Take the tree as it was sampled or saved, or sample again."
        )
