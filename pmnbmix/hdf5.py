"""HDF5 files that lead elsewhere or in circles are refused before anything reads them."""

from __future__ import annotations

from pathlib import Path

import h5py


def survey(file: Path) -> tuple[int, int, int]:
    """Count the groups, the arrays and the bytes of a file, without reading any of its numbers.

    A link to another file would read one that nobody named. A group of two names makes a tree
    without end, or one of exponential size.

    Returns
    -------
    groups, arrays, bytes
        The root is not counted; bytes are those of the unpacked arrays.

    Raises
    ------
    OSError, KeyError, RuntimeError
        What the HDF5 library says of a damaged file.
    ValueError
        If numbers or groups are in another file, or a group has two names.
    """
    arrays, size = 0, 0
    with h5py.File(file, "r") as content:
        reached = {h5py.h5o.get_info(content.id).addr: "/"}
        ahead, soft = [content["/"]], []
        while ahead:
            group = ahead.pop()
            for name in group:
                link = group.get(name, getlink=True)
                path = f"{group.name.rstrip('/')}/{name}"
                if isinstance(link, h5py.ExternalLink):
                    raise ValueError(
                        f"{path} is a link to another file; copy what it names into it"
                    )
                if isinstance(link, h5py.SoftLink):
                    soft.append(path)
                    continue
                item = group[name]
                if isinstance(item, h5py.Group):
                    _refuse_twice(item, path, reached)
                    ahead.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        raise ValueError(
                            f"the numbers of {path} are in another file; copy them into it"
                        )
                    arrays, size = arrays + 1, size + item.nbytes
        # A soft link is followed last, because it may lead through a link to another file.
        for path in soft:
            if isinstance(content[path], h5py.Group):
                _refuse_twice(content[path], path, reached)
    return len(reached) - 1, arrays, size


def _refuse_twice(group: h5py.Group, path: str, reached: dict[int, str]) -> None:
    address = h5py.h5o.get_info(group.id).addr
    if address in reached:
        raise ValueError(f"the group {path} is also {reached[address]}")
    reached[address] = path
