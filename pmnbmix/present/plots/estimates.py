"""The figure of the point estimates on the posterior of every parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.present.axes import GREY, INK, component_colour, log_axis, tidy, titles_of
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


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
        Where to draw weights, means and dispersions; a new figure if absent.

    Returns
    -------
    array of matplotlib.axes.Axes, shape (3,)

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts, spec = nb.load_dataset("crab_satellites"), nb.MixtureSpec(2)
    >>> em, map_ = nb.fit_em(counts, 2, random_seed=1), nb.fit_map(counts, spec, random_seed=1)
    >>> tree = nb.sample(counts, spec, random_seed=1, progressbar=False)
    >>> axes = nb.plots.plot_estimates(tree, nb.compare_estimates(em=em, map=map_, nuts=tree))
    >>> axes[0].figure.savefig("estimates.png")
    """
    import matplotlib.pyplot as plt

    draws, titles = read(tree).draws, titles_of(tree)
    k = draws.n_components
    if axes is None:
        _, axes = plt.subplots(1, 3, figsize=(10.5, 1.6 + 0.85 * k), layout="constrained")
    for ax, name in zip(axes, titles, strict=True):
        array = getattr(draws, name).reshape(-1, k)
        if name == "weights" and k == 1:
            ax.text(0.5, 0.5, "one component:\nweight 1", ha="center", va="center", color=INK)
            ax.set(xticks=[], yticks=[], xlabel=titles[name])
            tidy(ax)
            continue
        logarithmic = name != "weights"
        low, high = _view(array, estimates, name, logarithmic)
        for j in range(k):
            _ridge(ax, array[:, j], k - 1 - j, component_colour(j), logarithmic, low, high)
            # The marks stand a little apart, because the estimates often coincide.
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
            color=INK,
        )
        ax.plot(low, base, marker="<", color=INK, ms=9, clip_on=False, ls="", zorder=5)
        return
    face = INK if marker == "^" else "white"
    ax.plot(value, base, marker=marker, color=INK, mfc=face, ms=7, ls="", zorder=5, clip_on=False)


def _estimate_legend(figure: Any, methods: list[str], at_zero: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=GREY, label="posterior density"),
        Line2D([], [], color=GREY, lw=3, label="central 95 %"),
    ]
    if "em" in methods:
        handles.append(Line2D([], [], color=INK, marker="^", ls="", ms=7, label="EM"))
    if at_zero:
        handles.append(Line2D([], [], color=INK, marker="<", ls="", ms=9, label="at 0"))
    if "map" in methods:
        handles.append(Line2D([], [], color=INK, marker="o", mfc="white", ls="", ms=7, label="MAP"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
