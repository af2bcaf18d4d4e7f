"""Stacking of chains that do not mix: weights by which they predict best together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.labels.chains import chain_names, group_chains
from pmnbmix.selection.loo import elpd_of, refuse_too_many, relative_efficiency
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# These groups are averages over the draws of all chains, so they have to be made again.
_AVERAGED = ("responsibilities", "rates")


@dataclass(frozen=True, eq=False)
class StackedChains:
    """Chains with weights.

    Attributes
    ----------
    table : pandas.DataFrame
        Per chain: group (chains that agree are one), weight (a group's is shared evenly by its
        chains), and of the group elpd, elpd_se and high_k.
    tree : xarray.DataTree
        One chain, in which each old one has as many draws as its weight says.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> stacked = nb.stack_chains(tree)
    >>> dict(stacked.tree["posterior"].sizes)
    {'chain': 1, 'draw': 4000, 'mixture_component': 2}
    """

    table: pd.DataFrame
    tree: xr.DataTree = field(repr=False)


def stack_chains(tree: xr.DataTree) -> StackedChains:
    """Weigh chains that are stuck in different modes by how well they predict together.

    The share of chains that ended in a mode says nothing of its probability. Stacking asks instead
    which mixture of the modes predicts held-out counts best. The result is no posterior: it serves
    prediction if more sampling cannot reach the posterior.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    StackedChains
        If all chains agree, their weights are equal.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks the groups that are needed, or chains have fewer than 8 draws.

    References
    ----------
    .. [1] Y. Yao, A. Vehtari, A. Gelman (2022), Stacking for non-mixing Bayesian computations: the
       curse and blessing of multimodal posteriors, J. Mach. Learn. Res. 23(79), 1-45,
       https://jmlr.org/papers/v23/20-1426.html

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> nb.stack_chains(tree).table[["group", "weight"]]  # all chains agree
           group  weight
    chain
    0          0    0.25
    1          0    0.25
    2          0    0.25
    3          0    0.25
    """
    import arviz as az
    import pandas as pd

    reading = read(tree)
    table = reading.table
    refuse_too_many(table.n)
    density = reading.density
    rows, own = density.judged
    n_chains, n_draws, _ = rows.shape
    if n_draws < 8:
        raise ValueError(f"chains have {n_draws} draws; stacking needs 8 at least.")
    height, prior = density.log_likelihood, reading.log_prior
    of_chain = group_chains(rows, height if prior is None else height + prior).of_chain
    inverse = reading.row_of_observation
    n_groups = int(of_chain.max()) + 1
    elpds = {}
    for number in range(n_groups):
        of_group = of_chain == number
        part = rows[of_group]
        # Halves stand for chains, so that a group of one chain has an effective sample size too.
        halves = part[:, : n_draws - n_draws % 2].reshape(2 * len(part), n_draws // 2, -1)
        reff = relative_efficiency(halves, own.frequency)
        elpds[number] = elpd_of(density.of_chains(of_group), inverse, reff, "count", doubtful=True)
    weight = np.ones(1)
    if n_groups > 1:
        ranked = az.compare(
            {str(i): elpd for i, elpd in elpds.items()}, method="stacking", round_to="none"
        )
        weight = np.array([float(ranked.loc[str(i), "weight"]) for i in range(n_groups)])
        weight = weight / weight.sum()
    share = weight[of_chain] / np.bincount(of_chain)[of_chain]
    records = {
        "group": of_chain,
        "weight": share,
        "elpd": [elpds[i].elpd for i in of_chain],
        "elpd_se": [elpds[i].se for i in of_chain],
        "high_k": [int((elpds[i].pareto_k > elpds[i].good_k).sum()) for i in of_chain],
    }
    return StackedChains(
        pd.DataFrame(records, index=pd.Index(chain_names(tree, n_chains), name="chain")),
        _resampled(tree, share, n_draws),
    )


def _resampled(tree: xr.DataTree, share: Floats, n_draws: int) -> xr.DataTree:
    """Tree of one chain in which old chains have draws by their shares, evenly spaced."""
    import xarray as xr

    ends = np.rint(np.cumsum(share) * share.size * n_draws).astype(int)
    sizes = np.diff(ends, prepend=0)
    chain = np.repeat(np.arange(share.size), sizes)
    draw = np.concatenate([(np.arange(size) * n_draws) // max(size, 1) for size in sizes])
    index = {"chain": xr.DataArray(chain, dims="draw"), "draw": xr.DataArray(draw, dims="draw")}
    content = {}
    for name, child in tree.children.items():
        dataset = child.to_dataset()
        if name in _AVERAGED:
            continue
        if (dataset.sizes.get("chain"), dataset.sizes.get("draw")) == (share.size, n_draws):
            chosen = dataset.isel(index).drop_vars(("chain", "draw"), errors="ignore")
            dataset = chosen.expand_dims(chain=[0]).assign_coords(draw=np.arange(chain.size))
        elif name == "posterior_predictive":
            # Predictions have fewer draws, and which chains these are from is not known.
            continue
        content[name] = dataset
    new = xr.DataTree.from_dict(content)
    new.attrs.update(tree.attrs)
    return new
