"""What a point estimate maximises: the log likelihood of the table, with or without a log prior.

A point is an array (n_terms, n_components), as `pmnbmix.mixture.design` has it; in the plain model
its three rows are log weights, log means and log dispersions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.compiled import compiled, inlined, uncounted
from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import log_sum_exp
from pmnbmix.mixture.design import HELD
from pmnbmix.mixture.levels import Rows, Terms, log_densities, responsibilities_at
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.priors import Prior, log_prior
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec, as_spec
from pmnbmix.mixture.sums import derivatives, log_likelihood

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]


@compiled
def held_weight(free: np.ndarray) -> int:
    """Component whose weight is held while others move; -1 if there is none."""
    held, moving = HELD, False
    for j in range(free.shape[1]):
        if free[0, j] < 0:
            held = j
        else:
            moving = True
    return held if moving else HELD


@compiled
def weights_move(free: np.ndarray) -> bool:
    """Tell whether any weight moves; none does if they are fixed as equal."""
    moves = False
    for j in range(free.shape[1]):
        moves |= free[0, j] >= 0
    return moves


@compiled
def n_occupied(point: np.ndarray) -> int:
    """Number of components that are not empty."""
    n = 0
    for j in range(point.shape[1]):
        n += 1 if math.isfinite(point[0, j]) else 0
    return n


@compiled
def normalise(point: np.ndarray, free: np.ndarray) -> None:
    """Make the weights sum to 1 in place; a held weight keeps its value."""
    if not weights_move(free):
        return
    held = held_weight(free)
    if held >= 0:
        kept = point[0, held]
        point[0, held] = -math.inf
        rest = log_sum_exp(point[0])
        if not math.isinf(rest):
            point[0] += math.log1p(-math.exp(kept)) - rest
        point[0, held] = kept
    else:
        point[0] -= log_sum_exp(point[0])


@inlined
def joined(rows: Rows, terms: Terms, prior: Prior, free: np.ndarray) -> tuple[Any, ...]:
    """`Objective.arrays` in compiled code, which cannot unpack named tuples into another."""
    return (
        rows.values,
        rows.exposure,
        rows.frequency,
        rows.constants,
        rows.level,
        terms.weights,
        terms.means,
        terms.dispersions,
        prior.exponent,
        prior.loc,
        prior.precision,
        free,
    )


@inlined
def parted(arrays: tuple[Any, ...]) -> tuple[Rows, Terms, Prior, np.ndarray]:
    """Rows, terms, prior and free entries of `Objective.arrays`, while the caller holds it.

    Python hands over one plain tuple in a third of the time that it takes for named ones.
    """
    bare = uncounted(arrays)
    return Rows(*bare[:5]), Terms(*bare[5:8]), Prior(*bare[8:11]), bare[11]


@dataclass(frozen=True, eq=False)
class Objective:
    """Log likelihood plus log prior of a problem, and which coordinates of it move.

    Attributes
    ----------
    problem : Problem
    prior : Prior
        Flat for maximum likelihood.
    constant : float
        Logarithm of the normalising constants of the priors.
    free : ndarray of int, shape (n_terms, k)
        As in `Design`; -1 besides for what is fixed or held here.
    """

    problem: Problem
    prior: Prior
    constant: float
    free: Whole

    @property
    def table(self) -> CountTable:
        """The rows."""
        return self.problem.table

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.problem.design.n_components

    @property
    def equal_weights(self) -> bool:
        """Whether weights are fixed at 1 / n_components."""
        return not weights_move(self.free)

    @property
    def rows(self) -> Rows:
        """The table as compiled code reads it."""
        return self.problem.rows

    @property
    def terms(self) -> Terms:
        """The design as compiled code reads it."""
        return self.problem.design.terms

    @cached_property
    def arrays(self) -> tuple[Floats | Whole | float, ...]:
        """All that compiled code reads, in a form that is quickly handed over; see `parted`."""
        return (*self.rows, *self.terms, *self.prior, self.free)

    @property
    def worth(self) -> float:
        """Number of observations, those that the prior on the weights is worth included."""
        return self.table.n + self.n_components * self.prior.exponent

    def on(self, table: CountTable) -> Objective:
        """Return the same objective on another table."""
        return replace(self, problem=self.problem.on(table))

    def holding(self, row: int, component: int) -> Objective:
        """Return the same objective with one more entry of the point that stays where it is.

        Entries that share its coefficient stay too.
        """
        free = self.free.copy()
        if free[row, component] >= 0:
            free[free == free[row, component]] = HELD
        return replace(self, free=free)

    def log_densities(self, point: Floats) -> Floats:
        """Log density of every row at a point, (n_unique,)."""
        return log_densities(self.rows, self.terms, point)

    def responsibilities(self, point: Floats) -> Floats:
        """P(component | row) at a point, (n_unique, k)."""
        return responsibilities_at(self.rows, self.terms, point)

    def log_likelihood(self, point: Floats) -> float:
        """Log likelihood of the table at a point."""
        return float(log_likelihood(self.rows, self.terms, point))

    def log_prior(self, point: Floats) -> float:
        """Log prior at a point; 0 for maximum likelihood."""
        return self.constant + float(log_prior(self.prior, point))

    def value(self, point: Floats) -> float:
        """Log likelihood plus log prior at a point."""
        return self.log_likelihood(point) + self.log_prior(point)

    def derivatives(self, point: Floats) -> tuple[Floats, Floats]:
        """Gradient and Hessian in the entries of the point, row after row."""
        _, gradient, hessian = derivatives(self.rows, self.terms, self.prior, point)
        return gradient, hessian


def likelihood_objective(counts: Counts, spec: MixtureSpec | int, equal_weights: bool) -> Objective:
    """Objective of maximum likelihood."""
    problem = Problem.of(counts, as_spec(spec))
    free = problem.design.free.copy()
    if equal_weights:
        free[: len(problem.design.weights.terms)] = HELD
    return Objective(problem, problem.flat_prior(), 0.0, free)


def prior_objective(counts: Counts, spec: MixtureSpec, sampling_density: bool) -> Objective:
    """Objective of the posterior mode under a specification.

    With ``sampling_density`` the density is that of (log ratios of the weights, log means, log
    dispersions), the coordinates of NUTS; its mode is another point than the MAP.
    """
    problem = Problem.of(counts, spec)
    spec, k, design = problem.spec, spec.n_components, problem.design
    concentration = spec.weights.concentration
    # At the centre of every prior only the constants are left.
    centre = np.full(k, 1.0 / k)
    constant = float(spec.weights.log_density(centre)) + (concentration - 1.0) * k * math.log(k)
    _, mean, dispersion = design.intercepts
    for row, prior in ((mean, spec.log_means), (dispersion, spec.log_dispersions)):
        moving = int((design.free[row] >= 0).sum())
        constant += moving * float(prior.log_density(np.array(float(prior.loc))))
    # All other coordinates but the ratios of the weights at the centre are slopes.
    intercepts = design.free[[mean, dispersion]]
    n_slopes = design.size - (k - 1) - int((intercepts >= 0).sum())
    constant += n_slopes * float(spec.slopes.log_density(np.array(float(spec.slopes.loc))))
    exponent = concentration if sampling_density else concentration - 1.0
    return Objective(problem, problem.prior(exponent), constant, problem.design.free)


def pack_point(params: MixtureParams) -> Floats:
    """Point (3, k) of parameters."""
    with np.errstate(divide="ignore"):
        return np.log(np.array([params.weights, params.means, params.dispersions]))


def unpack_point(point: Floats) -> MixtureParams:
    """Parameters of a point (3, k)."""
    weights = np.exp(point[0] - special.logsumexp(point[0]))
    return MixtureParams(weights / math.fsum(weights), np.exp(point[1]), np.exp(point[2]))
