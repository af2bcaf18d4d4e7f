"""From a block of columns to numbers: faults, fits, criteria, statuses; no labels and no files."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.batch.blocks import Block
from pmnbmix.batch.kernel import (
    CONVERGED,
    ENTROPY,
    HEIGHT,
    N_FACTS,
    REACHED,
    SADDLE,
    STARTS,
    fit_columns_of,
)
from pmnbmix.batch.tables import FINE, find_faults
from pmnbmix.data.checks import as_exposure
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.point.optima import Status, judge_points

Floats = NDArray[np.float64]
# Arrays of numbers of a block, each with the columns first.
Results = dict[str, NDArray[np.generic]]

CRITERIA = ("bic", "icl")
# A column that does not hold counts is called by its fault; the order is that of the faults.
FAULTS = ("missing", "infinite", "negative", "fractional", "too-large")
# These are a column that was not reached, and one whose fit did not give numbers.
INTERRUPTED, FAILED = str(Status.INTERRUPTED), "failed"
WORDS = (*(str(status) for status in Status), *FAULTS, FAILED)
PER_COMPONENT = (
    *PARAMETERS,
    *(f"{name}_se" for name in PARAMETERS),
    "separation",
    "overlap",
)
PER_COLUMN = ("log_likelihood", "aic", "bic", "icl", "entropy")


@dataclass(frozen=True, eq=False)
class Exposures:
    """The exposures that all columns share.

    Attributes
    ----------
    position : ndarray, shape (n,) or (0,)
        Log exposure; empty where all are equal.
    by_position : ndarray of int, as long
    scale : float
        The exposure, where all are equal; 1 else.
    """

    position: Floats
    by_position: NDArray[np.int64]
    scale: float

    @classmethod
    def of(cls, exposure: ArrayLike | None, n: int) -> Exposures:
        """Check exposures, one number or (n,)."""
        checked = as_exposure(exposure, n)
        if (checked == checked[0]).all():
            return cls(np.empty(0), np.empty(0, dtype=np.int64), float(checked[0]))
        position = np.log(checked)
        return cls(position, np.argsort(position, kind="stable").astype(np.int64), 1.0)


@dataclass(frozen=True)
class Task:
    """What is fitted to every column.

    Attributes
    ----------
    n : int
        Number of observations.
    candidates : tuple of int
        Numbers of components.
    criterion : {"bic", "icl"}
        By which one of the candidates is chosen.
    """

    n: int
    candidates: tuple[int, ...]
    criterion: str

    @property
    def width(self) -> int:
        """Most components that a column can have."""
        return max(self.candidates)


def blank(task: Task, n_columns: int) -> Results:
    """Results of columns that were not fitted."""
    wide = (n_columns, task.width)
    results: Results = {name: np.full(wide, np.nan) for name in PER_COMPONENT}
    results |= {name: np.full(n_columns, np.nan) for name in PER_COLUMN}
    results["candidate_criterion"] = np.full((n_columns, len(task.candidates)), np.nan)
    results |= {
        name: np.zeros(n_columns, dtype=np.int16)
        for name in ("n_components", "times_reached", "n_starts")
    }
    # Each status that holds is a bit; 0 is converged.
    interrupted = 1 << WORDS.index(INTERRUPTED)
    results["statuses"] = np.full(n_columns, interrupted, dtype=np.int32)
    results["fault_row"] = np.full(n_columns, -1, dtype=np.int64)
    results["fault_value"] = np.full(n_columns, np.nan)
    return results


def fit_block(block: Block, exposures: Exposures, task: Task) -> Results:
    """Fit every column of a block; a column that holds no counts says why.

    Parameters
    ----------
    block : Block
    exposures : Exposures
    task : Task

    Returns
    -------
    dict of str to ndarray
        Columns first; components sorted by mean, then weight, NaN beyond those that were chosen.
    """
    n_columns = block.indptr.size - 1
    results = blank(task, n_columns)
    rows, values = block.rows.astype(np.int64), block.values.astype(np.float64)
    kinds, at = np.zeros(n_columns, dtype=np.int64), np.zeros(n_columns, dtype=np.int64)
    find_faults(block.indptr, values, kinds, at)
    faulty = kinds != FINE
    results["fault_row"][faulty] = rows[at[faulty]]
    results["fault_value"][faulty] = values[at[faulty]]
    statuses = np.zeros(n_columns, dtype=np.int32)
    statuses[faulty] = 1 << (WORDS.index(FAULTS[0]) + kinds[faulty] - 1)
    results["statuses"] = statuses
    wanted = np.flatnonzero(~faulty)
    best = np.full(n_columns, np.inf)
    for index, k in enumerate(task.candidates):
        fitted = _fit(block.indptr, rows, values, exposures, task.n, k, wanted)
        score = fitted[task.criterion][wanted]
        results["candidate_criterion"][wanted, index] = score
        # A tie goes to fewer components, and a score that is NaN wins against none.
        better = wanted[score < best[wanted]]
        best[better] = fitted[task.criterion][better]
        for name, numbers in fitted.items():
            if name in PER_COMPONENT:
                results[name][better] = np.nan
                results[name][better, :k] = numbers[better]
            else:
                results[name][better] = numbers[better]
    lost = wanted[np.isinf(best[wanted])]
    statuses[lost] = 1 << WORDS.index(FAILED)
    return results


def _fit(
    indptr: NDArray[np.int64],
    rows: NDArray[np.int64],
    values: Floats,
    exposures: Exposures,
    n: int,
    k: int,
    wanted: NDArray[np.intp],
) -> Results:
    m = indptr.size - 1
    points, errors = np.full((m, 3, k), np.nan), np.full((m, 3, k), np.nan)
    mass, shared = np.zeros((m, k)), np.zeros((m, k, k))
    facts = np.full((m, N_FACTS), np.nan)
    where = (exposures.position, exposures.by_position)
    outcome = (points, errors, mass, shared, facts)
    try:
        fit_columns_of(indptr, rows, values, *where, n, k, wanted, *outcome)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        # One column that cannot be factored must not take its neighbours with it.
        for column in wanted:
            with contextlib.suppress(ArithmeticError, ValueError, np.linalg.LinAlgError):
                fit_columns_of(indptr, rows, values, *where, n, k, np.array([column]), *outcome)
    # Components are sorted by mean, then weight.
    order = np.lexsort((points[:, 0], points[:, 1]), axis=-1)
    points = np.take_along_axis(points, order[:, None], axis=2)
    errors = np.take_along_axis(errors, order[:, None], axis=2)
    mass = np.take_along_axis(mass, order, axis=1)
    shared = np.take_along_axis(np.take_along_axis(shared, order[:, :, None], 1), order[:, None], 2)
    estimate = np.exp(points)
    results: Results = {}
    for row, name in enumerate(PARAMETERS):
        unit = exposures.scale if name == "means" else 1.0
        results[name] = estimate[:, row] / unit
        results[f"{name}_se"] = errors[:, row] / unit
    results["separation"], results["overlap"] = _told_apart(mass, shared, estimate[:, 0])
    height, free = facts[:, HEIGHT], 3 * k - 1
    results["log_likelihood"], results["entropy"] = height, facts[:, ENTROPY]
    results["aic"] = 2.0 * free - 2.0 * height
    bic = np.log(n) * free - 2.0 * height
    results["bic"], results["icl"] = bic, bic + 2.0 * facts[:, ENTROPY]
    fitted = np.isfinite(facts)
    results["times_reached"] = np.where(fitted[:, REACHED], facts[:, REACHED], 0).astype(np.int16)
    results["n_starts"] = np.where(fitted[:, STARTS], facts[:, STARTS], 0).astype(np.int16)
    results["n_components"] = np.full(m, k, dtype=np.int16)
    with np.errstate(invalid="ignore"):
        holds = judge_points(points, mass, n, facts[:, CONVERGED] == 1.0, facts[:, SADDLE] == 1.0)
    results["statuses"] = holds @ (1 << np.arange(holds.shape[1], dtype=np.int32))
    return results


def _told_apart(mass: Floats, shared: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Separation and overlap of each component, (m, k), as `pmnbmix.labels.components` has them."""
    k = mass.shape[1]
    if k == 1:
        return np.full(mass.shape, np.nan), np.zeros(mass.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        claimed = shared / mass[:, :, None]
    assigned = np.diagonal(claimed, axis1=1, axis2=2)
    separation = (assigned - weights) / np.maximum(1.0 - weights, 1e-9)
    others = np.where(np.eye(k, dtype=bool), 0.0, claimed)
    return separation, others.max(axis=2)
