"""Which slopes of a regression the data do not determine: separated ones, and flat directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.design import Design
from pmnbmix.mixture.permute import best_permutations
from pmnbmix.point.newton import FLAT, information_spectrum, moving, redundant_directions
from pmnbmix.point.objective import Objective

Floats = NDArray[np.float64]

# A coefficient this large, in a design whose numbers are scaled, that is at the same time this
# uncertain, is on its way to infinity.
_LARGE, _UNCERTAIN = 4.0, 10.0
# Coefficients of two components that are this close are the same.
_SAME = 0.01
# Two answers of the same density are different ones if some responsibility differs by more.
_APART = 0.05


def same_slopes(design: Design, point: Floats) -> bool:
    """Whether some two components agree in every slope."""
    slopes = design.slopes_of(point)
    k = point.shape[1]
    return any(
        bool((np.abs(slopes[:, i] - slopes[:, j]) < _SAME).all())
        for i in range(k)
        for j in range(i)
    )


def told_apart(objective: Objective, one: Floats, other: Floats) -> bool:
    """Whether two points of the same density assign rows to components in different ways.

    Where covariates have few patterns, components may trade places from one pattern to the next:
    the density stays and the coefficients do not (C. Hennig 2000, Identifiability of models for
    clusterwise linear regression, J. Classif. 17, 273-296, doi:10.1007/s003570000022). Components
    that are empty or the same assign nothing, so they are left out of it.
    """
    design, table = objective.problem.design, objective.table
    held = [objective.responsibilities(point) for point in (one, other)]
    overlap = (held[0] * table.frequency[:, None]).T @ held[1]
    family = design.family
    overlap[family[:, None] != family] = -np.inf
    order, _ = best_permutations(-overlap[None])
    apart = float(np.abs(held[0] - held[1][:, order[0]]).max())
    if not apart > _APART:
        return False
    return not any(_ambiguous(design, point) for point in (one, other))


def _ambiguous(design: Design, point: Floats) -> bool:
    """Whether a component is empty, or two are the same in all they have."""
    centre, k = design.at_centre(point), point.shape[1]
    if not np.isfinite(centre[0]).all():
        return True
    # Weights are left out: those of two components that are the same are not determined.
    of_components = np.exp(np.minimum(point[len(design.weights.terms) :], 700.0))
    return any(
        bool(np.allclose(of_components[:, i], of_components[:, j], rtol=0.02, atol=1e-6))
        for i in range(k)
        for j in range(i)
    )


def doubtful_slopes(
    objective: Objective, point: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Entries of a point (n_terms, k) that run to infinity, and those along a flat direction.

    A slope runs to infinity where a covariate separates the counts of a component: beyond some
    size, the likelihood no longer tells how large it is.
    """
    design = objective.problem.design
    separated, flat = np.zeros((2, *point.shape), bool)
    numbers = moving(objective.terms, objective.free, point)
    moves = numbers >= 0
    if not moves.any():
        return separated, flat
    _, hessian = objective.derivatives(point)
    scale, eigenvalues, vectors = information_spectrum(
        hessian, numbers, objective.terms, point[0], objective.worth
    )
    redundant = redundant_directions(numbers, objective.terms, scale, point.shape[1])
    weak = np.abs(eigenvalues) < FLAT
    loads = vectors[:, weak]
    for unit in redundant:
        loads = loads - np.outer(unit, unit @ loads)
    on_flat = np.linalg.norm(loads, axis=1) > 1e-3
    inverse = (vectors[:, ~weak] ** 2 / np.abs(eigenvalues[~weak])).sum(axis=1)
    se = scale * np.sqrt(inverse)
    open_ended = on_flat | (se > _UNCERTAIN)
    slopes = np.ones(point.shape, bool)
    slopes[design.intercepts, :] = False
    entries = moves.reshape(point.shape)
    separated[entries] = open_ended[numbers[moves]]
    separated &= slopes & (np.abs(np.where(np.isfinite(point), point, 0.0)) > _LARGE)
    flat[entries] = on_flat[numbers[moves]]
    if separated.any():
        # What a separated slope takes along, as its intercept, is explained by it.
        flat[:] = False
    return separated, flat
