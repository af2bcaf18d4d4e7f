"""Walk through an HDF5 file and end: run as a program, in a process that may be killed.

    python hdf5_probe.py FILE MEGABYTES SECONDS

The process limits its own memory and processor time. It exits with 0 where everything can be read,
and says in one line what cannot.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from typing import Any

# Small datasets are read whole, of large ones the first and the last number.
_SMALL = 2**24


def limit(megabytes: int, seconds: int) -> None:
    """Limit memory, and processor time from now on, where the system knows how."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, megabytes * 2**20),
        (resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds),
        # a process that is ended leaves no image of its memory
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        # some systems know a limit and refuse to set it
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, hard))


def read(item: Any) -> None:
    """Read the attributes of an object, and its numbers."""
    for name in item.attrs:
        item.attrs[name]
    # a group has no dtype, a dataset without a shape is empty
    if getattr(item, "dtype", None) is None or item.shape is None or 0 in item.shape:
        return
    if item.nbytes <= _SMALL:
        item[()]
    else:
        item[(0,) * item.ndim]
        item[tuple(extent - 1 for extent in item.shape)]


def main() -> None:
    """Read the file that the command line names."""
    file, megabytes, seconds = sys.argv[1:]
    import h5py

    limit(int(megabytes), int(seconds))
    try:
        with h5py.File(file, "r") as content:
            read(content)
            content.visititems(lambda _, item: read(item))
    except Exception as error:
        reason = str(error).strip().splitlines() or [repr(error)]
        sys.stderr.write(f"{reason[0][:200]}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
