import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.data.squash import squash
from pmnbmix.posterior import attempts, handover
from pmnbmix.posterior import plan as planning
from pmnbmix.posterior.modes import find_modes
from pmnbmix.posterior.plan import make_plan


@pytest.fixture(scope="module")
def separated():
    truth = nb.MixtureParams([0.4, 0.6], [5.0, 40.0], [0.2, 0.1])
    return nb.Counts(truth.sample(800, random_seed=0)[0])


@pytest.fixture(scope="module")
def exposed():
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0.0, 0.5, 4000))
    truth = nb.MixtureParams([0.6, 0.4], [2.0, 12.0], [0.3, 0.2])
    return nb.Counts(truth.sample(4000, rng, exposure)[0], exposure)


def plan_of(counts, **changed):
    spec = nb.MixtureSpec(2).resolve(counts)
    modes = find_modes(counts, spec, 0)
    asked = {"exact": False, "once": False, "tune": None, "target_accept": None} | changed
    return make_plan(counts, spec, modes, np.random.default_rng(0), **asked)


def test_one_mode_that_is_nearly_normal_is_whitened(separated):
    plan = plan_of(separated)
    assert plan.mode_mass > 0.99
    assert plan.k_hat < 0.5
    assert plan.attempts[0].whitened
    assert plan.attempts[0].tune == 200
    assert not any(attempt.whitened for attempt in plan.attempts[1:])


def test_two_modes_are_not_whitened(crab):
    plan = plan_of(crab)
    assert plan.mode_mass < 0.99
    assert np.isnan(plan.k_hat)
    assert not any(attempt.whitened for attempt in plan.attempts)


def test_a_heavy_tail_is_not_whitened(doctor_visits):
    plan = plan_of(doctor_visits)
    assert plan.k_hat > 0.5
    assert not any(attempt.whitened for attempt in plan.attempts)


def test_what_the_user_asks_for_is_done_once(separated):
    plan = plan_of(separated, tune=77)
    assert [attempt.tune for attempt in plan.attempts] == [77]
    assert plan_of(separated, once=True).attempts == plan_of(separated).attempts[:1]
    assert not plan_of(separated, exact=True).attempts[0].whitened


def test_whitened_and_plain_coordinates_give_the_same_posterior(separated):
    trees = [
        nb.sample(separated, nb.MixtureSpec(2), random_seed=1, progressbar=False),
        nb.sample(separated, nb.MixtureSpec(2), engine="pymc", random_seed=2, progressbar=False),
    ]
    systems = [tree.attrs["coordinate_system"] for tree in trees]
    assert systems == ["laplace-whitened", "plain"]
    for name in ("weights", "means", "dispersions"):
        one, other = (tree["posterior"][name].values.reshape(-1, 2) for tree in trees)
        # both have thousands of effective draws
        error = np.hypot(one.std(0), other.std(0)) / np.sqrt(1500)
        assert (np.abs(one.mean(0) - other.mean(0)) < 4 * error).all()
        np.testing.assert_allclose(one.std(0), other.std(0), rtol=0.1)


def test_squashed_rows_are_sampled_and_their_error_is_measured(exposed):
    plan = plan_of(exposed)
    assert plan.squashed is not None
    assert plan.squashed.values.size < 0.5 * exposed.n_unique
    tree = nb.sample(exposed, nb.MixtureSpec(2), draws=250, random_seed=1, progressbar=False)
    # the chains have a table that was chosen for errors of half the limit on wider points
    assert 0.0 < tree.attrs["squashing_error_sd"] < 0.005
    # every row was seen once, so that its log density stands with the observations alone
    assert tree["log_likelihood"].sizes["obs"] == exposed.n_unique == exposed.n
    assert "log_likelihood_unique" not in tree.children


def test_a_table_is_squashed_as_coarsely_as_its_error_allows(exposed, monkeypatch):
    coarse, fine = (squash(exposed.table, width, 6) for width in (1.0, 0.5))
    spec = nb.MixtureSpec(2).resolve(exposed)
    objective = planning.prior_objective(exposed, spec, sampling_density=True)
    modes = find_modes(exposed, spec, 0)
    errors = [planning._scatter(objective, objective.on(table), modes) for table in (coarse, fine)]
    assert 0.005 > errors[0] > 20 * errors[1] > 0.0
    for allowed, table in ((errors[0], coarse), (errors[1], fine), (0.0, None)):
        monkeypatch.setattr(planning, "_SQUASHING_ERROR", allowed)
        squashed = plan_of(exposed).squashed
        if table is None:
            assert squashed is None
        else:
            np.testing.assert_array_equal(squashed.exposure, table.exposure)


def test_the_error_around_the_modes_is_that_of_the_draws(exposed):
    plan = plan_of(exposed)
    spec = nb.MixtureSpec(2).resolve(exposed)
    objective = planning.prior_objective(exposed, spec, sampling_density=True)
    around = planning._scatter(objective, objective.on(plan.squashed), find_modes(exposed, spec, 0))
    tree = nb.sample(exposed, nb.MixtureSpec(2), draws=250, random_seed=1, progressbar=False)
    # possible starts are twice as wide as the posterior, and errors grow at most with the square
    assert 1.0 < around / tree.attrs["squashing_error_sd"] < 6.0


@pytest.mark.exhaustive
def test_a_squashed_table_too_coarse_is_given_up(exposed, monkeypatch):
    monkeypatch.setattr(attempts, "_SQUASHING_LIMIT", 0.0)
    tree = nb.sample(exposed, nb.MixtureSpec(2), draws=250, random_seed=1, progressbar=False)
    assert tree.attrs["squashing_error_sd"] == 0.0
    assert "squashing error" in tree.attrs["failed_attempts"]


@pytest.mark.parametrize("name", ["crab", "separated"])
def test_a_callback_draws_what_machine_code_draws(name, request, monkeypatch, caplog):
    counts = request.getfixturevalue(name)

    def run():
        return nb.sample(
            counts, nb.MixtureSpec(2), draws=40, tune=40, chains=2, random_seed=1, progressbar=False
        )

    by_address = run()
    whitened = by_address.attrs["coordinate_system"] == "laplace-whitened"
    assert whitened == (name == "separated")

    def refused(*arguments):
        raise TypeError("unexpected keyword")

    monkeypatch.setattr(handover, "_by_address", refused)
    with caplog.at_level("INFO"):
        by_callback = run()
    assert "unexpected keyword" in caplog.text
    for parameter in ("weights", "means", "dispersions"):
        np.testing.assert_array_equal(
            by_address["posterior"][parameter], by_callback["posterior"][parameter]
        )
