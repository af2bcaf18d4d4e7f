"""Results in words, the same on the terminal and in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pmnbmix.selection.adequacy import RANK_PLACES, rank_curve, rank_limit
from pmnbmix.tree.checks import group
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pmnbmix.labels.diagnose import Diagnosis
    from pmnbmix.study import Choice, Fitted

# The prefix of a flag names the method; a flag without a prefix is about the posterior.
_METHODS = {"em": "EM", "map": "MAP", "nuts": "NUTS"}
_INTERVAL = (0.025, 0.975)
# A sentence describes at most this many components; the table has the others.
_MOST_TOLD = 4
# Below this share, another component explains most observations of a component as well.
_ASSIGNED = 0.5
_PLACES = np.linspace(0.0, 1.0, RANK_PLACES)


def shown(choice: Choice) -> Fitted:
    """The fit to show: the chosen one, or the largest if none could be chosen."""
    return choice.fits[choice.chosen if choice.chosen is not None else max(choice.fits)]


def answer(result: Choice | Fitted, pit: pd.DataFrame) -> tuple[str, ...]:
    """State the result: how many components, what they are, and whether to believe it.

    A fit that cannot be used says so first, and says nothing of its components. ``pit`` is from
    `loo_pit` of the fit that is shown.
    """
    from pmnbmix.study import Choice

    if isinstance(result, Choice):
        first = result.reasons[0]
        if result.chosen is None:
            return (first, "Nothing below should be used before that is mended.")
        fitted = result.fits[result.chosen]
    else:
        fitted = result
        first = f"{components(fitted).capitalize()} were fitted, as was asked."
        if fitted.n_components == 1:
            first = "1 component was fitted, as was asked."
    if not fitted.diagnosis.density_ok:
        return (
            f"This fit cannot be used: {fitted.diagnosis.summary[0]}",
            "Nothing below should be used before that is mended.",
        )
    return (first, what(fitted), belief(fitted, pit))


def what(fitted: Fitted) -> str:
    """Describe the components, with 95 % intervals."""
    draws = read(fitted.tree).draws
    per = ", per unit of exposure" if _has_exposure(fitted.tree) else ""
    if not fitted.diagnosis.components_ok or "weak-labels" in fitted.diagnosis.findings:
        means = (draws.weights * draws.means).sum(-1)
        return (
            f"The mixture as a whole has mean {_interval(means)}{per}; its components cannot be "
            "told apart well enough to be described one by one."
        )
    k = draws.n_components
    if k == 1:
        return (
            f"It is a negative binomial with mean {_interval(draws.means)}{per} and dispersion "
            f"{_interval(draws.dispersions)}."
        )
    parts = [
        f"component {j} has {_interval(100 * draws.weights[..., j], ' %')} of the observations and "
        f"mean {_interval(draws.means[..., j])}"
        for j in range(min(k, _MOST_TOLD))
    ]
    rest = f"; {k - _MOST_TOLD} more are in the table" if k > _MOST_TOLD else ""
    text = f"{'; '.join(parts)}{rest}{per}."
    return f"{text[0].upper()}{text[1:]} Intervals hold 95 % of the posterior."


def belief(fitted: Fitted, pit: pd.DataFrame) -> str:
    """Say whether to rely on the fit, by its chains and the ranks of counts in its predictions."""
    reach = float(np.abs(rank_curve(pit, _PLACES)).max())
    limit = rank_limit(fitted.tree)
    if not fitted.diagnosis.components_ok:
        chains = "The chains agree on the distribution, but not on single components"
    elif "weak-labels" in fitted.diagnosis.findings:
        chains = (
            "The chains agree, but the components overlap so much that their own weights, "
            "means and dispersions cannot be told, nor which observation is whose"
        )
    elif (fitted.diagnosis.components["assigned"] < _ASSIGNED).any():
        chains = (
            "The chains agree, also on the components, but these overlap so much that single "
            "observations can hardly be assigned to them"
        )
    else:
        chains = "The chains agree and the components can be told apart"
    if reach <= limit:
        return (
            f"{chains}; the counts look like what the mixture predicts (ranks within "
            f"{100 * reach:.1f} % of uniform; up to {100 * limit:.1f} % is chance)."
        )
    return (
        f"{chains}, but the mixture does not describe the counts: their ranks are up to "
        f"{100 * reach:.1f} % off uniform, and chance explains {100 * limit:.1f} %. The rootogram "
        "shows where."
    )


def _interval(draws: np.ndarray, unit: str = "") -> str:
    lower, upper = np.quantile(draws, _INTERVAL)
    return f"{number(np.median(draws))}{unit} ({number(lower)} to {number(upper)}{unit})"


def number(value: float) -> str:
    """A number in three digits, with the thousands set apart; "none" if it is not finite."""
    return f"{float(f'{value:.3g}'):,g}" if np.isfinite(value) else "none"


def _has_exposure(tree: xr.DataTree) -> bool:
    return bool(group(tree, "unique_rows", "sample()").attrs.get("has_exposure"))


def components(fitted: Fitted) -> str:
    """The number of components, with the noun."""
    return f"{fitted.n_components} component{'s' if fitted.n_components > 1 else ''}"


def gates(diagnosis: Diagnosis) -> str:
    """Name the gates that hold."""
    if diagnosis.components_ok:
        return "both"
    return "density" if diagnosis.density_ok else "failed"


def standing(choice: Choice, k: int) -> str:
    """Verdict on a number of components, in a word or two."""
    if k == choice.chosen:
        return "chosen"
    if k in choice.plausible:
        return "plausible"
    return "ruled out" if choice.diagnoses[k].density_ok else "not assessed"


def doubts(fitted: Fitted) -> list[str]:
    """List each doubt once, with the parameters and methods that it is about.

    The sentence of the gates is not among them; it stands above.
    """
    about: dict[str, tuple[list[str], list[str]]] = {}
    for name, flag in fitted.estimates["flag"].items():
        for part in str(flag).split(" | "):
            if not part or part == fitted.diagnosis.summary[0]:
                continue
            method, found, text = part.partition(": ")
            if method not in _METHODS or not found:
                method, text = "nuts", part
            methods, names = about.setdefault(text, ([], []))
            if _METHODS[method] not in methods:
                methods.append(_METHODS[method])
            if str(name) not in names:
                names.append(str(name))
    return [
        f"{' and '.join(methods)}, "
        f"{'every parameter' if len(names) == len(fitted.estimates) else ', '.join(names)}: {text}"
        for text, (methods, names) in about.items()
    ]
