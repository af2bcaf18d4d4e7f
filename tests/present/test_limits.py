"""A process whose memory is limited must end with a result or a sentence."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from pmnbmix.present.cli.limits import spare_address_space


@pytest.mark.parametrize(
    ("limit", "before", "after"),
    [
        (2 * 10**9, None, "1"),
        (2 * 10**9, "3", "3"),
        (resource.RLIM_INFINITY, None, None),
        (2**40, None, None),
    ],
)
def test_one_thread_where_memory_is_limited(limit, before, after, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    monkeypatch.setattr("os.environ", {} if before is None else {"OPENBLAS_NUM_THREADS": before})
    spare_address_space()
    assert os.environ.get("OPENBLAS_NUM_THREADS") == after


@pytest.mark.exhaustive
def test_two_gigabytes_end_in_a_result_or_a_sentence(tmp_path):
    rng = np.random.default_rng(1)
    exposure = rng.lognormal(0.0, 0.5, 500_000)
    rows = np.column_stack([rng.negative_binomial(2, 1 / (1 + 5 * exposure)), exposure])
    np.savetxt(
        tmp_path / "c.csv", rows, fmt=["%d", "%.6f"], delimiter=",", header="n,s", comments=""
    )
    arguments = ["fit", "c.csv", "--column", "n", "--exposure", "s", "--components", "2"]
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9,) * 2); "
        f"from pmnbmix.present.cli import main; main({arguments})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "OpenBLAS" not in done.stderr
    if done.returncode:
        assert done.returncode == 1
        assert "pmnbmix: not enough memory" in done.stderr
    else:
        assert (tmp_path / "pmnbmix-fit-c" / "run.json").is_file()
