"""The command line killed or interrupted in the middle of its work: the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.exhaustive

_VALUES = [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30] * 4
_CHOOSE = ["choose", "counts.csv", "--max-components", "3", "--draws", "250", "--json"]
_QUICK = ["--max-components", "1", "--draws", "50", "--chains", "2"]
# a shell that runs this in the background may have it ignore interrupts
_CODE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from pmnbmix.present.cli import main; main({arguments!r})"
)
# killed just before or just after the record of a run comes into its place
_KILLED = """
import os, pathlib, signal
replace = os.replace
def killed(path, target):
    last = pathlib.Path(target).name == "run.json"
    if last and {when!r} == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(path, target)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
"""
# of a machine on which nothing is compiled yet
_PATIENCE = 300.0


def start(folder, out, *options, before=""):
    """Start the command in a process of its own, after some code."""
    (folder / "counts.csv").write_text("x\n" + "\n".join(map(str, _VALUES)))
    code = before + _CODE.format(arguments=[*_CHOOSE, "--out", out, *options])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(folder, out, *options):
    """Run the command to its end: what it printed beside its result, and the result."""
    run = start(folder, out, *options)
    printed, said = run.communicate(timeout=_PATIENCE)
    assert run.returncode == 0, said[-2000:]
    found = json.loads(printed)["result"]
    for fit in found["fits"].values():
        fit["sampling"].pop("sampling_seconds")
    return said, found


def stopped(folder, sent, later):
    """Send a signal so many seconds after the first posterior was kept; status and what was said.

    With ``later`` below 0 it is sent that long after the start.
    """
    run = start(folder, "run")
    begun = time.monotonic()
    first = folder / "run" / "posterior_K1.nc"
    while later >= 0 and not first.exists() and time.monotonic() < begun + _PATIENCE:
        assert run.poll() is None, run.communicate()[1][-2000:]
        time.sleep(0.02)
    time.sleep(abs(later))
    run.send_signal(sent)
    said = run.communicate(timeout=_PATIENCE)[1]
    return run.returncode, said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return result(tmp_path_factory.mktemp("whole"), "run")[1]


def test_killed_after_one_number_of_components_it_goes_on_with_the_next(tmp_path, whole):
    status, _ = stopped(tmp_path, signal.SIGKILL, 0.3)
    assert status == -signal.SIGKILL
    assert not (tmp_path / "run" / "run.json").exists()
    said, found = result(tmp_path, "run")
    assert "numbers of components 1" in said
    assert found == whole


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_record_is_written_the_run_is_finished_or_not(tmp_path, when):
    run = start(tmp_path, "run", *_QUICK, before=_KILLED.format(when=when))
    said = run.communicate(timeout=_PATIENCE)[1]
    assert run.returncode == -signal.SIGKILL, said[-2000:]
    finished = when == "after"
    assert (tmp_path / "run" / "run.json").exists() == finished
    said, found = result(tmp_path, "run", *_QUICK, *(["--force"] if finished else []))
    assert ("numbers of components 1" in said) == (not finished)
    assert found["chosen"] in (1, None)
    assert not any(name.startswith(".saving-") for name in os.listdir(tmp_path / "run"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are not sent there")
def test_interrupted_it_says_what_is_kept_and_goes_on(tmp_path, whole):
    status, said = stopped(tmp_path, signal.SIGINT, 0.1)
    assert status == 130
    assert "the same command with --out run goes on" in said
    assert "Traceback" not in said
    # what was finished is there to be read
    assert (tmp_path / "run" / "report.html").exists()
    said, found = result(tmp_path, "run")
    assert "numbers of components 1" in said
    assert found == whole
