"""The rate behind a count: against quadrature of Bayes' formula, and in the corners."""

import numpy as np
import pytest
from scipy import integrate, stats

import pmnbmix as nb


def fitted(params, values, exposure=None):
    """A fit whose parameters are these."""
    return nb.fit_em(nb.Counts(values, exposure), params.n_components, random_seed=0)


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0, 0.7, 300))
    params = nb.MixtureParams([0.6, 0.4], [1.0, 9.0], [0.8, 0.3])
    return nb.fit_em(nb.Counts(params.sample(300, rng, exposure)[0], exposure), 2, random_seed=0)


@pytest.mark.parametrize(("value", "exposure"), [(0, 0.5), (3, 1.0), (7, 2.0), (40, 0.3)])
def test_moments_and_quantiles_are_those_of_the_posterior(fit, value, exposure):
    params = fit.params

    def unnormalised(rate):
        prior = sum(
            w * stats.gamma(1 / d, scale=m * d).pdf(rate)
            for w, m, d in zip(params.weights, params.means, params.dispersions, strict=True)
        )
        return prior * stats.poisson(exposure * rate).pmf(value)

    def integral(f, upper=400.0):
        return integrate.quad(f, 0, upper, limit=400, points=[p for p in (1, 10, 100) if p < upper])

    mass = integral(unnormalised)[0]
    mean = integral(lambda t: t * unnormalised(t))[0] / mass
    second = integral(lambda t: (t - mean) ** 2 * unnormalised(t))[0] / mass
    row = fit.rates([value], [exposure], quantiles=(0.1, 0.5, 0.975)).iloc[0]
    assert row["mean"] == pytest.approx(mean, rel=1e-6)
    assert row["sd"] == pytest.approx(np.sqrt(second), rel=1e-6)
    for name, probability in (("10%", 0.1), ("50%", 0.5), ("97.5%", 0.975)):
        assert integral(unnormalised, row[name])[0] / mass == pytest.approx(probability, abs=1e-6)


def test_a_poisson_component_has_one_rate(crab):
    rows = nb.fit_em(crab, 2, random_seed=0).rates([0, 12])
    fit = nb.fit_em(crab, 2, random_seed=0)
    assert rows.loc[0, "5%"] == pytest.approx(fit.params.means[0])
    assert rows.loc[1, "5%"] > 4.0
    assert np.isfinite(rows.to_numpy()).all()


def test_rates_shrink_towards_the_mean_and_follow_the_count(fit):
    rates = fit.rates([0, 1, 2, 5, 20, 100], [1.0] * 6)["mean"]
    assert (np.diff(rates) > 0).all()
    assert rates[0] > 0.0
    assert rates[5] < 100.0


def test_rates_of_the_fitted_counts_come_in_their_order(fit):
    rates = fit.rates()
    assert len(rates) == 300
    one = fit.rates(fit.counts.values[17:18], fit.counts.exposure[17:18])
    np.testing.assert_allclose(rates.iloc[17], one.iloc[0], rtol=1e-12)


def test_a_row_that_was_never_seen_has_no_rate():
    fit = nb.fit_em(nb.Counts([1, 4, 7], frequency=[5, 0, 3]), 1)
    assert fit.rates().isna().any(axis=1).tolist() == [False, True, False]


def test_all_zeros_and_huge_counts():
    zeros = nb.fit_em(nb.Counts([0, 0, 0]), 1).rates()
    assert (zeros == 0.0).all(axis=None)
    huge = nb.fit_em(nb.Counts([10**9, 10**9 + 70_000, 10**9 - 40_000]), 1).rates()
    np.testing.assert_allclose(huge["mean"], 1e9, rtol=1e-4)
    assert (huge["5%"] <= huge["95%"]).all()


def test_bad_arguments(fit):
    with pytest.raises(ValueError, match="quantiles must be between 0 and 1; got"):
        fit.rates(quantiles=(50,))
    with pytest.raises(ValueError, match="quantiles must differ"):
        fit.rates(quantiles=(0.5, 0.5))
    with pytest.raises(ValueError, match="new values need theirs"):
        fit.rates([1, 2])
    with pytest.raises(ValueError, match="without values"):
        fit.rates(exposure=[1.0] * 300)
    columns = fit.rates([1], [1.0], quantiles=(0.12345671, 0.12345672)).columns
    assert len(set(columns)) == 4
