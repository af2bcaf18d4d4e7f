"""Results in words, the same on the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pmnbmix.labels.diagnose import LOW_BFMI, MANY_PARAMETERS
from pmnbmix.posterior.checks import was_interrupted
from pmnbmix.present.assignments import turning_points
from pmnbmix.tree.checks import group
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pmnbmix.labels.diagnose import Diagnosis
    from pmnbmix.study import Choice, Fitted

# The prefix of a flag names the method; a flag without a prefix is about the posterior.
_METHODS = {"em": "EM", "map": "MAP", "nuts": "NUTS"}
# A central 95 % interval of a normal is so many standard errors wide.
_WIDTH = 3.92
# More decimals than this are noise, whatever the standard error.
_MOST_PLACES = 8
# A sentence describes at most this many components; the table has the others.
_MOST_TOLD = 4
# Below this share, another component explains most observations of a component as well.
_ASSIGNED = 0.5
# Findings that matter to whoever uses the result; switched labels are repaired, and a component
# that is nearly Poisson is no fault.
_DOUBTS = {"weak-labels", "empty-component", "divergences", "multimodal", "not-mixed"}

type Level = Literal["sound", "doubtful", "unsound"]
_LABELS: dict[Level, str] = {
    "sound": "\u2713 Nothing wrong was found",
    "doubtful": "! Doubts matter",
    "unsound": "\u2717 A check failed",
}


def shown(choice: Choice) -> Fitted:
    """The fit to show: the chosen one, or the largest if none could be chosen."""
    return choice.fits[choice.chosen if choice.chosen is not None else max(choice.fits)]


@dataclass(frozen=True)
class Answer:
    """The result in sentences, and how far it can be relied on.

    Attributes
    ----------
    level : {"sound", "doubtful", "unsound"}
        "unsound" if a gate failed or the mixture does not describe the counts; "doubtful" if
        something else matters that the sentences name.
    sentences : tuple of str
        How many components, what they are, and whether to believe it.
    """

    level: Level
    sentences: tuple[str, ...]

    @property
    def label(self) -> str:
        """The level as a sign and in words, so that no reader needs its colour."""
        return _LABELS[self.level]


def answer(result: Choice | Fitted) -> Answer:
    """State the result: how many components, what they are, and whether to believe it.

    A fit that cannot be used says so first, and says nothing of its components.
    """
    from pmnbmix.study import Choice, Fitted

    choice = result if isinstance(result, Choice) else None
    if choice is not None:
        first = choice.reasons[0]
        if choice.chosen is None:
            return Answer("unsound", (first, "Nothing below should be used before that is mended."))
    fitted = shown(choice) if choice is not None else result
    assert isinstance(fitted, Fitted)
    if choice is None:
        were = "was" if fitted.n_components == 1 else "were"
        first = f"{components(fitted).capitalize()} {were} fitted, as was asked."
    if not fitted.diagnosis.density_ok:
        return Answer(
            "unsound",
            (
                f"This fit cannot be used: {fitted.diagnosis.summary[0]}",
                "Nothing below should be used before that is mended.",
            ),
        )
    rests = () if choice is None else _rests_on(choice)
    sound = fitted.diagnosis.components_ok and fitted.adequacy.verdict != "not described"
    if not sound:
        level: Level = "unsound"
    elif fitted.adequacy.verdict != "described" or fitted.marks or rests or _troubles(fitted):
        level = "doubtful"
    else:
        level = "sound"
    believed = (belief(fitted), fitted.adequacy.sentence, *fitted.marks, *rests)
    return Answer(level, (first, what(fitted), *believed))


def _rests_on(choice: Choice) -> tuple[str, ...]:
    """On which observations the choice rests, in a sentence, if on one or two."""
    return tuple(choice.influences[k] for k in (choice.chosen,) if k in choice.influences)


def _troubles(fitted: Fitted) -> bool:
    """Whether something is to be doubted that neither a gate nor the counts show."""
    return (
        bool(fitted.diagnosis.findings & _DOUBTS)
        or modes_that_matter(fitted) > 1
        or bool((fitted.diagnosis.components["assigned"] < _ASSIGNED).any())
        or any(found for _, found in _trouble_names(fitted))
    )


def modes_that_matter(fitted: Fitted) -> int:
    """How many modes of the posterior carry a mass that matters; 1 if the tree does not say."""
    if "modes" not in fitted.tree.children:
        return 1
    return int(fitted.tree["modes"].to_dataset()["matters"].sum())


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
    turns = turning_points(fitted)
    turns = f" {turns}" if turns else ""
    return f"{text[0].upper()}{text[1:]}{turns} Intervals hold 95 % of the posterior."


def belief(fitted: Fitted) -> str:
    """Say whether the posterior can be relied on, and how far down: mixture or components."""
    diagnosis, modes = fitted.diagnosis, modes_that_matter(fitted)
    if not diagnosis.components_ok:
        chains = "The chains agree on the distribution, but not on single components"
    elif "weak-labels" in diagnosis.findings:
        chains = (
            "The chains agree, but the components overlap so much that their own weights, "
            "means and dispersions cannot be told, nor which observation is whose"
        )
    elif modes > 1:
        chains = (
            f"The chains agree, but {modes} modes of the posterior matter: the components differ "
            "from one to the other, so that a point estimate shows one story of several; report "
            "the intervals, which cover all"
        )
    elif (diagnosis.components["assigned"] < _ASSIGNED).any():
        chains = (
            "The chains agree, also on the components, but these overlap so much that single "
            "observations can hardly be assigned to them"
        )
    elif fitted.n_components == 1:
        chains = "The chains agree"
    else:
        chains = "The chains agree and the components can be told apart"
    more = [name for name, found in _trouble_names(fitted) if found]
    return f"{chains}{'; but ' if more else ''}{' and '.join(more)}."


def _trouble_names(fitted: Fitted) -> tuple[tuple[str, bool], ...]:
    """What else is to be doubted, in words, and whether it is."""
    diagnosis = fitted.diagnosis
    effective, parameters = diagnosis.effective_parameters, diagnosis.n_parameters
    return (
        ("a component may be empty", "empty-component" in diagnosis.findings),
        ("draws diverged", "divergences" in diagnosis.findings),
        ("the tails are explored slowly", bool((diagnosis.chains["e_bfmi"] < LOW_BFMI).any())),
        (
            f"{effective:.1f} effective parameters are used where there are {parameters}",
            effective > MANY_PARAMETERS * parameters,
        ),
        ("sampling was interrupted", was_interrupted(fitted.tree)),
    )


def _interval(draws: np.ndarray, unit: str = "") -> str:
    lower, middle, upper = np.quantile(draws, [0.025, 0.5, 0.975])
    error = (upper - lower) / _WIDTH
    ends = f"{rounded(lower, error)} to {rounded(upper, error)}{unit}"
    return f"{rounded(middle, error)}{unit} ({ends})"


def rounded(value: float, error: float) -> str:
    """A number with two digits of its standard error, and with two of its own at least."""
    if not np.isfinite(value):
        return "none"
    places = [
        1 - math.floor(math.log10(abs(size)))
        for size in (value, error)
        if np.isfinite(size) and size != 0.0
    ]
    digits = min(max(places, default=0), _MOST_PLACES)
    return f"{round(value, digits):,.{max(digits, 0)}f}" if value else "0"


def estimate_cells(estimates: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Columns of `compare_estimates` as text, with digits that follow the standard error."""
    error = (estimates["nuts_upper"] - estimates["nuts_lower"]) / _WIDTH
    table = estimates[list(columns)].astype(object)
    for name in table.columns:
        own = np.nan if name.endswith(("_se", "_sd", "_difference")) else None
        table[name] = [
            rounded(float(value), size if own is None else own)
            for value, size in zip(estimates[name], error, strict=True)
        ]
    return table


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
        return "chosen, best" if k == choice.best else "chosen"
    if k in choice.plausible:
        return "best" if k == choice.best else "plausible"
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
