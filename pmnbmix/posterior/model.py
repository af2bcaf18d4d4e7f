"""The model in PyMC: its readable definition, and the oracle of the tests."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pmnbmix.data.checks import one_of
from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.priors import NormalPrior
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec, as_spec
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.likelihood import FusedLogLikelihood


def build_model(
    counts: Counts, spec: MixtureSpec, likelihood: Literal["pymc", "fused"] = "pymc"
) -> pm.Model:
    """Build the mixture of negative binomials as a PyMC model on the unique rows of the counts.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec or int
        Resolved against the counts if it is not yet; a number of components has the default priors.
    likelihood : {"pymc", "fused"}
        "pymc" writes the likelihood in PyMC's own distributions; "fused" is the same number from
        the compiled log likelihood that `sample` runs, for models that build on this one.

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
        If an argument is of another class, or ``likelihood`` is another word.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> model = nb.build_model(counts, nb.MixtureSpec(2))
    >>> model.free_RVs
    [weights, log_means, log_dispersions]
    >>> model.potentials
    [log_likelihood]

    The sum over the 15 unique rows is that over all 173 counts:

    >>> model["frequency"].get_value().sum(), model["frequency"].get_value().size
    (np.float64(173.0), 15)
    """
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    one_of(likelihood, "likelihood", ("pymc", "fused"))
    resolved = as_spec(spec).resolve(counts)
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

        if likelihood == "fused":
            buffer = make_target(Problem.of(counts, _sampled(resolved))).buffer
            value, *_ = FusedLogLikelihood()(pt.log(weights), log_means, log_dispersions, buffer)
        else:
            value = _log_likelihood(table, weights, means, log_dispersions)
        pm.Potential("log_likelihood", value)
    return model


def _log_likelihood(table: CountTable, weights: Any, means: Any, log_dispersions: Any) -> Any:
    """Sum over the unique rows of frequency times log density, in PyMC's own distributions."""
    exposure = pm.Data("exposure", table.exposure, dims="unique_row")
    frequency = pm.Data("frequency", table.frequency, dims="unique_row")
    components = pm.NegativeBinomial.dist(
        mu=exposure[:, None] * means, alpha=pt.exp(-log_dispersions)
    )
    mixture = pm.Mixture.dist(w=weights, comp_dists=components, shape=table.values.size)
    row = pm.logp(mixture, table.values.astype(np.int64))
    return (frequency * row).sum()


def _sampled(spec: MixtureSpec) -> MixtureSpec:
    """Return the specification with proper priors; the fused log likelihood does not use them."""
    return MixtureSpec(spec.n_components, log_means=NormalPrior(0.0, 1.0))


def _normal(name: str, prior: NormalPrior) -> Any:
    if prior.is_flat:
        return pm.Flat(name, dims="mixture_component")
    return pm.Normal(name, mu=float(prior.loc), sigma=prior.scale, dims="mixture_component")
