"""The priors, as a user states them and as the compiled code reads them.

A default prior is changed in `pmnbmix.mixture.spec`, which says which of these is the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.compiled import compiled

Floats = NDArray[np.float64]
# Integers of Python and of TOML may be larger than any float.
_LARGEST_BITS = 1000
# With a larger concentration, the constant of a Dirichlet is lost to rounding.
_LARGEST_CONCENTRATION = 1e12
# With a smaller concentration, draws of the weights are 0 or 1 in floats.
_SMALLEST_CONCENTRATION = 1e-6
# "auto" is at most 268, for counts up to 2**53 and exposures from 1e-100 to 1e100; beyond 354 a
# squared mean would overflow.
_LARGEST_LOC = 300.0
# A smaller scale pins the parameter, and its precision overflows in the end; a larger one is as
# good as flat wherever exp() is finite.
_SCALES = (1e-3, 1e6)
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def _check_number(name: str, value: object, positive: bool = False, infinite: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        raise ValueError(
            f"{name} must be at most 1e300 in size; got an integer of {value.bit_length()} bits."
        )
    too_large = math.isinf(value) and not infinite
    if math.isnan(value) or too_large or (positive and value <= 0):
        expected = " and ".join(
            word for word, wanted in (("above 0", positive), ("finite", not infinite)) if wanted
        )
        raise ValueError(f"{name} must be {expected}; got {value!r}.")


@dataclass(frozen=True)
class DirichletPrior:
    """Symmetric Dirichlet on the weights.

    Parameters
    ----------
    concentration : float
        1e-6 to 1e12. 1 is flat; 2, the default, keeps weights away from 0, at which a component
        would be empty.

    Examples
    --------
    >>> import numpy as np
    >>> import pmnbmix as nb
    >>> spec = nb.MixtureSpec(n_components=3, weights=nb.DirichletPrior(1.0))
    >>> spec.weights.log_density(np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])).round(2)
    array([0.69, 0.69])
    """

    concentration: float = 2.0

    def __post_init__(self) -> None:
        _check_number("concentration", self.concentration, positive=True)
        if float(self.concentration) > _LARGEST_CONCENTRATION:
            raise ValueError(
                f"concentration must be at most {_LARGEST_CONCENTRATION:g}, where weights are "
                f"equal already; got {self.concentration!r}."
            )
        if float(self.concentration) < _SMALLEST_CONCENTRATION:
            raise ValueError(
                f"concentration must be at least {_SMALLEST_CONCENTRATION:g}, where one weight is "
                f"1 and the others are 0 already; got {self.concentration!r}. A sparse prior has "
                "0.01 to 0.1."
            )
        object.__setattr__(self, "concentration", float(self.concentration))

    def log_density(self, weights: Floats) -> Floats:
        """Log density on the simplex of weights (..., k), with its constant."""
        k = weights.shape[-1]
        constant = special.gammaln(k * self.concentration) - k * special.gammaln(self.concentration)
        with np.errstate(divide="ignore"):
            total = special.xlogy(self.concentration - 1.0, weights).sum(axis=-1)
        return np.asarray(constant + total)


@dataclass(frozen=True)
class NormalPrior:
    """Normal on a logarithm, independently for each component.

    Parameters
    ----------
    loc : float or "auto"
        Centre, in log units, -300 to 300. "auto" (log means only) is the log of the overall rate
        of the counts.
    scale : float
        Standard deviation in log units, 0.001 to 1e6; ``inf`` makes the prior flat, which has a
        point estimate but no proper posterior.

    Examples
    --------
    Means near 20, two in three of them within a factor of e of it:

    >>> import numpy as np
    >>> import pmnbmix as nb
    >>> prior = nb.NormalPrior(loc=np.log(20), scale=1.0)
    >>> spec = nb.MixtureSpec(n_components=2, log_means=prior)
    >>> prior.log_density(np.log([20.0, 2.0])).round(2)
    array([-0.92, -3.57])
    """

    loc: float | Literal["auto"]
    scale: float

    def __post_init__(self) -> None:
        if not (isinstance(self.loc, str) and self.loc == "auto"):
            _check_number("loc", self.loc)
            if abs(float(self.loc)) > _LARGEST_LOC:
                raise ValueError(
                    f"loc must be from {-_LARGEST_LOC:g} to {_LARGEST_LOC:g}, for it is the "
                    f"logarithm of a mean or dispersion; got {self.loc!r}. Take the logarithm of "
                    "what you expect."
                )
            object.__setattr__(self, "loc", float(self.loc))
        _check_number("scale", self.scale, positive=True, infinite=True)
        if not (math.isinf(self.scale) or _SCALES[0] <= float(self.scale) <= _SCALES[1]):
            raise ValueError(
                f"scale must be from {_SCALES[0]:g} to {_SCALES[1]:g}, or inf for a flat prior; "
                f"got {self.scale!r}. It is in log units: the default, 2, is a factor of e**2 = 7."
            )
        object.__setattr__(self, "scale", float(self.scale))

    def log_density(self, values: Floats) -> Floats:
        """Log density of logarithms (...), with its constant; 0 if the prior is flat."""
        if self.is_flat:
            return np.zeros(np.shape(values))
        deviation = (values - float(self.loc)) / self.scale
        return np.asarray(-0.5 * deviation**2 - HALF_LOG_TWO_PI - math.log(self.scale))

    @property
    def is_flat(self) -> bool:
        """Whether the prior has no effect."""
        return math.isinf(self.scale)


class Prior(NamedTuple):
    """The priors of all coefficients as the compiled code reads them, for NUTS and points alike.

    Attributes
    ----------
    exponent : float
        Exponent of every weight: concentration - 1 for the density on the simplex, concentration
        for the density of the log ratios, 0 for maximum likelihood.
    loc, precision : ndarray, shape (n_terms, k)
        Centre and inverse variance of the normal on each entry of a point. Precision 0 is no
        prior, as of the weights' intercepts and of entries that are pinned.
    """

    exponent: float
    loc: Floats
    precision: Floats


@compiled
def log_prior(prior: Prior, point: np.ndarray) -> float:
    """Log prior of a point (n_terms, k), without constants.

    A flat prior is 0 even at minus infinity.
    """
    total = 0.0
    if prior.exponent > 0.0:
        total += prior.exponent * point[0].sum()
    for j in range(point.shape[1]):
        of_component = 0.0
        for row in range(1, point.shape[0]):
            of_component += term_log_prior(prior, row, j, point[row, j])
        total += of_component
    return total


@compiled
def term_log_prior(prior: Prior, row: int, j: int, coefficient: float) -> float:
    """Log prior of one coefficient at its place in the point, without its constant."""
    if prior.precision[row, j] > 0.0:
        value: float = -0.5 * prior.precision[row, j] * (coefficient - prior.loc[row, j]) ** 2
        return value
    return 0.0
