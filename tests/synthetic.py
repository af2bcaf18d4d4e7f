"""Draws made by hand, whose faults are known because they were built in."""

import numpy as np

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws

TRUTH = nb.MixtureParams([0.4, 0.6], [2.0, 20.0], [0.3, 0.2])
LOWER = nb.MixtureParams([0.85, 0.15], [9.0, 40.0], [0.8, 0.2])


def scattered(centres, n_draws=500, spread=0.03, seed=0):
    """Draws that scatter independently around one centre for each chain."""
    rng = np.random.default_rng(seed)
    shape = (len(centres), n_draws, centres[0].n_components)
    centre = {
        name: np.array([getattr(one, name) for one in centres])[:, None, :]
        for name in ("weights", "means", "dispersions")
    }
    weights = centre["weights"] * np.exp(rng.normal(0, spread, shape))
    return Draws(
        weights / weights.sum(-1, keepdims=True),
        centre["means"] * np.exp(rng.normal(0, spread, shape)),
        centre["dispersions"] * np.exp(rng.normal(0, 3 * spread, shape)),
    )
