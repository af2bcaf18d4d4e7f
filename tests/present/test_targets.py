"""Where results go: what --out may name, links and the current folder too, before the work."""

import json
import os

import pandas as pd
import pytest

import pmnbmix as nb
from tests.present.test_cli import call

COUNTS = [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30] * 4
QUICK = ("--draws", 50, "--chains", 2)
FIT = ("fit", "counts.csv", "--components", 1, *QUICK, "--out")
CHOOSE = ("choose", "counts.csv", "--max-components", 1, *QUICK, "--out")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "counts.csv").write_text("x\n" + "\n".join(map(str, COUNTS)))
    return work


@pytest.fixture
def no_work(monkeypatch):
    """Whatever is refused after fitting has begun was refused too late."""

    def begun(*arguments, **options):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("pmnbmix.study.fit_all", begun)
    monkeypatch.setattr("pmnbmix.study.choose_components", begun)
    monkeypatch.setattr("pmnbmix.batch.columns.fit_columns", begun)


def listed(folder):
    return sorted(os.listdir(folder))


def old_run(folder):
    folder.mkdir()
    (folder / "run.json").write_text('{"format": "pmnbmix run"}')


def refused(*arguments):
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1
    return result.output


def test_a_link_that_leads_nowhere_is_refused(folder, no_work):
    (folder / "dangling").symlink_to("no/where")
    for command in (FIT, CHOOSE):
        assert "is a link that leads nowhere" in refused(*command, "dangling")
    assert listed(folder) == ["counts.csv", "dangling"]


def test_a_link_in_a_circle_is_refused(folder, no_work):
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    for command in (FIT, CHOOSE):
        assert "one: this cannot be a folder" in refused(*command, "one", "--force")


def test_a_file_is_no_folder(folder, no_work):
    for command in (FIT, CHOOSE):
        assert "counts.csv: this cannot be a folder" in refused(*command, "counts.csv", "--force")
        assert "no: there is no such folder" in refused(*command, "no/where")


def test_the_run_that_a_link_leads_to_is_replaced_and_the_link_stays(folder):
    old_run(folder / "earlier")
    (folder / "link").symlink_to("earlier")
    assert "--force" in refused(*FIT, "link")
    result = call(*FIT, "link", "--force")
    assert result.exit_code == 0, result.output
    assert listed(folder) == ["counts.csv", "earlier", "link"]
    assert os.readlink(folder / "link") == "earlier"
    assert (folder / "earlier" / "report.html").exists()


def test_an_empty_folder_that_a_link_leads_to_is_filled(folder):
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("empty")
    result = call(*FIT, "link")
    assert result.exit_code == 0, result.output
    assert listed(folder) == ["counts.csv", "empty", "link"]
    assert (folder / "empty" / "report.html").exists()


@pytest.mark.parametrize("name", [".", "", "{}", "../{0.name}"])
def test_the_current_folder_can_be_that_of_a_run(folder, monkeypatch, name):
    empty = folder / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    command = [str(part).replace("counts.csv", "../counts.csv") for part in FIT]
    for options in ((), ("--force",)):
        result = call(*command, name.format(empty), *options)
        assert result.exit_code == 0, result.output
        assert {"run.json", "report.html"} <= {*listed(empty)}
    assert "--force" in refused(*command, name.format(empty))


def test_a_folder_above_the_current_one_is_refused(folder, no_work):
    assert "is not the folder of a run" in refused(*FIT, "..", "--force")
    assert "is not the folder of a run" in refused(*CHOOSE, "/", "--force")


def test_a_name_that_is_too_long_is_refused(folder, no_work):
    assert "File name too long" in refused(*FIT, "a" * 300)
    (folder / "named.csv").write_text("x" * 300 + "\n1\n2\n")
    assert "File name too long" in refused("fit", "named.csv", *QUICK)
    assert "File name too long" in refused("columns", "counts.csv", "--out", "a" * 300 + ".csv")
    assert listed(folder) == ["counts.csv", "named.csv"]


@pytest.mark.parametrize("command", [FIT, CHOOSE])
def test_if_the_report_cannot_be_written_the_same_command_goes_on(folder, monkeypatch, command):
    def full(*arguments):
        raise ValueError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pmnbmix.present.folder.render", full)
        assert "No space left on device" in refused(*command, "run")
    assert {"study.json", "posterior_K1.nc"} <= {*listed(folder / "run")}
    assert "is not finished" in refused("report", "run")
    # what was fitted is not fitted again
    monkeypatch.setattr("pmnbmix.study.choose.fit_all", None)
    monkeypatch.setattr("pmnbmix.study.fit_all", None)
    assert "begun with other random_seed" in refused(*command, "run", "--seed", 2)
    result = call(*command, "run")
    assert result.exit_code == 0, result.output
    assert call("report", "run").exit_code == 0


