"""An optimum, and a plain word on what kind of point it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pmnbmix.point.newton import Climb
from pmnbmix.point.objective import Objective
from pmnbmix.point.slopes import doubtful_slopes, same_slopes

Floats = NDArray[np.float64]


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
    NOT_IDENTIFIED = "not-identified"
    SEPARATION = "separation"
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
    Status.NOT_IDENTIFIED: (
        "Other coefficients fit exactly as well: there are too few distinct patterns of the "
        "covariates for so many components, or the likelihood is flat in some direction."
    ),
    Status.SEPARATION: (
        "A coefficient runs to infinity, or so far that the counts do not tell how far: a "
        "covariate separates the counts of one component. The table of standard errors names it. "
        "Look at the other optima too; a prior, as that of fit_map, leaves none of this kind."
    ),
    Status.DUPLICATE_COMPONENTS: (
        "Two components are the same distribution; fewer components fit as well, and the weights "
        "of the two are not determined."
    ),
    Status.POOLED: (
        "All components are the same distribution: the data do not ask for "
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


def judge(objective: Objective, point: Floats, arrived: Climb) -> tuple[Status, ...]:
    """Every status that holds at a point."""
    table = objective.table
    held = objective.responsibilities(point)
    mass = table.frequency @ held
    design = objective.problem.design
    holds = judge_points(
        design.at_centre(point)[None],
        mass[None],
        table.n,
        np.array([arrived.converged]),
        np.array([arrived.uphill is not None]),
    )[0]
    if not design.is_plain:
        holds = judge_slopes(objective, point, holds)
    held_ones = tuple(status for status, true in zip(Status, holds, strict=True) if true)
    return held_ones or (Status.CONVERGED,)


def judge_slopes(
    objective: Objective, point: Floats, holds: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Statuses (n_statuses,) of a regression, from those that its centre has."""
    held = dict(zip(Status, holds, strict=True))
    if not same_slopes(objective.problem.design, point):
        held[Status.DUPLICATE_COMPONENTS] = held[Status.POOLED] = False
    separated, flat = doubtful_slopes(objective, point)
    held[Status.SEPARATION] = bool(separated.any())
    # An empty component, or one of two that are the same, leaves other coefficients open too.
    known = held[Status.EMPTY_COMPONENT] or held[Status.DUPLICATE_COMPONENTS]
    held[Status.NOT_IDENTIFIED] = bool(flat.any()) and not known
    # A family that was asked for is no news.
    families = objective.problem.design.family
    for status, family, row in ((Status.POINT_MASS, 2, 1), (Status.POISSON_LIMIT, 1, 2)):
        others = objective.problem.design.at_centre(point)[:, families < family]
        if status is Status.POISSON_LIMIT:
            others = others[:, np.isfinite(others[1])]
        held[status] = bool((np.isfinite(others[0]) & np.isneginf(others[row])).any())
    return np.array(list(held.values()))


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
