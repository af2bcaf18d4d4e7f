"""Every optimum that the starts lead to, and a plain word on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.permute import canonical_order
from pmnbmix.point.em import run_em
from pmnbmix.point.newton import Climb, climb, escape
from pmnbmix.point.objective import Objective

Floats = NDArray[np.float64]

EM_ITERATIONS = 15
_EM_TOLERANCE = 1e-8
# Two points are one optimum if values and fitted log densities agree to this many nats.
_SAME = 1e-3


class Status(StrEnum):
    """What kind of point an estimate is; `sentence` says it in words.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> fit = nb.fit_em(nb.load_dataset("crab_satellites"), random_seed=1)
    >>> fit.status is nb.Status.POISSON_LIMIT, fit.status == "poisson-limit"
    (True, True)
    >>> print(fit.status.sentence)
    At least one component has dispersion 0: its counts vary no more than Poisson counts, and the
    data bound its dispersion from above only.
    """

    CONVERGED = "converged"
    POISSON_LIMIT = "poisson-limit"
    POINT_MASS = "point-mass"
    FEW_OBSERVATIONS = "few-observations"
    DUPLICATE_COMPONENTS = "duplicate-components"
    POOLED = "pooled"
    EMPTY_COMPONENT = "empty-component"
    SADDLE = "saddle"
    MAX_ITER = "max-iter"
    INTERRUPTED = "interrupted"

    @property
    def sentence(self) -> str:
        """What the status means for the user."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.CONVERGED: "The fit is at an optimum inside the parameter space.",
    Status.POISSON_LIMIT: (
        "At least one component has dispersion 0: its counts vary no more than Poisson counts, and "
        "the data bound its dispersion from above only."
    ),
    Status.POINT_MASS: "At least one component has mean 0: it produces zeros and nothing else.",
    Status.FEW_OBSERVATIONS: (
        "At least one component holds fewer than three observations; it may describe an accident."
    ),
    Status.DUPLICATE_COMPONENTS: (
        "Two components are the same distribution; fewer components fit as well, and the weights "
        "of the two are not determined."
    ),
    Status.POOLED: (
        "All components are the same distribution, one negative binomial: the data do not ask for "
        "more than one component, or the prior does not let them."
    ),
    Status.EMPTY_COMPONENT: (
        "At least one component has weight 0; fewer components fit as well, and its mean and "
        "dispersion mean nothing."
    ),
    Status.SADDLE: "The point is a saddle: the density rises from it in some direction.",
    Status.MAX_ITER: "The iterations ran out before an optimum was reached; raise max_iter.",
    Status.INTERRUPTED: (
        "The search was interrupted before every start was run; a better optimum may exist."
    ),
}
# A fit to which several apply is called by the last of them.
_SEVERITY = tuple(Status)


@dataclass(frozen=True, eq=False)
class Optimum:
    """A distinct stationary point.

    Attributes
    ----------
    point : ndarray, shape (3, k)
        Log weights, log means, log dispersions; components sorted by mean, then weight.
    log_likelihood, log_density : float
        Log likelihood, and log likelihood plus log prior, in nats.
    times_reached : int
        How many starts ended here.
    statuses : tuple of Status
    likelihood_path, density_path : ndarray
        From the first start that ended here to this point, one entry an iteration.
    family : str
        Family of that start.
    """

    point: Floats
    log_likelihood: float
    log_density: float
    times_reached: int
    statuses: tuple[Status, ...]
    likelihood_path: Floats
    density_path: Floats
    family: str

    @property
    def status(self) -> Status:
        """The most serious of the statuses."""
        return max(self.statuses, key=_SEVERITY.index)


def find_optima(
    objective: Objective,
    starts: list[tuple[str, Floats]],
    max_iter: int,
) -> Iterator[tuple[int, list[Optimum]]]:
    """Run EM and Newton from every start; merge what is the same distribution.

    A start that several families made is run once and counted as often as it was made.

    Parameters
    ----------
    objective : Objective
    starts : list of (str, ndarray of shape (3, k))
    max_iter : int
        Limit on the Newton steps from each start.

    Yields
    ------
    done : int
        How many of the starts were run.
    found : list of Optimum
        Everything that they led to, highest log density first.
    """
    found: list[Optimum] = []
    made: dict[bytes, list[tuple[str, Floats]]] = {}
    for family, start in starts:
        order = np.lexsort(start)
        made.setdefault(start[:, order].tobytes(), []).append((family, start))
    done = 0
    for alike in made.values():
        family, start = alike[0]
        times = len(alike)
        point, likelihood_path, density_path = run_em(
            objective, start, EM_ITERATIONS, _EM_TOLERANCE
        )
        arrived = climb(objective, point, max_iter)
        paths = _extend(likelihood_path, density_path, arrived)
        _record(found, objective, arrived, *paths, family, times)
        above = escape(objective, arrived)
        if above is not None:
            _record(found, objective, above, *_extend(*paths, above), family, times)
        done += times
        yield done, by_density(found)


