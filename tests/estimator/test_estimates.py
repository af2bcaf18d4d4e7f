import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb
from tests.estimator.data import METHODS, X, X_exposed, exposure, mixture


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
        with pytest.raises((TypeError, ValueError), match=f"n_samples must be.*got {wrong}"):
            fitted.sample(wrong)


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_generators_draw_again_and_repeat_from_the_same_state(kind):
    one, other = mixture(random_state=kind(3)).fit(X), mixture(random_state=kind(3)).fit(X)
    first = one.sample(50)[0]
    assert (first == other.sample(50)[0]).all()
    assert (first != one.sample(50)[0]).any()


def test_exposures_and_weights_labelled_in_another_order_are_refused():
    frame = pd.DataFrame({"count": X_exposed[:, 0]})
    sizes = pd.Series(exposure, index=frame.index)
    fitted = mixture().fit(frame, exposure=sizes)
    for call in (mixture().fit, fitted.predict, fitted.score):
        with pytest.raises(ValueError, match="exposure has the labels"):
            call(frame, exposure=sizes[::-1])
    weights = pd.Series(np.arange(len(frame)) % 3, index=frame.index)
    for call in (mixture().fit, fitted.score):
        with pytest.raises(ValueError, match="sample_weight has the labels"):
            call(frame, exposure=sizes, sample_weight=weights[::-1])
