"""Standard errors of a point estimate from the observed information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.point.newton import FLAT, free_coordinates, information_spectrum
from pmnbmix.point.objective import Objective

Floats = NDArray[np.float64]

_Z95 = 1.959963984540054
# A log dispersion with a larger standard error than this spans Poisson to geometric.
_WIDE_LOG_DISPERSION = 3.0


@dataclass(frozen=True, eq=False)
class Wald:
    """Standard errors and 95 % intervals on the natural scales.

    Attributes
    ----------
    estimate, se, lower, upper : ndarray, shape (3, k)
        Rows: weights, means, dispersions. ``se`` is infinite where the data do not determine the
        parameter. Intervals are symmetric on logit and log scales.
    flag : list of list of str
        Why an interval is not to be used; empty where it is.
    covariance : ndarray, shape (3k, 3k)
        Of weights, means and dispersions; rows of parameters with infinite ``se`` are 0.
    """

    estimate: Floats
    se: Floats
    lower: Floats
    upper: Floats
    flag: list[list[str]]
    covariance: Floats


def wald(objective: Objective, point: Floats) -> Wald:
    """Invert the observed information at a point.

    Parameters
    ----------
    objective : Objective
    point : ndarray, shape (3, k)

    Returns
    -------
    Wald
    """
    k = objective.n_components
    _, hessian = objective.derivatives(point)
    free = free_coordinates(point, objective.equal_weights)
    covariance = np.zeros((3 * k, 3 * k))
    undetermined = ~free
    saddle = False
    if free.any():
        scale, eigenvalues, vectors = information_spectrum(hessian, free, point[0], objective.worth)
        flat = np.abs(eigenvalues) < FLAT
        saddle = bool((eigenvalues[~flat] < 0).any())
        inverse = (vectors[:, ~flat] / np.abs(eigenvalues[~flat])) @ vectors[:, ~flat].T
        covariance[np.ix_(free, free)] = inverse * np.outer(scale, scale)
        undetermined[free] = _loads_on(vectors[:, flat], free, scale, k)

    estimate = np.exp(point)
    jacobian = np.diag(estimate.ravel())
    weights = estimate[0]
    jacobian[:k, :k] = np.diag(weights) - np.outer(weights, weights)
    natural = jacobian @ covariance @ jacobian.T
    fixed_weights = objective.equal_weights or k == 1
    if fixed_weights:
        undetermined[:k] = False
    natural[undetermined] = 0.0
    natural[:, undetermined] = 0.0
    se = np.sqrt(np.maximum(np.diag(natural), 0.0)).reshape(3, k)
    unknown = undetermined.reshape(3, k)
    se[unknown] = np.inf

    lower, upper = _interval(estimate, se, fixed_weights)
    log_se = np.sqrt(np.maximum(np.diag(covariance), 0.0)).reshape(3, k)
    flag = [
        [_flag(row, point[:, j], bool(unknown[row, j]), log_se[row, j], saddle) for j in range(k)]
        for row in range(3)
    ]
    return Wald(estimate, se, lower, upper, flag, natural)


def _loads_on(flat: Floats, free: NDArray[np.bool_], scale: Floats, k: int) -> NDArray[np.bool_]:
    """Free coordinates that move along a flat direction, besides the redundant logit."""
    redundant = np.zeros(free.size)
    redundant[:k] = 1.0
    unit = redundant[free] / scale
    length = np.linalg.norm(unit)
    if length > 0:
        unit = unit / length
        flat = flat - np.outer(unit, unit @ flat)
    return np.asarray(np.linalg.norm(flat, axis=1) > 1e-3)


def _interval(estimate: Floats, se: Floats, fixed_weights: bool) -> tuple[Floats, Floats]:
    lower, upper = estimate.copy(), estimate.copy()
    inside = np.isfinite(se) & (estimate > 0)
    inside[0] &= estimate[0] < 1
    if fixed_weights:
        inside[0] = False
    for row in range(3):
        chosen = inside[row]
        centre, error = estimate[row, chosen], se[row, chosen]
        if row == 0:
            half = _Z95 * error / (centre * (1.0 - centre))
            odds = np.log(centre) - np.log1p(-centre)
            lower[row, chosen] = special.expit(odds - half)
            upper[row, chosen] = special.expit(odds + half)
        else:
            half = np.minimum(_Z95 * error / centre, 700.0 - np.maximum(np.log(centre), 0.0))
            lower[row, chosen] = centre * np.exp(-half)
            upper[row, chosen] = centre * np.exp(half)
    unknown = ~np.isfinite(se)
    lower[unknown] = 0.0
    upper[0, unknown[0]] = 1.0
    upper[1:][unknown[1:]] = np.inf
    return lower, upper


def _flag(row: int, column: Floats, unknown: bool, log_se: float, saddle: bool) -> str:
    if not np.isfinite(column[0]):
        return "empty component: nothing is known of it; fit fewer components"
    if row == 2 and np.isneginf(column[1]):
        return "mean 0: its dispersion has no effect"
    if row == 2 and np.isneginf(column[2]):
        return "Poisson limit: no standard error there; use the posterior"
    if row == 1 and np.isneginf(column[1]):
        return "mean 0: no standard error at the edge; use the posterior"
    if unknown:
        return "not determined by the data; use the posterior or fewer components"
    if saddle:
        return "not an optimum: standard errors mean nothing here"
    if row == 2 and log_se > _WIDE_LOG_DISPERSION:
        return "nearly Poisson: the Wald interval is unsafe; use the posterior"
    return ""
