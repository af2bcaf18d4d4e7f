"""Estimates from repeated data: the bootstrap of a point estimate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.permute import best_permutations
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
        fit by their responsibilities.
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
            "near the edge of the parameter space, where the bootstrap is inconsistent (Andrews "
            "2000, doi:10.1111/1468-0262.00114); use profile_intervals() or the posterior"
            if estimate[row, j] == 0 or at_edge[row, j] > _AT_EDGE
            else ""
            for j in range(estimate.shape[1])
        ]
        for row in range(3)
    ]


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
    points : list of ndarray of shape (3, k)
        The fit, and other optima that compete with it; every replicate is fitted from each.
    counts : Counts
    kind : {"parametric", "nonparametric"}
    n_boot : int
    random_seed : int or numpy.random.Generator, optional
    n_jobs : int, optional
    progressbar : bool

    Returns
    -------
    estimates : ndarray, shape (n_boot, 3, k)
    complete : bool
    """
    entropy = entropy_of(random_seed)

    def replicate(index: int) -> Floats:
        rng = stream(entropy, index)
        table = _redraw(counts, unpack_point(points[0]), kind, rng)
        return _refit(objective, points, table)

    done = collect(replicate, range(n_boot), n_jobs, progressbar, f"{kind} bootstrap")
    if len(done) < 2:
        raise KeyboardInterrupt
    return np.array(done), len(done) == n_boot


def _redraw(
    counts: Counts, params: MixtureParams, kind: str, rng: np.random.Generator
) -> CountTable:
    if kind == "parametric":
        return draw_again(counts, params, rng).table
    table = counts.table
    times = rng.multinomial(counts.n, table.frequency / table.n)
    return Counts(table.values, table.exposure, times).table


def _refit(objective: Objective, points: list[Floats], table: CountTable) -> Floats:
    """Weights, means and dispersions (3, k) fitted to a replicate, matched to the fit."""
    quick, _ = squashed(objective.on(table))
    best: Climb | None = None
    for point in points:
        start, _, _ = run_em(quick, off_edges(point, table), EM_ITERATIONS, 0.0)
        arrived = climb(quick, start, _MAX_ITER)
        arrived = escape(quick, arrived) or arrived
        if best is None or arrived.value > best.value:
            best = arrived
    assert best is not None
    held, other = (objective.responsibilities(each) for each in (points[0], best.point))
    overlap = (held * objective.table.frequency[:, None]).T @ np.nan_to_num(other)
    order, _ = best_permutations(-overlap[None])
    return np.exp(best.point[:, order[0]])
