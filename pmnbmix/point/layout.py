"""A point estimate as a DataTree, laid out as ``pm.find_MAP(return_inferencedata=True)`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pmnbmix.data.table import fingerprint
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.point.optima import Status

if TYPE_CHECKING:
    import xarray as xr

    from pmnbmix.point.result import PointFit
    from pmnbmix.point.uncertainty import Wald

# Observations that a tree lists one by one, at most.
_LARGEST_OBSERVED = 12_500_000


def point_tree(fit: PointFit, errors: Wald, names: list[str]) -> xr.DataTree:
    """Lay out a fit with its standard errors; see `PointFit.to_datatree`.

    Parameters
    ----------
    fit : PointFit
    errors : Wald
    names : list of str
        Of the 3k parameters.

    Returns
    -------
    xarray.DataTree
    """
    import xarray as xr

    k = fit.n_components
    component = {"mixture_component": np.arange(k)}
    sample = {"chain": [0], "draw": [0], **component}
    posterior = xr.Dataset(
        {
            name: (
                ("chain", "draw", "mixture_component"),
                getattr(fit.params, name)[None, None],
            )
            for name in PARAMETERS
        },
        coords=sample,
        attrs={"sample_dims": ["chain", "draw"], "inference_library": "pmnbmix"},
    )
    wald = xr.Dataset(
        {
            "mean_vector": ("rows", errors.estimate.ravel()),
            "standard_error": ("rows", errors.se.ravel()),
            "covariance_matrix": (("rows", "columns"), errors.covariance),
            "flag": ("rows", np.array([flag for row in errors.flag for flag in row])),
        },
        coords={"rows": names, "columns": names},
    )
    points = np.exp([optimum.point for optimum in fit._optima])
    optima = xr.Dataset(
        {
            "log_likelihood": ("optimum", [o.log_likelihood for o in fit._optima]),
            "log_density": ("optimum", [o.log_density for o in fit._optima]),
            "times_reached": ("optimum", [o.times_reached for o in fit._optima]),
            "status": ("optimum", [str(o.status) for o in fit._optima]),
            **{
                name: (("optimum", "mixture_component"), points[:, row])
                for row, name in enumerate(PARAMETERS)
            },
        },
        coords={"optimum": np.arange(len(fit._optima)), **component},
    )
    result = xr.Dataset(
        {
            "success": fit.status is not Status.MAX_ITER,
            "message": fit.status.sentence,
            "nit": fit.n_iter,
            "fun": -fit.log_density,
            "log_likelihood": fit.log_likelihood,
            "log_density": fit.log_density,
        },
        attrs={"method": fit.method, "status": str(fit.status), "mixing": fit.mixing},
    )
    groups = {"posterior": posterior}
    if fit.counts.n <= _LARGEST_OBSERVED:
        values = np.repeat(fit.counts.values, fit.counts.frequency)
        groups["observed_data"] = xr.Dataset({fit.counts.variable: ("obs", values)})
    groups |= {"fit": wald, "optima": optima, "optimizer_result": result}
    tree: xr.DataTree = xr.DataTree.from_dict(groups)
    tree.attrs.update(fingerprint(fit.counts.table))
    return tree
