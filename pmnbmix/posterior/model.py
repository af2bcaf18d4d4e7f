"""The model in PyMC: its readable definition, and the oracle of the tests."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pmnbmix.data.checks import one_of
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.priors import NormalPrior
from pmnbmix.mixture.spec import MixtureSpec, as_spec, refuse_regression
from pmnbmix.posterior.collapsed import CollapsedData
from pmnbmix.posterior.distributions import NegativeBinomialMixture
from pmnbmix.tree.writing import STORED_BYTES


def build_model(
    counts: Counts, spec: MixtureSpec, likelihood: Literal["pymc", "fused"] = "pymc"
) -> pm.Model:
    """Build the mixture of negative binomials as a PyMC model of the counts.

    Its log density walks over the unique rows of the counts, and changes with its data.

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
        deterministic ``means`` and ``dispersions``; the counts as an observed random variable under
        their name, with dimension ``obs``; data ``exposure`` and the name of the counts with
        ``_data``. No start is stored in the model: pass ``initvals``, as `start_points` makes them,
        for PyMC's default start is a saddle of every mixture.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another class, ``likelihood`` is another word, or the observations are
        more than 12.5 million, each of which would be a number of the model.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> model = nb.build_model(counts, nb.MixtureSpec(2))
    >>> model.free_RVs, model.observed_RVs
    ([weights, log_means, log_dispersions], [crab_satellites])
    >>> model["crab_satellites_data"].get_value().size
    173
    """
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    one_of(likelihood, "likelihood", ("pymc", "fused"))
    resolved = as_spec(spec)
    refuse_regression(resolved, "build_model")
    counts.refuse_observed("build_model")
    if 8 * counts.n > STORED_BYTES:
        raise ValueError(
            f"the model would hold each of {counts.n} observations; expected at most "
            f"{STORED_BYTES // 8}. Call sample(counts, spec), which needs the unique rows only."
        )
    resolved = resolved.resolve(counts)
    k, row = resolved.n_components, counts.expanded_inverse()
    coords = {"mixture_component": np.arange(k), "obs": np.arange(counts.n)}
    with MixtureModel(coords=coords) as model:
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
        dispersions = pm.Deterministic(
            "dispersions", pt.exp(log_dispersions), dims="mixture_component"
        )
        # PyMC keeps whole numbers in 32 bits.
        values = counts.table.values[row]
        small = values.max() <= np.iinfo(np.int32).max
        observed = pm.Data(
            f"{counts.variable}_data", values.astype(np.int32) if small else values, dims="obs"
        )
        exposure = pm.Data("exposure", counts.table.exposure[row], dims="obs")
        model.collapsed = CollapsedData(observed, exposure, k, fused=likelihood == "fused")
        NegativeBinomialMixture(
            counts.variable,
            weights=weights,
            means=means,
            dispersions=dispersions,
            exposure=exposure,
            observed=observed,
            dims="obs",
        )
    return model


class MixtureModel(pm.Model):  # type: ignore[misc, unused-ignore]
    """A model whose unique rows follow its data."""

    collapsed: CollapsedData | None = None

    def set_data(self, name: str, values: Any, coords: Any = None) -> None:
        """Change counts or exposures, and collapse them anew; other data as PyMC does."""
        rows = self.collapsed
        held = [] if rows is None else [rows.counts, rows.exposure]
        super().set_data(name, values, coords=coords)
        if rows is not None and name in {variable.name for variable in held}:
            rows.update(*(variable.get_value() for variable in held))


def _normal(name: str, prior: NormalPrior) -> Any:
    if prior.is_flat:
        return pm.Flat(name, dims="mixture_component")
    return pm.Normal(name, mu=float(prior.loc), sigma=prior.scale, dims="mixture_component")
