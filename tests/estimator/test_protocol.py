import inspect
import traceback

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmnbmix as nb
from tests.estimator.data import METHODS, X, exposure, mixture

SEVERAL = "its X has several columns of fractional values"
WEIGHTED = "its X, with weights for the rows, has several columns"
FRACTIONS = "its column has fractional values"

# Checks of scikit-learn that one column of counts cannot pass, why, and the test that is made in
# their place. OWN runs the check itself, all but its X.
OWN = "test_own_check_of_scikit_learn_passes_on_one_column_of_counts"
EXPECTED = {
    "check_fit_score_takes_y": (SEVERAL, OWN),
    "check_estimators_overwrite_params": (SEVERAL, OWN),
    "check_dont_overwrite_parameters": (SEVERAL, OWN),
    "check_estimators_fit_returns_self": (SEVERAL, OWN),
    "check_readonly_memmap_input": (SEVERAL, OWN),
    "check_n_features_in_after_fitting": (
        SEVERAL,
        "test_every_method_refuses_another_number_of_columns",
    ),
    "check_estimators_dtypes": (SEVERAL, OWN),
    "check_sample_weights_pandas_series": (WEIGHTED, OWN),
    "check_sample_weights_not_an_array": (WEIGHTED, OWN),
    "check_sample_weights_list": (WEIGHTED, OWN),
    "check_all_zero_sample_weights_error": (WEIGHTED, OWN),
    "check_sample_weights_shape": (
        WEIGHTED,
        "test_sample_weight_of_another_shape_is_refused",
    ),
    "check_sample_weights_not_overwritten": (
        WEIGHTED,
        "test_what_is_passed_to_fit_is_left_as_it_was",
    ),
    "check_sample_weight_equivalence_on_dense_data": (
        WEIGHTED,
        "test_weight_2_is_the_row_twice_and_weight_0_is_no_row",
    ),
    "check_dtype_object": (SEVERAL, "test_objects_are_counts_only_where_all_are_numbers"),
    "check_pipeline_consistency": (SEVERAL, OWN),
    "check_estimators_nan_inf": (SEVERAL, OWN),
    "check_estimators_pickle": (SEVERAL, OWN),
    "check_f_contiguous_array_estimator": (SEVERAL, OWN),
    "check_methods_sample_order_invariance": (SEVERAL, OWN),
    "check_methods_subset_invariance": (SEVERAL, OWN),
    "check_fit2d_1sample": (SEVERAL, OWN),
    "check_fit2d_1feature": (FRACTIONS, OWN),
    "check_dict_unchanged": (SEVERAL, OWN),
    "check_fit_idempotent": (SEVERAL, OWN),
    "check_fit_check_is_fitted": (SEVERAL, OWN),
    "check_n_features_in": (SEVERAL, OWN),
    "check_fit2d_predict1d": (SEVERAL, OWN),
}
# scikit-learn 1.6 and 1.7 do not have these yet.
RECENT = {"check_all_zero_sample_weights_error"}


@pytest.fixture(scope="module")
def checked(sklearn):
    from sklearn.utils.estimator_checks import check_estimator

    with pytest.warns(UserWarning, match="does not inherit from `sklearn.base.BaseEstimator`"):
        return check_estimator(
            mixture(),
            expected_failed_checks={name: reason for name, (reason, _) in EXPECTED.items()},
            on_fail=None,
            on_skip=None,
        )


def names_with(checked, *statuses):
    return {result["check_name"] for result in checked if result["status"] in statuses}


def test_no_check_of_scikit_learn_fails_but_the_expected(checked):
    assert not names_with(checked, "failed")
    # it runs only where SCIPY_ARRAY_API is set
    assert names_with(checked, "skipped") <= {"check_array_api_input"}
    assert len(names_with(checked, "passed")) > 15


def test_each_expected_failure_is_one(checked):
    assert names_with(checked, "xfail") | RECENT == set(EXPECTED)
    assert not names_with(checked, "passed") & set(EXPECTED)


def test_each_expected_failure_has_the_reason_that_is_given(checked):
    words = {SEVERAL: "features as input", WEIGHTED: "features as input", FRACTIONS: "whole num"}
    for result in checked:
        if result["status"] == "xfail":
            story = "".join(traceback.format_exception(result["exception"]))
            assert words[result["expected_to_fail_reason"]] in story, result["check_name"]


