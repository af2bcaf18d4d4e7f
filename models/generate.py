"""Make the numbers of the Stan twin, ``reference/stan.json``, that the tests replay.

Run by hand, in an environment of its own, for Stan is no dependency of the project::

    python3.12 -m venv ../stan && ../stan/bin/pip install pystan setuptools arviz
    ../stan/bin/python models/generate.py

It needs a C++ compiler and takes a minute. Nothing of `pmnbmix` is imported: counts, priors and
points are written out or drawn here, and ArviZ only sums up Stan's draws.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import arviz as az
import httpstan
import numpy as np
import stan
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent
PROGRAM = (FOLDER / "mixture.stan").read_text(encoding="utf-8")
PARAMETERS = ("weights", "log_means", "log_dispersions")
POINTS = 50
SEED = 20261124
# Enough draws that the Monte Carlo error compared with is mostly that of the package.
CHAINS, DRAWS, WARM_UP, DELTA = 4, 5000, 2000, 0.95
# What the chains start from, and what the separated counts were drawn from.
TRUTH = {
    "weights": [0.4, 0.6],
    "log_means": np.log([2.0, 20.0]).tolist(),
    "log_dispersions": np.log([0.3, 0.2]).tolist(),
}


def by_value(*frequencies: int) -> dict[str, list[float]]:
    """Rows of a table of frequencies of 0, 1, 2, ..., without exposures."""
    seen = [value for value, frequency in enumerate(frequencies) if frequency]
    return {
        "x": seen,
        "exposure": [1.0] * len(seen),
        "frequency": [frequencies[value] for value in seen],
    }


DATA: dict[str, dict[str, list[float]]] = {
    "crab_satellites": by_value(62, 16, 9, 19, 19, 15, 13, 4, 6, 3, 3, 1, 1, 0, 1, 1),
    # Three components with means 0.5, 4 and 25, drawn once; frequencies too, to see them used.
    "exposed": {
        "x": [
            *(4, 22, 0, 2, 4, 5, 4, 7, 2, 4, 97, 4, 3, 10, 1, 10, 0, 4, 1, 0),
            *(3, 0, 7, 4, 19, 27, 4, 0, 0, 2, 4, 0, 0, 8, 5, 65, 0, 5, 0, 0),
        ],
        "exposure": [
            *(1.1, 0.33, 0.54, 0.94, 0.43, 0.92, 1.09, 1.03, 0.63, 1.71),
            *(2.23, 1.33, 0.48, 1.93, 0.64, 2.21, 0.38, 2.28, 0.98, 0.33),
            *(0.75, 1.05, 1.28, 0.41, 0.37, 1.2, 0.66, 1.24, 1.98, 0.23),
            *(1.26, 3.01, 0.77, 0.48, 1.97, 1.26, 2.24, 0.73, 0.26, 0.91),
        ],
        "frequency": [
            *(1, 3, 2, 2, 3, 3, 1, 2, 3, 3, 2, 1, 2, 1, 3, 1, 2, 2, 2, 2),
            *(3, 2, 2, 2, 3, 2, 2, 3, 1, 2, 3, 3, 2, 1, 2, 2, 3, 2, 2, 2),
        ],
    },
    # 300 counts of TRUTH, drawn once.
    "separated": by_value(
        *(34, 24, 22, 27, 13, 6, 9, 5, 5, 5, 6, 5, 9, 16, 3, 7, 6, 8, 10, 9),
        *(3, 8, 1, 5, 3, 2, 7, 7, 6, 2, 2, 0, 6, 3, 4, 1, 0, 2, 3, 1),
        *(1, 0, 1, 1, 0, 0, 0, 1, *[0] * 28, 1),
    ),
}


def default_prior(data: dict[str, list[float]]) -> dict[str, float]:
    """Return the default priors in numbers; the means are centred on the overall rate."""
    total = np.dot(data["frequency"], data["x"])
    return {
        "concentration": 2.0,
        "log_mean_loc": math.log(total / np.dot(data["frequency"], data["exposure"])),
        "log_mean_scale": 2.0,
        "log_dispersion_loc": 0.0,
        "log_dispersion_scale": 2.0,
    }


PRIORS = {
    "crab_satellites": default_prior(DATA["crab_satellites"]),
    # Five different numbers, so that none can stand in for another.
    "exposed": {
        "concentration": 0.7,
        "log_mean_loc": 0.5,
        "log_mean_scale": 1.5,
        "log_dispersion_loc": -1.3,
        "log_dispersion_scale": 2.2,
    },
    "separated": default_prior(DATA["separated"]),
}


def build(name: str, n_components: int) -> stan.model.Model:
    """Compile the program, once, and give it a data set."""
    data = {"N": len(DATA[name]["x"]), "K": n_components, **DATA[name], **PRIORS[name]}
    return stan.build(PROGRAM, data=data, random_seed=SEED)


def draw_points(n_components: int, centre: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw points to compare at: half where posteriors lie, half far out, near Poisson too."""
    points = []
    for index in range(POINTS):
        far = index >= POINTS // 2
        log_means = rng.normal(centre, 2.5 if far else 1.0, n_components)
        log_dispersions = rng.normal(-1.0, 3.0 if far else 1.0, n_components)
        weights = rng.dirichlet(np.full(n_components, 0.5 if far else 2.0))
        # few digits, and no weight of 0; the last makes up the sum
        first = [max(round(weight, 4), 1e-4) for weight in weights[:-1].tolist()]
        last = round(1.0 - sum(first), 4)
        points.append(
            {
                "weights": [*first, last] if last > 0.0 else [1.0 / n_components] * n_components,
                "log_means": log_means.round(4).tolist(),
                "log_dispersions": log_dispersions.round(4).tolist(),
            }
        )
    return points


