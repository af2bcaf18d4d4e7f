"""Chains one by one: which of them agree, how far apart they lie, which switch labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from pmnbmix.labels.gates import R_HAT_LIMIT, Gates, r_hat_and_ess
from pmnbmix.labels.optima import Optima, nearest
from pmnbmix.labels.relabelling import Order
from pmnbmix.labels.screen import suspects
from pmnbmix.mixture.row_density import RowDensity

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# Labels count as switching if this share of draws has another permutation than most.
_SWITCHING_SHARE = 0.01
# They switch within chains if this share of draws has another permutation than the one before.
_SWITCHING_RATE = 0.005
# Chains are in different modes if their means of a row differ by this many standard deviations.
_APART = 2.0
# A chain has not settled if the r-hat of its own halves is above this.
_UNSETTLED = 1.05


@dataclass(frozen=True, eq=False)
class Groups:
    """Chains that agree with each other.

    Attributes
    ----------
    of_chain : ndarray of int, shape (n_chains,)
        0 is the group of the highest log posterior (or log likelihood, if no prior is known).
    moves : ndarray of bool, shape (n_chains,)
        Whether the draws of each chain differ from each other.
    settled : bool
        Whether each chain by itself looks like one in equilibrium.
    """

    of_chain: NDArray[np.intp]
    moves: NDArray[np.bool_]
    settled: bool

    @property
    def number(self) -> int:
        """How many groups there are."""
        return int(self.of_chain.max()) + 1


def group_chains(rows: Floats, height: Floats) -> Groups:
    """Put chains together whose densities of the rows are about the same.

    Parameters
    ----------
    rows : ndarray, shape (chain, draw, n_unique)
        Log density of the rows by which chains are judged.
    height : ndarray, shape (chain, draw)
        Log posterior, or log likelihood, by which groups are numbered.

    Returns
    -------
    Groups
    """
    chosen = rows[:, :, suspects(rows)]
    chosen = chosen[:, : chosen.shape[1] - chosen.shape[1] % 2]
    centre, variance = chosen.mean(axis=1), chosen.var(axis=1, ddof=1)
    within = np.sqrt(variance.mean(axis=0))
    gap = np.abs(centre[:, None] - centre[None])
    apart = (gap > _APART * within).any(axis=-1)
    number = np.asarray(connected_components(~apart, directed=False)[1])
    means = [height[number == i].mean() for i in range(number.max() + 1)]
    rank = np.argsort(np.argsort(-np.array(means), kind="stable"))
    worst = chosen[:, :, int(np.argmax(r_hat_and_ess(chosen)[0]))]
    alone = [
        r_hat_and_ess(chain.reshape(2, -1)[..., None])[0][0]
        # A chain that never moves is not in equilibrium.
        if chain.size >= 8 and np.ptp(chain) > 0
        else np.inf
        for chain in worst
    ]
    moves = (rows != rows[:, :1]).any(axis=(1, 2))
    return Groups(rank[number], moves, settled=max(alone) < _UNSETTLED)


def chain_table(
    tree: xr.DataTree,
    density: RowDensity,
    order: Order,
    groups: Groups,
    log_posterior: Floats | None,
    optima: Optima | None,
) -> pd.DataFrame:
    """One row for each chain: where it lies, and what its labels do.

    Parameters
    ----------
    tree : xarray.DataTree
        For ``sample_stats``, if it has them.
    density : RowDensity
    order : ndarray of int, shape (chain, draw, k)
        Permutation of each draw.
    groups : Groups
    log_posterior : ndarray, shape (chain, draw), optional
    optima : Optima, optional

    Returns
    -------
    pandas.DataFrame
        group, log_likelihood, log_posterior (means), behind (of the mean of the best group),
        labels (the most frequent permutation), labels_share, switch_rate (share of draws with
        another permutation than the one before), divergent, e_bfmi, and with optima: optimum (the
        nearest, if any is near), optimum_behind (its log likelihood, less that of the best).
    """
    import pandas as pd

    likelihood = density.log_likelihood
    height = likelihood if log_posterior is None else log_posterior
    best = height[groups.of_chain == 0].mean()
    patterns, which = np.unique(order.reshape(-1, order.shape[-1]), axis=0, return_inverse=True)
    which = which.reshape(order.shape[:2])
    shares = np.array([np.bincount(chain, minlength=len(patterns)) for chain in which])
    modal = shares.argmax(axis=1)
    n_chains, n_draws = order.shape[:2]
    columns = {
        "group": groups.of_chain,
        "log_likelihood": likelihood.mean(axis=1),
        "log_posterior": np.full(n_chains, np.nan)
        if log_posterior is None
        else height.mean(axis=1),
        "behind": best - height.mean(axis=1),
        "labels": [" ".join(map(str, patterns[i])) for i in modal],
        "labels_share": shares.max(axis=1) / n_draws,
        "switch_rate": (which[:, 1:] != which[:, :-1]).mean(axis=1) if n_draws > 1 else 0.0,
        **_sampler_columns(tree, n_chains),
    }
    if optima is not None:
        near = nearest(optima, *density.judged)
        columns["optimum"] = pd.array(near, dtype="Int64")
        columns["optimum"][near < 0] = pd.NA
        behind = optima.best - optima.log_likelihood[near]
        columns["optimum_behind"] = np.where(near < 0, np.nan, behind)
    return pd.DataFrame(columns, index=pd.Index(chain_names(tree, n_chains), name="chain"))


def chain_names(tree: xr.DataTree, n_chains: int) -> list[Any]:
    """What the tree calls its chains; 0, 1, ... if it does not say."""
    posterior = tree["posterior"].to_dataset()
    if "chain" in posterior.coords and posterior.sizes["chain"] == n_chains:
        return list(posterior["chain"].values.tolist())
    return list(range(n_chains))


def _sampler_columns(tree: xr.DataTree, n_chains: int) -> dict[str, Floats]:
    columns = {"divergent": np.full(n_chains, np.nan), "e_bfmi": np.full(n_chains, np.nan)}
    if "sample_stats" not in tree.children:
        return columns
    stats = tree["sample_stats"].to_dataset()
    if stats.sizes.get("chain") != n_chains:
        return columns
    if "diverging" in stats:
        columns["divergent"] = (
            stats["diverging"].transpose("chain", ...).values.reshape(n_chains, -1).sum(axis=1)
        )
    if "energy" in stats:
        columns["e_bfmi"] = e_bfmi(stats)
    return columns


def e_bfmi(stats: xr.Dataset) -> Floats:
    """E-BFMI of each chain, from the statistics of a sampler that have its energies, (chain,).

    NaN if there are fewer than four draws, or the energy never changes. If draws were thinned, the
    energies that are left cannot tell, and what was stored before is returned.
    """
    n_chains = stats.sizes["chain"]
    if "e_bfmi" in stats and stats["e_bfmi"].dims == ("chain",):
        return np.asarray(stats["e_bfmi"].values, np.float64)
    out = np.full(n_chains, np.nan)
    if stats.sizes["draw"] < 4:
        return out
    import arviz as az

    moving = (stats["energy"].std("draw") > 0).values
    if moving.any():
        found = az.bfmi(stats[["energy"]].isel(chain=np.flatnonzero(moving)))
        out[moving] = found["energy"].values
    return out


def unmixed(groups: Groups, chains: pd.DataFrame, gates: Gates) -> dict[str, str]:
    """Why the density gate failed: chains in different modes, not mixed, or too few draws."""
    if len(chains) < 2:
        return {
            "not-mixed": (
                "One chain alone cannot show that it has converged; run two chains or more."
            )
        }
    if gates.row_r_hat <= R_HAT_LIMIT:
        return {
            "not-mixed": (
                f"Chains agree, but their draws are worth only {gates.row_ess:.0f} independent "
                "ones: sample more draws."
            )
        }
    frozen = np.flatnonzero(~groups.moves)
    if frozen.size:
        names = ", ".join(str(chains.index[int(i)]) for i in frozen)
        return {
            "not-mixed": (
                f"Chain {names} never moved: its sampler failed. Sample again, or leave it out."
            )
        }
    known = chains["log_posterior"].notna().all()
    name = "log_posterior" if known else "log_likelihood"
    what = name.replace("_", " ")
    # If chains disagree although each is in equilibrium, they are in different modes.
    if gates.row_r_hat > _UNSETTLED and groups.settled and groups.number > 1:
        parts = []
        for number, part in chains.groupby("group"):
            one = len(part) == 1
            text = f"chain{'s' * (not one)} {', '.join(map(str, part.index))}"
            height = f"mean {what} {part[name].mean():.1f}"
            if number != 0:
                height += f", {part['behind'].mean():.1f} lower"
            if "optimum" in part:
                height += _near(part)
            parts.append(f"{text} ({height})")
        return {
            "multimodal": (
                f"Chains are in different modes: {'; '.join(parts)}. Their shares say nothing of "
                "the modes' probabilities: sample more chains, set priors that exclude the lower "
                "mode, or weigh the chains by how well they predict (stack_chains)."
            )
        }
    heights = ", ".join(f"{value:.1f}" for value in chains[name])
    return {
        "not-mixed": (
            f"Chains have not mixed (mean {what} by chain: {heights}). Sample with more draws and "
            "tuning, or fit fewer components."
        )
    }


def _near(part: pd.DataFrame) -> str:
    if part["optimum"].isna().all():
        return ", near no known optimum"
    optimum = int(part["optimum"].mode()[0])
    behind = float(part.loc[part["optimum"] == optimum, "optimum_behind"].iloc[0])
    place = (
        "the best optimum" if behind < 1e-6 else f"optimum {optimum}, {behind:.1f} below the best"
    )
    return f", near {place}"


def switching(order: Order, weak: bool) -> dict[str, str]:
    """The finding that labels switched, between or within chains; (chain, draw, k)."""
    k = order.shape[-1]
    if k == 1:
        return {}
    patterns, which = np.unique(order.reshape(-1, k), axis=0, return_inverse=True)
    by_chain = which.reshape(order.shape[:2])
    shares = np.bincount(which.ravel(), minlength=len(patterns)) / by_chain.size
    moved = 1.0 - float(shares.max())
    if moved < _SWITCHING_SHARE:
        return {}
    rate = float((by_chain[:, 1:] != by_chain[:, :-1]).mean())
    within = rate > _SWITCHING_RATE
    where = f"within chains, {rate:.0%} of the time" if within else "between chains"
    cure = (
        "Components overlap too much for relabelling to say which is which."
        if weak
        else "Relabelling repairs it."
    )
    return {
        "label-switching": (
            f"Labels switched {where}: the most frequent permutation has {1.0 - moved:.0%} of the "
            f"draws. {cure} Raw r-hat of weights, means and dispersions means nothing here."
        )
    }
