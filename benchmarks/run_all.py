"""Compare with what installs from PyPI, and write `peers.md` beside this file.

    python benchmarks/run_all.py [--numpyro PYTHON] [--stan PYTHON] [--repeats 3] [--out FILE]

PYTHON is an interpreter with numpyro, and one of version 3.12 with pystan (``uv venv --python
3.12`` and ``uv pip install pystan "setuptools<81"``); without them their rows are left out, and the
page says so. Methods run by turns, each in a process of its own, so that a disturbance falls on
all. Ratios are within a turn: median, and lowest to highest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pmnbmix as nb

HERE = Path(__file__).parent / "peers"
# before this folder, whose modules are others
sys.path.insert(0, str(HERE))
from cases import CASES, counts_of, write  # noqa: E402
from posterior import NAMES  # noqa: E402

K = 2
# A chain whose mean log likelihood is so many nats below the best chain's is in a wrong mode.
WRONG = 5.0
POINTS = {
    "pmnbmix fit_em": "likelihood",
    "scipy, by hand": "likelihood",
    "pmnbmix fit_map": "density",
    "PyMC find_MAP": "density",
    "NumPyro AutoDelta": "density",
}
POSTERIORS = (
    "pmnbmix",
    *(f"{p}, {s} start" for p in ("PyMC", "NumPyro", "Stan") for s in ("own", "our")),
)


def said(text: str) -> None:
    """Write a line of progress."""
    sys.stderr.write(f"{text}\n")


def process(python: str, script: str, *arguments: object) -> Any:
    """Run a script of a peer and return what its last line says, or why it failed."""
    environment = dict(os.environ)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    command = [python, str(HERE / script), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)  # noqa: S603
    if run.returncode:
        reason = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "no message"
        return {"failed": reason[:120]}
    return json.loads(run.stdout.strip().splitlines()[-1])


def spread(values: list[float], digits: int = 3) -> str:
    """Median, and lowest to highest."""
    low, middle, high = np.min(values), np.median(values), np.max(values)

    def number(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"

    return number(middle) if low == high else f"{number(middle)} ({number(low)} to {number(high)})"


def ratios(times: dict[str, list[float]], ours: str) -> dict[str, str]:
    """How many times as long as ours each method takes, within turns."""
    return {
        method: spread([a / b for a, b in zip(each, times[ours], strict=False)], 2)
        for method, each in times.items()
    }


def log_likelihood(params: nb.MixtureParams, counts: nb.Counts) -> float:
    """Of all observations."""
    table = counts.table
    return float(table.frequency @ params.logpmf(table.values.astype(int), table.exposure))


def log_density(params: nb.MixtureParams, counts: nb.Counts) -> float:
    """Log likelihood plus log prior of weights, log means and log dispersions."""
    from scipy import stats

    if (params.dispersions <= 0).any():
        return -np.inf
    spec = nb.MixtureSpec(K).resolve(counts)
    prior = stats.dirichlet.logpdf(params.weights, np.full(K, spec.weights.concentration))
    for logs, normal in (
        (np.log(params.means), spec.log_means),
        (np.log(params.dispersions), spec.log_dispersions),
    ):
        prior += stats.norm.logpdf(logs, normal.loc, normal.scale).sum()
    return log_likelihood(params, counts) + float(prior)


def points(files: dict[str, Path], pythons: dict[str, str], repeats: int) -> pd.DataFrame:
    """Every point estimate on every case."""
    rows = []
    for case in CASES:
        counts = counts_of(case)
        times: dict[str, list[float]] = {}
        reached: dict[str, list[float]] = {}
        for turn in range(repeats):
            for method, kind in POINTS.items():
                python = pythons.get(method.split()[0].rstrip(","), sys.executable)
                if not python:
                    continue
                found = process(python, "estimate.py", method, files[case], turn)
                said(f"{case}, {method}: {found.get('seconds', found)}")
                if "failed" in found:
                    continue
                weights, means, dispersions = map(np.array, found["params"])
                params = nb.MixtureParams(weights / weights.sum(), means, dispersions)
                value = {"likelihood": log_likelihood, "density": log_density}[kind](params, counts)
                times.setdefault(method, []).append(found["seconds"])
                reached.setdefault(method, []).append(value)
        for kind, ours in (("likelihood", "pmnbmix fit_em"), ("density", "pmnbmix fit_map")):
            mine = {method: times[method] for method in times if POINTS[method] == kind}
            best = max(max(reached[method]) for method in mine)
            slower = ratios(mine, ours)
            for method in mine:
                gap = [max(best - value, 0.0) for value in reached[method]]
                rows.append(
                    {
                        "counts": case,
                        "method": method,
                        "nats below the best": spread([round(g, 4) for g in gap]),
                        "seconds": spread(times[method]),
                        "times ours": slower[method],
                    }
                )
    return pd.DataFrame(rows)


class Draws:
    """Draws of one run, judged on the counts."""

    def __init__(self, path: Path, counts: nb.Counts) -> None:
        import arviz as az

        arrays = np.load(path)
        weights, log_means, log_dispersions = (arrays[name] for name in NAMES)
        order = np.argsort(log_means, axis=-1)
        sorted_ = {
            name: np.take_along_axis(array, order, -1)
            for name, array in (
                ("weights", weights),
                ("means", np.exp(log_means)),
                ("dispersions", np.exp(log_dispersions)),
            )
        }
        tree = az.convert_to_datatree(sorted_)
        mcse, ess = az.mcse(tree), az.ess(tree)
        self.mean = np.concatenate([array.mean((0, 1)) for array in sorted_.values()])
        self.mcse = np.concatenate([mcse[name].values for name in sorted_])
        self.ess = min(float(ess[name].min()) for name in sorted_)
        # of every twentieth draw: enough to tell modes apart
        self.heights = [
            float(
                np.mean(
                    [
                        log_likelihood(nb.MixtureParams(w / w.sum(), m, d), counts)
                        for w, m, d in zip(*(sorted_[n][c, ::20] for n in sorted_), strict=True)
                    ]
                )
            )
            for c in range(weights.shape[0])
        ]


def posteriors(files: dict[str, Path], pythons: dict[str, str], repeats: int) -> pd.DataFrame:
    """Every posterior on every case; accuracy is against Stan from our start, else ours."""
    rows = []
    for case in CASES:
        counts = counts_of(case)
        times: dict[str, list[float]] = {}
        runs: dict[str, list[Draws]] = {}
        reference: Draws | None = None
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "draws.npz"
            # machine code on disk, and Stan's program built, before anything is timed
            for method in ("pmnbmix", "Stan, our start"):
                if python := pythons.get(method.split(",")[0], sys.executable):
                    # the reference has four times the draws of what it judges
                    found = process(python, "posterior.py", method, files[case], out, 99, 4)
                    if "failed" in found:
                        raise RuntimeError(f"{case}, reference by {method}: {found['failed']}")
                    reference = Draws(out, counts)
            for turn in range(repeats):
                for method in POSTERIORS:
                    python = pythons.get(method.split(",")[0], sys.executable)
                    # what takes minutes is run once
                    slow = method.startswith("NumPyro") or (
                        method.startswith("PyMC") and counts.n > 5000
                    )
                    if not python or (turn and slow):
                        continue
                    found = process(python, "posterior.py", method, files[case], out, turn + 1)
                    said(f"{case}, {method}: {found}")
                    if "failed" not in found:
                        runs.setdefault(method, []).append(Draws(out, counts))
                        times.setdefault(method, []).append(found["seconds"])
        top = max(height for each in runs.values() for draws in each for height in draws.heights)
        rates = {
            method: [draws.ess / t for draws, t in zip(runs[method], times[method], strict=True)]
            for method in runs
        }
        for method, each in runs.items():
            chains = [height for draws in each for height in draws.heights]
            wrong = sum(height < top - WRONG for height in chains)
            off = [
                np.max(np.abs(d.mean - reference.mean) / np.hypot(d.mcse, reference.mcse))
                for d in each
            ]
            relative = [a / b for a, b in zip(rates["pmnbmix"], rates[method], strict=False)]
            rows.append(
                {
                    "counts": case,
                    "method": method,
                    "chains in a wrong mode": f"{wrong} of {len(chains)}",
                    "largest error, MCSE": spread(off, 2),
                    "seconds": spread(times[method]),
                    "smallest ESS": spread([draws.ess for draws in each]),
                    "ESS/s of ours over theirs": spread(relative, 2),
                }
            )
    return pd.DataFrame(rows)


def shared(task: str, word: str) -> pd.DataFrame:
    """Comparison within one process."""
    found = process(sys.executable, "shared.py", task)
    if "failed" in found:
        raise RuntimeError(f"{task}: {found['failed']}")
    rows = []
    for row in found:
        ours = next(one for one in found if one["case"] == row["case"])
        relative = ratios({"ours": ours["seconds"], "it": row["seconds"]}, "ours")["it"]
        value = "not comparable" if np.isnan(row["accuracy"]) else f"{row['accuracy']:.10g}"
        rows.append(
            {
                "counts": row["case"],
                "method": row["method"],
                word: value,
                "seconds": spread(row["seconds"]),
                "times ours": relative,
            }
        )
    return pd.DataFrame(rows)


def hardware() -> str:
    """Processor, cores, memory and system."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else 'unknown'}, {os.cpu_count()} cores, {memory:.0f} GB"


