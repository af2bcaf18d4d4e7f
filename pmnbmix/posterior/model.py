"""The model in PyMC's own distributions: its readable definition, and the oracle of the tests."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.spec import MixtureSpec, NormalPrior


def build_model(
    counts: Counts, spec: MixtureSpec, likelihood: Literal["pymc"] = "pymc"
) -> pm.Model:
    """Build the mixture of negative binomials as a PyMC model on the unique rows of the counts.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved against the counts if it is not yet.
    likelihood : {"pymc"}
        "pymc" writes the likelihood in PyMC's own distributions.

    Returns
    -------
    pymc.Model
        Random variables ``weights`` (n_components > 1), ``log_means`` and ``log_dispersions``;
        deterministic ``means`` and ``dispersions``; a potential ``log_likelihood`` that weights
        the log density of each unique row by its frequency. No start is stored in the model: pass
        ``initvals``, for PyMC's default start is a saddle of every mixture.

    Raises
    ------
    TypeError, ValueError
        Where an argument is of another class, or ``likelihood`` is another word.
    """
    if not isinstance(counts, Counts) or not isinstance(spec, MixtureSpec):
        raise TypeError(
            "build_model needs Counts and a MixtureSpec; got "
            f"{type(counts).__name__} and {type(spec).__name__}."
        )
    if likelihood != "pymc":
        raise ValueError(f'likelihood must be "pymc"; got {likelihood!r}.')
    resolved = spec.resolve(counts)
    k, table = resolved.n_components, counts.table
    coords = {"mixture_component": np.arange(k), "unique_row": np.arange(counts.n_unique)}
    with pm.Model(coords=coords) as model:
        if k == 1:
            weights = pm.Deterministic("weights", pt.ones(1), dims="mixture_component")
        else:
            weights = pm.Dirichlet(
                "weights",
                a=np.full(k, resolved.weights.concentration),
                dims="mixture_component",
            )
        log_means = _normal("log_means", resolved.log_means)
        log_dispersions = _normal("log_dispersions", resolved.log_dispersions)
        means = pm.Deterministic("means", pt.exp(log_means), dims="mixture_component")
        pm.Deterministic("dispersions", pt.exp(log_dispersions), dims="mixture_component")

        exposure = pm.Data("exposure", table.exposure, dims="unique_row")
        frequency = pm.Data("frequency", table.frequency, dims="unique_row")
        components = pm.NegativeBinomial.dist(
            mu=exposure[:, None] * means, alpha=pt.exp(-log_dispersions)
        )
        mixture = pm.Mixture.dist(w=weights, comp_dists=components, shape=counts.n_unique)
        row = pm.logp(mixture, table.values.astype(np.int64))
        pm.Potential("log_likelihood", (frequency * row).sum())
    return model


def _normal(name: str, prior: NormalPrior) -> Any:
    if prior.is_flat:
        return pm.Flat(name, dims="mixture_component")
    return pm.Normal(name, mu=float(prior.loc), sigma=prior.scale, dims="mixture_component")
