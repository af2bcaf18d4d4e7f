"""One process compiles a function of the package while the others wait for its machine code.

Workers of pytest-xdist begin with much the same functions. Numba keeps machine code on disk, but a
process that finds none compiles, even if another one is at it: the first run in a new environment
would compile everything once for each worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher


def compile_once() -> None:
    """Let this process wait where another one compiles the function that it needs."""
    try:
        import fcntl
    except ImportError:
        # A system without such locks compiles once for each worker.
        return
    compile_alone = Dispatcher.compile

    @contextlib.contextmanager
    def locked(dispatcher: Any) -> Iterator[None]:
        function, folder = dispatcher.py_func, dispatcher._cache.cache_path
        if folder is None or not function.__module__.startswith("pmnbmix."):
            yield
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"{function.__module__}.{function.__qualname__}.lock"
        with (Path(folder) / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def compile_together(dispatcher: Any, signature: Any) -> Any:
        # Numba's own lock comes first, or two threads could each hold what the other one needs.
        # Processes cannot: a function waits only for those that it calls, and none calls itself.
        with global_compiler_lock, locked(dispatcher):
            return compile_alone(dispatcher, signature)

    Dispatcher.compile = compile_together
