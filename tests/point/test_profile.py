"""Profile intervals against an optimiser that knows nothing of how they are made."""

import numpy as np
import pytest
from scipy import optimize, stats

import pmnbmix as nb

DROP = 0.5 * stats.chi2.ppf(0.95, 1)
NAMES = ["weights[0]", "means[0]", "means[1]", "dispersions[0]", "dispersions[1]"]


def constrained_maximum(counts, held, value, start):
    """Largest log likelihood with one of (weight, means, dispersions) fixed."""

    def parameters(free):
        full = np.insert(free, held, value)
        weight = 1 / (1 + np.exp(-full[0]))
        return nb.MixtureParams([weight, 1 - weight], np.exp(full[1:3]), np.exp(full[3:]))

    def loss(free):
        table = counts.table
        return -table.frequency @ parameters(free).logpmf(table.values, table.exposure)

    found = optimize.minimize(
        loss, np.delete(start, held), method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-9}
    )
    return -found.fun


@pytest.fixture(scope="module")
def fit():
    truth = nb.MixtureParams([0.4, 0.6], [5.0, 25.0], [0.3, 0.2])
    return nb.fit_em(nb.Counts(truth.sample(400, random_seed=2)[0]), 2, random_seed=0)


@pytest.mark.parametrize("held", range(5))
def test_the_likelihood_has_dropped_by_half_a_quantile_at_both_ends(fit, held):
    row = fit.profile_intervals().loc[NAMES[held]]
    params = fit.params
    start = np.log(np.concatenate([[params.weights[0] / params.weights[1]], params.means]))
    start = np.append(start, np.log(params.dispersions))
    for end in (row["lower"], row["upper"]):
        value = np.log(end / (1 - end)) if held == 0 else np.log(end)
        best = constrained_maximum(fit.counts, held, value, start)
        assert fit.log_likelihood - best == pytest.approx(DROP, abs=2e-3)
    assert row["lower"] < row["estimate"] < row["upper"]


@pytest.mark.parametrize("held", range(5))
def test_a_rival_is_followed_too(crab, held):
    # its two optima are half a nat apart; the interval ends where the better of both has dropped
    fit = nb.fit_em(crab, 2, random_seed=0)
    starts = []
    for _, row in fit.optima.iterrows():
        numbers = [row["weights"][0] / row["weights"][1], *row["means"], *row["dispersions"]]
        starts.append(np.log(np.maximum(numbers, 1e-8)))
    assert len(starts) == 2
    row = fit.profile_intervals().loc[NAMES[held]]
    for end in (row["lower"], row["upper"]):
        if 0 < end < np.inf:
            value = np.log(end / (1 - end)) if held == 0 else np.log(end)
            best = max(constrained_maximum(crab, held, value, start) for start in starts)
            assert fit.log_likelihood - best == pytest.approx(DROP, abs=5e-3)


def test_two_weights_have_mirrored_intervals(fit):
    table = fit.profile_intervals()
    one, other = table.loc["weights[0]"], table.loc["weights[1]"]
    assert one["lower"] == pytest.approx(1 - other["upper"], abs=1e-5)
    assert one["upper"] == pytest.approx(1 - other["lower"], abs=1e-5)


def test_a_higher_level_is_wider(fit):
    narrow, wide = fit.profile_intervals(0.8), fit.profile_intervals(0.99)
    assert (wide["lower"] <= narrow["lower"]).all()
    assert (wide["upper"] >= narrow["upper"]).all()
    assert wide.loc["means[0]", "upper"] > narrow.loc["means[0]", "upper"]


def test_one_component_agrees_with_the_regular_textbook_case():
    # the mean of a Poisson sample: 2 n (m log(m / t) - m + t) = quantile
    values = np.random.default_rng(1).poisson(4.0, 200)
    fit = nb.fit_em(nb.Counts(values), 1)
    assert fit.status is nb.Status.POISSON_LIMIT
    row = fit.profile_intervals().loc["means[0]"]
    mean = values.mean()
    for end, bracket in ((row["lower"], (1.0, mean)), (row["upper"], (mean, 9.0))):
        root = optimize.brentq(
            lambda t: 200 * (mean * np.log(mean / t) - mean + t) - DROP, *bracket
        )
        # the profile may leave the Poisson edge, where that fits better
        assert end == pytest.approx(root, rel=2e-3)


def test_the_poisson_limit_has_an_upper_end_only(crab):
    fit = nb.fit_em(nb.Counts([4, 5, 5, 6, 5, 4, 6] * 5), 1)
    row = fit.profile_intervals().loc["dispersions[0]"]
    assert row["estimate"] == 0.0
    assert row["lower"] == 0.0
    assert 0.0 < row["upper"] < 0.1
    at_end = nb.MixtureParams([1], fit.params.means, [row["upper"]])
    values = fit.counts.values
    assert fit.log_likelihood - at_end.logpmf(values).sum() == pytest.approx(DROP, abs=1e-3)


def test_where_the_likelihood_never_falls_the_interval_has_no_end(crab):
    # with its mean near 0 the first component's dispersion has no effect
    row = nb.fit_em(crab, 2, random_seed=0).profile_intervals().loc["dispersions[0]"]
    assert (row["lower"], row["upper"]) == (0.0, np.inf)
    assert "another optimum" in row["flag"]


def test_an_empty_or_weightless_parameter_says_so():
    table = nb.fit_em(nb.Counts([0] * 20), 1).profile_intervals()
    # zeros alone bound no mean: with a large enough dispersion any mean gives nothing but zeros
    assert table.loc["means[0]", ["lower", "upper"]].tolist() == [0.0, np.inf]
    assert "no effect" in table.loc["dispersions[0]", "flag"]


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, "0.95", True, None])
def test_a_level_outside_0_and_1_is_refused(fit, level):
    with pytest.raises((TypeError, ValueError), match="level must be between 0 and 1; got"):
        fit.profile_intervals(level)
    with pytest.raises((TypeError, ValueError), match="level must be between 0 and 1; got"):
        fit.standard_errors(level)


@pytest.mark.parametrize("values", [[976, 1012, 1048], [6, 6, 3, 2, 4]])
def test_weights_of_a_fit_that_needs_one_component_are_anything(values):
    for seed in range(3):
        fit = nb.fit_em(nb.Counts(values), 2, random_seed=seed)
        table = fit.profile_intervals()
        assert table.loc["weights[1]", "lower"] == pytest.approx(0.0, abs=1e-6)
        assert table.loc["weights[1]", "upper"] == pytest.approx(1.0, abs=1e-6)
