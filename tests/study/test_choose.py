import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.study import Fitted, make_choice
from pmnbmix.tree.writing import assemble


def test_two_components_are_chosen_for_the_crabs(crab_choice):
    assert 2 in crab_choice.plausible
    assert crab_choice.chosen == 2
    assert list(crab_choice.table.index) == [1, 2, 3]
    assert crab_choice.table["density_ok"].all()
    assert not crab_choice.table.loc[1, "plausible"]
    assert crab_choice.best == 2
    assert crab_choice.reasons[0].startswith("2 components predict best")
    assert any("ICL" in reason for reason in crab_choice.reasons)


def test_table_holds_the_figures_of_its_parts(crab_choice):
    for k, row in crab_choice.table.iterrows():
        fitted = crab_choice.fits[k]
        assert row["log_likelihood"] == fitted.em.log_likelihood
        assert row["bic"] == fitted.em.bic
        assert row["elpd"] == nb.loo(fitted.tree).elpd
        assert row["n_modes"] == fitted.tree["modes"].sizes["mode"]
    best = crab_choice.table["elpd"].idxmax()
    difference = crab_choice.table["elpd"] - crab_choice.table.loc[best, "elpd"]
    np.testing.assert_allclose(crab_choice.table["elpd_diff"], difference, atol=1e-9)
    assert crab_choice.table["stacking_weight"].sum() == pytest.approx(1.0)


def test_every_number_has_the_same_priors(crab_choice):
    specs = {fit.spec.with_components(1) for fit in crab_choice.map.values()}
    assert len(specs) == 1
    assert next(iter(specs)).is_resolved


def test_a_chain_put_into_a_wrong_mode_makes_the_gate_refuse_that_number(crab_choice, crab):
    fitted = crab_choice.fits[2]
    posterior = fitted.tree["posterior"].to_dataset()
    arrays = {name: posterior[name].values.copy() for name in ("weights", "means", "dispersions")}
    # one component for everything: 15 nats below
    arrays["means"][3] = [2.8, 3.0]
    arrays["dispersions"][3] = [1.3, 1.3]
    stuck = assemble(crab, Draws(**arrays), {"modes": fitted.tree["modes"].to_dataset()})
    diagnosis = nb.diagnose(stuck)
    refused = Fitted(fitted.em, fitted.map, stuck, diagnosis, fitted.elpd, fitted.estimates)
    choice = make_choice(crab, {**crab_choice.fits, 2: refused})
    assert not choice.table.loc[2, "density_ok"]
    assert np.isnan(choice.table.loc[2, "elpd_diff"])
    assert 2 not in choice.plausible
    assert choice.chosen == 3
    assert any(reason.startswith("2 components: not assessed") for reason in choice.reasons)


def test_interrupted_keeps_what_is_finished(crab):
    def interrupt(title, done, total):
        if title.startswith("K=2"):
            raise KeyboardInterrupt

    choice = nb.choose_components(crab, 3, draws=300, random_seed=0, watch=interrupt)
    assert list(choice.fits) == [1]
    assert choice.chosen == 1
    assert "Interrupted" in choice.reasons[-1]


