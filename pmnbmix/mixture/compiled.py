"""The one way in which this package compiles a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numba


def compiled[F: Callable[..., object]](function: F) -> F:
    """Compile a function with numba, strictly by IEEE rules, and keep the machine code on disk.

    ``fastmath=False`` is written out because a helper compiled without it inherits the flag of
    whichever caller happens to compile it first, and reassociated sums here are wrong by whole
    nats. ``error_model="numpy"`` makes ``log(0)`` minus infinity instead of an exception, and
    ``nogil=True`` lets chains run side by side.
    """
    dispatcher = numba.njit(cache=True, fastmath=False, error_model="numpy", nogil=True)(function)
    return cast(F, dispatcher)
