import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.sums import row_scores
from pmnbmix.point.objective import likelihood_objective, pack_point
from pmnbmix.point.uncertainty import overlapping


@pytest.fixture(scope="module")
def separated():
    truth = nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2])
    values, _ = truth.sample(2000, random_seed=8)
    return nb.Counts(values)


def test_standard_errors_are_the_inverse_numerical_hessian(separated):
    fit = nb.fit_em(separated, 2, random_seed=0)
    centre = np.array([fit.params.weights[0], *fit.params.means, *fit.params.dispersions])

    def log_likelihood(c):
        return nb.MixtureParams([c[0], 1 - c[0]], c[1:3], c[3:]).logpmf(separated.values).sum()

    steps = 1e-4 * centre
    hessian = np.empty((5, 5))
    for i in range(5):
        for j in range(5):
            one, other = np.zeros(5), np.zeros(5)
            one[i], other[j] = steps[i], steps[j]
            corners = [
                log_likelihood(centre + a * one + b * other) * a * b
                for a in (1, -1)
                for b in (1, -1)
            ]
            hessian[i, j] = sum(corners) / (4 * steps[i] * steps[j])
    expected = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    table = fit.standard_errors()
    found = table.loc[
        ["weights[0]", "means[0]", "means[1]", "dispersions[0]", "dispersions[1]"], "se"
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert table.loc["weights[0]", "se"] == pytest.approx(table.loc["weights[1]", "se"])
    assert (table["flag"] == "").all()
    assert ((table["lower"] < table["estimate"]) & (table["estimate"] < table["upper"])).all()


def test_estimates_scatter_as_their_standard_errors_say():
    truth = nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2])
    rng = np.random.default_rng(5)
    scores = []
    for _ in range(40):
        counts = nb.Counts(truth.sample(500, rng)[0])
        table = nb.fit_em(counts, 2, random_seed=0).standard_errors()
        expected = np.concatenate([truth.weights, truth.means, truth.dispersions])
        scores.append((table["estimate"] - expected) / table["se"])
    spread = np.std(scores, axis=0)
    # 40 replicates know a standard deviation to 11 %
    np.testing.assert_allclose(spread, 1.0, atol=0.45)


def test_a_poisson_component_has_no_standard_error(crab):
    table = nb.fit_em(crab, 2, random_seed=0).standard_errors()
    row = table.loc["dispersions[0]"]
    assert row["estimate"] == 0.0
    assert np.isinf(row["se"])
    assert "posterior" in row["flag"]
    assert not table.isna().any().any()


def test_duplicate_components_leave_their_weights_open():
    fit = nb.fit_em(nb.Counts([5] * 30), 2, random_seed=0)
    table = fit.standard_errors()
    assert nb.Status.DUPLICATE_COMPONENTS in fit.statuses
    assert np.isinf(table.loc["weights[0]", "se"])
    assert "not determined" in table.loc["weights[0]", "flag"]


def test_one_component_has_a_certain_weight(crab):
    row = nb.fit_em(crab, 1).standard_errors().loc["weights[0]"]
    assert (row["estimate"], row["se"], row["lower"], row["upper"]) == (1.0, 0.0, 1.0, 1.0)
    assert row["flag"] == ""


def test_the_sandwich_of_a_mean_is_the_textbooks(crab):
    # the scores of mean and dispersion are orthogonal at the estimate, so that what is left for
    # the mean is the sample variance, whatever the model says
    table = nb.fit_em(crab, 1).standard_errors(kind="sandwich")
    values = np.repeat(crab.values, crab.frequency)
    expected = np.sqrt(((values - values.mean()) ** 2).sum()) / values.size
    assert table.loc["means[0]", "se"] == pytest.approx(expected, rel=1e-6)
    wrong = nb.fit_em(crab, 1).standard_errors()
    assert wrong.loc["means[0]", "se"] > 1.1 * expected


