"""Simulate ranks under the prior, intervals at a fixed truth, and the bootstrap test.

Parameters are drawn from the resolved prior and counts from them; where the posterior is computed
rightly, the rank of each true quantity among its posterior draws is uniform (Talts et al. 2018,
arXiv:1804.06788). Quantities do not depend on labels: components are sorted by their means. The log
likelihood depends on the data, which sees errors that parameters do not (Modrak et al. 2023,
doi:10.1214/23-BA1404).
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

import pmnbmix as nb
from pmnbmix.labels.gates import judge
from pmnbmix.tree.reading import read

LOG_MEAN = 1.5
BLOCK = 20
_MOST_DRAWS = 400
# Priors on log dispersions by name: the default, one for counts that are expected to be near
# Poisson (median 0.05), one for strong overdispersion (median 4.5).
PRIORS = {
    "default": nb.MixtureSpec(1).log_dispersions,
    "near Poisson": nb.NormalPrior(-3.0, 1.5),
    "overdispersed": nb.NormalPrior(1.5, 1.0),
}
# Kinds of setting that rank truths from the prior: by `sample`, and by what `sample_columns` does,
# importance sampling around the mode and `sample` where that cannot be trusted.
RANKED = ("ranks", "columns")
# Fixed truths by name: weights, means, dispersions.
TRUTHS = {
    "separated": nb.MixtureParams([0.6, 0.4], [5.0, 50.0], [0.3, 0.3]),
    "overlapping": nb.MixtureParams([0.5, 0.5], [8.0, 16.0], [0.2, 0.2]),
    "equal means": nb.MixtureParams([0.7, 0.3], [6.0, 6.0], [0.1, 2.0]),
}
# Laws under which the bootstrap test of one component against two is run.
LAWS = {
    "one component": nb.MixtureParams([1.0], [6.0], [0.5]),
    "one, Poisson": nb.MixtureParams([1.0], [6.0], [0.0]),
    "two, overlapping": TRUTHS["overlapping"],
    "two, separated": TRUTHS["separated"],
}


@dataclass(frozen=True)
class Setting:
    """What is simulated, and how often."""

    kind: str
    simulations: int
    name: str = "default"
    k: int = 0
    n: int = 200
    exposed: bool = False

    @property
    def label(self) -> str:
        """Name of a file of this setting, unique among settings."""
        exposed = "exposed" if self.exposed else "plain"
        return f"{self.kind}_{self.name}_{self.k}_{self.n}_{exposed}".replace(" ", "-")


# In the order in which they are run.
SETTINGS = (
    *(Setting("ranks", 1000, k=k) for k in (1, 2, 3)),
    *(Setting("ranks", 1000, k=k, exposed=True) for k in (1, 2)),
    *(Setting("ranks", 200, k=k, n=n) for k in (1, 2, 3) for n in (50, 1000)),
    *(Setting("ranks", 200, k=k, n=50, exposed=True) for k in (1, 2, 3)),
    *(
        Setting("ranks", 200, name, k, exposed=exposed)
        for name in ("near Poisson", "overdispersed")
        for k in (1, 2)
        for exposed in (False, True)
    ),
    *(Setting("columns", 200, k=k) for k in (1, 2)),
    # so many distinct exposures are replaced by fewer points of quadrature
    Setting("ranks", 100, k=1, n=4000, exposed=True),
    *(Setting("fixed", 200, name, 2) for name in TRUTHS),
    *(Setting("test", 200, name) for name in LAWS),
    Setting("ranks", 200, k=1, n=1000, exposed=True),
    Setting("ranks", 200, k=3, exposed=True),
    # a posterior of these takes 10 and 40 seconds of a core
    Setting("ranks", 100, k=2, n=1000, exposed=True),
    Setting("ranks", 40, k=3, n=1000, exposed=True),
)


def quantities(
    weights: np.ndarray, means: np.ndarray, dispersions: np.ndarray
) -> dict[str, np.ndarray]:
    """Label-invariant quantities of draws (n, k)."""
    k = means.shape[1]
    order = np.argsort(means, axis=1)
    sorted_ = [np.take_along_axis(array, order, 1) for array in (weights, means, dispersions)]
    out = {}
    for name, array in zip(("weight", "mean", "dispersion"), sorted_, strict=True):
        for j in range(k if name != "weight" else k - 1):
            out[f"{name} {j}" if k > 1 else name] = array[:, j]
    if k > 1:
        out["mixture mean"] = (weights * means).sum(axis=1)
    return out


def _spec(setting: Setting) -> nb.MixtureSpec:
    """Return the model whose prior the truths are drawn from."""
    return nb.MixtureSpec(
        setting.k,
        log_means=nb.NormalPrior(LOG_MEAN, 2.0),
        log_dispersions=PRIORS[setting.name if setting.kind in RANKED else "default"],
    )


def _drawn(spec: nb.MixtureSpec, rng: np.random.Generator) -> nb.MixtureParams:
    """Draw parameters from a prior."""
    k = spec.n_components
    weights = rng.dirichlet(np.full(k, spec.weights.concentration))
    means = np.exp(rng.normal(spec.log_means.loc, spec.log_means.scale, k))
    prior = spec.log_dispersions
    dispersions = np.exp(rng.normal(prior.loc, prior.scale, k))
    return nb.MixtureParams(weights / weights.sum(), means, dispersions)


def posterior_at(setting: Setting, rng: np.random.Generator) -> dict[str, float]:
    """Ranks of the true quantities, as shares, among thinned and among all posterior draws."""
    spec = _spec(setting)
    truth = _drawn(spec, rng) if setting.kind in RANKED else TRUTHS[setting.name]
    exposure = np.exp(rng.normal(0.0, 0.7, setting.n)) if setting.exposed else None
    counts = nb.Counts(truth.sample(setting.n, rng, exposure)[0], exposure)
    if setting.kind == "fixed":
        spec = nb.MixtureSpec(setting.k)
    tree = _posterior(counts, spec, setting, rng)
    posterior = tree["posterior"].to_dataset()
    flat = [
        posterior[name].values.reshape(-1, setting.k)
        for name in ("weights", "means", "dispersions")
    ]
    draws = quantities(*flat)
    true = quantities(truth.weights[None], truth.means[None], truth.dispersions[None])
    unique = tree["log_likelihood_unique"].to_dataset()
    rows = next(iter(unique.data_vars.values())).values
    draws["log likelihood"] = (rows @ unique["frequency"].values).ravel()
    table = counts.table
    true["log likelihood"] = np.array(
        [table.frequency @ truth.logpmf(table.values.astype(int), table.exposure)]
    )
    # importance sampling makes none
    out: dict[str, float] = {"attempts": tree.attrs.get("attempts", 0)}
    reading = read(tree)
    out["gate"] = judge(reading.density, reading.draws).density_ok
    chains = posterior.sizes["chain"]
    for name, array in draws.items():
        ess = float(az.ess(az.convert_to_datatree({"q": array.reshape(chains, -1)}))["q"])
        kept = int(np.clip(ess, 10, _MOST_DRAWS))
        thinned = array[np.linspace(0, array.size - 1, kept).astype(int)]
        for word, among in (("rank", thinned), ("share", array)):
            below, ties = (among < true[name][0]).sum(), (among == true[name][0]).sum()
            out[f"{word}, {name}"] = (below + rng.random() * (ties + 1)) / (among.size + 1)
    return out


def _posterior(
    counts: nb.Counts, spec: nb.MixtureSpec, setting: Setting, rng: np.random.Generator
) -> xr.DataTree:
    """Sample in the way that the setting asks for."""
    if setting.kind == "columns":
        # whether it is refused depends on the counts alone, so that ranks stay uniform
        with suppress(ValueError):
            return nb.laplace(counts, spec, draws=2000, random_seed=rng)
    return nb.sample(counts, spec, draws=500, random_seed=rng, progressbar=False)


def bootstrap_at(setting: Setting, rng: np.random.Generator) -> dict[str, float]:
    """P value of the bootstrap test of one component against two."""
    counts = nb.Counts(LAWS[setting.name].sample(setting.n, rng)[0])
    test = nb.bootstrap_lrt(counts, n_boot=99, random_seed=rng, n_jobs=1, progressbar=False)
    return {"p": test.p_value}


def simulate(setting: Setting, index: int) -> dict[str, float]:
    """One simulation; the same for the same setting and index, whatever was run before."""
    rng = np.random.default_rng([index, *setting.label.encode()])
    run = bootstrap_at if setting.kind == "test" else posterior_at
    return {"index": index, **run(setting, rng)}


def block(setting: Setting, first: int) -> tuple[pd.DataFrame, float]:
    """Run a block of simulations: a row each, and the seconds taken."""
    logging.disable(logging.WARNING)
    begin = time.perf_counter()
    last = min(first + BLOCK, setting.simulations)
    rows = pd.DataFrame([simulate(setting, index) for index in range(first, last)])
    return rows, time.perf_counter() - begin
