"""One number of components: EM, MAP and NUTS, compared and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.labels.diagnose import Diagnosis, diagnose_reading
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.fit import fit_em, fit_map
from pmnbmix.point.optima import Status
from pmnbmix.point.result import PointFit
from pmnbmix.posterior.inference import sample
from pmnbmix.progress import Advance
from pmnbmix.seeds import as_rng
from pmnbmix.selection.compare import compare_readings
from pmnbmix.selection.loo import loo_of_reading, refuse_too_many
from pmnbmix.study.refits import Refits, refit_high_k
from pmnbmix.tree.reading import read

# Called with a stage in words ("2 components: NUTS") and with (done, total) draws of it.
Watch = Callable[[str, int, int], None]


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
        What was done to make it so; none where the density gate failed.
    """

    em: PointFit
    map: PointFit
    tree: xr.DataTree = field(repr=False)
    diagnosis: Diagnosis
    elpd: Any = field(repr=False)
    estimates: pd.DataFrame = field(repr=False)
    refits: Refits | None = field(default=None, repr=False)

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
    random_seed : int or numpy.random.Generator, optional
    watch : callable, optional
        Told of each stage and its progress; where absent, `sample` shows its own bar.

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

    def stage(title: str) -> Advance | None:
        if watch is None:
            return None
        watch(title, 0, 1)
        return lambda done, total: watch(title, done, total)

    stage(f"{name}: EM and MAP")
    em = fit_em(counts, spec.n_components, random_seed=rng)
    map_ = fit_map(counts, spec, random_seed=rng)
    if Status.INTERRUPTED in (*em.statuses, *map_.statuses):
        # alone, either is worth keeping; here nothing would follow that whoever stopped it wants
        raise KeyboardInterrupt
    tree = sample(
        counts,
        spec,
        draws=draws,
        chains=chains,
        random_seed=rng,
        on_draw=stage(f"{name}: NUTS"),
    )
    stage(f"{name}: checks and LOO")
    reading = read(tree)
    diagnosis = diagnose_reading(reading, optima=em)
    elpd, refits = loo_of_reading(reading, diagnosis.density_ok), None
    if diagnosis.density_ok:
        # exact terms of a posterior that is not to be used would be worth nothing
        on_refit = stage(f"{name}: exact refits") if _has_high_k(elpd) else None
        refits = refit_high_k(counts, spec, reading, elpd, random_seed=rng, on_refit=on_refit)
        elpd = refits.elpd
    return Fitted(
        em=em,
        map=map_,
        tree=tree,
        diagnosis=diagnosis,
        elpd=elpd,
        estimates=compare_readings(em, map_, reading, diagnosis),
        refits=refits,
    )


def _has_high_k(elpd: Any) -> bool:
    return bool((~(elpd.pareto_k <= elpd.good_k)).any())
