"""Figures of the fitted mixture and its components over the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pmnbmix.mixture.draws import Draws
from pmnbmix.point.result import PointFit
from pmnbmix.present.axes import (
    BAND,
    COLOURS,
    GREY,
    INK,
    component_colour,
    component_dashes,
    plain,
    tidy,
)
from pmnbmix.present.plots.bins import (
    axis_widths,
    bin_centres,
    bin_edges,
    count_axis,
    expected_counts,
    root_axis,
    spans_decades,
)
from pmnbmix.tree.reading import Reading, read
from pmnbmix.tree.writing import assemble

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# A legend of more lines stands beside the figure.
_LONG_LEGEND = 12
# If the tallest bar is this many times as tall as the median one, heights are square roots.
_TALL = 25.0


def plot_fit(tree: xr.DataTree | PointFit, ax: Axes | None = None) -> Axes:
    """Draw the fitted mixture and its components over the counts.

    Parameters
    ----------
    tree : xarray.DataTree or PointFit
        As `sample` returns, or `fit_em`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Returns
    -------
    matplotlib.axes.Axes
        Grey bars are observations; the black line is the posterior mean of what the mixture
        expects, with the central 95 % of that expectation (observations scatter around it as
        well), coloured lines are its components with their weights; a point fit has no band. With
        exposures, the expectation is averaged over them. Of counts that span decades the axis is
        logarithmic, and heights are observations per factor of ten, so that areas are numbers.

    Raises
    ------
    TypeError
        If ``tree`` is neither.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_fit(tree)
    >>> ax.figure.savefig("fit.png")
    """
    return _draw_fit(_read(tree), ax)


def _read(fit: xr.DataTree | PointFit) -> Reading:
    """A posterior, or a point fit with its counts, as draws."""
    import xarray as xr

    if isinstance(fit, xr.DataTree):
        return read(fit)
    if isinstance(fit, PointFit):
        if not fit.is_plain:
            raise ValueError(
                "a mixture of regressions has another curve at each row of covariates, so it "
                "cannot be drawn over the counts yet. Use expected_counts()."
            )
        params = fit.params
        arrays = (params.weights, params.means, params.dispersions)
        draws = Draws(*(array[None, None, :] for array in arrays))
        return read(assemble(fit.counts, draws, {}))
    raise TypeError(
        f"a fit must be a DataTree, as sample returns, or a PointFit, as fit_em returns; got "
        f"{type(fit).__name__}."
    )


def _draw_fit(reading: Reading, ax: Axes | None) -> Axes:
    """`plot_fit`, of a fit that has been read."""
    import matplotlib.pyplot as plt

    table, draws, rows = reading.table, reading.draws, reading.tree["unique_rows"]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = bin_edges(table)
    logarithmic = spans_decades(table) and not single
    # On a logarithmic axis heights are per factor of ten, so that areas are numbers as seen.
    widths = axis_widths(edges) if logarithmic else np.ones(edges.size - 1)
    expected = expected_counts(draws, table, edges) / widths[:, None]
    observed, _ = np.histogram(table.values, bins=edges - 0.5, weights=table.frequency)
    observed = observed / widths
    total = expected.sum(-1)
    lower, upper = np.quantile(total, [0.025, 0.975], axis=0)
    centres = bin_centres(edges, logarithmic)
    if single:
        ax.bar(centres, observed, width=0.85, color=GREY, label="observed")
    else:
        ax.stairs(observed, edges - 0.5, fill=True, color=GREY, label="observed")
    if draws.n_samples > 1:
        band = "its central 95 %"
        ax.fill_between(centres, lower, upper, color=BAND, alpha=0.35, lw=0, label=band)
    marker = "o" if single else ""
    ax.plot(centres, total.mean(0), color=INK, marker=marker, ms=3.5, label="expected")
    weights = draws.weights.mean(axis=(0, 1))
    for j in range(draws.n_components if draws.n_components > 1 else 0):
        ax.plot(
            centres,
            expected[..., j].mean(0),
            color=component_colour(j),
            ls=component_dashes(j),
            # A single bin needs a point, because a line would have no length.
            marker="_" if centres.size == 1 else "",
            ms=18,
            label=f"component {j} ({weights[j]:.0%})",
        )
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    per = "" if single else " per factor of 10" if logarithmic else " per bin"
    ax.set_ylabel(f"observations{per}")
    count_axis(ax, edges, logarithmic)
    if not logarithmic and observed.max() > _TALL * np.median(observed[observed > 0]):
        root_axis(ax)
    ax.set_ylim(0, 1.08 * max(observed.max(), upper.max()))
    exposed = ", averaged over exposures" if rows.attrs.get("has_exposure") else ""
    title = f"{draws.n_components}-component mixture of negative binomials, n = {table.n:,.0f}"
    ax.set_title(title + exposed, fontsize=11)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    first = [name for name in ("observed", "expected", "its central 95 %") if name in handles]
    order = [*first, *(label for label in handles if label not in first)]
    legend(ax, [handles[label] for label in order], order)
    tidy(ax)
    return ax


def legend(ax: Axes, handles: list[Any], labels: list[str]) -> None:
    """Legend within the axes, or beside them in columns if it is long."""
    if len(labels) <= _LONG_LEGEND:
        ax.legend(handles, labels, frameon=False)
        return
    columns = -(-len(labels) // _LONG_LEGEND)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "ncols": columns}
    ax.legend(handles, labels, frameon=False, fontsize=8, **place)


def plot_components(tree: xr.DataTree | PointFit, ax: Axes | None = None) -> Axes:
    """Draw each component with its uncertainty: how many observations it expects at each count.

    Parameters
    ----------
    tree : xarray.DataTree or PointFit
        Relabelled, as `sample` returns it, or as `fit_em` returns.
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

    reading = _read(tree)
    table, draws, rows = reading.table, reading.draws, reading.tree["unique_rows"]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    edges, single = bin_edges(table)
    logarithmic = spans_decades(table) and not single
    widths = axis_widths(edges) if logarithmic else np.ones(edges.size - 1)
    expected = expected_counts(draws, table, edges) / widths[:, None]
    centres = bin_centres(edges, logarithmic)
    weights = draws.weights.mean(axis=(0, 1))
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
            ls="-" if j < len(COLOURS) else component_dashes(j),
            label=f"component {j} ({weights[j]:.0%})",
        )
    ax.set_ylim(0, 1.08 * high.max())
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    per = "" if single else " per factor of 10" if logarithmic else " per bin"
    ax.set_ylabel(f"expected observations{per}")
    count_axis(ax, edges, logarithmic)
    ax.set_title("components with their central 95 %", fontsize=11)
    legend(ax, *ax.get_legend_handles_labels())
    tidy(ax)
    return ax
