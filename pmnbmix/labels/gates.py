"""Two gates: whether the density of a mixture has converged, and whether its components have."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.labels.screen import suspects
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.row_density import RowDensity

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# The limits of both gates (Vehtari et al. 2021, doi:10.1214/20-BA1221).
R_HAT_LIMIT = 1.01
ESS_LIMIT = 400.0
DIVERGENCE_LIMIT = 1e-3


@dataclass(frozen=True)
class Gates:
    """The two gates and the figures they were judged by.

    Attributes
    ----------
    row_r_hat, row_ess : float
        Largest r-hat and smallest bulk ESS of the log density of a unique row; of large tables,
        among the rows that `pmnbmix.labels.screen` suspects.
    component_r_hat, component_ess : float
        Largest r-hat and smallest ESS, bulk or tail, of weights, means and dispersions with the
        labels of the tree.
    """

    row_r_hat: float
    row_ess: float
    component_r_hat: float
    component_ess: float

    @property
    def density_ok(self) -> bool:
        """Whether the density of the mixture has converged."""
        return self.row_r_hat <= R_HAT_LIMIT and self.row_ess >= ESS_LIMIT

    @property
    def components_ok(self) -> bool:
        """Whether, besides, the single components have; not whether they can be told apart."""
        return self.density_ok and self.component_r_hat <= R_HAT_LIMIT

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        figures = f"largest r-hat {self.row_r_hat:.3f}, smallest ESS {self.row_ess:.0f}"
        if not self.density_ok:
            return (
                f"The density gate failed ({figures} of the log density of a row; needed: at most "
                f"{R_HAT_LIMIT}, at least {ESS_LIMIT:.0f}): use nothing of this posterior yet."
            )
        density = f"The density gate holds ({figures} of the log density of a row)"
        if not self.components_ok:
            return (
                f"{density}, so predictions and LOO can be used; the components gate failed "
                f"(r-hat {self.component_r_hat:.3f} after relabelling): do not report single "
                "components."
            )
        return f"{density}, and so does the components gate: chains agree on every component."


def judge(density: RowDensity, relabelled: Draws) -> Gates:
    """Judge both gates.

    Parameters
    ----------
    density : RowDensity
    relabelled : Draws

    Returns
    -------
    Gates
    """
    rows, _ = density.judged
    r_hat, ess = r_hat_and_ess(rows[:, :, suspects(rows)])
    names = PARAMETERS if relabelled.n_components > 1 else PARAMETERS[1:]
    of_components = [r_hat_and_ess(getattr(relabelled, name)) for name in names]
    tails = [tail_ess(getattr(relabelled, name)).min() for name in names]
    return Gates(
        row_r_hat=float(r_hat.max()),
        row_ess=float(ess.min()),
        component_r_hat=float(max(values.max() for values, _ in of_components)),
        component_ess=float(min(*(values.min() for _, values in of_components), *tails)),
    )


def r_hat_and_ess(array: Floats) -> tuple[Floats, Floats]:
    """Rank-normalised split r-hat and bulk ESS of (chain, draw, quantity).

    A quantity that never changes has converged: its r-hat is 1, and every draw is effective. With
    one chain, or fewer than four draws, neither can be told: r-hat is infinite, and ESS is 0.
    """
    import arviz as az

    r_hat = _by_quantity(array, lambda data: az.rhat(data), constant=1.0)
    # If one chain never moves while another does, r-hat is NaN, and they have not converged.
    return np.where(np.isnan(r_hat), np.inf, r_hat), _ess(array, "bulk")


def tail_ess(array: Floats) -> Floats:
    """ESS of the 5 % and 95 % quantiles of (chain, draw, quantity), the smaller of the two."""
    return _ess(array, "tail")


def _ess(array: Floats, method: str) -> Floats:
    """Effective sample size of (chain, draw, quantity); 0 if it cannot be told."""
    import arviz as az

    constant = float(array.shape[0] * array.shape[1])
    ess = _by_quantity(array, lambda data: az.ess(data, method=method), constant)
    return np.where(np.isnan(ess), 0.0, ess)


def _by_quantity(
    array: Floats, statistic: Callable[[xr.Dataset], xr.Dataset], constant: float
) -> Floats:
    """ArviZ's statistic of each quantity that varies; NaN if chains or draws are too few."""
    import xarray as xr

    n_chains, n_draws, n = array.shape
    if n_chains < 2 or n_draws < 4:
        return np.full(n, np.nan)
    out = np.full(n, constant)
    varies = (array != array[:1, :1]).any(axis=(0, 1))
    if varies.any():
        data = xr.Dataset({"q": (("chain", "draw", "quantity"), array[:, :, varies])})
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            out[varies] = statistic(data)["q"].values
    return out
