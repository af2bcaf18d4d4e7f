"""A point estimate as tables: a row for each parameter, a row for each optimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.design import Design
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.point.objective import unpack_point
from pmnbmix.point.optima import Optimum

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def parameter_names(n_components: int) -> list[str]:
    """Names of the rows of a table: "weights[0]", ..."""
    return [f"{name}[{j}]" for name in PARAMETERS for j in range(n_components)]


def parameter_table(
    point: Floats, lower: Floats, upper: Floats, flag: list[list[str]], se: Floats | None = None
) -> pd.DataFrame:
    """Tabulate the estimates at a point with their intervals, each of (3, k)."""
    import pandas as pd

    columns: dict[str, Any] = {"estimate": np.exp(point).ravel()}
    if se is not None:
        columns["se"] = se.ravel()
    columns |= {
        "lower": lower.ravel(),
        "upper": upper.ravel(),
        "flag": [word for row in flag for word in row],
    }
    names = parameter_names(point.shape[1])
    return pd.DataFrame(columns, index=pd.Index(names, name="parameter"))


def optima_table(optima: Sequence[Optimum], design: Design) -> pd.DataFrame:
    """Tabulate optima in their order; see `PointFit.optima`."""
    import pandas as pd

    rows = []
    for optimum in optima:
        params = unpack_point(design.at_centre(optimum.point))
        rows.append(
            {
                "log_likelihood": optimum.log_likelihood,
                "log_density": optimum.log_density,
                "times_reached": optimum.times_reached,
                "status": str(optimum.status),
                "statuses": ", ".join(optimum.statuses),
                **{name: tuple(getattr(params, name).tolist()) for name in PARAMETERS},
            }
        )
    return pd.DataFrame(rows)
