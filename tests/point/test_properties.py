"""What must change nothing, or change one thing in a known way."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmnbmix as nb

QUIET = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
SAMPLES = st.builds(
    lambda seed, n, low, ratio, spread: np.random.default_rng(seed).negative_binomial(
        1 / spread, 1 / (1 + spread * low * ratio ** (np.arange(n) % 2)), n
    ),
    seed=st.integers(0, 10_000),
    n=st.integers(20, 120),
    low=st.floats(0.3, 10.0),
    ratio=st.floats(1.0, 15.0),
    spread=st.floats(0.05, 2.0),
)


@QUIET
@given(SAMPLES, st.integers(1, 3))
def test_splitting_rows_into_frequencies_changes_nothing(values, k):
    unique, times = np.unique(values, return_counts=True)
    rows = nb.fit_em(nb.Counts(values), k, random_seed=0)
    table = nb.fit_em(nb.Counts(unique, frequency=times), k, random_seed=0)
    assert table.log_likelihood == rows.log_likelihood
    np.testing.assert_array_equal(table.params.means, rows.params.means)
    shuffled = nb.Counts(np.random.default_rng(1).permutation(values))
    assert nb.fit_em(shuffled, k, random_seed=0).log_likelihood == rows.log_likelihood


@QUIET
@given(SAMPLES, st.floats(1e-6, 1e6), st.integers(1, 2))
def test_scaling_exposures_scales_means_and_nothing_else(values, scale, k):
    exposure = np.exp(np.random.default_rng(3).normal(0, 0.5, values.size))
    one = nb.fit_em(nb.Counts(values, exposure), k, random_seed=0)
    other = nb.fit_em(nb.Counts(values, scale * exposure), k, random_seed=0)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)
    same = nb.MixtureParams(
        other.params.weights, other.params.means * scale, other.params.dispersions
    )
    np.testing.assert_allclose(
        same.logpmf(values, exposure), one.params.logpmf(values, exposure), atol=2e-3
    )


@QUIET
@given(SAMPLES, st.permutations([0, 1, 2]))
def test_the_order_of_components_of_a_start_changes_nothing(values, order):
    start = nb.MixtureParams([0.2, 0.3, 0.5], [0.5, 3.0, 12.0], [0.5, 0.1, 1.0])
    counts = nb.Counts(values)
    one = nb.fit_em(counts, 3, start=start, random_seed=0)
    other = nb.fit_em(counts, 3, start=start.permuted(order), random_seed=0)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-7)
    assert (np.diff(other.params.means) >= 0).all()


@QUIET
@given(SAMPLES)
def test_more_components_never_fit_worse(values):
    counts = nb.Counts(values)
    fits = [nb.fit_em(counts, k, random_seed=0).log_likelihood for k in (1, 2, 3)]
    assert fits[1] >= fits[0] - 1e-6
    assert fits[2] >= fits[1] - 1e-6


@QUIET
@given(SAMPLES, st.integers(1, 3))
def test_a_fit_can_be_used_whatever_the_counts_were(values, k):
    fit = nb.fit_em(nb.Counts(values), k, random_seed=0)
    table = fit.standard_errors()
    assert not table[["estimate", "se", "lower", "upper"]].isna().any(axis=None)
    assert ((table["lower"] <= table["estimate"]) & (table["estimate"] <= table["upper"])).all()
    profile = fit.profile_intervals()
    within = (profile["lower"] <= profile["estimate"] * (1 + 1e-6)) & (
        profile["estimate"] <= profile["upper"] * (1 + 1e-6)
    )
    assert within.all()
    rates = fit.rates()
    assert np.isfinite(rates.to_numpy()).all()
    assert ((rates["5%"] <= rates["50%"]) & (rates["50%"] <= rates["95%"])).all()
    quantiles = fit.quantile([0.0, 0.3, 0.9])
    assert (np.diff(quantiles) >= 0).all()
    assert fit.params.cdf(quantiles[2:])[0] >= 0.9