def test_each_expected_failure_has_a_test_in_its_place():
    for name, (_, equivalent) in EXPECTED.items():
        assert equivalent.startswith("test_"), name
        assert inspect.isfunction(globals().get(equivalent)), name


@pytest.mark.parametrize("name", [name for name, (_, test) in EXPECTED.items() if test == OWN])
def test_own_check_of_scikit_learn_passes_on_one_column_of_counts(name, sklearn, monkeypatch):
    from sklearn.utils import estimator_checks

    def one_column_of_counts(estimator, data, kernel=None):
        return np.floor(4 * np.abs(data[:, :1])).astype(data.dtype)

    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", one_column_of_counts)
    if name in RECENT and not hasattr(estimator_checks, name):
        pytest.skip(f"scikit-learn {sklearn.__version__} has no {name}")
    check = getattr(estimator_checks, name)
    check("NegativeBinomialMixture", mixture())
    if "readonly_memmap" in inspect.signature(check).parameters:
        check("NegativeBinomialMixture", mixture(), readonly_memmap=True)


@pytest.mark.parametrize("method", ["fit", *METHODS])
def test_every_method_refuses_another_number_of_columns(method, fitted):
    words = "X has 2 features, but NegativeBinomialMixture is expecting 1 features as input"
    with pytest.raises(ValueError, match=f"{words}.*fit_columns"):
        getattr(fitted, method)(np.hstack([X, X]))
    assert fitted.n_features_in_ == 1


def test_sample_weight_of_another_shape_is_refused(fitted):
    for call in (mixture().fit, fitted.score, fitted.bic, fitted.icl):
        with pytest.raises(ValueError, match="sample_weight has 800 entries but X has 400 rows"):
            call(X, sample_weight=np.ones(800))
        with pytest.raises(ValueError, match=r"sample_weight must have one dimension.*\(400, 2\)"):
            call(X, sample_weight=np.ones((400, 2)))
        with pytest.raises(ValueError, match=r"sample_weight must be whole numbers.*0\.5 at index"):
            call(X, sample_weight=np.full(400, 0.5))
        with pytest.raises(ValueError, match="every sample_weight is zero"):
            call(X, sample_weight=np.zeros(400))


def test_what_is_passed_to_fit_is_left_as_it_was():
    data, size, weight = X.astype(float), exposure.copy(), np.arange(400.0)
    mixture().fit(data, exposure=size, sample_weight=weight)
    assert (data == X).all()
    assert (size == exposure).all()
    assert (weight == np.arange(400)).all()
    for array in (data, size, weight):
        assert array.flags.writeable


