"""Terms of leave-one-out cross-validation: of every row, or at nodes of the exposure."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pmnbmix.mixture.nodes import NODES, Nodes, every_row, nodes_of
from pmnbmix.mixture.row_density import RowDensity

Floats = NDArray[np.float64]

# A Pareto distribution is fitted to a fifth of the draws, which must be five at least.
LEAST_DRAWS = 25
# ArviZ gets this many log densities at once, because it makes several arrays of their size.
_BLOCK = 10_000_000
# The error of interpolated terms is measured on this many rows, and their sum may be wrong by this
# share of its standard error; else there are twice as many nodes, and in the end all rows.
_CHECKED = 64
_ALLOWED = 0.01
# Rows about which a Pareto k is too high are looked up one by one, up to this many.
_LOOKED_UP = 500


class Terms(NamedTuple):
    """What LOO says of every row.

    Attributes
    ----------
    elpd, pareto_k : ndarray, shape (n_unique,)
        Expected log predictive density of the row left out, and the shape of the tail it hangs on.
    lpd : ndarray, shape (n_unique,)
        Log predictive density with the row left in.
    error : float or None
        Root mean square error in nats of interpolated ``elpd``; None if every row was computed.
    """

    elpd: Floats
    pareto_k: Floats
    lpd: Floats
    error: float | None


def terms_of(density: RowDensity, reff: float, good_k: float) -> Terms:
    """Compute the terms of every row, or at nodes if the rows are too many to be kept.

    Parameters
    ----------
    density : RowDensity
    reff : float
        Effective over actual draws.
    good_k : float
        Pareto k above which a term is not trusted.

    Returns
    -------
    Terms
    """
    if density.is_kept:
        return _exact(density, density.nodes, reff)
    for nodes in (density.nodes, nodes_of(density.table, 2 * NODES)):
        found = _interpolated(density, nodes, reff, good_k)
        if found is not None:
            return found
    return _exact(density, every_row(density.table), reff)


def _exact(density: RowDensity, nodes: Nodes, reff: float) -> Terms:
    size = nodes.table.values.size
    elpd, pareto_k, lpd = np.empty(size), np.empty(size), np.empty(size)
    for rows, block in density.blocks(None if nodes is density.nodes else nodes):
        elpd[rows], pareto_k[rows], lpd[rows] = _of_block(block, reff)
    return Terms(elpd, pareto_k, lpd, None)


def _interpolated(density: RowDensity, nodes: Nodes, reff: float, good_k: float) -> Terms | None:
    """Terms of all rows from those at nodes; None if their sum would be too wrong."""
    table = density.table
    at_nodes = _exact(density, nodes, reff)
    # What the centre of the posterior says is exact; the rest varies less and is interpolated.
    of_nodes, of_rows = density.of_centre(nodes)
    elpd = of_rows + nodes.spread(at_nodes.elpd - of_nodes)
    lpd = of_rows + nodes.spread(at_nodes.lpd - of_nodes)
    pareto_k = nodes.spread(at_nodes.pareto_k)
    free = np.flatnonzero(nodes.interpolated())
    if not free.size:
        return Terms(elpd, pareto_k, lpd, None)
    checked = np.unique(free[np.linspace(0, free.size - 1, _CHECKED).astype(np.intp)])
    exact, _, _ = _of_block(density.of_rows(checked), reff)
    gaps = elpd[checked] - exact
    n_free = float(table.frequency[free].sum())
    doubt = n_free * (abs(gaps.mean()) + 2.0 * gaps.std() / np.sqrt(checked.size))
    mean = table.frequency @ elpd / table.n
    se = np.sqrt(table.frequency @ (elpd - mean) ** 2)
    if not doubt <= _ALLOWED * se:
        return None
    high = free[~(pareto_k[free] <= good_k - 0.05)]
    high = high[np.argsort(-pareto_k[high], kind="stable")[:_LOOKED_UP]]
    if high.size:
        elpd[high], pareto_k[high], lpd[high] = _of_block(density.of_rows(high), reff)
    return Terms(elpd, pareto_k, lpd, float(np.sqrt((gaps**2).mean())))


def _of_block(log_density: Floats, reff: float) -> tuple[Floats, Floats, Floats]:
    """Terms, Pareto k and log predictive densities of some rows, (chain, draw, row)."""
    n_samples = log_density.shape[0] * log_density.shape[1]
    # If the density of a row never changes, its term is that density, without any smoothing.
    terms, pareto_k = log_density[0, 0].copy(), np.zeros(log_density.shape[2])
    moving = np.flatnonzero((log_density != log_density[:1, :1]).any(axis=(0, 1)))
    step = max(1, _BLOCK // n_samples)
    for first in range(0, moving.size, step):
        rows = moving[first : first + step]
        terms[rows], pareto_k[rows] = _smoothed(log_density[..., rows], reff)
    lpd = logsumexp(log_density, axis=(0, 1)) - np.log(n_samples)
    return terms, pareto_k, np.asarray(lpd)


def _smoothed(log_density: Floats, reff: float) -> tuple[Floats, Floats]:
    """Terms and Pareto k of some rows, (chain, draw, row)."""
    n_chains, n_draws, n_rows = log_density.shape
    n_samples = n_chains * n_draws
    try:
        part = _loo_of_block(log_density, reff) if n_samples >= LEAST_DRAWS else None
    except ValueError as error:
        # ArviZ refuses a tail of equal values, which a chain that is stuck makes.
        if "tail" not in str(error):
            raise
        part = None
    if part is None:
        if n_samples < LEAST_DRAWS or n_rows == 1:
            # No Pareto distribution fits, so the ratios stay as they are and k is infinite.
            raw = np.log(n_samples) - logsumexp(-log_density, axis=(0, 1))
            return raw, np.full(n_rows, np.inf)
        each = [_smoothed(log_density[..., [row]], reff) for row in range(n_rows)]
        return np.concatenate([terms for terms, _ in each]), np.concatenate([k for _, k in each])
    return part.elpd_i.values, part.pareto_k.values


def _loo_of_block(log_density: Floats, reff: float) -> Any:
    """ArviZ's result for some rows, (chain, draw, row)."""
    import arviz as az
    import xarray as xr

    dims = ("chain", "draw", "row")
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"count": (dims[:2], log_density[..., 0])}),
            "log_likelihood": xr.Dataset({"count": (dims, log_density)}),
        }
    )
    with warnings.catch_warnings():
        # The result has the flag already, and ArviZ would warn of unique rows, not observations.
        warnings.simplefilter("ignore", UserWarning)
        return az.loo(tree, pointwise=True, reff=reff)
