"""A choice of the number of components, made from fits of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.html import html_table
from pmnbmix.labels.diagnose import Diagnosis
from pmnbmix.point.result import PointFit
from pmnbmix.selection.influence import Influence, influence
from pmnbmix.selection.rule import judge_components
from pmnbmix.study.averaging import AveragedPrediction
from pmnbmix.study.fitting import Fitted
from pmnbmix.study.thorough import Thorough
from pmnbmix.tree.reading import read

# A fit that uses so many times the parameters that the model has is not recommended without a word.
_MANY_PARAMETERS = 2.0


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice of the number of components with its evidence.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by number of components: log_likelihood, aic, bic, icl (of EM; smaller is better),
        elpd, elpd_se, p_loo, high_k (observations whose Pareto k is too large), loo (what was done
        about them: "psis" if there are none, else "matching", "refit" or "10-fold"), elpd_diff
        and diff_se (to the best; below 0 is worse), stacking_weight, goodness_of_fit (p-value of
        the EM fit), density_ok, components_ok, plausible, n_modes (NaN if a posterior does not
        say). A number whose posterior failed
        the density gate stays in the table and is not ranked.
    plausible : frozenset of int
        Numbers not clearly worse than the best: behind by at most 4 elpd or at most 2 standard
        errors of the difference.
    chosen : int or None
        The smallest plausible number.
    best : int or None
        The number of highest elpd, which is the one for prediction; the smallest of those that are
        as good to half a nat. Neither it nor ``chosen`` is a true number of groups.
    reasons : tuple of str
        Why, number by number, and which criteria disagree.
    influences : dict of int to str
        For numbers whose difference to the best rests on one or two observations, which.
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
    best: int | None
    reasons: tuple[str, ...]
    influences: dict[int, str] = field(repr=False)
    fits: dict[int, Fitted] = field(repr=False)
    thorough: Thorough | None = None
    note: str = ""

    @cached_property
    def averaged(self) -> AveragedPrediction:
        """Predictions of all numbers that passed their density gate, averaged by stacking.

        Raises a ValueError if none passed.
        """
        weights = self.table["stacking_weight"].dropna()
        if weights.empty:
            raise ValueError(
                "every posterior failed the density gate, so there is nothing to average. Sample "
                "with more draws, or set narrower priors."
            )
        draws = tuple(read(self.fits[int(k)].tree).draws for k in weights.index)
        return AveragedPrediction(weights / weights.sum(), draws, self.counts.has_exposure)

    def _repr_html_(self) -> str:
        columns = ("elpd", "elpd_diff", "diff_se", "bic", "stacking_weight", "goodness_of_fit")
        rows = [(k, *(f"{row[name]:.5g}" for name in columns)) for k, row in self.table.iterrows()]
        head = ("components", *(name.replace("_", " ") for name in columns))
        return html_table(f"number of components of {self.counts.name}", rows, head, self.reasons)

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


def make_choice(
    counts: Counts, fits: dict[int, Fitted], note: str = "", thorough: Thorough | None = None
) -> Choice:
    """Choose among numbers of components that were fitted."""
    table = _evidence(fits)
    refusals = {k: fitted.diagnosis.summary[0] for k, fitted in fits.items()}
    repairs = {k: f.refits.sentence for k, f in fits.items() if f.refits and f.refits.sentence}
    weaknesses = {k: text for k, fitted in fits.items() if (text := _weakness(fitted))}
    influences = _influences(counts, fits, table)
    verdict = judge_components(table, refusals, repairs, weaknesses, influences)
    table["plausible"] = [k in verdict.plausible for k in table.index]
    return Choice(
        counts=counts,
        table=table,
        plausible=verdict.plausible,
        chosen=verdict.chosen,
        best=verdict.best,
        reasons=(
            *verdict.reasons,
            *(thorough.sentences if thorough else ()),
            *([note] if note else []),
        ),
        influences=influences,
        fits=fits,
        thorough=thorough,
        note=note,
    )


def _weakness(fitted: Fitted) -> str:
    """Why a number is not to be recommended without a word; empty if nothing is known."""
    found = []
    if fitted.adequacy.verdict == "not described":
        found.append(
            f"it does not describe the counts (goodness of fit p = {fitted.adequacy.p_value:.2f})"
        )
    parameters = fitted.diagnosis.n_parameters
    if fitted.diagnosis.density_ok and fitted.elpd.p > _MANY_PARAMETERS * parameters:
        found.append(
            f"it uses {fitted.elpd.p:.1f} effective parameters where it has {parameters}, so "
            "single counts decide it, or it is wrong for them"
        )
    return "; ".join(found)


def _influences(counts: Counts, fits: dict[int, Fitted], table: pd.DataFrame) -> dict[int, str]:
    """Sentences on differences to the best that rest on one or two observations."""
    differences = table["elpd_diff"].dropna()
    if len(differences) < 2:
        return {}
    best = int(str(differences.idxmax()))
    terms = {int(k): np.asarray(fits[int(k)].elpd.elpd_i.values) for k in differences.index}
    out = {}
    for k, own in terms.items():
        found = influence(terms[best] - own) if k != best else None
        if found is not None:
            out[k] = _in_words(found, counts, k, best)
    return out


def _in_words(found: Influence, counts: Counts, k: int, best: int) -> str:
    row = counts.expanded_inverse()[list(found.observations)]
    table = counts.table
    named = " and ".join(
        f"{table.values[u]:,.0f}" + (f" (exposure {table.exposure[u]:.3g})" * counts.has_exposure)
        for u in row
    )
    number = "One observation decides" if len(row) == 1 else "Two observations decide"
    if found.without > 0:
        rest = f"{best} would be ahead by {found.without:.1f}"
    else:
        rest = f"{k} would be ahead by {-found.without:.1f}"
    return (
        f"{number} much between {k} and {best}: {named}. Without, {rest} elpd (standard error "
        f"{found.error_without:.1f}), not {best} by {found.difference:.1f} ({found.error:.1f})."
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
            "goodness_of_fit": fitted.adequacy.p_value,
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
