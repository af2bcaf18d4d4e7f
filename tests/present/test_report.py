"""The report: what it says, that it is harmless, and what a browser makes of it."""

import html
import re
import shlex
import shutil
import tomllib

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.present.report import write_report
from pmnbmix.present.report.page import render
from pmnbmix.present.words import answer, belief, number, rounded, what
from pmnbmix.study import Fitted, make_choice
from pmnbmix.tree.writing import assemble

HOSTILE = "<script>alert('1')</script> \"quoted\" & {{ 7*7 }}"


@pytest.fixture(scope="module")
def report(crab_choice, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(crab_choice, path)
    return path


def text_of(path):
    page = path.read_text(encoding="utf-8")
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def stuck_fit(choice, counts):
    """The same fit with a chain in a wrong mode."""
    fitted = choice.fits[2]
    posterior = fitted.tree["posterior"].to_dataset()
    arrays = {name: posterior[name].values.copy() for name in ("weights", "means", "dispersions")}
    arrays["means"][3] = [2.8, 3.0]
    arrays["dispersions"][3] = [1.3, 1.3]
    tree = assemble(counts, Draws(**arrays), {"modes": fitted.tree["modes"].to_dataset()})
    diagnosis = nb.diagnose(tree)
    return Fitted(fitted.em, fitted.map, tree, diagnosis, fitted.elpd, fitted.estimates)


def test_it_opens_with_the_answer(report, crab_choice):
    said = answer(crab_choice).sentences
    assert len(said) == 4
    assert said[0] == crab_choice.reasons[0]
    assert re.match(r"Component 0 has \d+\.?\d* % \(.* %\) of the observations and mean", said[1])
    assert "component 1 has" in said[1]
    # the answer holds what the doubts hold
    assert "2 modes of the posterior matter" in said[2]
    assert said[3].startswith("The mixture describes the counts (goodness of fit p = 0.")
    text = text_of(report)
    assert answer(crab_choice).level == "doubtful"
    assert "! Doubts matter" in text
    for sentence in (*said, *crab_choice.reasons, *crab_choice.diagnoses[2].summary):
        assert sentence in text
    row = crab_choice.fits[2].estimates.loc["means[1]"]
    median = rounded(row["nuts_median"], (row["nuts_upper"] - row["nuts_lower"]) / 3.92)
    assert text.count(median) >= 2
    for word in ("elpd", "ruled out", "choose_components", "pymc", "weights[0]"):
        assert word in text


def test_a_stuck_chain_is_its_first_sentence(crab_choice, crab, tmp_path):
    stuck = stuck_fit(crab_choice, crab)
    path = tmp_path / "stuck.html"
    write_report(stuck, path)
    page = path.read_text(encoding="utf-8")
    first = re.search(r'class="answer unsound".*?<p>(.*?)</p>', page, re.S)[1]
    assert "\u2717 A check failed" in page
    assert html.unescape(first).startswith("This fit cannot be used: The density gate failed")
    # nothing is said of components that are not known
    assert "of the observations and mean" not in page
    choice = make_choice(crab, {2: stuck})
    write_report(choice, path)
    page = path.read_text(encoding="utf-8")
    assert "<p>No number of components can be chosen" in page
    assert 'class="answer unsound"' in page


def test_counts_that_the_mixture_does_not_describe_are_said_so(crab_choice):
    fitted = crab_choice.fits[1]
    assert answer(fitted).level == "unsound"
    said = answer(fitted).sentences
    assert said[0] == "1 component was fitted, as was asked."
    assert said[1].startswith("It is a negative binomial with mean 2.9")
    assert "does not describe the counts (goodness of fit p = 0.01" in said[3]


def test_components_that_blur_are_not_said_to_be_told_apart(crab_choice):
    fitted = crab_choice.fits[3]
    assert "weak-labels" in fitted.diagnosis.findings
    said = belief(fitted)
    assert "told apart" not in said
    assert answer(fitted).level != "sound"
    gate = fitted.diagnosis.components_ok
    assert ("cannot be told" if gate else "not on single components") in said
    assert "can hardly be told apart" in " ".join(fitted.diagnosis.summary)
    assert "of the observations and mean" not in what(fitted)


def test_overlap_is_said_where_labels_are_found_all_the_same(doctor_tree, doctor_visits):
    em = nb.fit_em(doctor_visits, 2, random_seed=1)
    diagnosis = nb.diagnose(doctor_tree, optima=em)
    assert diagnosis.components_ok
    assert "weak-labels" not in diagnosis.findings
    estimates = nb.compare_estimates(em=em, nuts=doctor_tree)
    fitted = Fitted(em, em, doctor_tree, diagnosis, nb.loo(doctor_tree), estimates)
    assert "can hardly be assigned" in belief(fitted)
    assert answer(fitted).level == "doubtful"


def test_hostile_names_come_out_harmless(crab, tmp_path):
    counts = nb.Counts(crab.values, name=HOSTILE)
    choice = nb.choose_components(
        counts, 1, draws=200, random_seed=0, watch=lambda title, done, total: None
    )
    path = tmp_path / "report.html"
    record = {"settings": {"file": HOSTILE, "seed": 1}, "versions": {"pmnbmix": HOSTILE}}
    write_report(choice, path, record=record)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert HOSTILE not in page
    assert HOSTILE in html.unescape(page)
    assert "49" not in re.search(r"<h1>(.*?)</h1>", page)[1]


def test_it_says_how_to_make_it_again(crab_choice):
    spec = nb.MixtureSpec(3, log_means=nb.NormalPrior("auto", 1.0))
    settings = {
        "command": "choose",
        "file": "my counts.csv",
        "column": "a'b",
        "max_components": 3,
        "thorough": True,
        "seed": 2,
        "spec": spec.to_dict(),
    }
    page, _ = render(crab_choice, {"settings": settings})
    code = html.unescape(re.search(r"<pre>(.*?)</pre>", page, re.S)[1])
    command, _, priors = code.partition("\n\n# priors.toml\n")
    assert shlex.split(command) == [
        *("pmnbmix", "choose", "my counts.csv", "--column", "a'b", "--max-components", "3"),
        *("--thorough", "--seed", "2", "--spec", "priors.toml"),
    ]
    assert nb.MixtureSpec.from_dict(tomllib.loads(priors)) == spec
    page, _ = render(crab_choice, {"settings": {"command": "demo", "dataset": "crab_satellites"}})
    assert "<pre>pmnbmix demo crab_satellites\n</pre>" in page


def test_numbers_as_text():
    values = (0.03071, 12.345, 1029.6, 4e7, 0.0, np.inf, np.nan)
    assert [number(value) for value in values] == [
        *("0.0307", "12.3", "1,030", "4e+07", "0", "none", "none")
    ]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (4.6931, 0.38, "4.69"),
        (29.700123, 0.0005, "29.70012"),
        (0.0328, 7.0, "0.033"),
        (43.17, 60.0, "43"),
        (12345.6, 250.0, "12,350"),
        (0.0, 1.0, "0"),
        (np.inf, 1.0, "none"),
        (5.0, np.nan, "5.0"),
    ],
)
def test_digits_follow_the_standard_error(value, error, text):
    assert rounded(value, error) == text