def test_scores_of_rows_add_up_to_the_gradient(crab):
    objective = likelihood_objective(crab, 2, False)
    point = pack_point(nb.MixtureParams([0.3, 0.7], [0.5, 5.0], [0.4, 0.0]))
    scores = row_scores(objective.rows, objective.terms, point)
    np.testing.assert_allclose(
        crab.table.frequency @ scores, objective.derivatives(point)[0], rtol=1e-10, atol=1e-10
    )


def test_doubts_are_flagged_with_what_to_use_instead(crab):
    flags = nb.fit_em(crab, 2, random_seed=0).standard_errors()["flag"]
    # the two optima of these counts are half a nat apart
    assert flags.str.contains("another optimum lies within 4 nats").all()
    assert "profile_intervals" in flags["dispersions[0]"]
    skewed = nb.fit_em(nb.load_dataset("doctor_visits"), 2, random_seed=0)
    flags = skewed.standard_errors()["flag"]
    assert "far from the profile interval" in flags["means[1]"]
    assert flags["means[0]"] == ""


def test_dispersions_of_a_tight_component_that_is_not_there_are_flagged():
    # a small component inside the other looks determined, and the truth is far away
    truth = nb.MixtureParams([0.6, 0.4], [8.0, 16.0], [0.2, 0.2])
    values, _ = truth.sample(2000, np.random.default_rng([374, 2000, 28]))
    fit = nb.fit_em(nb.Counts(values), 2, random_seed=0)
    table = fit.standard_errors()
    assert fit.params.weights.min() < 0.1
    assert table.loc["dispersions[0]", "lower"] > truth.dispersions[0]
    assert table.loc["dispersions[0]", "se"] < 0.1 * table.loc["dispersions[0]", "estimate"]
    assert (table["flag"][["dispersions[0]", "dispersions[1]"]] != "").all()


def test_overlap_concerns_the_components_that_share_observations():
    params = nb.MixtureParams([0.3, 0.3, 0.4], [8.0, 11.0, 900.0], [0.2, 0.2, 0.2])
    counts = nb.Counts(params.sample(3000, 0)[0])
    objective = likelihood_objective(counts, 3, False)
    assert overlapping(objective, pack_point(params)).tolist() == [True, True, False]


def test_a_nearly_poisson_dispersion_is_flagged():
    # inside the space, but the data hardly tell it from 0
    rng = np.random.default_rng(3)
    for _ in range(200):
        fit = nb.fit_em(nb.Counts(rng.poisson(20.0, 60)), 1)
        row = fit.standard_errors().loc["dispersions[0]"]
        if fit.status is nb.Status.CONVERGED and row["se"] > 3.0 * row["estimate"]:
            assert "nearly Poisson" in row["flag"]
            return
    pytest.fail("no sample ended inside with so wide a log dispersion")


def test_arguments_of_standard_errors(crab):
    fit = nb.fit_em(crab, 1)
    with pytest.raises(ValueError, match='kind must be "information" or "sandwich"'):
        fit.standard_errors(kind="robust")
    with pytest.raises(ValueError, match="the sandwich is for maximum likelihood"):
        nb.fit_map(crab, nb.MixtureSpec(1)).standard_errors(kind="sandwich")
    wide, narrow = fit.standard_errors(0.99), fit.standard_errors(0.5)
    assert wide.loc["means[0]", "upper"] > narrow.loc["means[0]", "upper"]


def test_wald_beside_an_unbounded_profile_is_flagged():
    # one component is 1.3 nats lower, so that the profiles of the others never fall far enough
    fit = nb.fit_em(nb.load_dataset("red_mites"), 2, random_seed=0)
    profile, table = fit.profile_intervals(), fit.standard_errors()
    open_ended = np.isinf(profile["upper"]) | (profile["lower"] == 0)
    assert open_ended.any()
    assert (table.loc[open_ended, "flag"] != "").all()
