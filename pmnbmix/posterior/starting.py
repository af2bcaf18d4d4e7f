"""Points from which samplers and optimisers of the pm.Model start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import unpack
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.posterior.checks import check_arguments
from pmnbmix.posterior.modes import find_modes, modes_that_matter
from pmnbmix.seeds import as_rng

Floats = NDArray[np.float64]


def start_points(
    counts: Counts,
    spec: MixtureSpec | int,
    *,
    chains: int = 4,
    random_seed: int | np.random.Generator | None = None,
) -> list[dict[str, Floats]]:
    """Find points at which chains of `build_model` may start, one each.

    PyMC's own start is a saddle of every mixture, where `pymc.find_MAP` stays.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec or int
        Resolved against the counts if it is not yet; its priors must be proper.
    chains : int
    random_seed : int or numpy.random.Generator, optional

    Returns
    -------
    list of dict of str to ndarray
        Modes of the sampling density, largest mass first and in turn if chains are more than modes
        that matter. Each has ``weights`` (if there are two components or more), ``log_means`` and
        ``log_dispersions``, (n_components,).

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and improper priors.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> starts = nb.start_points(counts, nb.MixtureSpec(2), random_seed=1)
    >>> len(starts), starts[0]["weights"].round(1)
    (4, array([0.4, 0.6]))

    They are given as ``pm.sample(initvals=starts, nuts_sampler="pymc")``; nutpie takes one for all,
    ``pm.sample(initvals=starts[0])``. ``pm.find_MAP(initvals=start)`` finds the maximum of each
    mode, of which the highest need not be that of the largest mass.
    """
    resolved = check_arguments(counts, spec)
    whole(chains, "chains", 1)
    modes = modes_that_matter(find_modes(counts, resolved, as_rng(random_seed)))
    return [as_point(modes[chain % len(modes)].packed) for chain in range(chains)]


def as_point(packed: Floats) -> dict[str, Floats]:
    """Values of the free random variables of `build_model` at a point (3k - 1,) of NUTS."""
    draw = unpack(packed[None, None])
    point = {
        "log_means": np.log(draw.means[0, 0]),
        "log_dispersions": np.log(draw.dispersions[0, 0]),
    }
    # A single weight is 1, and no random variable.
    return point if packed.size < 5 else {"weights": draw.weights[0, 0], **point}
