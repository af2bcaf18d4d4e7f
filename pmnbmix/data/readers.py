"""Counts from files. Reading never runs code from the file; sizes of archives are checked first."""

from __future__ import annotations

import os
import re
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.columnar import kind_of_table, read_table
from pmnbmix.data.counts import Counts
from pmnbmix.data.delimited import LARGEST_ARCHIVE, is_number, locate
from pmnbmix.files import as_file

_KINDS = ".csv, .tsv (also .gz), .parquet, .feather or .npz"


def read_counts(
    path: str | os.PathLike[str],
    column: str | None = None,
    exposure: str | None = None,
    frequency: str | None = None,
    name: str | None = None,
) -> Counts:
    """Read counts from a csv, tsv (also gzipped), parquet, feather or npz file.

    Parameters
    ----------
    path : path-like
        File whose suffix is .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .feather or .npz. A text file
        needs a header line; a blank line below it is a row of empty cells, unless nothing follows.
    column : str, optional
        Column (npz: array) with the counts. May be left out if the file has only one.
    exposure : str, optional
        Column with the exposure of each row, on the natural scale.
    frequency : str, optional
        Column that says how often each row was seen.
    name : str, optional
        What is counted; the name of the column if absent.

    Returns
    -------
    Counts

    Raises
    ------
    ValueError
        If the file is missing, unreadable or of another kind, if it lacks a column (the
        text lists those that exist), and for every reason of `Counts`.
    TypeError
        If a column does not hold numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> import pmnbmix as nb
    >>> patients = pd.DataFrame({"visits": [0, 2, 5, 2], "years": [1.0, 0.5, 2.0, 0.5]})
    >>> patients.to_csv("patients.csv", index=False)
    >>> nb.read_counts("patients.csv", column="visits", exposure="years")
    Counts('visits', n=4, n_unique=3, with exposure)
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path must be the name of a file; got {type(path).__name__}. Counts(values) takes "
            "numbers."
        )
    for argument, text in (
        ("column", column),
        ("exposure", exposure),
        ("frequency", frequency),
        ("name", name),
    ):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{argument} must be a name, as text; got {text!r}.")
    file = as_file(path)
    if not str(path) or not file.exists():
        raise ValueError(f"{file}: there is no such file. Check the path; it is relative to here.")
    if not file.is_file():
        raise ValueError(f"{file}: this is not a file. Pass {_KINDS}.")
    wanted = {"values": column, "exposure": exposure, "frequency": frequency}
    try:
        archive = file.suffix.lower() == ".npz"
        columns = _read_archive(file, wanted) if archive else _read_columns(file, wanted)
        return Counts(
            columns["values"][1],
            exposure=columns["exposure"][1] if exposure is not None else None,
            frequency=columns["frequency"][1] if frequency is not None else None,
            name=name or columns["values"][0],
        )
    except TypeError as error:
        raise TypeError(f"{file}: {_in_words_of_the_file(str(error), wanted)}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {_in_words_of_the_file(str(error), wanted)}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{file}: the file cannot be read ({reason}). Check its rights.") from None


def _in_words_of_the_file(text: str, wanted: dict[str, str | None]) -> str:
    """Reword an error of `Counts`: it names the column, and counts rows from 1."""
    for argument, column in wanted.items():
        if column is not None and text.startswith(f"{argument} "):
            text = f"column {column!r} ({argument}){text.removeprefix(argument)}"
    return re.sub(r"at index (\d+)", lambda found: f"in data row {int(found[1]) + 1}", text)


def _choose(wanted: dict[str, str | None], existing: list[str]) -> dict[str, str]:
    """Match the wanted columns with those that exist."""
    chosen: dict[str, str] = {}
    for role, name in wanted.items():
        if name is None:
            if role != "values":
                continue
            if len(existing) != 1:
                listed = ", ".join(repr(name) for name in existing) or "none"
                raise ValueError(
                    f"it has {len(existing)} columns, so the one with the counts must be named. "
                    f"Existing columns: {listed}. Pass column=NAME (command line: --column NAME)."
                )
            name = existing[0]
        locate(existing, [name])
        if name in chosen.values():
            raise ValueError(f"column {name!r} is named for two things. Name another for {role}.")
        chosen[role] = name
    return chosen


def _read_columns(file: Path, wanted: dict[str, str | None]) -> dict[str, tuple[str, NDArray[Any]]]:
    if kind_of_table(file) is None:
        suffix = "".join(file.suffixes[-2:] if file.suffix.lower() == ".gz" else file.suffixes[-1:])
        raise ValueError(
            f"{f'files ending in {suffix!r}' if suffix else 'files without a suffix'} cannot be "
            f"read; expected {_KINDS}."
        )
    named = [name for name in wanted.values() if name is not None]
    table = read_table(file, named if wanted["values"] is not None else None)
    return {
        role: (name, _numeric(table.column(name), name, role))
        for role, name in _choose(wanted, table.column_names).items()
    }


def _numeric(cells: Any, name: str, role: str) -> NDArray[Any]:
    """One column as numbers; the error of a cell that is not a number names its row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(cells):
        return np.empty(0)
    column = f"column {name!r} ({role})"
    if pa.types.is_boolean(cells.type):
        raise TypeError(f"{column} holds true and false where numbers are expected.")
    missing = np.flatnonzero(pc.is_null(cells, nan_is_null=True))
    if missing.size:
        raise ValueError(
            f"{column} has {missing.size} empty or missing cell{'s' * (missing.size > 1)}, the "
            f"first in data row {missing[0] + 1}. Drop or fill these rows first; a blank line is a "
            "row, too."
        )
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
        return np.asarray(cells.to_numpy())
    text = pa.types.is_string(cells.type)
    bad = int(np.argmin(is_number(cells))) if text else 0
    raise TypeError(
        f"{column} must hold numbers; data row {bad + 1} has {str(cells[bad].as_py())!r}. "
        "Mend or drop that row, or name another column."
    )


def _read_archive(file: Path, wanted: dict[str, str | None]) -> dict[str, tuple[str, NDArray[Any]]]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            chosen = _choose(wanted, list(members))
            return {
                role: (name, _read_member(archive, members[name], name))
                for role, name in chosen.items()
            }
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
