"""Searching on a squashed table must not change what is found, and must say its error."""

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.point import search as search_module


def simulate(n, spread, params, seed):
    rng = np.random.default_rng(seed)
    exposure = np.exp(rng.normal(0, spread, n))
    return nb.Counts(params.sample(n, rng, exposure)[0], exposure)


@pytest.mark.parametrize(
    ("spread", "means", "dispersions"),
    [
        (0.2, [2.0, 12.0], [0.2, 0.2]),
        (0.6, [0.5, 20.0], [0.5, 0.2]),
        (1.6, [0.5, 20.0], [0.0, 0.1]),
    ],
)
def test_squashed_search_equals_the_exact_one(spread, means, dispersions):
    counts = simulate(3500, spread, nb.MixtureParams([0.6, 0.4], means, dispersions), 4)
    quick = nb.fit_em(counts, 2, random_seed=1)
    exact = nb.fit_em(counts, 2, random_seed=1, exact=True)
    assert exact.squashing is None
    assert quick.squashing is not None
    assert quick.squashing.n_squashed < 0.5 * quick.squashing.n_rows
    assert abs(quick.squashing.error) < 1e-6
    assert quick.squashing.nearby_error < 1e-4
    assert quick.log_likelihood == pytest.approx(exact.log_likelihood, abs=1e-6)
    for name in ("weights", "means", "dispersions"):
        np.testing.assert_allclose(
            getattr(quick.params, name), getattr(exact.params, name), rtol=1e-5, atol=1e-9
        )
    # values on all rows, along a path that ends there
    assert quick.log_likelihood == pytest.approx(
        quick.params.logpmf(counts.values, counts.exposure).sum(), abs=1e-8
    )
    assert (np.diff(quick.log_likelihood_path) >= 0).all()
    assert quick.log_likelihood_path[-1] == pytest.approx(quick.log_likelihood, abs=1e-8)


def test_the_table_is_refined_until_its_error_is_small(monkeypatch):
    counts = simulate(4000, 1.0, nb.MixtureParams([0.6, 0.4], [0.5, 20.0], [0.1, 0.1]), 5)
    # two nodes in wide bins are far off: the next stage has to be taken
    monkeypatch.setattr(search_module, "_STAGES", ((2.0, 2), (0.5, 8)))
    fit = nb.fit_em(counts, 2, random_seed=0)
    assert (fit.squashing.width, fit.squashing.nodes) == (0.5, 8)
    # and where none is good enough, all rows are taken
    monkeypatch.setattr(search_module, "_STAGES", ((2.0, 2),))
    rough = nb.fit_em(counts, 2, random_seed=0)
    assert rough.squashing is None
    assert rough.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)


def test_distinct_counts_are_not_squashed():
    rng = np.random.default_rng(0)
    values = rng.permutation(20_000)[:3500]
    fit = nb.fit_em(nb.Counts(values, np.exp(rng.normal(size=3500))), 1)
    assert fit.squashing is None


def test_an_interrupted_search_keeps_what_it_found(monkeypatch, crab, caplog):
    whole = search_module.run_starts

    def interrupted(*arguments):
        for done, total in whole(*arguments):
            yield done, total
            if done == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(search_module, "run_starts", interrupted)
    fit = nb.fit_em(crab, 2, random_seed=0)
    assert fit.status is nb.Status.INTERRUPTED
    assert fit.optima["times_reached"].sum() == 5
    assert "interrupted" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        nb.sample(crab, nb.MixtureSpec(2), random_seed=0, progressbar=False)


def test_progress_counts_the_starts(crab, capsys):
    nb.fit_em(crab, 2, random_seed=0, progressbar=True)
    # the bar is for standard error and leaves nothing on standard output
    assert capsys.readouterr().out == ""


NARROW_INSIDE_BROAD = {
    "values": [*range(1, 13), 14, 15, 16, 18, 19, 21, 22, 29, 32, 33, 35, 38, 42, 46, 47, 50],
    "frequency": [4, 3, 8, 7, 31, 17, 17, 9, 8, 11, 8, 4, 2, 1, 3, 1, 2, 4, *[1] * 10],
}


def test_a_narrow_component_inside_a_broad_one_is_found_every_time():
    counts = nb.Counts(**NARROW_INSIDE_BROAD)
    for seed in range(20):
        fit = nb.fit_em(counts, 3, random_seed=seed)
        assert fit.log_likelihood > -445.163 - 2e-3
