"""Reading of a tree, whichever sampler made it: its draws, rows, prior and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts, variable_name
from pmnbmix.data.table import CountTable, difference
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import invert
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.tree.checks import (
    AS_MADE,
    columns_of_rows,
    group,
    refuse_edited_apart,
    refuse_impossible,
    refuse_no_number,
    refuse_other_observations,
    refuse_other_order,
)

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Order = NDArray[np.intp]

DIMS = ("chain", "draw", "mixture_component")
_ROWS = "log_likelihood_unique"
# The keys of ``names`` under which a parameter may be found, each with the function that makes the
# parameter from the variable.
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
# All keys that ``names`` may have.
NAMES = ("mixture_component", *(key for keys in _ON_OTHER_SCALES.values() for key in keys))


@dataclass(frozen=True, eq=False)
class Reading:
    """A tree with what was read from it, to be handed on in its place.

    The draws are read and checked at once. Everything else is read when it is first asked for, and
    then kept. A reading lasts no longer than the call that made it, because a tree can be edited.

    Attributes
    ----------
    tree : xarray.DataTree
    draws : Draws
        With the labels of the tree.
    counts : Counts or None
        What the draws were fitted to, if that was said beside the tree.
    names : mapping of str to str, or None
        What the tree calls things.
    """

    tree: xr.DataTree
    draws: Draws
    counts: Counts | None = None
    names: Mapping[str, str] | None = None

    @cached_property
    def table(self) -> CountTable:
        """Unique rows, from the counts or else the group ``unique_rows``."""
        if self.counts is None:
            return self._own_table
        if "unique_rows" in self.tree.children:
            self.refuse_other_counts(self.counts)
        return self.counts.table

    def refuse_other_counts(self, counts: Counts) -> None:
        """Raise a ValueError if the tree was fitted to other counts, whatever their order."""
        own, other = self._own_table, counts.table
        differs = difference(own, other, ("the tree", "counts"))
        if differs:
            raise ValueError(
                f"counts are {other.n:.0f} observations with sum "
                f"{other.frequency @ other.values:.0f}, but the tree says it was fitted to "
                f"{own.n:.0f} with sum {own.frequency @ own.values:.0f}: {differs}. Leave counts "
                "out, or pass those of the fit."
            )

    @cached_property
    def _own_table(self) -> CountTable:
        node = group(
            self.tree, "unique_rows", "Pass counts=... with draws of another sampler; sample()"
        )
        refuse_other_order(node, "unique_rows")
        return CountTable.plain(*columns_of_rows(node.to_dataset()))

    @cached_property
    def spec(self) -> MixtureSpec | None:
        """Specification of the model; None if the tree does not say."""
        text = self.tree.attrs.get("spec")
        if text is None:
            return None
        try:
            spec = MixtureSpec.from_dict(json.loads(text))
            if not spec.is_resolved:
                # A specification that is not resolved cannot have a posterior.
                raise ValueError('its priors have loc = "auto"')
        # Brackets nested too deeply in the JSON end in a RecursionError.
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"the attribute 'spec' of the tree is {str(text)[:80]!r}; expected the JSON of a "
                f"resolved MixtureSpec, as sample() writes it ({error}). Load the tree again, or "
                'go on without its priors: del tree.attrs["spec"].'
            ) from None
        return spec

    @cached_property
    def stored_log_density(self) -> xr.DataArray:
        """Stored log density of every unique row, (chain, draw, unique_row), named as the counts.

        A ValueError if the tree has none, or one of other rows.
        """
        expected = ("chain", "draw", "unique_row")
        node = group(self.tree, _ROWS, "sample()")
        refuse_other_order(node, _ROWS)
        variable = next(iter(node.to_dataset().data_vars.values()), None)
        if variable is None or set(variable.dims) != set(expected):
            found = "no variable" if variable is None else f"one of dimensions {variable.dims}"
            raise ValueError(f"{_ROWS} has {found}; expected one of {expected}. {AS_MADE}.")
        frequency = self.table.frequency
        if variable.sizes["unique_row"] != frequency.size:
            raise ValueError(
                f"{_ROWS} has {variable.sizes['unique_row']} rows, but there are "
                f"{frequency.size} distinct (count, exposure). {AS_MADE}, with the counts it was "
                "fitted to."
            )
        stored = variable.coords.get("frequency")
        if stored is not None and not np.array_equal(stored.values, frequency):
            raise ValueError(f"frequency of {_ROWS} is not that of unique_rows. {AS_MADE}.")
        ordered = variable.transpose(*expected)
        refuse_no_number(ordered.values, _ROWS)
        return ordered

    @cached_property
    def density(self) -> RowDensity:
        """Log density of the rows under the draws, as stored or made when it is needed."""
        stored = None
        if _ROWS in self.tree.children:
            stored = np.asarray(self.stored_log_density.values)
        return RowDensity(self.draws, self.table, stored)

    @property
    def variable(self) -> str:
        """Name of the counts among the variables of the tree."""
        for name in (_ROWS, "observed_data"):
            if name in self.tree.children:
                return str(next(iter(self.tree[name].to_dataset().data_vars), "count"))
        rows = group(self.tree, "unique_rows", "sample()").to_dataset()
        return variable_name(str(rows.attrs.get("name", "count")))

    @cached_property
    def log_prior(self) -> Floats | None:
        """Log prior density of every draw, (chain, draw); None if the tree does not have it."""
        if "log_prior" not in self.tree.children:
            return None
        total = np.zeros(self.draws.means.shape[:2])
        for name, variable in self.tree["log_prior"].to_dataset().data_vars.items():
            others = [dim for dim in variable.dims if dim not in ("chain", "draw")]
            if len(others) != variable.ndim - 2:
                raise ValueError(
                    f"log_prior has {name!r} of dimensions {variable.dims}; expected chain and "
                    f"draw among them. {AS_MADE}."
                )
            # NaN must reach the check below, but xarray leaves it out by default.
            part = variable.sum(others, skipna=False).transpose("chain", "draw").values
            refuse_no_number(part, f"log_prior of {name}")
            total += part
        return total

    @cached_property
    def row_of_observation(self) -> NDArray[np.int64]:
        """Unique row of each observation, in the order of the counts if that was kept."""
        # The error names sample(), because draws of another sampler have no observations until
        # from_datatree adds them.
        rows = group(self.tree, "unique_rows", "sample()").to_dataset()
        frequency = self.table.frequency
        if "row_of_obs" not in rows:
            return np.repeat(np.arange(frequency.size), frequency.astype(np.int64))
        row = np.asarray(rows["row_of_obs"].values)
        refuse_other_observations(row, frequency)
        return np.asarray(row, dtype=np.int64)

    @cached_property
    def order(self) -> Order:
        """Permutation (chain, draw, k) of each draw since the labels that the sampler gave."""
        shape = self.draws.means.shape
        if "relabelling" not in self.tree.children:
            return np.broadcast_to(np.arange(shape[-1]), shape)
        past = self.tree["relabelling"].to_dataset().get("permutation")
        if past is not None and set(past.dims) == set(DIMS):
            order = np.asarray(past.transpose(*DIMS).values, np.intp)
            if order.shape == shape and (np.sort(order, axis=-1) == np.arange(shape[-1])).all():
                return order
        raise ValueError(
            f"relabelling holds no permutation of {shape[-1]} components for each of the "
            f"{shape[:2]} (chain, draw). Take the tree as relabel() or sample() returned it; where "
            'the labels are those of the sampler, del tree["relabelling"].'
        )

    @property
    def sources(self) -> set[str]:
        """Variables of the posterior that the parameters were read from."""
        posterior = self.tree["posterior"].to_dataset()
        return {
            str(_find_variable(posterior, parameter, self.names)[1].name)
            for parameter in PARAMETERS
        }

    @property
    def raw(self) -> Draws:
        """Draws with the labels that the sampler gave."""
        return self.draws.permuted(invert(self.order))


def read(
    tree: xr.DataTree, counts: Counts | None = None, names: Mapping[str, str] | None = None
) -> Reading:
    """Read a tree of draws, at the door of whatever takes one.

    Parameters
    ----------
    tree : xarray.DataTree
    counts : Counts, optional
        What the draws were fitted to, if the tree does not say so itself.
    names : mapping of str to str, optional
        What the tree calls things, if it has names of its own: {"means": "mu"}. Keys are
        weights; means or log_means; dispersions, log_dispersions, inv_disps or log_inv_disps; and
        mixture_component for the dimension, which may be left out if each of the variables has
        only one besides chain and draw.

    Returns
    -------
    Reading

    Raises
    ------
    TypeError
        If ``tree`` is no DataTree, ``counts`` no Counts or ``names`` no mapping of str to str.
    ValueError
        If the posterior, a variable or a dimension is missing, draws are no parameters, or another
        group that is read beside the posterior has other draws.
    """
    posterior = group(tree, "posterior", "sample()").to_dataset()
    if counts is not None and not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
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
        # Weights in single precision sum to 1 less closely, so they are scaled.
        arrays[0] = arrays[0] / total
    return Reading(tree, Draws(*arrays), counts, names)


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
    """Dimensions of the components in a group of a tree that `read` reads."""
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


def difference_to(fitted: Reading | Counts, counts: Counts) -> str:
    """Say in which way the rows that something was fitted to are not those of counts.

    Parameters
    ----------
    fitted : Reading or Counts
        Of a posterior, or the counts of a point fit.
    counts : Counts

    Returns
    -------
    str
        Empty if they are the same rows in the same order.

    Raises
    ------
    ValueError
        If a tree does not say what its rows were.
    """
    if isinstance(fitted, Counts):
        digest, table = fitted.digest, fitted.table
    else:
        digest, table = str(fitted.tree.attrs.get("digest_of_counts")), fitted.table
    if digest == counts.digest:
        return ""
    differing = difference(table, counts.table, ("the fit", "the counts"))
    if differing or isinstance(fitted, Counts):
        return differing or "the rows are in another order"
    # A tree of an earlier release has no digest, and no order if it has very many observations.
    order = fitted.tree["unique_rows"].to_dataset().get("row_of_obs")
    if order is None or np.array_equal(order.values, counts.expanded_inverse()):
        return ""
    return "the rows are in another order"
