"""The model as users write it in PyMC and NumPyro, with the priors of `MixtureSpec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

PRIOR_SCALE = 2.0
CONCENTRATION = 2.0


def pymc_model(case: Any, collapsed: bool = False) -> Any:
    """pm.Mixture of every observation, or of distinct rows with frequencies."""
    import pymc as pm

    k = int(case["k"])
    times = np.ones(case["values"].size, int) if collapsed else case["frequency"].astype(int)
    values, exposure = np.repeat(case["values"], times), np.repeat(case["exposure"], times)
    with pm.Model() as model:
        weights = pm.Dirichlet("weights", np.full(k, CONCENTRATION))
        log_means = pm.Normal("log_means", float(case["log_mean_loc"]), PRIOR_SCALE, shape=k)
        log_dispersions = pm.Normal("log_dispersions", 0.0, PRIOR_SCALE, shape=k)
        rate = pm.math.exp(log_means)
        if case["has_exposure"] or collapsed:
            rate = exposure[:, None] * rate
        parts = pm.NegativeBinomial.dist(mu=rate, alpha=pm.math.exp(-log_dispersions))
        if collapsed:
            rows = pm.logp(pm.Mixture.dist(w=weights, comp_dists=parts), values)
            pm.Potential("log_likelihood", (case["frequency"] * rows).sum())
        else:
            pm.Mixture("count", w=weights, comp_dists=parts, observed=values)
    return model


def numpyro_model(case: Any) -> Callable[[], None]:
    """MixtureSameFamily on distinct rows with frequencies."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    k = int(case["k"])
    values, exposure, frequency = (
        jnp.array(case[name]) for name in ("values", "exposure", "frequency")
    )

    def model() -> None:
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.full(k, CONCENTRATION)))
        centre = dist.Normal(float(case["log_mean_loc"]), PRIOR_SCALE).expand([k])
        log_means = numpyro.sample("log_means", centre)
        log_dispersions = numpyro.sample(
            "log_dispersions", dist.Normal(0.0, PRIOR_SCALE).expand([k])
        )
        parts = dist.NegativeBinomial2(
            exposure[:, None] * jnp.exp(log_means), jnp.exp(-log_dispersions)
        )
        rows = dist.MixtureSameFamily(dist.Categorical(weights), parts).log_prob(values)
        numpyro.factor("log_likelihood", (frequency * rows).sum())

    return model
