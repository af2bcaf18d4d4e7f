"""Rows, terms and levels as compiled code reads them, and the densities of rows at their levels.

In the shapes of arrays, n is the number of rows, L that of levels and k that of components.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import compiled, inlined
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import (
    component_value,
    count_constants,
    log_sum_exp,
)
from pmnbmix.mixture.special import stirling_remainder

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]


class Rows(NamedTuple):
    """The rows of a table.

    Attributes
    ----------
    values, exposure, frequency : ndarray of float, shape (n,)
    constants : ndarray of float, shape (n,)
        `count_constant` of each value.
    level : ndarray of int, shape (n,)
    """

    values: Floats
    exposure: Floats
    frequency: Floats
    constants: Floats
    level: Whole


class Terms(NamedTuple):
    """The design: what each term adds at each level.

    Attributes
    ----------
    weights, means, dispersions : ndarray, shape (L, n_terms of the part)
        Or (1, n_terms), if a part has no covariates: its one row serves every level.
    """

    weights: Floats
    means: Floats
    dispersions: Floats


class Levels(NamedTuple):
    """The parameters at every level.

    Attributes
    ----------
    log_weights, means, inv_disps : ndarray, shape (L, k)
        Or (1, k), if they are the same at every level. An inverse dispersion of inf is Poisson.
    """

    log_weights: Floats
    means: Floats
    inv_disps: Floats


@inlined
def row_at(array: np.ndarray, level: int) -> int:
    """Row of a part that belongs to a level."""
    return level if array.shape[0] > 1 else 0


def rows_of(table: CountTable) -> Rows:
    """Rows of a table."""
    constants = count_constants(table.values)
    arrays = (table.values, table.exposure, table.frequency, constants, table.level)
    # As the arrays of every table, those made here are read-only.
    return Rows(*map(_read_only, arrays))


def rows_at(values: Floats, exposure: Floats) -> Rows:
    """Rows of counts without a table, at the one level of the plain model."""
    return rows_of(CountTable.plain(values, exposure, np.ones(values.size)))


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def one_level(log_weights: Floats, means: Floats, inv_disps: Floats) -> Levels:
    """Levels of a mixture (k,) that is the same for every row."""
    return Levels(log_weights[None], means[None], inv_disps[None])


@compiled
def plain_terms() -> Terms:
    """Terms of the plain model: one level, an intercept each."""
    return Terms(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))


@inlined
def levels_of(terms: Terms, point: np.ndarray) -> Levels:
    """Parameters at every level of a point (n_terms, k)."""
    of_weights = terms.weights.shape[1]
    of_means = of_weights + terms.means.shape[1]
    log_weights = linear(terms.weights, point[:of_weights])
    if of_weights > 1:
        # Weights sum to 1 at the centre only, so they are normalised at every level.
        for level in range(log_weights.shape[0]):
            log_weights[level] -= log_sum_exp(log_weights[level])
    means = linear(terms.means, point[of_weights:of_means])
    inv_disps = linear(terms.dispersions, point[of_means:])
    for j in range(point.shape[1]):
        for level in range(means.shape[0]):
            means[level, j] = math.exp(means[level, j])
        for level in range(inv_disps.shape[0]):
            inv_disps[level, j] = math.exp(-inv_disps[level, j])
    return Levels(log_weights, means, inv_disps)


@inlined
def linear(matrix: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Linear predictors (L, k) of the coefficients (n_terms, k) of a part."""
    out = np.empty((matrix.shape[0], coefficients.shape[1]))
    for level in range(out.shape[0]):
        for j in range(out.shape[1]):
            # The first column is 1, so an intercept of minus infinity stays minus infinity.
            total = coefficients[0, j]
            for term in range(1, matrix.shape[1]):
                total += matrix[level, term] * coefficients[term, j]
            out[level, j] = total
    return out


@compiled
def component_table(rows: Rows, levels: Levels) -> np.ndarray:
    """Log density of every row under every component, (n, k)."""
    k = levels.means.shape[1]
    table = np.empty((rows.values.size, k))
    remainders = _remainders_of(levels.inv_disps)
    # Arrays are taken out of the tuples before the loop: in it, each access would count references.
    values, exposure, _, constants, level_of = rows
    _, means, inv_disps = levels
    for u in range(values.size):
        mean, spread = row_at(means, level_of[u]), row_at(inv_disps, level_of[u])
        for j in range(k):
            table[u, j] = component_value(
                values[u],
                constants[u],
                exposure[u] * means[mean, j],
                inv_disps[spread, j],
                remainders[spread, j],
            )
    return table


@compiled
def mixture_rows(rows: Rows, levels: Levels) -> np.ndarray:
    """Log density of every row under the mixture, (n,)."""
    out = np.empty(rows.values.size)
    terms = np.empty(levels.means.shape[1])
    remainders = _remainders_of(levels.inv_disps)
    values, exposure, _, constants, level_of = rows
    log_weights, means, inv_disps = levels
    for u in range(out.size):
        weight, mean = row_at(log_weights, level_of[u]), row_at(means, level_of[u])
        spread = row_at(inv_disps, level_of[u])
        for j in range(terms.size):
            terms[j] = log_weights[weight, j] + component_value(
                values[u],
                constants[u],
                exposure[u] * means[mean, j],
                inv_disps[spread, j],
                remainders[spread, j],
            )
        out[u] = log_sum_exp(terms)
    return out


@compiled
def log_densities(rows: Rows, terms: Terms, point: np.ndarray) -> np.ndarray:
    """`mixture_rows` at a point (n_terms, k)."""
    return mixture_rows(rows, levels_of(terms, point))


@compiled
def responsibilities_at(rows: Rows, terms: Terms, point: np.ndarray) -> np.ndarray:
    """`responsibilities_table` at a point (n_terms, k)."""
    return responsibilities_table(rows, levels_of(terms, point))


@compiled
def _remainders_of(inv_disps: np.ndarray) -> np.ndarray:
    """`stirling_remainder` of every inverse dispersion; 0 at the Poisson limit."""
    out = np.zeros(inv_disps.shape)
    for level in range(out.shape[0]):
        for j in range(out.shape[1]):
            if not math.isinf(inv_disps[level, j]):
                out[level, j] = stirling_remainder(inv_disps[level, j])
    return out


@compiled
def responsibilities_table(rows: Rows, levels: Levels) -> np.ndarray:
    """P(component | row), (n, k); NaN in a row that no component can produce."""
    table = component_table(rows, levels)
    for u in range(table.shape[0]):
        weight = row_at(levels.log_weights, rows.level[u])
        for j in range(table.shape[1]):
            table[u, j] += levels.log_weights[weight, j]
        # Rows are divided by their sum: a log density of -1e10 is rounded by more than 1e-6.
        largest = table[u].max()
        total = 0.0
        for j in range(table.shape[1]):
            table[u, j] = math.exp(table[u, j] - largest)
            total += table[u, j]
        for j in range(table.shape[1]):
            table[u, j] /= total
    return table
