"""What a point estimate maximises: the log likelihood of the table, with or without a log prior.

A point is an array (3, n_components): log weights, log means, log dispersions. Minus infinity is a
value like any other there: an empty component, a point mass at zero, a Poisson component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.counts import Counts, CountTable
from pmnbmix.mixture import density, kernels
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec

Floats = NDArray[np.float64]


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
        """The prior as the compiled EM reads it, (5,)."""
        return np.array([self.weight_exponent, *self.mean_prior, *self.dispersion_prior])

    def log_likelihood(self, point: Floats) -> float:
        """Log likelihood of the table at a point."""
        rows = density.mixture_table(
            self.table.values, self.table.exposure, point[0], np.exp(point[1]), inv_disps(point)
        )
        return float(np.dot(self.table.frequency, rows))

    def log_prior(self, point: Floats) -> float:
        """Log prior at a point; 0 for maximum likelihood."""
        total = self.constant
        if self.weight_exponent:
            total += self.weight_exponent * float(point[0].sum())
        for row, (loc, precision) in ((1, self.mean_prior), (2, self.dispersion_prior)):
            if precision:
                total -= 0.5 * precision * float(((point[row] - loc) ** 2).sum())
        return total

    def value(self, point: Floats) -> float:
        """Log likelihood plus log prior at a point."""
        return self.log_likelihood(point) + self.log_prior(point)

    def derivatives(self, point: Floats) -> tuple[float, Floats, Floats]:
        """Value, gradient (3k,) and Hessian (3k, 3k) in logits, log means and log dispersions."""
        table, k = self.table, self.n_components
        total, gradient, hessian = kernels.marginal_derivatives(
            table.values,
            table.exposure,
            table.frequency,
            point[0],
            np.exp(point[1]),
            inv_disps(point),
        )
        if self.weight_exponent:
            weights = np.exp(point[0])
            gradient[:k] += self.weight_exponent * (1.0 - k * weights)
            curvature = np.diag(weights) - np.outer(weights, weights)
            hessian[:k, :k] -= self.weight_exponent * k * curvature
        for row, (loc, precision) in ((1, self.mean_prior), (2, self.dispersion_prior)):
            if precision:
                block = slice(row * k, (row + 1) * k)
                gradient[block] -= precision * (point[row] - loc)
                hessian[block, block] -= precision * np.eye(k)
        return total + self.log_prior(point), gradient, hessian


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
