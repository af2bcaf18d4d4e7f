"""Fixtures that every folder of tests shares.

Sampling is done once per session; tests judge the draws in Monte Carlo standard errors.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.compiling import compile_once

ROOT = Path(__file__).parent.parent
# Data and numbers that are not the package's own; README.md there names their sources.
REFERENCE = ROOT / "tests" / "reference"

# Chosen by --hypothesis-profile thorough; what it runs is told in CONTRIBUTING.md.
settings.register_profile("thorough", max_examples=2000, deadline=None)

os.environ.setdefault("MPLBACKEND", "Agg")

import pmnbmix as nb  # noqa: E402

# The longest first, so that no worker is left with one of them at the end; those that compile in
# this process come before those that start processes, which find the machine code then.
LONGEST = (
    "labels/test_bench.py",
    "posterior/test_model.py",
    "point/test_map.py",
    "study/test_refits.py",
    "test_notebooks.py",
    "faults/test_killed.py",
    "faults/test_killed_command.py",
    "faults/test_surroundings.py",
    "test_readme.py",
    "batch/test_cluster.py",
    "study/test_storage.py",
    "present/test_cli.py",
    "selection/test_evidence.py",
    "posterior/test_plan.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker for each core, but few, since every posterior runs its chains side by side."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 4)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        compile_once()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def crab():
    return nb.load_dataset("crab_satellites")


@pytest.fixture(scope="session")
def crab_choice(crab):
    """The whole job on crab_satellites for 1, 2 and 3 components."""
    return nb.choose_components(crab, 3, random_seed=1, watch=lambda title, done, total: None)


@pytest.fixture(scope="session")
def doctor_visits():
    return nb.load_dataset("doctor_visits")


@pytest.fixture(scope="session")
def doctor_tree(doctor_visits):
    """Posterior of 20,190 counts: too many for a log likelihood of every single one."""
    return nb.sample(doctor_visits, nb.MixtureSpec(2), random_seed=1, progressbar=False)
