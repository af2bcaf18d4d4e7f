"""Standard errors of a point estimate from the observed information, and when not to use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.mixture.sums import row_scores
from pmnbmix.point.newton import FLAT, information_spectrum, moving, redundant_directions
from pmnbmix.point.objective import Objective
from pmnbmix.point.optima import Optimum, Status
from pmnbmix.point.profile import Profile

Floats = NDArray[np.float64]

# A log dispersion with a larger standard error than this spans Poisson to geometric.
_WIDE_LOG_DISPERSION = 3.0
# Share of the length of the profile interval by which an end of Wald's may differ.
_DISAGREEMENT = 0.25
# A component whose own observations are assigned to it with a lower probability than this, on
# average, is not told apart from the others well enough for the shape of the likelihood at the
# optimum to say how far the truth may lie. The limit is that of D. S. Nagin 2005, Group-Based
# Modeling of Development, chapter 5 (there after hard assignment), doi:10.4159/9780674041318.
_LEAST_ASSIGNMENT = 0.7
# Another optimum this close in nats makes every interval around one of them too short.
_RIVAL = 4.0


@dataclass(frozen=True, eq=False)
class Wald:
    """Standard errors and 95 % intervals on the natural scales.

    Attributes
    ----------
    estimate, se, lower, upper : ndarray, shape (3, k)
        Rows: weights, means, dispersions. ``se`` is infinite where the data do not determine the
        parameter. Intervals are symmetric on logit and log scales.
    flag : list of list of str
        Why an interval is not to be used; empty where it is.
    covariance : ndarray, shape (3k, 3k)
        Of weights, means and dispersions; rows of parameters with infinite ``se`` are 0.
    spread : ndarray, shape (3, k)
        Standard errors of logit weights, log means and log dispersions.
    """

    estimate: Floats
    se: Floats
    lower: Floats
    upper: Floats
    flag: list[list[str]]
    covariance: Floats
    spread: Floats


def wald(
    objective: Objective, point: Floats, confidence: float = 0.95, sandwich: bool = False
) -> Wald:
    """Invert the observed information at a point.

    Parameters
    ----------
    objective : Objective
    point : ndarray, shape (3, k)
    confidence : float
        Confidence of the intervals.
    sandwich : bool
        Put the observed scatter of the scores between two inverses of the information, which
        holds where the model is wrong: H. White 1982, Econometrica 50, 1-25, doi:10.2307/1912526.

    Returns
    -------
    Wald
    """
    k = objective.n_components
    known = entry_covariance(objective, point, sandwich)
    covariance, undetermined, saddle = known.entries, known.undetermined, known.saddle

    estimate = np.exp(point)
    jacobian = np.diag(estimate.ravel())
    weights = estimate[0]
    jacobian[:k, :k] = np.diag(weights) - np.outer(weights, weights)
    natural = jacobian @ covariance @ jacobian.T
    fixed_weights = objective.equal_weights or k == 1
    if fixed_weights:
        undetermined[:k] = False
    natural[undetermined] = 0.0
    natural[:, undetermined] = 0.0
    se = np.sqrt(np.maximum(np.diag(natural), 0.0)).reshape(3, k)
    unknown = undetermined.reshape(3, k)
    se[unknown] = np.inf

    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0)).reshape(3, k)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread[0] = se[0] / (weights * (1.0 - weights))
    spread[~np.isfinite(se)] = np.inf
    lower, upper = _interval(estimate, se, fixed_weights, confidence)
    unclear = overlapping(objective, point)
    flag = [
        [
            _flag(row, point[:, j], unknown[row, j], spread[row, j], saddle, unclear[j])
            for j in range(k)
        ]
        for row in range(3)
    ]
    return Wald(estimate, se, lower, upper, flag, natural, spread)


@dataclass(frozen=True, eq=False)
class EntryCovariance:
    """What the information at a point says of its entries.

    Attributes
    ----------
    entries : ndarray, shape (n_terms k, n_terms k)
        Covariance of the entries of the point, row after row; 0 for those that do not move.
    undetermined : ndarray of bool, shape (n_terms k,)
        Entries that the data do not determine, or that do not move.
    saddle : bool
        Whether some direction goes up.
    """

    entries: Floats
    undetermined: NDArray[np.bool_]
    saddle: bool


def entry_covariance(objective: Objective, point: Floats, sandwich: bool) -> EntryCovariance:
    """Invert the observed information at a point (n_terms, k); arguments as in `wald`."""
    k = objective.n_components
    _, hessian = objective.derivatives(point)
    numbers = moving(objective.terms, objective.free, point)
    free = numbers >= 0
    covariance = np.zeros((point.size, point.size))
    undetermined = ~free
    if not free.any():
        return EntryCovariance(covariance, undetermined, False)
    scale, eigenvalues, vectors = information_spectrum(
        hessian, numbers, objective.terms, point[0], objective.worth
    )
    flat = np.abs(eigenvalues) < FLAT
    saddle = bool((eigenvalues[~flat] < 0).any())
    inverse = (vectors[:, ~flat] / np.abs(eigenvalues[~flat])) @ vectors[:, ~flat].T
    inverse *= np.outer(scale, scale)
    if sandwich:
        scatter = np.zeros_like(inverse)
        of_entries = _score_scatter(objective, point)[np.ix_(free, free)]
        np.add.at(scatter, np.ix_(numbers[free], numbers[free]), of_entries)
        inverse = inverse @ scatter @ inverse
    covariance[np.ix_(free, free)] = inverse[np.ix_(numbers[free], numbers[free])]
    redundant = redundant_directions(numbers, objective.terms, scale, k)
    undetermined[free] = _loads_on(vectors[:, flat], redundant)[numbers[free]]
    return EntryCovariance(covariance, undetermined, saddle)


def _loads_on(flat: Floats, redundant: Floats) -> NDArray[np.bool_]:
    """Coordinates that move along a flat direction, besides the redundant ones of the logits."""
    for unit in redundant:
        flat = flat - np.outer(unit, unit @ flat)
    return np.asarray(np.linalg.norm(flat, axis=1) > 1e-3)


def _score_scatter(objective: Objective, point: Floats) -> Floats:
    """Sum over the observations of the outer square of their scores, (n_terms k, n_terms k)."""
    scores = row_scores(objective.rows, objective.terms, point)
    return np.asarray((scores.T * objective.table.frequency) @ scores)


def overlapping(objective: Objective, point: Floats) -> NDArray[np.bool_]:
    """Tell which components are not well told apart from some other, (k,)."""
    k = objective.n_components
    table = objective.table
    held = objective.responsibilities(point)
    shared = (held.T * table.frequency) @ held
    mass = shared.sum(axis=1)
    # Entry [i, j] is the probability of j, averaged over what belongs to i.
    with np.errstate(invalid="ignore", divide="ignore"):
        assigned = shared / mass[:, None]
    unclear = np.diag(assigned) < _LEAST_ASSIGNMENT
    # Its rivals are as unclear: those that hold at least half of an even share of what it lacks.
    share = 0.5 * (1.0 - _LEAST_ASSIGNMENT) / max(k - 1, 1)
    return np.asarray(unclear | (assigned[unclear] > share).any(axis=0))


def with_doubts(errors: Wald, against: Profile, rivals: int) -> Wald:
    """Flag what the Wald intervals cannot know of themselves.

    Parameters
    ----------
    errors : Wald
    against : Profile
        Intervals of the same confidence.
    rivals : int
        Number of other optima within 4 nats.

    Returns
    -------
    Wald
    """
    k = errors.estimate.shape[1]
    flag = [list(row) for row in errors.flag]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [
            [special.logit(array[0]), np.log(array[1]), np.log(array[2])]
            for array in (errors.lower, errors.upper, against.lower, against.upper)
        ]
        gaps = np.fmax(np.abs(np.subtract(ends[0], ends[2])), np.abs(np.subtract(ends[1], ends[3])))
        near = gaps <= _DISAGREEMENT * np.subtract(ends[3], ends[2])
    # If one interval has an end at the edge and the other has not, the gap is infinite.
    far = ~(near & np.isfinite(gaps))
    same = (errors.lower == against.lower) & (errors.upper == against.upper)
    for row in range(3):
        for j in range(k):
            if not flag[row][j] and far[row, j] and not same[row, j]:
                flag[row][j] = (
                    "far from the profile interval: the likelihood is not symmetric here; use "
                    "profile_intervals()"
                )
    return replace(errors, flag=with_rivals(flag, rivals, errors))


def with_rivals(flag: list[list[str]], rivals: int, interval: Wald | Profile) -> list[list[str]]:
    """Add to the flags that other optima are close; an interval of no length is left alone."""
    if not rivals:
        return flag
    optima = "another optimum lies" if rivals == 1 else f"{rivals} other optima lie"
    meaning = (
        "an interval around one of them is too short"
        if isinstance(interval, Wald)
        else "the interval reaches as far as any of them allows"
    )
    reason = f"{optima} within {_RIVAL:g} nats (see optima): {meaning}; use the posterior"
    certain = interval.lower == interval.upper
    return [
        [
            word if certain[row, j] else " | ".join(part for part in (word, reason) if part)
            for j, word in enumerate(words)
        ]
        for row, words in enumerate(flag)
    ]


def rivals_of(optima: Sequence[Optimum]) -> list[Optimum]:
    """Return the best optimum, then the other maxima within 4 nats of it."""
    best = optima[0]
    return [
        best,
        *(
            optimum
            for optimum in optima[1:]
            if optimum.log_density > best.log_density - _RIVAL
            and not {Status.SADDLE, Status.MAX_ITER} & set(optimum.statuses)
        ),
    ]


def _interval(
    estimate: Floats, se: Floats, fixed_weights: bool, confidence: float
) -> tuple[Floats, Floats]:
    quantile = float(special.ndtri(0.5 + 0.5 * confidence))
    lower, upper = estimate.copy(), estimate.copy()
    inside = np.isfinite(se) & (estimate > 0)
    inside[0] &= estimate[0] < 1
    if fixed_weights:
        inside[0] = False
    for row in range(3):
        chosen = inside[row]
        centre, error = estimate[row, chosen], se[row, chosen]
        if row == 0:
            half = quantile * error / (centre * (1.0 - centre))
            odds = np.log(centre) - np.log1p(-centre)
            lower[row, chosen] = special.expit(odds - half)
            upper[row, chosen] = special.expit(odds + half)
        else:
            half = np.minimum(quantile * error / centre, 700.0 - np.maximum(np.log(centre), 0.0))
            lower[row, chosen] = centre * np.exp(-half)
            upper[row, chosen] = centre * np.exp(half)
    unknown = ~np.isfinite(se)
    lower[unknown] = 0.0
    upper[0, unknown[0]] = 1.0
    upper[1:][unknown[1:]] = np.inf
    return lower, upper


def _flag(
    row: int, column: Floats, unknown: bool, log_se: float, saddle: bool, unclear: bool
) -> str:
    if not np.isfinite(column[0]):
        return "empty component: nothing is known of it; fit fewer components"
    if row == 2 and np.isneginf(column[1]):
        return "mean 0: its dispersion has no effect"
    if row == 2 and np.isneginf(column[2]):
        return "Poisson limit: no standard error there; use profile_intervals() or the posterior"
    if row == 1 and np.isneginf(column[1]):
        return "mean 0: no standard error at the edge; use profile_intervals() or the posterior"
    if unknown:
        return (
            "not determined by the data; use profile_intervals(), the posterior or fewer components"
        )
    if saddle:
        return "not an optimum: standard errors mean nothing here"
    if row == 2 and log_se > _WIDE_LOG_DISPERSION:
        return (
            "nearly Poisson: the Wald interval is unsafe; use profile_intervals() or the posterior"
        )
    if row == 2 and unclear:
        return (
            "overlaps with another component: a dispersion can look determined and be far off; "
            "use the posterior"
        )
    return ""
