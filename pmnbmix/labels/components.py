"""Components one by one: how many observations they hold, and how well they are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.labels.ecr import Blocks
from pmnbmix.labels.relabelling import Order
from pmnbmix.mixture.draws import Draws

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# Labels are weak above this loss of Stephens in nats per observation, because clean fits have 0.04
# and fits whose components overlap have 0.14 and more.
WEAK_LOSS = 0.1
# Labels are certain if an exchange costs this many times the loss: it costs 50 to 1,000 times if
# components are distinct, and 1 to 9 times if they are not.
_CERTAIN = 20.0
# A component is near Poisson if dispersion adds less than this share to its variance.
NEAR_POISSON = 0.1
# An order is not safe if it agrees with Stephens' labels in a smaller share of draws than this.
_SAFE_AGREEMENT = 0.98


def overlap_matrix(blocks: Blocks, table: CountTable, order: Order) -> Floats:
    """Share of component l in the observations of component j, averaged over draws, (k, k).

    Parameters
    ----------
    blocks : callable
        Gives (rows, responsibilities (n_samples, n_rows, k)) pairs.
    table : CountTable
        The rows they are of.
    order : ndarray of int, shape (n_samples, k)

    Returns
    -------
    ndarray, shape (k, k)
        Rows sum to 1. On the diagonal, the probability that two allocations of an observation of
        component j, drawn apart, agree; if components cannot be told apart, it is the weight.
    """
    k = order.shape[1]
    both = np.zeros((len(order), k, k))
    for rows, p in blocks():
        both += np.matmul((p * table.frequency[rows, None]).transpose(0, 2, 1), p)
    own = both.sum(axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A component without any observation counts as overlapping with no other.
        share = np.where(own > 0.0, both / own, np.eye(k))
    relabelled = share[np.arange(len(order))[:, None, None], order[:, :, None], order[:, None, :]]
    return np.asarray(relabelled.mean(axis=0))


def component_table(draws: Draws, table: CountTable, overlap: Floats) -> pd.DataFrame:
    """One row for each component.

    Parameters
    ----------
    draws : Draws
        Relabelled.
    table : CountTable
    overlap : ndarray, shape (k, k)

    Returns
    -------
    pandas.DataFrame
        occupancy (median number of observations), p_empty (probability that it holds less than
        one), p_near_poisson (that dispersion adds less than a tenth to its variance), assigned
        (diagonal of the overlap), separation (assigned, from 0 if it is no more than the weight
        to 1), nearest and overlap (the component that shares most of its observations, and which
        share).
    """
    import pandas as pd

    k, axes = draws.n_components, (0, 1)
    exposure = float(table.frequency @ table.exposure) / table.n
    added = draws.dispersions * draws.means * exposure
    others = overlap - np.diag(np.diag(overlap))
    nearest = others.argmax(axis=1)
    columns: dict[str, NDArray[np.generic]] = {
        "occupancy": np.median(draws.weights * table.n, axis=axes),
        "p_empty": (draws.weights * table.n < 1.0).mean(axis=axes),
        "p_near_poisson": (added < NEAR_POISSON).mean(axis=axes),
        "assigned": np.diag(overlap),
    }
    if k > 1:
        share = draws.weights.mean(axis=axes)
        columns["separation"] = (np.diag(overlap) - share) / np.maximum(1.0 - share, 1e-9)
        columns |= {"nearest": nearest, "overlap": others[np.arange(k), nearest]}
    return pd.DataFrame(columns, index=pd.RangeIndex(k, name="component"))


def near_edges(components: pd.DataFrame) -> dict[str, str]:
    """The findings that a component is empty, or near Poisson."""
    notes = {}
    empty = components.index[components["p_empty"] > 0.05]
    if len(empty):
        notes["empty-component"] = (
            f"Component {_listed(empty)} often holds less than one observation; fewer components "
            "may do."
        )
    poisson = components.index[components["p_near_poisson"] > 0.5]
    if len(poisson):
        notes["near-poisson"] = (
            f"Component {_listed(poisson)} is probably within {NEAR_POISSON:.0%} of Poisson "
            "variance; the prior decides how small its dispersion is."
        )
    return notes


def weak_labels(loss: float, margin: float, k: int) -> dict[str, str]:
    """The finding that components cannot be told apart.

    Either draws disagree on which observation belongs where, or they agree that it could be either:
    then Stephens' loss is small, and so is what an exchange of labels would add to it.

    Parameters
    ----------
    loss : float
        Stephens' loss in nats per observation and draw.
    margin : float
        Median over draws of what the cheapest exchange of two labels would add, in the same unit.
    k : int
    """
    if k == 1 or (loss <= WEAK_LOSS and margin >= _CERTAIN * loss):
        return {}
    why = (
        f"Stephens loss {loss:.2f} nats per observation"
        if loss > WEAK_LOSS
        else f"exchanging labels costs only {margin / loss:.1f} times what draws differ by anyway"
    )
    return {
        "weak-labels": (
            f"Components can hardly be told apart ({why}): trust the mixture's density, not the "
            "single components."
        )
    }


def unsafe_ordering(labelling: pd.DataFrame, weak: bool) -> tuple[str, ...]:
    """Sentence that says in how many draws ordering by mean fails, and which order does not."""
    orders = {
        str(name).removeprefix("order by "): float(share)
        for name, share in labelling["agreement"].items()
        if str(name).startswith("order by ")
    }
    by_mean = orders["means"]
    best = max(orders, key=lambda name: orders[name])
    if by_mean >= _SAFE_AGREEMENT or weak:
        # If labels mean nothing, no order can be blamed for giving others.
        return ()
    text = (
        f"Ordering by mean is unsafe here: in {1.0 - by_mean:.0%} of the draws it gives other "
        "labels than Stephens' algorithm"
    )
    if orders[best] >= _SAFE_AGREEMENT:
        return (f"{text}; components are told apart by their {best}.",)
    return (f"{text}, and so does every other order.",)


def _listed(indices: pd.Index) -> str:
    return ", ".join(str(index) for index in indices)
