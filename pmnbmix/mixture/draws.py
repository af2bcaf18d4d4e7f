"""Draws of mixture parameters as arrays, whichever sampler made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.groups import (
    columns_of_rows,
    difference,
    refuse_edited_apart,
    refuse_impossible,
    refuse_no_number,
    refuse_other_draws,
    refuse_other_order,
)
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import gather
from pmnbmix.mixture.rows import draws_log_density, draws_responsibilities
from pmnbmix.mixture.spec import MixtureSpec

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# Responsibilities of all draws are made in blocks of rows that take at most this many bytes.
_BLOCK_BYTES = 100_000_000
# A Poisson draw beyond this would not be exact in floating point.
_LARGEST_RATE = 2.0**52
# Logarithms further from 0 are clipped to this, because a parameter that overflows is not a
# number, and one that underflows to 0 has log density minus infinity.
FURTHEST_LOG = 700.0
# Each parameter may be found under these keys of ``names``, and is made from what is found so.
_ON_OTHER_SCALES: dict[str, dict[str, Callable[[Floats], Floats]]] = {
    "weights": {"weights": lambda array: array},
    "means": {"means": lambda array: array, "log_means": np.exp},
    "dispersions": {
        "dispersions": lambda array: array,
        "log_dispersions": np.exp,
        "inv_disps": lambda array: 1.0 / array,
        "log_inv_disps": lambda array: np.exp(-array),
    },
}
# Keys of ``names``.
NAMES = ("mixture_component", *(key for keys in _ON_OTHER_SCALES.values() for key in keys))


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

    def evenly(self, most: int) -> NDArray[np.intp]:
        """Numbers of at most this many draws, evenly spaced over all chains one after another."""
        return np.linspace(0, self.n_samples - 1, min(most, self.n_samples)).astype(np.intp)

    def thinned(self, most: int) -> Draws:
        """At most this many draws, evenly spaced, as one chain."""
        k, chosen = self.n_components, self.evenly(most)
        arrays = (self.weights, self.means, self.dispersions)
        return Draws(*(array.reshape(1, -1, k)[:, chosen] for array in arrays))

    def log_prior(self, spec: MixtureSpec) -> Floats:
        """Log prior density in (weights, log means, log dispersions), (n_chains, n_draws)."""
        with np.errstate(divide="ignore"):
            return np.asarray(
                spec.weights.log_density(self.weights)
                + spec.log_means.log_density(np.log(self.means)).sum(-1)
                + spec.log_dispersions.log_density(np.log(self.dispersions)).sum(-1)
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
            yield rows, draws_responsibilities(table.taken(rows), log_weights, means, inv_disps)

    def _flat(self) -> tuple[Floats, Floats, Floats]:
        k = self.n_components
        with np.errstate(divide="ignore", over="ignore"):
            return (
                np.ascontiguousarray(np.log(self.weights).reshape(-1, k)),
                np.ascontiguousarray(self.means.reshape(-1, k)),
                np.ascontiguousarray((1.0 / self.dispersions).reshape(-1, k)),
            )


def pack(draws: Draws) -> Floats:
    """Log ratios of the weights to the last, log means, log dispersions, (chain, draw, 3k - 1)."""
    logs = np.log(draws.weights)
    ratios = logs[..., :-1] - logs[..., -1:]
    return np.concatenate([ratios, np.log(draws.means), np.log(draws.dispersions)], axis=-1)


def unpack(packed: Floats) -> Draws:
    """Draws of the coordinates of NUTS (chain, draw, 3k - 1), none of them 0 or infinite."""
    k = (packed.shape[-1] + 1) // 3
    logits = np.concatenate([packed[..., : k - 1], np.zeros((*packed.shape[:-1], 1))], axis=-1)
    logits -= logits.max(axis=-1, keepdims=True)
    weights = exp_in_range(logits)
    return Draws(
        weights=weights / weights.sum(axis=-1, keepdims=True),
        means=exp_in_range(packed[..., k - 1 : 2 * k - 1]),
        dispersions=exp_in_range(packed[..., 2 * k - 1 :]),
    )


def exp_in_range(logs: Floats) -> Floats:
    """Exponentials that neither underflow nor overflow."""
    return np.asarray(np.exp(np.clip(logs, -FURTHEST_LOG, FURTHEST_LOG)))


def predict_counts(draws: Draws, exposure: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One count per draw and exposure, (n_chains, n_draws, n)."""
    shape = (*draws.means.shape[:2], exposure.size)
    edges = np.cumsum(draws.weights, axis=-1)
    uniform = rng.random(shape)
    labels = np.zeros(shape, dtype=np.int8)
    for j in range(draws.n_components - 1):
        labels += uniform > edges[..., j : j + 1]
    means = np.take_along_axis(draws.means, labels.astype(np.intp), axis=-1)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1.0 / draws.dispersions
    inv_disps = np.take_along_axis(inverse, labels.astype(np.intp), axis=-1)
    finite = np.isfinite(inv_disps)
    with np.errstate(over="ignore"):
        # The rate must be finite, because infinity times a gamma factor of 0 would be NaN.
        rate = np.minimum(means * exposure, np.finfo(np.float64).max)
        rate[finite] *= rng.standard_gamma(inv_disps[finite]) / inv_disps[finite]
    return rng.poisson(np.minimum(rate, _LARGEST_RATE))


