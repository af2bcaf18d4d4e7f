"""Samples whose labels switch at every draw, and what R's label.switching gives on them."""

from types import SimpleNamespace

import numpy as np
from scipy import special, stats

from tests.conftest import REFERENCE

NAMES = ("K2", "K3", "K5")


def read(name):
    """Arrays of one sample, and p (draw, observation, component), which follows from them."""
    with np.load(REFERENCE / f"label_switching_{name}.npz") as file:
        found = SimpleNamespace(**{part: file[part] for part in file.files})
    log_means, log_inv_disps, weights = np.moveaxis(found.mcmc[:, None], -1, 0)
    shape = np.exp(log_inv_disps)
    share = shape / (shape + np.exp(log_means))
    parts = stats.nbinom.logpmf(found.x[:, None], shape, share) + np.log(weights)
    found.p = special.softmax(parts, axis=-1)
    return found
