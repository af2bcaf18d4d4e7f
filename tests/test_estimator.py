import inspect
import pickle
import subprocess
import sys
import traceback

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmnbmix as nb

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
METHODS = ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl")

params = nb.MixtureParams([0.4, 0.6], [3.0, 40.0], [0.2, 0.1])
X = params.sample(400, 1)[0][:, None]
exposure = np.random.default_rng(2).choice([0.5, 1.0, 2.0], 400)
X_exposed = params.sample(400, 3, exposure)[0][:, None]


def mixture(**changed):
    return nb.NegativeBinomialMixture(**{"random_state": 1, **changed})


@pytest.fixture(scope="module")
def fitted():
    return mixture().fit(X)


@pytest.fixture(scope="module")
def exposed():
    return mixture().fit(X_exposed, exposure=exposure)


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn", reason="scikit-learn, whose tools are tried here")


@pytest.fixture
def routing(sklearn):
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- the protocol ---------------------------------------------------------------------------------


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
        ({"n_components": 0}, "n_components must be 1 or above"),
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


# --- agreement with fit_em ------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["estimated", "equal"])
@pytest.mark.parametrize("scale", [None, exposure], ids=["counts", "exposed"])
def test_estimate_and_judgement_are_those_of_fit_em(mixing, scale):
    data = X if scale is None else X_exposed
    fit = nb.fit_em(nb.Counts(data[:, 0], scale), 2, mixing=mixing, random_seed=1)
    one = mixture(mixing=mixing).fit(data, exposure=scale)
    for name in ("weights", "means", "dispersions"):
        assert (getattr(one, f"{name}_") == getattr(fit.params, name)).all()
    assert one.log_likelihood_ == fit.log_likelihood
    assert (one.status_, one.converged_, one.n_iter_) == ("converged", True, fit.n_iter)
    assert type(one.status_) is str
    new, new_scale = data[:50], None if scale is None else scale[:50]
    assert (one.predict(new, exposure=new_scale) == fit.predict(new[:, 0], new_scale)).all()
    held = one.predict_proba(new, exposure=new_scale)
    assert (held == fit.responsibilities(new[:, 0], new_scale)).all()
    each = one.score_samples(new, exposure=new_scale)
    assert (each == fit.logpmf(new[:, 0], new_scale)).all()
    assert one.score(new, exposure=new_scale) == pytest.approx(each.mean(), rel=1e-14)
    for name in ("aic", "bic", "icl"):
        on_training_data = getattr(one, name)(data, exposure=scale)
        assert on_training_data == pytest.approx(getattr(fit, name), rel=1e-12)


def test_fit_predict_is_fit_then_predict(exposed):
    weight = np.tile([1, 3], 200)
    estimator = mixture()
    labels = estimator.fit_predict(X_exposed, exposure=exposure, sample_weight=weight)
    again = mixture().fit(X_exposed, exposure=exposure, sample_weight=weight)
    assert (labels == again.predict(X_exposed, exposure=exposure)).all()
    assert (estimator.means_ == again.means_).all()
    assert (estimator.means_ != exposed.means_).all()


def test_exposure_in_other_units_changes_the_means_only(exposed):
    other = mixture().fit(X_exposed, exposure=10 * exposure)
    assert other.means_ == pytest.approx(exposed.means_ / 10, rel=1e-6)
    assert other.weights_ == pytest.approx(exposed.weights_, rel=1e-6)
    assert other.dispersions_ == pytest.approx(exposed.dispersions_, rel=1e-5)
    assert other.predict_proba(X_exposed, exposure=10 * exposure) == pytest.approx(
        exposed.predict_proba(X_exposed, exposure=exposure), abs=1e-6
    )


def test_one_exposure_serves_every_row(fitted):
    same = mixture().fit(X, exposure=4.0)
    assert same.means_ == pytest.approx(fitted.means_ / 4, rel=1e-6)
    assert same.score(X, exposure=4) == same.score(X, exposure=np.full(400, 4.0))


@pytest.mark.parametrize("method", [*METHODS, "sample"])
def test_fitted_with_exposures_every_method_needs_them(method, exposed):
    data = 400 if method == "sample" else X_exposed
    with pytest.raises(ValueError, match=r"pass exposure=\.\.\., or exposure=1 "):
        getattr(exposed, method)(data)
    with pytest.raises(ValueError, match=r"exposure has 3 entries but (X has|n_samples is) 400"):
        getattr(exposed, method)(data, exposure=[1, 2, 3])
    with pytest.raises(ValueError, match="exposure must be above 0"):
        getattr(exposed, method)(data, exposure=0.0)
    if method != "sample":
        scored = getattr(exposed, method)(data, exposure=1)
        assert np.array_equal(scored, getattr(exposed, method)(data, exposure=np.ones(400)))


def test_rows_are_judged_one_by_one(exposed):
    for method in ("predict", "predict_proba", "score_samples"):
        whole = getattr(exposed, method)(X_exposed, exposure=exposure)
        single = [
            getattr(exposed, method)(row[None], exposure=[scale])[0]
            for row, scale in zip(X_exposed, exposure, strict=True)
        ]
        assert whole == pytest.approx(np.array(single), abs=1e-12)


