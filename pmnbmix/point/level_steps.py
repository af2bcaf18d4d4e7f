"""The M step where parameters follow covariates: one safeguarded Newton step for each part."""

from __future__ import annotations

import math

import numpy as np

from pmnbmix.compiled import compiled
from pmnbmix.mixture.density import (
    component_jet,
    component_value,
    inverse_constants,
    log_sum_exp,
)
from pmnbmix.mixture.levels import Levels, Rows, Terms, levels_of, row_at
from pmnbmix.mixture.priors import Prior, log_prior
from pmnbmix.mixture.special import stirling_remainder
from pmnbmix.point.edges import intercepts
from pmnbmix.point.steps import substitute

# Within EM the dispersion stays in this range of logs; Newton decides whether it is exactly 0.
_LOWEST_LOG_DISPERSION = math.log(1e-12)
_HIGHEST_LOG_DISPERSION = math.log(1e8)
_LONGEST_STEP = 2.0
_HALVINGS = 20
# A pivot of the scaled information below this belongs to a column that others make up.
_ALIASED = 1e-9


@compiled
def inside(log_dispersion: float) -> float:
    """Log dispersion within the range that EM stays in."""
    return min(max(log_dispersion, _LOWEST_LOG_DISPERSION), _HIGHEST_LOG_DISPERSION)


@compiled
def _numbered(
    terms: Terms, free: np.ndarray, point: np.ndarray, first: int, stop: int
) -> tuple[np.ndarray, int]:
    """Coordinate of each coefficient of some components that moves, (n_terms, k); how many."""
    _, mean, dispersion = intercepts(terms)
    numbers = np.full(point.shape, -1)
    known = np.full(free.max() + 1, -1)
    size = 0
    for row in range(mean, point.shape[0]):
        for j in range(first, stop):
            moves = free[row, j] >= 0 and math.isfinite(point[0, j])
            moves = moves and math.isfinite(point[mean, j])
            if row >= dispersion:
                moves = moves and math.isfinite(point[dispersion, j])
            if moves:
                if known[free[row, j]] < 0:
                    known[free[row, j]] = size
                    size += 1
                numbers[row, j] = known[free[row, j]]
    return numbers, size


@compiled
def improve_components(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    free: np.ndarray,
    mass: np.ndarray,
    point: np.ndarray,
    table: np.ndarray,
    first: int,
    stop: int,
) -> None:
    """One step for the means and dispersions of components first to stop, in place.

    Their expected log density never falls. ``table`` has the log densities of rows (n, k), before
    and after.
    """
    numbers, size = _numbered(terms, free, point, first, stop)
    if size == 0:
        return
    _, _, dispersion = intercepts(terms)
    gradient, information = np.zeros(size), np.zeros((size, size))
    levels = levels_of(terms, point)
    before = 0.0
    for j in range(first, stop):
        before += _add_component(rows, terms, levels, mass[j], numbers, j, gradient, information)
    of_dispersion = np.zeros(size, np.bool_)
    for row in range(point.shape[0]):
        for j in range(first, stop):
            number = numbers[row, j]
            if number >= 0:
                of_dispersion[number] = row >= dispersion
                off = point[row, j] - prior.loc[row, j]
                gradient[number] -= prior.precision[row, j] * off
                information[number, number] += prior.precision[row, j]
                before -= 0.5 * prior.precision[row, j] * off * off
    solved, step = _ascent(information, gradient)
    if not solved:
        # Where the dispersions bend upwards, they are moved apart from the means, and uphill.
        for a in range(size):
            for b in range(size):
                if a != b and (of_dispersion[a] or of_dispersion[b]):
                    information[a, b] = 0.0
            if of_dispersion[a] and not information[a, a] > abs(gradient[a]):
                information[a, a] = max(abs(information[a, a]), abs(gradient[a]))
        _, step = _ascent(information, gradient)
    longest = np.abs(step).max()
    if longest > _LONGEST_STEP:
        step *= _LONGEST_STEP / longest
    trial = np.empty((stop - first, table.shape[0]))
    for _ in range(_HALVINGS):
        moved = point.copy()
        after = 0.0
        for row in range(point.shape[0]):
            for j in range(first, stop):
                if numbers[row, j] >= 0:
                    moved[row, j] += step[numbers[row, j]]
                    if row == dispersion and prior.precision[row, j] == 0.0:
                        moved[row, j] = inside(moved[row, j])
                    off = moved[row, j] - prior.loc[row, j]
                    after -= 0.5 * prior.precision[row, j] * off * off
        levels = levels_of(terms, moved)
        for j in range(first, stop):
            after += _fill_component(rows, levels, mass[j], j, trial[j - first])
        if after >= before:
            point[:] = moved
            for j in range(first, stop):
                table[:, j] = trial[j - first]
            return
        step *= 0.5


