"""From the evidence on each number of components to a choice, with its reasons.

LOO prefers too many components and a cautious rule misses some that a small sample cannot prove;
so every number that is not clearly worse stays plausible, and the smallest of them is chosen
(Sivula, Magnusson, Matamoros and Vehtari, "Uncertainty in Bayesian leave-one-out cross-validation
based model comparison", arXiv:2008.10296, on when a difference is too small to be trusted).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

# A number of components is worse only if it lies behind by both.
ELPD_LIMIT = 4.0
SE_LIMIT = 2.0


@dataclass(frozen=True)
class Verdict:
    """Numbers of components that are plausible, the one chosen, and why.

    Attributes
    ----------
    plausible : frozenset of int
    chosen : int or None
        The smallest plausible number; None if no posterior passed its gate.
    reasons : tuple of str
        A sentence for each number, then one for each criterion that disagrees.
    """

    plausible: frozenset[int]
    chosen: int | None
    reasons: tuple[str, ...]


def judge_components(
    table: pd.DataFrame,
    refusals: Mapping[int, str] = MappingProxyType({}),
    repairs: Mapping[int, str] = MappingProxyType({}),
) -> Verdict:
    """Apply the rule.

    Parameters
    ----------
    table : pandas.DataFrame
        Indexed by number of components, with density_ok, elpd_diff (below 0: worse than the best),
        diff_se, and optionally aic, bic, icl, stacking_weight, high_k.
    refusals : mapping of int to str
        For numbers that failed the density gate, a sentence that says how.
    repairs : mapping of int to str
        For numbers whose LOO was repaired, what was done.

    Returns
    -------
    Verdict
    """
    numbers = [int(k) for k in table.index]
    passed = dict(zip(numbers, table["density_ok"].astype(bool), strict=True))
    refused = [k for k in numbers if not passed[k]]
    gated = table[table["density_ok"].astype(bool)]
    if gated.empty:
        return Verdict(
            frozenset(),
            None,
            (
                "No number of components can be chosen: every posterior failed the density gate "
                f"({', '.join(str(k) for k in refused)}). Sample with more draws, or set "
                "narrower priors.",
                *(_refusal(k, refusals) for k in refused),
            ),
        )
    gaps = {
        k: _Gap(-float(difference), float(error))
        for k, difference, error in zip(
            (k for k in numbers if passed[k]), gated["elpd_diff"], gated["diff_se"], strict=True
        )
    }
    plausible = frozenset(k for k, gap in gaps.items() if not gap.is_clear)
    chosen, best = min(plausible), min(gaps, key=lambda k: gaps[k].elpd)
    reasons = [_why(chosen, best, plausible, len(gaps), refused)]
    for k, gap in gaps.items():
        if k == chosen:
            continue
        if k not in plausible:
            text = f"worse than {best} by {gap}; ruled out."
        elif k == best:
            ahead = gaps[chosen]
            text = f"highest elpd, but ahead of {chosen} by {ahead}, {ahead.shortfall}; not needed."
        else:
            text = f"behind {best} by {gap}, {gap.shortfall}; plausible, not needed."
        reasons.append(f"{_components(k)}: {text}")
    reasons.extend(_refusal(k, refusals) for k in refused)
    reasons.extend(_disagreements(gated, chosen))
    for k, number in zip(gaps, gated.get("high_k", [0] * len(gaps)), strict=True):
        if k in repairs:
            reasons.append(f"{_components(k)}: {repairs[k]}.")
        elif number:
            reasons.append(
                f"The elpd of {_components(k)} is doubtful: {int(number)} observations have a "
                "Pareto k above its limit, mostly because a component rests on them."
            )
    return Verdict(plausible, chosen, tuple(reasons))


@dataclass(frozen=True)
class _Gap:
    """How far a number of components lies behind the best: elpd, and its standard error."""

    elpd: float
    error: float

    @property
    def is_clear(self) -> bool:
        return self.elpd > ELPD_LIMIT and self.elpd > SE_LIMIT * self.error

    @property
    def shortfall(self) -> str:
        """What is missing to a clear difference."""
        if self.elpd <= ELPD_LIMIT:
            return f"less than the {ELPD_LIMIT:g} elpd that count"
        return f"less than {SE_LIMIT:g} standard errors"

    def __str__(self) -> str:
        if not self.error > 0:
            return f"{self.elpd:.1f} elpd (no standard error to judge it by)"
        return f"{self.elpd:.1f} elpd ({self.elpd / self.error:.1f} standard errors)"


def _why(
    chosen: int, best: int, plausible: frozenset[int], n_assessed: int, refused: list[int]
) -> str:
    need = "component is" if chosen == 1 else "components are"
    limit = ""
    if any(k < chosen for k in refused):
        fewer = ", ".join(str(k) for k in refused if k < chosen)
        limit = f" Whether fewer ({fewer}) would do is not known: their posteriors are not usable."
    if n_assessed == 1:
        return (
            f"{_components(chosen)}: the only number that could be assessed, so nothing was "
            f"compared.{limit}"
        )
    if plausible == {chosen}:
        return (
            f"{chosen} {need} needed to predict these counts: every other number assessed predicts "
            f"clearly worse.{limit}"
        )
    others = ", ".join(str(k) for k in sorted(plausible))
    lead = "has the highest elpd and" if chosen == best else "is not clearly worse than the best"
    joint = "is" if chosen == best else "and is"
    return (
        f"{chosen} {need} needed to predict these counts: among the plausible numbers ({others}), "
        f"{chosen} {lead} {joint} the smallest. That is what prediction needs, not a true number."
        f"{limit}"
    )


def _refusal(k: int, refusals: Mapping[int, str]) -> str:
    how = f" {refusals[k]}" if k in refusals else ""
    return f"{_components(k)}: not assessed, because its posterior failed the density gate.{how}"


def _components(k: int) -> str:
    return f"{k} component" if k == 1 else f"{k} components"


def _disagreements(gated: pd.DataFrame, chosen: int) -> list[str]:
    sentences = []
    for name, label, pick in (
        ("aic", "AIC", "idxmin"),
        ("bic", "BIC", "idxmin"),
        ("icl", "ICL, which wants components well apart,", "idxmin"),
        ("stacking_weight", "Stacking, which is for averaging and not for choosing,", "idxmax"),
    ):
        if name in gated and gated[name].notna().all():
            preferred = int(getattr(gated[name], pick)())
            if preferred != chosen:
                sentences.append(f"{label} prefers {preferred}.")
    return sentences
