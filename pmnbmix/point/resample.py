"""Estimates from repeated data: the bootstrap of a point estimate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable, collapse
from pmnbmix.mixture.coefficients import Coefficients
from pmnbmix.mixture.levels import levels_of
from pmnbmix.mixture.permute import best_permutations
from pmnbmix.point.answers import draw_counts
from pmnbmix.point.em import run_em
from pmnbmix.point.found import EM_ITERATIONS
from pmnbmix.point.newton import Climb, climb, escape
from pmnbmix.point.objective import Objective, unpack_point
from pmnbmix.point.replicates import collect, draw_again
from pmnbmix.point.search import squashed
from pmnbmix.point.starts import off_edges
from pmnbmix.seeds import entropy_of, stream

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# Share of replicates at an edge from which the bootstrap of a parameter is called inconsistent.
_AT_EDGE = 0.05
_MAX_ITER = 200
_INCONSISTENT = (
    "near the edge of the parameter space, where the bootstrap is inconsistent (Andrews 2000, "
    "doi:10.1111/1468-0262.00114); use profile_intervals() or the posterior"
)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates from repeated data.

    Attributes
    ----------
    kind : {"parametric", "nonparametric"}
        Counts drawn from the fitted mixture, or rows drawn again from the data.
    table : pandas.DataFrame
        Indexed by parameter: estimate, se, lower, upper (percentile interval), flag.
    estimates : ndarray, shape (n_boot, 3, k)
        Weights, means and dispersions of each replicate; components are matched to those of the
        fit by their responsibilities. In a mixture of regressions the coefficients, (n_boot,
        n_coefficients), in the order of the table.
    complete : bool
        False where the work was interrupted; ``estimates`` then holds what was done.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> fit = nb.fit_em(nb.load_dataset("crab_satellites"), random_seed=1)
    >>> scatter = fit.bootstrap(n_boot=20, kind="nonparametric", random_seed=1, n_jobs=1)
    >>> scatter.estimates.shape, scatter.complete
    ((20, 3, 2), True)
    >>> scatter.table.loc["means[1]", ["estimate", "lower", "upper"]].round(1).to_list()
    [4.7, 4.1, 5.4]
    """

    kind: Literal["parametric", "nonparametric"]
    table: pd.DataFrame
    estimates: Floats = field(repr=False)
    complete: bool


def edge_flags(estimate: Floats, estimates: Floats) -> list[list[str]]:
    """Why the bootstrap of a parameter is not to be used, for an estimate (3, k)."""
    at_edge = (estimates == 0).mean(axis=0)
    return [
        [
            _INCONSISTENT if estimate[row, j] == 0 or at_edge[row, j] > _AT_EDGE else ""
            for j in range(estimate.shape[1])
        ]
        for row in range(3)
    ]


def replicate_table(coefficients: Coefficients, estimates: Floats, tail: float) -> pd.DataFrame:
    """Tabulate the scatter of the coefficients (n_boot, n_rows) of a regression."""
    at_edge = np.isneginf(estimates)
    inside = np.where(at_edge, np.nan, estimates)
    flagged = np.isneginf(coefficients.estimates) | (at_edge.mean(axis=0) > _AT_EDGE)
    with warnings.catch_warnings():
        # A coefficient that is at its edge in every replicate has no scatter.
        warnings.simplefilter("ignore", RuntimeWarning)
        se = np.nanstd(inside, axis=0, ddof=1)
    lower, upper = np.quantile(estimates, [tail, 1.0 - tail], axis=0, method="closest_observation")
    return coefficients.table(
        se=se, lower=lower, upper=upper, flag=[_INCONSISTENT if at else "" for at in flagged]
    )


def bootstrap_estimates(
    objective: Objective,
    points: list[Floats],
    counts: Counts,
    kind: Literal["parametric", "nonparametric"],
    n_boot: int,
    random_seed: int | np.random.Generator | None,
    n_jobs: int | None,
    progressbar: bool,
) -> tuple[Floats, bool]:
    """Fit replicates of the data, matched to the fit; see `PointFit.bootstrap`.

    Parameters
    ----------
    objective : Objective
        Of the fit.
    points : list of ndarray of shape (n_terms, k)
        The fit, and other optima that compete with it; every replicate is fitted from each.
    counts : Counts
    kind : {"parametric", "nonparametric"}
    n_boot : int
    random_seed : int or numpy.random.Generator, optional
    n_jobs : int, optional
    progressbar : bool

    Returns
    -------
    points : ndarray, shape (n_boot, n_terms, k)
    complete : bool
    """
    entropy = entropy_of(random_seed)

    def replicate(index: int) -> Floats:
        rng = stream(entropy, index)
        return refit(objective, points, _redraw(objective, counts, points[0], kind, rng))

    done = collect(replicate, range(n_boot), n_jobs, progressbar, f"{kind} bootstrap")
    if len(done) < 2:
        raise KeyboardInterrupt
    return np.array(done), len(done) == n_boot


def _redraw(
    objective: Objective, counts: Counts, point: Floats, kind: str, rng: np.random.Generator
) -> CountTable:
    table = objective.table
    if objective.problem.design.is_plain:
        if kind == "parametric":
            return draw_again(counts, unpack_point(point), rng).table
        times = rng.multinomial(counts.n, table.frequency / table.n)
        return Counts(table.values, table.exposure, times).table
    if kind == "parametric":
        return redraw_rows(objective, point, rng)
    seen = rng.multinomial(counts.n, table.frequency / table.n).astype(np.float64)
    return table.taken(np.flatnonzero(seen), seen[seen > 0])


def redraw_rows(objective: Objective, point: Floats, rng: np.random.Generator) -> CountTable:
    """As many counts from a mixture of regressions, at the same covariates and exposures."""
    table = objective.table
    rows = np.repeat(np.arange(table.values.size), table.frequency.astype(np.int64))
    level, exposure = table.level[rows], table.exposure[rows]
    values, _ = draw_counts(levels_of(objective.terms, point), level, exposure, rng)
    return collapse(values, exposure, np.ones(values.size, np.int64), level)[0]


def refit(objective: Objective, points: list[Floats], table: CountTable) -> Floats:
    """Point fitted to a replicate, its components matched to those of the fit."""
    quick, _ = squashed(objective.on(table))
    best: Climb | None = None
    for point in points:
        start, _, _ = run_em(
            quick, off_edges(point, table, objective.problem.design), EM_ITERATIONS, 0.0
        )
        arrived = climb(quick, start, _MAX_ITER)
        arrived = escape(quick, arrived) or arrived
        if best is None or arrived.value > best.value:
            best = arrived
    assert best is not None
    held, other = (objective.responsibilities(each) for each in (points[0], best.point))
    overlap = (held * objective.table.frequency[:, None]).T @ np.nan_to_num(other)
    # Components trade places within their family only.
    family = objective.problem.design.family
    overlap[family[:, None] != family] = -np.inf
    order, _ = best_permutations(-overlap[None])
    return np.ascontiguousarray(best.point[:, order[0]])