@compiled
def _add_component(
    rows: Rows,
    terms: Terms,
    levels: Levels,
    mass: np.ndarray,
    numbers: np.ndarray,
    j: int,
    gradient: np.ndarray,
    information: np.ndarray,
) -> float:
    """Expected log density of a component; its derivatives are added in place."""
    values, exposure, _, constants, level_of = rows
    _, means, inv_disps = levels
    n_levels = max(len(means), len(inv_disps))
    fixed = np.empty((len(inv_disps), 3))
    for level in range(len(inv_disps)):
        remainder, once, twice = inverse_constants(inv_disps[level, j])
        fixed[level, 0], fixed[level, 1], fixed[level, 2] = remainder, once, twice
    # Sums over the rows of a level: slopes in log mean and log dispersion, then the curvatures.
    sums = np.zeros((n_levels, 5))
    total = 0.0
    for u in range(values.size):
        if mass[u] > 0.0:
            level = level_of[u]
            mean, spread = row_at(means, level), row_at(inv_disps, level)
            jet = component_jet(
                values[u],
                constants[u],
                exposure[u] * means[mean, j],
                inv_disps[spread, j],
                fixed[spread, 0],
                fixed[spread, 1],
                fixed[spread, 2],
            )
            total += mass[u] * jet[0]
            at = row_at(sums, level)
            for i in range(5):
                sums[at, i] += mass[u] * jet[i + 1]
    _, first, dispersion = intercepts(terms)
    of_means = terms.means.shape[1]
    for level in range(n_levels):
        of_level, of_spread = row_at(terms.means, level), row_at(terms.dispersions, level)
        for row in range(first, numbers.shape[0]):
            a = numbers[row, j]
            if a < 0:
                continue
            one = 1 if row >= dispersion else 0
            x = (
                terms.dispersions[of_spread, row - dispersion]
                if one
                else terms.means[of_level, row - first]
            )
            gradient[a] += x * sums[level, one]
            for beside in range(first, row + 1):
                b = numbers[beside, j]
                if b < 0:
                    continue
                other = 1 if beside >= dispersion else 0
                both = x * (
                    terms.dispersions[of_spread, beside - first - of_means]
                    if other
                    else terms.means[of_level, beside - first]
                )
                bend = both * sums[level, 2 + one + other]
                information[a, b] -= bend
                if a != b:
                    information[b, a] -= bend
    return total


@compiled
def _fill_component(
    rows: Rows, levels: Levels, mass: np.ndarray, j: int, column: np.ndarray
) -> float:
    """Expected log density of a component; the log densities of its rows go into ``column``."""
    values, exposure, _, constants, level_of = rows
    _, means, inv_disps = levels
    remainders = np.zeros(len(inv_disps))
    for level in range(len(inv_disps)):
        if not math.isinf(inv_disps[level, j]):
            remainders[level] = stirling_remainder(inv_disps[level, j])
    total = 0.0
    for u in range(values.size):
        mean, spread = row_at(means, level_of[u]), row_at(inv_disps, level_of[u])
        column[u] = component_value(
            values[u],
            constants[u],
            exposure[u] * means[mean, j],
            inv_disps[spread, j],
            remainders[spread],
        )
        if mass[u] > 0.0:
            total += mass[u] * column[u]
    return total


@compiled
def _ascent(information: np.ndarray, gradient: np.ndarray) -> tuple[bool, np.ndarray]:
    """Newton step by Cholesky, and whether the information is positive semidefinite.

    A coordinate that the others make up, or that has no curvature, stays where it is.
    """
    size = gradient.size
    scale = np.empty(size)
    for a in range(size):
        bend = abs(information[a, a])
        scale[a] = 1.0 / math.sqrt(bend) if bend > 1e-100 else 0.0
    root = np.empty((size, size))
    for a in range(size):
        for b in range(size):
            root[a, b] = information[a, b] * scale[a] * scale[b]
    step = gradient * scale
    solved = True
    for j in range(size):
        for i in range(j):
            root[j, j] -= root[j, i] * root[j, i]
        if root[j, j] < -_ALIASED:
            solved = False
        alone = not root[j, j] > _ALIASED
        if alone:
            step[j] = 0.0
        root[j, j] = 1.0 if alone else math.sqrt(root[j, j])
        for row in range(j + 1, size):
            for i in range(j):
                root[row, j] -= root[row, i] * root[j, i]
            root[row, j] = 0.0 if alone else root[row, j] / root[j, j]
    substitute(root, step)
    return solved, step * scale


