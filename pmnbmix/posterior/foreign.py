"""Draws of another sampler, laid out as `sample` lays out its own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import xarray as xr

from pmnbmix.data.counts import Counts, fingerprint
from pmnbmix.mixture.permute import gather, invert
from pmnbmix.posterior.layout import Labelled
from pmnbmix.tree.reading import DIMS, Order, Reading, component_dims, read
from pmnbmix.tree.writing import MixtureTree, coordinates, permuted


def from_datatree(
    tree: xr.DataTree, counts: Counts, names: Mapping[str, str] | None = None
) -> MixtureTree:
    """Take over draws of a mixture of negative binomials that another sampler made.

    What `sample` returns can be given to every function of the package; so can the result.

    Parameters
    ----------
    tree : xarray.DataTree
        With a group ``posterior`` of weights, means (per unit of exposure) and dispersions or their
        inverses, (chain, draw, component): from NumPyro, Stan, or ``arviz.from_dict``.
    counts : Counts
        What the draws were fitted to.
    names : mapping of str to str, optional
        What the tree calls things, as in `relabel`: {"weights": "w", "means": "mu",
        "inv_disps": "alpha"}.

    Returns
    -------
    MixtureTree
        Relabelled by Stephens' algorithm. ``sample_stats`` are kept, and so are other variables of
        the posterior, of which those with the dimension of the components are permuted with them.
        What needs the priors (``log_prior``, ``modes``) or new draws (``posterior_predictive``) is
        not there.

    Raises
    ------
    TypeError, ValueError
        If a variable is missing or holds no such parameters (the text says which and where), or if
        the tree says that it was fitted to other counts.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)

    As if another sampler had made the draws, under names of its own:

    >>> import xarray as xr
    >>> own = tree["posterior"].to_dataset()
    >>> draws = xr.Dataset(
    ...     {"w": own["weights"], "mu": own["means"], "alpha": 1 / own["dispersions"]}
    ... )
    >>> other = xr.DataTree.from_dict({"posterior": draws})
    >>> names = {"weights": "w", "means": "mu", "inv_disps": "alpha"}
    >>> taken = nb.from_datatree(other, counts, names)
    >>> nb.diagnose(taken).density_ok
    True
    """
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    reading = read(tree, names={} if names is None else names)
    draws, groups = reading.raw, {}
    # A tree that knows its own counts is compared with these, as `relabel` does.
    if "unique_rows" in tree.children:
        reading.refuse_other_counts(counts)
    if "sample_stats" in tree.children:
        stats = tree["sample_stats"].to_dataset()
        found = (stats.sizes.get("chain"), stats.sizes.get("draw"))
        if found != draws.means.shape[:2]:
            raise ValueError(
                f"sample_stats has (chain, draw) = {found}, but the posterior has "
                f"{draws.means.shape[:2]}. Drop the group, or pass that of the same run."
            )
        # The draws are numbered anew, so what the sampler called them is left out.
        own = coordinates(draws)
        groups["sample_stats"] = stats.assign_coords(chain=own["chain"], draw=own["draw"])
    labelled = Labelled.of(draws, counts)
    new = labelled.tree(counts, groups)
    others = _others(reading, gather(invert(reading.order), labelled.order))
    new["posterior"].dataset = new["posterior"].to_dataset().assign(others.data_vars)
    kept = ("inference_library", "inference_library_version")
    new.attrs.update({name: tree.attrs[name] for name in kept if name in tree.attrs})
    new.attrs.update({"prepared_by": f"pmnbmix {version('pmnbmix')}", **fingerprint(counts)})
    return new


def _others(reading: Reading, order: Order) -> xr.Dataset:
    """Variables of a posterior that no parameter was read from, with their components permuted."""
    posterior = reading.tree["posterior"].to_dataset()
    others = posterior.drop_vars(reading.sources)
    dims = component_dims(posterior, reading.names)
    others = permuted(others, order, dims)
    # Chains, draws and components are numbered anew, as those of the parameters are.
    others = others.drop_vars({"chain", "draw", *dims}, errors="ignore")
    for name, variable in others.data_vars.items():
        own = dims.intersection(map(str, variable.dims))
        if len(own) == 1:
            others[name] = variable.rename({own.pop(): DIMS[-1]})
    return others
