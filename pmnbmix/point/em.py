"""EM iterations on the count table, compiled.

The M step sets the weights in closed form and takes one safeguarded Newton step for the mean and
dispersion of each component, which is a generalised EM: it needs no more iterations than a full
maximisation and never lowers the objective (Dempster, Laird and Rubin 1977, J. R. Stat. Soc. B 39,
1-38, doi:10.1111/j.2517-6161.1977.tb01600.x). Where all exposures are equal and means have no
prior, the weighted mean of the counts is the exact maximiser for every dispersion.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled, dot
from pmnbmix.mixture.density import (
    component_jet,
    component_value,
    inverse_constants,
)
from pmnbmix.mixture.levels import Rows, component_table, levels_of
from pmnbmix.mixture.priors import Prior, log_prior, term_log_prior
from pmnbmix.mixture.special import stirling_remainder
from pmnbmix.point.level_em import iterate_levels
from pmnbmix.point.objective import Objective, parted, weights_move
from pmnbmix.point.steps import share_out

Floats = NDArray[np.float64]

# Within EM the dispersion stays in this range of logs; Newton decides whether it is exactly 0.
_LOWEST_LOG_DISPERSION = math.log(1e-12)
_HIGHEST_LOG_DISPERSION = math.log(1e8)
_LONGEST_STEP = 2.0
_HALVINGS = 20
# Rows of a point in the plain model. Numba would compile the prior for each plain integer anew.
_OF_MEANS: Any = np.int64(1)
_OF_DISPERSIONS: Any = np.int64(2)


def run_em(
    objective: Objective, start: Floats, max_iter: int, tolerance: float
) -> tuple[Floats, Floats, Floats]:
    """Run EM from a point.

    Parameters
    ----------
    objective : Objective
    start : ndarray, shape (n_terms, k)
    max_iter : int
    tolerance : float
        Stop where one iteration gains less than this many nats.

    Returns
    -------
    point : ndarray, shape (n_terms, k)
    likelihood_path, density_path : ndarray, shape (n_iter + 1,)
        Log likelihood, and log likelihood plus log prior, before each iteration and at the end.
    """
    if objective.problem.design.is_plain:
        exposure = objective.table.exposure
        one_exposure = bool((exposure == exposure[0]).all())
        point, likelihood_path, penalised_path = iterate(
            objective.arrays, start, one_exposure, max_iter, tolerance
        )
    else:
        point, likelihood_path, penalised_path = iterate_levels(
            objective.arrays, start, max_iter, tolerance
        )
    return point, likelihood_path, penalised_path + objective.constant


@compiled
def log_prior_at(prior: Prior, j: int, log_mean: float, log_dispersion: float) -> float:
    """Log prior of the mean and dispersion of one component, without constants."""
    of_mean = term_log_prior(prior, _OF_MEANS, j, log_mean)
    return of_mean + term_log_prior(prior, _OF_DISPERSIONS, j, log_dispersion)


@compiled
def _expected_density(
    rows: Rows,
    mass: np.ndarray,
    log_mean: float,
    log_dispersion: float,
    prior: Prior,
    j: int,
    column: np.ndarray,
) -> float:
    """Expected complete-data log density of one component; its log densities go into ``column``."""
    values, exposure, constants = rows.values, rows.exposure, rows.constants
    total = log_prior_at(prior, j, log_mean, log_dispersion)
    mean, inv_disp = math.exp(log_mean), math.exp(-log_dispersion)
    remainder = stirling_remainder(inv_disp)
    for u in range(values.size):
        column[u] = component_value(
            values[u], constants[u], exposure[u] * mean, inv_disp, remainder
        )
        if mass[u] > 0.0:
            total += mass[u] * column[u]
    return total


@compiled
def _newton_step(
    rows: Rows,
    mass: np.ndarray,
    log_mean: float,
    log_dispersion: float,
    prior: Prior,
    j: int,
    fixed_mean: bool,
) -> tuple[float, float, float]:
    """Ascent step in (log mean, log dispersion), at most ``_LONGEST_STEP`` long in either.

    Also returns the expected complete-data log density that it starts from.
    """
    values, exposure, constants = rows.values, rows.exposure, rows.constants
    mean, inv_disp = math.exp(log_mean), math.exp(-log_dispersion)
    remainder, first, second = inverse_constants(inv_disp)
    before = log_prior_at(prior, j, log_mean, log_dispersion)
    by_mean = prior.precision[1, j] * (prior.loc[1, j] - log_mean)
    by_dispersion = prior.precision[2, j] * (prior.loc[2, j] - log_dispersion)
    mean_mean, mean_dispersion, dispersion_dispersion = (
        -prior.precision[1, j],
        0.0,
        -prior.precision[2, j],
    )
    for u in range(values.size):
        if mass[u] > 0.0:
            jet = component_jet(
                values[u], constants[u], exposure[u] * mean, inv_disp, remainder, first, second
            )
            before += mass[u] * jet[0]
            by_mean += mass[u] * jet[1]
            by_dispersion += mass[u] * jet[2]
            mean_mean += mass[u] * jet[3]
            mean_dispersion += mass[u] * jet[4]
            dispersion_dispersion += mass[u] * jet[5]
    determinant = mean_mean * dispersion_dispersion - mean_dispersion * mean_dispersion
    step_mean = 0.0
    if not fixed_mean and mean_mean < 0.0 and determinant > 0.0:
        step_mean = (
            mean_dispersion * by_dispersion - dispersion_dispersion * by_mean
        ) / determinant
        step_dispersion = (mean_dispersion * by_mean - mean_mean * by_dispersion) / determinant
    else:
        if not fixed_mean and mean_mean < 0.0:
            step_mean = -by_mean / mean_mean
        if dispersion_dispersion < 0.0:
            step_dispersion = -by_dispersion / dispersion_dispersion
        else:
            step_dispersion = math.copysign(1.0, by_dispersion) if by_dispersion != 0.0 else 0.0
    longest = max(abs(step_mean), abs(step_dispersion))
    if longest > _LONGEST_STEP:
        step_mean *= _LONGEST_STEP / longest
        step_dispersion *= _LONGEST_STEP / longest
    return step_mean, step_dispersion, before


@compiled
def _improve_component(
    rows: Rows,
    mass: np.ndarray,
    log_mean: float,
    log_dispersion: float,
    prior: Prior,
    j: int,
    one_exposure: bool,
    column: np.ndarray,
) -> tuple[float, float]:
    """One step for the mean and dispersion of a component that never lowers its objective.

    ``column`` holds the log densities of the rows, here before and after.
    """
    fixed_mean = one_exposure and prior.precision[1, j] == 0.0
    if fixed_mean:
        # The weighted mean maximises over the mean whatever the dispersion is.
        counted = dot(mass, rows.values)
        if counted == 0.0:
            _expected_density(rows, mass, -math.inf, log_dispersion, prior, j, column)
            return -math.inf, log_dispersion
        log_mean = math.log(counted / dot(mass, rows.exposure))
    if math.isinf(log_mean):
        return log_mean, log_dispersion
    step_mean, step_dispersion, before = _newton_step(
        rows, mass, log_mean, log_dispersion, prior, j, fixed_mean
    )
    trial = np.empty_like(column)
    for _ in range(_HALVINGS):
        moved = log_dispersion + step_dispersion
        if prior.precision[2, j] == 0.0:
            moved = min(max(moved, _LOWEST_LOG_DISPERSION), _HIGHEST_LOG_DISPERSION)
        after = _expected_density(rows, mass, log_mean + step_mean, moved, prior, j, trial)
        if after >= before:
            column[:] = trial
            return log_mean + step_mean, moved
        step_mean *= 0.5
        step_dispersion *= 0.5
    if fixed_mean:
        _expected_density(rows, mass, log_mean, log_dispersion, prior, j, column)
    return log_mean, log_dispersion


@compiled
def iterate(
    arrays: tuple[Any, ...], start: np.ndarray, one_exposure: bool, max_iter: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`run_em` on plain arrays, in the plain model: its best point, and the two paths."""
    rows, terms, prior, free = parted(arrays)
    values, frequency = rows.values, rows.frequency
    k = start.shape[1]
    point = start.copy()
    for j in range(k):
        if prior.precision[2, j] == 0.0:
            point[2, j] = min(max(point[2, j], _LOWEST_LOG_DISPERSION), _HIGHEST_LOG_DISPERSION)
    table = component_table(rows, levels_of(terms, point))
    mass = np.empty((k, values.size))
    logs = np.empty(k)
    column = np.empty(values.size)
    likelihood_path = np.empty(max_iter + 1)
    density_path = np.empty(max_iter + 1)
    n = frequency.sum()
    best = point.copy()
    done = 0
    for iteration in range(max_iter + 1):
        total = share_out(frequency, rows.level, point[:1], table, mass, logs)
        penalised = total + log_prior(prior, point)
        if iteration > 0 and not penalised >= density_path[iteration - 1]:
            # The gain is lost in rounding, or not finite, so the last point is kept.
            break
        likelihood_path[iteration] = total
        density_path[iteration] = penalised
        best[:] = point
        done = iteration
        if iteration > 0 and penalised - density_path[iteration - 1] < tolerance:
            break
        if iteration == max_iter:
            break
        for j in range(k):
            share = mass[j].sum()
            if weights_move(free):
                point[0, j] = math.log((share + prior.exponent) / (n + k * prior.exponent))
            if share > 0.0:
                column[:] = table[:, j]
                point[1, j], point[2, j] = _improve_component(
                    rows,
                    mass[j],
                    point[1, j],
                    point[2, j],
                    prior,
                    j,
                    one_exposure,
                    column,
                )
                table[:, j] = column
    return best, likelihood_path[: done + 1], density_path[: done + 1]
