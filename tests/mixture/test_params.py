import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pmnbmix as nb

WEIGHTS, MEANS, DISPERSIONS = [0.25, 0.45, 0.3], [6.0, 0.5, 40.0], [0.2, 1.5, 0.05]


@pytest.fixture
def params():
    return nb.MixtureParams(WEIGHTS, MEANS, DISPERSIONS)


@pytest.mark.parametrize(
    ("convert", "names", "restore"),
    [
        ("to_scipy", ("n", "p"), nb.MixtureParams.from_scipy),
        ("to_pymc", ("mu", "alpha"), nb.MixtureParams.from_pymc),
        ("to_stan", ("mu", "phi"), nb.MixtureParams.from_stan),
        ("to_statsmodels", ("mu", "alpha"), nb.MixtureParams.from_statsmodels),
        ("to_edger", ("mu", "dispersion"), nb.MixtureParams.from_edger),
    ],
)
def test_conversions_come_back(params, convert, names, restore):
    other = getattr(params, convert)()
    assert tuple(other) == ("weights", *names)
    back = restore(**other)
    for name in ("weights", "means", "dispersions"):
        np.testing.assert_allclose(getattr(back, name), getattr(params, name), rtol=1e-14)


# Each package's own statement of mean and variance in its own parameters.
STATED = {
    "to_scipy": lambda n, p: stats.nbinom.stats(n, p, moments="mv"),
    "to_pymc": lambda mu, alpha: (mu, mu + mu**2 / alpha),
    "to_stan": lambda mu, phi: (mu, mu + mu**2 / phi),
    "to_statsmodels": lambda mu, alpha: (mu, mu + alpha * mu**2),
    "to_edger": lambda mu, dispersion: (mu, mu + dispersion * mu**2),
}


@pytest.mark.parametrize("convert", STATED)
def test_every_package_means_the_same_variance(params, convert):
    other = getattr(params, convert)()
    other.pop("weights")
    mean, variance = STATED[convert](**other)
    np.testing.assert_allclose(mean, MEANS)
    np.testing.assert_allclose(variance, np.array(MEANS) + DISPERSIONS * np.array(MEANS) ** 2)


def test_density_in_scipys_parameters(params):
    values = np.arange(100)
    other = params.to_scipy()
    expected = stats.nbinom.logpmf(values[:, None], other["n"], other["p"])
    np.testing.assert_allclose(params.component_logpmf(values), expected, rtol=1e-9)


def test_poisson_component_in_every_form():
    params = nb.MixtureParams([1.0], [3.0], [0.0])
    assert params.inv_disps[0] == np.inf
    assert params.to_scipy()["n"][0] == np.inf
    assert params.to_scipy()["p"][0] == 1.0
    assert nb.MixtureParams.from_pymc([1.0], [3.0], [np.inf]).dispersions[0] == 0.0
    np.testing.assert_allclose(
        params.logpmf(np.arange(20)), stats.poisson.logpmf(np.arange(20), 3.0), rtol=1e-13
    )


def test_mixture_is_the_weighted_sum(params):
    values, exposure = np.arange(60), np.linspace(0.1, 3.0, 60)
    parts = np.exp(params.component_logpmf(values, exposure))
    np.testing.assert_allclose(np.exp(params.logpmf(values, exposure)), parts @ WEIGHTS)
    expected = parts * WEIGHTS / (parts @ WEIGHTS)[:, None]
    np.testing.assert_allclose(params.responsibilities(values, exposure), expected)


def test_density_sums_to_one(params):
    assert np.exp(params.logpmf(np.arange(5000))).sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(
        params.cdf(np.arange(50)), np.cumsum(np.exp(params.logpmf(np.arange(50)))), rtol=1e-12
    )


@given(st.permutations([0, 1, 2]), st.floats(1e-6, 1e6))
def test_permutation_and_scale_of_exposure_change_nothing(order, scale):
    params = nb.MixtureParams(WEIGHTS, MEANS, DISPERSIONS)
    values = np.array([0, 1, 5, 40, 300])
    moved = params.permuted(order)
    np.testing.assert_allclose(moved.logpmf(values), params.logpmf(values), rtol=1e-13)
    np.testing.assert_allclose(
        moved.responsibilities(values), params.responsibilities(values)[:, order], rtol=1e-12
    )
    rescaled = nb.MixtureParams(WEIGHTS, np.array(MEANS) / scale, DISPERSIONS)
    np.testing.assert_allclose(rescaled.logpmf(values, scale), params.logpmf(values), rtol=1e-12)


def test_sorted_by_mean_then_weight():
    params = nb.MixtureParams([0.5, 0.2, 0.3], [4.0, 4.0, 1.0], [0.1, 0.2, 0.3]).sorted()
    np.testing.assert_array_equal(params.means, [1.0, 4.0, 4.0])
    np.testing.assert_array_equal(params.weights, [0.3, 0.2, 0.5])
    np.testing.assert_array_equal(params.dispersions, [0.3, 0.2, 0.1])


