"""Make what is simulated here, and find its best log likelihoods without the package.

``python -m tests.reference.make`` (a few minutes) writes droplets.npz and its entries of
optima.json. Densities are those of scipy's special functions, maxima those of L-BFGS-B from random
starts; the oracle shares neither with the package.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import optimize, special

FOLDER = Path(__file__).parent
# the estimate of three components for the size factors of droplets, and one droplet far out
WEIGHTS, MEANS = (0.21, 0.40, 0.39), (402.0, 1402.0, 1759.0)
DISPERSIONS, FAR_OUT = (0.073, 0.355, 0.0076), 14011
N_DROPLETS, RATE, SEED = 2000, 1e-5, 6


def simulate() -> tuple[np.ndarray, np.ndarray]:
    """All molecules of each droplet, and those of a rare kind among them."""
    rng = np.random.default_rng(SEED)
    component = rng.choice(3, N_DROPLETS, p=WEIGHTS)
    shape = 1.0 / np.array(DISPERSIONS)[component]
    total = rng.poisson(rng.gamma(shape, np.array(MEANS)[component] / shape))
    total[0] = FAR_OUT
    # of a kind that is rare, though fifty times less so in one droplet of fifty
    rate = RATE * np.where(rng.random(N_DROPLETS) < 0.02, 50.0, 1.0)
    return total, rng.poisson(rate * total)


def log_likelihood(
    packed: np.ndarray, values: np.ndarray, exposure: np.ndarray, frequency: np.ndarray
) -> float:
    """Of logits against the last, log means and log dispersions."""
    k = (packed.size + 1) // 3
    log_weights = special.log_softmax(np.append(packed[: k - 1], 0.0))
    shape = np.exp(-packed[2 * k - 1 :])
    rate = exposure[:, None] * np.exp(packed[k - 1 : 2 * k - 1])
    counts = values[:, None]
    parts = special.gammaln(counts + shape) - special.gammaln(shape)
    parts -= special.gammaln(counts + 1.0) + shape * np.log1p(rate / shape)
    parts += counts * np.log(rate / (shape + rate)) + log_weights
    return float(frequency @ special.logsumexp(parts, axis=1))


def optima(values: np.ndarray, exposure: np.ndarray, k: int, n_starts: int) -> np.ndarray:
    """Log likelihood where each start ends, highest first."""
    rows, frequency = np.unique(np.stack([values, exposure]), axis=1, return_counts=True)
    rng, rates = np.random.default_rng(0), values / exposure
    # no farther than the largest rate, and dispersions no nearer to 0 than differs by 1e-4 nats
    limits = [(-12, 12)] * (k - 1) + [(-16, np.log(rates.max()))] * k + [(-18, 5)] * k
    found = []
    for _ in range(n_starts):
        means = np.log(rng.choice(rates[rates > 0], k))
        start = np.concatenate([rng.normal(0, 2, k - 1), means, rng.normal(-2, 2, k)])
        start = np.clip(start, *np.transpose(limits))
        ended = optimize.minimize(
            lambda packed: -log_likelihood(packed, *rows, frequency),
            start, method="L-BFGS-B", bounds=limits, options={"maxiter": 2000, "maxfun": 100_000},
        )  # fmt: skip
        found.append(-ended.fun)
    return np.sort(found)[::-1]


def main() -> None:
    """Write the counts, and the best of each number of components that was found for them."""
    total, rare = simulate()
    np.savez_compressed(FOLDER / "droplets.npz", total=total.astype("i4"), rare=rare.astype("i1"))
    file = FOLDER / "optima.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    ones = np.ones(N_DROPLETS)
    for name, values, exposure in (("droplets", total, ones), ("rare", rare, total.astype(float))):
        alone, ends = (optima(values, exposure, k, 60).round(4) for k in (1, 2))
        # two components that are the same are a saddle, where some starts end all the same
        ends = ends[ends > alone[0] + 0.1]
        first = np.append(True, -np.diff(ends) > 1.0)
        kept[name] = {"best": [alone[0], ends[0]], "optima of 2": ends[first].tolist()}
    file.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
