"""Every notebook runs from top to bottom."""

import runpy

import matplotlib.pyplot as plt
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    runpy.run_path(str(path))
    plt.close("all")
    assert capsys.readouterr().out
    # a notebook shows; it leaves nothing behind
    assert list(tmp_path.iterdir()) == []


def test_there_are_notebooks_to_run():
    assert NOTEBOOKS
