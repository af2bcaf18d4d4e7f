"""The mixture of negative binomials as a distribution of PyMC."""

from __future__ import annotations

from typing import Any

import pymc as pm
import pytensor.tensor as pt

from pmnbmix.posterior.collapsed import collapsed_data


class NegativeBinomialMixture:
    """Counts of a mixture of negative binomials, as a random variable of a pm.Model.

    Parameters
    ----------
    name : str
    weights, means, dispersions : tensor_like, shape (k,) or (n, k)
        Any PyMC expressions; means per unit of exposure, variance m + dispersion m^2.
    exposure : tensor_like, shape (n,), or float
    **arguments
        ``observed``, ``dims``, ``shape`` and what else a distribution of PyMC takes.

    Returns
    -------
    TensorVariable

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pmnbmix.posterior.distributions import NegativeBinomialMixture
    >>> variable = NegativeBinomialMixture.dist(
    ...     weights=np.array([0.4, 0.6]),
    ...     means=np.array([1.0, 5.0]),
    ...     dispersions=np.array([0.2, 0.2]),
    ... )
    >>> print(f"{pm.logp(variable, 3).eval():.2f}")
    -2.24
    """

    def __new__(cls, name: str, **arguments: Any) -> Any:
        """Add a random variable to the model of the context."""
        parameters, others = _parameters(**arguments)
        return pm.CustomDist(name, *parameters, **_DEFINITION, **others)

    @classmethod
    def dist(cls, **arguments: Any) -> Any:
        """Make a random variable that belongs to no model."""
        parameters, others = _parameters(**arguments)
        return pm.CustomDist.dist(*parameters, **_DEFINITION, **others)


def _parameters(
    *, weights: Any, means: Any, dispersions: Any, exposure: Any = 1.0, **others: Any
) -> tuple[list[Any], dict[str, Any]]:
    floats = (pt.as_tensor(entry, dtype="float64") for entry in (weights, means, dispersions))
    return [*floats, pt.as_tensor(exposure)], others


def _mixture(weights: Any, means: Any, dispersions: Any, exposure: Any, size: Any = None) -> Any:
    components = pm.NegativeBinomial.dist(
        mu=pt.expand_dims(exposure, -1) * means, alpha=1.0 / dispersions
    )
    return pm.Mixture.dist(w=weights, comp_dists=components, size=size)


def _log_density(value: Any, weights: Any, means: Any, dispersions: Any, exposure: Any) -> Any:
    collapsed = collapsed_data(value, exposure)
    if collapsed is not None and weights.ndim == means.ndim == dispersions.ndim == 1:
        return collapsed.log_density(weights, means, dispersions)
    return pm.logp(_mixture(weights, means, dispersions, exposure), value)


_DEFINITION = {
    "dist": _mixture,
    "logp": _log_density,
    "signature": "(k),(k),(k),()->()",
    "class_name": "NegativeBinomialMixture",
}
