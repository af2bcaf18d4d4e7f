"""One number of components: EM, MAP and NUTS, compared and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.labels.diagnose import Diagnosis, diagnose_reading
from pmnbmix.mixture.design import Design
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.mixture.spec import LARGEST_N_COMPONENTS, MixtureSpec
from pmnbmix.point.fit import fit_em, fit_map
from pmnbmix.point.objective import pack_point, unpack_point
from pmnbmix.point.optima import Status
from pmnbmix.point.result import PointFit
from pmnbmix.point.starts import off_edges
from pmnbmix.posterior.inference import sample
from pmnbmix.progress import Watch, stage
from pmnbmix.seeds import as_rng
from pmnbmix.selection.compare import compare_readings
from pmnbmix.selection.loo import loo_of_reading, refuse_too_many, terms_of_reading
from pmnbmix.selection.loo_terms import Terms
from pmnbmix.selection.recording import recording_marks
from pmnbmix.study.adequacy import Adequacy, judge_adequacy
from pmnbmix.study.refits import Refits, refit_high_k
from pmnbmix.tree.reading import read


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything about one number of components.

    Attributes
    ----------
    em, map : PointFit
    tree : xarray.DataTree
        The posterior, relabelled.
    diagnosis : Diagnosis
    elpd : ELPDData
        Exact for the observations that importance sampling cannot leave out.
    estimates : pandas.DataFrame
        EM, MAP and NUTS side by side, from `compare_estimates`.
    refits : Refits, optional
        What was done to make ``elpd`` exact; None if the density gate failed.
    tested : Adequacy, optional
        The verdict on whether the mixture describes the counts, if it has been made already.
    terms : Terms, optional
        What importance sampling said of every unique row, before anything was refitted.
    """

    em: PointFit
    map: PointFit
    tree: xr.DataTree = field(repr=False)
    diagnosis: Diagnosis
    elpd: Any = field(repr=False)
    estimates: pd.DataFrame = field(repr=False)
    refits: Refits | None = field(default=None, repr=False)
    tested: Adequacy | None = field(default=None, repr=False)
    terms: Terms | None = field(default=None, repr=False)

    @cached_property
    def adequacy(self) -> Adequacy:
        """Verdict on whether the mixture describes the counts."""
        return judge_adequacy(self.em) if self.tested is None else self.tested

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """What the counts have that the way of recording them may explain, in sentences."""
        return recording_marks(self.tree)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.em.n_components


def fit_all(
    counts: Counts,
    spec: MixtureSpec,
    *,
    draws: int = 1000,
    chains: int = 4,
    start: MixtureParams | Sequence[MixtureParams] | None = None,
    random_seed: int | np.random.Generator | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Fit one number of components by EM, MAP and NUTS, and compare and check the three.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
    draws, chains : int
        As in `sample`.
    start : MixtureParams or sequence of MixtureParams, optional
        As in `fit_em`. What EM finds is a start of MAP, and what both find one of the search for
        modes.
    random_seed : int or numpy.random.Generator, optional
    watch : callable, optional
        Told of each stage and its progress; if absent, `sample` shows its own bar.

    Returns
    -------
    Fitted

    Raises
    ------
    TypeError, ValueError
        As `fit_em`, `fit_map` and `sample`, and for observations too many for `loo`.
    """
    refuse_too_many(counts.n)
    rng = as_rng(random_seed)
    name = f"K={spec.n_components}"

    stage(watch, f"{name}: EM and MAP")
    em = fit_em(counts, spec.n_components, start=start, random_seed=rng)
    map_ = fit_map(counts, spec, start=_inside(em), random_seed=rng)
    if Status.INTERRUPTED in (*em.statuses, *map_.statuses):
        # An interrupted fit is worth keeping alone, but the comparison here needs finished ones.
        raise KeyboardInterrupt
    tree = sample(
        counts,
        spec,
        draws=draws,
        chains=chains,
        start=[*_inside(em), *_inside(map_)],
        random_seed=rng,
        on_draw=stage(watch, f"{name}: NUTS"),
    )
    stage(watch, f"{name}: checks and LOO")
    reading = read(tree)
    diagnosis = diagnose_reading(reading, optima=em)
    terms = terms_of_reading(reading)
    elpd, refits = loo_of_reading(reading, diagnosis.density_ok, terms=terms), None
    if diagnosis.density_ok:
        # Refits would be wasted on a posterior that failed its gate and must not be used.
        on_refit = stage(watch, f"{name}: exact refits") if _has_high_k(elpd) else None
        refits = refit_high_k(counts, spec, reading, elpd, random_seed=rng, on_refit=on_refit)
        elpd = refits.elpd
    stage(watch, f"{name}: goodness of fit")
    return Fitted(
        em=em,
        map=map_,
        tree=tree,
        diagnosis=diagnosis,
        elpd=elpd,
        estimates=compare_readings(em, map_, reading, diagnosis),
        refits=refits,
        tested=judge_adequacy(em),
        terms=terms,
    )


def neighbours(
    counts: Counts,
    n_components: int,
    fewer: Fitted | None,
    random_seed: int | np.random.Generator | None = None,
) -> list[MixtureParams]:
    """Make starts of fits with one component fewer and one more.

    Components of the one are split and those of the other merged, so that the likelihood never
    falls from one number of components to the next, and one pool of starts makes up for another.

    Parameters
    ----------
    counts : Counts
    n_components : int
    fewer : Fitted or None
        What was fitted with one component fewer.
    random_seed : int or numpy.random.Generator, optional
        For the fit with one component more.

    Returns
    -------
    list of MixtureParams
        None for one component, whose likelihood has one optimum.
    """
    if fewer is None:
        return []
    if n_components == LARGEST_N_COMPONENTS:
        return [_rounded(fewer.em.params)]
    more = fit_em(counts, n_components + 1, random_seed=random_seed)
    if Status.INTERRUPTED in more.statuses:
        raise KeyboardInterrupt
    return [_rounded(fewer.em.params), _rounded(more.params)]


def _rounded(params: MixtureParams) -> MixtureParams:
    """Parameters to seven digits: those read from a file may differ in the last one they have."""
    weights, means, dispersions = (
        np.array([float(f"{number:.6e}") for number in getattr(params, name)])
        for name in PARAMETERS
    )
    return MixtureParams(weights / weights.sum(), means, dispersions)


def _inside(fit: PointFit) -> list[MixtureParams]:
    """Optima of a point fit as starts under a prior, which may have no density at an edge."""
    table = fit.counts.table
    found = [MixtureParams(*row[list(PARAMETERS)]) for _, row in fit.optima.iterrows()]
    return [
        unpack_point(off_edges(pack_point(params), table, Design.of(params.n_components)))
        for params in found
    ]


def _has_high_k(elpd: Any) -> bool:
    return bool((~(elpd.pareto_k <= elpd.good_k)).any())
