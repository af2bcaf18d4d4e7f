"""The command line as a user meets it: one line and exit code 2 for whatever is wrong."""

import contextlib
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
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
        (
            ["fit", "--dataset", "red_mites", "--draws", "10", "--chains", "2"],
            ["--draws 10 of --chains 2 are 20 draws in all; LOO needs 50 or more"],
        ),
        (["choose", "--dataset", "red_mites", "--draws", "4", "--chains", "1"], ["--draws 4"]),
        (["demo", "red_mites", "--draws", "49", "--chains", "1"], ["49 draws in all"]),
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
    assert "Open run/report.html in a browser" in result.output
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
    # the headline and whether the counts are described end it, in a frame
    assert re.search(r"predicts? best|smallest number|needed to predict", text)
    assert "describes the counts (goodness of fit p = " in text
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
    assert sorted(os.listdir(folder)) == ["cells.csv", "pmnbmix-choose-red_mites"]
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
    assert "nothing is written" in result.output
    assert sorted(os.listdir(folder)) == ["cells.csv"]


def test_data_sets_are_listed():
    result = call("datasets")
    assert result.exit_code == 0
    for entry in nb.list_datasets():
        assert entry.name in result.output


def test_a_run_is_read_back_and_reported(folder):
    arguments = ["--components", 1, "--draws", 250, "--out", "run", "--json"]
    fitted = call("fit", "--dataset", "red_mites", *arguments)
    assert fitted.exit_code == 0, fitted.output
    record = json.loads(fitted.output)
    assert record["folder"] == "run"
    assert set(record["result"]["answer"]) == {"level", "sentences"}
    estimate = record["result"]["fit"]["estimates"]["means[0]"]
    assert estimate["nuts_lower"] < estimate["nuts_median"] < estimate["nuts_upper"]
    assert (
        record["result"]["fit"]["adequacy"]["sentence"] in record["result"]["answer"]["sentences"]
    )
    assert record["result"]["fit"]["density_ok"] is True
    assert record["settings"]["draws"] == 250
    page = (folder / "run" / "report.html").read_text()
    assert "<h1>red_mites</h1>" in page
    (folder / "run" / "report.html").unlink()
    again = call("report", "run")
    assert again.exit_code == 0, again.output
    assert "1 component was fitted, as was asked." in again.output
    new = (folder / "run" / "report.html").read_text()
    # pictures and words are the same, made from what was stored
    assert re.sub(r"base64,[^\"]+", "", new) == re.sub(r"base64,[^\"]+", "", page)
    assert "--draws 250" in new
    assert call("report", "run", "--out", "mine.html").exit_code == 0
    refused = call("report", "run", "--out", "mine.html")
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert call("report", "run", "--out", "mine.html", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda run: (run / "run.json").write_text("{}"), "this is no pmnbmix run"),
        (lambda run: (run / "em_K1.json").unlink(), "em_K1.json: there is no such file"),
        (lambda run: (run / "posterior_K1.nc").write_text("x"), "not a readable netCDF"),
        (lambda run: (run / "posterior_K1.nc").unlink(), "no posterior in it"),
    ],
)
def test_a_run_that_is_none_is_said_so(folder, finished_run, damage, text):
    shutil.copytree(finished_run, folder / "run")
    damage(folder / "run")
    result = call("report", "run")
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
    assert result.output.count("\n") == 1


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--components", 1, "--draws", 250, "--out", out]
    assert call("fit", "--dataset", "red_mites", *options).exit_code == 0
    return out


