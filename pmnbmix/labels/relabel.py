"""Relabelling: one permutation of the components for each draw, so that summaries make sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled
from pmnbmix.data.counts import CountTable
from pmnbmix.data.squash import squash
from pmnbmix.mixture.draws import Draws, read_draws, read_table
from pmnbmix.mixture.elementary import quick_log
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import best_permutations, gather, invert

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Order = NDArray[np.intp]
Blocks = Callable[[], Iterable[tuple[slice, Floats]]]

METHODS = ("stephens", "order")
# Groups whose draws are those of the posterior, with the same labels.
_LABELLED_GROUPS = ("posterior", "log_prior")
# Averages over the draws that labels change; they have to be made again.
_AVERAGED_GROUPS = ("responsibilities",)
# Responsibilities are kept between iterations up to this much memory and made again beyond it.
_KEEP_BYTES = 500_000_000
_MAX_ITER = 100
# Tables with more rows than this are squashed: width of the bins of log exposure, nodes in each.
_SQUASH_FROM = 1000
_SQUASHING = (0.5, 6)


@dataclass(frozen=True, eq=False)
class Relabelling:
    """Permutations of draws.

    Attributes
    ----------
    order : ndarray of int, shape (n_samples, k)
        The new component j of draw s is the old component ``order[s, j]``.
    cost : ndarray, shape (n_samples,)
        Kullback-Leibler loss of each draw in nats, summed over the observations; 0 where the
        method has no loss.
    """

    order: Order
    cost: Floats

    @property
    def loss(self) -> float:
        """Total cost."""
        return float(self.cost.sum())


def relabel(
    tree: xr.DataTree,
    method: Literal["stephens", "order"] = "stephens",
    by: Literal["weights", "means", "dispersions"] | None = None,
) -> xr.DataTree:
    """Relabel the components of every draw.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns, relabelled before or not.
    method : {"stephens", "order"}
        "stephens" makes the responsibilities of the draws agree as well as they can; "order" sorts
        every draw by one parameter, which is wrong where components differ in another.
    by : {"weights", "means", "dispersions"}, optional
        For "order": the parameter to sort by; "means" where absent.

    Returns
    -------
    xarray.DataTree
        A new tree. ``posterior`` (and ``log_prior``) have the new labels, in ascending order of
        the median mean; ``relabelling`` has each draw's permutation, counted from the labels the
        sampler gave, and its cost. ``responsibilities``, which are averages, are dropped. What does
        not depend on labels is shared with the old tree.

    Raises
    ------
    TypeError, ValueError
        For another method or parameter, or a tree without the groups that are needed.

    References
    ----------
    .. [1] M. Stephens (2000), Dealing with label switching in mixture models, J. R. Stat. Soc. B
       62, 795-809, https://doi.org/10.1111/1467-9868.00265
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    if method != "order" and by is not None:
        raise ValueError(f'by={by!r} belongs to method="order"; {method!r} has no such choice.')
    if by is not None and by not in PARAMETERS:
        raise ValueError(f"by must be one of {', '.join(PARAMETERS)}; got {by!r}.")
    draws = read_draws(tree)
    if method == "order":
        found = _by_parameter(draws, by or "means")
    else:
        found = relabel_by_responsibilities(draws, read_table(tree))
    return _apply(tree, draws, found, method if by is None else f"{method} by {by}")


def relabel_by_responsibilities(draws: Draws, table: CountTable) -> Relabelling:
    """Relabel by Stephens' algorithm on the unique rows; the best of several starts.

    The loss is the Kullback-Leibler divergence of each draw's responsibilities from their mean over
    relabelled draws. It has local minima, so the iteration starts from the labels as they are and
    from the orders by each parameter.
    """
    k = draws.n_components
    identity = np.tile(np.arange(k), (draws.n_samples, 1))
    if k == 1:
        return Relabelling(identity, np.zeros(draws.n_samples))
    starts = [identity] + [_by_parameter(draws, name).order for name in PARAMETERS]
    distinct = {start.astype(np.intp).tobytes(): start for start in starts}.values()
    if table.values.size > _SQUASH_FROM:
        # the loss is a sum of smooth functions of the exposure, as the log likelihood is
        table = squash(table, *_SQUASHING)
    if 8 * draws.means.size * table.values.size <= _KEEP_BYTES:
        kept = list(draws.responsibility_blocks(table))

        def blocks() -> Iterable[tuple[slice, Floats]]:
            return kept
    else:

        def blocks() -> Iterable[tuple[slice, Floats]]:
            return draws.responsibility_blocks(table)

    entropy = _negative_entropy(blocks, table.frequency, draws.n_samples, k)
    return min(
        (stephens(blocks, table.frequency, start, entropy) for start in distinct),
        key=lambda found: found.loss,
    )


def _negative_entropy(blocks: Blocks, frequency: Floats, n_samples: int, k: int) -> Floats:
    """Sum over observations of p log p for each draw and component, (n_samples, k)."""
    total = np.zeros((n_samples, k))
    for rows, p in blocks():
        _add_negative_entropy(p, frequency[rows], total)
    return total