def test_interrupted_after_it_stopped_early_the_study_is_kept(folder, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("pmnbmix.study.choose._brings_nothing", lambda fits: True)
    monkeypatch.setattr("pmnbmix.study.choose.look_thoroughly", interrupted)
    command = [2 if part == 1 else part for part in CHOOSE]
    result = call(*command, "run", "--thorough")
    assert result.exit_code == 130, result.output
    assert "the same command with --out run goes on" in result.output
    assert (folder / "run" / "report.html").exists()
    assert not (folder / "run" / "run.json").exists()


@pytest.fixture
def matrix(folder):
    pd.DataFrame({"a": COUNTS, "b": COUNTS[::-1]}).to_csv(folder / "cells.csv", index=False)
    return folder


def test_fits_that_a_link_leads_to_are_replaced_and_the_link_stays(matrix):
    (matrix / "link.zarr").symlink_to("fits.zarr")
    for options in ((), ("--force", "--components", 1)):
        result = call("columns", "cells.csv", "--out", "link.zarr", *options)
        assert result.exit_code == 0, result.output
    assert os.readlink(matrix / "link.zarr") == "fits.zarr"
    assert nb.ColumnFits.read("fits.zarr")["n_components"].to_numpy().tolist() == [1, 1]
    assert listed(matrix) == ["cells.csv", "counts.csv", "fits.zarr", "link.zarr"]


def test_fits_go_to_the_empty_folder_that_a_link_leads_to(matrix):
    (matrix / "empty").mkdir()
    (matrix / "link.zarr").symlink_to("empty")
    result = call("columns", "cells.csv", "--out", "link.zarr", "--force")
    assert result.exit_code == 0, result.output
    assert nb.ColumnFits.read("empty").sizes["column"] == 2
    assert (matrix / "link.zarr").is_symlink()


def test_a_table_goes_where_its_link_leads(matrix):
    (matrix / "link.csv").symlink_to("fits.csv")
    assert call("columns", "cells.csv", "--out", "link.csv").exit_code == 0
    assert (matrix / "link.csv").is_symlink()
    assert len(pd.read_csv("fits.csv")) == 2


def test_a_table_that_cannot_be_written_whole_leaves_the_earlier_one(matrix, monkeypatch):
    (matrix / "fits.csv").write_text("earlier")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    said = refused("columns", "cells.csv", "--out", "fits.csv", "--force")
    assert "cannot write fits.csv there (No space left on device)" in said
    assert (matrix / "fits.csv").read_text() == "earlier"


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("d.csv", "d.csv is a folder"),
        ("pipe.csv", "is not a file"),
        ("cells.csv", "is the file that is read"),
        ("link.csv", "is the file that is read"),
        ("circle.csv", "leads in a circle"),
        ("circle.zarr", "leads in a circle"),
        ("file.zarr", "is a file"),
    ],
)
def test_what_fits_cannot_go_to_is_refused_before_the_work(matrix, no_work, out, text):
    (matrix / "d.csv").mkdir()
    os.mkfifo(matrix / "pipe.csv")
    (matrix / "link.csv").symlink_to("cells.csv")
    (matrix / "circle.csv").symlink_to("circle.csv")
    (matrix / "circle.zarr").symlink_to("circle.zarr")
    (matrix / "file.zarr").write_text("mine")
    before = listed(matrix)
    assert text in refused("columns", "cells.csv", "--out", out, "--force")
    assert listed(matrix) == before


@pytest.mark.parametrize(
    "wrong",
    [("none.csv",), ("cells.csv", "--jobs", 0), ("cells.csv", "--exposure", "depth")],
)
def test_a_command_that_is_refused_leaves_the_fits_that_it_was_to_replace(matrix, wrong):
    assert call("columns", "cells.csv", "--out", "fits.zarr").exit_code == 0
    before = listed(matrix)
    refused("columns", *wrong, "--out", "fits.zarr", "--force")
    assert listed(matrix) == before
    assert nb.ColumnFits.read("fits.zarr").sizes["column"] == 2


def test_a_report_goes_where_its_link_leads_and_replaces_nothing_but_a_file(folder):
    assert call(*FIT, "run").exit_code == 0
    (folder / "link.html").symlink_to("mine.html")
    os.mkfifo(folder / "pipe.html")
    assert call("report", "run", "--out", "link.html").exit_code == 0
    assert (folder / "link.html").is_symlink()
    assert "<h1>" in (folder / "mine.html").read_text()
    assert "is not a file" in refused("report", "run", "--out", "pipe.html", "--force")
    assert "is a folder" in refused("report", "run", "--out", "run", "--force")
    assert json.loads((folder / "run" / "run.json").read_text())["format"] == "pmnbmix run"