def simplex_basis(model: stan.model.Model, n_components: int) -> list[list[float]]:
    """Return the centred log weights at each unit coordinate of Stan's simplex, a row each.

    Raises
    ------
    RuntimeError
        Where the transform is not linear in the log weights, as before Stan 2.37.
    """

    def centred(coordinates: Floats) -> Floats:
        position = [*coordinates.tolist(), *[0.0] * (2 * n_components)]
        logs = np.log(model.constrain_pars(position)[:n_components])
        return np.asarray(logs - logs.mean())

    basis = np.array([centred(unit) for unit in np.eye(n_components - 1)])
    if n_components > 1:
        somewhere = np.linspace(-1.0, 2.0, n_components - 1)
        if not np.allclose(centred(somewhere), somewhere @ basis, rtol=0, atol=1e-12):
            raise RuntimeError("Stan's simplex is not linear in the log weights: use 2.37 or later")
    return basis.tolist()


def make_case(name: str, n_components: int, rng: np.random.Generator) -> dict[str, Any]:
    """Evaluate log density and gradient at points under one data set and number of components."""
    model = build(name, n_components)
    points = draw_points(n_components, PRIORS[name]["log_mean_loc"], rng)
    log_density, gradient = [], []
    for point in points:
        position = model.unconstrain_pars(point)
        log_density.append(model.log_prob(position, adjust_transform=False))
        gradient.append(model.grad_log_prob(position))
    return {
        "data": name,
        "n_components": n_components,
        "prior": PRIORS[name],
        "simplex_basis": simplex_basis(model, n_components),
        **{parameter: [point[parameter] for point in points] for parameter in PARAMETERS},
        "log_density": log_density,
        "gradient": gradient,
    }


def summarise(posterior: Any) -> dict[str, dict[str, list[float]]]:
    """Mean and sd of every parameter with their Monte Carlo errors."""
    out = {}
    for name in PARAMETERS:
        one = posterior[name].to_dataset(name="x")
        out[name] = {
            "mean": one["x"].mean(("chain", "draw")).values.tolist(),
            "sd": one["x"].std(("chain", "draw"), ddof=1).values.tolist(),
            "mcse_mean": az.mcse(one, method="mean")["x"].values.tolist(),
            "mcse_sd": az.mcse(one, method="sd")["x"].values.tolist(),
            "ess_bulk": az.ess(one, method="bulk")["x"].values.tolist(),
            "ess_tail": az.ess(one, method="tail")["x"].values.tolist(),
            "r_hat": az.rhat(one)["x"].values.tolist(),
        }
    return out


