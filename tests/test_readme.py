"""The example in the README prints what it shows, and whatever the guides show runs."""

import contextlib
import io
import re
import tomllib

import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb
from pmnbmix.batch.fitting import FAILED, FAULTS
from tests.conftest import ROOT

GUIDES = ROOT / "docs" / "guide"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]


def tolerance(place):
    """EM and MAP are exact; draws take another course on another machine."""
    exact = place <= 30 and place % 5 in (1, 2)
    return {"abs": 0.0051} if exact else {"rel": 0.35, "abs": 0.06}


def test_example_prints_what_it_shows():
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(block("python"), "README.md", "exec"), {})
    words, shown = stream.getvalue().split(), block("text").split()
    assert len(words) == len(shown)
    place = 0
    for found, expected in zip(words, shown, strict=True):
        try:
            number = float(expected.rstrip(".,"))
        except ValueError:
            assert found == expected
        else:
            place += 1
            assert float(found.rstrip(".,")) == pytest.approx(number, **tolerance(place))


def test_commands_are_those_of_the_project():
    assert "uv run pmnbmix demo" in README
    assert "pip install .  " in README
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in extras["optional-dependencies"]:
        assert f"`{name}` (" in README
    assert "uv run pytest" in README
    assert 'uv run pytest -m ""' in README
    assert 'uv run pytest -m ""' in (ROOT / ".ci" / "run").read_text()


def test_the_specification_it_shows_is_the_default(tmp_path):
    (tmp_path / "spec.toml").write_text(guide_block("posteriors", "toml"))
    assert nb.MixtureSpec.read(tmp_path / "spec.toml") == nb.MixtureSpec()


def guide_block(name, language="python"):
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


def run_guide(name, **names):
    names = {"nb": nb, **names}
    exec(compile(guide_block(name), f"{name}.md", "exec"), names)
    return names