def read_draws(tree: xr.DataTree, names: Mapping[str, str] | None = None) -> Draws:
    """Read the draws from the ``posterior`` group of a tree.

    Parameters
    ----------
    tree : xarray.DataTree
    names : mapping of str to str, optional
        Names in the tree, if they differ from those here: {"means": "mu"}. Keys are
        weights; means or log_means; dispersions, log_dispersions, inv_disps or log_inv_disps; and
        mixture_component for the dimension, which may be left out if each of the variables has
        only one besides chain and draw.

    Returns
    -------
    Draws

    Raises
    ------
    TypeError
        If ``tree`` is not a DataTree, or ``names`` no mapping of str to str.
    ValueError
        If the group, a variable or a dimension is missing, draws are no parameters, or another
        group that is read beside the posterior has other draws.
    """
    posterior = group(tree, "posterior", "sample()").to_dataset()
    _check_names(names)
    arrays = []
    for name in PARAMETERS:
        key, variable = _find_variable(posterior, name, names)
        array = np.asarray(
            variable.transpose("chain", "draw", component_dim(variable, names)).values, np.float64
        )
        with np.errstate(divide="ignore", over="ignore"):
            arrays.append(_ON_OTHER_SCALES[name][key](array))
    refuse_edited_apart(tree)
    refuse_impossible(*arrays)
    total = arrays[0].sum(axis=-1, keepdims=True)
    if np.abs(total - 1.0).max() > 1e-12:
        # Weights in single precision do not sum to 1 exactly.
        arrays[0] = arrays[0] / total
    return Draws(*arrays)


def _check_names(names: object) -> None:
    if names is None:
        return
    if not isinstance(names, Mapping) or not all(
        isinstance(entry, str) for pair in names.items() for entry in pair
    ):
        raise TypeError(
            f"names must be a mapping of str to str, such as {{'means': 'mu'}}; got {names!r}."
        )
    for key in names:
        if key not in NAMES:
            raise ValueError(f"names has no key {key!r}; it has {', '.join(NAMES)}.")


def component_dims(dataset: xr.Dataset, names: Mapping[str, str] | None) -> set[str]:
    """Dimensions of the components in a group of a tree that `read_draws` reads."""
    if names is None or "mixture_component" in names:
        return {"mixture_component" if names is None else names["mixture_component"]}
    found = set()
    for parameter in PARAMETERS:
        keys = _ON_OTHER_SCALES[parameter]
        variable = next((names[key] for key in keys if key in names), parameter)
        if variable in dataset:
            found.add(component_dim(dataset[variable], names))
    return found


