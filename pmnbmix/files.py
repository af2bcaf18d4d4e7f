"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# A process that is killed while writing leaves files and folders of such names, which are never
# read.
LEFT_OVER = re.compile(r"\.saving-[0-9a-f]{12}-")
_LARGEST_RECORD = 2**20


def as_file(path: object) -> Path:
    """Path of a file that may or may not exist.

    Raises
    ------
    TypeError
        If it is not a path.
    ValueError
        If a file cannot have this name.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(
            f"path must be the name of a file (str or os.PathLike); got {path!r} of type "
            f"{type(path).__name__}."
        )
    file = Path(path)
    try:
        # A name that a file cannot have is an error; a file that is missing is not.
        with suppress(FileNotFoundError, NotADirectoryError):
            file.stat()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(file)[:80]!r} cannot be the path of a file "
            f"({getattr(error, 'strerror', None) or error}). Name another one."
        ) from None
    return file


def beside(path: Path) -> Path:
    """Name in the same folder that no other process uses; moving it to ``path`` is one step."""
    return path.with_name(f".saving-{secrets.token_hex(6)}-{path.name}")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Give a name under which the block makes a folder; if it succeeds, the folder is moved.

    Raises
    ------
    OSError
        If it cannot be moved there, as onto a folder that holds files.
    """
    partial = beside(folder)
    try:
        yield partial
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(path: str | os.PathLike[str], content: str | bytes | memoryview) -> None:
    """Write a file in one step: a reader never sees half of it, even if this process is killed.

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    ValueError
        If the folder is missing, may not be written to or is full; a file that was there before
        is as it was.
    """
    target = as_file(path)
    if target.is_dir():
        raise ValueError(f"{target} is a folder; name a file in it.")
    data = content.encode() if isinstance(content, str) else content
    partial = beside(target)
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            # If the machine stops, the new name must not be on the disk before its content.
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:
        raise ValueError(
            f"{target.parent}: cannot write {target.name} there ({error.strerror or error}). Check "
            "that the folder exists, may be written to and has room."
        ) from None
    finally:
        # A disk that cannot be written to cannot be cleaned up either; the first error says why.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_json(
    path: str | os.PathLike[str],
    expected: str,
    version: int | None = None,
    largest: int = _LARGEST_RECORD,
) -> dict[str, Any]:
    """Read a JSON object, and check that it states the expected format and version.

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    ValueError
        If the file is missing, too large, no JSON, or of another format or version.
    """
    file = as_file(path)
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= largest else b""
    except FileNotFoundError:
        raise ValueError(f"{file}: there is no such file. Check the path.") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}).") from None
    if size > largest:
        raise ValueError(f"{file}: it has {size} bytes; at most {largest} are read.")
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: this is not JSON ({type(error).__name__}: {error}).") from None
    if not isinstance(data, dict) or data.get("format") != expected:
        raise ValueError(f"{file}: this is no {expected}. Name one that pmnbmix has written.")
    if data.get("version") != version:
        raise ValueError(
            f"{file}: version {data.get('version')!r} of the file is not known; expected "
            f"{version}. Read it with the pmnbmix that wrote it."
        )
    return data


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write a JSON object in one step, or not at all."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(file, text + "\n")
