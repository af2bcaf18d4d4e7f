"""Runs that somebody has edited by hand: what is wrong with them is said, and where."""

import json
import shutil

import pytest

import pmnbmix as nb
from pmnbmix.present.folder import read_run, write_choice_run
from tests.present.test_cli import call

VALUES = [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30] * 4


def choice_of(values):
    return nb.choose_components(
        nb.Counts(values),
        2,
        draws=50,
        chains=2,
        random_seed=1,
        watch=lambda title, done, total: None,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, values in (("run", VALUES), ("other", VALUES[:30])):
        (folder / name).mkdir()
        write_choice_run(folder / name, choice_of(values), {"command": "choose"})
    return folder


@pytest.fixture
def run(kept, tmp_path):
    return shutil.copytree(kept / "run", tmp_path / "run")


def changed(run, **parts):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **parts}))


def result_of(run, **parts):
    return {**json.loads((run / "run.json").read_text())["result"], **parts}


def refused(run):
    with pytest.raises(ValueError) as error:
        read_run(run)
    result = call("report", run)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output == f"pmnbmix: {' '.join(str(error.value).split())}\n"
    return result.output


def test_what_was_not_edited_is_read(run):
    choice, record = read_run(run)
    assert sorted(choice.fits) == [1, 2]
    assert record["settings"] == {"command": "choose"}


@pytest.mark.parametrize("k", [1, 2])
def test_a_posterior_that_was_taken_out_is_named(run, k):
    (run / f"posterior_K{k}.nc").unlink()
    said = refused(run)
    assert f"posterior_K{k}.nc: there is no such file, but the run fitted 1, 2 components" in said
    assert "run choose again" in said


def test_a_posterior_that_was_put_in_is_named(run):
    for name in ("posterior_K{}.nc", "em_K{}.json", "map_K{}.json"):
        shutil.copy(run / name.format(2), run / name.format(3))
    assert "posterior_K3.nc: the run fitted 1, 2 components" in refused(run)


def test_fits_of_other_counts_are_refused(run, kept):
    for name in ("posterior_K2.nc", "em_K2.json", "map_K2.json"):
        shutil.copy(kept / "other" / name, run / name)
    assert "em_K2.json: its counts are not those of em_K1.json" in refused(run)


def test_a_run_of_fit_with_two_posteriors_is_refused(run):
    changed(run, result={"fit": {}})
    assert "a run of fit has one posterior; found those of 1, 2 components" in refused(run)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"settings": [1, 2]}, "settings must be a mapping by name; got [1, 2]"),
        ({"settings": "choose"}, "settings must be a mapping by name; got 'choose'"),
        ({"settings": None}, "settings must be a mapping by name; got None"),
        ({"settings": {"spec": [1]}}, "spec must be a table; got [1]"),
        ({"settings": {"command": "demo"}}, "settings of demo must have a dataset"),
        ({"versions": ["pymc"]}, "versions must be a mapping by name"),
        ({"result": 3}, "it has no result"),
    ],
)
def test_a_record_that_was_edited_is_said_to_be_wrong(run, parts, text):
    changed(run, **parts)
    said = refused(run)
    assert f"{run / 'run.json'}: {text}" in said
    assert "again" in said


@pytest.mark.parametrize("fits", [None, [1, 2], {"one": {}}, {"0": {}}])
def test_numbers_of_components_that_are_none_are_said_to_be_wrong(run, fits):
    changed(run, result=result_of(run, fits=fits))
    assert "run.json: fits must be a table by number of components" in refused(run)


def test_a_note_that_is_no_text_is_said_to_be_wrong(run):
    changed(run, result=result_of(run, note=["x"]))
    assert "run.json: note must be text; got ['x']" in refused(run)