@compiled
def _add_negative_entropy(p: np.ndarray, frequency: np.ndarray, total: np.ndarray) -> None:
    n_samples, n_rows, k = p.shape
    for s in range(n_samples):
        for u in range(n_rows):
            for j in range(k):
                if p[s, u, j] > 1e-300:
                    total[s, j] += frequency[u] * p[s, u, j] * quick_log(p[s, u, j])


def stephens(
    blocks: Blocks, frequency: Floats, start: Order, entropy: Floats | None = None
) -> Relabelling:
    """Iterate Stephens' algorithm from one start.

    Parameters
    ----------
    blocks : callable
        Gives (rows, responsibilities (n_samples, n_rows, k)) pairs that cover all rows.
    frequency : ndarray, shape (n_unique,)
        How many observations each row stands for.
    start : ndarray of int, shape (n_samples, k)
    entropy : ndarray, shape (n_samples, k), optional
        Sum over observations of p log p, which the labels do not change; made where absent.

    Returns
    -------
    Relabelling
    """
    order = start
    n_samples, k = order.shape
    if entropy is None:
        entropy = _negative_entropy(blocks, frequency, n_samples, k)
    best = Relabelling(order, np.full(n_samples, np.inf))
    for _ in range(_MAX_ITER):
        cross = np.zeros((n_samples, k, k))
        for rows, p in blocks():
            mean = _mean_by(p, order)
            # a mean of 0 makes any other responsibility infinitely costly; the log of the
            # smallest number says so without 0 times infinity
            log_mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
            weighted = log_mean * frequency[rows][:, None]
            cross -= np.matmul(weighted.T[None], p)
        new_order, cost = best_permutations(entropy[:, None, :] + cross)
        found = Relabelling(new_order, np.maximum(cost, 0.0))
        if not found.loss < best.loss * (1.0 - 1e-12):
            break
        best = found
        if np.array_equal(new_order, order):
            break
        order = new_order
    return best


def _mean_by(p: Floats, order: Order) -> Floats:
    """Mean over draws of relabelled responsibilities, (n_rows, k)."""
    n_samples, _, k = p.shape
    mean = np.empty(p.shape[1:])
    for j in range(k):
        mean[:, j] = sum(
            np.einsum("s,su->u", (order[:, j] == i) / n_samples, p[:, :, i])
            for i in np.unique(order[:, j])
        )
    return mean


def raw_draws(tree: xr.DataTree) -> tuple[Draws, Order]:
    """Draws with the labels the sampler gave, and the permutation (chain, draw, k) since then."""
    draws = read_draws(tree)
    order = _past_order(tree, draws)
    return draws.permuted(invert(order)), order


def _past_order(tree: xr.DataTree, draws: Draws) -> Order:
    if "relabelling" in tree.children:
        past = tree["relabelling"].to_dataset()["permutation"]
        return np.asarray(past.transpose("chain", "draw", "mixture_component").values, np.intp)
    return np.broadcast_to(np.arange(draws.n_components), draws.means.shape)


def _by_parameter(draws: Draws, name: str) -> Relabelling:
    array = getattr(draws, name).reshape(-1, draws.n_components)
    return Relabelling(np.argsort(array, axis=1, kind="stable"), np.zeros(array.shape[0]))


def canonical(draws: Draws, order: Order) -> Order:
    """Number the components of relabelled draws by the median of their means.

    Parameters
    ----------
    draws : Draws
    order : ndarray of int, shape (n_samples, k)
        A permutation for each draw, of which only the grouping matters.

    Returns
    -------
    ndarray of int, shape (chain, draw, k)
    """
    shaped = order.reshape(draws.means.shape)
    medians = np.median(draws.permuted(shaped).means, axis=(0, 1))
    return np.asarray(shaped[..., np.argsort(medians, kind="stable")])


def _apply(tree: xr.DataTree, draws: Draws, found: Relabelling, method: str) -> xr.DataTree:
    import xarray as xr

    shape = draws.means.shape
    order = canonical(draws, found.order)
    new = tree.copy()
    for name in _LABELLED_GROUPS:
        if name in new.children:
            new[name].dataset = _permute_dataset(new[name].to_dataset(), order)
    coords = {
        dim: coordinate
        for dim, coordinate in new["posterior"].to_dataset().coords.items()
        if dim in ("chain", "draw", "mixture_component")
    }
    dims = ("chain", "draw", "mixture_component")
    for name in _AVERAGED_GROUPS:
        if name in new.children:
            del new[name]
    new["relabelling"] = xr.DataTree(
        xr.Dataset(
            {
                "permutation": (dims, gather(_past_order(tree, draws), order)),
                "cost": (("chain", "draw"), found.cost.reshape(shape[:2])),
            },
            coords=coords,
            attrs={"method": method},
        )
    )
    return new


def _permute_dataset(dataset: xr.Dataset, order: Order) -> xr.Dataset:
    """Permute every variable that has draws and components."""
    permuted = dataset.copy()
    dims = ("chain", "draw", "mixture_component")
    for name, variable in dataset.data_vars.items():
        if set(variable.dims) == set(dims):
            array = variable.transpose(*dims)
            permuted[name] = array.copy(data=gather(np.asarray(array.values), order))
    return permuted
