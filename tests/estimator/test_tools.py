import inspect
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest

import pmnbmix as nb
from tests.estimator.data import METHODS, X, X_exposed, exposure, mixture


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


@pytest.mark.exhaustive
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
@pytest.mark.exhaustive
def test_it_needs_no_scikit_learn(before, after):
    code = f"{before}\nimport pmnbmix as nb\n{USE}\n{after}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
