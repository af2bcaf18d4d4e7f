"""Figures of whether the mixture describes the counts: rootogram, and ranks of observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pmnbmix.present.axes import BAND, GREY, INK, plain, tidy
from pmnbmix.present.plots.bins import (
    bin_centres,
    bin_edges,
    count_axis,
    expected_counts,
    spans_decades,
)
from pmnbmix.selection.adequacy import RANK_PLACES, loo_pit, rank_curve, rank_limit
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

# Square roots of new samples scatter by about 1. If the tallest bar is more than this many times
# as high, differences could not be seen on the axis of the frequencies.
_TALL = 20.0
# The predictive band is simulated with this seed, so that equal draws give equal figures.
_SEED = 0


def plot_rootogram(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw a hanging rootogram: observed frequencies hang from the expected ones.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.

    Returns
    -------
    matplotlib.axes.Axes
        Heights are square roots of numbers of observations, so that rare counts are seen as well
        as frequent ones. The line is what the mixture expects; if a bar ends below 0 there are
        more observations than expected, above 0 fewer. Ends within the band are what the posterior
        predicts in 95 % of new samples. Of many observations, and of counts that spread over
        decades and stand in bins, the differences alone are drawn.

    References
    ----------
    .. [1] C. Kleiber, A. Zeileis (2016), Visualizing count data regressions using rootograms, Am.
       Stat. 70, 296-303, https://doi.org/10.1080/00031305.2016.1173590

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_rootogram(tree)
    >>> ax.figure.savefig("rootogram.png")
    """
    import matplotlib.pyplot as plt

    reading = read(tree)
    table, draws, rows = reading.table, reading.draws, tree["unique_rows"]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.0), layout="constrained")
    edges, single = bin_edges(table)
    per_draw = expected_counts(draws, table, edges).sum(-1)
    expected = np.sqrt(per_draw.mean(0))
    observed, _ = np.histogram(table.values, bins=edges - 0.5, weights=table.frequency)
    shares = np.clip(per_draw / table.n, 0.0, 1.0)
    new = np.random.default_rng(_SEED).binomial(int(table.n), shares)
    low, high = expected - np.sqrt(np.quantile(new, [0.975, 0.025], axis=0))
    logarithmic = spans_decades(table) and not single
    centres = bin_centres(edges, logarithmic)
    wide = 0.85 if single else np.diff(edges)
    left = centres - 0.425 if single else edges[:-1] - 0.5
    # Bins of a logarithmic axis differ in width, so that their frequencies would zigzag.
    suspended = expected.max() > _TALL or logarithmic
    top = np.zeros_like(expected) if suspended else expected
    end = expected - np.sqrt(observed)
    ax.bar(
        left,
        top - end,
        width=wide,
        bottom=end,
        align="edge",
        color=GREY,
        # Neighbouring bins touch, so only lines at their edges tell them apart.
        edgecolor=GREY if single else "white",
        linewidth=0.3,
        label="expected minus observed" if suspended else "observed, hanging",
    )
    ax.axhline(0.0, color=INK, lw=0.8)
    ax.fill_between(
        edges - 0.5,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=BAND,
        alpha=0.35,
        lw=0,
        label="95 % of new samples",
    )
    if not suspended:
        marker = "o" if single else ""
        ax.plot(centres, expected, color=INK, marker=marker, ms=3.5, label="expected")
    ax.set_xlabel(plain(str(rows.attrs.get("name", "count"))))
    count_axis(ax, edges, logarithmic)
    what = "difference of square roots" if suspended else "square root of observations"
    ax.set_ylabel(f"{what}{'' if single else ' per bin'}")
    ax.set_title(f"rootogram, n = {table.n:,.0f}", fontsize=11)
    ax.legend(frameon=False)
    tidy(ax)
    return ax


def plot_loo_pit(
    tree: xr.DataTree,
    ax: Axes | None = None,
    *,
    pit: pd.DataFrame | None = None,
    limit: float | None = None,
) -> Axes:
    """Draw how far the ranks of observations in their predictions are from uniform.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if absent.
    pit : pandas.DataFrame, optional
        From `loo_pit` of the same tree, if it has been computed already.
    limit : float, optional
        Half the height of the band; by default what samples of the posterior reach without being
        fitted again, which is a little wide.

    Returns
    -------
    matplotlib.axes.Axes
        Mean distribution function of the probability integral transforms (each observation
        predicted from all others, spread evenly over the jump at its count) minus the uniform one.
        Within the band stay, for their whole length, 95 % of the lines of samples that the mixture
        makes. Above 0 on the left: more small counts than predicted.

    References
    ----------
    .. [1] C. Czado, T. Gneiting, L. Held (2009), Predictive model assessment for count data,
       Biometrics 65, 1254-1261, https://doi.org/10.1111/j.1541-0420.2009.01191.x

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_loo_pit(tree)
    >>> ax.figure.savefig("ranks.png")
    """
    import matplotlib.pyplot as plt

    if pit is None:
        pit = loo_pit(tree)
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 4.0), layout="constrained")
    places = np.linspace(0.0, 1.0, RANK_PLACES)
    n = pit["frequency"].sum()
    difference = rank_curve(pit, places)
    limit = rank_limit(tree) if limit is None else limit
    ax.axhspan(-limit, limit, color=BAND, alpha=0.25, lw=0, label="95 % where the model is right")
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.plot(places, difference, color=INK, lw=1.4, label="observations")
    reach = 1.25 * max(limit, float(np.abs(difference).max()))
    ax.set(xlim=(0, 1), ylim=(-reach, reach))
    ax.set_xlabel("predicted probability of at most the observed count")
    ax.set_ylabel("share of observations below\nminus that probability")
    ax.set_title(f"leave-one-out ranks, n = {n:,.0f}", fontsize=11)
    ax.legend(frameon=False)
    tidy(ax)
    return ax
