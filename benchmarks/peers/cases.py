"""Counts that every peer is given, in files of plain arrays that need no package but numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import pmnbmix as nb

CASES = ("crab_satellites", "doctor_visits", "droplets")


def counts_of(case: str) -> nb.Counts:
    """Counts of a case; the droplets are simulated, with continuous exposures."""
    if case == "droplets":
        return nb.simulate_droplets(2000, random_seed=0)
    return nb.load_dataset(case)


def write(case: str, k: int, path: Path) -> None:
    """Write collapsed rows, the centre of the prior and our mode."""
    counts = counts_of(case)
    table = counts.table
    spec = nb.MixtureSpec(k).resolve(counts)
    mode = nb.fit_map(counts, nb.MixtureSpec(k), random_seed=1).params
    np.savez(
        path,
        k=k,
        values=table.values.astype(int),
        exposure=table.exposure,
        frequency=table.frequency,
        has_exposure=counts.has_exposure,
        log_mean_loc=spec.log_means.loc,
        weights=mode.weights,
        log_means=np.log(mode.means),
        log_dispersions=np.log(mode.dispersions),
    )
