"""Exact refits where a component rests on one count."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import pmnbmix as nb
from pmnbmix.selection.loo import mcse_of_log_mean
from pmnbmix.study import refits
from pmnbmix.study.refits import refit_high_k
from pmnbmix.tree.reading import read


@pytest.fixture(scope="module")
def outlier():
    """Two components, and one count of 400 that a third one catches."""
    truth = nb.MixtureParams([0.5, 0.5], [2.0, 20.0], [1 / 3, 0.2])
    counts = nb.Counts([*truth.sample(199, random_seed=3)[0], 400])
    spec = nb.MixtureSpec(3).resolve(counts)
    # with these draws moments can be matched, which at this edge they cannot with others
    tree = nb.sample(counts, spec, random_seed=2, progressbar=False)
    return counts, spec, read(tree), nb.loo(tree)


@pytest.fixture(scope="module")
def refitted(outlier):
    return refit_high_k(*outlier, random_seed=2)


@pytest.mark.exhaustive
def test_the_outlier_is_found_and_refitted_as_a_reference_has_it(outlier, refitted):
    counts, spec, *_ = outlier
    assert refitted.method == "refit"
    row = refitted.table.set_index("value").loc[400.0]
    # the reference: many draws without the count
    rest = nb.Counts(counts.values[:-1])
    draws = nb.sample(rest, spec, draws=20_000, tune=1000, random_seed=5, progressbar=False)
    posterior = draws["posterior"].to_dataset()
    inverse = 1.0 / posterior["dispersions"].values
    share = inverse / (inverse + posterior["means"].values)
    parts = stats.nbinom.logpmf(400, inverse, share) + np.log(posterior["weights"].values)
    rows = logsumexp(parts, axis=-1)
    reference = float(logsumexp(rows) - np.log(rows.size))
    mcse = mcse_of_log_mean(rows)
    assert mcse < 0.1
    assert abs(row["elpd"] - reference) < 3 * np.hypot(row["mcse"], mcse)
    # importance sampling is optimistic by nats
    assert row["elpd_psis"] - reference > 1.5
    assert "refitted exactly" in refitted.sentence


def test_only_flagged_terms_change(outlier, refitted):
    _, _, _, elpd = outlier
    changed = refitted.elpd.elpd_i.values != elpd.elpd_i.values
    np.testing.assert_array_equal(changed, ~(elpd.pareto_k.values <= elpd.good_k))
    assert refitted.n_high_k == changed.sum() >= 1
    assert (refitted.elpd.pareto_k.values[changed] == 0).all()
    assert refitted.elpd.elpd == pytest.approx(float(refitted.elpd.elpd_i.sum()))
    # the original is left as it was
    assert elpd.elpd > refitted.elpd.elpd + 1
    assert not refitted.elpd.warning


def test_nothing_to_refit(crab_choice):
    fitted = crab_choice.fits[2]
    assert fitted.refits.method == "none"
    assert fitted.refits.sentence == ""
    assert fitted.refits.elpd is fitted.elpd


@pytest.mark.exhaustive
def test_many_are_left_to_cross_validation(outlier, monkeypatch):
    counts, spec, reading, elpd = outlier
    monkeypatch.setattr(refits, "MOST_REFITS", 0)
    monkeypatch.setattr(refits, "MOST_MATCHED", 0)
    seen = []
    found = refit_high_k(
        counts, spec, reading, elpd, random_seed=1, on_refit=lambda done, total: seen.append(done)
    )
    assert found.method == "10-fold"
    assert found.table["n"].sum() == 200
    assert (found.table["n"] == 20).all()
    assert found.elpd.elpd == pytest.approx(found.table["elpd"].sum())
    assert seen == list(range(11))
    # nine tenths of the data predict a little worse than all but one; folds stratified on the
    # counts would seem to predict better
    others = np.arange(200) != 199
    gap = elpd.elpd_i.values[others].sum() - found.elpd.elpd_i.values[others].sum()
    assert -2 < gap < 6
    assert "10-fold cross-validation" in found.sentence


def test_moments_are_matched_where_many_are_flagged(outlier, refitted, monkeypatch):
    monkeypatch.setattr(refits, "MOST_REFITS", 0)
    found = refit_high_k(*outlier, random_seed=2)
    assert found.method == "matching"
    assert "left out by moment matching, which changed" in found.sentence
    row, exact = (one.table.set_index("value").loc[400.0] for one in (found, refitted))
    assert row["how"] == "matching"
    assert np.isnan(row["mcse"])
    # it is nearer than plain importance sampling, how much depends on the draws, and these on the
    # processor; a refit is better where there are few
    assert abs(row["elpd"] - exact["elpd"]) < 0.8 * (row["elpd_psis"] - exact["elpd"])
    _, _, _, elpd = outlier
    moved = found.elpd.elpd_i.values != elpd.elpd_i.values
    left = found.elpd.pareto_k.values
    assert (left[moved] > 0.0).all()
    assert (left <= elpd.good_k).all()
    assert elpd.pareto_k.values[moved].min() > elpd.good_k


def test_what_moments_cannot_reach_is_refitted(outlier, monkeypatch):
    monkeypatch.setattr(refits, "MOST_REFITS", 1)
    counts, spec, reading, elpd = outlier
    limit = np.unique(elpd.pareto_k.values)[-4]
    low = dataclasses.replace(elpd, good_k=limit)
    flagged = np.unique(reading.row_of_observation[elpd.pareto_k.values > limit])
    assert flagged.size == 3

    def reach_all_but_one(reading, rows):
        return np.full(rows.size, -5.0), np.array([2.0, -1.0, -1.0])

    monkeypatch.setattr(refits, "match_moments", reach_all_but_one)
    found = refit_high_k(counts, spec, reading, low, random_seed=2)
    assert found.method == "refit"
    assert sorted(found.table["how"]) == ["matching"] * (flagged.size - 1) + ["refit"]
    assert (found.table["elpd"][found.table["how"] == "matching"] == -5.0).all()
    assert "or refitted exactly" in found.sentence


def test_the_choice_says_what_was_done(outlier):
    counts, *_ = outlier
    choice = nb.choose_components(
        counts, 3, random_seed=1, watch=lambda title, done, total: None
    )  # fmt: skip
    assert choice.table.loc[3, "loo"] == "refit"
    assert choice.table.loc[3, "high_k"] >= 1
    assert any("refitted exactly" in reason for reason in choice.reasons)


def test_error_of_a_log_mean():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 0.5, (4, 1000))
    found = mcse_of_log_mean(rows)
    density = np.exp(rows)
    assert found == pytest.approx(density.std() / density.mean() / np.sqrt(4000), rel=0.15)
    assert mcse_of_log_mean(np.zeros((2, 10))) == 0.0
