"""Arrays from .npz files; their sizes are checked before anything is unpacked."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.delimited import LARGEST_ARCHIVE


def read_archive(
    file: Path, choose: Callable[[list[str]], dict[str, str]]
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Read arrays of an .npz file.

    Parameters
    ----------
    file : Path
    choose : callable
        Given the names of all arrays, those to read by what they are for.

    Returns
    -------
    names, arrays : dict
        By what they are for.

    Raises
    ------
    ValueError
        If the file is damaged or too large, and whatever ``choose`` raises.
    TypeError
        If an array holds objects of Python, which are never loaded.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            chosen = choose(list(members))
            arrays = {
                role: _read_member(archive, members[name], name) for role, name in chosen.items()
            }
            return chosen, arrays
    except (ValueError, TypeError):
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, SyntaxError),
        # NumPy raises this for a header that names an odd type.
        SystemError,
    ) as error:
        # A RuntimeError means an encrypted archive or an unknown compression, a SyntaxError means
        # a header that is not one.
        raise ValueError(f"it is not a whole npz archive ({error}). Save it again.") from None
    except tokenize.TokenError as error:
        raise ValueError(f"the header of an array is damaged ({error}). Save it again.") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    """Read one array, after comparing its header with the size of the member.

    A header may claim any shape; numpy would allocate that much before it reads a byte.
    """
    if info.file_size > LARGEST_ARCHIVE:
        raise ValueError(
            f"array {name!r} unpacks to {info.file_size} bytes; at most {LARGEST_ARCHIVE} are read."
        )
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"array {name!r} has npy version {version}; expected 1.0 or 2.0.")
        if dtype.hasobject:
            raise TypeError(
                f"array {name!r} holds Python objects, which are never loaded because that can "
                "run code. Save it as integers."
            )
        claimed = int(np.prod([int(extent) for extent in shape], dtype=object)) * dtype.itemsize
        if claimed > info.file_size:
            raise ValueError(
                f"array {name!r} claims {claimed} bytes but the archive holds {info.file_size}. "
                "The file is damaged; save it again."
            )
    with archive.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