def test_it_says_priors_source_date_and_what_words_mean(crab_choice, tmp_path):
    (tmp_path / "estimates_K2.csv").write_text("")
    settings = {"command": "choose", "file": "my counts.csv", "column": "n"}
    record = {"settings": settings, "date": "2026-01-02", "result": {}}
    write_report(crab_choice, tmp_path / "report.html", record=record)
    text = text_of(tmp_path / "report.html")
    for words in (
        "From my counts.csv, column n. Written on 2026-01-02.",
        "weights ~ Dirichlet(2)",
        "log mean ~ Normal(1.07, 2): means 0.0579 to 147 with probability 0.95",
        "log dispersion ~ Normal(0, 2): dispersions 0.0198 to 50.4",
        "Expected log predictive density",
    ):
        assert words in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # what lies beside the report is linked to, and nothing else
    assert re.findall(r'<a href="([^#"]+)"', page) == ["estimates_K2.csv"]


def test_a_figure_that_fails_is_a_sentence_in_its_place(crab_choice, tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("40 subplots\nare too many")

    monkeypatch.setattr("pmnbmix.present.plots.plot_estimates", fails)
    page, figures = render(crab_choice, {})
    assert "This figure could not be drawn (40 subplots are too many)" in page
    assert [figure.file for figure in figures if not figure.png] == ["estimates.png"]


def test_where_it_cannot_be_written(crab_choice, tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        write_report(crab_choice, tmp_path)
    with pytest.raises(ValueError, match="cannot write"):
        write_report(crab_choice, tmp_path / "none" / "report.html")
    with pytest.raises(TypeError, match="needs a Choice"):
        write_report(crab_choice.trees[2], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "kind", "text"),
    [
        (3, TypeError, "record must be a mapping, as run.json holds; got 3"),
        ({"settings": 3}, TypeError, "record: settings must be a mapping by name; got 3"),
        ({"settings": {1: 2}}, TypeError, r"record: settings .* got \{1: 2\}"),
        ({"versions": ["pymc"]}, TypeError, "record: versions must be a mapping by name"),
        ({"settings": {"spec": 3}}, TypeError, "record: spec must be a table; got 3"),
        ({"settings": {"spec": {"prio": 3}}}, ValueError, "record: spec.*'prio'"),
        ({"settings": {"command": "demo"}}, ValueError, "settings of demo must have a dataset"),
    ],
)
def test_a_record_that_is_none_is_said_so(crab_choice, tmp_path, record, kind, text):
    with pytest.raises(kind, match=text):
        write_report(crab_choice, tmp_path / "report.html", record=record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [3, None, b"report.html"])
def test_a_path_that_is_no_name_is_said_so(crab_choice, path):
    with pytest.raises(TypeError, match="path must be the name of a file"):
        write_report(crab_choice, path)


@pytest.fixture(scope="module")
def browser():
    where = shutil.which("chromium") or shutil.which("google-chrome")
    if where is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_errors_or_requests(browser, report, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert messages == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
    # nothing sticks out on the right, and every picture was drawn and has its words
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    images = page.evaluate(
        "[...document.images].map(i => [i.complete && i.naturalWidth > 300, i.alt.length > 20])"
    )
    assert len(images) >= 7
    assert all(drawn and worded for drawn, worded in images)
    page.close()


def test_every_part_is_reached_by_keyboard(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.getAttribute('href') || e.getAttribute('aria-label') || e.tagName)"
                "(document.activeElement)"
            )
        )
    assert reached[0] == "#answer"
    for part in ("#figures", "#tables", "#reasons", "#doubts", "#again", "How many components"):
        assert part in reached
    page.close()