def versions(pythons: dict[str, str]) -> str:
    """Versions of everything that took part."""
    mine = [f"Python {platform.python_version()}"]
    mine += [
        f"{p} {version(p)}"
        for p in ("pmnbmix", "pymc", "nutpie", "arviz", "numba", "numpy", "scipy", "scikit-learn")
    ]
    for name, packages in (("NumPyro", ("numpyro", "jax")), ("Stan", ("pystan", "httpstan"))):
        if pythons[name]:
            code = (
                "import sys; from importlib.metadata import version as v;"
                f"print(*(p + ' ' + v(p) for p in {packages!r}), 'on Python',"
                " '.'.join(map(str, sys.version_info[:3])), sep=' ')"
            )
            run = subprocess.run(  # noqa: S603
                [pythons[name], "-c", code], capture_output=True, text=True, check=True
            )
            mine.append(run.stdout.strip())
        else:
            mine.append(f"{name} not run: no interpreter with it was given")
    return "; ".join(mine)


def markdown(table: pd.DataFrame) -> str:
    """Table in Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * table.shape[1]]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.to_numpy()]
    return "\n".join(lines)


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--numpyro", default="")
    parser.add_argument("--stan", default="")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.with_suffix(".md"))
    given = parser.parse_args()
    pythons = {"NumPyro": given.numpyro, "Stan": given.stan}
    with tempfile.TemporaryDirectory() as folder:
        files = {case: Path(folder) / f"{case}.npz" for case in CASES}
        for case, path in files.items():
            write(case, K, path)
        # compiled once, so that no turn pays for it
        process(sys.executable, "estimate.py", "pmnbmix fit_map", files[CASES[0]], 0)
        parts = {
            "POINTS": points(files, pythons, given.repeats),
            "POSTERIORS": posteriors(files, pythons, given.repeats),
            "LABELS": shared("labels", "share of draws put right"),
            "LOO": shared("loo", "elpd"),
            "COLUMNS": shared("columns", "within 0.01 nats"),
        }
    page = (HERE / "page.md").read_text()
    for name, table in parts.items():
        page = page.replace("{" + name + "}", markdown(table))
    page = page.replace("{HARDWARE}", hardware()).replace("{VERSIONS}", versions(pythons))
    page = page.replace("{REFERENCE}", "Stan" if pythons.get("Stan") else "pmnbmix")
    given.out.write_text(page.replace("{REPEATS}", str(given.repeats)))


if __name__ == "__main__":
    main()
