"""The log posterior of a problem laid out in one block of numbers, and how it is read there.

Samplers hand compiled code one address. A record of named numbers stands at it, and behind that,
one after another, the arrays of `Kernel`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from pmnbmix.compiled import address, inlined, read_only
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.blocks import BLOCK, Runs, block_size, runs_of
from pmnbmix.mixture.density import count_constants
from pmnbmix.mixture.levels import Rows
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.problem import Problem

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

LADDER, ROWS = range(2)
# A climb from 0 to a larger count could underflow on its way.
_LARGEST_LADDER = 500

# What stands at the address. ``rungs`` are the counts from 0 that a ladder climbs; ``length`` is
# that of the whole, record included, in numbers of eight bytes.
HEADER = np.dtype(
    [
        *(
            (name, np.int64)
            for name in (
                "length",
                "form",
                "n_components",
                "n_rows",
                "n_values",
                "rungs",
                "size",
                "whitened",
                "weight_terms",
                "mean_terms",
                "dispersion_terms",
                "weight_levels",
                "mean_levels",
                "dispersion_levels",
            )
        ),
        ("exposure", np.float64),
        ("n", np.float64),
        ("exponent", np.float64),
    ]
)
HEADER_SIZE = HEADER.itemsize // 8


class Room(NamedTuple):
    """Where the log posterior puts what it makes, because allocating costs more than filling.

    Attributes
    ----------
    point, slopes : ndarray, shape (n_terms, k)
        Coefficients, and derivatives by them.
    log_weights, by_weight : ndarray, shape (k, levels of the weights)
        At every level, and derivatives by them.
    log_means, means, by_mean : ndarray, shape (k, levels of the means)
    log_dispersions, dispersions, by_dispersion : ndarray, shape (k, levels of the dispersions)
    """

    point: Floats
    slopes: Floats
    log_weights: Floats
    by_weight: Floats
    log_means: Floats
    means: Floats
    by_mean: Floats
    log_dispersions: Floats
    dispersions: Floats
    by_dispersion: Floats


class Kernel(NamedTuple):
    """What the compiled log posterior reads, as views of one block of numbers.

    Attributes
    ----------
    form : int
        `LADDER` or `ROWS`.
    exposure : float
        Of the first row; the only one of a ladder.
    n : float
        Number of observations.
    rows : Rows
    log_exposure : ndarray, shape (n,)
    runs : Runs
    grid, inverse : ndarray, shape (rungs,)
        Frequency of each count from 0, and the last factor of the step to the next.
    weights, means, dispersions : ndarray, shape (n_terms of the part, levels of the part)
        What each term adds at each level.
    level_sizes : ndarray, shape (levels of the weights,)
        Number of observations of each level.
    prior : Prior
    place : ndarray of int, shape (n_terms, k)
        Which coordinate an entry of the point follows; -1: none.
    pinned : ndarray, shape (n_terms, k)
    room : Room
        Makes a block unfit to be shared between threads, as does ``work``.
    work : ndarray
        Where the forms work.
    """

    form: int
    exposure: float
    n: float
    rows: Rows
    log_exposure: Floats
    runs: Runs
    grid: Floats
    inverse: Floats
    weights: Floats
    means: Floats
    dispersions: Floats
    level_sizes: Floats
    prior: Prior
    place: Whole
    pinned: Floats
    room: Room
    work: Floats


def laid_out(problem: Problem, form: int | None = None) -> Floats:
    """Lay out the sampling density of a problem.

    Parameters
    ----------
    problem : Problem
        Its rows are sorted by value; frequencies may be fractional.
    form : int, optional
        `LADDER` or `ROWS`; chosen by the table if absent.

    Returns
    -------
    ndarray
    """
    table, design = problem.table, problem.design
    if form is None:
        form = _choose(problem)
    runs = runs_of(table.values)
    rungs = int(table.values[-1]) + 1 if form == LADDER else 0
    grid = np.zeros(rungs)
    if rungs:
        grid[table.values.astype(np.intp)] = table.frequency
    prior = problem.prior(problem.spec.weights.concentration)
    matrices = [np.ascontiguousarray(matrix.T) for matrix in design.terms]
    k, size = design.n_components, design.size
    room = sum(
        (2 * matrix.shape[0] + arrays * matrix.shape[1]) * k
        for matrix, arrays in zip(matrices, (2, 3, 3), strict=True)
    )
    rows = 2 * k * runs.distinct.size + block_size(k) + 3 * k * BLOCK
    work = max(rows, 2 * (k + 1) * rungs)
    header = np.zeros(1, HEADER)
    header["form"], header["n_components"], header["size"] = form, k, size
    header["n_rows"], header["n_values"] = table.values.size, runs.distinct.size
    header["rungs"], header["exposure"], header["n"] = rungs, table.exposure[0], table.n
    header["exponent"] = prior.exponent
    for name, matrix in zip(("weight", "mean", "dispersion"), matrices, strict=True):
        header[f"{name}_terms"], header[f"{name}_levels"] = matrix.shape
    arrays: list[Floats | Whole] = [
        np.zeros(size + size * size),
        table.values,
        table.exposure,
        table.frequency,
        count_constants(table.values),
        table.level,
        np.log(table.exposure),
        *runs,
        grid,
        1.0 / np.arange(1.0, rungs + 1.0),
        *matrices,
        _level_sizes(table, matrices[0].shape[1]),
        prior.loc,
        prior.precision,
        design.place,
        design.pinned,
        np.zeros(room + work),
    ]
    numbers = [header.view(np.float64), *(array.ravel().view(np.float64) for array in arrays)]
    header["length"] = sum(part.size for part in numbers)
    return np.concatenate(numbers)


@inlined
def opened_map(buffer: np.ndarray) -> tuple[bool, Floats, Floats]:
    """Whether positions are mapped to centre + root @ position, and those two."""
    head = numba.carray(address(buffer, 0), (1,), HEADER)[0]
    centre = _floats(buffer, HEADER_SIZE, (head.size,))
    return (
        head.whitened == 1,
        centre,
        _floats(buffer, HEADER_SIZE + head.size, (head.size, head.size)),
    )


@inlined
def opened(buffer: np.ndarray) -> Kernel:
    """Views of what `laid_out` has laid out, in its order, for as long as the caller holds it."""
    head = numba.carray(address(buffer, 0), (1,), HEADER)[0]
    d, k, n, n_values, rungs = (
        head.size,
        head.n_components,
        head.n_rows,
        head.n_values,
        head.rungs,
    )
    n_terms = head.weight_terms + head.mean_terms + head.dispersion_terms
    at = HEADER_SIZE + d * (d + 1)
    columns = _floats(buffer, at, (6, n))
    level = _whole(buffer, at + 4 * n, (n,))
    rows = Rows(
        read_only(columns[0]),
        read_only(columns[1]),
        read_only(columns[2]),
        read_only(columns[3]),
        read_only(level),
    )
    at += 6 * n
    distinct = _floats(buffer, at, (n_values,))
    at += n_values
    starts = _whole(buffer, at, (n_values + 1,))
    at += n_values + 1
    grid, inverse = _floats(buffer, at, (rungs,)), _floats(buffer, at + rungs, (rungs,))
    at += 2 * rungs
    length = head.weight_terms * head.weight_levels
    weights = _floats(buffer, at, (head.weight_terms, head.weight_levels))
    at += length
    length = head.mean_terms * head.mean_levels
    means = _floats(buffer, at, (head.mean_terms, head.mean_levels))
    at += length
    length = head.dispersion_terms * head.dispersion_levels
    dispersions = _floats(buffer, at, (head.dispersion_terms, head.dispersion_levels))
    at += length
    level_sizes = _floats(buffer, at, (head.weight_levels,))
    at += head.weight_levels
    priors = _floats(buffer, at, (2, n_terms, k))
    prior = Prior(head.exponent, priors[0], priors[1])
    at += 2 * n_terms * k
    place = _whole(buffer, at, (n_terms, k))
    at += n_terms * k
    pinned = _floats(buffer, at, (n_terms, k))
    at += n_terms * k
    points = _floats(buffer, at, (2, n_terms, k))
    at += 2 * n_terms * k
    length = k * head.weight_levels
    by_weights = _floats(buffer, at, (2, k, head.weight_levels))
    at += 2 * length
    length = k * head.mean_levels
    by_means = _floats(buffer, at, (3, k, head.mean_levels))
    at += 3 * length
    length = k * head.dispersion_levels
    by_dispersions = _floats(buffer, at, (3, k, head.dispersion_levels))
    at += 3 * length
    room = Room(
        points[0],
        points[1],
        by_weights[0],
        by_weights[1],
        by_means[0],
        by_means[1],
        by_means[2],
        by_dispersions[0],
        by_dispersions[1],
        by_dispersions[2],
    )
    return Kernel(
        head.form,
        head.exposure,
        head.n,
        rows,
        columns[5],
        Runs(distinct, starts),
        grid,
        inverse,
        weights,
        means,
        dispersions,
        level_sizes,
        prior,
        place,
        pinned,
        room,
        _floats(buffer, at, (head.length - at,)),
    )


@inlined
def _floats(buffer: np.ndarray, first: int, shape: tuple[int, ...]) -> Any:
    return numba.carray(address(buffer, first), shape, np.float64)


@inlined
def _whole(buffer: np.ndarray, first: int, shape: tuple[int, ...]) -> Any:
    return numba.carray(address(buffer, first), shape, np.intp)


def _level_sizes(table: CountTable, n_levels: int) -> Floats:
    if n_levels == 1:
        return np.array([table.n])
    return np.bincount(table.level, table.frequency, minlength=n_levels)


def _choose(problem: Problem) -> int:
    table = problem.table
    one_level = all(matrix.shape[0] == 1 for matrix in problem.design.terms)
    one_exposure = bool((table.exposure == table.exposure[0]).all())
    short = table.values[-1] <= min(_LARGEST_LADDER, 2 * table.values.size + 16)
    return LADDER if one_level and one_exposure and short else ROWS
