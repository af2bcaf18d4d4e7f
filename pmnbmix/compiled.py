"""The one way in which this package compiles a function, and an inner product for all of them."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np
import platformdirs
from numba import types
from numba.core import cgutils, event
from numba.core import config as numba_config
from numba.extending import intrinsic

_log = logging.getLogger(__name__)

# Numba makes its settings when it is imported, so type checkers do not know their names.
config: Any = numba_config


def _digest() -> str:
    """Digest of every source that can be part of machine code.

    Numba looks for changes in the file of a function only, not in the files of those that it
    calls, so that after an edit or an upgrade it would go on running the old helpers.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        content = source.read_bytes()
        if any(name in content for name in (b"@compiled", b"@inlined", b"@merged")):
            digest.update(content)
    return digest.hexdigest()[:16]


SOURCE_DIGEST = _digest()


def _cache_folder() -> str:
    """Folder for machine code, named by the content of its sources."""
    base = config.CACHE_DIR or platformdirs.user_cache_dir("pmnbmix", appauthor=False)
    return str(Path(base) / f"pmnbmix-{SOURCE_DIGEST}")


_CACHE_FOLDER = _cache_folder()


class _Announcement(event.Listener):  # type: ignore[misc]
    """Says once, when something is first compiled, that this takes a while and why."""

    def on_start(self, event: Any) -> None:
        """Say it of a function of this package, and listen no more."""
        if not event.data["dispatcher"].py_func.__module__.startswith("pmnbmix."):
            return
        _stop_announcing()
        _log.warning(
            "compiling machine code, which takes about a minute and is done once: it is kept in %s",
            _CACHE_FOLDER,
        )

    def on_end(self, event: Any) -> None:
        """Say nothing."""


def _stop_announcing() -> None:
    with contextlib.suppress(ValueError):
        event.unregister("numba:compile", _announcement)


_announcement = _Announcement()
if not any(Path(_CACHE_FOLDER).rglob("*.nbi")):
    event.register("numba:compile", _announcement)


_RULES: Any = {
    "fastmath": False,
    "error_model": "numpy",
    "nogil": True,
    "no_cfunc_wrapper": True,
}


def compiled[F: Callable[..., object]](function: F) -> F:
    """Compile a function with numba, strictly by IEEE rules, and keep the machine code on disk.

    ``fastmath=False`` is written out because a helper compiled without it inherits the flag of
    whichever caller happens to compile it first, and reassociated sums here are wrong by whole
    nats. ``error_model="numpy"`` makes ``log(0)`` minus infinity instead of an exception, and
    ``nogil=True`` lets chains run side by side. A second entry, for callers in C, would take time
    to compile.
    """
    with _own_cache():
        dispatcher = numba.njit(cache=True, **_RULES)(function)
    return cast(F, dispatcher)


def compiled_callback(signature: Any) -> Callable[[Callable[..., int]], Any]:
    """Compile a function, by the same rules, so that other machine code can call it by address."""

    def decorate(function: Callable[..., int]) -> Any:
        with _own_cache():
            return numba.cfunc(signature, cache=True, error_model="numpy")(function)

    return decorate


@contextlib.contextmanager
def _own_cache() -> Iterator[None]:
    """Place machine code in this package's folder, and leave that of other packages to them."""
    others = config.CACHE_DIR
    # Numba reads this setting when it decorates a function.
    config.CACHE_DIR = _CACHE_FOLDER
    try:
        yield
    finally:
        config.CACHE_DIR = others


def inlined[F: Callable[..., object]](function: F) -> F:
    """Compile a small helper, by the same rules, into the loop that calls it."""
    return cast(F, numba.njit(forceinline=True, **_RULES)(function))


def merged[F: Callable[..., object]](function: F) -> F:
    """Compile a function, by the same rules, as part of the only function that calls it.

    Numba compiles all that a function calls once more with it, so that each level of calls costs
    seconds where much is called. Here the caller takes over the source itself, and may let go of
    what it passed before the end, so that nothing of it may be made `uncounted` inside.
    """
    return cast(F, numba.njit(inline="always", **_RULES)(function))


@compiled
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Inner product with compensated summation (Kahan's), without BLAS.

    The threads of BLAS cost more than they bring here, and the order of summation, so the last
    digits, would depend on how many there are.
    """
    total, lost = 0.0, 0.0
    for i in range(a.size):
        term = a[i] * b[i] - lost
        moved = total + term
        lost = (moved - total) - term
        total = moved
    return total


@intrinsic  # type: ignore[untyped-decorator]
def address(typing_context: Any, array: Any, first: Any) -> tuple[Any, Callable[..., Any]]:
    """Where an element of an array stands, for `numba.carray` to make a view of.

    Such a view does not keep the array alive, so it may be used as long as the caller holds that.
    """

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        return builder.bitcast(builder.gep(data, [values[1]]), cgutils.voidptr_t)

    return types.voidptr(array, types.intp), lower


@intrinsic  # type: ignore[untyped-decorator]
def uncounted(typing_context: Any, arrays: Any) -> tuple[Any, Callable[..., Any]]:
    """The same array, or tuple of arrays, without a count of who uses it.

    Counting is an atomic operation at each access, and a walk over few rows costs little more. The
    result may be used as long as the caller holds the arrays.
    """

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _without_owner(context, builder, arrays, values[0])

    return arrays(arrays), lower


@intrinsic  # type: ignore[untyped-decorator]
def read_only(typing_context: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    """The same array, read-only, as that of every table is.

    For arrays that may be written, all that reads them would be compiled a second time.
    """

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        context.nrt.incref(builder, array, values[0])
        return values[0]

    return array.copy(readonly=True)(array), lower


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        view = context.make_array(kind)(context, builder, value)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(kind):
            bare = _without_owner(context, builder, part, builder.extract_value(value, i))
            value = builder.insert_value(value, bare, i)
    return value
