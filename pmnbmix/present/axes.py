"""What every figure shares: colours, axes, names as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmnbmix.tree.checks import group

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart; components take them in order.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999933")

GREY = "#C8C8C8"
BAND = "#5B7FA6"
INK = "#222222"


def component_colour(index: int) -> str:
    """Colour of a component, the same in every figure."""
    return COLOURS[index % len(COLOURS)]


def component_dashes(index: int) -> str | tuple[int, tuple[int, ...]]:
    """Style of a line, which tells components apart whose colours are the same."""
    return ("--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))[index // len(COLOURS) % 4]


def log_axis(ax: Axes, which: str) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 if it spans little."""
    from matplotlib.ticker import (
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        NullLocator,
    )

    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = ax.dataLim.intervalx if which == "x" else ax.dataLim.intervaly
    if low > 0 and high / low < 3:
        # Within half a decade there are not two powers of ten to put numbers at.
        axis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    elif low > 0 and high / low < 300:
        subs = (1.0, 2.0, 5.0) if high / low < 30 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(name: str) -> str:
    """A name as text on a figure; matplotlib would read text between dollars as mathematics."""
    return name.replace("_", " ").replace("$", r"\$")


def tidy(ax: Axes) -> None:
    """Leave out the lines that enclose nothing."""
    ax.spines[["top", "right"]].set_visible(False)


def titles_of(tree: xr.DataTree) -> dict[str, str]:
    """What each parameter is called on an axis."""
    exposed = bool(group(tree, "unique_rows", "sample()").attrs.get("has_exposure"))
    mean = "mean (per unit of exposure)" if exposed else "mean"
    return {"weights": "weight", "means": mean, "dispersions": "dispersion"}
