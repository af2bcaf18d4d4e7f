"""Files that commands read, the folders named after them, and what an interrupt leaves of both."""

import json
import os

import pytest

import pmnbmix as nb
from pmnbmix.present.cli import runs, source
from tests.present.test_cli import call

COUNTS = [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30] * 4
ABOVE_ZERO = [value for value in COUNTS if value]
QUICK = ("--draws", 50, "--chains", 2)
FIT = ("fit", "visits.csv", "--components", 1, *QUICK)
CHOOSE = ("choose", "visits.csv", "--max-components", 2, *QUICK)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "visits.csv").write_text("count\n" + "\n".join(map(str, COUNTS)))
    return tmp_path


def listed(folder):
    return sorted(os.listdir(folder))


def test_options_say_how_a_file_is_read(folder):
    rows = [f"{value}.000;0,5" for value in ABOVE_ZERO] + ["12;1", ";2"]
    (folder / "german.csv").write_text("count;size\n" + "\n".join(rows))
    command = ("fit", "german.csv", "--column", "count", "--exposure", "size", *FIT[2:])
    refused = call(*command)
    assert refused.exit_code == 2
    assert '--thousands "."' in refused.output
    refused = call(*command, "--thousands", ".")
    assert "--missing drop" in refused.output
    result = call(*command, "--thousands", ".", "--missing", "drop", "--json", "--out", "run")
    assert result.exit_code == 0, result.output
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["counts"]["n"] == len(ABOVE_ZERO) + 1
    # the record can be given again
    assert record["settings"]["thousands"] == "."
    assert record["settings"]["missing"] == "drop"
    assert "decimal" not in record["settings"]
    report = (folder / "run" / "report.html").read_text()
    assert "--thousands . --missing drop" in report
    em = nb.PointFit.read(folder / "run" / "em_K1.json")
    assert em.counts.values.tolist() == [*(1000 * value for value in ABOVE_ZERO), 12]


def test_options_of_files_are_none_of_data_sets(folder):
    result = call("fit", "--dataset", "red_mites", "--decimal", ",")
    assert result.exit_code == 2
    assert "--decimal belongs to a file" in result.output
    result = call("fit", "visits.csv", "--missing", "fill")
    assert result.exit_code == 2
    assert "missing must be" in result.output


def test_columns_of_a_file_with_marks_are_read(folder):
    (folder / "genes.csv").write_text("a;b\n" + "".join(f"{v}.000;{v}\n" for v in COUNTS[3:15]))
    out = ("--components", 1, "--out", "fits.csv", "--json")
    assert "may mean" in call("columns", "genes.csv", *out).output
    assert call("columns", "genes.csv", *out, "--thousands", ".").exit_code == 0


def test_a_folder_is_called_after_the_file_and_the_column(folder):
    assert call(*FIT).exit_code == 0
    assert "pmnbmix-fit-visits-count" in listed(folder)
    (folder / "other.tsv").write_text((folder / "visits.csv").read_text())
    assert call("fit", "other.tsv", *FIT[2:]).exit_code == 0
    assert "pmnbmix-fit-other-count" in listed(folder)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("visits.csv", "visits"),
        ("a/visits.2.csv", "visits.2"),
        ("visits.csv.GZ", "visits"),
        ("visits.parquet", "visits"),
        ("-", ""),
    ],
)
def test_stems_of_files(name, stem):
    assert source.Source(source.Path(name)).stem == stem


def test_files_of_one_name_do_not_meet_in_one_folder(folder, monkeypatch):
    def stop(*arguments, **options):
        raise MemoryError

    (folder / "later").mkdir()
    (folder / "later" / "visits.csv").write_text("count\n" + "\n".join(map(str, COUNTS[5:])))
    with monkeypatch.context() as patch:
        patch.setattr("pmnbmix.present.folder.render", stop)
        assert call(*FIT).exit_code == 1
    # the first is not finished, and is of other counts
    assert call("fit", "later/visits.csv", *FIT[2:]).exit_code == 0
    first, second = (folder / f"pmnbmix-fit-visits-count{end}" for end in ("", "-2"))
    assert not (first / "run.json").exists()
    assert (second / "run.json").exists()
    assert call(*FIT).exit_code == 0
    assert (first / "run.json").exists()
    assert "pmnbmix-fit-visits-count-3" not in listed(folder)


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_interrupted_before_anything_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr("pmnbmix.study.choose.fit_all", interrupt)
    result = call(*CHOOSE)
    assert result.exit_code == 130
    assert "nothing was finished, and nothing is written." in result.output
    assert listed(folder) == ["visits.csv"]


