"""Make the reference posteriors: long runs of the pm.Model by PyMC's own sampler.

Run by hand from the top folder: ``uv run python models/make_reference.py`` (about twenty minutes).
It shares the model with the package but neither its compiled density nor its sampler.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import arviz as az
import numpy as np
import xarray as xr

import pmnbmix as nb

FOLDER = Path(__file__).parent / "reference"
RUNS = {
    ("crab_satellites", 2): {"draws": 100_000, "tune": 3_000, "target_accept": 0.95},
    ("doctor_visits", 2): {"draws": 100_000, "tune": 3_000, "target_accept": 0.95},
    ("red_mites", 2): {"draws": 50_000, "tune": 3_000, "target_accept": 0.95},
    ("droplets", 2): {"draws": 4_000, "tune": 1_000, "target_accept": 0.9},
}
PARAMETERS = ("weights", "means", "dispersions")
SEED = 20261123


def counts_of(name: str) -> nb.Counts:
    """A built-in set, or the simulated droplets."""
    if name == "droplets":
        return nb.simulate_droplets(2000, random_seed=0)
    return nb.load_dataset(name)


def summarise(posterior: xr.Dataset) -> dict[str, dict[str, list[float]]]:
    """Mean and sd with their Monte Carlo errors, of every parameter and of its logarithm."""
    out = {}
    for name in PARAMETERS:
        for label, variable in ((name, posterior[name]), (f"log_{name}", np.log(posterior[name]))):
            one = variable.to_dataset(name="x")
            out[label] = {
                "mean": one["x"].mean(("chain", "draw")).values.tolist(),
                "sd": one["x"].std(("chain", "draw"), ddof=1).values.tolist(),
                "mcse_mean": az.mcse(one, method="mean")["x"].values.tolist(),
                "mcse_sd": az.mcse(one, method="sd")["x"].values.tolist(),
                "ess_bulk": az.ess(one)["x"].values.tolist(),
                "r_hat": az.rhat(one)["x"].values.tolist(),
            }
    return out


def main(only: list[str]) -> None:
    """Run what is named, or everything."""
    for (name, n_components), settings in RUNS.items():
        if only and name not in only:
            continue
        counts = counts_of(name)
        spec = nb.MixtureSpec(n_components)
        tree = nb.sample(counts, spec, engine="pymc", random_seed=SEED, **settings)
        diagnosis = nb.diagnose(tree)
        record = {
            "data": name,
            "n_components": n_components,
            "spec": spec.resolve(counts).to_dict(),
            "method": "NUTS of PyMC on build_model(likelihood='pymc'), 4 chains",
            "settings": {**settings, "random_seed": SEED},
            "checks": {
                "density_ok": diagnosis.density_ok,
                "components_ok": diagnosis.components_ok,
                "divergences": int(tree["sample_stats"]["diverging"].sum()),
            },
            "versions": {package: version(package) for package in ("pymc", "pytensor", "numpy")},
            "summary": summarise(tree["posterior"].to_dataset()),
        }
        path = FOLDER / f"{name}_K{n_components}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(path, record["checks"])  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
