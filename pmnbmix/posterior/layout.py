"""From draws to the tree of a posterior: everything that is made from them."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.labels.relabel import relabel
from pmnbmix.mixture.draws import Draws, fingerprint
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.posterior.modes import Mode, modes_that_matter
from pmnbmix.posterior.predictive import log_prior, predictive_groups
from pmnbmix.posterior.tree import MixtureTree, as_mixture_tree, assemble


def posterior_tree(
    counts: Counts,
    spec: MixtureSpec,
    draws: Draws,
    stats: xr.Dataset,
    modes: list[Mode],
    which: NDArray[np.intp],
    rng: np.random.Generator,
) -> MixtureTree:
    """Lay out the draws of a posterior with everything that is made from them, relabelled.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved.
    draws : Draws
        With the labels that the sampler gave.
    stats : Dataset
        Group ``sample_stats``.
    modes : list of Mode
    which : ndarray of int, shape (chains,)
        Mode that each chain started from.
    rng : numpy.random.Generator

    Returns
    -------
    MixtureTree
    """
    groups = {
        "sample_stats": stats,
        "log_prior": log_prior(draws, spec),
        **predictive_groups(counts, spec, draws, rng),
        "modes": _mode_table(modes, which),
    }
    tree = assemble(counts, draws, groups)
    tree.attrs.update(
        {
            "inference_library": "pmnbmix",
            "inference_library_version": version("pmnbmix"),
            **fingerprint(counts),
            "spec": json.dumps(spec.to_dict()),
        }
    )
    return as_mixture_tree(relabel(tree))


def _mode_table(modes: list[Mode], which: NDArray[np.intp]) -> xr.Dataset:
    """Modes of the sampling density, largest mass first, and how many chains began in each."""
    mattering = len(modes_that_matter(modes))
    return xr.Dataset(
        {
            **{
                name: (
                    ("mode", "mixture_component"),
                    np.array([getattr(mode.params, name) for mode in modes]),
                )
                for name in PARAMETERS
            },
            "log_density": ("mode", [mode.log_density for mode in modes]),
            "log_mass": ("mode", [mode.log_mass for mode in modes]),
            "times_reached": ("mode", [mode.times_reached for mode in modes]),
            "chains_started": ("mode", np.bincount(which, minlength=len(modes))),
            "matters": ("mode", np.arange(len(modes)) < mattering),
        },
        coords={"mode": np.arange(len(modes))},
    )
