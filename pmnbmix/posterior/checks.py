"""Checks of the arguments of everything that samples a posterior."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.spec import MixtureSpec


def check_arguments(counts: Counts, spec: MixtureSpec) -> MixtureSpec:
    """Check counts and specification; return the latter resolved."""
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    if not isinstance(spec, MixtureSpec):
        raise TypeError(
            f"spec must be a MixtureSpec; got {spec!r}. Try MixtureSpec(n_components=2)."
        )
    if not spec.is_proper:
        raise ValueError(
            "the priors of means and dispersions must be proper (finite scale) to be sampled; "
            "a flat prior has a point estimate only: use fit_map or fit_em."
        )
    return spec.resolve(counts)


def check_number(name: str, number: object, least: int) -> None:
    """Check a number of draws, chains or the like."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise TypeError(f"{name} must be an integer; got {number!r}.")
    if number < least:
        raise ValueError(f"{name} must be {least} or above; got {number}.")


def was_interrupted(tree: xr.DataTree) -> bool:
    """Whether a posterior has less sampling than it was to have; it is kept, but not finished."""
    return any(tree.attrs.get(name) for name in ("interrupted", "repetition_interrupted"))