def finish_optima(objective: Objective, optima: list[Optimum], max_iter: int) -> list[Optimum]:
    """Climb on from optima of nearly the same objective; merge what has become the same."""
    found: list[Optimum] = []
    for optimum in optima:
        arrived = climb(objective, optimum.point, max_iter)
        # The path was climbed on the other objective, so it is moved to where this one begins.
        offset = objective.log_likelihood(optimum.point) - optimum.log_likelihood
        paths = _extend(optimum.likelihood_path + offset, optimum.density_path + offset, arrived)
        _record(found, objective, arrived, *paths, optimum.family, optimum.times_reached)
    return by_density(found)


def by_density(optima: list[Optimum]) -> list[Optimum]:
    """Sort optima, highest log density first."""
    return sorted(optima, key=lambda optimum: -optimum.log_density)


def _extend(likelihood_path: Floats, density_path: Floats, arrived: Climb) -> tuple[Floats, Floats]:
    """Both paths with the steps of a climb, but for steps that gain less than rounding loses."""
    kept = arrived.path >= np.maximum.accumulate(np.append(density_path[-1], arrived.path))[1:]
    return (
        np.append(likelihood_path, arrived.likelihood_path[kept]),
        np.append(density_path, arrived.path[kept]),
    )


def _record(
    found: list[Optimum],
    objective: Objective,
    arrived: Climb,
    likelihood_path: Floats,
    density_path: Floats,
    family: str,
    times: int,
) -> None:
    """Add a point to those found, or count it if it is already there."""
    order = canonical_order(np.exp(arrived.point[0]), np.exp(arrived.point[1]))
    # numpy orders a permuted point by columns, for which all would be compiled a second time.
    point = np.ascontiguousarray(arrived.point[:, order])
    same = None
    for index, other in enumerate(found):
        near = abs(other.log_density - arrived.value) < _SAME
        if near and _alike(objective, point, other.point):
            same = index
            times += other.times_reached
            if other.log_density >= arrived.value:
                found[index] = replace(other, times_reached=times)
                return
            break
    new = Optimum(
        point=point,
        log_likelihood=arrived.value - objective.log_prior(point),
        log_density=arrived.value,
        times_reached=times,
        statuses=judge(objective, point, arrived),
        likelihood_path=likelihood_path,
        density_path=density_path,
        family=family,
    )
    if same is None:
        found.append(new)
    else:
        found[same] = new


def _alike(objective: Objective, one: Floats, other: Floats) -> bool:
    """Whether two points give every row the same log density."""
    gaps = objective.log_densities(one) - objective.log_densities(other)
    return bool(np.abs(gaps).max() < _SAME)


def judge(objective: Objective, point: Floats, arrived: Climb) -> tuple[Status, ...]:
    """Every status that holds at a point."""
    table = objective.table
    held = objective.responsibilities(point)
    mass = table.frequency @ held
    holds = judge_points(
        point[None],
        mass[None],
        table.n,
        np.array([arrived.converged]),
        np.array([arrived.uphill is not None]),
    )[0]
    held_ones = tuple(status for status, true in zip(Status, holds, strict=True) if true)
    return held_ones or (Status.CONVERGED,)


def judge_points(
    points: Floats,
    mass: Floats,
    n: float,
    converged: NDArray[np.bool_],
    saddle: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which statuses hold at many points at once; none is what `Status.CONVERGED` says.

    Parameters
    ----------
    points : ndarray, shape (m, 3, k)
    mass : ndarray, shape (m, k)
        How many observations each component holds.
    n : float
        Number of observations.
    converged, saddle : ndarray of bool, shape (m,)

    Returns
    -------
    ndarray of bool, shape (m, n_statuses)
        In the order of `Status`.
    """
    means = np.exp(points[:, 1])
    occupied = np.isfinite(points[:, 0])
    pairs = np.triu(occupied[:, :, None] & occupied[:, None, :], 1)
    same = _same_pairs(points) & pairs
    checks = {
        Status.MAX_ITER: ~converged,
        Status.SADDLE: saddle,
        Status.EMPTY_COMPONENT: (~occupied).any(axis=1),
        Status.DUPLICATE_COMPONENTS: same.any(axis=(1, 2)),
        Status.POOLED: (occupied.sum(axis=1) > 1) & (same == pairs).all(axis=(1, 2)),
        Status.FEW_OBSERVATIONS: (occupied & (mass < min(2.5, 0.5 * n))).any(axis=1),
        Status.POINT_MASS: (occupied & (means == 0)).any(axis=1),
        Status.POISSON_LIMIT: (occupied & (means > 0) & np.isneginf(points[:, 2])).any(axis=1),
    }
    none = np.zeros(len(points), dtype=bool)
    return np.column_stack([checks.get(status, none) for status in Status])


def _same_pairs(points: Floats) -> NDArray[np.bool_]:
    """Whether two components are the same distribution to about a percent, (m, k, k)."""
    # Two components that overflow are not the same as anything.
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.exp(points[:, 1])
        # Dispersions matter only by the variance that they add: m + dispersion m^2.
        spread = np.sqrt(means + np.exp(points[:, 2]) * means**2)
        allowed = 0.01 * np.maximum(spread[:, :, None], spread[:, None, :])
        near = np.abs(means[:, :, None] - means[:, None, :]) <= allowed
        return np.asarray(near & (np.abs(spread[:, :, None] - spread[:, None, :]) <= allowed))