def test_counts_from_standard_input(folder, monkeypatch):
    lines = "count;size\n" + "\n".join(f"{v};1" for v in [0, 1, 5, 7, 2, 0, 3, 11])
    for content, column, texts in (
        (lines.encode(), "count", ["n=8"]),
        (gzip.compress(lines.encode()), "count", ["n=8"]),
        (lines.encode(), "void", ["standard input: there is no column 'void'", "'size'"]),
        (b"", "count", ["standard input: the file is empty"]),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        options = ["--components", 1, "--draws", 100, "--out", "run", "--force"]
        result = call("fit", "-", "--column", column, *options)
        for text in texts:
            assert text in " ".join(result.output.split())
        assert result.exit_code == (0 if texts == ["n=8"] else 2), result.output


def test_standard_input_that_is_closed_is_one_line(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    result = call("fit", "-", "--draws", 50, "--chains", 2)
    assert result.exit_code == 2
    assert "standard input is closed" in result.output
    assert result.output.count("\n") == 1


def test_standard_output_that_is_closed_is_no_error():
    code = "from pmnbmix.present.cli import main; main(['datasets'])"
    command = ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_simulated_counts_can_be_fitted(folder):
    options = ["-n", 400, "--means", "3,40", "--exposure-spread", 0.5]
    result = call("simulate", *options, "--out", "a.csv.gz")
    assert result.exit_code == 0, result.output
    counts = nb.read_counts("a.csv.gz", column="count", exposure="size_factor")
    assert counts.n == 400
    fit = nb.fit_em(counts, 2, random_seed=1)
    np.testing.assert_allclose(fit.params.means, [3, 40], rtol=0.2)
    again = call("simulate", *options)
    assert again.output == gzip.decompress((folder / "a.csv.gz").read_bytes()).decode()
    assert call("simulate", "--out", "a.csv.gz").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["simulate", "--means", "2;3"], "--means must be numbers divided by commas"),
        (["simulate", "--weights", "0.5,0.6"], "sum"),
        (["simulate", "-n", 0], "-n must be a whole number of 1 or above"),
        (["simulate", "--exposure-spread", 50], "--exposure-spread must be 0 to 20"),
        (["simulate", "--out", "none/a.csv"], "there is no such folder"),
        (["spec", "none.toml"], "no such file"),
        (["report", "nowhere"], "no such folder"),
    ],
)
def test_bad_requests_of_the_other_commands(folder, arguments, text):
    result = call(*arguments)
    assert result.exit_code == 2
    assert text in result.output
    assert result.output.startswith("pmnbmix: ")
    assert result.output.count("\n") == 1


def test_priors_are_printed_completed_and_used(folder):
    printed = call("spec")
    assert printed.exit_code == 0
    (folder / "default.toml").write_text(printed.output)
    assert nb.MixtureSpec.read(folder / "default.toml") == nb.MixtureSpec()
    (folder / "mine.toml").write_text("[prior.log_means]\nscale = 1.5\n")
    assert call("spec", "mine.toml", "--components", 3, "--out", "whole.toml").exit_code == 0
    whole = nb.MixtureSpec.read(folder / "whole.toml")
    assert whole.n_components == 3
    assert whole.log_means.scale == 1.5
    assert whole.weights == nb.MixtureSpec().weights


def test_doctor_looks_at_every_part():
    result = call("doctor", "--json")
    found = {one["part"]: one for one in json.loads(result.output)}
    assert result.exit_code == 0, result.output
    assert list(found) == [
        *("python", "packages", "machine", "cache", "density", "sampler", "figures")
    ]
    assert all(one["ok"] for one in found.values())
    assert "nutpie" in found["packages"]["text"]


def test_doctor_says_what_fails(monkeypatch):
    from pmnbmix.present import doctor

    monkeypatch.setattr(doctor, "_lower_bounds", lambda: iter([("numpy", "99.0"), ("nope", "1")]))
    monkeypatch.setattr(doctor, "_sampler", lambda: "not looked at")
    result = call("doctor")
    # words of a cell stand on several lines, between those of its frame
    text = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 1
    assert "older than 99.0" in text
    assert "nope is missing" in text
    assert "failed" in text


def test_every_command_has_an_example_in_its_help():
    listed = call("--help").output
    for name in ("demo", "fit", "choose", "report", "simulate", "spec"):
        assert name in listed
        assert f"Example: pmnbmix {name}" in " ".join(call(name, "--help").output.split())


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