def _find_variable(
    posterior: xr.Dataset, parameter: str, names: Mapping[str, str] | None
) -> tuple[str, xr.DataArray]:
    """Variable that holds a parameter, and the key that says on which scale."""
    keys = _ON_OTHER_SCALES[parameter]
    given = {key: names[key] for key in keys if key in names} if names else {}
    if len(given) > 1:
        raise ValueError(f"names has {' and '.join(given)}; one of them is enough.")
    key, variable = next(iter(given.items())) if given else (parameter, parameter)
    if variable not in posterior:
        raise ValueError(
            f"the posterior has no variable {variable!r}; it has {list(posterior.data_vars)}. Say "
            f"which one holds the {parameter}, names={{{' or '.join(map(repr, keys))}: ...}}, to "
            "relabel, diagnose or from_datatree; the last makes a tree that every function takes."
        )
    return key, posterior[variable]


def component_dim(variable: xr.DataArray, names: Mapping[str, str] | None) -> str:
    """Dimension of the components of a variable (chain, draw, component)."""
    dims = [str(dim) for dim in variable.dims]
    wanted = "mixture_component" if names is None else names.get("mixture_component")
    others = [dim for dim in dims if dim not in ("chain", "draw")]
    if not {"chain", "draw"} <= set(dims):
        raise ValueError(
            f"posterior variable {str(variable.name)!r} has dimensions {tuple(dims)}; expected "
            "chain and draw among them. Keep both, as in tree.isel(chain=[0])."
        )
    if len(dims) != 3 or len(others) != 1 or (wanted is not None and others != [wanted]):
        raise ValueError(
            f"posterior variable {str(variable.name)!r} has dimensions {tuple(dims)}; expected "
            f"('chain', 'draw', {wanted or 'one for the components'!r}). "
            'Say what it is called: names={"mixture_component": ...}.'
        )
    return others[0]


def read_table(tree: xr.DataTree, counts: Counts | None = None) -> CountTable:
    """Read the unique rows from the ``unique_rows`` group of a tree, or from counts."""
    if counts is not None:
        if not isinstance(counts, Counts):
            raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
        if "unique_rows" in tree.children:
            _refuse_other_rows(read_table(tree), counts.table)
        return counts.table
    node = group(tree, "unique_rows", "Pass counts=... with draws of another sampler; sample()")
    refuse_other_order(node, "unique_rows")
    return CountTable.plain(*columns_of_rows(node.to_dataset()))


def read_spec(tree: xr.DataTree) -> MixtureSpec | None:
    """Specification of the model that a tree is a posterior of; None if it does not say."""
    text = tree.attrs.get("spec")
    if text is None:
        return None
    try:
        spec = MixtureSpec.from_dict(json.loads(text))
        if not spec.is_resolved:
            # Such a specification cannot have a posterior.
            raise ValueError('its priors have loc = "auto"')
    # Brackets nested too deeply raise a RecursionError.
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the attribute 'spec' of the tree is {str(text)[:80]!r}; expected the JSON of a "
            f"resolved MixtureSpec, as sample() writes it ({error}). Load the tree again, or go "
            'on without its priors: del tree.attrs["spec"].'
        ) from None
    return spec


def read_log_density(tree: xr.DataTree) -> xr.DataArray:
    """Stored log density of every unique row under every draw.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    DataArray
        (chain, draw, unique_row), named as the counts are; rows are those of `read_table`.

    Raises
    ------
    ValueError
        If there is none, its draws are not those of the posterior or its rows not those of the
        group ``unique_rows``, or a log density is NaN.
    """
    name, expected = "log_likelihood_unique", ("chain", "draw", "unique_row")
    node = group(tree, name, "sample()")
    refuse_other_draws(tree, name)
    refuse_other_order(node, name)
    variable = next(iter(node.to_dataset().data_vars.values()), None)
    if variable is None or set(variable.dims) != set(expected):
        found = "no variable" if variable is None else f"one of dimensions {variable.dims}"
        raise ValueError(
            f"{name} has {found}; expected one of {expected}. Take the tree as sample() made it."
        )
    if "unique_rows" in tree.children:
        frequency = read_table(tree).frequency
        _refuse_other_size(variable, frequency.size)
        stored = variable.coords.get("frequency")
        if stored is not None and not np.array_equal(stored.values, frequency):
            raise ValueError(
                f"frequency of {name} is not that of unique_rows. Take the tree as sample() made "
                "it."
            )
    ordered = variable.transpose(*expected)
    refuse_no_number(ordered.values, name)
    return ordered