@pytest.mark.parametrize("scale", [None, exposure], ids=["counts", "exposed"])
def test_weight_2_is_the_row_twice_and_weight_0_is_no_row(scale):
    weight = np.random.default_rng(4).integers(0, 4, 400)
    long = np.repeat(X, weight, axis=0)
    long_scale = None if scale is None else np.repeat(scale, weight)
    one = mixture().fit(X, exposure=scale, sample_weight=weight)
    other = mixture().fit(long, exposure=long_scale)
    for name in ("weights_", "means_", "dispersions_", "log_likelihood_"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert (one.predict_proba(X, exposure=scale) == other.predict_proba(X, exposure=scale)).all()
    for method in ("score", "aic", "bic", "icl"):
        assert getattr(one, method)(X, exposure=scale, sample_weight=weight) == pytest.approx(
            getattr(other, method)(long, exposure=long_scale), rel=1e-12
        )
    # without weights every row counts once, so the criteria must differ
    assert one.bic(X, exposure=scale) != pytest.approx(other.bic(long, exposure=long_scale))


def test_objects_are_counts_only_where_all_are_numbers(fitted):
    assert (mixture().fit(X.astype(object)).means_ == fitted.means_).all()
    assert (fitted.predict(X.astype(object)) == fitted.predict(X)).all()
    spoilt = X.astype(object)
    spoilt[7, 0] = {"foo": "bar"}
    for call in (mixture().fit, fitted.predict):
        with pytest.raises(TypeError, match=r"X must be numbers; got \{'foo': 'bar'\}.*index 7"):
            call(spoilt)
    spoilt[7, 0] = None
    with pytest.raises(ValueError, match="X has a missing value at index 7"):
        fitted.predict(spoilt)


@pytest.mark.parametrize("call", ["fit", "predict", "score"])
@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ([1, 2, 3], ValueError, r"Expected 2D array, got 1D.*\(3,\).*Reshape your data"),
        (3, ValueError, r"Expected 2D array, got 0D array"),
        (np.ones((2, 1, 1)), ValueError, r"Expected 2D array, got 3D.*Reshape your data"),
        ([[1], [2, 3]], ValueError, "rows have different lengths"),
        (np.ones((0, 1)), ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum of 1"),
        (np.ones((12, 0)), ValueError, r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1"),
        (
            [[1.0], [np.nan]],
            ValueError,
            "Input X contains NaN: 1 in all, the first is nan at row 1",
        ),
        ([[np.inf], [1.0]], ValueError, "Input X contains infinity: 1 in all.*inf at row 0"),
        ([[3], [-2]], ValueError, "Negative values in data passed to Neg.*-2 at row 1, column 0"),
        ([[1.0], [0.5]], ValueError, r"X must be whole numbers.*0\.5 at index 1"),
        ([[1 + 2j]], ValueError, "Complex data not supported"),
        ([["one"]], TypeError, "X must be numbers; got strings"),
        (np.ma.masked_equal([[1], [2]], 2), ValueError, "X has 1 masked entries"),
        (sparse.csr_matrix([[1], [0]]), TypeError, "Sparse data was passed for X"),
        (sparse.coo_array([[1], [0]]), TypeError, r"Sparse data.*toarray\(\)"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_is_no_column_of_counts_is_refused(call, data, error, words, fitted):
    with pytest.raises(error, match=words):
        getattr(fitted, call)(data)


def test_columns_are_taken_from_lists_frames_and_narrow_integers(fitted):
    for data in (
        X.tolist(),
        X.astype(float),
        X.astype(np.uint8),
        np.asfortranarray(X),
        pd.DataFrame({"count": X[:, 0]}),
        pd.DataFrame({"count": pd.array(X[:, 0], dtype="Int64")}),
    ):
        assert (mixture().fit(data).means_ == fitted.means_).all()
        assert (fitted.predict(data) == fitted.predict(X)).all()


def test_name_of_the_column_is_kept_and_another_refused():
    frame = pd.DataFrame({"visits": X[:, 0]})
    named = mixture().fit(frame)
    assert named.feature_names_in_.tolist() == ["visits"]
    assert named.fit_.counts.name == "visits"
    assert named.score(frame) == named.score(X)
    with pytest.raises(ValueError, match=r"feature names should match.*'days'.*'visits'"):
        named.score(frame.rename(columns={"visits": "days"}))
    assert not hasattr(named.fit(X), "feature_names_in_")
    assert not hasattr(mixture().fit(pd.DataFrame({0: X[:, 0]})), "feature_names_in_")


def test_parameters_are_got_set_and_shown():
    estimator = nb.NegativeBinomialMixture(n_components=3)
    assert estimator.get_params() == {
        "n_components": 3,
        "mixing": "estimated",
        "max_iter": 200,
        "random_state": None,
    }
    assert estimator.set_params(mixing="equal", n_components=2) is estimator
    assert repr(estimator) == "NegativeBinomialMixture(mixing='equal')"
    assert repr(nb.NegativeBinomialMixture()) == "NegativeBinomialMixture()"
    with pytest.raises(ValueError, match=r"Invalid parameter 'k'.*n_components, mixing"):
        estimator.set_params(max_iter=3, k=1)
    assert estimator.max_iter == 200
    with pytest.raises(TypeError, match="positional"):
        nb.NegativeBinomialMixture(3)


def test_parameters_are_judged_when_fitted():
    for changed, words in (
        ({"n_components": 0}, "n_components must be a whole number of 1 or above"),
        ({"mixing": "free"}, "mixing must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"random_state": -1}, "random_state must be.*got -1"),
        ({"random_state": "one"}, "random_state must be.*got 'one'"),
        ({"random_state": True}, "random_state must be.*got True"),
    ):
        with pytest.raises(ValueError, match=words):
            mixture(**changed).fit(X)


@pytest.mark.parametrize("method", [*METHODS, "sample"])
def test_asked_before_fit_it_raises_the_error_of_scikit_learn(method, sklearn):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match=r"not fitted yet\. Call 'fit'"):
        getattr(mixture(), method)(3 if method == "sample" else X)
