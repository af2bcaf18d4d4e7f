"""Figures of the fitted mixture and its components over the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pmnbmix.present.axes import BAND, GREY, INK, component_colour, plain, tidy
from pmnbmix.present.plots.bins import (
    bin_centres,
    bin_edges,
    count_axis,
    expected_counts,
    root_axis,
    spans_decades,
)
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# If the tallest bar is this many times as tall as the median one, heights are square roots.
_TALL = 25.0


def plot_fit(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw the fitted mixture and its components over the counts.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Returns
    -------
    matplotlib.axes.Axes
        Grey bars are observations; the black line is the posterior mean of what the mixture
        expects, with the central 95 % of that expectation (observations scatter around it as
        well), coloured lines are its components. With exposures, the
        expectation is averaged over them.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_fit(tree)
    >>> ax.figure.savefig("fit.png")
    """
    import matplotlib.pyplot as plt

    reading = read(tree)
    table, draws, rows = reading.table, reading.draws, tree["unique_rows"]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = bin_edges(table)
    expected = expected_counts(draws, table, edges)
    observed, _ = np.histogram(table.values, bins=edges - 0.5, weights=table.frequency)
    lower, upper = np.quantile(expected.sum(-1), [0.025, 0.975], axis=0)
    logarithmic = spans_decades(table) and not single
    if logarithmic:
        # Bins widen with the counts, so heights are per count, or they would jump with the widths.
        observed, expected = observed / np.diff(edges), expected / np.diff(edges)[:, None]
        lower, upper = np.quantile(expected.sum(-1), [0.025, 0.975], axis=0)
    centres = bin_centres(edges, logarithmic)
    if single:
        ax.bar(centres, observed, width=0.85, color=GREY, label="observed")
    else:
        ax.stairs(observed, edges - 0.5, fill=True, color=GREY, label="observed")
    ax.fill_between(centres, lower, upper, color=BAND, alpha=0.35, lw=0, label="its central 95 %")
    marker = "o" if single else ""
    ax.plot(centres, expected.sum(-1).mean(0), color=INK, marker=marker, ms=3.5, label="expected")
    for j in range(draws.n_components if draws.n_components > 1 else 0):
        ax.plot(
            centres,
            expected[..., j].mean(0),
            color=component_colour(j),
            ls="--",
            # A single bin needs a point, because a line would have no length.
            marker="_" if centres.size == 1 else "",
            ms=18,
            label=f"component {j}",
        )
    count_axis(ax, edges, logarithmic)
    if logarithmic or observed.max() > _TALL * np.median(observed[observed > 0]):
        root_axis(ax)
    ax.set_ylim(0, 1.08 * max(observed.max(), upper.max()))
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    per = "" if single else " per count" if logarithmic else " per bin"
    ax.set_ylabel(f"observations{per}")
    exposed = ", averaged over exposures" if rows.attrs.get("has_exposure") else ""
    title = f"{draws.n_components}-component mixture of negative binomials, n = {table.n:,.0f}"
    ax.set_title(title + exposed, fontsize=11)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    first = ("observed", "expected", "its central 95 %")
    order = [*first, *(label for label in handles if label not in first)]
    ax.legend([handles[label] for label in order], order, frameon=False)
    tidy(ax)
    return ax


def plot_components(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw each component with its uncertainty: how many observations it expects at each count.

    Parameters
    ----------
    tree : xarray.DataTree
        Relabelled, as `sample` returns it.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Lines are posterior means of weight times density, bands their central 95 %; at any count
        the lines add up to the mixture. With exposures, averaged over them.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_components(tree)
    >>> ax.figure.savefig("components.png")
    """
    import matplotlib.pyplot as plt

    reading = read(tree)
    table, draws, rows = reading.table, reading.draws, tree["unique_rows"]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = bin_edges(table)
    logarithmic = spans_decades(table) and not single
    expected = expected_counts(draws, table, edges) / (
        np.diff(edges)[:, None] if logarithmic else 1.0
    )
    centres = bin_centres(edges, logarithmic)
    low, high = np.quantile(expected, [0.025, 0.975], axis=0)
    for j in range(draws.n_components):
        colour = component_colour(j)
        ax.fill_between(centres, low[:, j], high[:, j], color=colour, alpha=0.25, lw=0)
        marker = "o" if single and centres.size < 30 else ""
        ax.plot(
            centres,
            expected[..., j].mean(0),
            color=colour,
            marker=marker,
            ms=3.5,
            label=f"component {j}",
        )
    count_axis(ax, edges, logarithmic)
    if logarithmic:
        root_axis(ax)
    ax.set_ylim(0, 1.08 * high.max())
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    per = "" if single else " per count" if logarithmic else " per bin"
    ax.set_ylabel(f"expected observations{per}")
    ax.set_title("components with their central 95 %", fontsize=11)
    ax.legend(frameon=False)
    tidy(ax)
    return ax
