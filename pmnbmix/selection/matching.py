"""Leave-one-out by moment matching, for rows that importance sampling alone does not reach."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.draws import pack, unpack
from pmnbmix.selection.evidence import log_joint
from pmnbmix.selection.loo import relative_efficiency
from pmnbmix.tree.reading import Reading

Floats = NDArray[np.float64]

_DIMS = ("chain", "draw")


def match_moments(reading: Reading, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Leave out one observation of each of some rows, by moving the draws to where they belong.

    Draws are shifted, scaled and rotated until their importance weights for the posterior without
    the observation are even enough.

    Parameters
    ----------
    reading : Reading
        Of a tree as `sample` returns, relabelled: moments of a mixture are those of one labelling.
    rows : ndarray of int, shape (m,)
        Unique rows.

    Returns
    -------
    terms, pareto_k : ndarray, shape (m,)
        Expected log predictive density of each left out, and the Pareto k that is left.

    Raises
    ------
    ValueError
        If the tree does not say what its priors were.

    References
    ----------
    .. [1] T. Paananen, J. Piironen, P.-C. Bürkner, A. Vehtari (2021), Implicitly adaptive
       importance sampling, Stat. Comput. 31, 16, https://doi.org/10.1007/s11222-020-09982-2
    """
    import arviz as az
    import xarray as xr

    draws, table, spec = reading.draws, reading.table, reading.spec
    if spec is None:
        raise ValueError("the tree does not say what its priors were. Pass what sample() returned.")
    points = xr.DataArray(pack(draws), dims=(*_DIMS, "parameter"))
    judged, of_judged = reading.density.judged
    reff = relative_efficiency(judged, of_judged.frequency)
    log_density = reading.density.of_rows(rows)
    data = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"count": (_DIMS, log_density[..., 0])}),
            "log_likelihood": xr.Dataset({"count": ((*_DIMS, "row"), log_density)}),
        }
    )

    def joint(at: xr.DataArray) -> xr.DataArray:
        flat = at.values.reshape(-1, at.shape[-1])
        with np.errstate(all="ignore"):
            height = log_joint(flat, table, spec)
        # A draw that is moved to where floats overflow has no density there.
        height = np.where(np.isfinite(height), height, -np.inf)
        return xr.DataArray(height.reshape(at.shape[:2]), dims=_DIMS)

    def of_row(at: xr.DataArray, i: int) -> xr.DataArray:
        u = rows[i]
        own = table.taken(slice(u, u + 1), np.ones(1))
        with np.errstate(all="ignore"):
            height = unpack(at.values).log_density(own)[..., 0]
        return xr.DataArray(np.where(np.isnan(height), -np.inf, height), dims=_DIMS)

    with warnings.catch_warnings():
        # The Pareto k that come back tell what could not be matched, and the standard error, which
        # is not used, has no degree of freedom if there is one row.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        plain = az.loo(data, pointwise=True, reff=reff)
        found: Any = az.loo_moment_match(
            data,
            plain,
            log_prob_upars_fn=joint,
            log_lik_i_upars_fn=of_row,
            upars=points,
            reff=reff,
            pointwise=True,
        )
    return np.asarray(found.elpd_i.values), np.asarray(found.pareto_k.values)
