"""Figures of labels: draws before and after relabelling, permutations, overlap, clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import one_of
from pmnbmix.labels.chains import chain_names
from pmnbmix.labels.diagnose import Diagnosis, diagnose
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.present.axes import COLOURS, INK, tidy, titles_of
from pmnbmix.tree.checks import group
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from pmnbmix.labels.coclustering import CoClustering

Floats = NDArray[np.float64]

# This many permutations get a colour of their own; rarer ones share one.
_COLOURED = 6
_SEQUENTIAL = "Blues"
# The rows of more components than this are lower.
_TALL_ROWS = 6
# Numbers are written into the cells if a side has at most this many.
_WRITTEN = 10
# At most this many draws of a chain are drawn, evenly spaced.
_MOST_COLUMNS = 1000


def plot_relabelling(
    tree: xr.DataTree,
    name: Literal["weights", "means", "dispersions"] = "means",
    kind: Literal["trace", "rank"] = "trace",
) -> Any:
    """Draw one parameter as the sampler gave it and as relabelled, side by side.

    Parameters
    ----------
    tree : xarray.DataTree
        Relabelled, as `sample` or `relabel` return it.
    name : {"weights", "means", "dispersions"}
    kind : {"trace", "rank"}
        Traces, or ArviZ's rank plot: lines far from 0, marked black, are chains that differ.

    Returns
    -------
    arviz_plots.PlotCollection
        One row a component, each chain in a colour.

    Raises
    ------
    ValueError
        For another name or kind.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> figure = nb.plots.plot_relabelling(tree, "means", kind="rank")
    >>> figure.savefig("ranks.png")
    """
    import arviz as az
    import xarray as xr
    from arviz_plots import PlotCollection

    one_of(name, "name", PARAMETERS)
    one_of(kind, "kind", ("trace", "rank"))
    reading = read(tree)
    raw = reading.raw
    if kind == "rank" and raw.means.shape[0] < 2:
        raise ValueError("ranks compare chains, and there is one; draw kind='trace'.")
    both = np.stack([getattr(draws, name) for draws in (raw, reading.draws)], axis=-1)
    what = titles_of(tree)[name]
    if name != "weights" and (both > 0.0).all():
        both, what = np.log10(both), f"log10 of {what}"
    n_chains, n_draws, k, _ = both.shape
    columns = ["as sampled", "relabelled"]
    dataset = xr.Dataset(
        {name: (("chain", "draw", "row", "labels"), both)},
        coords={
            "chain": np.arange(n_chains),
            "draw": np.arange(n_draws),
            "row": np.arange(k),
            "labels": columns,
        },
    )
    height = 1.6 if k <= _TALL_ROWS else 0.9
    # ArviZ refuses more than forty panels unless it is told that they are meant.
    with az.rc_context({"plot.max_subplots": len(columns) * k}):
        collection = PlotCollection.grid(
            dataset,
            rows=["row"],
            cols=["labels"],
            aes={"color": ["chain"], "overlay": ["chain"]},
            color=list(COLOURS),
            backend="matplotlib",
            figure_kwargs={
                "figsize": (9.0, 1.0 + height * k),
                "sharex": True,
                "sharey": "row",
                "layout": "constrained",
            },
        )
    draw = az.plot_trace if kind == "trace" else az.plot_rank
    draw(
        xr.DataTree.from_dict({"posterior": dataset}),
        plot_collection=collection,
        backend="matplotlib",
        visuals={
            "title": False,
            "xlabel": False,
            **({"trace": {"width": 0.5}} if kind == "trace" else {}),
        },
    )
    for j in range(k):
        for i, column in enumerate(columns):
            ax = collection.get_target(name, {"row": j, "labels": column})
            if j == 0:
                ax.set_title(column, fontsize=11)
            if i == 0:
                ax.set_ylabel(f"component {j}" if k <= _TALL_ROWS else str(j))
            if j == k - 1:
                ax.set_xlabel("draw" if kind == "trace" else f"rank of {what}")
            if kind == "trace":
                tidy(ax)
    of = what if kind == "trace" else f"ranks of {what}, less what equal chains would have"
    rows = "" if k <= _TALL_ROWS else "; each row a component"
    ax.figure.suptitle(f"{of}; each colour a chain{rows}", fontsize=10)
    return collection


def plot_permutations(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw which permutation each draw of each chain was relabelled by.

    Parameters
    ----------
    tree : xarray.DataTree
        Relabelled, as `sample` or `relabel` return it.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        One row a chain. One colour throughout: labels never switched; rows of different colours:
        they differ between chains; stripes: they switch within.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_permutations(tree)
    >>> ax.figure.savefig("permutations.png")
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    past = group(tree, "relabelling", "relabel()").to_dataset()["permutation"]
    order = past.transpose("chain", "draw", "mixture_component").values
    n_chains, n_draws, k = order.shape
    patterns, which, times = np.unique(
        order.reshape(-1, k), axis=0, return_inverse=True, return_counts=True
    )
    rank = np.argsort(np.argsort(-times, kind="stable"))
    shown = np.minimum(rank[which.ravel()], _COLOURED).reshape(n_chains, n_draws)
    step = max(1, -(-n_draws // _MOST_COLUMNS))
    if ax is None:
        figsize = (8.5, 1.3 + 0.35 * n_chains)
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    colours = [*COLOURS[:_COLOURED], INK]
    ax.imshow(
        shown[:, ::step],
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=_COLOURED + 0.5,
        extent=(0, n_draws, n_chains - 0.5, -0.5),
    )
    names = chain_names(tree, n_chains)
    ax.set_yticks(range(n_chains), [f"chain {name}" for name in names])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("draw")
    ax.set_title("labels the sampler gave to components 0, 1, ...", fontsize=11)
    handles = []
    for place in range(min(len(patterns), _COLOURED)):
        i = int(np.flatnonzero(rank == place)[0])
        text = f"{' '.join(map(str, patterns[i]))}  ({times[i] / which.size:.0%})"
        handles.append(Patch(color=colours[place], label=text))
    if len(patterns) > _COLOURED:
        rest = (shown == _COLOURED).mean()
        handles.append(Patch(color=INK, label=f"others  ({rest:.0%})"))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return ax


def plot_overlap(diagnosis: Diagnosis | xr.DataTree, ax: Axes | None = None) -> Axes:
    """Draw how components share observations.

    Parameters
    ----------
    diagnosis : Diagnosis or xarray.DataTree
        From `diagnose`; of a tree it is made here.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Row j: of the observations of component j, the share that each component claims. A dark
        diagonal: components are told apart.

    Raises
    ------
    TypeError
        If ``diagnosis`` is neither.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_overlap(nb.diagnose(tree))
    >>> ax.figure.savefig("overlap.png")
    """
    import matplotlib.pyplot as plt
    import xarray as xr

    if not isinstance(diagnosis, Diagnosis | xr.DataTree):
        raise TypeError(
            f"diagnosis must be what diagnose() returns, or a DataTree, as sample() returns; got "
            f"{type(diagnosis).__name__}."
        )
    judged = diagnosis if isinstance(diagnosis, Diagnosis) else diagnose(diagnosis)
    overlap, k = judged.overlap, len(judged.overlap)
    if ax is None:
        size = 2.2 + 0.6 * k
        _, ax = plt.subplots(figsize=(size + 0.6, size), layout="constrained")
    image = ax.imshow(overlap, cmap=_SEQUENTIAL, vmin=0.0, vmax=1.0)
    if k <= _WRITTEN:
        for j in range(k):
            for other in range(k):
                colour = "white" if overlap[j, other] > 0.6 else INK
                text = f"{overlap[j, other]:.2f}"
                ax.text(other, j, text, ha="center", va="center", color=colour)
    ax.set_xticks(range(k))
    ax.set_yticks(range(k))
    ax.set_ylabel("observations of component")
    ax.set_xlabel("claimed by component")
    ax.figure.colorbar(image, ax=ax, label="share", shrink=0.8)
    return ax


def plot_co_clustering(clustering: CoClustering, ax: Axes | None = None) -> Axes:
    """Draw the posterior similarity of observations, ordered by their counts.

    Parameters
    ----------
    clustering : CoClustering
        From `co_cluster`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Each row and column is a distinct observation; lines bound the clusters of the partition
        where these are intervals of counts, marks on the left show them always.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> ax = nb.plots.plot_co_clustering(nb.co_cluster(tree))
    >>> ax.figure.savefig("clusters.png")
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    similarity, partition = clustering.similarity, clustering.partition
    values = similarity["value"].values
    # Rows ascend by count, or by rate if there are exposures, because rates then say more.
    exposure = similarity["exposure"].values
    rates = values / exposure
    exposed = bool(np.unique(exposure).size > 1)
    order = np.lexsort((values, rates)) if exposed else np.arange(values.size)
    if ax is None:
        _, ax = plt.subplots(figsize=(6.2, 5.2), layout="constrained")
    matrix = similarity.values[np.ix_(order, order)]
    image = ax.imshow(matrix, cmap=_SEQUENTIAL, vmin=0.0, vmax=1.0, interpolation="nearest")
    ordered = partition[order]
    changes = np.flatnonzero(np.diff(ordered)) + 0.5
    if changes.size < clustering.n_clusters:
        for place in changes:
            ax.axhline(place, color=COLOURS[1], lw=1.2)
            ax.axvline(place, color=COLOURS[1], lw=1.2)
    for cluster in range(clustering.n_clusters):
        members = np.flatnonzero(ordered == cluster)
        colour = COLOURS[cluster % len(COLOURS)]
        ax.plot(
            np.full(members.size, -0.02),
            members,
            "s",
            ms=3,
            color=colour,
            transform=ax.get_yaxis_transform(),
            clip_on=False,
        )
    shown = rates[order] if exposed else values

    def label(place: float, _: object) -> str:
        i = round(place)
        return f"{shown[i]:,.3g}" if 0 <= i < shown.size else ""

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.set_major_formatter(FuncFormatter(label))
    ax.tick_params(axis="y", pad=9)
    what = "count per unit of exposure" if exposed else "count"
    ax.set_xlabel(f"{what} (one cell for each distinct one)")
    ax.set_ylabel(what)
    plural = "" if clustering.n_clusters == 1 else "s"
    ax.set_title(f"{clustering.n_clusters} cluster{plural}", fontsize=11)
    ax.figure.colorbar(image, ax=ax, label="probability of a common component", shrink=0.85)
    return ax
