"""What the program does if the system limits its memory; it is imported before NumPy."""

from __future__ import annotations

import os

# OpenBLAS reserves about this many bytes for each of its threads, and NumPy and SciPy each have
# one; below this limit not enough is left for anything else.
_AMPLE = 8 * 2**30


def spare_address_space() -> None:
    """Let OpenBLAS run one thread if the address space is limited, unless the user has said.

    OpenBLAS ends the process with a message of its own if it cannot reserve buffers for its
    threads. An error of Python, which can be told in a sentence, is what is left then.
    """
    try:
        import resource
    except ImportError:
        # Windows has no such limits.
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _AMPLE:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