def make_posterior(name: str) -> dict[str, Any]:
    """Sample by Stan's own NUTS from the truth, and sum up with components ordered by mean.

    Raises
    ------
    RuntimeError
        Where a check fails; nothing is written then.
    """
    fit = build(name, 2).sample(
        num_chains=CHAINS,
        num_samples=DRAWS,
        num_warmup=WARM_UP,
        delta=DELTA,
        init=[TRUTH] * CHAINS,
    )
    # pystan gives (component, draw and chain); ArviZ takes (chain, draw, component)
    draws = {
        parameter: fit[parameter].reshape(2, DRAWS, CHAINS).transpose(2, 1, 0)
        for parameter in PARAMETERS
    }
    order = draws["log_means"].argsort(axis=-1)
    swapped = int((order[..., 0] != 0).sum())
    ordered = {key: np.take_along_axis(value, order, axis=-1) for key, value in draws.items()}
    energy = fit["energy__"].reshape(DRAWS, CHAINS).T
    tree = az.from_dict({"posterior": ordered, "sample_stats": {"energy": energy}})
    summary = summarise(tree["posterior"].to_dataset())
    checks = {
        "divergences": int(fit["divergent__"].sum()),
        "largest_tree_depth": int(fit["treedepth__"].max()),
        "smallest_e_bfmi": float(az.bfmi(tree)["energy"].min()),
        "largest_r_hat": max(max(one["r_hat"]) for one in summary.values()),
        "smallest_ess": min(
            min(one[kind]) for one in summary.values() for kind in ("ess_bulk", "ess_tail")
        ),
        "draws_with_swapped_labels": swapped,
    }
    sound = (
        checks["divergences"] == 0
        and checks["largest_tree_depth"] < 10
        and checks["smallest_e_bfmi"] > 0.3
        and checks["largest_r_hat"] < 1.01
        and checks["smallest_ess"] > 1000
        # one label switched would mean that the components are not as separated as they should be
        and swapped == 0
    )
    if not sound:
        raise RuntimeError(f"the posterior is not to be relied on: {checks}")
    return {
        "data": name,
        "n_components": 2,
        "prior": PRIORS[name],
        "method": "NUTS of Stan, chains started at the truth, components ordered by mean",
        "settings": {
            "chains": CHAINS,
            "draws": DRAWS,
            "warm_up": WARM_UP,
            "delta": DELTA,
            "random_seed": SEED,
        },
        "checks": checks,
        "summary": summary,
    }


def stan_version() -> str:
    """Version of Stan that httpstan carries, which no function of it tells."""
    header = Path(httpstan.__file__).parent / "include" / "stan" / "version.hpp"
    text = header.read_text(encoding="utf-8")
    numbers = [re.search(rf"STAN_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(number[1] for number in numbers if number)


def as_text(record: Any, depth: int = 0) -> str:
    """JSON with a line for each entry of a mapping and each row of a list of rows."""
    pad = " " * (depth + 1)
    if isinstance(record, dict):
        entries = [f"{json.dumps(key)}: {as_text(one, depth + 1)}" for key, one in record.items()]
        left, right = "{", "}"
    elif isinstance(record, list) and record and isinstance(record[0], list | dict):
        entries = [as_text(one, depth + 1) for one in record]
        left, right = "[", "]"
    else:
        return json.dumps(record, allow_nan=False)
    return f"{left}\n" + ",\n".join(pad + one for one in entries) + f"\n{' ' * depth}{right}"


def main() -> None:
    """Write the file."""
    rng = np.random.default_rng(SEED)
    cases = [
        make_case(name, n_components, rng)
        for name in ("crab_satellites", "exposed")
        for n_components in (1, 2, 3)
    ]
    record = {
        "log_density": "of (weights, log_means, log_dispersions), all constants, no Jacobian",
        "gradient": (
            "of the log density with Jacobian, in Stan's coordinates: n_components - 1 of the "
            "simplex, then log_means, then log_dispersions; log weights less their average are "
            "the first of these times simplex_basis"
        ),
        "versions": {
            "stan": stan_version(),
            **{package: version(package) for package in ("pystan", "httpstan", "numpy", "arviz")},
        },
        # tests see by it whether the numbers are those of the program as it now stands
        "sha256_of_program": hashlib.sha256(PROGRAM.encode()).hexdigest(),
        "data": DATA,
        "cases": cases,
        "posterior": make_posterior("separated"),
    }
    path = FOLDER / "reference" / "stan.json"
    path.write_text(as_text(record) + "\n", encoding="utf-8")
    print(path, record["posterior"]["checks"])  # noqa: T201


if __name__ == "__main__":
    main()
