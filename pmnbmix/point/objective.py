"""What a point estimate maximises: the log likelihood of the table, with or without a log prior.

A point is an array (3, n_components): log weights, log means, log dispersions. Minus infinity is a
value like any other there: an empty component, a point mass at zero, a Poisson component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.compiled import compiled, dot
from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import log_sum_exp, mixture_rows
from pmnbmix.mixture.kernels import marginal_derivatives, table_arrays
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec

Floats = NDArray[np.float64]
# Values, exposure, frequency and count constants of a table, as the compiled code takes them.
TableArrays = tuple[Floats, Floats, Floats, Floats]
# Where a coordinate can be held, this one is none.
NOTHING_HELD = -1


@compiled
def component_log_prior(mean: float, dispersion: float, prior: np.ndarray) -> float:
    """Log prior of one component, without constants; a flat prior is 0 even at minus infinity."""
    total = 0.0
    if prior[2] > 0.0:
        total -= 0.5 * prior[2] * (mean - prior[1]) ** 2
    if prior[4] > 0.0:
        total -= 0.5 * prior[4] * (dispersion - prior[3]) ** 2
    return total


@compiled
def log_prior(point: np.ndarray, prior: np.ndarray) -> float:
    """Log prior of a point (3, k), without constants."""
    total = 0.0
    if prior[0] > 0.0:
        total += prior[0] * point[0].sum()
    for j in range(point.shape[1]):
        total += component_log_prior(point[1, j], point[2, j], prior)
    return total


@compiled
def log_likelihood(arrays: TableArrays, point: np.ndarray) -> float:
    """Log likelihood of the table at a point (3, k)."""
    values, exposure, frequency, constants = arrays
    rows = mixture_rows(values, exposure, constants, point[0], np.exp(point[1]), np.exp(-point[2]))
    total: float = dot(frequency, rows)
    # a row that is impossible makes the compensated sum NaN
    return total if not math.isnan(total) else -math.inf


@compiled
def derivatives(
    arrays: TableArrays, prior: np.ndarray, point: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log likelihood; gradient (3k,) and Hessian (3k, 3k), log prior included, in (L, a, b)."""
    values, exposure, frequency, constants = arrays
    k = point.shape[1]
    likelihood, gradient, hessian = marginal_derivatives(
        values, exposure, frequency, constants, point[0], np.exp(point[1]), np.exp(-point[2])
    )
    if prior[0] > 0.0:
        weights = np.exp(point[0])
        for i in range(k):
            gradient[i] += prior[0] * (1.0 - k * weights[i])
            hessian[i, i] -= prior[0] * k * weights[i]
            for j in range(k):
                hessian[i, j] += prior[0] * k * weights[i] * weights[j]
    for row in range(1, 3):
        loc, precision = prior[2 * row - 1], prior[2 * row]
        if precision > 0.0:
            for j in range(k):
                gradient[row * k + j] -= precision * (point[row, j] - loc)
                hessian[row * k + j, row * k + j] -= precision
    return likelihood, gradient, hessian


@compiled
def penalised(arrays: TableArrays, prior: np.ndarray, point: np.ndarray) -> float:
    """Log likelihood plus log prior, without the constants of the prior."""
    return log_likelihood(arrays, point) + log_prior(point, prior)


@compiled
def normalise(point: np.ndarray, equal_weights: bool, held: int) -> None:
    """Make the weights sum to 1 in place; a held weight keeps its value."""
    if equal_weights:
        return
    if 0 <= held < point.shape[1]:
        kept = point[0, held]
        point[0, held] = -math.inf
        rest = log_sum_exp(point[0])
        if not math.isinf(rest):
            point[0] += math.log1p(-math.exp(kept)) - rest
        point[0, held] = kept
    else:
        point[0] -= log_sum_exp(point[0])


