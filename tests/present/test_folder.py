import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import pmnbmix as nb
from pmnbmix.present.folder import begun, check_target, free_folder, read_run, write_choice_run


@pytest.fixture(scope="module")
def run(crab_choice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "crab"
    folder.mkdir()
    write_choice_run(folder, crab_choice, {"command": "choose", "seed": 1})
    return folder


def test_everything_is_there_and_can_be_read_back(run, crab_choice):
    names = {path.name for path in run.iterdir()}
    for k in (1, 2, 3):
        assert {f"posterior_K{k}.nc", f"em_K{k}.json", f"map_K{k}.json"} <= names
        for part in ("estimates", "optima", "diagnosis"):
            assert f"{part}_K{k}.csv" in names
    assert {"choice.csv", "run.json", "fit.png", "estimates.png", "elpd.png"} <= names
    tree = nb.load(run / "posterior_K2.nc")
    assert nb.loo(tree).elpd == pytest.approx(crab_choice.table.loc[2, "elpd"])
    table = pd.read_csv(run / "choice.csv", index_col="n_components")
    assert table["plausible"].tolist() == crab_choice.table["plausible"].tolist()


def test_fits_of_a_run_can_be_read_back(run, crab_choice):
    fit = nb.PointFit.read(run / "em_K2.json")
    assert fit.log_likelihood == pytest.approx(crab_choice.em[2].log_likelihood)


def test_record_says_what_was_done_with_what(run):
    record = json.loads((run / "run.json").read_text())
    assert record["settings"] == {"command": "choose", "seed": 1}
    assert record["counts"] == {
        "name": "crab_satellites",
        "n": 173,
        "n_unique": 15,
        "has_exposure": False,
    }
    assert record["result"]["chosen"] == 2
    assert record["result"]["fits"]["2"]["density_ok"] is True
    assert {"pmnbmix", "pymc", "numpy", "python"} <= set(record["versions"])


def test_figures_are_pictures_of_some_size(run):
    for name in ("fit.png", "estimates.png", "elpd.png"):
        content = (run / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000


RUN = json.dumps({"format": "pmnbmix run"})
STUDY = json.dumps({"format": "pmnbmix study"})


def fill(folder, **files):
    """Write files, of which an underscore stands for the dot."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / ".".join(name.rsplit("_", 1))).write_text(text)
    return folder


def test_only_when_all_is_written_there_is_a_record(run, crab_choice, tmp_path, monkeypatch):
    def killed(folder, data):
        raise MemoryError

    fill(tmp_path, study_json=STUDY, labels_png="stale", em_K4_json="of other work")
    with monkeypatch.context() as patched:
        patched.setattr("pmnbmix.present.folder.write_json", killed)
        with pytest.raises(MemoryError):
            write_choice_run(tmp_path, crab_choice, {"command": "choose", "seed": 1})
    with pytest.raises(ValueError, match=r"not finished\. The command that began it goes on"):
        read_run(tmp_path)
    write_choice_run(tmp_path, crab_choice, {"command": "choose", "seed": 1})
    # what is no part of this run is gone
    assert {*os.listdir(tmp_path)} == {*os.listdir(run), "study.json"}


def test_an_interrupted_run_has_a_report_and_no_record(crab_choice, tmp_path):
    note = "Interrupted: only up to 3 of 4 were assessed."
    stopped = replace(crab_choice, note=note, reasons=(*crab_choice.reasons, note))
    record = write_choice_run(tmp_path, stopped, {})
    assert record["result"]["note"].startswith("Interrupted")
    assert "posterior_K3.nc" in os.listdir(tmp_path)
    assert "run.json" not in os.listdir(tmp_path)
    assert note in (tmp_path / "report.html").read_text()


def test_a_finished_run_is_removed_when_it_is_begun_anew_and_what_is_not_its_own_stays(tmp_path):
    names = {"run_json": RUN, "study_json": STUDY, "posterior_K2_nc": "", "chains_png": ""}
    folder = fill(tmp_path / "run", **names, thesis_tex="years of work")
    (folder / f".saving-{'a' * 12}-em_K1.json").touch()
    with begun(folder):
        assert os.listdir(folder) == ["thesis.tex"]


def test_killed_while_a_run_is_removed_the_rest_of_it_can_be_removed_again(tmp_path, monkeypatch):
    removed, unlink = [], Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda path, **options: (removed.append(path.name), unlink(path))
    )
    names = ("study_json", "run_json", "em_K1_json", "posterior_K1_nc", "map_K1_json")
    with begun(fill(tmp_path / "run", **dict.fromkeys(names, RUN))):
        pass
    # without its records a run is refused, and a posterior says that its point fits are there
    assert removed[0] == "posterior_K1.nc"
    assert removed[-2:] == ["run.json", "study.json"]


def test_an_unfinished_run_is_gone_on_with(tmp_path, caplog):
    folder = fill(tmp_path / "run", study_json=STUDY, posterior_K1_nc="", posterior_K2_nc="")
    check_target(folder, force=False)
    with begun(folder):
        assert len(os.listdir(folder)) == 3
    assert f"going on with {folder}, where numbers of components 1, 2 are done" in caplog.text


@pytest.mark.parametrize("there", [True, False])
def test_work_that_finished_nothing_leaves_nothing(tmp_path, there):
    def fails(**more):
        with begun(folder):
            fill(folder, study_json=STUDY, em_K1_json="", **more)
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        fails()
    assert folder.exists() == there
    with pytest.raises(KeyboardInterrupt):
        fails(posterior_K1_nc="")
    assert sorted(os.listdir(folder)) == ["em_K1.json", "posterior_K1.nc", "study.json"]


def test_only_runs_are_ever_replaced(tmp_path):
    precious = tmp_path / "photos"
    precious.mkdir()
    # an empty folder has nothing to lose
    check_target(precious, force=False)
    (precious / "photo").write_text("")
    for text in (None, "{}", "not json", '{"format": "other"}'):
        if text is not None:
            (precious / "run.json").write_text(text)
        with pytest.raises(ValueError, match="not the folder of a run"):
            check_target(precious, force=True)
    (precious / "run.json").write_text(RUN)
    (precious / "photo").rename(precious / "posterior_K2.nc")
    with pytest.raises(ValueError, match="--force"):
        check_target(precious, force=False)
    check_target(precious, force=True)
    check_target(tmp_path / "new", force=False)
    with pytest.raises(ValueError, match="no such folder"):
        check_target(tmp_path / "none" / "run", force=False)


def test_every_file_of_a_run_is_known_as_its_own(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    check_target(copy, force=True)
    with begun(copy):
        assert os.listdir(copy) == []


def test_a_record_that_never_ends_is_no_run(tmp_path):
    for content in ("pipe", "[" * 200_000):
        folder = tmp_path / content[:4]
        folder.mkdir()
        if content == "pipe":
            os.mkfifo(folder / "run.json")
        else:
            (folder / "run.json").write_text(content)
        with pytest.raises(ValueError, match="not the folder of a run"):
            check_target(folder, force=True)


def test_the_first_free_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = nb.Counts([0, 1, 5])
    assert free_folder("run", counts).name == "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_folder("run", counts).name == "run-3"
    (tmp_path / "run-3").symlink_to("nowhere")
    assert free_folder("run", counts).name == "run-4"
    (tmp_path / "run-2" / "study.json").write_text(STUDY)
    # what was not finished is gone on with
    assert free_folder("run", counts).name == "run-2"
