"""Bins of counts, what draws expect in them, and the axes that they stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture import density
from pmnbmix.mixture.draws import Draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Every count gets its own bar if the counts span at most this many.
_SINGLE_BARS = 60
_BINS = 50
_BAND_DRAWS = 300
_BAND_EXPOSURES = 60


def bin_centres(edges: NDArray[np.int64], logarithmic: bool) -> Floats:
    """Positions on the axis at which the values of the bins are drawn."""
    centres = 0.5 * (edges[:-1] + edges[1:] - 1.0)
    if logarithmic:
        # A bin is drawn at its middle on the logarithmic axis, but the bin of 0 stays at 0.
        centres = np.where(edges[:-1] > 0, np.sqrt(edges[:-1] * (edges[1:] - 1.0)), centres)
    return np.asarray(centres)


def root_axis(ax: Axes) -> None:
    """Show square roots of frequencies, as in a rootogram, so that rare counts can be seen."""
    ax.set_ylabel(f"{ax.get_ylabel()} (square root scale)")
    ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0.0)), np.square))


def axis_widths(edges: NDArray[np.int64]) -> Floats:
    """Widths of bins on the logarithmic axis of `count_axis`, in factors of ten.

    What is divided by these has areas, as they are seen, that are numbers of observations.
    """
    places = edges - 0.5
    # The axis is linear up to 1; there matplotlib gives a unit the length of 10 / 9 of a decade.
    linear = np.minimum(places, 1.0) * (10.0 / 9.0)
    return np.asarray(np.diff(linear + np.log10(np.maximum(places, 1.0))))


def count_axis(ax: Axes, edges: NDArray[np.int64], logarithmic: bool) -> None:
    """Let an axis show counts: whole numbers, and powers of ten if the counts span decades."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if logarithmic:
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xlabel(f"{ax.get_xlabel()} (logarithmic scale)")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(edges[0] - 0.5, edges[-1] - 0.5 + (edges.size == 2))


def bin_edges(table: CountTable) -> tuple[NDArray[np.int64], bool]:
    """Integer edges, each bin from one edge to below the next, and whether each holds one value."""
    low, high = int(table.values.min()), int(table.values.max())
    if high <= _SINGLE_BARS:
        return np.arange(0, high + 2, dtype=np.int64), True
    if high - low <= _SINGLE_BARS:
        return np.arange(low, high + 2, dtype=np.int64), True
    if spans_decades(table):
        grown = np.geomspace(max(low, 1), high + 1, _BINS).round().astype(np.int64)
        return np.unique(np.append(grown, low)), False
    # All bins have one whole width: if widths differed, so would the heights of a smooth mixture.
    width = -(-(high + 1 - low) // _BINS)
    return np.arange(low, high + 1 + width, width, dtype=np.int64), False


def spans_decades(table: CountTable) -> bool:
    """Whether most counts are so much smaller than the largest that a log axis is needed."""
    order = np.argsort(table.values)
    cumulated = np.cumsum(table.frequency[order])
    median = table.values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])]
    return bool(table.values.max() > 8 * max(median, 1.0))


def expected_counts(draws: Draws, table: CountTable, edges: NDArray[np.int64]) -> Floats:
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
