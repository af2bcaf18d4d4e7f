"""The figure of the chains, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.present.axes import GREY, INK, component_colour, log_axis, tidy, titles_of
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# More components than colours are drawn as a heat map, of at most so many columns.
_MOST_LINES = 7
_MOST_COLUMNS = 2000


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
        Chains that agree look alike; one that is stuck stands at another height. More than seven
        components are rows of a heat map, because their lines would hide one another.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> axes = nb.plots.plot_chains(tree)
    >>> axes.shape
    (4,)
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    reading = read(tree)
    draws = reading.draws
    n_chains, n_draws, k = draws.means.shape
    panels = {"log likelihood": reading.density.log_likelihood[..., None]}
    titles = titles_of(tree)
    panels |= {
        title: getattr(draws, name)
        for name, title in titles.items()
        # The weight of a single component is always 1, so it is not drawn.
        if k > 1 or name != "weights"
    }
    many = k > _MOST_LINES
    if axes is None:
        _, axes = plt.subplots(
            len(panels), 1, figsize=(8.5, 1.9 * len(panels)), sharex=True, layout="constrained"
        )
    for ax, (title, array) in zip(axes, panels.items(), strict=True):
        if many and array.shape[-1] > 1:
            _heat_map(ax, array, title, logarithmic=title != titles["weights"])
            continue
        for j in range(array.shape[-1]):
            colour = INK if title == "log likelihood" else component_colour(j)
            ax.plot(array[..., j].ravel(), color=colour, lw=0.5)
        if title == "log likelihood":
            ax.ticklabel_format(axis="y", useOffset=False)
        if title in (titles["means"], titles["dispersions"]):
            log_axis(ax, "y")
        ax.set_ylabel(title.replace(" (", "\n("))
        tidy(ax)
    for ax in axes:
        for chain in range(1, n_chains):
            ax.axvline(chain * n_draws, color=GREY, lw=1)
    axes[-1].set_xlim(0, n_chains * n_draws)
    centres = (np.arange(n_chains) + 0.5) * n_draws
    axes[-1].set_xticks(centres, [f"chain {chain}" for chain in range(n_chains)])
    axes[-1].tick_params(axis="x", length=0)
    if 1 < k <= _MOST_LINES:
        handles = [
            Line2D([], [], color=component_colour(j), label=f"component {j}") for j in range(k)
        ]
        axes[0].figure.legend(
            handles=handles, loc="outside upper center", ncols=min(k, 6), frameon=False
        )
    return axes


def _heat_map(ax: Axes, array: Floats, title: str, logarithmic: bool) -> None:
    """One row a component, colours for its values along the chains, (chain, draw, k)."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    rows = array.reshape(-1, array.shape[-1])
    step = max(1, len(rows) // _MOST_COLUMNS)
    low, high = np.quantile(rows, [0.005, 0.995])
    scale = {"norm": LogNorm(low, high)} if logarithmic else {"vmin": low, "vmax": high}
    image = ax.imshow(
        rows[::step].T,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        extent=(0, len(rows), rows.shape[1] - 0.5, -0.5),
        **scale,
    )
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.set_ylabel("component")
    ax.figure.colorbar(image, ax=ax, label=title.replace(" (", "\n("), pad=0.01)
