"""EM iterations where parameters follow covariates or are pinned, compiled.

The plain model, whose M step has closed forms, has `pmnbmix.point.em`. Here the M step takes one
safeguarded Newton step in the coefficients of each component, or of all together where some are
shared, and one in the logits of the weights: a generalised EM that never lowers the objective.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.levels import Rows, Terms, component_table, levels_of
from pmnbmix.mixture.priors import Prior, log_prior
from pmnbmix.point.edges import intercepts
from pmnbmix.point.level_steps import improve_components, improve_weights, inside
from pmnbmix.point.objective import normalise, parted, weights_move
from pmnbmix.point.steps import share_out


@compiled
def iterate_levels(
    arrays: tuple[Any, ...], start: np.ndarray, max_iter: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`run_em` on plain arrays: the best point, the paths of log likelihood and density."""
    rows, terms, prior, free = parted(arrays)
    frequency, level_of = rows.frequency, rows.level
    n, k = frequency.size, start.shape[1]
    point = start.copy()
    # A start whose weights sum to more than 1 would seem better than any point.
    normalise(point, free)
    _, _, dispersion = intercepts(terms)
    for j in range(k):
        if prior.precision[dispersion, j] == 0.0 and free[dispersion, j] >= 0:
            point[dispersion, j] = inside(point[dispersion, j])
    table = component_table(rows, levels_of(terms, point))
    mass = np.empty((k, n))
    logs = np.empty(k)
    likelihood_path = np.empty(max_iter + 1)
    density_path = np.empty(max_iter + 1)
    best = point.copy()
    together = _any_shared(terms, free)
    done = 0
    for iteration in range(max_iter + 1):
        log_weights = levels_of(terms, point).log_weights
        total = share_out(frequency, level_of, log_weights, table, mass, logs)
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
        if iteration == max_iter or not math.isfinite(penalised):
            break
        _improve(rows, terms, prior, free, mass, log_weights, point, table, together)
    return best, likelihood_path[: done + 1], density_path[: done + 1]


@compiled
def _any_shared(terms: Terms, free: np.ndarray) -> bool:
    """Whether some coefficient of the means is that of several components."""
    _, mean, dispersion = intercepts(terms)
    for row in range(mean, dispersion):
        for j in range(1, free.shape[1]):
            if free[row, j] >= 0:
                for i in range(j):
                    if free[row, i] == free[row, j]:
                        return True
    return False


@compiled
def _improve(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    free: np.ndarray,
    mass: np.ndarray,
    log_weights: np.ndarray,
    point: np.ndarray,
    table: np.ndarray,
    together: bool,
) -> None:
    """One M step, in place: the weights, then each component, or all where they share something."""
    k = point.shape[1]
    if weights_move(free):
        improve_weights(rows, terms, prior, mass, log_weights, point)
    if together:
        improve_components(rows, terms, prior, free, mass, point, table, 0 * k, k)
    else:
        for j in range(k):
            improve_components(rows, terms, prior, free, mass, point, table, j, j + 1)


@compiled
def settle(
    arrays: tuple[Any, ...], ridge: np.ndarray, mass: np.ndarray, start: np.ndarray, steps: int
) -> np.ndarray:
    """Point whose components fit the rows that they are given, after some M steps.

    Parameters
    ----------
    arrays : tuple
        `Objective.arrays`.
    ridge : ndarray, shape (n_terms, k)
        Precision with which coefficients are held to those of the start.
    mass : ndarray, shape (k, n_rows)
        Number of observations of each row that each component is given.
    start : ndarray, shape (n_terms, k)
    steps : int
    """
    rows, terms, prior, free = parted(arrays)
    held = Prior(prior.exponent, start.copy(), ridge)
    point = start.copy()
    for row in range(point.shape[0]):
        for j in range(point.shape[1]):
            # A pinned coefficient is minus infinity, which is no centre of a ridge.
            if not math.isfinite(start[row, j]):
                held.loc[row, j] = 0.0
    table = component_table(rows, levels_of(terms, point))
    together = _any_shared(terms, free)
    for _ in range(steps):
        log_weights = levels_of(terms, point).log_weights
        _improve(rows, terms, held, free, mass, log_weights, point, table, together)
    return point
