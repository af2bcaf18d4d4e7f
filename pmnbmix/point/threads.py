"""Independent pieces of a search on all cores; their order, so the result, stays the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

# Compiled code lets go of the interpreter, but threads that run for less than this many rows of a
# table wait for each other longer than they work.
_WORTH_THREADS = 300
_MOST = 8


def in_order[S, T](function: Callable[[S], T], items: Sequence[S], rows: int) -> Iterator[T]:
    """Results of a function of each item, in their order.

    Parameters
    ----------
    function : callable
        Of one item; it spends its time in compiled code.
    items : sequence
    rows : int
        Rows of the table that it walks over.
    """
    workers = min(_MOST, os.cpu_count() or 1, len(items))
    if workers < 2 or rows < _WORTH_THREADS:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(function, items)
        except BaseException:
            # Whoever interrupts does not wait for what has not begun.
            pool.shutdown(wait=True, cancel_futures=True)
            raise
