"""Tables for notebooks: one way to make them, and nothing from a file is ever markup."""

import re

import pytest

import pmnbmix as nb
from pmnbmix.html import html_table

HOSTILE = "<script>alert('1')</script>"


def test_everything_is_escaped():
    page = html_table(HOSTILE, [(HOSTILE, HOSTILE)], (HOSTILE,), [HOSTILE])
    assert page.count("&lt;script&gt;") == 5
    assert "<script" not in page


@pytest.fixture(scope="module")
def shown(crab_choice):
    counts = nb.Counts([0, 1, 5, 2, 0, 9, 3], name=HOSTILE)
    em = nb.fit_em(counts, 1, random_seed=1)
    return [
        (counts, "distinct"),
        (nb.Counts([1, 2], exposure=[0.5, 2.0]), "0.5 to 2"),
        (nb.MixtureSpec(2), "Dirichlet(2)"),
        (em, "log likelihood"),
        (em.params, "component 0"),
        (crab_choice.diagnoses[2], "density gate"),
        (crab_choice, "elpd diff"),
    ]


def test_what_a_notebook_shows_is_a_small_table(shown):
    for thing, word in shown:
        page = thing._repr_html_()
        assert page.startswith("<table>")
        assert word in page
        assert "<script" not in page
        assert len(re.findall("<tr>", page)) < 20


def test_a_fit_prints_as_a_regression_table(crab):
    em = nb.fit_em(crab, 2, random_seed=1)
    lines = str(em).splitlines()
    assert lines[0] == "2 components fitted to crab_satellites (maximum likelihood by EM)"
    (row,) = [line.split() for line in lines if line.startswith("means[1]")]
    table = em.standard_errors()
    expected = table.loc["means[1]", ["estimate", "se", "lower", "upper"]]
    assert [float(cell) for cell in row[1:5]] == pytest.approx(expected.to_list(), rel=1e-3)
    # each doubt is told once, with what it is about
    text = str(em)
    assert text.count("another optimum lies within 4 nats") == 1
    assert "* every parameter: another optimum" in text
    assert "log density" in str(nb.fit_map(crab, nb.MixtureSpec(2), random_seed=1))


def test_tests_show_their_p_value(crab):
    em = nb.fit_em(crab, 1, random_seed=1)
    fit = nb.goodness_of_fit(em, n_boot=10, random_seed=1, n_jobs=1, progressbar=False)
    assert repr(fit).endswith(f"p_value={fit.p_value:.3g}, replicates=10)")
    ratio = nb.bootstrap_lrt(crab, n_boot=4, random_seed=1, n_jobs=1, progressbar=False)
    assert f"p_value={ratio.p_value:.3g}, replicates=4" in repr(ratio)
