"""The example in the README runs, and prints what the README shows, to the digits that count."""

import contextlib
import io
import re

import pytest

import pmnbmix as nb
from tests.conftest import ROOT

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
    assert "uv run pytest" in README
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_the_specification_it_shows_is_the_default(tmp_path):
    (tmp_path / "spec.toml").write_text(block("toml"))
    assert nb.MixtureSpec.read(tmp_path / "spec.toml") == nb.MixtureSpec()


def test_what_a_point_fit_can_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"nb": nb, "counts": nb.load_dataset("crab_satellites")}
    exec(compile(block("python", 1), "README.md", "exec"), names)
    assert (tmp_path / "fit.json").exists()


def test_what_a_posterior_can_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"nb": nb, "counts": nb.load_dataset("crab_satellites"), "spec": nb.MixtureSpec(2)}
    exec(compile(block("python", 2), "README.md", "exec"), names)
    assert (tmp_path / "posterior.nc").exists()


def test_what_to_do_when_labels_switch(crab, crab_choice):
    names = {"nb": nb, "tree": crab_choice.trees[2], "em": crab_choice.em[2]}
    exec(compile(block("python", 3), "README.md", "exec"), names)
    assert names["diagnosis"].chains.shape[0] == 4


def test_how_many_components(crab):
    names = {"nb": nb, "counts": crab}
    exec(compile(block("python", 4), "README.md", "exec"), names)
    assert names["choice"].chosen == 2


def test_every_finding_is_explained():
    words = "label-switching multimodal lower-mode not-mixed weak-labels empty-component"
    for word in [*words.split(), "near-poisson", "divergences"]:
        assert word in README.split("## When labels switch")[1].split("## Known limits")[0]
