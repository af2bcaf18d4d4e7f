"""Fixtures that every folder of tests shares.

Sampling is done once per session; tests judge the draws in Monte Carlo standard errors.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# Chosen by --hypothesis-profile thorough; what it runs is told in CONTRIBUTING.md.
settings.register_profile("thorough", max_examples=2000, deadline=None)

os.environ.setdefault("MPLBACKEND", "Agg")

import pmnbmix as nb  # noqa: E402


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference numbers and data; its README names the sources."""
    return ROOT / "tests" / "reference"


@pytest.fixture(scope="session")
def two_peaks():
    """Counts whose second-best optimum and mode lie 130 nats below the best, for two components."""
    mixture = nb.MixtureParams([0.21, 0.40, 0.39], [400, 1400, 1800], [0.073, 0.355, 0.008])
    return nb.Counts(mixture.sample(2000, random_seed=1)[0])


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