def test_guide_on_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"visits": [0, 3, 1], "years": [1.0, 2.0, 2.5], "age": [30, 41, 52]})
    table = table.assign(sex=["f", "m", "f"], id=["a", "b", "b"])
    table.to_csv("visits.csv", index=False)
    names = {"nb": nb, "visits": table["visits"], "ages": table["age"], "sexes": table["sex"]}
    names["patients"] = table["id"]
    text = (GUIDES / "counts.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(first, "counts.md", "exec"), names)
    counts = names["counts"]
    assert f"{counts.n:,} observations, {counts.n_unique} distinct rows" in first
    exec(compile(second, "counts.md", "exec"), names)
    assert set(names["counts"].covariates) == {"age", "sex"}


def test_guide_on_point_fits(crab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_guide("point_fits", counts=crab)
    assert (tmp_path / "fit.json").exists()


def test_guide_on_regressions_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (GUIDES / "regressions.md").read_text(encoding="utf-8")
    stream, names = io.StringIO(), {}
    with contextlib.redirect_stdout(stream):
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(code, "regressions.md", "exec"), names)
    shown = "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL))
    assert_same_words(stream.getvalue(), shown)
    assert len(names["fit"].optima) == 1


def assert_same_words(printed, shown):
    """Both are the same text, its numbers but for the last digit."""
    pattern = r"-?\d+\.?\d*|[^\s\d]+"
    words, expected = re.findall(pattern, printed), re.findall(pattern, shown)
    assert len(words) == len(expected)
    for word, other in zip(words, expected, strict=True):
        if word != other:
            last = 10.0 ** -len(other.partition(".")[2])
            assert float(word) == pytest.approx(float(other), abs=1.01 * last)


def test_guide_on_posteriors(crab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_guide("posteriors", counts=crab, spec=nb.MixtureSpec(2))
    assert (tmp_path / "posterior.nc").exists()


@pytest.mark.exhaustive
def test_guide_on_pymc(crab):
    names = run_guide("pymc", counts=crab)
    assert names["diagnosis"].density_ok
    # a component of a larger mean has fewer counts of 0, so labels went with the parameters
    assert names["p_none"][0] > names["p_none"][1]
    assert names["elpd"].elpd == pytest.approx(nb.loo(names["tree"]).elpd, abs=0.01)


def test_guide_on_labels(crab_choice):
    names = run_guide("labels", tree=crab_choice.trees[2], em=crab_choice.em[2])
    assert names["diagnosis"].chains.shape[0] == 4


@pytest.mark.exhaustive
def test_guide_on_choosing(crab):
    assert run_guide("choosing", counts=crab)["choice"].chosen == 2


@pytest.mark.exhaustive
# sockets of the workers are closed by the collector, and another program may have the port
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Port ")
def test_guide_on_columns(tmp_path, monkeypatch):
    anndata = pytest.importorskip("anndata", reason="anndata is not installed")
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    size_factor = np.random.default_rng(1).lognormal(0.0, 0.4, 120)
    truth = nb.MixtureParams([0.7, 0.3], [1.0, 12.0], [0.4, 0.2])
    columns = [truth.sample(120, random_seed=j, exposure=size_factor)[0] for j in range(6)]
    cells = anndata.AnnData(
        np.column_stack(columns),
        obs=pd.DataFrame({"size_factor": size_factor}, index=[f"cell{i}" for i in range(120)]),
        var=pd.DataFrame(index=[f"gene{j}" for j in range(6)]),
    )
    monkeypatch.chdir(tmp_path)
    names = {"nb": nb, "cells": cells, "__name__": "__main__"}
    text = (GUIDES / "columns.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "columns.md", "exec"), names)
    assert names["chosen"].identical(names["again"])
    assert names["fits"].attrs["finished"]
    assert "nb_means" in cells.varm


def test_guide_on_columns_explains_every_word():
    text = (GUIDES / "columns.md").read_text(encoding="utf-8")
    table = text.split("## Statuses")[1].split("## ")[0]
    # columns have no covariates, so that these two are of regressions only
    of_regressions = {nb.Status.NOT_IDENTIFIED, nb.Status.SEPARATION}
    for word in (*map(str, set(nb.Status) - of_regressions), *FAULTS, FAILED):
        assert word in table
    regressions = (GUIDES / "regressions.md").read_text(encoding="utf-8")
    for word in map(str, of_regressions):
        assert f"| `{word}` |" in regressions
    for variable in nb.fit_columns([[1], [2]], progressbar=False).data_vars:
        assert f"`{variable}`" in text


def test_columns_in_the_readme_are_fitted_as_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = block("python", 1)
    exec(compile(code, "README.md", "exec"), {"nb": nb})
    (shown,) = re.findall(r"print\(.*\)  # (.*)", code)
    assert capsys.readouterr().out.strip() == shown


def test_regression_in_the_readme_prints_what_it_shows():
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(block("python", 2), "README.md", "exec"), {"nb": nb, "np": np})
    assert_same_words(stream.getvalue(), block("text", 1))


def test_every_finding_is_explained():
    text = (GUIDES / "labels.md").read_text(encoding="utf-8")
    words = "label-switching multimodal lower-mode not-mixed weak-labels empty-component"
    for word in [*words.split(), "near-poisson", "divergences"]:
        assert word in text


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *GUIDES.glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http") and target != "../index.md":
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_is_not_in_the_readme_any_more_is_in_the_site():
    """Every page of the documentation has its place in the navigation."""
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*GUIDES.glob("*.md"), *(ROOT / "docs" / "api").glob("*.md")]:
        assert f"{page.parent.name}/{page.name}" in listed
    for page in (ROOT / "notebooks").glob("*.py"):
        assert f"notebooks/{page.name}" in listed


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    for name in set(nb.__all__) - {"plots"}:
        assert re.search(rf"^::: pmnbmix\..*\.{name}$", text, re.MULTILINE), name
    for name in nb.plots.__all__:
        assert f".{name}\n" in text, name
