"""Every notebook runs from top to bottom."""

import importlib.util
import runpy

import matplotlib.pyplot as plt
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
# what a notebook needs that the package does not
NEEDS = {"many_genes": ("anndata", "scanpy")}


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, monkeypatch, capsys):
    for name in NEEDS.get(path.stem, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{path.name} reads counts that come with scanpy: {name} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    runpy.run_path(str(path))
    plt.close("all")
    assert capsys.readouterr().out
    # a notebook shows; it leaves nothing behind
    assert list(tmp_path.iterdir()) == []


def test_there_are_notebooks_to_run():
    assert NOTEBOOKS
