"""`fit_em` and `fit_map`: from counts to a point estimate with everything that was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import one_of, whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec, as_spec, check_n_components
from pmnbmix.point.found import Search
from pmnbmix.point.objective import (
    Objective,
    likelihood_objective,
    pack_point,
    prior_objective,
)
from pmnbmix.point.result import PointFit, as_fit
from pmnbmix.point.search import search
from pmnbmix.seeds import as_rng

Floats = NDArray[np.float64]


def fit_em(
    counts: Counts,
    n_components: int | MixtureSpec = 2,
    *,
    mixing: Literal["estimated", "equal"] = "estimated",
    start: MixtureParams | PointFit | Sequence[MixtureParams | PointFit] | None = None,
    max_iter: int = 200,
    exact: bool = False,
    random_seed: int | np.random.Generator | None = None,
    progressbar: bool = False,
) -> PointFit:
    """Fit by maximum likelihood: EM from a pool of starts, each finished by Newton.

    Parameters
    ----------
    counts : Counts
    n_components : int or MixtureSpec
        1 or above; or a specification with formulas and families, whose priors are left out.
    mixing : {"estimated", "equal"}
        "equal" fixes the weights at 1 / n_components.
    start : MixtureParams or PointFit, or sequence of them, optional
        Starts of your own, added to the pool; parameters are at the centre of the covariates. One
        with a component fewer or more, as the fit of
        another number of components gives it, has its components split or merged in every way.
    max_iter : int
        Limit on the Newton steps from each start.
    exact : bool
        Run every step on all rows. By default a table of thousands of distinct exposures is
        searched on a squashed one, and only the last Newton steps run on all rows; ``squashing``
        of the result says how large its error was.
    random_seed : int or numpy.random.Generator, optional
    progressbar : bool
        Show one over the starts.

    Returns
    -------
    PointFit
        The best optimum found; ``optima`` lists the others.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and a start under which some count is
        impossible.

    Notes
    -----
    With three components or more the search goes on from the best optima: two components are merged
    and another is split [3]_, or half of one is given to another, as long as that brings new optima
    among the best.

    Edges of the parameter space are values: dispersion 0 is a Poisson component, mean 0 a point
    mass at zero. ``status`` says where the estimate lies.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin (1977), J. R. Stat. Soc. B 39, 1-38,
       https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
    .. [2] C. Biernacki, G. Celeux, G. Govaert (2003), Choosing starting values for the EM
       algorithm, Comput. Stat. Data Anal. 41, 561-575,
       https://doi.org/10.1016/S0167-9473(02)00163-9
    .. [3] N. Ueda, R. Nakano, Z. Ghahramani, G. E. Hinton (2000), SMEM algorithm for mixture
       models, Neural Comput. 12, 2109-2128, https://doi.org/10.1162/089976600300015088

    Examples
    --------
    >>> import pmnbmix as nb
    >>> fit = nb.fit_em(nb.load_dataset("crab_satellites"), n_components=2, random_seed=1)
    >>> fit.params.means.round(1), fit.params.weights.round(2)
    (array([0.1, 4.7]), array([0.39, 0.61]))
    >>> str(fit.status)  # the first component is Poisson
    'poisson-limit'
    >>> fit.optima[["log_likelihood", "status"]].round(1).to_numpy().tolist()
    [[-368.2, 'poisson-limit'], [-368.7, 'converged']]
    """
    check_counts(counts)
    spec = n_components
    if not isinstance(spec, MixtureSpec):
        spec = MixtureSpec(check_n_components(n_components))
    n_components = spec.n_components
    one_of(mixing, "mixing", ("estimated", "equal"))
    objective = likelihood_objective(counts, spec, mixing == "equal")
    starts = starts_of(start, n_components)
    for one in starts:
        weights = one.params.weights if isinstance(one, PointFit) else one.weights
        if mixing == "equal" and np.ptp(weights) > 1e-9:
            raise ValueError(
                f'mixing="equal" fixes the weights at 1/{n_components}, but start has weights '
                f"{weights.tolist()}. Start from equal weights, or leave mixing out."
            )
    found = _search(objective, starts, max_iter, exact, random_seed, progressbar)
    stated = None if spec.is_plain else objective.problem.spec
    return as_fit("em", counts, stated, mixing, objective, found)


def fit_map(
    counts: Counts,
    spec: MixtureSpec | int,
    *,
    start: MixtureParams | PointFit | Sequence[MixtureParams | PointFit] | None = None,
    max_iter: int = 200,
    exact: bool = False,
    random_seed: int | np.random.Generator | None = None,
    progressbar: bool = False,
) -> PointFit:
    """Maximise the posterior density by penalised EM, with the starts and the finish of `fit_em`.

    The density is that of (weights on the simplex, log means, log dispersions), without Jacobians:
    the random variables of `build_model`, so that ``pm.find_MAP`` has the same objective.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec or int
        Resolved against the counts if it is not yet; a number of components has the default priors.
    start, max_iter, exact, random_seed, progressbar
        As in `fit_em`.

    Returns
    -------
    PointFit

    Raises
    ------
    TypeError, ValueError
        As `fit_em`, and where the Dirichlet concentration is below 1: the density then rises
        without bound towards an empty component and has no maximum.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> fit = nb.fit_map(counts, nb.MixtureSpec(n_components=2), random_seed=1)
    >>> fit.params.means.round(1), str(fit.status)
    (array([0.9, 4.8]), 'converged')
    >>> round(fit.log_density, 1), round(fit.log_likelihood, 1)
    (-376.0, -368.8)
    """
    check_counts(counts)
    spec = as_spec(spec)
    if spec.n_components > 1 and spec.weights.concentration < 1:
        raise ValueError(
            f"a Dirichlet concentration of {spec.weights.concentration} has no MAP: the density "
            "rises without bound towards an empty component. Use 1 or above, or sample()."
        )
    resolved = spec.resolve(counts)
    objective = prior_objective(counts, resolved, sampling_density=False)
    starts = starts_of(start, resolved.n_components)
    found = _search(objective, starts, max_iter, exact, random_seed, progressbar)
    return as_fit("map", counts, resolved, "estimated", objective, found)


def check_counts(counts: object) -> None:
    """Check that counts were wrapped."""
    if not isinstance(counts, Counts):
        raise TypeError(
            f"counts must be a Counts; got {type(counts).__name__}. Wrap the column: "
            "Counts(values)."
        )


def starts_of(start: object, n_components: int) -> list[MixtureParams | PointFit]:
    """Check starts of the user's own, and make a list of them.

    Raises
    ------
    TypeError, ValueError
        If one is no MixtureParams, or its number of components is not within 1 of what is fitted.
    """
    if start is None:
        return []
    starts: list[Any] = [start]
    if isinstance(start, Sequence) and not isinstance(start, str | bytes):
        starts = list(start)
    for one in starts:
        if not isinstance(one, MixtureParams | PointFit):
            raise TypeError(
                "start must be a MixtureParams or a PointFit, or several in a list; got "
                f"{type(one).__name__}."
            )
        if abs(one.n_components - n_components) > 1:
            raise ValueError(
                f"start has {one.n_components} components but {n_components} are fitted. Start "
                "from as many, one fewer or one more."
            )
    return starts


def _search(
    objective: Objective,
    starts: Sequence[MixtureParams | PointFit],
    max_iter: int,
    exact: bool,
    random_seed: int | np.random.Generator | None,
    progressbar: bool,
) -> Search:
    return search(
        objective,
        as_rng(random_seed),
        whole(max_iter, "max_iter", 1),
        own_starts=[packed_start(objective, start) for start in starts],
        exact=exact,
        progressbar=progressbar,
        keep_partial=True,
    )


def packed_start(objective: Objective, start: MixtureParams | PointFit) -> Floats:
    """Point of a start; one with as many components as are fitted must be possible."""
    design = objective.problem.design
    if isinstance(start, PointFit):
        point = start._optima[0].point
        fitted = start._objective.problem.design
        if not design.is_plain and fitted.terms_of == design.terms_of:
            return point
        start = start.params
    point = pack_point(start)
    if not design.is_plain:
        # The start is of the centre of the covariates; nothing follows them yet.
        centre = point
        point = np.zeros((design.n_terms, start.n_components))
        point[design.intercepts, :] = centre
        if start.n_components == objective.n_components:
            point = np.where(np.isnan(design.pinned), point, design.pinned)
    if start.n_components == objective.n_components and not np.isfinite(objective.value(point)):
        raise ValueError(
            f"start {start!r} gives some count probability 0, or lies where the prior has no "
            "density. Start from means, weights and dispersions above 0."
        )
    return point
