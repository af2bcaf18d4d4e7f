"""Where EM of a mixture of regressions starts.

Such mixtures have many more optima than those of constants, and no family of starts is safe alone:
each fails on some data. So the pool mixes them. A start is mostly a partition of the rows, with the
coefficients that fit each part; parts are cut by the residuals of one regression, by residuals and
covariates together, or at random (B. Gruen, F. Leisch 2008, FlexMix version 2, J. Stat. Softw. 28,
4, doi:10.18637/jss.v028.i04, starts from random partitions only).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture.design import HELD
from pmnbmix.mixture.levels import levels_of
from pmnbmix.point.em import run_em
from pmnbmix.point.level_em import settle
from pmnbmix.point.objective import Objective
from pmnbmix.point.threads import in_order

Floats = NDArray[np.float64]

# Starts of each family; more of those that reach what others do not.
_PER_FAMILY = {
    "residuals": 16,
    "rates": 8,
    "space": 16,
    "random": 20,
    "jittered": 12,
    "few-rows": 12,
    "poisson-first": 12,
}
_STEPS = 4
_FIRST_STEPS = 20
# Precisions with which a part's coefficients are held to those of one regression: hardly at all,
# and so that a part of few rows does not run away.
_LOOSE, _TIGHT = 1e-3, 1.0
# Log dispersion of a component whose means are found before its dispersion.
_NARROW = -4.0


class Ground:
    """One regression for all rows, from which starts depart.

    Parameters
    ----------
    objective : Objective

    Attributes
    ----------
    objective : Objective
    point : ndarray, shape (n_terms, k)
        The same regression in every component that is not a point mass at zero.
    residuals : ndarray, shape (n_rows,)
        Of the square roots of counts, whose variance is nearly constant.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        table, design = objective.table, objective.problem.design
        k, of_weights = objective.n_components, len(design.weights.terms)
        dispersion = design.n_terms - len(design.dispersions.terms)
        start = np.where(np.isnan(design.pinned), 0.0, design.pinned)
        start[0] = -np.log(k)
        total = float(table.frequency @ table.values) or 0.5
        mean = np.log(total) - np.log(float(table.frequency @ table.exposure))
        start[of_weights] = np.where(np.isnan(design.pinned[of_weights]), mean, -np.inf)
        start[dispersion] = np.where(np.isnan(design.pinned[dispersion]), -0.5, -np.inf)
        even = np.tile(table.frequency / k, (k, 1))
        self.point = self.settled(even, start, _LOOSE, _FIRST_STEPS)
        levels = levels_of(objective.terms, self.point)
        means = levels.means[
            table.level if len(levels.means) > 1 else np.zeros(table.level.size, np.intp)
        ]
        alive = int(np.argmax(np.isfinite(self.point[of_weights])))
        expected = table.exposure * means[:, alive]
        self.residuals = np.sqrt(table.values + 0.375) - np.sqrt(expected + 0.375)

    def settled(
        self, mass: Floats, start: Floats | None = None, ridge: float = _LOOSE, steps: int = _STEPS
    ) -> Floats:
        """Point whose components fit the rows that they are given, (k, n_rows)."""
        objective = self.objective
        start = self.point if start is None else start
        precision = np.full(start.shape, ridge)
        precision[0] = 0.0
        return settle(objective.arrays, precision, np.ascontiguousarray(mass), start, steps)

    def parts(self, labels: NDArray[np.intp]) -> Floats:
        """Mass (k, n_rows) of a partition of the rows; a little of each goes to the others."""
        k, frequency = self.objective.n_components, self.objective.table.frequency
        mass = np.full((k, labels.size), 0.02 / k)
        mass[labels, np.arange(labels.size)] += 0.98
        return mass * frequency


def regression_pool(
    objective: Objective, rng: np.random.Generator, ground: Ground
) -> list[tuple[str, Floats]]:
    """Make starting points of several families.

    Parameters
    ----------
    objective : Objective
    rng : numpy.random.Generator
    ground : Ground

    Returns
    -------
    list of (str, ndarray of shape (n_terms, k))
        Family and point; the first is deterministic.
    """
    k = objective.n_components
    if k == 1:
        return [("one", ground.point)]
    even = np.arange(1, k) / k
    pool = [("residuals", ground.settled(ground.parts(_cut(ground, ground.residuals, even))))]
    families: dict[str, Callable[[Ground, np.random.Generator], Floats]] = {
        "residuals": _residuals,
        "rates": _rates,
        "space": _space,
        "random": _random,
        "jittered": _jittered,
        "few-rows": _few_rows,
        "poisson-first": _poisson_first,
    }
    for name, make in families.items():
        if name == "poisson-first" and not _has_dispersions(objective):
            continue
        own = rng.spawn(_PER_FAMILY[name])
        made = in_order(partial(make, ground), own, objective.table.values.size)
        pool.extend((name, point) for point in made)
    return pool


def _has_dispersions(objective: Objective) -> bool:
    first = objective.problem.design.n_terms - len(objective.problem.design.dispersions.terms)
    return bool((objective.free[first] >= 0).any())


def _cut(ground: Ground, position: Floats, cuts: Floats) -> NDArray[np.intp]:
    """Part of each row where positions are cut at these shares of the observations."""
    order = np.argsort(position, kind="stable")
    frequency = ground.objective.table.frequency[order]
    cumulated = (np.cumsum(frequency) - 0.5 * frequency) / frequency.sum()
    labels = np.empty(order.size, dtype=np.intp)
    labels[order] = np.searchsorted(cuts, cumulated)
    return labels


