"""Checks of arrays that hold one number for each component."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import as_array

Floats = NDArray[np.float64]


def numbers(name: str, array: ArrayLike) -> Floats:
    """Make a new one-dimensional array of floats, one a component."""
    raw: NDArray[Any] = np.atleast_1d(as_array(array, name))
    if raw.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be numbers; got {array!r}.")
    if raw.ndim != 1 or raw.size == 0:
        raise ValueError(f"{name} must have shape (n_components,); got {raw.shape}.")
    with np.errstate(over="ignore"):
        return np.array(raw, dtype=np.float64)


def non_negative(name: str, array: ArrayLike) -> Floats:
    """Make a new one-dimensional array of finite non-negative floats, one a component."""
    out = numbers(name, array)
    wrong = np.flatnonzero(~np.isfinite(out) | (out < 0))
    if wrong.size:
        raise ValueError(
            f"{name} must be finite and 0 or above; got {float(out[wrong[0]])!r} for component "
            f"{wrong[0]}."
        )
    return out


def dispersions_from(name: str, array: ArrayLike) -> Floats:
    """Make dispersions of inverse dispersions; the inverse of infinity is exactly 0."""
    out = numbers(name, array)
    if np.isnan(out).any() or (out <= 0).any():
        raise ValueError(f"{name} must be above 0 (inf for a Poisson component); got {array!r}.")
    with np.errstate(over="ignore"):
        inverse = 1.0 / out
    if np.isinf(inverse).any():
        raise ValueError(
            f"{name} must be above 1e-308, so that its inverse is finite; got {array!r}."
        )
    return inverse