@compiled
def improve_weights(
    rows: Rows,
    terms: Terms,
    prior: Prior,
    mass: np.ndarray,
    log_weights: np.ndarray,
    point: np.ndarray,
) -> None:
    """Weights in closed form, or one step in their logits if they follow covariates; in place."""
    k, n_terms = point.shape[1], terms.weights.shape[1]
    if n_terms == 1:
        # What starts are given need not be every row once, so it is not the number of rows.
        n = mass.sum()
        for j in range(k):
            share = mass[j].sum()
            point[0, j] = math.log((share + prior.exponent) / (n + k * prior.exponent))
        return
    n_levels = len(log_weights)
    held = np.zeros((n_levels, k))
    for u in range(rows.values.size):
        at = row_at(held, rows.level[u])
        for j in range(k):
            held[at, j] += mass[j, u]
    before = _weights_density(prior, held, log_weights, point)
    step = _weights_step(terms, prior, held, log_weights, point)
    longest = np.abs(step).max()
    if longest > _LONGEST_STEP:
        step *= _LONGEST_STEP / longest
    for _ in range(_HALVINGS):
        moved = point.copy()
        moved[:n_terms] += step
        moved[0] -= log_sum_exp(moved[0])
        for term in range(1, n_terms):
            moved[term] -= moved[term].mean()
        if _weights_density(prior, held, levels_of(terms, moved).log_weights, moved) >= before:
            point[:] = moved
            return
        step *= 0.5


@compiled
def _weights_density(
    prior: Prior, held: np.ndarray, log_weights: np.ndarray, point: np.ndarray
) -> float:
    """Expected log probability of the labels, with the log prior."""
    total = log_prior(prior, point)
    for level in range(held.shape[0]):
        for j in range(held.shape[1]):
            if held[level, j] > 0.0:
                total += held[level, j] * log_weights[level, j]
    return total


@compiled
def _weights_step(
    terms: Terms, prior: Prior, held: np.ndarray, log_weights: np.ndarray, point: np.ndarray
) -> np.ndarray:
    """Newton step (n_terms of the weights, k) in the logits, the last component's held."""
    k, n_terms = point.shape[1], terms.weights.shape[1]
    last = -1
    for j in range(k):
        if math.isfinite(point[0, j]):
            last = j
    others = np.array([j for j in range(k) if j != last and math.isfinite(point[0, j])])
    m = others.size
    gradient, information = np.zeros(m * n_terms), np.zeros((m * n_terms, m * n_terms))
    for level in range(held.shape[0]):
        n = held[level].sum()
        for p in range(n_terms):
            x = terms.weights[level, p]
            for a in range(m):
                weight = math.exp(log_weights[level, others[a]])
                gradient[p * m + a] += x * (held[level, others[a]] - n * weight)
                for q in range(p + 1):
                    both = n * x * terms.weights[level, q] * weight
                    for b in range(m):
                        beside = math.exp(log_weights[level, others[b]])
                        bend = both * ((1.0 if a == b else 0.0) - beside)
                        information[p * m + a, q * m + b] += bend
                        if q < p:
                            information[q * m + b, p * m + a] += bend
    for a in range(m):
        weight = math.exp(point[0, others[a]])
        gradient[a] += prior.exponent * (1.0 - k * weight)
        for b in range(m):
            beside = math.exp(point[0, others[b]])
            same = 1.0 if a == b else 0.0
            information[a, b] += prior.exponent * k * weight * (same - beside)
        for p in range(1, n_terms):
            precision = prior.precision[p, others[a]]
            gradient[p * m + a] -= precision * point[p, others[a]]
            for b in range(m):
                same = 1.0 if a == b else 0.0
                information[p * m + a, p * m + b] += precision * (same - 1.0 / k)
    _, solution = _ascent(information, gradient)
    step = np.zeros((n_terms, k))
    for p in range(n_terms):
        for a in range(m):
            step[p, others[a]] = solution[p * m + a]
    return step