def _residuals(ground: Ground, rng: np.random.Generator) -> Floats:
    cuts = np.sort(rng.random(ground.objective.n_components - 1))
    # Noise makes the parts of small counts, whose residuals are few, differ between starts.
    noise = rng.normal(0.0, rng.choice([0.1, 0.3, 0.6]), ground.residuals.size)
    return ground.settled(ground.parts(_cut(ground, ground.residuals + noise, cuts)))


def _rates(ground: Ground, rng: np.random.Generator) -> Floats:
    table = ground.objective.table
    cuts = np.sort(rng.random(ground.objective.n_components - 1))
    position = (table.values + rng.random(table.values.size)) / table.exposure
    return ground.settled(ground.parts(_cut(ground, position, cuts)))


def _space(ground: Ground, rng: np.random.Generator) -> Floats:
    """Each row goes to the nearest of a few rows, in residual and covariates."""
    objective = ground.objective
    part, level = objective.problem.design.means, objective.table.level
    columns = part.matrix[level if len(part.matrix) > 1 else np.zeros(level.size, np.intp), 1:]
    spread = ground.residuals.std() or 1.0
    places = np.column_stack(
        [2.0 * ground.residuals / spread, columns * rng.random(columns.shape[1])]
    )
    share = objective.table.frequency / objective.table.n
    k = min(objective.n_components, level.size)
    chosen = places[rng.choice(level.size, size=k, replace=False, p=share)]
    distance = ((places[:, None] - chosen) ** 2).sum(axis=2)
    return ground.settled(ground.parts(np.argmin(distance, axis=1)))


def _random(ground: Ground, rng: np.random.Generator) -> Floats:
    k = ground.objective.n_components
    shares = rng.dirichlet(np.full(k, rng.choice([1.0, 5.0])))
    labels = rng.choice(k, size=ground.residuals.size, p=shares)
    return ground.settled(ground.parts(labels))


def fresh(ground: Ground, rng: np.random.Generator) -> Floats:
    """A start of one of the families that leave most to chance."""
    return (_random, _jittered, _few_rows)[int(rng.integers(3))](ground, rng)


def _jittered(ground: Ground, rng: np.random.Generator) -> Floats:
    """The coefficients of one regression, moved apart."""
    return scattered(ground, ground.point, float(rng.choice([0.3, 0.7, 1.5])), rng)


def scattered(ground: Ground, point: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Point with all that moves in it scattered; what is shared stays shared."""
    free, design = ground.objective.free, ground.objective.problem.design
    moved = point.copy()
    noise = rng.normal(0.0, scale, int(free.max()) + 1)
    moves = free >= 0
    moved[moves] += noise[free[moves]]
    if (free[0] >= 0).any():
        moved[0] -= special.logsumexp(moved[0])
    else:
        moved[0] = point[0]
    slopes = moved[1 : len(design.weights.terms)]
    slopes -= slopes.mean(axis=1, keepdims=True)
    return moved


def _few_rows(ground: Ground, rng: np.random.Generator) -> Floats:
    """Each component fits a few rows, held to one regression where these do not tell."""
    objective = ground.objective
    n, k = objective.table.values.size, objective.n_components
    few = len(objective.problem.design.means.terms) + int(rng.integers(1, 6))
    mass = np.tile(0.01 / k * objective.table.frequency, (k, 1))
    for j in range(k):
        chosen = rng.choice(n, size=min(few, n), replace=False)
        mass[j, chosen] = objective.table.frequency[chosen]
    point = ground.settled(mass, ridge=_TIGHT)
    if (objective.free[0] >= 0).any():
        point[: len(objective.problem.design.weights.terms)] = ground.point[
            : len(objective.problem.design.weights.terms)
        ]
    return point


def _poisson_first(ground: Ground, rng: np.random.Generator) -> Floats:
    """The Poisson mixture that EM leads to from another start, its dispersions opened after."""
    objective = ground.objective
    design = objective.problem.design
    first = design.n_terms - len(design.dispersions.terms)
    make = (_residuals, _random, _space, _few_rows)[int(rng.integers(4))]
    point = make(ground, rng)
    free = objective.free.copy()
    opened = free[first] >= 0
    point[first] = -np.inf
    point[first + 1 :] = 0.0
    free[first:] = HELD
    point = run_em(replace(objective, free=free), point, 10, 1e-6)[0]
    point[first, opened] = _NARROW
    return point


def with_a_copy(point: Floats) -> Floats:
    """The same distribution with one component more: the largest, split in two."""
    largest = int(point[0].argmax())
    longer = np.column_stack([point, point[:, largest]])
    longer[0, [largest, -1]] -= np.log(2.0)
    return longer


def from_other(ground: Ground, point: Floats, rng: np.random.Generator) -> list[Floats]:
    """Starts from a point with a component fewer, each split in turn, or one more, each dropped."""
    k, pinned = ground.objective.n_components, ground.objective.problem.design.pinned
    if point.shape[1] > k:
        kept = [np.delete(np.arange(k + 1), j) for j in range(k + 1)]
        made = [point[:, columns] for columns in kept]
    elif point.shape[1] < k:
        made = []
        for j in range(k - 1):
            longer = np.column_stack([point, point[:, j]])
            longer[0, [j, -1]] -= np.log(2.0)
            made.append(longer)
    else:
        return [point]
    starts = [np.where(np.isnan(pinned), one, pinned) for one in made]
    for one in starts:
        one[0] -= special.logsumexp(one[0])
    return [scattered(ground, one, 0.3, rng) if point.shape[1] < k else one for one in starts]
