"""The wait for machine code is announced, once and only if there is one."""

import subprocess
import sys

CALL = "import numpy as np; from pmnbmix.compiled import dot; dot(np.ones(2), np.ones(2))"


def said(folder):
    """What a process that compiles, or finds machine code, writes to its terminal."""
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        env={"NUMBA_CACHE_DIR": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_the_first_compilation_is_announced(tmp_path):
    first = said(tmp_path)
    assert first.count("compiling machine code") == 1
    assert str(tmp_path) in first
    assert said(tmp_path) == ""
