"""Draws of mixture parameters as arrays, whichever sampler made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts, CountTable
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import gather
from pmnbmix.mixture.rows import draws_log_density, draws_responsibilities

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# Responsibilities of all draws are made in blocks of rows that take at most this much memory.
_BLOCK_BYTES = 100_000_000


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of weights, means and dispersions, each (n_chains, n_draws, n_components)."""

    weights: Floats
    means: Floats
    dispersions: Floats

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.means.shape[-1])

    @property
    def n_samples(self) -> int:
        """Number of draws in all chains together."""
        return int(self.means.shape[0] * self.means.shape[1])

    def permuted(self, order: NDArray[np.intp]) -> Draws:
        """Permute the components of each draw by ``order`` (chain, draw, k)."""
        return Draws(
            *(gather(array, order) for array in (self.weights, self.means, self.dispersions))
        )

    def log_density(self, table: CountTable) -> Floats:
        """Log density of every row under every draw, (n_chains, n_draws, n_unique)."""
        rows = draws_log_density(table, *self._flat())
        return rows.reshape(*self.means.shape[:2], -1)

    def responsibility_blocks(self, table: CountTable) -> Iterator[tuple[slice, Floats]]:
        """Responsibilities (n_samples, rows, n_components), a block of rows at a time."""
        log_weights, means, inv_disps = self._flat()
        per_row = 8 * means.size
        step = max(1, _BLOCK_BYTES // per_row)
        for first in range(0, table.values.size, step):
            rows = slice(first, first + step)
            part = CountTable(table.values[rows], table.exposure[rows], table.frequency[rows])
            yield rows, draws_responsibilities(part, log_weights, means, inv_disps)

    def _flat(self) -> tuple[Floats, Floats, Floats]:
        k = self.n_components
        with np.errstate(divide="ignore", over="ignore"):
            return (
                np.ascontiguousarray(np.log(self.weights).reshape(-1, k)),
                np.ascontiguousarray(self.means.reshape(-1, k)),
                np.ascontiguousarray((1.0 / self.dispersions).reshape(-1, k)),
            )


def read_draws(tree: xr.DataTree) -> Draws:
    """Read the draws from the ``posterior`` group of a tree.

    Raises
    ------
    TypeError
        Where ``tree`` is no DataTree.
    ValueError
        Where the group, a variable or a dimension is missing.
    """
    posterior = group(tree, "posterior", "sample()").to_dataset()
    arrays = []
    for name in PARAMETERS:
        if name not in posterior:
            raise ValueError(
                f"the posterior has no variable {name!r}; it has {list(posterior.data_vars)}. "
                "Rename its variables to weights, means and dispersions."
            )
        variable = posterior[name]
        wanted = ("chain", "draw", "mixture_component")
        if set(variable.dims) != set(wanted):
            raise ValueError(
                f"posterior variable {name!r} has dimensions {variable.dims}; expected {wanted}."
            )
        arrays.append(np.asarray(variable.transpose(*wanted).values, dtype=np.float64))
    return Draws(*arrays)


def read_table(tree: xr.DataTree) -> CountTable:
    """Read the unique rows from the ``unique_rows`` group of a tree."""
    rows = group(tree, "unique_rows", "sample()").to_dataset()
    return CountTable(
        *(np.asarray(rows[name].values, np.float64) for name in ("value", "exposure", "frequency"))
    )


def row_of_observation(tree: xr.DataTree) -> NDArray[np.int64]:
    """Unique row of each observation; in the order of the rows where the counts' was not kept."""
    rows = group(tree, "unique_rows", "sample()").to_dataset()
    if "row_of_obs" in rows:
        return np.asarray(rows["row_of_obs"].values, dtype=np.int64)
    frequency = rows["frequency"].values.astype(np.int64)
    return np.repeat(np.arange(frequency.size), frequency)


def fingerprint(counts: Counts) -> dict[str, float]:
    """Attributes of a tree by which results of other counts can be told apart."""
    table = counts.table
    return {
        "n_observations": counts.n,
        "n_unique": counts.n_unique,
        "sum_of_counts": float(table.frequency @ table.values),
        "sum_of_exposure": float(table.frequency @ table.exposure),
    }


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
