"""The command line as a user meets it: one line and exit code 2 for whatever is wrong."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

import pmnbmix as nb
from pmnbmix.present.cli import main

TABLE = "count,size_factor,label,negative,half,void\n" + "".join(
    f"{value},{0.5 + value % 3},a,{-value},{value + 0.5},\n" for value in [0, 1, 5, 7, 2, 0, 3, 11]
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "cells.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Result:
    exit_code: int
    output: str
    """Standard output and error together."""


def call(*arguments):
    stream = io.StringIO()
    with (
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        pytest.raises(SystemExit) as stopped,
    ):
        main([str(argument) for argument in arguments])
    return Result(int(stopped.value.code), stream.getvalue())


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["fit", "cells.csv"], ["6 columns", "'size_factor'", "--column"]),
        (["fit", "cells.csv", "--column", "counts"], ["no column 'counts'", "'count'"]),
        (["fit", "cells.csv", "--column", "label"], ["must hold numbers", "'a'"]),
        (["fit", "cells.csv", "--column", "negative"], ["0 or above", "-1"]),
        (["fit", "cells.csv", "--column", "half"], ["whole numbers", "0.5"]),
        (["fit", "cells.csv", "--column", "void"], ["missing"]),
        (
            ["fit", "cells.csv", "--column", "count", "--exposure", "negative"],
            ["exposure", "above 0"],
        ),
        (
            ["fit", "cells.csv", "--column", "count", "--frequency", "half"],
            ["frequency", "whole numbers"],
        ),
        (["fit", "none.csv"], ["no such file"]),
        (["fit", "."], ["not a file"]),
        (["fit"], ["FILE", "--dataset"]),
        (["fit", "cells.csv", "--dataset", "red_mites"], ["either"]),
        (["fit", "--dataset", "red_mite"], ["Did you mean 'red_mites'"]),
        (["fit", "--dataset", "red_mites", "--column", "x"], ["--column", "no columns"]),
        (["fit", "--dataset", "red_mites", "--components", "0"], ["1 or above"]),
        (["fit", "--dataset", "red_mites", "--components", "two"], ["--components", "integer"]),
        (["fit", "--dataset", "red_mites", "--draws", "1"], ["--draws"]),
        (["fit", "--dataset", "red_mites", "--chains", "0"], ["--chains"]),
        (["fit", "--dataset", "red_mites", "--spec", "none.toml"], ["no such file"]),
        (["fit", "--dataset", "red_mites", "--spec", "bad.toml"], ["'prio'", "Allowed keys"]),
        (["fit", "--dataset", "red_mites", "--spec", "flat.toml"], ["flat"]),
        (["fit", "--dataset", "red_mites", "--spec", "sparse.toml"], ["no MAP"]),
        (["fit", "--dataset", "red_mites", "--out", "here"], ["not the folder of a run"]),
        (["fit", "--dataset", "red_mites", "--out", "a/b"], ["no such folder"]),
        (["choose", "--dataset", "red_mites", "--max-components", "0"], ["1 or above"]),
        (["demo", "crabs"], ["Did you mean 'crab_satellites'"]),
        (["fits"], ["No such command"]),
        (["fit", "--dataset", "red_mites", "--seed", "-1"], ["--seed", "pmnbmix fit --help"]),
        (["fit", "--dataset", "red_mites", "--components", "1000"], ["at most 100"]),
        (["fit", "cells.csv", "--column", "count", "--exposure", "count"], ["two things"]),
        (["fit", "--colum", "x"], ["No such option"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, texts):
    (folder / "bad.toml").write_text("prio = 3\n")
    (folder / "flat.toml").write_text("[prior.log_means]\nscale = inf\n")
    (folder / "sparse.toml").write_text("[prior.weights]\nconcentration = 0.1\n")
    (folder / "here").mkdir()
    (folder / "here" / "photo").write_text("")
    before = sorted(os.listdir(folder))
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    for text in texts:
        assert text in " ".join(result.output.split())
    assert result.output.startswith("pmnbmix: ")
    assert result.output.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


def test_fit_a_file_with_exposures(folder):
    counts = nb.simulate_droplets(120, with_exposure=True, random_seed=2)
    lines = [f"{v},{s}" for v, s in zip(counts.values, counts.exposure, strict=True)]
    (folder / "drops.csv").write_text("molecules,size_factor\n" + "\n".join(lines) + "\n")
    arguments = ["fit", "drops.csv", "--column", "molecules", "--exposure", "size_factor"]
    options = ["--components", 1, "--draws", 250, "--out", "run"]
    result = call(*arguments, *options)
    assert result.exit_code == 0, result.output
    assert "1 component: EM, MAP and posterior" in result.output
    assert "Written to run" in result.output
    tree = nb.load(folder / "run" / "posterior_K1.nc")
    # 3,000 molecules at size factor 1
    assert float(tree["posterior"]["means"].mean()) == pytest.approx(3000, rel=0.05)
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["settings"]["exposure"] == "size_factor"
    assert record["counts"]["has_exposure"] is True
    for name in ("fit.png", "estimates.png", "chains.png"):
        assert (folder / "run" / name).stat().st_size > 10_000

    again = call(*arguments, *options)
    assert again.exit_code == 2
    assert "--force" in again.output
    replaced = call(*arguments, *options, "--force")
    assert replaced.exit_code == 0, replaced.output


def test_choose_prints_the_choice_with_its_reasons(folder):
    result = call("choose", "--dataset", "red_mites", "--max-components", 2, "--draws", 400)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "needed to predict these counts" in text
    assert "labels and convergence" in text
    assert os.listdir(folder / "pmnbmix-choose-red_mites")


def test_choose_goes_on_where_it_was_stopped(folder, monkeypatch, caplog):
    from pmnbmix.study import choose, fit_all

    fitted = []

    def stopped_at_two(counts, spec, **options):
        fitted.append(spec.n_components)
        if len(fitted) == 2:
            raise MemoryError("no room")
        return fit_all(counts, spec, **options)

    monkeypatch.setattr(choose, "fit_all", stopped_at_two)
    arguments = ["choose", "--dataset", "red_mites", "--max-components", 2, "--draws", 300]
    assert call(*arguments, "--thorough").exit_code == 1
    assert sorted(os.listdir(folder)) == ["cells.csv", "pmnbmix-choose-red_mites.unfinished"]
    other = call(*arguments, "--seed", 2)
    assert other.exit_code == 2
    assert "begun with other random_seed" in other.output
    result = call(*arguments, "--thorough")
    assert result.exit_code == 0, result.output
    assert "where numbers of components 1 are done" in caplog.text
    assert fitted == [1, 2, 2]
    assert sorted(os.listdir(folder)) == ["cells.csv", "pmnbmix-choose-red_mites"]
    run = folder / "pmnbmix-choose-red_mites"
    assert "bootstrap likelihood ratio test" in " ".join(result.output.split())
    for name in ("criteria.png", "rootogram.png", "ranks.png"):
        assert (run / name).stat().st_size > 10_000
    assert (run / "thorough.json").exists()


def test_no_command_is_a_call_for_help():
    result = call()
    assert result.exit_code == 0
    assert "choose" in result.output


def test_names_from_files_are_text_and_not_markup(folder):
    (folder / "odd.csv").write_text("[bold red]x[/nothing]\n1\n2\n5\n0\n")
    result = call("fit", "odd.csv", "--components", 1, "--draws", 100, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "[bold red]x[/nothing]" in result.output


def test_interrupt_writes_nothing(folder, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pmnbmix.study.fit_all", interrupted)
    result = call("fit", "--dataset", "red_mites")
    assert result.exit_code == 130
    assert "nothing written" in result.output
    assert sorted(os.listdir(folder)) == ["cells.csv"]


def test_data_sets_are_listed():
    result = call("datasets")
    assert result.exit_code == 0
    for entry in nb.list_datasets():
        assert entry.name in result.output


def test_help_comes_without_loading_pymc():
    code = (
        "import sys; from pmnbmix.present.cli import main; sys.argv = ['pmnbmix', '--help']\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'pymc', 'arviz', 'numba', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "choose" in done.stdout
