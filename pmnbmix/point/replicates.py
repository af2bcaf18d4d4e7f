"""Replicates of data: drawn, run in order on all cores, kept if interrupted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import joblib
import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.progress import progress_bar

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

# Counts are drawn in blocks of the first number, and at most the second number of them.
_BLOCK = 1_000_000
_LARGEST_DRAW = 100_000_000
# Starting processes is worth its time from this many seconds of work.
_WORTH_PROCESSES = 15.0
# What is done is written to a file at most once in so many seconds.
_BETWEEN_FILES = 2.0


def check_n_boot(n_boot: object) -> None:
    """Check a number of replicates: an integer of 2 or above."""
    whole(n_boot, "n_boot", 2)


def check_n_jobs(n_jobs: object) -> None:
    """Check a number of processes: an integer of 1 or above, or None for all cores."""
    if n_jobs is not None:
        whole(n_jobs, "n_jobs", 1, also=", or None for all cores")


def collect[T](
    replicate: Callable[[int], T],
    indices: range,
    n_jobs: int | None,
    progressbar: bool,
    title: str,
    keep: Callable[[list[T]], None] | None = None,
) -> list[T]:
    """Run the replicates in order; if interrupted, return those that are done.

    ``keep`` is called with all that are done, every few seconds and at the end.
    """
    done: list[T] = []
    kept = time.perf_counter()
    try:
        with progress_bar(title, progressbar) as advance:
            for result in _run(replicate, indices, n_jobs):
                done.append(result)
                if keep is not None and time.perf_counter() - kept > _BETWEEN_FILES:
                    keep(done)
                    kept = time.perf_counter()
                advance(len(done), len(indices))
    except KeyboardInterrupt:
        _log.warning("interrupted; keeping %d of %d replicates", len(done), len(indices))
    if keep is not None:
        keep(done)
    return done


def _run[T](replicate: Callable[[int], T], indices: range, n_jobs: int | None) -> Iterator[T]:
    started = time.perf_counter()
    here = 0
    for index in indices:
        left = (len(indices) - here) * (time.perf_counter() - started) / max(here, 1)
        if n_jobs != 1 and (n_jobs is not None or left > _WORTH_PROCESSES):
            break
        yield replicate(index)
        here += 1
    rest = indices[here:]
    if rest:
        parallel = joblib.Parallel(
            n_jobs=-1 if n_jobs is None else int(n_jobs), return_as="generator"
        )
        yield from parallel(joblib.delayed(replicate)(index) for index in rest)


def _expanded_exposure(counts: Counts) -> Floats | None:
    return np.repeat(counts.exposure, counts.frequency) if counts.has_exposure else None


def draw_again(counts: Counts, params: MixtureParams, rng: np.random.Generator) -> Counts:
    """As many counts from a mixture, with the same exposures; tabulated block by block."""
    if counts.n > _LARGEST_DRAW:
        raise ValueError(
            f"{counts.n} counts cannot be drawn again in reasonable time; at most {_LARGEST_DRAW}. "
            "Fit a random sample of the counts, or use profile_intervals()."
        )
    exposure = _expanded_exposure(counts)
    parts = []
    try:
        for first in range(0, counts.n, _BLOCK):
            n = min(_BLOCK, counts.n - first)
            scale = None if exposure is None else exposure[first : first + n]
            values, _ = params.sample(n, rng, scale)
            parts.append(Counts(values, scale).table)
    except ValueError as error:
        raise ValueError(
            f"the fit cannot be drawn from ({error}) Use profile_intervals(), or a nonparametric "
            "bootstrap."
        ) from None
    return Counts(
        np.concatenate([part.values for part in parts]),
        None if exposure is None else np.concatenate([part.exposure for part in parts]),
        np.concatenate([part.frequency for part in parts]),
    )