@dataclass(frozen=True, eq=False)
class Objective:
    """Log likelihood plus log prior on one table.

    Attributes
    ----------
    table : CountTable
    n_components : int
    equal_weights : bool
        Weights are fixed at 1 / n_components.
    weight_exponent : float
        Exponent of every weight in the prior: concentration - 1 for the density on the simplex,
        concentration for the density of the log ratios, 0 for maximum likelihood.
    mean_prior, dispersion_prior : tuple of float
        Centre and precision of the normal on the logarithm; precision 0 is no prior.
    constant : float
        Logarithm of the normalising constants of the priors.
    """

    table: CountTable
    n_components: int
    equal_weights: bool = False
    weight_exponent: float = 0.0
    mean_prior: tuple[float, float] = (0.0, 0.0)
    dispersion_prior: tuple[float, float] = (0.0, 0.0)
    constant: float = 0.0

    @property
    def prior_numbers(self) -> Floats:
        """The prior as the compiled code reads it, (5,)."""
        return np.array([self.weight_exponent, *self.mean_prior, *self.dispersion_prior])

    @cached_property
    def arrays(self) -> TableArrays:
        """The table as the compiled code takes it."""
        return table_arrays(self.table)

    @property
    def worth(self) -> float:
        """Number of observations, those that the prior on the weights is worth included."""
        return self.table.n + self.n_components * self.weight_exponent

    def on(self, table: CountTable) -> Objective:
        """Return the same objective on another table."""
        return replace(self, table=table)

    def log_likelihood(self, point: Floats) -> float:
        """Log likelihood of the table at a point."""
        return float(log_likelihood(self.arrays, point))

    def log_prior(self, point: Floats) -> float:
        """Log prior at a point; 0 for maximum likelihood."""
        return self.constant + float(log_prior(point, self.prior_numbers))

    def value(self, point: Floats) -> float:
        """Log likelihood plus log prior at a point."""
        return self.log_likelihood(point) + self.log_prior(point)

    def derivatives(self, point: Floats) -> tuple[Floats, Floats]:
        """Gradient (3k,) and Hessian (3k, 3k) in logits, log means and log dispersions."""
        _, gradient, hessian = derivatives(self.arrays, self.prior_numbers, point)
        return gradient, hessian


def inv_disps(point: Floats) -> Floats:
    """Inverse dispersions of a point, (k,); inf is Poisson."""
    with np.errstate(over="ignore"):
        inverse: Floats = np.exp(-point[2])
    return inverse


def likelihood_objective(counts: Counts, n_components: int, equal_weights: bool) -> Objective:
    """Objective of maximum likelihood."""
    return Objective(counts.table, n_components, equal_weights)


def prior_objective(counts: Counts, spec: MixtureSpec, sampling_density: bool) -> Objective:
    """Objective of the posterior mode under a resolved specification.

    With ``sampling_density`` the density is that of (log ratios of the weights, log means, log
    dispersions), the coordinates of NUTS; its mode is another point than the MAP.
    """
    k = spec.n_components
    mean_loc, dispersion_loc = float(spec.log_means.loc), float(spec.log_dispersions.loc)
    concentration = spec.weights.concentration
    # at the centre of every prior, where only the constants are left
    centre = np.full(k, 1.0 / k)
    constant = float(spec.weights.log_density(centre)) + (concentration - 1.0) * k * math.log(k)
    constant += k * float(spec.log_means.log_density(np.array(mean_loc)))
    constant += k * float(spec.log_dispersions.log_density(np.array(dispersion_loc)))
    return Objective(
        counts.table,
        k,
        weight_exponent=concentration if sampling_density else concentration - 1.0,
        mean_prior=(mean_loc, spec.log_means.scale**-2),
        dispersion_prior=(dispersion_loc, spec.log_dispersions.scale**-2),
        constant=constant,
    )


def pack_point(params: MixtureParams) -> Floats:
    """Point (3, k) of parameters."""
    with np.errstate(divide="ignore"):
        return np.log(np.array([params.weights, params.means, params.dispersions]))


def unpack_point(point: Floats) -> MixtureParams:
    """Parameters of a point (3, k)."""
    weights = np.exp(point[0] - special.logsumexp(point[0]))
    return MixtureParams(weights / math.fsum(weights), np.exp(point[1]), np.exp(point[2]))
