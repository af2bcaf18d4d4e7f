"""The rate behind each count: posterior of lambda given x, under a fitted mixture.

Given its component, the rate of a count x with exposure s is gamma distributed with shape r + x
and mean mu (r + x) / (r + s mu), r = 1 / dispersion; over components it is a mixture of these with
the responsibilities as weights. A Poisson component has one rate, its mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import elementwise

from pmnbmix.data.checks import as_array
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.density import conditional_rates
from pmnbmix.mixture.levels import Levels, Rows, responsibilities_table, rows_at
from pmnbmix.mixture.params import MixtureParams

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# Above this shape a gamma distribution is narrower than the digits its quantiles are wanted to.
_POINT_FROM = 1e14
# A root this close, relatively, to the rate of a Poisson component is that rate.
_JUMP = 1e-7


def rate_table(params: MixtureParams, counts: Counts, quantiles: tuple[float, ...]) -> pd.DataFrame:
    """Tabulate the posterior of the rate of each row; see `PointFit.rates`.

    Parameters
    ----------
    params : MixtureParams
    counts : Counts
    quantiles : tuple of float

    Returns
    -------
    pandas.DataFrame
        (n_rows, 2 + number of quantiles)
    """
    table = counts.table
    moments = rate_moments(params, table.values, table.exposure)
    rows = counts.inverse
    frame = _tabulated(moments, quantiles).take(rows).reset_index(drop=True)
    # A row of frequency 0 has a count, but no row in the table of those that were seen.
    frame[rows < 0] = np.nan
    return frame


def rate_table_at(rows: Rows, levels: Levels, quantiles: tuple[float, ...]) -> pd.DataFrame:
    """Tabulate the posterior of the rate of rows whose parameters follow covariates."""
    held = responsibilities_table(rows, levels)
    means, inv_disps = (
        array[rows.level] if len(array) > 1 else array for array in (levels.means, levels.inv_disps)
    )
    return _tabulated(
        _moments(rows.values, rows.exposure, held, means, 1.0 / inv_disps, inv_disps), quantiles
    )


def _tabulated(moments: tuple[Floats, ...], quantiles: tuple[float, ...]) -> pd.DataFrame:
    import pandas as pd

    names = _quantile_names(quantiles)
    mean, sd, held, means, shapes = moments
    columns = {"mean": mean, "sd": sd}
    for name, probability in names.items():
        columns[name] = rate_quantiles(held, means, shapes, probability)
    return pd.DataFrame(columns)


def rate_moments(
    params: MixtureParams, values: Floats, exposure: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Posterior of the rate of each row.

    Parameters
    ----------
    params : MixtureParams
    values, exposure : ndarray of float, shape (n,)

    Returns
    -------
    mean, sd : ndarray, shape (n,)
        Over all components, counts per unit of exposure.
    held, means, shapes : ndarray, shape (n, k)
        Responsibilities, and mean and shape of the gamma distribution under each component.
    """
    held = responsibilities_table(rows_at(values, exposure), params.levels)
    return _moments(values, exposure, held, params.means, params.dispersions, params.inv_disps)


def _moments(
    values: Floats,
    exposure: Floats,
    held: Floats,
    of_components: Floats,
    dispersions: Floats,
    inv_disps: Floats,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """`rate_moments` from responsibilities and parameters (k,) or (n, k)."""
    means, within = conditional_rates(
        of_components, dispersions, values[:, None], exposure[:, None]
    )
    shapes = inv_disps + values[:, None]
    mean = (held * means).sum(axis=1)
    variance = (held * (within + (means - mean[:, None]) ** 2)).sum(axis=1)
    return mean, np.sqrt(variance), held, means, shapes


def rate_quantiles(held: Floats, means: Floats, shapes: Floats, probability: float) -> Floats:
    """Quantile of each row's mixture of gamma distributions, (n,).

    Parameters
    ----------
    held, means, shapes : ndarray, shape (n, k)
        As `rate_moments` gives them.
    probability : float
        Between 0 and 1.
    """
    point = (shapes >= _POINT_FROM) | (means == 0)
    gamma = np.where(point, 1.0, shapes)
    # The quantile of the mixture lies between those of its components.
    each = means * np.where(point, 1.0, special.gammaincinv(gamma, probability) / gamma)
    reached = held > 0
    lowest = np.where(reached, each, np.inf).min(axis=1)
    highest = np.where(reached, each, -np.inf).max(axis=1)
    out = lowest.copy()
    # Where the two differ by more than rounding, the quantile is looked for between them.
    wide = highest > lowest * (1.0 + 1e-12)
    if not wide.any():
        return out
    rows = np.flatnonzero(wide)

    def excess(rate: Floats, row: NDArray[np.intp]) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            below = special.gammainc(gamma[row], rate[..., None] * gamma[row] / means[row])
        below = np.where(point[row], rate[..., None] >= means[row], below)
        return np.asarray((held[row] * below).sum(axis=-1) - probability)

    # The bracket is widened a little, because a component's quantile may be the answer itself.
    bracket = (lowest[rows] * (1.0 - 1e-12), highest[rows] * (1.0 + 1e-12))
    found = elementwise.find_root(excess, bracket, args=(rows,))
    out[rows] = np.where(np.isfinite(found.x), found.x, lowest[rows])
    # At a jump over the probability the root finder may end on either side of it.
    near = point & (np.abs(out[:, None] - means) <= _JUMP * means)
    return np.where(near.any(axis=1), np.where(near, means, -np.inf).max(axis=1), out)


def _quantile_names(quantiles: tuple[float, ...]) -> dict[str, float]:
    """Column of each probability."""
    wanted = np.atleast_1d(as_array(quantiles, "quantiles"))
    if wanted.dtype.kind != "f" or wanted.ndim != 1 or not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(f"quantiles must be between 0 and 1; got {quantiles!r}. 0.5 is 50 %.")
    names = {f"{100 * probability:.12g}%": float(probability) for probability in wanted}
    if len(names) < wanted.size:
        raise ValueError(f"quantiles must differ; got {quantiles!r}.")
    return names
