"""Work that is killed while it writes: what is there is whole, and the same call goes on."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pmnbmix as nb
from pmnbmix.study import storage

_FILE = Path(__file__).with_name("killed.py")
_SPEC = importlib.util.spec_from_file_location("killed", _FILE)
killed = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(killed)

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not hasattr(killed.os, "fork"), reason="copies are made by fork"),
]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Folders of the copies of each work that were killed before and after these moves."""
    moves = {"fit": "1,2", "tree": "1,2", "bootstrap": "1,3,6", "columns": "45,90", "choose": "1,6"}
    folder = tmp_path_factory.mktemp("copies")
    command = [sys.executable, str(_FILE), str(folder), *map("=".join, moves.items())]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return {
        work: sorted(
            path for path in (folder / work).iterdir() if not _ended_by_itself(path, run.stdout)
        )
        for work in moves
    }


def _ended_by_itself(path, said):
    when, move = path.name.split("-")
    begun = f"{path.parent.name} {move} "
    line = next(line for line in said.splitlines() if line.startswith(begun))
    return f"'{when}': 0" in line


def test_a_point_fit_is_the_earlier_or_the_later_one(copies):
    weights = {}
    for folder in copies["fit"]:
        file = folder / "fit.json"
        weights[folder.name] = nb.PointFit.read(file).params.weights.size if file.exists() else 0
    assert weights == {"before-1": 0, "after-1": 2, "before-2": 2, "after-2": 1}


def test_a_tree_is_the_earlier_or_the_later_one(copies):
    found = {}
    for folder in copies["tree"]:
        file = folder / "tree.nc"
        found[folder.name] = nb.load(file)["posterior"]["means"].values if file.exists() else None
    assert found["before-1"] is None
    np.testing.assert_array_equal(found["after-1"], found["before-2"])
    assert (found["after-1"] != found["after-2"]).any()


def test_the_bootstrap_goes_on_with_every_replicate_that_was_kept(copies):
    options = {"n_boot": 6, "n_jobs": 1, "progressbar": False}
    whole = nb.bootstrap_lrt(killed.counts(), random_seed=2, **options)
    sizes = {}
    for folder in copies["bootstrap"]:
        file = folder / "test.json"
        if file.exists():
            kept = nb.BootstrapTest.read(file).null_statistics
            sizes[folder.name] = kept.size
            np.testing.assert_array_equal(kept, whole.null_statistics[: kept.size])
        again = nb.bootstrap_lrt(killed.counts(), random_seed=2, file=file, **options)
        np.testing.assert_array_equal(again.null_statistics, whole.null_statistics)
    # the first file is written before the work, to see that it can be
    assert sizes == {"after-1": 0, "before-3": 1, "after-3": 2, "before-6": 4, "after-6": 5}


def test_columns_go_on_where_they_were_killed(copies):
    whole = nb.fit_columns(killed.matrix(), 2, progressbar=False)
    begun = 0
    for folder in copies["columns"]:
        # what is unfinished is said, never read as whole
        if (folder / "fits.zarr").exists():
            begun += 1
            part = nb.ColumnFits.read(folder / "fits.zarr").load()
            assert part.attrs["finished"] == 0
            done = (part.status != "interrupted").to_numpy()
            assert not done.all()
            for name in ("means", "log_likelihood", "status"):
                np.testing.assert_array_equal(part[name][done], whole[name][done])
        killed.columns(folder)
        found = nb.ColumnFits.read(folder / "fits.zarr")
        assert found.attrs.pop("format") == 1
        xr.testing.assert_identical(found.load(), whole.load())
    assert begun == 2


def test_a_study_goes_on_and_chooses_the_same(copies, tmp_path):
    (tmp_path / "whole").mkdir()
    killed.choose(tmp_path / "whole")
    options = {"draws": 100, "watch": lambda title, done, total: None}
    whole = nb.choose_components(
        killed.counts(), 2, folder=tmp_path / "whole" / "study", stop_early=False, **options
    )
    done = {}
    for folder in copies["choose"]:
        study = folder / "study"
        done[folder.name] = storage.finished(study) if study.exists() else ()
        found = nb.choose_components(
            killed.counts(), 2, random_seed=4, folder=study, stop_early=False, **options
        )
        assert found.reasons == whole.reasons
        assert found.table.equals(whole.table)
    assert done == {
        "before-1": (),
        "after-1": (),
        "before-6": (),
        "after-6": (1,),
    }
