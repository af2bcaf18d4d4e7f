"""Figures: the fitted mixture over the counts, point estimates on the posterior, elpd by K."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import CountTable
from pmnbmix.mixture import density
from pmnbmix.mixture.draws import Draws, group, read_draws, read_table
from pmnbmix.present.axes import COLOURS, component_colour, log_axis, plain, tidy

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

    from pmnbmix.study import Choice

Floats = NDArray[np.float64]

_GREY = "#C8C8C8"
_BAND = "#5B7FA6"
_INK = "#222222"
# Counts up to this get a bar each.
_SINGLE_BARS = 60
_BINS = 50
# Where the tallest bar is this many times as tall as the median one, heights are square roots.
_TALL = 25.0
_BAND_DRAWS = 300
_BAND_EXPOSURES = 60


def _titles(tree: xr.DataTree) -> dict[str, str]:
    """What each parameter is called on an axis."""
    exposed = bool(group(tree, "unique_rows", "sample()").attrs.get("has_exposure"))
    mean = "mean (per unit of exposure)" if exposed else "mean"
    return {"weights": "weight", "means": mean, "dispersions": "dispersion"}


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
    from matplotlib.ticker import MaxNLocator

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
    centres = 0.5 * (edges[:-1] + edges[1:] - 1.0)
    if logarithmic:
        # the middle of a bin as the axis shows it; the zeros keep theirs
        centres = np.where(edges[:-1] > 0, np.sqrt(edges[:-1] * (edges[1:] - 1.0)), centres)
    if single:
        ax.bar(centres, observed, width=0.85, color=_GREY, label="observed")
    else:
        ax.stairs(observed, edges - 0.5, fill=True, color=_GREY, label="observed")
    ax.fill_between(centres, lower, upper, color=_BAND, alpha=0.35, lw=0, label="its central 95 %")
    marker = "o" if single else ""
    ax.plot(centres, expected.sum(-1).mean(0), color=_INK, marker=marker, ms=3.5, label="expected")
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
    if logarithmic:
        ax.set_xscale("symlog", linthresh=1.0)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(edges[0] - 0.5, edges[-1] - 0.5 + (centres.size == 1))
    if logarithmic or observed.max() > _TALL * np.median(observed[observed > 0]):
        # a square root, as in a rootogram, leaves the rare counts something to be seen by
        ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0.0)), np.square))
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


def plot_estimates(
    tree: xr.DataTree, estimates: pd.DataFrame, axes: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Draw the posterior of every parameter with the EM and MAP estimates on it.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    estimates : pandas.DataFrame
        From `compare_estimates` of the same fit.
    axes : array of matplotlib.axes.Axes, shape (3,), optional
        Where to draw weights, means and dispersions; a new figure where absent.

    Returns
    -------
    array of matplotlib.axes.Axes, shape (3,)
    """
    import matplotlib.pyplot as plt

    draws, titles = read_draws(tree), _titles(tree)
    k = draws.n_components
    if axes is None:
        _, axes = plt.subplots(1, 3, figsize=(10.5, 1.6 + 0.85 * k), layout="constrained")
    for ax, name in zip(axes, titles, strict=True):
        array = getattr(draws, name).reshape(-1, k)
        if name == "weights" and k == 1:
            ax.text(0.5, 0.5, "one component:\nweight 1", ha="center", va="center", color=_INK)
            ax.set(xticks=[], yticks=[], xlabel=titles[name])
            tidy(ax)
            continue
        logarithmic = name != "weights"
        low, high = _view(array, estimates, name, logarithmic)
        for j in range(k):
            _ridge(ax, array[:, j], k - 1 - j, component_colour(j), logarithmic, low, high)
            # a little apart, for they often coincide
            for method, marker, below in (("em", "^", 0.0), ("map", "o", 0.17)):
                if method in estimates:
                    value = float(estimates[method][f"{name}[{j}]"])
                    _mark(ax, value, k - 1 - j - below, marker, low)
        if logarithmic:
            log_axis(ax, "x")
        ax.set_xlim(low, high)
        ax.set_ylim(-0.35, k + 0.05)
        ax.set_yticks(range(k), [f"component {k - 1 - row}" for row in range(k)])
        if ax is not axes[0] and not (k == 1 and ax is axes[1]):
            ax.set_yticklabels([])
        ax.set_xlabel(titles[name])
        tidy(ax)
    methods = [method for method in ("em", "map") if method in estimates]
    at_zero = any((estimates[method] == 0).any() for method in methods)
    _estimate_legend(axes[0].figure, methods, at_zero)
    return axes


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
        is chosen; a cross marks a number whose posterior failed the density gate.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    table = choice.table
    gated = table[table["density_ok"].astype(bool)]
    ax.axhspan(-4, 0, color=_GREY, alpha=0.45, lw=0, label="within 4 elpd of the best")
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
    refused = table.index.difference(gated.index)
    if len(refused):
        # at the lower edge: they have no value
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


