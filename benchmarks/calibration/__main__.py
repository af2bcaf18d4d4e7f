"""Calibration: whether posteriors, intervals and the bootstrap test are right on average.

    python benchmarks/calibration [FOLDER] [--jobs 2] [--check N] [--page docs/calibration.md]

Simulations are run in blocks of twenty; each block is written into the file of its setting in
FOLDER/simulations as soon as it is done, and the same command goes on where it was interrupted.
Then ``quantities.csv``, ``settings.csv``, ``pooled.csv``, ``fixed_truths.csv``,
``bootstrap_test.csv`` and ``calibration.png`` are written into FOLDER from all that is there; with
``--jobs 0`` that is done at once. FOLDER is the one beside this file, with what was run so far,
where none is named. ``--page`` writes the page of the documentation, too. ``--check N`` repeats N
of the stored simulations, chosen at random, and says whether they are the same.
"""

from __future__ import annotations

import argparse
import logging
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from judge import by_setting, coverage_at_truths, figure, judge_ranks, pooled, size_and_power
from page import write_page
from simulate import BLOCK, SETTINGS, Setting, block, simulate

# Ranks are shares of at most 401 places: four digits keep them.
_DIGITS = "%.4f"


def file_of(folder: Path, setting: Setting) -> Path:
    """File with the simulations of a setting."""
    return folder / "simulations" / f"{setting.label}.csv"


def read(folder: Path) -> dict[Setting, pd.DataFrame]:
    """Simulations that are there, by setting."""
    files = {setting: file_of(folder, setting) for setting in SETTINGS}
    return {setting: pd.read_csv(file) for setting, file in files.items() if file.exists()}


def keep(folder: Path, setting: Setting, rows: pd.DataFrame) -> None:
    """Put a block to those of its setting; the file is replaced as a whole."""
    file = file_of(folder, setting)
    if file.exists():
        rows = pd.concat([pd.read_csv(file), rows]).sort_values("index")
    partial = file.with_suffix(".part")
    rows.to_csv(partial, index=False, float_format=_DIGITS)
    partial.replace(file)


def missing(there: dict[Setting, pd.DataFrame]) -> list[tuple[Setting, int]]:
    """Blocks that are not there: some of every setting, then the main ones, then the rest."""
    found = {(setting, int(first)) for setting, table in there.items() for first in table["index"]}
    out = [
        (setting, first)
        for setting in SETTINGS
        for first in range(0, setting.simulations, BLOCK)
        if (setting, first) not in found
    ]
    return sorted(out, key=lambda one: _stage(*one))


def _stage(setting: Setting, first: int) -> int:
    costly = setting.n == 1000 and setting.exposed and setting.k > 1
    if costly:
        return 1 if first < 40 else 4
    if setting.simulations == 1000:
        return 0 if first < 100 else 2
    return 1 if first < 100 else 3


def run(folder: Path, jobs: int) -> None:
    """Run what is missing."""
    blocks = missing(read(folder))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(block, *one): one for one in blocks}
        for done, future in enumerate(as_completed(running), 1):
            setting, first = running[future]
            rows, seconds = future.result()
            keep(folder, setting, rows)
            sys.stdout.write(f"{done}/{len(blocks)} {setting.label} {first}: {seconds:.0f} s\n")
            sys.stdout.flush()


def check(folder: Path, many: int) -> None:
    """Repeat stored simulations and compare."""
    logging.disable(logging.WARNING)
    there = read(folder)
    rng = np.random.default_rng()
    for _ in range(many):
        setting = list(there)[rng.integers(len(there))]
        stored = there[setting].iloc[int(rng.integers(len(there[setting])))].to_dict()
        again = simulate(setting, int(stored["index"]))
        off = max(abs(float(again[name]) - float(value)) for name, value in stored.items())
        sys.stdout.write(f"{setting.label} {stored['index']}: differs by at most {off:.1g}\n")


def judge(folder: Path, page: Path | None) -> None:
    """Write and print what the simulations say."""
    there = read(folder)
    quantities = judge_ranks(there)
    settings = by_setting(quantities)
    tables = {
        "quantities": quantities,
        "settings": settings,
        "pooled": pooled(there),
        "fixed_truths": coverage_at_truths(there),
        "bootstrap_test": size_and_power(there),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format=_DIGITS)
        if name != "quantities":
            sys.stdout.write(f"\n{table.to_string(index=False)}\n")
    figure(there, folder / "calibration.png")
    if page is not None:
        write_page(tables, folder / "calibration.png", page)


def main() -> None:
    """Run what is missing and judge all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    (given.folder / "simulations").mkdir(parents=True, exist_ok=True)
    if given.check:
        check(given.folder, given.check)
        return
    if given.jobs:
        run(given.folder, given.jobs)
    judge(given.folder, given.page)


if __name__ == "__main__":
    main()
