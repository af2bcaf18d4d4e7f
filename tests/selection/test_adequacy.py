import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.selection.adequacy import _jump, _loo_weights, rank_curve, rank_limit
from pmnbmix.tree.writing import assemble
from tests.synthetic import scattered


@pytest.fixture(scope="module")
def exposed():
    truth = nb.MixtureParams([0.4, 0.6], [2.0, 20.0], [0.3, 0.2])
    exposure = np.exp(np.random.default_rng(0).normal(0, 0.5, 400))
    return nb.Counts(truth.sample(400, random_seed=1, exposure=exposure)[0], exposure=exposure)


def test_predicted_probabilities_are_weighted_distribution_functions():
    counts = nb.Counts([0, 3, 10], exposure=[1.0, 2.0, 0.5])
    params = [
        nb.MixtureParams([0.3, 0.7], [mean, 3 * mean], [0.5, 0.0]) for mean in (2.0, 5.0)
    ]  # fmt: skip
    draws = Draws(
        *(
            np.array([[getattr(one, name) for one in params]])
            for name in ("weights", "means", "dispersions")
        )
    )
    weights = np.array([[0.2, 0.5, 0.9], [0.8, 0.5, 0.1]])
    table = counts.table
    density = np.exp(draws.log_density(table)[0])
    fewer, at_most = _jump(draws, table, slice(0, 3), weights, density)
    for u, (value, exposure) in enumerate(zip(table.values, table.exposure, strict=True)):
        values = np.arange(value + 1).astype(int)
        pmf = [np.exp(one.logpmf(values, np.full(values.size, exposure))) for one in params]
        expected = sum(w * p.sum() for w, p in zip(weights[:, u], pmf, strict=True))
        assert at_most[u] == pytest.approx(expected)
        without = sum(w * p[:-1].sum() for w, p in zip(weights[:, u], pmf, strict=True))
        assert fewer[u] == pytest.approx(without, abs=1e-12)


def test_weights_are_those_of_leaving_one_out(crab_choice):
    """Weighted densities are what LOO says of each row."""
    tree = crab_choice.trees[2]
    rows = tree["log_likelihood_unique"][crab_choice.counts.variable].values.reshape(4000, -1)
    terms = np.log((_loo_weights(rows) * np.exp(rows)).sum(axis=0))
    elpd = nb.loo(tree, reff=1.0).elpd_i.values
    first = np.unique(crab_choice.counts.values, return_index=True)[1]
    np.testing.assert_allclose(terms, elpd[first], atol=2e-3)


def test_residuals_of_the_right_model_are_normal_and_of_a_wrong_one_are_not(exposed):
    right, wrong = (
        nb.sample(exposed, nb.MixtureSpec(k), random_seed=1, progressbar=False) for k in (2, 1)
    )
    good = nb.quantile_residuals(right, random_seed=1)
    assert good.shape == (400,)
    assert stats.kstest(good, "norm").pvalue > 0.01
    bad = nb.quantile_residuals(wrong, random_seed=1)
    assert stats.kstest(bad, "norm").pvalue < stats.kstest(good, "norm").pvalue
    np.testing.assert_array_equal(good, nb.quantile_residuals(right, random_seed=1))
    # in the order of the observations
    order = np.argsort(exposed.values / exposed.exposure)
    assert good[order[-20:]].mean() > good[order[:20]].mean()


def test_residuals_of_more_than_memory_are_refused():
    counts = nb.Counts([0, 3], frequency=[10**8, 5])
    draws = scattered([nb.MixtureParams([1.0], [1.0], [0.5])], n_draws=50)
    with pytest.raises(ValueError, match="residuals of 1e\\+08 observations"):
        nb.quantile_residuals(assemble(counts, draws, {}))


def test_blocks_change_nothing(crab_choice, monkeypatch):
    whole = nb.loo_pit(crab_choice.trees[2])
    monkeypatch.setattr("pmnbmix.selection.adequacy._BLOCK", 5000)
    parts = nb.loo_pit(crab_choice.trees[2])
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert (whole["lower"] < whole["upper"]).all()
    assert whole["lower"][0] == 0.0


@pytest.mark.parametrize(
    "values", [[0] * 25 + [1] * 50 + [2] * 25, [0] * 20 + [1] * 60 + [2] * 60 + [3] * 20]
)
def test_counts_of_less_than_poisson_variance_are_beyond_the_limit(values):
    """The limit of Kolmogorov and Smirnov, for ranks without ties, let these pass."""
    tree = nb.sample(nb.Counts(values), nb.MixtureSpec(1), random_seed=1, progressbar=False)
    curve = rank_curve(nb.loo_pit(tree), np.linspace(0.0, 1.0, 201))
    limit = rank_limit(tree)
    assert limit < np.abs(curve).max() < stats.kstwo.ppf(0.95, len(values))


@pytest.mark.exhaustive
def test_the_limit_of_large_counts_is_that_of_continuous_ranks():
    """Jumps at counts of a million are too small to matter, and large samples scale."""
    for n in (300, 4000):
        values = np.random.default_rng(n).negative_binomial(2, 2e-6, n)
        tree = assemble(nb.Counts(values), scattered([nb.MixtureParams([1.0], [1e6], [0.5])]), {})
        # the share of 200 samples within a limit of 95 % has a standard error of 1.5 %
        places = stats.kstwo.cdf([rank_limit(tree, seed) for seed in range(5)], n)
        assert 0.90 < places.mean() < 0.985


def test_samples_of_the_mixture_stay_within_the_limit(exposed):
    truth = nb.MixtureParams([0.4, 0.6], [2.0, 20.0], [0.3, 0.2])
    limit = rank_limit(assemble(exposed, scattered([truth], spread=0.0), {}), 7)
    rng = np.random.default_rng(3)
    beyond = 0
    for _ in range(100):
        values = truth.sample(exposed.n, rng, exposed.exposure)[0]
        upper = truth.cdf(values, exposed.exposure)
        lower = upper - np.exp(truth.logpmf(values, exposed.exposure))
        pit = pd.DataFrame({"lower": lower, "upper": upper, "frequency": 1.0})
        beyond += np.abs(rank_curve(pit, np.linspace(0.0, 1.0, 201))).max() > limit
    # 5 of 100 are expected, more than 13 in one of a thousand such tests
    assert 0 < beyond <= 13


def test_residuals_of_far_outliers_are_finite():
    counts = nb.Counts([*np.random.default_rng(0).poisson(3, 60), 10**9])
    tree = nb.sample(counts, nb.MixtureSpec(1), random_seed=1, draws=200, progressbar=False)
    assert np.isfinite(nb.quantile_residuals(tree, random_seed=0)).all()
