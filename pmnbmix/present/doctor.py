"""Checks whether this installation works, part by part."""

from __future__ import annotations

import io
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """What was found about one part of the installation."""

    part: str
    ok: bool
    text: str


def examine() -> tuple[Finding, ...]:
    """Check every part; if one fails, the others are checked all the same."""
    parts: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "machine": _machine,
        "cache": _cache,
        "density": _density,
        "sampler": _sampler,
        "figures": _figures,
    }
    return tuple(_look(part, look) for part, look in parts.items())


def _look(part: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(part, True, look())
    except Exception as error:
        return Finding(part, False, f"{type(error).__name__}: {error}")


def _python() -> str:
    return f"{platform.python_version()} in {sys.prefix}"


def _packages() -> str:
    """Compare the version of every required package with its lower bound."""
    found, wanting = [], []
    for name, lower in _lower_bounds():
        try:
            there = version(name)
        except PackageNotFoundError:
            wanting.append(f"{name} is missing, {lower} or above is needed")
            continue
        found.append(f"{name} {there}")
        if _numbers(there) < _numbers(lower):
            wanting.append(f"{name} {there} is older than {lower}")
    if wanting:
        raise RuntimeError(f"{'; '.join(wanting)}. Install pmnbmix again.")
    return ", ".join(found)


def _lower_bounds() -> Iterator[tuple[str, str]]:
    for line in requires("pmnbmix") or ():
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9.]+)", line)
        if match and "extra ==" not in line:
            yield match[1], match[2]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _cache() -> str:
    """Check the folder for machine code, without which every process compiles for half a minute."""
    import platformdirs

    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("pmnbmix"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return f"{folder} can be written to"


def _density() -> str:
    import numpy as np
    from scipy import stats

    from pmnbmix.mixture.params import MixtureParams

    values = np.array([0, 3, 10])
    ours = MixtureParams([1.0], [5.0], [0.5]).logpmf(values)
    error = float(np.abs(ours - stats.nbinom.logpmf(values, 2.0, 2.0 / 7.0)).max())
    if not error < 1e-12:
        raise RuntimeError(f"the density is {error:g} nats off; numba and numpy do not fit")
    return f"the density of 3 counts is right (within {error:.0e} nats)"


def _sampler() -> str:
    import time

    from pmnbmix.data.datasets import load_dataset
    from pmnbmix.mixture.spec import MixtureSpec
    from pmnbmix.posterior.inference import sample

    begin = time.perf_counter()
    tree = sample(
        load_dataset("red_mites"),
        MixtureSpec(1),
        draws=100,
        chains=2,
        random_seed=1,
        progressbar=False,
    )
    seconds = time.perf_counter() - begin
    mean = float(tree["posterior"]["means"].mean())
    if not 0.9 < mean < 1.5:
        raise RuntimeError(f"the posterior mean of red_mites is {mean:.3g}, not about 1.15")
    return f"NUTS through nutpie: 200 draws in {seconds:.1f} s, compilation included"


def _figures() -> str:
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    figure.savefig(buffer, format="png")
    return f"matplotlib {matplotlib.__version__} draws"
