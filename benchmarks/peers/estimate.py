"""One point estimate by one method in this process: parameters and seconds as a line of JSON.

    python estimate.py METHOD CASE.npz SEED

Seconds count what a user waits for after imports, compilation included.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from posterior import NAMES

Found = tuple[float, list[Any]]


def _counts(case: Any) -> Any:
    """Every observation, as a user has them."""
    import pmnbmix as nb

    times = case["frequency"].astype(int)
    exposure = np.repeat(case["exposure"], times) if case["has_exposure"] else None
    return nb.Counts(np.repeat(case["values"], times), exposure)


def fit_em(case: Any, seed: int) -> Found:
    """Maximum likelihood from the whole pool of starts."""
    import pmnbmix as nb

    fit = nb.fit_em
    counts = _counts(case)
    begin = time.perf_counter()
    params = fit(counts, int(case["k"]), random_seed=seed).params
    seconds = time.perf_counter() - begin
    return seconds, [params.weights, params.means, params.dispersions]


def fit_map(case: Any, seed: int) -> Found:
    """Maximum of the posterior density from the whole pool of starts."""
    import pmnbmix as nb

    fit = nb.fit_map
    counts = _counts(case)
    begin = time.perf_counter()
    params = fit(counts, nb.MixtureSpec(int(case["k"])), random_seed=seed).params
    seconds = time.perf_counter() - begin
    return seconds, [params.weights, params.means, params.dispersions]


def scipy_by_hand(case: Any, seed: int) -> Found:
    """L-BFGS on the likelihood as one writes it with scipy.stats, from one random start."""
    from scipy import optimize, special, stats

    k = int(case["k"])
    values, exposure, frequency = case["values"], case["exposure"], case["frequency"]
    rng = np.random.default_rng(seed)
    centre = np.log((frequency * values).sum() / (frequency * exposure).sum())
    start = np.concatenate([np.zeros(k - 1), centre + rng.normal(0, 1, k), np.zeros(k)])

    def unpacked(flat: np.ndarray) -> list[np.ndarray]:
        weights = special.softmax(np.append(flat[: k - 1], 0.0))
        return [weights, np.exp(flat[k - 1 : 2 * k - 1]), np.exp(flat[2 * k - 1 :])]

    def loss(flat: np.ndarray) -> float:
        weights, means, dispersions = unpacked(flat)
        size = 1 / dispersions
        rate = exposure[:, None] * means
        terms = stats.nbinom.logpmf(values[:, None], size, size / (size + rate))
        return -float(frequency @ special.logsumexp(np.log(weights) + terms, axis=1))

    begin = time.perf_counter()
    found = optimize.minimize(loss, start, method="L-BFGS-B")
    return time.perf_counter() - begin, unpacked(found.x)


def find_map(case: Any, seed: int) -> Found:
    """pm.find_MAP of pm.Mixture from PyMC's own start."""
    import pymc as pm

    from models import pymc_model

    begin = time.perf_counter()
    with pymc_model(case):
        found = pm.find_MAP(progressbar=False, seed=seed)
    seconds = time.perf_counter() - begin
    weights, log_means, log_dispersions = (found[name] for name in NAMES)
    return seconds, [weights, np.exp(log_means), np.exp(log_dispersions)]


def numpyro_svi(case: Any, seed: int) -> Found:
    """NumPyro's AutoDelta, 3,000 steps of Adam, from its own start."""
    import jax
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoDelta

    from models import numpyro_model

    numpyro.enable_x64()
    begin = time.perf_counter()
    model = numpyro_model(case)
    guide = AutoDelta(model)
    svi = SVI(model, guide, numpyro.optim.Adam(0.02), Trace_ELBO())
    run = svi.run(jax.random.PRNGKey(seed), 3000, progress_bar=False)
    found = guide.median(run.params)
    weights, log_means, log_dispersions = (np.asarray(found[name]) for name in NAMES)
    return time.perf_counter() - begin, [weights, np.exp(log_means), np.exp(log_dispersions)]


METHODS = {
    "pmnbmix fit_em": fit_em,
    "pmnbmix fit_map": fit_map,
    "scipy, by hand": scipy_by_hand,
    "PyMC find_MAP": find_map,
    "NumPyro AutoDelta": numpyro_svi,
}


def main() -> None:
    """Run one method."""
    warnings.simplefilter("ignore")
    method, path, seed = sys.argv[1:4]
    seconds, parts = METHODS[method](dict(np.load(path)), int(seed))
    params = [np.asarray(part).tolist() for part in parts]
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "params": params}) + "\n")


if __name__ == "__main__":
    main()
