"""The tree that holds a posterior: how it is laid out, and what is added to it on request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import gather
from pmnbmix.mixture.row_density import KEPT_BYTES, RowDensity
from pmnbmix.tree.checks import group
from pmnbmix.tree.reading import DIMS, Order, Reading, component_dims, read

Floats = NDArray[np.float64]

# Results per observation are stored unasked up to the first size, and made on request up to the
# second.
STORED_BYTES = KEPT_BYTES
REQUESTED_BYTES = 1_000_000_000
# These groups have the draws of the posterior, with the same labels.
_LABELLED_GROUPS = ("posterior", "log_prior")
# These groups are averages over draws that depend on the labels, so new labels make them invalid.
_AVERAGED_GROUPS = ("responsibilities",)


class MixtureTree(xr.DataTree):  # type: ignore[no-untyped-call]
    """A DataTree that says which call to make if the log likelihood is too large to be kept.

    ArviZ's ``loo``, ``compare`` and ``psense`` read ``tree.log_likelihood``, one value per
    observation. If that group was left out, a plain tree would answer "not found".
    """

    __slots__ = ()

    @property
    def log_likelihood(self) -> xr.DataTree:
        """The group of log densities per observation."""
        if "log_likelihood" in self.children:
            return self.children["log_likelihood"]
        if "unique_rows" not in self.children:
            raise AttributeError("this tree has no log likelihood")
        raise ValueError(
            "log_likelihood was not stored, because one number per draw and observation takes "
            f"{_expanded_bytes(self) / 1e6:.0f} MB. Call pmnbmix.loo(tree), which is exact on "
            "repeated rows, or tree = pmnbmix.add_log_likelihood(tree) first."
        )


def coordinates(draws: Draws) -> dict[str, NDArray[np.intp]]:
    """Numbers of the chains, draws and components."""
    return {dim: np.arange(size) for dim, size in zip(DIMS, draws.means.shape, strict=True)}


def assemble(
    counts: Counts,
    draws: Draws,
    groups: dict[str, xr.Dataset],
    density: RowDensity | None = None,
) -> MixtureTree:
    """Lay out draws and what belongs to them as a tree.

    Parameters
    ----------
    counts : Counts
    draws : Draws
    groups : dict of str to Dataset
        Further groups: sample_stats, log_prior, modes, prior, ...
    density : RowDensity, optional
        Of the unique rows under the draws, if it has been made.

    Returns
    -------
    MixtureTree
        With groups ``posterior``, ``unique_rows``, ``observed_data``, ``constant_data`` and, each
        below 100 MB, ``log_likelihood`` per observation and, if some rows were seen more than once,
        ``log_likelihood_unique`` (each unique row once, with its frequency as coordinate).
    """
    coords, table = coordinates(draws), counts.table
    sample = {dim: coords[dim] for dim in ("chain", "draw")}
    posterior = xr.Dataset(
        {name: (DIMS, getattr(draws, name)) for name in PARAMETERS}, coords=coords
    )
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
    content = {"posterior": posterior, **groups}
    if density is None:
        density = RowDensity(draws, table)
    of_rows = None
    if density.kept is not None:
        of_rows = xr.DataArray(
            density.kept,
            dims=("chain", "draw", "unique_row"),
            coords={**sample, "unique_row": rows, "frequency": ("unique_row", table.frequency)},
            name=counts.variable,
        )
        content["log_likelihood_unique"] = of_rows.to_dataset()
    content["unique_rows"] = unique
    if 8 * counts.n <= STORED_BYTES:
        row = counts.expanded_inverse()
        obs = {"obs": np.arange(counts.n)}
        unique["row_of_obs"] = ("obs", row)
        content["observed_data"] = xr.Dataset(
            {counts.variable: ("obs", table.values[row].astype(np.int64))}, coords=obs
        )
        content["constant_data"] = xr.Dataset(
            {"exposure": ("obs", table.exposure[row])}, coords=obs
        )
        if of_rows is not None and 8 * counts.n * draws.n_samples <= STORED_BYTES:
            content["log_likelihood"] = _of_observations(of_rows, row)
            if counts.n == counts.n_unique:
                # One can be made of the other, and ArviZ reads this one.
                del content["log_likelihood_unique"]
    return MixtureTree.from_dict(content)


def _of_observations(of_rows: xr.DataArray, row: NDArray[np.int64]) -> xr.Dataset:
    """Expand the log density of unique rows (chain, draw, unique_row) to observations."""
    return xr.Dataset(
        {of_rows.name: (("chain", "draw", "obs"), np.take(of_rows.values, row, axis=2))},
        coords={
            "chain": of_rows["chain"].values,
            "draw": of_rows["draw"].values,
            "obs": np.arange(row.size),
        },
    )


def relabelling_group(
    order: Order, cost: Floats, method: str, coords: Mapping[str, Any]
) -> xr.Dataset:
    """Lay out the permutation of each draw and its cost.

    Parameters
    ----------
    order : ndarray of int, shape (chain, draw, k)
        Counted from the labels that the sampler gave.
    cost : ndarray, shape (n_samples,)
    method : str
    coords : mapping
        Of chain, draw and mixture_component.

    Returns
    -------
    Dataset
    """
    return xr.Dataset(
        {
            "permutation": (DIMS, order),
            "cost": (DIMS[:2], cost.reshape(order.shape[:2])),
        },
        coords=coords,
        attrs={"method": method},
    )


def permuted_tree(reading: Reading, order: Order, cost: Floats, method: str) -> xr.DataTree:
    """Permute the components in every group of a tree that has them.

    Parameters
    ----------
    reading : Reading
    order : ndarray of int, shape (chain, draw, k)
        Counted from the labels of the tree.
    cost : ndarray, shape (n_samples,)
    method : str

    Returns
    -------
    xarray.DataTree
        A new one; what does not depend on labels is shared with the old.
    """
    new = reading.tree.copy()
    for name in _LABELLED_GROUPS:
        if name in new.children:
            found = new[name].to_dataset()
            new[name].dataset = permuted(found, order, component_dims(found, reading.names))
    for name in _AVERAGED_GROUPS:
        if name in new.children:
            del new[name]
    known = new["posterior"].to_dataset().coords
    coords = {dim: known[dim] for dim in DIMS if dim in known}
    past = gather(reading.order, order)
    new["relabelling"] = xr.DataTree(relabelling_group(past, cost, method, coords))
    return new


def permuted(dataset: xr.Dataset, order: Order, dims: Iterable[str] = DIMS[2:]) -> xr.Dataset:
    """Permute every variable that has draws and components, which may have several names."""
    new = dataset.copy()
    for name, variable in dataset.data_vars.items():
        for dim in set(dims).intersection(map(str, variable.dims)):
            if not {"chain", "draw"} <= set(variable.dims):
                continue
            array = new[name].transpose("chain", "draw", ..., dim)
            wide = np.expand_dims(order, tuple(range(2, array.ndim - 1)))
            values = np.take_along_axis(np.asarray(array.values), wide, axis=-1)
            new[name] = array.copy(data=values).transpose(*variable.dims)
    return new


def as_mixture_tree(tree: xr.DataTree) -> MixtureTree:
    """Return the tree itself if it is one already; xarray's operations give plain trees."""
    if isinstance(tree, MixtureTree):
        return tree
    return MixtureTree.from_dict(
        {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    )


def add_log_likelihood(tree: xr.DataTree) -> MixtureTree:
    """Add the log likelihood of every single observation, for ArviZ's own functions.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    MixtureTree
        A new tree with the group ``log_likelihood``, dimensions (chain, draw, obs).

    Raises
    ------
    ValueError
        If it would take more than 1 GB (`loo` gives the same number from the unique rows), or if
        groups of the tree were edited apart.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> tree = nb.add_log_likelihood(tree)
    >>> dict(tree["log_likelihood"].sizes)
    {'chain': 4, 'draw': 1000, 'obs': 173}
    >>> import arviz as az
    >>> round(az.loo(tree).elpd) == round(nb.loo(tree).elpd)
    True
    """
    reading = read(tree)
    refuse_above_limit(
        8.0 * reading.table.n * reading.draws.n_samples,
        "log likelihood",
        "pmnbmix.loo(tree) gives ArviZ's result from the unique rows.",
    )
    density = reading.density
    log_density = density.kept
    if log_density is None:
        log_density = density.draws.log_density(reading.table)
    coords = {dim: tree["posterior"][dim].values for dim in ("chain", "draw")}
    of_rows = xr.DataArray(
        log_density, dims=("chain", "draw", "unique_row"), coords=coords, name=reading.variable
    )
    expanded = _of_observations(of_rows, reading.row_of_observation)
    return with_group(tree, "log_likelihood", expanded)


def with_group(tree: xr.DataTree, name: str, dataset: xr.Dataset) -> MixtureTree:
    """Return a tree with another group; the rest is shared with the old one."""
    new = as_mixture_tree(tree.copy())
    new[name] = xr.DataTree(dataset)
    return new


def refuse_above_limit(size: float, what: str, instead: str) -> None:
    """Raise a ValueError if a result for every observation takes more than 1 GB."""
    if size > REQUESTED_BYTES:
        raise ValueError(
            f"the {what} of every observation takes {size / 1e9:.1f} GB, above the limit of "
            f"{REQUESTED_BYTES / 1e9:.0f} GB. {instead}"
        )


def _expanded_bytes(tree: xr.DataTree) -> float:
    """Size of the log likelihood if there is one value for each draw and observation."""
    n = float(group(tree, "unique_rows", "sample()").to_dataset()["frequency"].sum())
    draws = group(tree, "posterior", "sample()").to_dataset().sizes
    return 8.0 * n * draws.get("chain", 1) * draws.get("draw", 1)
