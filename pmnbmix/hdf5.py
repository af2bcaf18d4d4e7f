"""Damaged and hostile HDF5 files, which may keep its library busy for ever or end the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PROBE = Path(__file__).with_name("hdf5_probe.py")
# Processor time and memory in which everything but large arrays is read. Only files whose reading
# does not end come near them.
_SECONDS = 4
_BYTES_A_SECOND = 2e8
_MEGABYTES = 2048
# Of a system that cannot limit processor time, or a disk that does not answer.
_PATIENCE = 60


def refuse_unreadable(file: Path) -> None:
    """Read a file in another process, before this one does.

    On a damaged file the HDF5 library may loop, take all memory or end the process that called it,
    and none of these can be caught. The other process has limits; it takes some tenths of a second.

    Raises
    ------
    ValueError
        Where it cannot be read, or not within the limits.
    """
    if not sys.executable:
        # Python inside another program: nothing to run
        return
    seconds = _SECONDS + int(file.stat().st_size / _BYTES_A_SECOND)
    # -P: no module is taken from the folder where the user happens to be
    command = [sys.executable, "-P", str(_PROBE), str(file), str(_MEGABYTES), str(seconds)]
    try:
        run = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE + seconds,
            check=False,
            # threads of its own would take address space
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"},
        )
    except subprocess.TimeoutExpired:
        raise ValueError("reading it does not end; it is damaged") from None
    if run.returncode == 0:
        return
    if run.returncode == 1:
        raise ValueError(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "damaged")
    raise ValueError(
        f"reading it takes over {seconds} s or {_MEGABYTES} MB, or ends the process; it is damaged"
    )
