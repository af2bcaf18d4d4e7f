"""Point fits and everything that is computed from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pmnbmix as nb
from tests.fuzz import arbitrary as a

_FIT = nb.fit_em(nb.load_dataset("crab_satellites"), 2, random_seed=1)


def _check(fit, n_components):
    assert fit.n_components == n_components
    made = fit.params
    assert abs(made.weights.sum() - 1) < 1e-9
    assert np.isfinite([made.weights, made.means, made.dispersions]).all()
    assert np.isfinite([fit.log_likelihood, fit.log_density]).all()
    assert (np.diff(fit.log_density_path) >= -1e-6 * (1 + abs(fit.log_density))).all()
    # what the fit says it reached is what its parameters have
    whole = fit.logpmf(fit.counts.values, fit.counts.exposure)
    total = whole[fit.counts.frequency > 0] @ fit.counts.frequency[fit.counts.frequency > 0]
    assert total == pytest.approx(fit.log_likelihood, rel=1e-6, abs=1e-5)


@a.budget(0.3)
@given(a.counts(), st.integers(1, 3), st.sampled_from(["estimated", "equal"]), a.seeds)
def test_em_is_finite_and_the_same_for_one_seed(counts, k, mixing, seed):
    fit = nb.fit_em(counts, k, mixing=mixing, random_seed=seed)
    _check(fit, k)
    again = nb.fit_em(counts, k, mixing=mixing, random_seed=seed)
    np.testing.assert_array_equal(fit.params.means, again.params.means)
    assert np.isfinite([fit.aic, fit.bic, fit.icl, fit.entropy]).all()
    assert len(fit.optima) >= 1


@a.budget(0.3)
@given(a.counts(), a.specs(), a.seeds)
def test_map_is_finite_or_refused(counts, spec, seed):
    fit = a.answer(lambda: nb.fit_map(counts, spec, random_seed=seed))
    assume(fit is not None)
    _check(fit, spec.n_components)


@a.budget(0.15)
@given(a.counts(), st.integers(1, 2), st.floats(0.5, 0.999))
def test_intervals_hold_the_estimate(counts, k, level):
    fit = nb.fit_em(counts, k, random_seed=1)
    for table in (fit.standard_errors(level), fit.profile_intervals(level)):
        shown = table.dropna()
        assert (shown["lower"] <= shown["estimate"] * (1 + 1e-6)).all()
        assert (shown["upper"] >= shown["estimate"] * (1 - 1e-6)).all()
        # where a number is missing the flag says why
        missing = table[table[["lower", "upper"]].isna().any(axis=1)]
        assert missing["flag"].map(bool).all()


@a.budget(0.1)
@given(a.counts(), a.seeds, st.sampled_from(["parametric", "nonparametric"]))
def test_bootstraps_are_the_same_for_one_seed(counts, seed, kind):
    fit = nb.fit_em(counts, 1, random_seed=1)
    arguments = {"kind": kind, "random_seed": seed, "n_jobs": 1, "progressbar": False}
    first = a.answer(lambda: fit.bootstrap(n_boot=3, **arguments))
    assume(first is not None)
    second = fit.bootstrap(n_boot=3, **arguments)
    np.testing.assert_array_equal(first.estimates, second.estimates)
    assert np.isfinite(first.estimates).all()


@a.budget(0.1)
@given(a.counts(), a.seeds)
def test_goodness_of_fit_is_a_probability(counts, seed):
    fit = nb.fit_em(counts, 1, random_seed=1)
    found = a.answer(
        lambda: nb.goodness_of_fit(fit, n_boot=3, random_seed=seed, n_jobs=1, progressbar=False)
    )
    assume(found is not None)
    assert 0 < found.p_value <= 1


@a.budget(0.1)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), a.seeds)
def test_the_bootstrap_test_is_a_probability(values, seed):
    counts = nb.Counts(values)
    found = nb.bootstrap_lrt(counts, n_boot=2, random_seed=seed, n_jobs=1, progressbar=False)
    assert 0 < found.p_value <= 1
    assert found.statistic >= 0


_ODD = {
    "n_components": a.not_whole,
    "mixing": a.odd_scalars,
    # no start at all is one way to say that there is none
    "start": a.not_text.filter(lambda value: not (isinstance(value, list | tuple) and not value)),
    "max_iter": a.not_whole,
    "random_seed": a.not_seeds,
}


@pytest.mark.parametrize("argument", _ODD)
@pytest.mark.parametrize("fit", ["fit_em", "fit_map"])
def test_fits_refuse_what_is_no_argument(fit, argument):
    if fit == "fit_map" and argument in ("n_components", "mixing"):
        pytest.skip("the specification has them")
    second = 2 if fit == "fit_em" else nb.MixtureSpec(2)

    @a.budget(1)
    @given(_ODD[argument], st.sampled_from(["estimated", "equal"]))
    def check(odd, mixing):
        arguments = {"n_components": second} if fit == "fit_em" else {"spec": second}
        if fit == "fit_em":
            arguments["mixing"] = mixing
        arguments[argument] = odd
        a.refused(lambda: getattr(nb, fit)(_FIT.counts, **arguments), argument)

    check()


@a.budget(1)
@given(a.not_specs)
def test_what_is_no_specification_is_refused(odd):
    a.refused(lambda: nb.fit_map(_FIT.counts, odd), "spec")


@a.budget(1)
@given(a.odd_scalars)
def test_what_is_no_counts_or_fit_is_refused(odd):
    a.refused(lambda: nb.fit_em(odd), "counts")
    a.refused(lambda: nb.fit_map(odd, nb.MixtureSpec(2)), "counts")
    a.refused(lambda: nb.bootstrap_lrt(odd), "counts")
    a.refused(lambda: nb.goodness_of_fit(odd), "fit")


_NOT_LEVELS = a.not_numbers | st.sampled_from([0.0, 1.0, -0.5, 95, 1, float("nan"), float("inf")])


@a.budget(1)
@given(_NOT_LEVELS, a.not_whole, a.not_seeds, a.odd_scalars)
def test_methods_of_a_fit_refuse_what_is_no_argument(level, number, seed, odd):
    a.refused(lambda: _FIT.standard_errors(level), "level")
    a.refused(lambda: _FIT.profile_intervals(level), "level")
    a.refused(lambda: _FIT.bootstrap(n_boot=3, level=level), "level")
    a.refused(lambda: _FIT.standard_errors(kind=odd), "kind")
    a.refused(lambda: _FIT.bootstrap(n_boot=3, kind=odd), "kind")
    a.refused(lambda: _FIT.bootstrap(n_boot=number), "n_boot")
    a.refused(lambda: nb.goodness_of_fit(_FIT, n_boot=number), "n_boot")
    a.refused(lambda: _FIT.bootstrap(n_boot=3, random_seed=seed), "random_seed")
    a.refused(lambda: nb.bootstrap_lrt(_FIT.counts, null=number), "null")
    a.refused(lambda: nb.bootstrap_lrt(_FIT.counts, random_seed=seed), "random_seed")
    if number is not None:
        a.refused(lambda: _FIT.bootstrap(n_boot=3, n_jobs=number), "n_jobs")


@pytest.mark.parametrize(
    "method", ["responsibilities", "predict", "logpmf", "quantile", "sample", "rates"]
)
def test_a_fit_answers_or_refuses(method):
    valid = st.just([3]) if method != "sample" else st.just(3)

    @a.budget(1)
    @given(valid | a.odd_arrays.filter(lambda n: not isinstance(n, int)), st.none() | a.odd_arrays)
    def check(first, second):
        a.answer(lambda: getattr(_FIT, method)(first, second))

    check()


@a.budget(1)
@given(a.odd_arrays)
def test_quantiles_of_rates_are_numbers_or_refused(odd):
    table = a.answer(lambda: _FIT.rates(quantiles=odd))
    if table is not None:
        assert np.isfinite(table.to_numpy(dtype=float)).all()
