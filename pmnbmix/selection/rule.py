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
# Numbers that lie this close together predict equally well: other draws would rank them otherwise.
TIE = 0.5


@dataclass(frozen=True)
class Verdict:
    """Numbers of components that are plausible, the one chosen, the best, and why.

    Attributes
    ----------
    plausible : frozenset of int
    chosen : int or None
        The smallest plausible number; None if no posterior passed its gate.
    best : int or None
        The number of highest elpd, which is the one for prediction; of several within half a nat
        the smallest.
    reasons : tuple of str
        What is chosen and what predicts best, a sentence for each number, then one for each
        criterion that disagrees.
    """

    plausible: frozenset[int]
    chosen: int | None
    best: int | None
    reasons: tuple[str, ...]


_NONE: Mapping[int, str] = MappingProxyType({})


def judge_components(
    table: pd.DataFrame,
    refusals: Mapping[int, str] = _NONE,
    repairs: Mapping[int, str] = _NONE,
    weaknesses: Mapping[int, str] = _NONE,
    influences: Mapping[int, str] = _NONE,
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
    weaknesses : mapping of int to str
        For numbers whose own fit is not to be recommended without a word, that word.
    influences : mapping of int to str
        For numbers whose difference to the best rests on one or two observations, a sentence.

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
    tied = [k for k, gap in gaps.items() if gap.elpd < TIE]
    chosen, best = min(plausible), min(tied)
    headline = _why(chosen, tied, plausible, gaps, refused)
    for k in dict.fromkeys((chosen, best)):
        if k in weaknesses:
            headline = f"{headline} Caution with {_components(k)}: {weaknesses[k]}."
    reasons = [headline]
    for k, gap in gaps.items():
        if k == best:
            if k != chosen:
                reasons.append(f"{_components(k)}: highest elpd, the number for prediction.")
        elif k not in plausible:
            reasons.append(f"{_components(k)}: worse than {best} by {gap}; ruled out.")
        elif k in tied:
            text = f"as good as {best}, less than {TIE:g} elpd apart; plausible."
            reasons.append(f"{_components(k)}: {text}")
        else:
            text = f"behind {best} by {gap}, {gap.shortfall}; plausible."
            reasons.append(f"{_components(k)}: {text}")
        if k in influences:
            reasons.append(influences[k])
    reasons.extend(
        f"{_components(k)}: {weaknesses[k]}."
        for k in gaps
        if k in weaknesses and k not in (chosen, best)
    )
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
    return Verdict(plausible, chosen, best, tuple(reasons))


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
        return f"{self.elpd:.1f} elpd (standard error {self.error:.1f})"


def _why(
    chosen: int,
    tied: list[int],
    plausible: frozenset[int],
    gaps: Mapping[int, _Gap],
    refused: list[int],
) -> str:
    limit = ""
    if any(k < chosen for k in refused):
        fewer = ", ".join(str(k) for k in refused if k < chosen)
        limit = f" Whether fewer ({fewer}) would do is not known: their posteriors are not usable."
    if len(gaps) == 1:
        return (
            f"{_components(chosen)}: the only number that could be assessed, so nothing was "
            f"compared.{limit}"
        )
    if plausible == {chosen}:
        need = "is" if chosen == 1 else "are"
        return (
            f"{_components(chosen)} {need} needed to predict these counts: every other number "
            f"assessed predicts clearly worse.{limit}"
        )
    best = min(tied)
    alike = ", ".join(str(k) for k in tied if k != best)
    if chosen == best:
        predict = "predicts" if chosen == 1 else "predict"
        equally = f" ({alike} equally well)" if alike else ""
        return (
            f"{_components(chosen)} {predict} best{equally}, and no smaller number is plausible. "
            f"That is what prediction needs, not a true number.{limit}"
        )
    equally = f" ({alike} the same)" if alike else ""
    be = "is" if chosen == 1 else "are"
    return (
        f"{_components(chosen)} {be} the smallest number that is not clearly worse; for "
        f"prediction, {_components(best)} have the highest elpd{equally}. Choosing {chosen} "
        f"gives up {gaps[chosen]}. Neither is a true number.{limit}"
    )


def _refusal(k: int, refusals: Mapping[int, str]) -> str:
    how = f" {refusals[k]}" if k in refusals else ""
    return f"{_components(k)}: not assessed, because its posterior failed the density gate.{how}"


def _components(k: int) -> str:
    return f"{k} component" if k == 1 else f"{k} components"


def _disagreements(gated: pd.DataFrame, chosen: int) -> list[str]:
    sentences = []
    for name, label in (
        ("aic", "AIC"),
        ("bic", "BIC"),
        ("icl", "ICL, which wants components well apart,"),
    ):
        if name in gated and gated[name].notna().all():
            preferred = int(str(gated[name].idxmin()))
            if preferred != chosen:
                sentences.append(f"{label} prefers {preferred}.")
    if "stacking_weight" in gated and len(gated) > 1:
        weights = gated["stacking_weight"]
        listed = ", ".join(f"{w:.2f} for {k}" for k, w in weights.items() if w >= 0.005)
        sentences.append(f"To average predictions, stacking gives the weights {listed}.")
    return sentences
