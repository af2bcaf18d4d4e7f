"""Time and peak memory with a distinct exposure for every row.

Run ``python benchmarks/scale.py [rows ...]``; 10,000, 200,000 and 1,000,000 rows where none are
given. Each size runs in a process of its own, so that its peak memory is its own. The counts are of
two components with means 2 and 20, the exposures lognormal with standard deviation 0.5, as size
factors of cells are.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import pmnbmix as nb

TRUTH = nb.MixtureParams([0.7, 0.3], [2.0, 20.0], [0.5, 0.2])


def counts_of(n: int) -> nb.Counts:
    """Counts of n cells, each with its own exposure."""
    rng = np.random.default_rng(1)
    exposure = rng.lognormal(0.0, 0.5, n)
    return nb.Counts(TRUTH.sample(n, rng, exposure)[0], exposure=exposure)


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def steps(n: int) -> Iterator[tuple[str, Callable[[dict[str, Any]], Any]]]:
    """What is timed, each from what was made before it."""
    yield "counts", lambda _: counts_of(n)
    yield "fit_em", lambda made: nb.fit_em(made["counts"], 2, random_seed=1)
    yield (
        "sample",
        lambda made: nb.sample(made["counts"], nb.MixtureSpec(2), random_seed=1, progressbar=False),
    )
    yield "diagnose", lambda made: nb.diagnose(made["sample"], made["fit_em"])
    yield "loo", lambda made: nb.loo(made["sample"], diagnosis=made["diagnose"])


def run(n: int) -> None:
    """Run all steps of one size and print what each took."""
    # Machine code is compiled, or read, on a small set first.
    small: dict[str, Any] = {}
    for name, step in steps(5000):
        small[name] = step(small)
    made: dict[str, Any] = {}
    total = 0.0
    for name, step in steps(n):
        began = time.perf_counter()
        made[name] = step(made)
        seconds = time.perf_counter() - began
        total += seconds if name != "counts" else 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        say(f"{n:>9} rows  {name:9} {seconds:7.1f} s   peak {peak:5.2f} GB")
    elpd = made["loo"]
    error = elpd.elpd_i.attrs.get("interpolation_error", 0.0)
    say(f"{n:>9} rows  all steps {total:7.1f} s   density ok: {made['diagnose'].density_ok}")
    say(f"{n:>9} rows  elpd {elpd.elpd:.1f} +- {elpd.se:.1f}, error of a row {error:.1e}")


def main() -> None:
    """Run every size in a process of its own."""
    for n in [int(float(text)) for text in sys.argv[1:]] or [10_000, 200_000, 1_000_000]:
        process = multiprocessing.get_context("spawn").Process(target=run, args=(n,))
        process.start()
        process.join()
        if process.exitcode:
            say(f"{n:>9} rows  ended with {process.exitcode}")


if __name__ == "__main__":
    main()
