"""A target handed to nutpie: as machine code if nutpie takes it, otherwise as Python functions.

A callback into Python costs ten times what the log density of a collapsed table does, and chains
with one cannot run at once. nutpie takes the address of a compiled function through the class that
its own PyMC models are made of. That class is public but its fields are not promised. If it takes
them no longer, `nutpie.compiled_pyfunc.from_pyfunc` is used, which is slower and draws the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from pmnbmix.compiled import compiled_callback
from pmnbmix.mixture.fused import evaluate
from pmnbmix.mixture.kernel import HEADER, HEADER_SIZE
from pmnbmix.mixture.target import Target

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

_POINTER = types.CPointer(types.float64)
_FAILED = 1


@compiled_callback(types.int64(types.uint64, _POINTER, _POINTER, _POINTER, _POINTER))
def _log_density(size: Any, position: Any, gradient: Any, value: Any, target: Any) -> int:
    """Log density and gradient as nutpie calls them; anything but 0 is a rejected step."""
    n = np.int64(size)
    header = numba.carray(target, (HEADER_SIZE,)).view(HEADER)[0]
    buffer = numba.carray(target, (header.length,))
    total = evaluate(numba.carray(position, (n,)), numba.carray(gradient, (n,)), buffer)
    value[0] = total
    return 0 if np.isfinite(total) else _FAILED


@compiled_callback(types.int64(types.uint64, types.uint64, _POINTER, _POINTER, _POINTER))
def _copy_position(size: Any, expanded: Any, position: Any, out: Any, target: Any) -> int:
    """Copy a position whole, because all of it is stored."""
    for i in range(size):
        out[i] = position[i]
    return 0


def nutpie_model(target: Target, start: Floats) -> Any:
    """Make a nutpie model whose one chain starts where it is told.

    Parameters
    ----------
    target : Target
        Not shared with another model that runs at the same time.
    start : ndarray, shape (3k - 1,)

    Returns
    -------
    nutpie.sample.CompiledModel
        Its draws are stored as ``packed``.
    """
    try:
        return _by_address(target, start)
    except (ImportError, TypeError, AttributeError) as error:
        _log.info("nutpie does not take a compiled function (%s); handing over Python's", error)
        return _by_callback(target, start)


def _by_address(target: Target, start: Floats) -> Any:
    from nutpie.compile_pymc import CompiledPyMCModel

    size = target.size
    model = CompiledPyMCModel(
        dims={},
        reparameterized_names=set(),
        compiled_logp_func=_log_density,
        compiled_expand_func=_copy_position,
        initial_point_func=lambda seed: start.copy(),
        shared_data={"target": target.buffer},
        shared_var_keys={},
        user_data=target.buffer,
        n_expanded=size,
        shape_info=(["packed"], [slice(0, size)], [(size,)]),
        logp_func=None,
        expand_func=None,
        _n_dim=size,
        _shapes={"packed": (size,)},
        _coords={},
    )
    # The model is made once here, so that nutpie refuses it before sampling begins.
    model._make_model(None)
    return model


def _by_callback(target: Target, start: Floats) -> Any:
    from nutpie.compiled_pyfunc import from_pyfunc

    def make_expand(seed: int, stream: int, chain: int) -> Callable[[Floats], dict[str, Floats]]:
        return lambda position: {"packed": np.asarray(position)}

    return from_pyfunc(
        ndim=target.size,
        make_logp_fn=lambda: target.log_density,
        make_expand_fn=make_expand,
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(target.size,)],
        expanded_names=["packed"],
        make_initial_point_fn=lambda seed: start.copy(),
    )
