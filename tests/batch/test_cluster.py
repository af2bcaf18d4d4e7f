"""Workers of a Dask cluster on this machine; lost ones and killed drivers among them."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import pmnbmix as nb
from tests.batch.columns_data import simulate

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
pytest.importorskip("zarr", reason="zarr is not installed")

# sockets of workers that are killed are closed by the collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def matrix():
    return simulate(96, 400, 31, exposed=True)


@pytest.fixture(scope="module")
def whole(matrix):
    counts, exposure = matrix
    return nb.fit_columns(counts, exposure=exposure, progressbar=False)


def same(one, other):
    for name in other.data_vars:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.exhaustive
def test_a_cluster_gives_the_same_bits(client, matrix, whole):
    counts, exposure = matrix
    same(nb.fit_columns(counts, exposure=exposure, client=client, progressbar=False), whole)


def test_dask_columns_are_computed_where_they_are_fitted(client, matrix, whole, tmp_path):
    import dask.array as da

    counts, exposure = matrix
    lazy = da.from_array(counts, chunks=(200, 30))
    options = {"exposure": exposure, "client": client, "progressbar": False}
    same(nb.fit_columns(lazy, out=tmp_path / "fits.zarr", **options), whole)
    same(nb.fit_columns(lazy, out=tmp_path / "fits.zarr", **options), whole)


@pytest.mark.exhaustive
def test_a_killed_worker_loses_nothing(client, matrix, whole, tmp_path):
    counts, exposure = matrix

    out = tmp_path / "fits.zarr"

    def kill_half_way():
        while not (out / "done").is_dir() or len(list((out / "done" / "c").glob("*"))) < 3:
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)

    pids = list(client.run(os.getpid).values())
    killer = threading.Thread(target=kill_half_way)
    killer.start()
    fits = nb.fit_columns(counts, exposure=exposure, client=client, out=out, progressbar=False)
    killer.join()
    same(fits, whole)
    same(nb.ColumnFits.read(out), whole)


DRIVER = textwrap.dedent(
    """
    import sys, time
    import pmnbmix as nb
    from pmnbmix.batch import columns
    from tests.batch.columns_data import simulate

    fitting = columns._fit_part

    def slow(part, *rest):
        if part.first >= 30:
            time.sleep(600)
        return fitting(part, *rest)

    if sys.argv[2] == "slow":
        columns._fit_part = slow
    started = []

    def record(part, *rest):
        started.append(part.first)
        return fitting(part, *rest)

    if sys.argv[2] == "record":
        columns._fit_part = record
    counts, exposure = simulate(96, 400, 31, exposed=True)
    nb.fit_columns(counts, exposure=exposure, out=sys.argv[1], n_jobs=1, progressbar=False)
    print(started)
    """
)


@pytest.mark.exhaustive
def test_a_driver_that_was_killed_redoes_only_what_is_missing(whole, tmp_path, pytestconfig):
    out = tmp_path / "fits.zarr"
    job = [sys.executable, "-c", DRIVER, str(out)]
    driver = subprocess.Popen([*job, "slow"], cwd=pytestconfig.rootpath)
    deadline = time.monotonic() + 300
    while len(list(out.glob("done/c/*"))) < 10:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    unfinished = nb.ColumnFits.read(out)
    assert not unfinished.attrs["finished"]
    assert (unfinished.status.to_numpy() == "interrupted").sum() == 66
    again = subprocess.run(
        [*job, "record"], cwd=pytestconfig.rootpath, check=True, capture_output=True, text=True
    )
    assert again.stdout.strip() == str(list(range(30, 96, 3)))
    same(nb.ColumnFits.read(out), whole)
