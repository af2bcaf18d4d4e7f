"""The same seed gives the same bits in another process, whatever the cores, threads and hashes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive

JOB = Path(__file__).parent / "job.py"
WAYS = {"one core": 1, "two cores": 2}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@pytest.fixture(scope="module")
def digests():
    """Digests of all results, from one process for each way, side by side."""
    jobs = {}
    for hash_seed, (way, cores) in enumerate(WAYS.items()):
        environment = os.environ | dict.fromkeys(THREADS, str(cores))
        environment["PYTHONHASHSEED"] = str(hash_seed)
        jobs[way] = subprocess.Popen(
            [sys.executable, str(JOB), str(cores)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    found = {}
    for way, job in jobs.items():
        out, err = job.communicate()
        assert job.returncode == 0, f"{way}: {err[-2000:]}"
        found[way] = json.loads(out)
    return found


def test_the_number_of_cores_and_threads_changes_no_bit(digests):
    one, two = digests.values()
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    # not as many digests of nothing
    assert len(set(one.values())) > len(one) / 2
