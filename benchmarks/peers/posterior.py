"""One posterior by one method in this process: draws into a file, seconds as a line of JSON.

    python posterior.py METHOD CASE.npz DRAWS.npz SEED [TIMES]

Seconds count from arrays in memory to draws: building, compiling, finding a start, tuning and
sampling; imports are not counted. A method whose name ends in "our start" starts in our mode, the
others where their package starts by itself. This file is also run by interpreters that have no
pmnbmix. With TIMES Stan makes so many times as many draws.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("weights", "log_means", "log_dispersions")
TUNE, DRAWS, CHAINS = 1000, 1000, 4
# Where all rows are many a peer gets fewer draws: it is the rate that is compared.
_MANY = 5000


def pmnbmix(case: Any, seed: int, _: bool) -> tuple[float, list[np.ndarray]]:
    """Draws of `sample` with its defaults."""
    # what is imported on first use, as the peers' packages are below
    import arviz  # noqa: F401
    import nutpie  # noqa: F401
    import pymc  # noqa: F401

    import pmnbmix as nb

    sample = nb.sample
    values, exposure = (
        np.repeat(case[name], case["frequency"].astype(int)) for name in ("values", "exposure")
    )
    counts = nb.Counts(values, exposure if case["has_exposure"] else None)
    begin = time.perf_counter()
    tree = sample(counts, nb.MixtureSpec(int(case["k"])), random_seed=seed, progressbar=False)
    seconds = time.perf_counter() - begin
    posterior = tree["posterior"].to_dataset()
    draws = [posterior[name].values for name in ("weights", "means", "dispersions")]
    return seconds, [draws[0], np.log(draws[1]), np.log(draws[2])]


def pymc(case: Any, seed: int, from_ours: bool) -> tuple[float, list[np.ndarray]]:
    """pm.sample of pm.Mixture on every observation."""
    import nutpie  # noqa: F401
    import pymc as pm

    from models import pymc_model

    few = case["frequency"].sum() > _MANY
    extra = {}
    if from_ours:
        extra["initvals"] = {name: case[name] for name in NAMES}
        # with jitter half the chains end in lower modes
        extra["compile_kwargs"] = {"jitter_rvs": set()}
    begin = time.perf_counter()
    with pymc_model(case):
        trace = pm.sample(
            200 if few else DRAWS,
            tune=200 if few else TUNE,
            chains=CHAINS,
            random_seed=seed,
            progressbar=False,
            compute_convergence_checks=False,
            **extra,
        )
    seconds = time.perf_counter() - begin
    posterior = trace["posterior"].to_dataset()
    return seconds, [posterior[name].values for name in NAMES]


def numpyro(case: Any, seed: int, from_ours: bool) -> tuple[float, list[np.ndarray]]:
    """NumPyro's NUTS on distinct rows."""
    import jax
    import numpyro
    from numpyro.infer import MCMC, NUTS, init_to_uniform, init_to_value

    from models import numpyro_model

    numpyro.enable_x64()
    start = (
        init_to_value(values={name: case[name] for name in NAMES})
        if from_ours
        else init_to_uniform()
    )
    begin = time.perf_counter()
    run = MCMC(
        NUTS(numpyro_model(case), init_strategy=start),
        num_warmup=500,
        num_samples=500,
        num_chains=CHAINS,
        chain_method="sequential",
        progress_bar=False,
    )
    run.run(jax.random.PRNGKey(seed))
    found = run.get_samples(group_by_chain=True)
    draws = [np.asarray(found[name]) for name in NAMES]
    return time.perf_counter() - begin, draws


def stan(case: Any, seed: int, from_ours: bool) -> tuple[float, list[np.ndarray]]:
    """Stan on distinct rows; its program is compiled in an earlier call and kept."""
    import stan as pystan

    code = (Path(__file__).parents[2] / "models" / "mixture.stan").read_text()
    data = {
        "N": int(case["values"].size),
        "K": int(case["k"]),
        "x": case["values"].tolist(),
        "exposure": case["exposure"].tolist(),
        "frequency": case["frequency"].astype(float).tolist(),
        "concentration": 2.0,
        "log_mean_loc": float(case["log_mean_loc"]),
        "log_mean_scale": 2.0,
        "log_dispersion_loc": 0.0,
        "log_dispersion_scale": 2.0,
    }
    extra = {"init": [{name: case[name].tolist() for name in NAMES}] * CHAINS} if from_ours else {}
    model = pystan.build(code, data=data, random_seed=seed)
    begin = time.perf_counter()
    draws = DRAWS * int(sys.argv[5] if len(sys.argv) > 5 else 1)
    fit = model.sample(num_chains=CHAINS, num_warmup=TUNE, num_samples=draws, **extra)
    seconds = time.perf_counter() - begin
    # (k, draws x chains), chains side by side at every draw
    shaped = [fit[name].reshape(int(case["k"]), draws, CHAINS) for name in NAMES]
    return seconds, [array.transpose(2, 1, 0) for array in shaped]


METHODS = {"pmnbmix": pmnbmix, "PyMC": pymc, "NumPyro": numpyro, "Stan": stan}


def main() -> None:
    """Run one method."""
    warnings.simplefilter("ignore")
    method, path, out, seed = sys.argv[1:5]
    name, _, start = method.partition(", ")
    case = dict(np.load(path))
    seconds, draws = METHODS[name](case, int(seed), start == "our start")
    np.savez(out, **dict(zip(NAMES, draws, strict=True)))
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
