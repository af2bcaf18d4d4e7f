"""A point estimate as a DataTree, laid out as ``pm.find_MAP(return_inferencedata=True)`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from pmnbmix.data.counts import Counts, fingerprint
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.point.as_table import parameter_names
from pmnbmix.point.objective import unpack_point
from pmnbmix.point.optima import Optimum, Status
from pmnbmix.point.uncertainty import Wald

if TYPE_CHECKING:
    import xarray as xr

# A tree lists at most this many observations one by one.
_LARGEST_OBSERVED = 12_500_000


def point_tree(
    counts: Counts,
    method: Literal["em", "map"],
    mixing: Literal["estimated", "equal"],
    optima: Sequence[Optimum],
    status: Status,
    errors: Wald,
) -> xr.DataTree:
    """Lay out a fit with its standard errors; see `PointFit.to_datatree`.

    Parameters
    ----------
    counts : Counts
    method, mixing : str
    optima : sequence of Optimum
        The estimate first.
    status : Status
        Of the search and the estimate together.
    errors : Wald

    Returns
    -------
    xarray.DataTree
    """
    import xarray as xr

    best = optima[0]
    params = unpack_point(best.point)
    k = params.n_components
    names = parameter_names(k)
    component = {"mixture_component": np.arange(k)}
    sample = {"chain": [0], "draw": [0], **component}
    posterior = xr.Dataset(
        {
            name: (
                ("chain", "draw", "mixture_component"),
                getattr(params, name)[None, None],
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
    points = np.exp([optimum.point for optimum in optima])
    others = xr.Dataset(
        {
            "log_likelihood": ("optimum", [o.log_likelihood for o in optima]),
            "log_density": ("optimum", [o.log_density for o in optima]),
            "times_reached": ("optimum", [o.times_reached for o in optima]),
            "status": ("optimum", [str(o.status) for o in optima]),
            **{
                name: (("optimum", "mixture_component"), points[:, row])
                for row, name in enumerate(PARAMETERS)
            },
        },
        coords={"optimum": np.arange(len(optima)), **component},
    )
    result = xr.Dataset(
        {
            "success": status is not Status.MAX_ITER,
            "message": status.sentence,
            "nit": best.density_path.size - 1,
            "fun": -best.log_density,
            "log_likelihood": best.log_likelihood,
            "log_density": best.log_density,
        },
        attrs={"method": method, "status": str(status), "mixing": mixing},
    )
    groups = {"posterior": posterior}
    if counts.n <= _LARGEST_OBSERVED:
        values = np.repeat(counts.values, counts.frequency)
        groups["observed_data"] = xr.Dataset({counts.variable: ("obs", values)})
    groups |= {"fit": wald, "optima": others, "optimizer_result": result}
    tree: xr.DataTree = xr.DataTree.from_dict(groups)
    tree.attrs.update(fingerprint(counts))
    return tree
