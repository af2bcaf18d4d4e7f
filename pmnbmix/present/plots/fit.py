"""The fitted mixture over the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import CountTable
from pmnbmix.mixture import density
from pmnbmix.mixture.draws import Draws, group, read_draws, read_table
from pmnbmix.present.axes import BAND, GREY, INK, component_colour, plain, tidy

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Counts up to this get a bar each.
_SINGLE_BARS = 60
_BINS = 50
# Where the tallest bar is this many times as tall as the median one, heights are square roots.
_TALL = 25.0
_BAND_DRAWS = 300
_BAND_EXPOSURES = 60


def plot_fit(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw the fitted mixture and its components over the counts.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure where absent.

    Returns
    -------
    matplotlib.axes.Axes
        Grey bars are observations; the black line is the posterior mean of what the mixture
        expects, with the central 95 % of that expectation (observations scatter around it as
        well), coloured lines are its components. With exposures, the
        expectation is averaged over them.
    """
    import matplotlib.pyplot as plt

    table, draws = read_table(tree), read_draws(tree)
    rows = group(tree, "unique_rows", "sample()")
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = _bin_edges(table)
    expected = _expected(draws, table, edges)
    observed, _ = np.histogram(table.values, bins=edges - 0.5, weights=table.frequency)
    lower, upper = np.quantile(expected.sum(-1), [0.025, 0.975], axis=0)
    logarithmic = _spans_decades(table) and not single
    if logarithmic:
        # bins widen with the counts, so heights are per count: else they would jump with the widths
        observed, expected = observed / np.diff(edges), expected / np.diff(edges)[:, None]
        lower, upper = np.quantile(expected.sum(-1), [0.025, 0.975], axis=0)
    centres = _bin_centres(edges, logarithmic)
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
            # a single bin has no line between its ends
            marker="_" if centres.size == 1 else "",
            ms=18,
            label=f"component {j}",
        )
    _count_axis(ax, edges, logarithmic)
    if logarithmic or observed.max() > _TALL * np.median(observed[observed > 0]):
        _root_axis(ax)
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
    """
    import matplotlib.pyplot as plt

    table, draws = read_table(tree), read_draws(tree)
    rows = group(tree, "unique_rows", "sample()")
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = _bin_edges(table)
    logarithmic = _spans_decades(table) and not single
    expected = _expected(draws, table, edges) / (np.diff(edges)[:, None] if logarithmic else 1.0)
    centres = _bin_centres(edges, logarithmic)
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
    _count_axis(ax, edges, logarithmic)
    if logarithmic:
        _root_axis(ax)
    ax.set_ylim(0, 1.08 * high.max())
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    per = "" if single else " per count" if logarithmic else " per bin"
    ax.set_ylabel(f"expected observations{per}")
    ax.set_title("components with their central 95 %", fontsize=11)
    ax.legend(frameon=False)
    tidy(ax)
    return ax


def _bin_centres(edges: NDArray[np.int64], logarithmic: bool) -> Floats:
    centres = 0.5 * (edges[:-1] + edges[1:] - 1.0)
    if logarithmic:
        # the middle of a bin as the axis shows it; the zeros keep theirs
        centres = np.where(edges[:-1] > 0, np.sqrt(edges[:-1] * (edges[1:] - 1.0)), centres)
    return np.asarray(centres)


def _root_axis(ax: Axes) -> None:
    """Square roots as heights, as in a rootogram, leave the rare counts something to be seen by."""
    ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0.0)), np.square))


def _count_axis(ax: Axes, edges: NDArray[np.int64], logarithmic: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    if logarithmic:
        ax.set_xscale("symlog", linthresh=1.0)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(edges[0] - 0.5, edges[-1] - 0.5 + (edges.size == 2))


def _bin_edges(table: CountTable) -> tuple[NDArray[np.int64], bool]:
    """Integer edges, each bin from one edge to below the next, and whether each holds one value."""
    low, high = int(table.values.min()), int(table.values.max())
    if high <= _SINGLE_BARS:
        return np.arange(0, high + 2, dtype=np.int64), True
    if high - low <= _SINGLE_BARS:
        return np.arange(low, high + 2, dtype=np.int64), True
    if _spans_decades(table):
        grown = np.geomspace(max(low, 1), high + 1, _BINS).round().astype(np.int64)
        return np.unique(np.append(grown, low)), False
    # bins of one whole width: where widths differed, so would the heights of a smooth mixture
    width = -(-(high + 1 - low) // _BINS)
    return np.arange(low, high + 1 + width, width, dtype=np.int64), False


def _spans_decades(table: CountTable) -> bool:
    """Whether most counts are so much smaller than the largest that a log axis is needed."""
    order = np.argsort(table.values)
    cumulated = np.cumsum(table.frequency[order])
    median = table.values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])]
    return bool(table.values.max() > 8 * max(median, 1.0))


def _expected(draws: Draws, table: CountTable, edges: NDArray[np.int64]) -> Floats:
    """Expected observations (draw, bin, component) of a thinned set of draws."""
    few = draws.thinned(_BAND_DRAWS)
    means = few.means[0][:, None, :]
    with np.errstate(divide="ignore"):
        inv_disps = 1.0 / few.dispersions[0][:, None, :]
    last = edges[None, :, None].astype(np.float64) - 1.0
    below: Floats = np.zeros((few.n_samples, edges.size, few.n_components))
    for exposure, share in zip(*table.typical_exposures(_BAND_EXPOSURES), strict=True):
        below += share * density.component_cdf(last, exposure * means, inv_disps)
    expected: Floats = table.n * few.weights[0][:, None, :] * np.diff(below, axis=1)
    return expected