def plot_chains(tree: xr.DataTree, axes: NDArray[Any] | None = None) -> NDArray[Any]:
    """Draw the chains, one after another: log likelihood, weights, means and dispersions.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    axes : array of matplotlib.axes.Axes, shape (4,), optional
        Three for one component, which has no weights to show.

    Returns
    -------
    array of matplotlib.axes.Axes, shape (4,) or (3,)
        Chains that agree look alike; one that is stuck stands at another height.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    draws, table = read_draws(tree), read_table(tree)
    rows = group(tree, "log_likelihood_unique", "sample()").to_dataset()
    log_density = next(iter(rows.data_vars.values())).transpose("chain", "draw", "unique_row")
    n_chains, n_draws, k = draws.means.shape
    panels = {"log likelihood": (log_density.values @ table.frequency)[..., None]}
    titles = _titles(tree)
    panels |= {
        title: getattr(draws, name)
        for name, title in titles.items()
        # one component has weight 1, which is nothing to look at
        if k > 1 or name != "weights"
    }
    if axes is None:
        _, axes = plt.subplots(
            len(panels), 1, figsize=(8.5, 1.9 * len(panels)), sharex=True, layout="constrained"
        )
    for ax, (title, array) in zip(axes, panels.items(), strict=True):
        for j in range(array.shape[-1]):
            colour = _INK if title == "log likelihood" else component_colour(j)
            ax.plot(array[..., j].ravel(), color=colour, lw=0.5)
        if title in (titles["means"], titles["dispersions"]):
            log_axis(ax, "y")
        for chain in range(1, n_chains):
            ax.axvline(chain * n_draws, color=_GREY, lw=1)
        ax.set_ylabel(title.replace(" (", "\n("))
        tidy(ax)
    axes[-1].set_xlim(0, n_chains * n_draws)
    centres = (np.arange(n_chains) + 0.5) * n_draws
    axes[-1].set_xticks(centres, [f"chain {chain}" for chain in range(n_chains)])
    axes[-1].tick_params(axis="x", length=0)
    if k > 1:
        handles = [
            Line2D([], [], color=component_colour(j), label=f"component {j}") for j in range(k)
        ]
        axes[0].figure.legend(
            handles=handles, loc="outside upper center", ncols=min(k, 6), frameon=False
        )
    return axes


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
    k = draws.n_components
    chosen = np.linspace(0, draws.n_samples - 1, min(_BAND_DRAWS, draws.n_samples)).astype(int)
    weights, means, dispersions = (
        array.reshape(-1, k)[chosen] for array in (draws.weights, draws.means, draws.dispersions)
    )
    with np.errstate(divide="ignore"):
        inv_disps = 1.0 / dispersions[:, None, :]
    last = edges[None, :, None].astype(np.float64) - 1.0
    below: Floats = np.zeros((chosen.size, edges.size, k))
    for exposure, share in zip(*_typical_exposures(table), strict=True):
        below += share * density.component_cdf(last, exposure * means[:, None, :], inv_disps)
    expected: Floats = table.n * weights[:, None, :] * np.diff(below, axis=1)
    return expected


def _typical_exposures(table: CountTable) -> tuple[Floats, Floats]:
    """Exposures with their shares: all if few, else evenly spaced quantiles."""
    exposures, index = np.unique(table.exposure, return_inverse=True)
    shares = np.bincount(index, weights=table.frequency) / table.n
    if exposures.size <= _BAND_EXPOSURES:
        return exposures, shares
    quantiles = (np.arange(_BAND_EXPOSURES) + 0.5) / _BAND_EXPOSURES
    chosen = exposures[np.searchsorted(np.cumsum(shares), quantiles)]
    return chosen, np.full(_BAND_EXPOSURES, 1.0 / _BAND_EXPOSURES)


def _view(
    array: Floats, estimates: pd.DataFrame, name: str, logarithmic: bool
) -> tuple[float, float]:
    """Range of an axis: nearly all draws, and every estimate that fits on it."""
    low, high = np.quantile(array, [0.005, 0.995], axis=0)
    marks = [
        float(value)
        for method in ("em", "map")
        if method in estimates
        for value in estimates.loc[[f"{name}[{j}]" for j in range(array.shape[1])], method]
        if value > 0 or not logarithmic
    ]
    least, most = min([low.min(), *marks]), max([high.max(), *marks])
    if logarithmic:
        margin = (most / least) ** 0.06 if most > least else 1.2
        return least / margin, most * margin
    return max(0.0, least - 0.05), min(1.0, most + 0.05)


def _ridge(
    ax: Axes, sample: Floats, base: int, colour: str, logarithmic: bool, low: float, high: float
) -> None:
    """Density of one parameter on its own baseline, with its central 95 % interval."""
    import arviz as az

    scaled = np.log10(sample) if logarithmic else sample
    if np.ptp(scaled) > 0:
        grid, height, _ = az.kde(scaled)
        grid = 10**grid if logarithmic else grid
        inside = (grid >= low) & (grid <= high)
        top = base + 0.8 * height / height.max()
        ax.fill_between(grid[inside], base, top[inside], color=colour, alpha=0.35, lw=0)
        ax.plot(grid[inside], top[inside], color=colour, lw=1.3)
    ax.plot(
        np.quantile(sample, [0.025, 0.975]), [base, base], color=colour, lw=3, solid_capstyle="butt"
    )


def _mark(ax: Axes, value: float, base: float, marker: str, low: float) -> None:
    """Estimate on its baseline; one at 0, which a log axis lacks, at the left edge."""
    if value < low:
        ax.annotate(
            "0",
            xy=(low, base),
            xytext=(9, 7),
            textcoords="offset points",
            fontsize=9,
            color=_INK,
        )
        ax.plot(low, base, marker="<", color=_INK, ms=9, clip_on=False, ls="", zorder=5)
        return
    face = _INK if marker == "^" else "white"
    ax.plot(value, base, marker=marker, color=_INK, mfc=face, ms=7, ls="", zorder=5, clip_on=False)


def _estimate_legend(figure: Any, methods: list[str], at_zero: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=_GREY, label="posterior density"),
        Line2D([], [], color=_GREY, lw=3, label="central 95 %"),
    ]
    if "em" in methods:
        handles.append(Line2D([], [], color=_INK, marker="^", ls="", ms=7, label="EM"))
    if at_zero:
        handles.append(Line2D([], [], color=_INK, marker="<", ls="", ms=9, label="at 0"))
    if "map" in methods:
        handles.append(
            Line2D([], [], color=_INK, marker="o", mfc="white", ls="", ms=7, label="MAP")
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
