"""Columns of counts with known faults, for all tests of this folder."""

import numpy as np


def simulate(n_columns, n, random_seed, exposed=False, log_mean=-1.0, spread=1.3):
    """Counts (n, n_columns) of mixtures of two components, and exposures or None."""
    rng = np.random.default_rng(random_seed)
    exposure = np.exp(rng.normal(0, 0.4, n)) if exposed else None
    columns = []
    for _ in range(n_columns):
        low = np.exp(rng.normal(log_mean, spread))
        means = np.array([low, low * np.exp(rng.uniform(0.2, 3))])
        dispersions = np.exp(rng.normal(-0.7, 1, 2))
        z = (rng.random(n) > rng.uniform(0.2, 0.95)).astype(int)
        rate = means[z] * rng.gamma(1 / dispersions[z], dispersions[z])
        columns.append(rng.poisson(rate if exposure is None else exposure * rate))
    return np.column_stack(columns), exposure


FAULTY = {
    "good": (None, None, None),
    "zeros": (None, None, "pooled"),
    "constant": (None, None, "pooled"),
    "missing": (3, np.nan, "missing"),
    "infinite": (4, np.inf, "infinite"),
    "negative": (5, -2.0, "negative"),
    "fractional": (6, 0.5, "fractional"),
    "huge": (7, 2.0**60, "too-large"),
}


def faulty():
    """A matrix with a column of each kind, names of the columns beside it."""
    matrix = np.tile(simulate(1, 60, 3)[0].astype(float), (1, len(FAULTY)))
    for column, (name, (row, value, _)) in enumerate(FAULTY.items()):
        if name == "zeros":
            matrix[:, column] = 0
        elif name == "constant":
            matrix[:, column] = 7
        elif row is not None:
            matrix[row, column] = value
    return matrix
