"""Figures of how well each number of components predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.present.axes import COLOURS, GREY, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pmnbmix.study import Choice

Floats = NDArray[np.float64]


def plot_elpd(choice: Choice, ax: Axes | None = None) -> Axes:
    """Draw the elpd of each number of components as its difference from the best.

    Parameters
    ----------
    choice : Choice
        From `choose_components`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Bars are two standard errors of the difference. Filled points are plausible, the ringed one
        is chosen, the starred one predicts best; a cross marks a number whose posterior failed the
        density gate.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> ax = nb.plots.plot_elpd(choice)
    >>> ax.figure.savefig("elpd.png")
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    table = choice.table
    gated = table[table["density_ok"].astype(bool)]
    ax.axhspan(-4, 0, color=GREY, alpha=0.45, lw=0, label="within 4 elpd of the best")
    for plausible, face, label in ((True, COLOURS[0], "plausible"), (False, "white", "ruled out")):
        part = gated[gated["plausible"].astype(bool) == plausible]
        if len(part):
            ax.errorbar(
                part.index,
                part["elpd_diff"],
                yerr=2 * part["diff_se"],
                fmt="o",
                color=COLOURS[0],
                mfc=face,
                ms=8,
                capsize=4,
                label=f"{label} (bar: 2 standard errors)",
            )
    if choice.chosen is not None:
        ax.plot(
            choice.chosen,
            float(gated["elpd_diff"][choice.chosen]),
            "o",
            ms=17,
            mfc="none",
            mec=COLOURS[1],
            mew=2,
            label=f"chosen: {choice.chosen}",
        )
    if choice.best is not None:
        ax.plot(
            choice.best,
            float(gated["elpd_diff"][choice.best]),
            "*",
            ms=8,
            color="white",
            mec=COLOURS[0],
            label=f"best: {choice.best}",
        )
    refused = table.index.difference(gated.index)
    if len(refused):
        # These numbers have no elpd to rank, so their crosses stand at the lower edge.
        ax.plot(
            refused,
            np.zeros(len(refused)),
            "x",
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            color=COLOURS[1],
            ms=10,
            mew=2,
            label="not assessed: density gate failed",
        )
    ax.set_xticks(table.index)
    ax.set_xlim(table.index.min() - 0.5, table.index.max() + 0.5)
    ax.set_xlabel("number of components")
    ax.set_ylabel("elpd minus that of the best")
    ax.set_title(f"{plain(choice.counts.name)}: how well each number predicts", fontsize=11)
    ax.legend(frameon=False, loc="lower right", fontsize=9, labelspacing=0.7)
    tidy(ax)
    return ax


def plot_criteria(choice: Choice, axes: NDArray[Any] | None = None) -> NDArray[Any]:
    """Draw every criterion side by side, each as its distance from the number it prefers.

    Parameters
    ----------
    choice : Choice
        From `choose_components`; with ``thorough=True`` the evidence is drawn too.
    axes : array of matplotlib.axes.Axes, optional
        As many as there are criteria; a new figure if absent.

    Returns
    -------
    array of matplotlib.axes.Axes
        elpd, BIC, AIC, ICL and evidence, all as losses in nats; 0 is best. Filled points are
        preferred; the line marks the number that was chosen.

    Raises
    ------
    ValueError
        If ``axes`` are fewer than the criteria.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> axes = nb.plots.plot_criteria(choice)
    >>> axes[0].figure.savefig("criteria.png")
    """
    import matplotlib.pyplot as plt

    table = choice.table
    losses = {
        "elpd (LOO)": -table["elpd_diff"],
        # These criteria are doubled by custom; half of each is in nats like the others.
        "BIC / 2": 0.5 * (table["bic"] - table["bic"].min()),
        "AIC / 2": 0.5 * (table["aic"] - table["aic"].min()),
        "ICL / 2": 0.5 * (table["icl"] - table["icl"].min()),
    }
    if choice.thorough is not None and choice.thorough.table["log_evidence"].notna().any():
        evidence = choice.thorough.table["log_evidence"]
        losses["log evidence"] = evidence.max() - evidence
    if axes is None:
        size = (2.3 * len(losses), 3.0)
        _, axes = plt.subplots(1, len(losses), figsize=size, sharex=True, layout="constrained")
    if len(axes) < len(losses):
        raise ValueError(f"there are {len(losses)} criteria and {len(axes)} axes; pass as many.")
    for ax, (name, loss) in zip(axes, losses.items(), strict=False):
        ax.plot(loss.index, loss, color=GREY, lw=1.2, zorder=1)
        face = [COLOURS[0] if value == 0 else "white" for value in loss]
        ax.scatter(loss.index, loss, s=45, c=face, edgecolors=COLOURS[0], zorder=2)
        if choice.chosen is not None:
            ax.axvline(choice.chosen, color=COLOURS[1], lw=1, ls=":")
        ax.set_title(name, fontsize=10)
        ax.set_xticks(table.index)
        ax.set_xlim(table.index.min() - 0.4, table.index.max() + 0.4)
        if loss.notna().any():
            ax.set_ylim(bottom=-0.05 * max(float(loss.max()), 1.0))
        else:
            ax.set_yticks([])
            words = "not assessed:\nno posterior\npassed its gate"
            ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="0.3")
        tidy(ax)
    axes[0].set_ylabel("nats behind the best")
    axes[0].figure.supxlabel("number of components (dotted: chosen)", fontsize=10)
    return axes
