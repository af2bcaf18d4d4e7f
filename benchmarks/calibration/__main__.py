"""Calibration: whether posteriors, intervals and the bootstrap test are right on average.

    python benchmarks/calibration FOLDER [JOBS]

Simulations are run in blocks of twenty, a file each; the same command goes on where it was
interrupted. Then ``ranks.csv``, ``coverage.csv`` and ``calibration.png`` are written into the
folder from all that is there; with 0 jobs that is done at once.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from judge import by_setting, coverage_at_truths, figure, judge_ranks, size_and_power
from simulate import BLOCK, SETTINGS, Setting, block


def read(folder: Path) -> dict[Setting, pd.DataFrame]:
    """Simulations that are there, by setting."""
    out = {}
    for setting in SETTINGS:
        files = sorted(folder.glob(f"{setting.label}_from*.csv"))
        if files:
            table = pd.concat([pd.read_csv(file) for file in files])
            out[setting] = table.sort_values("index").reset_index(drop=True)
    return out


def main() -> None:
    """Run what is missing and judge all."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "calibration")
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    (folder / "blocks").mkdir(parents=True, exist_ok=True)
    missing = [
        (setting, first, path)
        for setting in SETTINGS
        for first in range(0, setting.simulations, BLOCK)
        if not (path := folder / "blocks" / f"{setting.label}_from{first:04}.csv").exists()
    ]
    # some of every setting before many of one
    missing.sort(key=lambda one: (one[1] >= 200, one[0].n == 1000 and one[0].k > 1))
    if jobs and missing:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            running = {pool.submit(block, *one): one for one in missing}
            for done, future in enumerate(as_completed(running), 1):
                setting, first, _ = running[future]
                sys.stdout.write(
                    f"{done}/{len(missing)} {setting.label} from {first}: {future.result():.0f} s\n"
                )
                sys.stdout.flush()
    there = read(folder / "blocks")
    table, coverage = judge_ranks(there)
    table.to_csv(folder / "ranks.csv", index=False)
    coverage.to_csv(folder / "coverage.csv", index=False)
    figure(there, folder / "calibration.png")
    outside = coverage[coverage["z"].abs() > 3]
    judged = (
        by_setting(table, coverage),
        outside,
        coverage_at_truths(there),
        size_and_power(there),
    )
    for part in judged:
        sys.stdout.write(f"\n{part.to_string(index=False)}\n")


if __name__ == "__main__":
    main()
