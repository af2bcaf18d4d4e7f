"""The mixture of regressions as a regressor of scikit-learn."""

import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb

RNG = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame({"age": RNG.normal(40.0, 9.0, N), "sex": np.tile(["f", "m"], N // 2)})
EXPOSURE = RNG.uniform(0.5, 2.0, N)
FIRST = RNG.random(N) < 0.4
Y = RNG.poisson(EXPOSURE * np.exp(np.where(FIRST, 0.02 * FRAME["age"], 3.0)))

# Checks of scikit-learn that a mixture of regressions of counts cannot pass, and why.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "its X has more columns than rows",
    "check_dtype_object": "it wants other words for a column of dicts, which is refused",
    "check_supervised_y_2d": "one column of counts is as good as a flat list, and no warning",
}


def model(**changed):
    return nb.NegativeBinomialMixtureRegressor(**{"random_state": 1, **changed})


@pytest.fixture(scope="module")
def fitted():
    return model().fit(FRAME, Y, exposure=EXPOSURE)


def test_no_check_of_scikit_learn_fails_but_the_expected(monkeypatch):
    estimator_checks = pytest.importorskip("sklearn.utils.estimator_checks")

    def as_counts(estimator, y):
        return np.floor(4 * np.abs(np.asarray(y, dtype=float)))

    # its regressors are tried on fractions, which are no counts
    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_y", as_counts)
    with pytest.warns(UserWarning, match="does not inherit from `sklearn.base.BaseEstimator`"):
        results = estimator_checks.check_estimator(
            model(n_components=1), expected_failed_checks=EXPECTED, on_fail=None, on_skip=None
        )
    status = {name: set() for name in ("passed", "failed", "xfail", "skipped")}
    for result in results:
        status[result["status"]].add(result["check_name"])
    assert not status["failed"]
    assert status["xfail"] <= set(EXPECTED)
    assert len(status["passed"]) > 35


def test_it_says_what_fit_em_says(fitted):
    spec = nb.MixtureSpec(2, mean_formula="age + sex")
    fit = nb.fit_em(nb.Counts(Y, EXPOSURE, covariates=FRAME), spec, random_seed=1)
    assert fitted.log_likelihood_ == pytest.approx(fit.log_likelihood)
    expected = fit.expected_counts(FRAME, EXPOSURE)["mean"]
    np.testing.assert_allclose(fitted.predict(FRAME, exposure=EXPOSURE), expected, rtol=1e-6)
    np.testing.assert_allclose(
        fitted.predict_component_proba(FRAME, Y, exposure=EXPOSURE),
        fit.responsibilities(),
        atol=1e-6,
    )
    assert fitted.score(FRAME, Y, exposure=EXPOSURE) == pytest.approx(fit.log_likelihood / N)
    weights = fitted.predict_component_proba(FRAME[:3])
    np.testing.assert_allclose(weights, np.tile(fit.params.weights, (3, 1)), atol=1e-6)
    assert fitted.predict_component(FRAME[:3], [0, 40, 2], exposure=1.0).shape == (3,)
    assert fitted.feature_names_in_.tolist() == ["age", "sex"]


def test_weight_2_is_the_row_twice():
    times = np.where(np.arange(N) < 30, 2, 1)
    rows = np.repeat(np.arange(N), times)
    X = FRAME[["age"]].to_numpy()
    weighted = model(n_components=1).fit(X, Y, sample_weight=times)
    repeated = model(n_components=1).fit(X[rows], Y[rows])
    assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_)
    assert weighted.score(X, Y, sample_weight=times) == pytest.approx(
        repeated.score(X[rows], Y[rows])
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model().fit(FRAME, None), r"requires y to be passed"),
        (lambda: model().fit(FRAME, Y[:5]), r"y has 5 counts but X has 200 rows"),
        (lambda: model().fit(FRAME, Y + 0.5), r"whole number"),
        (lambda: model().fit(FRAME[:1], Y[:1]), r"1 sample"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_new_rows_must_have_the_columns_of_the_fit(fitted):
    with pytest.raises(ValueError, match=r"X has 1 features, but .* is expecting 2"):
        fitted.predict(FRAME[["age"]], exposure=1.0)
    with pytest.raises(ValueError, match=r"feature names should match"):
        fitted.predict(FRAME.rename(columns={"age": "years"}), exposure=1.0)
    with pytest.raises(ValueError, match=r"not fitted yet"):
        model().predict(FRAME)
