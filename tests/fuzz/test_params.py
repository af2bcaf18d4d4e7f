"""Parameters of mixtures, their densities and conversions under input of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pmnbmix as nb
from tests.fuzz import arbitrary as a

_LARGE = st.lists(a.count_values, min_size=1, max_size=6)
_probabilities = st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 1e-12]))
_PACKAGES = {
    "scipy": ("n", "p"),
    "pymc": ("mu", "alpha"),
    "stan": ("mu", "phi"),
    "statsmodels": ("mu", "alpha"),
    "edger": ("mu", "dispersion"),
}


@a.budget(4)
@given(a.odd_arrays, a.odd_arrays, a.odd_arrays)
def test_parameters_are_valid_or_refused(weights, means, dispersions):
    made = a.answer(lambda: nb.MixtureParams(weights, means, dispersions))
    if made is not None:
        _check(made)


@a.budget(2)
@given(st.sampled_from(["weights", "means", "dispersions"]), a.odd_arrays)
def test_one_odd_parameter_is_valid_or_refused_by_name(name, odd):
    arguments = {"weights": [0.5, 0.5], "means": [1, 2], "dispersions": [1, 1], name: odd}
    made = None

    def make():
        nonlocal made
        made = nb.MixtureParams(**arguments)

    text = a.refusal(make)
    if text is None:
        _check(made)
    else:
        assert name in text


def _check(made):
    for name in ("weights", "means", "dispersions"):
        array = getattr(made, name)
        assert array.shape == (made.n_components,)
        assert np.isfinite(array).all()
        assert (array >= 0).all()
    assert abs(made.weights.sum() - 1) <= 1e-9
    assert repr(made)


@a.budget(3)
@given(a.params(), _LARGE, st.none() | a.exposures)
def test_densities_are_probabilities(mixture, values, exposure):
    each = mixture.component_logpmf(values, exposure)
    assert each.shape == (len(values), mixture.n_components)
    assert not np.isnan(each).any()
    assert (each <= 1e-9).all()
    whole = mixture.logpmf(values, exposure)
    with np.errstate(divide="ignore"):
        expected = np.log((np.exp(each) * mixture.weights).sum(axis=1))
    shown = np.isfinite(expected) & (expected > -600)
    np.testing.assert_allclose(whole[shown], expected[shown], rtol=1e-9, atol=1e-9)
    assert (whole <= 1e-9).all()


@a.budget(3)
@given(a.params(), _LARGE, st.none() | a.exposures)
def test_distribution_functions_rise_from_0_to_1(mixture, values, exposure):
    ordered = sorted(values)
    below = mixture.cdf(ordered, exposure)
    assert ((below >= 0) & (below <= 1 + 1e-9)).all()
    assert (np.diff(below) >= -1e-9).all()


@a.budget(3)
@given(a.params(), _LARGE, st.none() | a.exposures)
def test_responsibilities_sum_to_1_or_the_count_is_impossible(mixture, values, exposure):
    shares = a.answer(lambda: mixture.responsibilities(values, exposure))
    if shares is None:
        assert np.isneginf(mixture.logpmf(values, exposure)).any()
    else:
        assert ((shares >= 0) & (shares <= 1)).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-9)


@a.budget(2)
@given(a.params(), st.lists(_probabilities, min_size=1, max_size=4), st.none() | a.exposures)
def test_a_quantile_is_the_smallest_count_that_reaches_its_probability(mixture, wanted, exposure):
    found = a.answer(lambda: mixture.quantile(wanted, exposure))
    assume(found is not None)
    assert (found >= 0).all()
    assert (mixture.cdf(found, exposure) >= wanted).all()
    above = found > 0
    if above.any():
        before = mixture.cdf(found[above] - 1, exposure)
        assert (before < np.array(wanted)[above]).all()


@a.budget(2)
@given(a.params(), st.integers(1, 40), a.seeds, st.none() | a.exposures)
def test_samples_are_counts_and_the_same_for_one_seed(mixture, n, seed, exposure):
    first = a.answer(lambda: mixture.sample(n, seed, exposure))
    assume(first is not None)
    second = mixture.sample(n, seed, exposure)
    np.testing.assert_array_equal(first, second)
    values, labels = first
    assert values.shape == labels.shape == (n,)
    assert (values >= 0).all()
    assert (mixture.weights[labels] > 0).all()


@a.budget(1)
@given(a.params(), a.not_whole, a.not_seeds)
def test_samples_need_a_number_and_a_seed(mixture, n, seed):
    a.refused(lambda: mixture.sample(n), "n must be")
    a.refused(lambda: mixture.sample(3, seed), "random_seed")


@pytest.mark.parametrize(
    "method", ["component_logpmf", "logpmf", "responsibilities", "cdf", "component_cdf", "quantile"]
)
def test_densities_answer_or_refuse(method):
    @a.budget(1)
    @given(a.params(), a.odd_arrays, st.none() | a.odd_arrays | a.exposures)
    def check(mixture, values, exposure):
        found = a.answer(lambda: getattr(mixture, method)(values, exposure))
        if found is not None:
            assert not np.isnan(found).any()

    check()


@a.budget(2)
@given(a.params(), st.one_of(a.odd_arrays, st.permutations([0, 1, 2])))
def test_an_order_is_a_permutation(mixture, order):
    turned = a.answer(lambda: mixture.permuted(order))
    if turned is not None:
        assert sorted(np.asarray(order).tolist()) == list(range(mixture.n_components))
        np.testing.assert_array_equal(turned.means, mixture.means[list(order)])


@a.budget(1)
@given(a.params())
def test_sorting_orders_the_means(mixture):
    assert (np.diff(mixture.sorted().means) >= 0).all()


@pytest.mark.parametrize("package", _PACKAGES)
def test_conversions_go_there_and_back(package):
    @a.budget(1)
    @given(a.params())
    def check(mixture):
        given_ = getattr(mixture, f"to_{package}")()
        assert not any(np.isnan(array).any() for array in given_.values())
        back = a.answer(lambda: getattr(nb.MixtureParams, f"from_{package}")(**given_))
        if back is not None and package != "scipy":
            np.testing.assert_allclose(back.means, mixture.means, rtol=1e-9)
            np.testing.assert_allclose(
                back.dispersions, mixture.dispersions, rtol=1e-9, atol=1e-300
            )

    check()


@pytest.mark.parametrize("package", _PACKAGES)
def test_conversions_answer_or_refuse(package):
    first, second = _PACKAGES[package]

    @a.budget(1)
    @given(st.just([1.0]) | a.odd_arrays, st.just([1.0]) | a.odd_arrays, a.odd_arrays)
    def check(weights, one, two):
        arguments = {"weights": weights, first: one, second: two}
        made = a.answer(lambda: getattr(nb.MixtureParams, f"from_{package}")(**arguments))
        if made is not None:
            _check(made)

    check()
