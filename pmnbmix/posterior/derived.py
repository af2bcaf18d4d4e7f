"""What the draws say of each observation: its component, and the rate behind its count."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.mixture.density import conditional_rates
from pmnbmix.tree.reading import read
from pmnbmix.tree.writing import MixtureTree, refuse_above_limit, with_group

Floats = NDArray[np.float64]

_INSTEAD = (
    "Equal counts have equal results: ask a point fit for the distinct ones, as in "
    "em.responsibilities(values, exposure)."
)


def add_responsibilities(tree: xr.DataTree) -> MixtureTree:
    """Add the probability of each component for each observation, averaged over the posterior.

    Averages mean something only if the labels do: if the tree is relabelled and passes the
    components gate.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    MixtureTree
        A new tree with the group ``responsibilities``: ``mean`` and ``sd`` over the draws, (obs,
        mixture_component), and ``component`` (obs), the most probable one.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks a group that is needed, or the result would take more than 1 GB.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> found = nb.add_responsibilities(tree)["responsibilities"]
    >>> found["mean"].values[counts.values == 0][0].round(1)
    array([0.9, 0.1])
    >>> found["component"].values[counts.values > 5].min()
    np.int64(1)
    """
    reading = read(tree)
    draws, table = reading.draws, reading.table
    refuse_above_limit(8.0 * table.n * (2 * draws.n_components + 1), "responsibilities", _INSTEAD)
    shape = (table.values.size, draws.n_components)
    mean, sd = np.empty(shape), np.empty(shape)
    for rows, p in draws.responsibility_blocks(table):
        mean[rows], sd[rows] = p.mean(axis=0), p.std(axis=0)
    row = reading.row_of_observation
    dims = ("obs", "mixture_component")
    return with_group(
        tree,
        "responsibilities",
        xr.Dataset(
            {
                "mean": (dims, mean[row]),
                "sd": (dims, sd[row]),
                "component": ("obs", mean.argmax(axis=1)[row]),
            },
            coords={
                "obs": np.arange(row.size),
                "mixture_component": tree["posterior"]["mixture_component"].values,
            },
        ),
    )


def add_rates(tree: xr.DataTree) -> MixtureTree:
    """Add the posterior mean and standard deviation of the rate behind each count.

    Given draw and component, the rate is gamma distributed; both moments are exact but for the
    finite number of draws, and do not depend on labels.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    MixtureTree
        A new tree with the group ``rates``: ``mean`` and ``sd`` (obs), counts per unit of exposure.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks a group that is needed, or the result would take more than 1 GB.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> rates = nb.add_rates(tree)["rates"]
    >>> none, most = counts.values.argmin(), counts.values.argmax()
    >>> print(f"{rates['mean'][none]:.1f} where none was seen")
    0.3 where none was seen
    >>> counts.values[most] > rates["mean"].values[most] > counts.values.mean()
    np.True_
    """
    reading = read(tree)
    draws, table = reading.draws, reading.table
    refuse_above_limit(8.0 * table.n * 2, "rates", _INSTEAD)
    k = draws.n_components
    means, dispersions = draws.means.reshape(-1, 1, k), draws.dispersions.reshape(-1, 1, k)
    mean, sd = np.empty(table.values.size), np.empty(table.values.size)
    for rows, p in draws.responsibility_blocks(table):
        rate, within = conditional_rates(
            means, dispersions, table.values[rows, None], table.exposure[rows, None]
        )
        mean[rows] = (p * rate).sum(axis=2).mean(axis=0)
        spread = p * (within + (rate - mean[rows, None]) ** 2)
        sd[rows] = np.sqrt(spread.sum(axis=2).mean(axis=0))
    row = reading.row_of_observation
    return with_group(
        tree,
        "rates",
        xr.Dataset(
            {"mean": ("obs", mean[row]), "sd": ("obs", sd[row])},
            coords={"obs": np.arange(row.size)},
            attrs={"unit": "counts per unit of exposure"},
        ),
    )
