"""Figures of a report, with a line on how to read each, and words for readers who cannot see."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pmnbmix.present import plots
from pmnbmix.present.words import components

if TYPE_CHECKING:
    import pandas as pd

    from pmnbmix.study import Choice, Fitted

_log = logging.getLogger(__name__)

_DPI = 144


@dataclass(frozen=True)
class Figure:
    """A picture with its words.

    Attributes
    ----------
    title : str
    reading : str
        One line on how to read it.
    text : str
        Text in place of the picture for readers who cannot see it.
    file : str
        Name that the picture has as a file.
    png : bytes
        Empty if it could not be drawn.
    failure : str
        Why it could not be drawn, as a sentence; empty if it was.
    """

    title: str
    reading: str
    text: str
    file: str
    png: bytes
    failure: str = ""

    @property
    def source(self) -> str:
        """The picture as a data address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class _Plan:
    file: str
    title: str
    reading: str
    text: str
    draw: Callable[[], Any]


def figures_of(fitted: Fitted, choice: Choice | None, pit: pd.DataFrame) -> Iterator[Figure]:
    """Draw the figures of a report one after another.

    A figure that cannot be drawn comes with the reason in its place: no picture is worth a
    posterior that took hours.
    """
    for plan in _plans(fitted, choice, pit):
        png, failure = b"", ""
        try:
            png = _png(plan.draw)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            failure = f"This figure could not be drawn ({reason}). The results do not need it."
            _log.warning("%s could not be drawn: %s", plan.file, reason)
        yield Figure(plan.title, plan.reading, plan.text, plan.file, png, failure)


def _plans(fitted: Fitted, choice: Choice | None, pit: pd.DataFrame) -> Iterator[_Plan]:
    tree, k = fitted.tree, components(fitted)
    limit = None if math.isnan(fitted.adequacy.limit) else fitted.adequacy.limit
    yield _Plan(
        "fit.png",
        "The counts and what was fitted",
        "The black line should run along the tops of the grey bars; coloured lines add up to it. "
        "Compare components by their percentages: scales are named on the axes.",
        f"Histogram of the counts with the fitted mixture of {k} and each component.",
        lambda: plots.plot_fit(tree).figure,
    )
    yield _Plan(
        "rootogram.png",
        "Where counts are more or fewer than expected",
        "Bars that end below 0 are counts seen more often than expected, above 0 less often. Ends "
        "within the band are chance.",
        "Hanging rootogram of observed against expected frequencies.",
        lambda: plots.plot_rootogram(tree).figure,
    )
    yield _Plan(
        "ranks.png",
        "Each observation, predicted from all others",
        "The line stays within the band in 95 of 100 samples that the mixture describes; fit p in "
        "the answer also counts how long it stays near the edge.",
        "Distribution of leave-one-out ranks minus the uniform distribution.",
        lambda: plots.plot_loo_pit(tree, pit=pit, limit=limit).figure,
    )
    yield _Plan(
        "estimates.png",
        "Estimates and their uncertainty",
        "Each hill is a posterior; triangles are EM, circles MAP. Where they stand outside the "
        "hills, read the doubts below.",
        "Posterior of every weight, mean and dispersion with the EM and MAP estimates.",
        lambda: plots.plot_estimates(tree, fitted.estimates)[0].figure,
    )
    if choice is not None and len(choice.fits) > 1:
        yield _Plan(
            "elpd.png",
            "How many components predict best",
            "Higher is better. Numbers in the grey band, or whose bars reach it, are not clearly "
            "worse than the best; the ring marks the smallest of them, the star the best.",
            "Expected log predictive density of each number of components with standard errors.",
            lambda: plots.plot_elpd(choice).figure,
        )
        yield _Plan(
            "criteria.png",
            "What other criteria say",
            "0 is what a criterion prefers. They answer other questions: AIC and elpd predict, BIC "
            "and evidence ask for a model, ICL for clusters that are well apart.",
            "elpd, BIC, AIC, ICL and evidence of each number of components.",
            lambda: plots.plot_criteria(choice)[0].figure,
        )
    yield _Plan(
        "chains.png",
        "The chains",
        "Chains (between the grey lines) should look alike and have no steps.",
        "Trace of log likelihood and parameters, chain after chain.",
        lambda: plots.plot_chains(tree)[0].figure,
    )
    if fitted.n_components > 1 and "label-switching" in fitted.diagnosis.findings:
        yield _Plan(
            "labels.png",
            "Labels before and after relabelling",
            "Each colour is a chain. One that jumps between the rows on the left has switched "
            "labels; on the right none should.",
            "Draws of the means before and after relabelling.",
            lambda: plots.plot_relabelling(tree).viz["figure"].item(),
        )


def _png(draw: Callable[[], Any]) -> bytes:
    import matplotlib.pyplot as plt

    open_before = plt.get_fignums()
    try:
        with io.BytesIO() as buffer:
            draw().savefig(buffer, format="png", dpi=_DPI)
            return buffer.getvalue()
    finally:
        # A figure whose drawing failed half way is open too.
        for number in set(plt.get_fignums()) - set(open_before):
            plt.close(number)