@pytest.mark.parametrize("command", [FIT, CHOOSE])
def test_interrupted_while_writing_it_says_what_is_there(folder, monkeypatch, command):
    with monkeypatch.context() as patch:
        patch.setattr("pmnbmix.present.folder.render", interrupt)
        result = call(*command, "--out", "run")
    assert result.exit_code == 130
    numbers = "1 component" if command is FIT else "1, 2 components"
    assert (
        f"interrupted; run holds the fits of {numbers}, and the same command with --out run goes "
        "on from there."
    ) in result.output
    monkeypatch.setattr("pmnbmix.study.fit_all", None)
    monkeypatch.setattr("pmnbmix.study.choose.fit_all", None)
    assert call(*command, "--out", "run").exit_code == 0


def test_interrupted_after_the_record_everything_is_there(folder, monkeypatch):
    from pmnbmix.present import folder as writing

    def then_interrupt(*arguments):
        written(*arguments)
        raise KeyboardInterrupt

    written = writing.write_json
    monkeypatch.setattr(writing, "write_json", then_interrupt)
    result = call(*FIT, "--out", "run")
    assert result.exit_code == 130
    assert "interrupted; everything was finished and is in run." in result.output
    assert (folder / "run" / "run.json").exists()


def test_an_earlier_run_that_was_replaced_is_said_to_be_gone(folder, monkeypatch):
    assert call(*FIT, "--out", "run").exit_code == 0
    monkeypatch.setattr("pmnbmix.study.fit_all", interrupt)
    result = call(*FIT, "--out", "run", "--force")
    assert result.exit_code == 130
    assert "nothing is written. The earlier run in run was removed" in result.output


def test_interrupted_columns_say_what_is_there(folder, monkeypatch):
    (folder / "genes.csv").write_text("a,b\n" + "".join(f"{v},{v}\n" for v in COUNTS[:15]))
    command = ("columns", "genes.csv", "--components", 1)
    with monkeypatch.context() as patch:
        patch.setattr("pmnbmix.batch.files.open_matrix", interrupt)
        result = call(*command)
    assert result.exit_code == 130
    assert "nothing is written to genes-columns.zarr" in result.output
    assert call(*command).exit_code == 0
    monkeypatch.setattr("pmnbmix.batch.columns.fit_columns", interrupt)
    assert "is as it was before" in call(*command, "--force").output
    assert nb.ColumnFits.read("genes-columns.zarr").attrs["finished"]


WRITERS = (("simulate", "-n", 20), ("spec", "--components", 3))


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz"])
def test_what_cannot_be_written_leaves_the_earlier_file(folder, monkeypatch, command, name):
    assert call(*command, "--out", name).exit_code == 0
    before = (folder / name).read_bytes()
    assert call(*command, "--out", name).exit_code == 2

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        result = call(*command, "--out", name, "--force")
    assert result.exit_code == 2
    assert f"cannot write {name} there (No space left on device)" in result.output
    assert (folder / name).read_bytes() == before
    assert call(*command, "--out", name, "--force").exit_code == 0
    assert (folder / name).read_bytes() == before
    assert listed(folder) == [name, "visits.csv"]


@pytest.mark.parametrize("command", WRITERS)
def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(folder, command):
    (folder / "kept.txt").write_text("before")
    (folder / "link.txt").symlink_to("kept.txt")
    assert call(*command, "--out", "link.txt", "--force").exit_code == 0
    assert (folder / "link.txt").is_symlink()
    assert (folder / "kept.txt").read_text() != "before"


def test_every_command_that_reads_counts_takes_the_same_options():
    assert runs.fit.__annotations__.keys() - runs.choose.__annotations__.keys() == {"components"}


def test_every_file_of_a_run_copied_from_another_is_refused(folder):
    for seed in (1, 2):
        assert call(*FIT, "--seed", seed, "--out", f"run{seed}").exit_code == 0
    for name in ("em_K1.json", "map_K1.json", "posterior_K1.nc", "run.json", "study.json"):
        own, other = folder / "run1" / name, folder / "run2" / name
        kept = own.read_bytes()
        own.write_bytes(other.read_bytes())
        result = call("report", "run1")
        assert result.exit_code == 2
        assert "belongs to another study" in result.output
        assert result.output.count("\n") == 1
        own.write_bytes(kept)
    assert call("report", "run1").exit_code == 0
