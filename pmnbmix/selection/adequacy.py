"""Whether the chosen mixture describes the counts: ranks of observations in their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import component_cdf
from pmnbmix.mixture.draws import Draws, predict_counts
from pmnbmix.mixture.params import MixtureParams, cdf_jump
from pmnbmix.seeds import as_rng
from pmnbmix.selection.loo import LARGEST_RESULT
from pmnbmix.selection.loo_terms import LEAST_DRAWS
from pmnbmix.tree.reading import Reading, read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# Evenly spaced draws predict, within these limits and fewer of them if there are many rows, because
# a distribution function costs a hundred times what a density does.
_DRAWS = (200, 1000)
_MOST_FUNCTIONS = 800_000
# Distribution functions are made for so many rows at once that they are at most this many numbers.
_BLOCK = 4_000_000
# The residual of an observation and what it is made from take this much memory.
_BYTES_AN_OBSERVATION = 48.0
# The distribution of ranks is evaluated at this many places; this many samples, each of at most so
# many observations, show how far chance takes it from uniform.
RANK_PLACES = 201
_SAMPLES = 200
_SAMPLE_SIZE = 1000


def loo_pit(tree: xr.DataTree) -> pd.DataFrame:
    """Probability integral transform of each distinct observation, predicted from all others.

    A count is discrete, so that its transform is an interval: from the predicted probability of
    fewer to that of at most as many.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    pandas.DataFrame
        A row for each unique row: value, exposure, frequency, lower, upper.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks the groups that are needed.

    References
    ----------
    .. [1] C. Czado, T. Gneiting, L. Held (2009), Predictive model assessment for count data,
       Biometrics 65, 1254-1261, https://doi.org/10.1111/j.1541-0420.2009.01191.x
    .. [2] A. Vehtari, A. Gelman, J. Gabry (2017), Stat. Comput. 27, 1413-1432,
       https://doi.org/10.1007/s11222-016-9696-4

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> nb.loo_pit(tree).head(1).round(2)
                value  exposure  frequency  lower  upper
    unique_row
    0             0.0       1.0       62.0    0.0   0.35
    """
    return _pit(read(tree))


def _pit(reading: Reading) -> pd.DataFrame:
    import pandas as pd

    draws, table, nodes = reading.draws, reading.table, reading.density.nodes
    n_nodes = nodes.table.values.size
    most = int(np.clip(_MOST_FUNCTIONS // (n_nodes * draws.n_components), *_DRAWS))
    few = draws.thinned(most)
    at_nodes = np.empty((2, n_nodes))
    step = max(1, _BLOCK // few.means.size)
    for first in range(0, n_nodes, step):
        part = slice(first, first + step)
        log_density = few.log_density(nodes.table.taken(part))[0]
        weights = _loo_weights(log_density)
        at_nodes[:, part] = _jump(few, nodes.table, part, weights, np.exp(log_density))
    bounds = np.array([np.clip(nodes.spread(row), 0.0, 1.0) for row in at_nodes])
    # No count is below 0, whatever rounding says.
    bounds[0, table.values == 0.0] = 0.0
    return pd.DataFrame(
        {
            "value": table.values,
            "exposure": table.exposure,
            "frequency": table.frequency,
            "lower": bounds[0],
            "upper": bounds[1],
        },
        index=pd.RangeIndex(table.values.size, name="unique_row"),
    )


def quantile_residuals(
    tree: xr.DataTree, *, random_seed: int | np.random.Generator | None = None
) -> Floats:
    """Randomised quantile residuals: standard normal if the model is right.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    random_seed : int or numpy.random.Generator, optional
        For the place of each observation within the jump at its count.

    Returns
    -------
    ndarray, shape (n,)
        In the order of the observations.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks the groups that are needed, or observations are more than 20 million.

    References
    ----------
    .. [1] P. K. Dunn, G. K. Smyth (1996), Randomized quantile residuals, J. Comput. Graph. Stat. 5,
       236-244, https://doi.org/10.1080/10618600.1996.10474708

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> residuals = nb.quantile_residuals(tree, random_seed=1)
    >>> residuals.shape
    (173,)
    >>> round(float(residuals.std()), 1)  # 1 if the model is right
    1.0
    """
    reading = read(tree)
    n = reading.table.n
    if _BYTES_AN_OBSERVATION * n > LARGEST_RESULT:
        raise ValueError(
            f"residuals of {n:.3g} observations take more than {LARGEST_RESULT / 1e9:.0f} GB to "
            "make. Fit a random sample of the counts, or use loo_pit, which has a row for each "
            "distinct one."
        )
    pit, row = _pit(reading), reading.row_of_observation
    lower, upper = pit["lower"].to_numpy()[row], pit["upper"].to_numpy()[row]
    place = lower + as_rng(random_seed).random(row.size) * (upper - lower)
    # Far in a tail a probability rounds to 0 or 1, whose residual would be infinite.
    edge = np.finfo(np.float64).eps
    return np.asarray(special.ndtri(np.clip(place, edge, 1.0 - edge)))


def rank_curve(pit: pd.DataFrame, places: Floats) -> Floats:
    """How far the distribution of ranks is from uniform.

    Parameters
    ----------
    pit : pandas.DataFrame
        From `loo_pit`.
    places : ndarray, shape (m,)
        Of 0 to 1.

    Returns
    -------
    ndarray, shape (m,)
        Mean distribution function of the transforms, each spread evenly over the jump at its count
        (Czado, Gneiting, Held 2009), minus ``places``.
    """
    lower, upper = pit["lower"].to_numpy()[:, None], pit["upper"].to_numpy()[:, None]
    frequency = pit["frequency"].to_numpy()
    total = np.zeros(places.size)
    step = max(1, _BLOCK // places.size)
    for first in range(0, frequency.size, step):
        rows = slice(first, first + step)
        low, high = lower[rows], upper[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.clip((places - low) / (high - low), 0.0, 1.0)
        # A count that has no predicted probability makes a step, not a slope.
        below = np.where(high > low, below, places >= high)
        total += frequency[rows] @ below
    return np.asarray(total / frequency.sum() - places)


def rank_limit(tree: xr.DataTree, random_seed: int | np.random.Generator | None = 0) -> float:
    """Distance from uniform that ranks stay within in 95 % of samples that the mixture makes.

    Samples of the size of the data are drawn, each from one posterior draw, and ranked in what that
    draw predicts. It is a little cautious: real counts are ranked in what was fitted to them, which
    takes them closer to uniform.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    random_seed : int or numpy.random.Generator, optional

    Returns
    -------
    float
        Limit of the largest absolute value of `rank_curve`.
    """
    import pandas as pd

    rng = as_rng(random_seed)
    reading = read(tree)
    draws, table = reading.draws.thinned(_SAMPLES), reading.table
    n = min(int(table.n), _SAMPLE_SIZE)
    places = np.linspace(0.0, 1.0, RANK_PLACES)
    reach = np.empty(_SAMPLES)
    for i in range(_SAMPLES):
        one = draws.single(i % draws.n_samples)
        exposure = _exposures(table, n, rng)
        counts = Counts(predict_counts(one, exposure, rng)[0, 0], exposure).table
        params = MixtureParams(one.weights[0, 0], one.means[0, 0], one.dispersions[0, 0])
        lower, upper = cdf_jump(params, counts)
        ranks = {"lower": lower, "upper": upper, "frequency": counts.frequency}
        reach[i] = np.abs(rank_curve(pd.DataFrame(ranks), places)).max()
    # The curve of n observations scatters as 1 / sqrt(n), so smaller samples can stand for all.
    return float(np.quantile(reach, 0.95) * np.sqrt(n / table.n))


def _exposures(table: CountTable, n: int, rng: np.random.Generator) -> Floats:
    """Exposures of n observations: those there are, or some of them at random."""
    if n == table.n:
        return np.repeat(table.exposure, table.frequency.astype(np.intp))
    return rng.choice(table.exposure, n, p=table.frequency / table.frequency.sum())


def _loo_weights(log_density: Floats) -> Floats:
    """Pareto smoothed weights of each draw for each left-out row, (draw, row)."""
    weights = np.full_like(log_density, 1.0 / len(log_density))
    # A row whose density never changes has equal weights already.
    moving = np.ptp(log_density, axis=0) > 0.0
    if moving.any():
        smoothed = _smoothed(np.ascontiguousarray(log_density[:, moving].T))
        weights[:, moving] = special.softmax(smoothed, axis=1).T
    return weights


def _smoothed(log_density: Floats) -> Floats:
    """Pareto smoothed log weights, (row, draw); as they are if no Pareto distribution fits."""
    from arviz_stats.base import array_stats

    if log_density.shape[1] < LEAST_DRAWS:
        return -log_density
    try:
        return np.asarray(array_stats.psislw(log_density)[0])
    except ValueError as error:
        # ArviZ refuses a tail of equal values, so rows are smoothed one by one to find it.
        if "tail" not in str(error):
            raise
        if len(log_density) == 1:
            return -log_density
        return np.concatenate([_smoothed(row[None]) for row in log_density])


def _jump(draws: Draws, table: CountTable, part: slice, weights: Floats, density: Floats) -> Floats:
    """Predicted probability of fewer and of at most as many, (2, rows)."""
    with np.errstate(divide="ignore"):
        inv_disps = 1.0 / draws.dispersions[0][:, None, :]
    means = table.exposure[part][None, :, None] * draws.means[0][:, None, :]
    values = table.values[part][None, :, None]
    at_most = (component_cdf(values, means, inv_disps) * draws.weights[0][:, None, :]).sum(-1)
    both = np.array([at_most - density, at_most])
    # No count is below 0, whatever rounding says.
    both[0, :, table.values[part] == 0.0] = 0.0
    return np.asarray(np.clip(np.einsum("bsu,su->bu", both, weights), 0.0, 1.0))
