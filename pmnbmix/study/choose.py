"""The whole walk from counts to a choice of the number of components."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.data.checks import function, whole
from pmnbmix.data.counts import Counts
from pmnbmix.labels.diagnose import Diagnosis
from pmnbmix.mixture.spec import MixtureSpec, check_n_components
from pmnbmix.point.result import PointFit
from pmnbmix.posterior.checks import check_arguments, was_interrupted
from pmnbmix.progress import Watch
from pmnbmix.seeds import entropy_of, stream
from pmnbmix.selection.loo import refuse_too_many
from pmnbmix.selection.rule import ELPD_LIMIT, judge_components
from pmnbmix.study.fitting import Fitted, fit_all, neighbours
from pmnbmix.study.storage import (
    Kept,
    read_thorough,
    settings_of,
    write_fitted,
    write_thorough,
)
from pmnbmix.study.thorough import Thorough, look_thoroughly

# Streams of random numbers from here on are of point fits that are made ahead, for their starts.
_AHEAD = 3000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice of the number of components with its evidence.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by number of components: log_likelihood, aic, bic, icl (of EM; smaller is better),
        elpd, elpd_se, p_loo, high_k (observations whose Pareto k is too large), loo (what was done
        about them: "psis" if there are none, else "matching", "refit" or "10-fold"), elpd_diff
        and diff_se (to the best; below 0 is worse), stacking_weight, density_ok, components_ok,
        plausible, n_modes (NaN if a posterior does not say). A number whose posterior failed
        the density gate stays in the table and is not ranked.
    plausible : frozenset of int
        Numbers not clearly worse than the best: behind by at most 4 elpd or at most 2 standard
        errors of the difference.
    chosen : int or None
        The smallest plausible number.
    reasons : tuple of str
        Why, number by number, and which criteria disagree.
    fits : dict of int to Fitted
    thorough : Thorough or None
        Other answers, if they were asked for.
    note : str
        Why fewer numbers of components were assessed than was asked; empty if all were.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> choice.chosen, sorted(choice.plausible)
    (1, [1, 2])
    >>> choice.table["bic"].round(1).to_list()
    [724.6, 737.3]
    >>> tree, em = choice.trees[choice.chosen], choice.em[choice.chosen]
    >>> print(f"{em.params.means[0]:.1f}")
    19.4
    """

    counts: Counts
    table: pd.DataFrame = field(repr=False)
    plausible: frozenset[int]
    chosen: int | None
    reasons: tuple[str, ...]
    fits: dict[int, Fitted] = field(repr=False)
    thorough: Thorough | None = None
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing was interrupted."""
        # A study that stopped early may be interrupted afterwards, and then its note says both.
        return "Interrupted" not in self.note

    @property
    def trees(self) -> dict[int, xr.DataTree]:
        """Posterior of each number of components."""
        return {k: fitted.tree for k, fitted in self.fits.items()}

    @property
    def em(self) -> dict[int, PointFit]:
        """Maximum likelihood fit of each number of components."""
        return {k: fitted.em for k, fitted in self.fits.items()}

    @property
    def map(self) -> dict[int, PointFit]:
        """Maximum a posteriori fit of each number of components."""
        return {k: fitted.map for k, fitted in self.fits.items()}

    @property
    def diagnoses(self) -> dict[int, Diagnosis]:
        """Verdict on the posterior of each number of components."""
        return {k: fitted.diagnosis for k, fitted in self.fits.items()}


def choose_components(
    counts: Counts,
    max_components: int = 4,
    *,
    thorough: bool = False,
    spec: MixtureSpec | None = None,
    draws: int = 1000,
    chains: int = 4,
    stop_early: bool = True,
    random_seed: int | np.random.Generator | None = None,
    watch: Watch | None = None,
    on_fitted: Callable[[Fitted], None] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Choice:
    """Choose how many components are needed to predict counts, by LOO behind a gate.

    Parameters
    ----------
    counts : Counts
    max_components : int
        1 to this many components are fitted, or fewer if ``stop_early`` says so.
    thorough : bool
        Ask other criteria too: bootstrap likelihood ratio tests, log evidence, occupied components
        under a sparse prior, modes of the fitted density. They inform the reasons and do not
        change the choice. Takes some seconds to minutes more.
    spec : MixtureSpec, optional
        Priors; its number of components is ignored. Default priors if absent. They are resolved
        once, so that every number of components has the same.
    draws, chains : int
        As in `sample`.
    stop_early : bool
        Stop if two more components in turn have gained less than 4 elpd over fewer.
    random_seed : int or numpy.random.Generator, optional
        The result for each number of components does not depend on how many more are fitted.
    watch : callable, optional
        Told of each stage and its progress.
    on_fitted : callable, optional
        Given the result for each number of components as it comes.
    folder : path-like, optional
        Each number of components is written there as it comes. Called again with the same counts,
        settings and seed (or without one), a study that was stopped goes on from there.

    Returns
    -------
    Choice

    Raises
    ------
    TypeError, ValueError
        As `fit_all`; if ``max_components`` is not an integer of 1 or above; and if ``folder`` is
        not a folder, holds other files, a study of other counts, settings or seed, or fits of other
        counts or priors. All but these fits is checked before anything is written.
    KeyboardInterrupt
        If interrupted before the first number of components is finished; later, the choice is
        made among those finished, and its reasons say so.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, J. Gabry (2017), Stat. Comput. 27, 1413-1432,
       https://doi.org/10.1007/s11222-016-9696-4

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> print(choice.reasons[0])
    1 component is needed to predict these counts: among the plausible numbers (1, 2), ...
    """
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    if spec is not None and not isinstance(spec, MixtureSpec):
        raise TypeError(
            f"spec must be a MixtureSpec, whose priors are used; got {spec!r}. The largest number "
            "of components is max_components."
        )
    max_components = check_n_components(max_components, "max_components")
    # Whatever fit_all would refuse is refused here, because a folder must not record settings that
    # can never be fitted.
    resolved = check_arguments(counts, spec or MixtureSpec())
    refuse_too_many(counts.n)
    draws, chains = whole(draws, "draws", 4), whole(chains, "chains", 1)
    function(watch, "watch")
    function(on_fitted, "on_fitted")
    entropy, kept = entropy_of(random_seed), None
    if folder is not None:
        settings = settings_of(counts, resolved, draws, chains)
        kept = Kept.open(folder, settings, None if random_seed is None else entropy)
        entropy = kept.entropy
    fits: dict[int, Fitted] = {}
    note = ""
    for k in range(1, max_components + 1):
        try:
            found = None if kept is None else kept.read(k, counts, resolved)
            if found is not None:
                fits[k] = found
            else:
                fits[k] = fit_all(
                    counts,
                    resolved.with_components(k),
                    draws=draws,
                    chains=chains,
                    start=neighbours(counts, k, fits.get(k - 1), stream(entropy, _AHEAD + k)),
                    random_seed=stream(entropy, k),
                    watch=watch,
                )
        except KeyboardInterrupt:
            if not fits:
                raise
            note = f"Interrupted: only up to {k - 1} of {max_components} were assessed."
            _log.warning(note)
            break
        if on_fitted is not None:
            on_fitted(fits[k])
        if was_interrupted(fits[k].tree):
            # An interrupted sample() returns the draws it has, but here the study must stop.
            note = (
                f"Interrupted: {k} of {max_components} numbers of components were assessed, the "
                "last with less sampling than it needed."
            )
            _log.warning(note)
            break
        if kept is not None and found is None:
            write_fitted(kept.folder, fits[k])
        if stop_early and k < max_components and _brings_nothing(fits):
            note = (
                f"Stopped at {k} of {max_components}: the last two components brought less than "
                f"{ELPD_LIMIT:g} elpd."
            )
            break
    looked = None
    if thorough and not note.startswith("Interrupted"):
        try:
            looked = None if kept is None else read_thorough(kept.folder)
            if looked is None or looked.table.index.to_list() != list(fits):
                looked = look_thoroughly(counts, resolved, fits, entropy, watch)
                if kept is not None:
                    write_thorough(kept.folder, looked)
        except KeyboardInterrupt:
            note = f"{note} Interrupted before the other criteria were done.".strip()
            _log.warning(note)
    return make_choice(counts, fits, note, looked)


def _brings_nothing(fits: dict[int, Fitted]) -> bool:
    """Whether the last two numbers of components predict hardly better than the best before."""
    k = max(fits)
    if k < 3:
        return False
    last, before = (fits[k], fits[k - 1]), [fits[i] for i in fits if i < k - 1]
    usable = [fitted.elpd.elpd for fitted in before if fitted.diagnosis.density_ok]
    if not usable or not all(fitted.diagnosis.density_ok for fitted in last):
        # A posterior that failed its gate does not tell what more components would bring.
        return False
    return bool(max(fitted.elpd.elpd for fitted in last) < max(usable) + ELPD_LIMIT)


def make_choice(
    counts: Counts, fits: dict[int, Fitted], note: str = "", thorough: Thorough | None = None
) -> Choice:
    """Choose among numbers of components that were fitted."""
    table = _evidence(fits)
    refusals = {k: fitted.diagnosis.summary[0] for k, fitted in fits.items()}
    repairs = {k: f.refits.sentence for k, f in fits.items() if f.refits and f.refits.sentence}
    verdict = judge_components(table, refusals, repairs)
    table["plausible"] = [k in verdict.plausible for k in table.index]
    return Choice(
        counts=counts,
        table=table,
        plausible=verdict.plausible,
        chosen=verdict.chosen,
        reasons=(
            *verdict.reasons,
            *(thorough.sentences if thorough else ()),
            *([note] if note else []),
        ),
        fits=fits,
        thorough=thorough,
        note=note,
    )


def _high_k(fitted: Fitted) -> int:
    """Number of observations that importance sampling could not leave out."""
    if fitted.refits is not None:
        return fitted.refits.n_high_k
    return int((~(fitted.elpd.pareto_k <= fitted.elpd.good_k)).sum())


def _how(fitted: Fitted) -> str:
    method = "none" if fitted.refits is None else fitted.refits.method
    return "psis" if method == "none" else method


def _n_modes(tree: xr.DataTree) -> float:
    """Number of modes of the posterior; NaN if the tree does not say, as of another sampler."""
    return tree["modes"].sizes.get("mode", np.nan) if "modes" in tree.children else np.nan


def _evidence(fits: dict[int, Fitted]) -> pd.DataFrame:
    """Table of every criterion, ranked among the numbers that passed the density gate."""
    rows = {}
    for k, fitted in fits.items():
        rows[k] = {
            "log_likelihood": fitted.em.log_likelihood,
            "aic": fitted.em.aic,
            "bic": fitted.em.bic,
            "icl": fitted.em.icl,
            "elpd": fitted.elpd.elpd,
            "elpd_se": fitted.elpd.se,
            "p_loo": fitted.elpd.p,
            "high_k": _high_k(fitted),
            "loo": _how(fitted),
            "elpd_diff": np.nan,
            "diff_se": np.nan,
            "stacking_weight": np.nan,
            "density_ok": fitted.diagnosis.density_ok,
            "components_ok": fitted.diagnosis.components_ok,
            "n_modes": _n_modes(fitted.tree),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "n_components"
    gated = {k: fits[k].elpd for k in fits if fits[k].diagnosis.density_ok}
    if len(gated) == 1:
        table.loc[next(iter(gated)), ["elpd_diff", "diff_se", "stacking_weight"]] = [0.0, 0.0, 1.0]
    elif gated:
        import arviz as az

        ranked = az.compare({str(k): elpd for k, elpd in gated.items()}, round_to="none")
        for k in gated:
            row = ranked.loc[str(k)]
            table.loc[k, ["elpd_diff", "diff_se", "stacking_weight"]] = [
                row["elpd_diff"],
                row["dse"],
                row["weight"],
            ]
    return table