def test_row_of_weight_0_does_not_count_however_impossible():
    zeros = mixture(n_components=1).fit(np.zeros((5, 1)))
    assert zeros.status_ == "point-mass"
    assert zeros.converged_
    assert zeros.score([[0], [3]]) == -np.inf
    assert zeros.score([[0], [3]], sample_weight=[1, 0]) == 0


def test_iterations_that_ran_out_are_no_convergence(crab):
    estimator = mixture(max_iter=1).fit(crab.values[:, None])
    assert estimator.status_ == "max-iter"
    assert not estimator.converged_


# --- draws ----------------------------------------------------------------------------------------


def test_sample_draws_from_the_fit(fitted, exposed):
    drawn, labels = fitted.sample(300)
    assert drawn.shape == (300, 1)
    assert drawn.dtype.kind == labels.dtype.kind == "i"
    values, components = fitted.fit_.params.sample(300, 1)
    assert (drawn[:, 0] == values).all()
    assert (labels == components).all()
    drawn, _ = exposed.sample(400, exposure=exposure)
    assert (drawn[:, 0] == exposed.fit_.params.sample(400, 1, exposure)[0]).all()
    assert fitted.sample()[0].shape == (1, 1)
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"n_samples must be a whole.*got {wrong}"):
            fitted.sample(wrong)


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_generators_draw_again_and_repeat_from_the_same_state(kind):
    one, other = mixture(random_state=kind(3)).fit(X), mixture(random_state=kind(3)).fit(X)
    first = one.sample(50)[0]
    assert (first == other.sample(50)[0]).all()
    assert (first != one.sample(50)[0]).any()


# --- tools of scikit-learn ------------------------------------------------------------------------


def test_clone_has_the_parameters_and_nothing_fitted(sklearn):
    from sklearn.base import clone

    original = mixture(n_components=3, mixing="equal", max_iter=100, random_state=5).fit(X)
    copy = clone(original)
    assert copy.get_params() == original.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


def test_grid_search_chooses_the_two_components_there_are(sklearn):
    from sklearn.model_selection import GridSearchCV, KFold

    folds = KFold(5, shuffle=True, random_state=1)
    search = GridSearchCV(mixture(), {"n_components": [1, 2, 3]}, cv=folds).fit(X)
    assert search.best_params_ == {"n_components": 2}
    by_hand = [mixture().fit(X[train]).score(X[test]) for train, test in folds.split(X)]
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(np.mean(by_hand), rel=1e-12)
    assert (search.predict(X) == mixture().fit(X).predict(X)).all()


def test_processes_find_what_one_process_finds(sklearn, fitted):
    from sklearn.model_selection import GridSearchCV

    grid = {"n_components": [1, 2]}
    apart = GridSearchCV(mixture(), grid, cv=2, n_jobs=2).fit(X)
    alone = GridSearchCV(mixture(), grid, cv=2).fit(X)
    scores = "mean_test_score"
    assert apart.cv_results_[scores] == pytest.approx(alone.cv_results_[scores], rel=1e-9)
    jobs = (joblib.delayed(estimator.fit)(X) for estimator in (mixture(), mixture()))
    for sent_back in joblib.Parallel(n_jobs=2, backend="loky")(jobs):
        assert sent_back.means_ == pytest.approx(fitted.means_, rel=1e-9)
        assert sent_back.fit_.bic == pytest.approx(fitted.fit_.bic, rel=1e-9)


def test_pickle_brings_all_of_it_back(exposed):
    back = pickle.loads(pickle.dumps(exposed))
    assert back.get_params() == exposed.get_params()
    for method in METHODS:
        there = getattr(exposed, method)(X_exposed, exposure=exposure)
        assert np.array_equal(getattr(back, method)(X_exposed, exposure=exposure), there)
    assert back.fit_.optima.equals(exposed.fit_.optima)
    assert back.fit_.counts.table.n == 400


def test_pipeline_passes_counts_through(sklearn, fitted):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils.validation import check_is_fitted

    pipeline = make_pipeline(FunctionTransformer(lambda data: data[:, 1:]), mixture())
    assert "NegativeBinomialMixture" in pipeline._repr_html_()
    table = np.hstack([-X, X])
    pipeline.fit(table)
    check_is_fitted(pipeline)
    assert (pipeline.predict_proba(table) == fitted.predict_proba(X)).all()
    assert pipeline.score(table) == fitted.score(X)
    pipeline.set_params(negativebinomialmixture__n_components=1).fit(table)
    assert pipeline[-1].weights_ == [1.0]


def test_tags_say_what_it_is(sklearn):
    from sklearn.mixture import GaussianMixture
    from sklearn.utils import get_tags

    tags, gaussian = get_tags(mixture()), get_tags(GaussianMixture())
    assert tags.estimator_type == gaussian.estimator_type
    assert tags.target_tags == gaussian.target_tags
    assert tags.input_tags.positive_only
    assert not tags.input_tags.sparse


