"""Checks of the arguments of everything that samples a posterior."""

from __future__ import annotations

import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.spec import MixtureSpec, as_spec, refuse_regression


def check_arguments(counts: Counts, spec: MixtureSpec | int) -> MixtureSpec:
    """Check counts and specification, or number of components; return the latter resolved."""
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    spec = as_spec(spec)
    refuse_regression(spec, "sampling")
    counts.refuse_observed("sampling")
    if not spec.is_proper:
        raise ValueError(
            "the priors of means and dispersions must be proper (finite scale) to be sampled; "
            "a flat prior has a point estimate only: use fit_map or fit_em."
        )
    return spec.resolve(counts)


def was_interrupted(tree: xr.DataTree) -> bool:
    """Whether sampling was interrupted, so that a posterior has less of it than was asked for."""
    return any(tree.attrs.get(name) for name in ("interrupted", "repetition_interrupted"))
