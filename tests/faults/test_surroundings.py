"""Surroundings that fail: no room, no network, no optional packages, one core, a fork."""

import os
import subprocess
import sys

import pytest

import pmnbmix as nb

pytestmark = pytest.mark.exhaustive

CSV = "x\n" + "\n".join(map(str, [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30] * 4)) + "\n"


def run(code, *, before=(), check=True, **environment):
    """Run Python code in a process of its own."""
    command = [*before, sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=300,
    )
    if check:
        assert found.returncode == 0, found.stderr[-2000:]
    return found


def command_line(*arguments, **environment):
    """Run the command line in a process of its own."""
    code = f"from pmnbmix.present.cli import main; main({[str(one) for one in arguments]!r})"
    return run(code, check=False, **environment)


@pytest.fixture
def csv(tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text(CSV)
    return file


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here to make a small disk with")
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_the_earlier_file(small_disk):
    counts = nb.Counts([0, 1, 2, 3, 9] * 5)
    fit = nb.fit_em(counts, 1, random_seed=1)
    fit.write(small_disk / "fit.json")
    tree = nb.sample(counts, nb.MixtureSpec(1), draws=400, random_seed=1, progressbar=False)
    with pytest.raises(ValueError, match=r"cannot write tree.nc there \(No space left on device\)"):
        nb.save(tree, small_disk / "tree.nc")
    (small_disk / "rest").write_bytes(bytes(4096 * 14))
    before = (small_disk / "fit.json").read_bytes()
    with pytest.raises(ValueError, match="No space left on device"):
        nb.fit_em(nb.Counts(list(range(900))), 2, random_seed=1).write(small_disk / "fit.json")
    assert (small_disk / "fit.json").read_bytes() == before
    assert sorted(path.name for path in small_disk.iterdir()) == ["fit.json", "rest"]


def test_the_command_on_a_full_disk_ends_in_one_line(small_disk, csv):
    found = command_line("fit", csv, "--components", 1, "--out", small_disk / "run")
    assert found.returncode == 2
    assert "No space left on device" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(small_disk.iterdir()) == []


def test_without_optional_packages_everything_else_works_and_the_name_to_install_is_said(csv):
    code = f"""
import sys
for name in ("anndata", "dask", "distributed", "sklearn", "scanpy"):
    sys.modules[name] = None
import numpy as np
import pmnbmix as nb
counts = nb.read_counts({str(csv)!r}, "x")
nb.fit_em(counts, 2, random_seed=1)
fits = nb.fit_columns(np.arange(40).reshape(20, 2), 1, progressbar=False)
nb.NegativeBinomialMixture(n_components=1).fit(np.arange(9)[:, None])
try:
    nb.fit_columns(np.ones((3, 2), int), 1, client=object())
except TypeError as error:
    print(error)
from pmnbmix.present.cli import main
main(["columns", {str(csv.with_suffix(".h5ad"))!r}])
"""
    csv.with_suffix(".h5ad").write_bytes(b"HDF")
    found = run(code, check=False)
    assert found.returncode == 2
    assert "client must be a dask.distributed.Client; got object" in found.stdout
    assert 'pip install "pmnbmix[anndata]"' in found.stderr
    assert "Traceback" not in found.stderr


def test_without_a_network_nothing_is_missed(csv):
    code = f"""
import socket
def refuse(*arguments, **options):
    raise OSError("the network is unreachable")
socket.socket.connect = refuse
socket.create_connection = socket.getaddrinfo = refuse
import pmnbmix as nb
counts = nb.read_counts({str(csv)!r}, "x")
nb.sample(counts, nb.MixtureSpec(1), draws=50, random_seed=1, progressbar=False)
nb.load_dataset("crab_satellites")
"""
    run(code)


def test_one_core_gives_the_same_numbers():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to cores")
    code = """
import numpy as np
import pmnbmix as nb
rng = np.random.default_rng(1)
counts = nb.Counts(rng.poisson(rng.gamma(1.0, 5.0, 80)))
tree = nb.sample(counts, nb.MixtureSpec(1), draws=60, random_seed=1, progressbar=False)
fits = nb.fit_columns(rng.poisson(3.0, (50, 20)), 2, progressbar=False)
print(repr(float(tree["posterior"]["means"].sum())), repr(float(fits.log_likelihood.sum())))
"""
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + code
    assert run(one).stdout == run(code).stdout


def test_a_fork_after_work_does_not_hang():
    code = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads are
import numpy as np
import pmnbmix as nb
counts = nb.Counts([0, 1, 2, 3, 9, 20] * 5)
matrix = np.random.default_rng(1).poisson(3.0, (50, 20))
def work():
    fits = nb.fit_columns(matrix, 2, n_jobs=2, progressbar=False)
    return nb.fit_em(counts, 2, random_seed=1).log_likelihood, float(fits.log_likelihood.sum())
here = work()
child = os.fork()
if not child:
    os._exit(0 if work() == here else 5)
import signal
signal.alarm(120)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run(code)


def test_a_terminal_without_unicode():
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "dumb"}
    found = command_line("datasets", **plain)
    assert found.returncode == 0, found.stderr
    assert "crab_satellites" in found.stdout


def test_output_that_nobody_reads_ends_quietly():
    code = """
import os, sys
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
from pmnbmix.present.cli import main
main(["datasets"])
"""
    assert "Traceback" not in run(code, check=False).stderr


def test_a_home_that_cannot_be_written_to(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    names = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    places = {name: str(nowhere / "x") for name in names}
    code = """
import pmnbmix as nb
crab = nb.load_dataset("crab_satellites")
print(nb.MixtureParams([0.4, 0.6], [1.0, 5.0], [2.0, 0.1]).logpmf(crab.values).sum())
"""
    assert run(code, **places).stdout == run(code).stdout