def test_sample_has_the_moments_of_the_model(params):
    n = 200_000
    values, labels = params.sample(n, random_seed=4, exposure=2.0)
    for k in range(3):
        part = values[labels == k]
        mean = 2.0 * MEANS[k]
        variance = mean + DISPERSIONS[k] * mean**2
        assert abs(part.size / n - WEIGHTS[k]) < 4 * np.sqrt(WEIGHTS[k] * (1 - WEIGHTS[k]) / n)
        assert abs(part.mean() - mean) < 4 * np.sqrt(variance / part.size)
        assert part.var() == pytest.approx(variance, rel=0.03)


def test_sample_repeats_with_its_seed_and_allows_edges():
    params = nb.MixtureParams([0.5, 0.5], [0.0, 7.0], [0.0, 0.0])
    values, labels = params.sample(1000, random_seed=1)
    assert (values[labels == 0] == 0).all()
    np.testing.assert_array_equal(values, params.sample(1000, random_seed=1)[0])
    with pytest.raises(ValueError, match="cannot be drawn"):
        nb.MixtureParams([1.0], [1e30], [0.0]).sample(3)
    with pytest.raises(ValueError, match="whole number"):
        params.sample(0)


def test_a_count_that_no_component_can_produce():
    params = nb.MixtureParams([0.5, 0.5], [0.0, 0.0], [1.0, 1.0])
    assert params.logpmf([3])[0] == -np.inf
    with pytest.raises(ValueError, match="count 3 at index 1"):
        params.responsibilities([0, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([0.5, 0.6], [1, 2], [1, 1]), ValueError, "sum to 1"),
        (([-0.5, 1.5], [1, 2], [1, 1]), ValueError, "weights must be finite and 0 or above"),
        (([0.5, 0.5], [1, -2], [1, 1]), ValueError, "-2.0 for component 1"),
        (([0.5, 0.5], [1, np.nan], [1, 1]), ValueError, "means"),
        (([0.5, 0.5], [1, 2], [1, np.inf]), ValueError, "dispersions"),
        (([0.5, 0.5], [1, 2, 3], [1, 1]), ValueError, "one entry a component"),
        ((["a"], [1], [1]), TypeError, "numbers"),
        (([], [], []), ValueError, "shape"),
        (([[1.0]], [[1.0]], [[1.0]]), ValueError, "shape"),
    ],
)
def test_bad_parameters(arguments, error, text):
    with pytest.raises(error, match=text):
        nb.MixtureParams(*arguments)


def test_bad_requests(params):
    with pytest.raises(ValueError, match="0 or above"):
        params.logpmf([-1])
    with pytest.raises(ValueError, match="exposure has 2"):
        params.logpmf([1, 2, 3], exposure=[1.0, 2.0])
    with pytest.raises(ValueError, match="above 0"):
        params.logpmf([1, 2, 3], exposure=0.0)
    with pytest.raises(ValueError, match="permutation"):
        params.permuted([0, 0, 1])
    with pytest.raises(ValueError, match="Poisson"):
        nb.MixtureParams.from_scipy([1.0], [np.inf], [1.0])
    with pytest.raises(ValueError, match="alpha"):
        nb.MixtureParams.from_pymc([1.0], [3.0], [0.0])


def test_quantiles_are_the_smallest_counts_that_reach_the_probability():
    params = nb.MixtureParams([0.3, 0.5, 0.2], [0.0, 4.0, 900.0], [0.0, 0.0, 0.7])
    probability = np.array([0.0, 0.2, 0.31, 0.5, 0.79, 0.95, 0.9999])
    found = params.quantile(probability)
    assert (params.cdf(found) >= probability).all()
    above = found > 0
    assert (params.cdf(found[above] - 1) < probability[above]).all()
    assert found[:2].tolist() == [0, 0]
    scaled = params.quantile(0.9, exposure=[0.1, 1.0, 10.0])
    assert (np.diff(scaled) > 0).all()


def test_quantile_at_one_component_is_scipys():
    params = nb.MixtureParams([1.0], [30.0], [0.25])
    probability = np.linspace(0.01, 0.99, 25)
    expected = stats.nbinom.ppf(probability, 4.0, 4.0 / 34.0)
    np.testing.assert_array_equal(params.quantile(probability), expected)


@pytest.mark.parametrize("probability", [1.0, -0.1, np.nan])
def test_a_quantile_that_does_not_exist_is_refused(probability):
    with pytest.raises(ValueError, match="probability must be 0 or above and below 1"):
        nb.MixtureParams([1.0], [3.0], [0.5]).quantile([0.5, probability])