def test_interrupted_before_anything_is_finished(crab):
    def interrupt(title, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nb.choose_components(crab, 2, random_seed=0, watch=interrupt)


def test_results_come_one_by_one(crab):
    seen = []
    choice = nb.choose_components(
        crab,
        1,
        draws=200,
        random_seed=0,
        watch=lambda title, done, total: None,
        on_fitted=lambda fitted: seen.append(fitted.n_components),
    )
    assert seen == [1]
    assert choice.table.loc[1, "elpd_diff"] == 0.0


@pytest.mark.parametrize(
    ("max_components", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_bad_requests(crab, max_components, error):
    with pytest.raises(error, match="max_components must be"):
        nb.choose_components(crab, max_components)


def test_wrong_kinds_of_arguments(crab):
    with pytest.raises(TypeError, match="counts must be a Counts; got list"):
        nb.choose_components([1, 2, 3])
    with pytest.raises(TypeError, match=r"spec must be a MixtureSpec, .*; got \d.*max_components"):
        nb.choose_components(crab, spec=2)
    with pytest.raises(TypeError, match="counts must be a Counts; got list"):
        nb.MixtureSpec(2).resolve([1, 2])


def test_an_interrupt_while_sampling_ends_the_study_and_is_told_of(crab):
    def interrupt_at_two(title, done, total):
        if title == "K=2: NUTS" and done >= 0.6 * total > 0.6:
            raise KeyboardInterrupt

    choice = nb.choose_components(crab, 3, draws=300, random_seed=1, watch=interrupt_at_two)
    assert list(choice.fits) == [1, 2]
    assert "Interrupted: 2 of 3" in choice.reasons[-1]
    assert "Sampling was interrupted" in choice.fits[2].diagnosis.summary[-1]


def test_it_stops_where_more_components_bring_nothing():
    counts = nb.Counts(nb.MixtureParams([1.0], [5.0], [0.5]).sample(150, random_seed=0)[0])
    quiet = {"draws": 300, "random_seed": 1, "watch": lambda title, done, total: None}
    choice = nb.choose_components(counts, 5, **quiet)
    assert list(choice.fits) == [1, 2, 3]
    assert "Stopped at 3 of 5" in choice.reasons[-1]
    assert choice.chosen == 1
    whole = nb.choose_components(counts, 4, stop_early=False, **quiet)
    assert list(whole.fits) == [1, 2, 3, 4]
    # what was fitted does not depend on what else was
    for k in (1, 2, 3):
        assert whole.table.loc[k, "elpd"] == choice.table.loc[k, "elpd"]


def test_observations_too_many_for_loo_are_refused_before_the_work(tmp_path):
    """A table of three rows was fitted for a minute, and then refused."""
    counts = nb.Counts([0, 1, 4], frequency=[10**8, 500, 20])
    with pytest.raises(ValueError, match="at most 1 GB are made"):
        nb.choose_components(counts, 2, folder=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_predictions_are_averaged_by_the_stacking_weights(crab_choice):
    averaged = crab_choice.averaged
    weights = crab_choice.table["stacking_weight"]
    np.testing.assert_allclose(averaged.weights, weights / weights.sum())
    values = np.array([0, 3, 12])
    single = [np.exp(nb_predictive(crab_choice.trees[k], values)) for k in (1, 2, 3)]
    expected = np.log(averaged.weights.to_numpy() @ np.array(single))
    np.testing.assert_allclose(averaged.logpmf(values), expected, rtol=1e-10)
    # and drawn counts have these probabilities: 5 standard errors
    drawn = averaged.sample(20_000, random_seed=1)
    assert drawn.shape == (20_000, 1)
    zero = np.exp(expected[0])
    assert abs((drawn == 0).mean() - zero) < 5 * np.sqrt(zero * (1 - zero) / 20_000)
    assert np.array_equal(drawn, averaged.sample(20_000, random_seed=1))


def nb_predictive(tree, values):
    """Log of the mean density over all draws, by the exact density of each."""
    posterior = tree["posterior"]
    arrays = [
        posterior[name].values.reshape(-1, posterior.sizes["mixture_component"])
        for name in ("weights", "means", "dispersions")
    ]
    densities = [
        nb.MixtureParams(w / w.sum(), m, d).logpmf(values) for w, m, d in zip(*arrays, strict=True)
    ]
    return np.logaddexp.reduce(densities, axis=0) - np.log(len(densities))


def test_averaging_needs_an_exposure_where_the_fits_had_one(crab_choice):
    from dataclasses import replace

    exposed = replace(crab_choice.averaged, _has_exposure=True)
    with pytest.raises(ValueError, match="new counts need theirs"):
        exposed.sample(10)
    with pytest.raises(ValueError, match="new counts need theirs"):
        exposed.logpmf([1, 2])
    assert exposed.sample(10, exposure=[1.0, 2.0], random_seed=0).shape == (10, 2)


def test_nothing_can_be_averaged_where_every_gate_failed(crab_choice):
    from dataclasses import replace

    table = crab_choice.table.assign(stacking_weight=np.nan)
    with pytest.raises(ValueError, match="nothing to average"):
        _ = replace(crab_choice, table=table).averaged


def test_one_count_that_decides_is_named():
    """150 counts of one negative binomial and one of 115: it alone makes the difference."""
    values = np.append(nb.MixtureParams([1.0], [5.0], [0.2]).sample(150, random_seed=1)[0], 115)
    choice = nb.choose_components(
        nb.Counts(values), 2, random_seed=1, watch=lambda title, done, total: None
    )
    assert choice.influences[1].startswith("One observation decides much between 1 and 2: 115.")
    assert choice.influences[1] in choice.reasons
    assert choice.table.loc[1, "goodness_of_fit"] == 0.01
    if choice.chosen == 1:
        assert "Caution with 1 component" in choice.reasons[0]
