"""Optima of a point fit beside the chains: which is near, and whether all chains lie too low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec

Floats = NDArray[np.float64]


# A chain is near an optimum if that lies within this many standard deviations of its densities.
_NEAR = 3.0


@dataclass(frozen=True, eq=False)
class Optima:
    """Optima of the likelihood.

    Attributes
    ----------
    log_likelihood : ndarray, shape (n_optima,)
    draws : Draws
        Their parameters, one chain of as many draws.
    """

    log_likelihood: Floats
    draws: Draws

    @property
    def best(self) -> float:
        """Highest log likelihood."""
        return float(self.log_likelihood.max())


def read_optima(optima: Any, n_components: int, table: CountTable) -> Optima:
    """Read the optima of a point fit, its table, or its tree.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        If it is a fit of other counts or has another number of components.
    """
    counts = getattr(optima, "counts", None)
    if counts is not None and counts.n != table.n:
        raise ValueError(
            f"optima is a fit of {counts.n} observations, but the tree has {table.n:.0f}. Pass the "
            "fit of the same counts."
        )
    try:
        if hasattr(optima, "children"):
            # Trees come first, because a tree has an attribute .optima too, which is its group.
            dataset = optima["optima"].to_dataset()
            columns = {name: dataset[name].values for name in ("log_likelihood", *PARAMETERS)}
        else:
            frame = getattr(optima, "optima", optima)
            columns = {"log_likelihood": np.asarray(frame["log_likelihood"], np.float64)}
            columns |= {name: np.array(frame[name].tolist(), np.float64) for name in PARAMETERS}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise TypeError(
            "optima must be a PointFit, its .optima table or its tree; got "
            f"{type(optima).__name__}."
        ) from None
    found = columns["means"].shape[-1]
    if found != n_components:
        raise ValueError(
            f"optima has {found} components, but the tree has {n_components}. Pass the fit with "
            "the same number."
        )
    stated = np.asarray(columns["log_likelihood"], np.float64)
    draws = Draws(*(columns[name][None] for name in PARAMETERS))
    own = draws.log_density(table)[0] @ table.frequency
    if not np.allclose(own, stated, rtol=1e-6, atol=1e-3):
        raise ValueError(
            f"optima states a log likelihood of {stated[0]:.3f}, but its parameters have "
            f"{own[0]:.3f} on the counts of the tree. Pass the fit of the same counts."
        )
    return Optima(stated, draws)


def nearest(optima: Optima, rows: Floats, table: CountTable) -> NDArray[np.intp]:
    """Optimum whose density is nearest to that of each chain, (n_chains,); -1 if none is near.

    Distances are root mean squares over observations of differences in log density, which labels do
    not change, in units of the scatter within the chain.
    """
    of_optima = optima.draws.log_density(table)[0]
    share = table.frequency / table.n
    centre, variance = rows.mean(axis=1), rows.var(axis=1)
    # A row that never moves would be infinitely far from every optimum, so scales have a floor.
    scale = np.maximum(variance, 1e-3 * (variance @ share)[:, None] + np.finfo(float).tiny)
    distance = ((centre[:, None] - of_optima) ** 2 / scale[:, None]) @ share
    return np.where(distance.min(axis=1) < _NEAR**2, distance.argmin(axis=1), -1)


def lower_mode(
    likelihood: Floats, table: CountTable, raw: Draws, spec: MixtureSpec | None, optima: Optima
) -> dict[str, str]:
    """The finding that no chain comes near the best optimum, and no prior explains it."""
    # Draws lie below the maximum by a gamma variable of mean (3k - 1) / 2, but the best of them
    # hardly lies below it; the rest is what a prior may cost.
    allowed = 3.0 + 0.5 * (3 * raw.n_components - 1)
    if optima.best - likelihood.max() <= allowed:
        return {}
    if spec is not None:
        # A prior can rightly hold the chains below an optimum of the likelihood.
        at_optima = optima.log_likelihood + _inside(optima.draws, table).log_prior(spec)[0]
        if at_optima.max() - (likelihood + raw.log_prior(spec)).max() <= allowed:
            return {}
    prior = "what the prior was is not known" if spec is None else "the prior does not explain it"
    return {
        "lower-mode": (
            f"No chain comes near the best known optimum: its log likelihood is {optima.best:.1f}, "
            f"the best draw has {likelihood.max():.1f}, and {prior}. Sample again with more chains "
            "or another seed."
        )
    }


def _inside(draws: Draws, table: CountTable) -> Draws:
    """Parameters moved off the edges, where a prior has no density, by too little to matter."""
    exposed = float(table.frequency @ table.exposure)
    weights = np.maximum(draws.weights, 0.5 / table.n)
    means = np.maximum(draws.means, 0.5 / exposed)
    # The least dispersion adds a hundredth to the Poisson variance.
    least = 0.01 * table.n / (means * exposed)
    return Draws(
        weights / weights.sum(-1, keepdims=True), means, np.maximum(draws.dispersions, least)
    )
