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
# The library's time for groups within groups grows with the square of how many there are.
_DEEPEST = 100


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


def walk(content: Any) -> None:
    """Read every object of an open file, and refuse what leads out of it or in circles.

    A link to another file would read one that nobody named, and that this process has not seen. A
    group that is reached twice makes a tree without end, or one of exponential size.
    """
    import h5py

    reached = {h5py.h5o.get_info(content.id).addr: "/"}
    ahead = [content["/"]]
    while ahead:
        group = ahead.pop()
        read(group)
        for name in group:
            path = f"{group.name.rstrip('/')}/{name}"
            if path.count("/") > _DEEPEST:
                raise ValueError(f"groups lie more than {_DEEPEST} deep in each other")
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{path} is a link to another file; copy what it names into it")
            item = group[name]
            if not isinstance(item, h5py.Group):
                read(item)
                continue
            place = h5py.h5o.get_info(item.id).addr
            if place in reached:
                raise ValueError(f"the group {path} is also {reached[place]}")
            reached[place] = path
            ahead.append(item)


def read(item: Any) -> None:
    """Read the attributes of an object, and its numbers."""
    if getattr(item, "external", None) or getattr(item, "is_virtual", False):
        raise ValueError(f"the numbers of {item.name} are in another file; copy them into it")
    for name in item.attrs:
        item.attrs[name]
    # groups and named types have no shape, that of an empty dataset is None
    shape = getattr(item, "shape", None)
    if shape is None or 0 in shape:
        return
    if item.nbytes <= _SMALL:
        item[()]
    else:
        item[(0,) * item.ndim]
        item[tuple(extent - 1 for extent in shape)]


def main() -> None:
    """Read the file that the command line names."""
    file, megabytes, seconds = sys.argv[1:]
    import h5py

    limit(int(megabytes), int(seconds))
    try:
        with h5py.File(file, "r") as content:
            walk(content)
    except Exception as error:
        reason = str(error).strip().splitlines() or [repr(error)]
        sys.stderr.write(f"{reason[0][:200]}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
