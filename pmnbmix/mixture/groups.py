"""Whether the groups of a tree still belong together, before any of them is read.

Cut or sorted apart, they would be taken together by place all the same: wrong without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# These groups have a value for each draw of the posterior, and are read together with it.
_OF_DRAWS = ("log_likelihood_unique", "log_prior", "relabelling", "sample_stats")
_SAMPLE = ("chain", "draw")
_WHOLE = (
    "Select draws of the whole tree, as in tree.isel(draw=slice(100, None)), not of a group of it."
)


def refuse_edited_apart(tree: xr.DataTree) -> None:
    """Raise a ValueError if a group has other draws than the posterior."""
    for name in _OF_DRAWS:
        if name in tree.children and set(_SAMPLE) & set(tree.children[name].sizes):
            refuse_other_draws(tree, name)


def refuse_other_draws(tree: xr.DataTree, name: str) -> None:
    """Raise a ValueError if one group has no chains or draws, or others than the posterior."""
    node, posterior = tree.children[name], tree.children.get("posterior")
    if not set(_SAMPLE) <= set(node.sizes):
        raise ValueError(
            f"{name} has dimensions {tuple(map(str, node.sizes))}; expected chain and draw among "
            "them. Keep both, as in tree.isel(chain=[0])."
        )
    if posterior is None or not set(_SAMPLE) <= set(posterior.sizes):
        # The posterior is checked later by itself, with an error that says more.
        return
    found, own = (tuple(group.sizes[dim] for dim in _SAMPLE) for group in (node, posterior))
    if found != own:
        raise ValueError(
            f"{name} has (chain, draw) = {found}, but the posterior has {own}. {_WHOLE}"
        )
    for dim in _SAMPLE:
        if dim not in node.coords or dim not in posterior.coords:
            continue
        here, there = node.coords[dim].values, posterior.coords[dim].values
        if not np.array_equal(here, there):
            place = int(np.flatnonzero(here != there)[0])
            raise ValueError(
                f"{name} has {dim} {here[place]} at place {place}, where the posterior has "
                f"{there[place]}. {_WHOLE}"
            )


def refuse_other_order(node: xr.DataTree, name: str) -> None:
    """Raise a ValueError if the unique rows of a group are not all there and in order."""
    if "unique_row" not in node.coords:
        return
    rows = np.atleast_1d(node.coords["unique_row"].values)
    wrong = np.flatnonzero(rows != np.arange(rows.size))
    if wrong.size:
        raise ValueError(
            f"{name} has unique_row {rows[wrong[0]]} at place {wrong[0]}; expected 0 to "
            f"{rows.size - 1} in order, by which observations find their row. Take the tree as "
            "sample() made it; for fewer rows, fit the counts that are left."
        )


def columns_of_rows(rows: xr.Dataset) -> list[Floats]:
    """Value, exposure and frequency of the group ``unique_rows``, finite numbers of every row."""
    columns = []
    for name in ("value", "exposure", "frequency"):
        if name not in rows or rows[name].dims != ("unique_row",):
            found = rows[name].dims if name in rows else f"only {list(rows.data_vars)}"
            raise ValueError(
                f"unique_rows should have {name} of dimensions ('unique_row',); it has {found}. "
                "Take the tree as sample() made it."
            )
        column = np.asarray(rows[name].values, np.float64)
        if not np.isfinite(column).all():
            row = np.flatnonzero(~np.isfinite(column))[0]
            raise ValueError(
                f"{name} of unique_row {row} is {column[row]}; expected a finite number. Take the "
                "tree as sample() made it."
            )
        columns.append(column)
    return columns


def refuse_impossible(weights: Floats, means: Floats, dispersions: Floats) -> None:
    """Raise a ValueError if draws from elsewhere are not parameters of a mixture."""
    if not weights.shape == means.shape == dispersions.shape:
        raise ValueError(
            f"weights, means and dispersions have shapes {weights.shape}, {means.shape} and "
            f"{dispersions.shape}; expected the same (chain, draw, component)."
        )
    if weights.size == 0:
        raise ValueError(f"there are no draws: shape {weights.shape}.")
    checks = {
        "weights": (weights, weights >= 0.0, "0 or more"),
        "means": (means, (means >= 0.0) & np.isfinite(means), "0 or more and finite"),
        "dispersions": (
            dispersions,
            (dispersions >= 0.0) & np.isfinite(dispersions),
            "0 or more and finite",
        ),
    }
    for name, (array, good, expected) in checks.items():
        if not good.all():
            chain, draw, j = np.argwhere(~good)[0]
            raise ValueError(
                f"{name} of chain {chain}, draw {draw}, component {j} is {array[chain, draw, j]}; "
                f"expected {expected}. Check names: logarithms and inverses have keys of their own."
            )
    off = np.abs(weights.sum(axis=-1) - 1.0) > 1e-6
    if off.any():
        chain, draw = np.argwhere(off)[0]
        raise ValueError(
            f"weights of chain {chain}, draw {draw} sum to {weights[chain, draw].sum()}; "
            "expected 1."
        )


def refuse_no_number(array: Floats, what: str) -> None:
    """Raise a ValueError if log densities (chain, draw, ...) are NaN or plus infinity."""
    # The sum is below infinity only if every term is; it takes one pass and no further array.
    with np.errstate(invalid="ignore", over="ignore"):
        if array.sum() < np.inf:
            return
    bad = np.argwhere(~(array < np.inf))
    if len(bad):
        chain, draw, *rest = map(int, bad[0])
        of_row = f", unique_row {rest[0]}" if rest else ""
        raise ValueError(
            f"{what} of chain {chain}, draw {draw}{of_row} is {array[tuple(bad[0])]}; expected a "
            "log density, below infinity. Take the tree as it was sampled or saved, or sample "
            "again."
        )


def difference(
    one: CountTable, other: CountTable, names: tuple[str, str], by_value: bool = False
) -> str:
    """Say in which row two tables differ first; empty if they are the same.

    Parameters
    ----------
    one, other : CountTable
        Rows sorted and distinct, as `Counts` makes them.
    names : tuple of str
        What the two are called.
    by_value : bool
        Whether exposures are left out of the comparison, because they are not known.

    Returns
    -------
    str
    """
    if by_value:
        one, other = _by_value(one), _by_value(other)
    columns = ("values", "exposure", "frequency")
    if all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns):
        return ""
    times = [
        dict(zip(zip(table.values, table.exposure, strict=True), table.frequency, strict=True))
        for table in (one, other)
    ]
    for row in sorted(times[0].keys() | times[1].keys()):
        first, second = (found.get(row, 0.0) for found in times)
        if first != second:
            at = "" if by_value else f" at exposure {row[1]:g}"
            return (
                f"count {row[0]:.0f}{at} comes {first:.0f} times in {names[0]}, {second:.0f} times "
                f"in {names[1]}"
            )
    return f"rows are in another order in {names[0]} than in {names[1]}"


def _by_value(table: CountTable) -> CountTable:
    values, which = np.unique(table.values, return_inverse=True)
    return CountTable.plain(values, np.ones(values.size), np.bincount(which, table.frequency))
