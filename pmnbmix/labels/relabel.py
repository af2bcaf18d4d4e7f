"""Relabelling of trees: one permutation of the components for each draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import one_of
from pmnbmix.data.counts import Counts
from pmnbmix.data.squash import squash
from pmnbmix.data.table import CountTable
from pmnbmix.labels.ecr import Blocks, Expected, ecr, ecr_iterative
from pmnbmix.labels.relabelling import METHODS, Order, Relabelling, by_parameter, identity, pra
from pmnbmix.labels.stephens import stephens, stephens_best_of
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.tree.reading import Reading, component_dim, read
from pmnbmix.tree.writing import permuted_tree

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# Responsibilities are kept between iterations up to this much memory and made again beyond it.
_KEEP_BYTES = 500_000_000
# Tables with more rows than this are squashed, in bins of log exposure of this width with this many
# nodes in each.
_SQUASH_FROM = 1000
_SQUASHING = (1.0, 4)
# Starts are compared on at most this many rows.
_COMPARED_ON = 1000


def relabel(
    tree: xr.DataTree,
    method: Literal[
        "stephens", "ecr", "ecr-iterative-1", "ecr-iterative-2", "pra", "order"
    ] = "stephens",
    by: str | None = None,
    *,
    pivot: Any | None = None,
    counts: Counts | None = None,
    names: Mapping[str, str] | None = None,
) -> xr.DataTree:
    """Relabel the components of every draw.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns, relabelled before or not; or draws of another sampler, with ``counts``
        and ``names``.
    method : str
        "stephens" makes the responsibilities of the draws agree as well as they can [1]_. "ecr"
        makes them agree with the allocation of a pivot [2]_, "ecr-iterative-1" and
        "ecr-iterative-2" with one that the draws elect [3]_; allocations are integrated out here,
        which makes these two the same (`relabel_draws` takes sampled ones). "pra" takes the
        permutation nearest to a pivot in log means, weights and dispersions, each in units of its
        standard deviation [4]_. "order" sorts every draw by one parameter, which is wrong if
        components differ in another.
    by : str, optional
        For "order": the variable to sort by; "means" if absent.
    pivot : PointFit or MixtureParams, optional
        For "ecr" and "pra": whose allocation or parameters to take. If absent, those of the draw
        of highest posterior density (of highest likelihood, if the tree has no log prior).
    counts : Counts, optional
        What the draws were fitted to, if the tree does not say so itself.
    names : mapping of str to str, optional
        What the tree calls things, if it has names of its own, such as ``{"weights": "w",
        "means": "mu", "inv_disps": "alpha", "mixture_component": "cluster"}``. Keys: weights; means
        or log_means; one of dispersions, log_dispersions, inv_disps, log_inv_disps;
        mixture_component for the dimension, needed only if variables have more than one.

    Returns
    -------
    xarray.DataTree
        A new tree. Every variable of ``posterior`` (and ``log_prior``) with the dimension of the
        components has the new labels, in ascending order of the median mean; allocations, which
        are labels themselves, have to be made again. ``relabelling`` has each draw's permutation,
        counted from the labels the sampler gave, and its cost. ``responsibilities``, which are
        averages, are dropped. What does not depend on labels is shared with the old tree.

    Raises
    ------
    TypeError, ValueError
        For another method or parameter, or a tree without the groups that are needed or with
        groups that were edited apart.

    References
    ----------
    .. [1] M. Stephens (2000), Dealing with label switching in mixture models, J. R. Stat. Soc. B
       62, 795-809, https://doi.org/10.1111/1467-9868.00265
    .. [2] P. Papastamoulis, G. Iliopoulos (2010), J. Comput. Graph. Stat. 19, 313-331,
       https://doi.org/10.1198/jcgs.2010.09008
    .. [3] P. Papastamoulis (2016), J. Stat. Softw. 69 (Code Snippet 1),
       https://doi.org/10.18637/jss.v069.c01
    .. [4] J.-M. Marin, K. Mengersen, C. P. Robert (2005), Handbook of Statistics 25, 459-507,
       https://doi.org/10.1016/S0169-7161(05)25016-2

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> by_mean = nb.relabel(tree, "order", by="means")
    >>> by_mean["relabelling"].attrs["method"]
    'order by means'
    >>> same = by_mean["relabelling"]["permutation"] == tree["relabelling"]["permutation"]
    >>> float(same.mean().round(1))  # share of draws with the labels of Stephens' algorithm
    1.0
    """
    one_of(method, "method", METHODS)
    if by is not None and not isinstance(by, str):
        raise TypeError(f"by must be the name of a variable, such as 'means'; got {by!r}.")
    if method != "order" and by is not None:
        raise ValueError(f'by={by!r} belongs to method="order"; {method!r} has no such choice.')
    if pivot is not None and method not in ("ecr", "pra"):
        raise ValueError(f"method={method!r} has no pivot; leave pivot out.")
    reading = read(tree, counts, names)
    draws = reading.draws
    if method == "order":
        found = by_parameter(_variable_to_sort_by(reading, by or "means"))
    elif method == "stephens":
        found = relabel_by_responsibilities(draws, reading.table)
    else:
        chosen = _pivot(pivot, reading) if method in ("ecr", "pra") else None
        source = responsibility_source(draws, reading.table)
        found = relabel_by_pivot(method, draws, source, chosen)
    order = canonical(draws, found.order)
    return permuted_tree(reading, order, found.cost, method if by is None else f"{method} by {by}")


def relabel_by_responsibilities(draws: Draws, table: CountTable) -> Relabelling:
    """Relabel by Stephens' algorithm on the unique rows; the best of several starts.

    The iteration starts from the labels as they are and from the orders by each parameter.
    """
    start = identity(draws.n_samples, draws.n_components)
    if draws.n_components == 1:
        return Relabelling(start, np.zeros(draws.n_samples))
    blocks, table = responsibility_source(draws, table)
    starts = [start, *_orders(draws)]
    if table.values.size <= _COMPARED_ON:
        return stephens_best_of(blocks, table.frequency, starts)
    # A sample of the rows shows which start is best; from there the algorithm runs on all of them.
    some, small = sampled_source(draws, table)
    best = stephens_best_of(some, small.frequency, starts)
    return stephens(blocks, table.frequency, best.order)


def thinned(table: CountTable, most: int) -> CountTable:
    """Rows drawn evenly along the table, each as often as its frequency says; at most ``most``."""
    if table.values.size <= most:
        return table
    cumulated = np.cumsum(table.frequency)
    places = (np.arange(most) + 0.5) * (cumulated[-1] / most)
    rows, times = np.unique(np.searchsorted(cumulated, places), return_counts=True)
    frequency = times * (cumulated[-1] / most)
    return table.taken(rows, frequency)


def relabel_by_pivot(
    method: str, draws: Draws, source: tuple[Blocks, CountTable], pivot: MixtureParams | None
) -> Relabelling:
    """Relabel by "ecr" or "pra" with a pivot, or by the iterative forms of ECR without one."""
    k = draws.n_components
    if method == "pra":
        assert pivot is not None
        own = Draws(*(getattr(pivot, name)[None, None, :] for name in PARAMETERS))
        least = draws.means[draws.means > 0.0].min(initial=np.inf)
        points, centre = _coordinates(draws, least), _coordinates(own, least)[0]
        scale = points.std(axis=(0, 1))
        # The standard deviation of a constant is a rounding error, which must not be divided by.
        scale[np.ptp(points, axis=(0, 1)) == 0.0] = 1.0
        return pra(points / scale, centre / scale)
    blocks, table = source
    allocations = Expected(blocks, table.frequency, (draws.n_samples, k))
    if pivot is None:
        return ecr_iterative(allocations, [identity(draws.n_samples, k), *_orders(draws)])
    return ecr(allocations, pivot.responsibilities(table.values, table.exposure).argmax(axis=1))


def sampled_source(draws: Draws, table: CountTable) -> tuple[Blocks, CountTable]:
    """Responsibilities of all draws for at most 1,000 rows drawn evenly, and these rows."""
    small = thinned(table, _COMPARED_ON)
    return _kept(draws, small), small


def responsibility_source(draws: Draws, table: CountTable) -> tuple[Blocks, CountTable]:
    """Responsibilities of all draws in blocks of rows, and the rows they are of.

    Large tables are squashed: what relabelling needs are sums of smooth functions of the exposure,
    as the log likelihood is.
    """
    if table.values.size > _SQUASH_FROM:
        table = squash(table, *_SQUASHING)
    if 8 * draws.means.size * table.values.size > _KEEP_BYTES:
        return (lambda: draws.responsibility_blocks(table)), table
    return _kept(draws, table), table


def _kept(draws: Draws, table: CountTable) -> Blocks:
    blocks = list(draws.responsibility_blocks(table))
    return lambda: blocks


def _orders(draws: Draws) -> Iterable[Order]:
    for name in PARAMETERS:
        yield by_parameter(getattr(draws, name).reshape(-1, draws.n_components)).order


def _coordinates(draws: Draws, least: float) -> Floats:
    """Parameters on scales on which distances mean something, (n_samples, k, 3)."""
    coordinates = (
        # A mean of 0, which has no logarithm, counts as the least of the draws.
        np.log(np.maximum(draws.means, min(least, 1.0))),
        draws.weights,
        # Dispersion is given by its share in the variance of a count of mean 1, which is 0 at
        # Poisson, where its logarithm would be infinite.
        draws.dispersions / (1.0 + draws.dispersions),
    )
    return np.stack(coordinates, axis=-1).reshape(-1, draws.n_components, 3)


def _pivot(given: Any | None, reading: Reading) -> MixtureParams:
    if given is None:
        return best_draw(reading, reading.draws)
    params = getattr(given, "params", given)
    if not isinstance(params, MixtureParams):
        raise TypeError(
            f"pivot must be a PointFit or MixtureParams; got {type(given).__name__}. Allocations "
            "as an array go to relabel_draws."
        )
    fitted = getattr(given, "counts", None)
    if fitted is not None and "unique_rows" in reading.tree.children:
        reading.refuse_other_counts(fitted)
    k = reading.draws.n_components
    if params.n_components != k:
        raise ValueError(f"pivot has {params.n_components} components, but the tree has {k}.")
    return params


def best_draw(reading: Reading, draws: Draws) -> MixtureParams:
    """The draw of highest posterior density, with its labels among ``draws``.

    Without a log prior, that of highest likelihood.
    """
    height = reading.density.log_likelihood
    if reading.log_prior is not None:
        height = height + reading.log_prior
    chain, draw = np.unravel_index(height.argmax(), height.shape)
    return MixtureParams(*(getattr(draws, name)[chain, draw] for name in PARAMETERS))


def _variable_to_sort_by(reading: Reading, by: str) -> Floats:
    k = reading.draws.n_components
    if by in PARAMETERS:
        return np.asarray(getattr(reading.draws, by)).reshape(-1, k)
    posterior = reading.tree["posterior"].to_dataset()
    if by not in posterior:
        raise ValueError(
            f"by must be one of {', '.join(PARAMETERS)}, or another variable of the posterior; "
            f"got {by!r}."
        )
    variable = posterior[by]
    ordered = variable.transpose("chain", "draw", component_dim(variable, reading.names))
    if ordered.sizes[ordered.dims[-1]] != k:
        raise ValueError(
            f"by={by!r} has {ordered.shape[-1]} values a draw; there are {k} components."
        )
    return np.asarray(ordered.values, np.float64).reshape(-1, k)


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