@pytest.mark.usefixtures("routing")
def test_grid_search_passes_each_fold_its_exposures_and_weights():
    from sklearn.model_selection import GridSearchCV, KFold

    weight = np.tile([1, 2], 200)
    asked = {"exposure": True, "sample_weight": True}
    estimator = mixture().set_fit_request(**asked).set_score_request(**asked)
    folds = KFold(3, shuffle=True, random_state=1)
    search = GridSearchCV(estimator, {"n_components": [1, 2]}, cv=folds)
    search.fit(X_exposed, exposure=exposure, sample_weight=weight)
    assert search.best_params_ == {"n_components": 2}
    for fold, (train, test) in enumerate(folds.split(X_exposed)):
        by_hand = mixture().fit(
            X_exposed[train], exposure=exposure[train], sample_weight=weight[train]
        )
        assert search.cv_results_[f"split{fold}_test_score"][1] == pytest.approx(
            by_hand.score(X_exposed[test], exposure=exposure[test], sample_weight=weight[test]),
            rel=1e-12,
        )
    best = mixture().fit(X_exposed, exposure=exposure, sample_weight=weight)
    assert (search.best_estimator_.means_ == best.means_).all()


@pytest.mark.usefixtures("routing")
def test_pipeline_passes_exposures_on_to_every_method_that_asks():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    estimator = mixture()
    for method in ("fit", "predict", "predict_proba", "score"):
        assert getattr(estimator, f"set_{method}_request")(exposure=True) is estimator
    pipeline = make_pipeline(FunctionTransformer(), estimator).fit(X_exposed, exposure=exposure)
    alone = mixture().fit(X_exposed, exposure=exposure)
    for method in ("predict", "predict_proba", "score"):
        routed = getattr(pipeline, method)(X_exposed, exposure=exposure)
        assert np.array_equal(routed, getattr(alone, method)(X_exposed, exposure=exposure))


@pytest.mark.usefixtures("routing")
def test_what_is_not_asked_for_is_not_passed_silently():
    from sklearn.exceptions import UnsetMetadataPassedError
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(mixture(), {"n_components": [1]}, cv=2)
    with pytest.raises(UnsetMetadataPassedError, match="exposure"):
        search.fit(X_exposed, exposure=exposure)


@pytest.mark.usefixtures("routing")
def test_clone_keeps_requests_and_the_original_its_own():
    from sklearn.base import clone
    from sklearn.utils.metadata_routing import UNCHANGED

    estimator = mixture().set_fit_request(exposure=True).set_score_request(exposure="size")
    copy = clone(estimator)
    assert copy.get_metadata_routing().fit.requests == {"exposure": True, "sample_weight": None}
    assert copy.get_metadata_routing().score.requests == {"exposure": "size", "sample_weight": None}
    copy.set_fit_request(exposure=UNCHANGED, sample_weight=True)
    assert copy.get_metadata_routing().fit.requests == {"exposure": True, "sample_weight": True}
    assert estimator.get_metadata_routing().fit.requests["sample_weight"] is None
    assert pickle.loads(pickle.dumps(copy)).get_metadata_routing().fit.requests["exposure"] is True


@pytest.mark.usefixtures("routing")
def test_requests_cover_every_argument_that_can_be_routed():
    from sklearn.utils.metadata_routing import get_routing_for_object

    routing = get_routing_for_object(mixture())
    for method in ("fit", "predict", "predict_proba", "score"):
        arguments = inspect.signature(getattr(nb.NegativeBinomialMixture, method)).parameters
        assert set(getattr(routing, method).requests) == set(arguments) - {"self", "X", "y"}


def test_requests_need_routing_to_be_enabled(sklearn):
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        mixture().set_fit_request(exposure=True)


# --- without scikit-learn -------------------------------------------------------------------------

USE = """
estimator = nb.NegativeBinomialMixture(n_components=2, random_state=1)
try:
    estimator.predict([[1]])
except ValueError as error:
    assert isinstance(error, AttributeError) and "not fitted" in str(error)
else:
    raise SystemExit("an estimator that was not fitted predicts")
X = [[0], [1], [1], [2], [30], [41], [55]]
assert estimator.fit_predict(X).tolist() == [0, 0, 0, 0, 1, 1, 1]
estimator.score(X), estimator.bic(X), estimator.sample(3), estimator.set_params(max_iter=9)
assert estimator.get_params()["max_iter"] == 9
assert repr(estimator) == "NegativeBinomialMixture(max_iter=9, random_state=1)"
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import sys; sys.modules['sklearn'] = None", ""),
        (
            "import sys",
            "assert not {'sklearn', 'pymc', 'pytensor', 'arviz', 'nutpie'} & set(sys.modules)",
        ),
    ],
    ids=["sklearn blocked", "nothing heavy loaded"],
)
def test_it_needs_no_scikit_learn(before, after):
    code = f"{before}\nimport pmnbmix as nb\n{USE}\n{after}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
