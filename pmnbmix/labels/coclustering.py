"""Co-clustering: which observations belong together, whatever the labels are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# A matrix of this many rows squared takes 200 MB.
LARGEST = 5000
# Each tree of clusters is cut into at most this many clusters when partitions are tried.
_MOST_CLUSTERS = 20


@dataclass(frozen=True, eq=False)
class CoClustering:
    """Which observations belong together.

    Attributes
    ----------
    similarity : xarray.DataArray, shape (n_unique, n_unique)
        Posterior probability that two observations, one of each row, come from the same component;
        on the diagonal, two different observations with the same count and exposure. Dimensions
        unique_row and other_row, coordinates value and exposure.
    partition : ndarray of int, shape (n_unique,)
        Cluster of each row in the partition of least expected variation of information among those
        tried; 0 is the cluster of the smallest count.
    expected_vi : float
        Its expected variation of information in nats, approximated as in [1]_ (expectations of
        logarithms by logarithms of expectations); 0 if allocations are certain.
    chain_gap : float
        Largest difference of a similarity between two chains; small if chains agree, NaN for
        one chain.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> clusters = nb.co_cluster(tree)
    >>> clusters.n_clusters
    2
    >>> clusters.partition  # of 0 satellites, 1, 2, ...
    array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """

    similarity: xr.DataArray = field(repr=False)
    partition: NDArray[np.intp] = field(repr=False)
    expected_vi: float
    chain_gap: float

    @property
    def n_clusters(self) -> int:
        """Number of clusters of the partition."""
        return int(self.partition.max()) + 1


def co_cluster(
    tree: xr.DataTree, *, counts: Counts | None = None, names: Mapping[str, str] | None = None
) -> CoClustering:
    """Posterior similarity of observations, and the partition that sums it up.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns; or draws of another sampler, with ``counts`` and ``names`` as in
        `relabel`. Relabelled or not makes no difference.
    counts : Counts, optional
        What the draws were fitted to, if the tree does not say so itself.
    names : mapping of str to str, optional
        What the tree calls things, if it has names of its own.

    Returns
    -------
    CoClustering

    Raises
    ------
    TypeError, ValueError
        If the tree lacks the groups that are needed, or has more than 5,000 unique rows.

    References
    ----------
    .. [1] S. Wade, Z. Ghahramani (2018), Bayesian cluster analysis: point estimation and credible
       balls, Bayesian Anal. 13, 559-626, https://doi.org/10.1214/17-BA1073

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> clusters = nb.co_cluster(tree)
    >>> clusters.similarity[0, [0, 5]].values.round(1)  # of crabs without and with 5 satellites
    array([0.9, 0.1])
    """
    reading = read(tree, counts, names)
    draws, table = reading.draws, reading.table
    n_rows = table.values.size
    if n_rows > LARGEST:
        raise ValueError(
            f"there are {n_rows} distinct (count, exposure) rows; similarities of at most "
            f"{LARGEST} are made. Fit a random sample of the counts, or leave exposures out."
        )
    by_chain = [_similarity(chain, table) for chain in _chains(draws)]
    similarity = np.mean(by_chain, axis=0)
    partition, vi = _summary(similarity, table, draws)
    gap = float(np.ptp(by_chain, axis=0).max()) if len(by_chain) > 1 else np.nan
    return CoClustering(_labelled(similarity, table), partition, vi, gap)


def _chains(draws: Draws) -> Iterator[Draws]:
    for chain in range(draws.means.shape[0]):
        one = slice(chain, chain + 1)
        yield Draws(draws.weights[one], draws.means[one], draws.dispersions[one])


def _similarity(draws: Draws, table: CountTable) -> Floats:
    """Mean over draws of the probability of a common component, (n_unique, n_unique)."""
    n_rows = table.values.size
    p = np.empty((n_rows, draws.n_samples * draws.n_components))
    for rows, block in draws.responsibility_blocks(table):
        p[rows] = block.transpose(1, 0, 2).reshape(block.shape[1], -1)
    return np.asarray(p @ p.T / draws.n_samples)


def _summary(similarity: Floats, table: CountTable, draws: Draws) -> tuple[NDArray[np.intp], float]:
    """Partition of least expected variation of information, of cuts through trees of clusters."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    n_rows = table.values.size
    candidates = [np.zeros(n_rows, dtype=np.intp)]
    if n_rows > 1:
        distance = 1.0 - similarity
        np.fill_diagonal(distance, 0.0)
        condensed = squareform(np.clip(0.5 * (distance + distance.T), 0.0, 1.0), checks=False)
        sizes = np.arange(2, min(n_rows, max(_MOST_CLUSTERS, 2 * draws.n_components)) + 1)
        for method in ("average", "complete"):
            cuts = cut_tree(linkage(condensed, method), n_clusters=sizes)
            candidates += [np.asarray(cut, np.intp) for cut in cuts.T]
    scores = [_expected_vi(one, similarity, table.frequency) for one in candidates]
    best = candidates[int(np.argmin(scores))]
    # 0 is the cluster that comes first, as rows ascend
    _, first, inverse = np.unique(best, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse], float(min(scores))


def _expected_vi(partition: NDArray[np.intp], similarity: Floats, frequency: Floats) -> float:
    """Approximate expected variation of information of a partition (Jensen's step), in nats.

    An observation is certainly together with itself; with the others of its row it is with the
    probability on the diagonal.
    """
    members = (partition[:, None] == np.arange(partition.max() + 1)).astype(np.float64)
    own = 1.0 - np.diag(similarity)
    together = similarity @ frequency + own
    within = ((similarity @ (frequency[:, None] * members)) * members).sum(axis=1) + own
    sizes = (frequency @ members)[partition]
    terms = np.log(sizes) + np.log(together) - 2.0 * np.log(within)
    return max(float(frequency @ terms / frequency.sum()), 0.0)


def _labelled(similarity: Floats, table: CountTable) -> xr.DataArray:
    import xarray as xr

    return xr.DataArray(
        similarity,
        dims=("unique_row", "other_row"),
        coords={
            "value": ("unique_row", table.values),
            "exposure": ("unique_row", table.exposure),
            "frequency": ("unique_row", table.frequency),
        },
        name="similarity",
    )
