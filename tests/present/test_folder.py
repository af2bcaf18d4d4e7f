import json
import os
from pathlib import Path

import pandas as pd
import pytest

import pmnbmix as nb
from pmnbmix.present.folder import building, check_target, free_folder, unfinished, write_choice_run


@pytest.fixture(scope="module")
def run(crab_choice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "crab"
    with building(folder) as made:
        write_choice_run(made.partial, crab_choice, {"command": "choose", "seed": 1})
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
NEW = json.dumps({"format": "pmnbmix run", "result": {}})


def write_run(target, text=RUN, force=False):
    with building(target, force) as made:
        (made.partial / "run.json").write_text(text)
    return made.folder


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    def fail():
        with building(tmp_path / "run") as made:
            (made.partial / "half").write_text("written")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    assert write_run(tmp_path / "run") == tmp_path / "run"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_earlier_run_is_replaced_in_one_step_where_asked(tmp_path):
    target = tmp_path / "run"
    for text in (RUN, NEW):
        write_run(target, text, force=True)
    assert (target / "run.json").read_text() == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_two_runs_under_one_name_are_both_kept(tmp_path, caplog):
    target = tmp_path / "run"
    with building(target) as slow:
        (slow.partial / "run.json").write_text("slow")
        write_run(target, "quick")
    assert (target / "run.json").read_text() == "quick"
    assert slow.folder.name == "run-2"
    assert (tmp_path / "run-2" / "run.json").read_text() == "slow"
    assert "appeared meanwhile" in caplog.text


def test_where_replacing_fails_the_earlier_run_stays_and_the_new_one_is_beside_it(
    tmp_path, monkeypatch, caplog
):
    target = tmp_path / "run"
    write_run(target)
    rename = Path.rename

    def second_fails(path, other):
        if other == target and "-old" not in path.name:
            raise OSError(28, "No space left on device")
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", second_fails)
    assert write_run(target, NEW, force=True).name == "run-2"
    assert (target / "run.json").read_text() == RUN
    assert (tmp_path / "run-2" / "run.json").read_text() == NEW
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]
    assert "No space left on device" in caplog.text


def test_what_is_no_run_any_more_when_the_work_is_done_is_not_replaced(tmp_path):
    target = tmp_path / "run"
    write_run(target)
    with building(target, force=True) as made:
        (made.partial / "run.json").write_text(NEW)
        (target / "thesis.tex").write_text("years of work")
    assert made.folder.name == "run-2"
    assert (target / "thesis.tex").read_text() == "years of work"


def test_a_link_that_appears_meanwhile_is_left_alone(tmp_path):
    target = tmp_path / "run"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text(RUN)
    for leads_to in ("other", "nowhere"):
        with building(target, force=True) as made:
            target.symlink_to(leads_to)
        assert made.folder.name.startswith("run-")
        assert os.readlink(target) == leads_to
        target.unlink()
    assert sorted(os.listdir(tmp_path)) == ["other", "run-2", "run-3"]


def test_a_finished_run_that_can_be_moved_nowhere_is_kept_and_its_place_is_said(
    tmp_path, monkeypatch
):
    def fails(path, other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(ValueError, match=r"No space left on device.*finished, and is in"):
        write_run(tmp_path / "run")
    (left,) = tmp_path.iterdir()
    assert (left / "run.json").read_text() == RUN


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
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds 'thesis\.tex', which no run wrote"):
        check_target(precious, force=True)
    check_target(tmp_path / "new", force=False)
    with pytest.raises(ValueError, match="no such folder"):
        check_target(tmp_path / "none" / "run", force=False)


def test_every_file_of_a_run_can_be_replaced(run):
    check_target(run, force=True)


def test_rights_follow_the_users_mask(tmp_path):
    before = os.umask(0o077)
    try:
        folder = write_run(tmp_path / "run")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_only_what_a_study_wrote_is_removed(tmp_path):
    kept = tmp_path / "run.unfinished"
    with unfinished(tmp_path / "run") as study:
        assert study.folder == kept
        kept.mkdir()
        (kept / "study.json").write_text("{}")
        (kept / "posterior_K1.nc").write_text("")
    assert kept.exists()
    with unfinished(tmp_path / "run") as study:
        (kept / "notes.txt").write_text("mine")
        study.complete = True
    assert os.listdir(kept) == ["notes.txt"]


def test_a_study_stays_until_its_run_is_in_its_place(tmp_path):
    kept = tmp_path / "run.unfinished"

    def move_fails():
        with unfinished(tmp_path / "run") as study:
            kept.mkdir()
            (kept / "study.json").write_text("{}")
            (kept / "posterior_K1.nc").write_text("")
            study.complete = True
            raise OSError

    with pytest.raises(OSError):
        move_fails()
    assert sorted(os.listdir(kept)) == ["posterior_K1.nc", "study.json"]


def test_killed_while_a_study_is_removed_the_rest_of_it_can_be_gone_on_from(tmp_path, monkeypatch):
    kept, removed = tmp_path / "run.unfinished", []
    unlink = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda path, **options: (removed.append(path.name), unlink(path))
    )
    with unfinished(tmp_path / "run") as study:
        kept.mkdir()
        for name in ("study.json", "em_K1.json", "posterior_K1.nc", "map_K1.json"):
            (kept / name).write_text("{}")
        study.complete = True
    # without its record a study is refused, and a posterior says that its point fits are there
    assert removed[0] == "posterior_K1.nc"
    assert removed[-1] == "study.json"
    assert not kept.exists()


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
    assert free_folder("run").name == "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_folder("run").name == "run-3"
    (tmp_path / "run-3").symlink_to("nowhere")
    assert free_folder("run").name == "run-4"