def row_log_density(tree: xr.DataTree, draws: Draws, table: CountTable) -> Floats:
    """Log density of every unique row, (chain, draw, unique_row), read if stored, else computed."""
    if "log_likelihood_unique" not in tree.children:
        return draws.log_density(table)
    stored = read_log_density(tree)
    _refuse_other_size(stored, table.values.size)
    return np.asarray(stored.values)


def _refuse_other_size(stored: xr.DataArray, n_unique: int) -> None:
    if stored.sizes["unique_row"] != n_unique:
        raise ValueError(
            f"log_likelihood_unique has {stored.sizes['unique_row']} rows, but there are "
            f"{n_unique} distinct (count, exposure). Take the tree as sample() made it, with the "
            "counts it was fitted to."
        )


def log_prior_of(tree: xr.DataTree) -> Floats | None:
    """Log prior density of every draw, (chain, draw); None if the tree does not have it."""
    if "log_prior" not in tree.children:
        return None
    refuse_other_draws(tree, "log_prior")
    dataset = tree["log_prior"].to_dataset()
    total = np.zeros([dataset.sizes[dim] for dim in ("chain", "draw")])
    for name, variable in dataset.data_vars.items():
        others = [dim for dim in variable.dims if dim not in ("chain", "draw")]
        if len(others) != variable.ndim - 2:
            raise ValueError(
                f"log_prior has {name!r} of dimensions {variable.dims}; expected chain and draw "
                "among them. Take the tree as sample() made it."
            )
        # By default xarray would leave NaN out of the sum.
        part = variable.sum(others, skipna=False).transpose("chain", "draw").values
        refuse_no_number(part, f"log_prior of {name}")
        total += part
    return total


def _refuse_other_rows(own: CountTable, other: CountTable) -> None:
    differs = difference(own, other, ("the tree", "counts"))
    if differs:
        raise ValueError(
            f"counts are {other.n:.0f} observations with sum {other.frequency @ other.values:.0f}, "
            f"but the tree says it was fitted to {own.n:.0f} with sum "
            f"{own.frequency @ own.values:.0f}: {differs}. Leave counts out, or pass those of the "
            "fit."
        )


def row_of_observation(tree: xr.DataTree) -> NDArray[np.int64]:
    """Unique row of each observation; in the order of the rows if that of the counts is lost."""
    # The error names sample(), because draws of another sampler have no observations until
    # from_datatree() attaches them.
    group(tree, "unique_rows", "sample()")
    frequency = read_table(tree).frequency
    rows = tree["unique_rows"].to_dataset()
    if "row_of_obs" not in rows:
        return np.repeat(np.arange(frequency.size), frequency.astype(np.int64))
    row = np.asarray(rows["row_of_obs"].values)
    if row.ndim != 1 or row.dtype.kind not in "iu" or row.min(initial=0) < 0:
        raise ValueError(
            f"row_of_obs of unique_rows has shape {row.shape} and type {row.dtype}; expected the "
            "row of each observation, 0 or above. Take the tree as sample() made it."
        )
    times = np.bincount(row, minlength=frequency.size)
    if not np.array_equal(times, frequency):
        raise ValueError(
            f"row_of_obs has {row.size} observations in {np.count_nonzero(times)} rows, but by "
            f"frequency there are {frequency.sum():.0f} in {frequency.size}, or others. Take the "
            "tree as sample() made it; for fewer observations, fit those."
        )
    return np.asarray(row, dtype=np.int64)


def fingerprint(counts: Counts) -> dict[str, float | str]:
    """Attributes of a tree that tell results of other counts apart."""
    table = counts.table
    return {
        "n_observations": counts.n,
        "n_unique": counts.n_unique,
        "sum_of_counts": float(table.frequency @ table.values),
        "sum_of_exposure": float(table.frequency @ table.exposure),
        "digest_of_counts": counts.digest,
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
