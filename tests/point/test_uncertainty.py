import numpy as np
import pytest

import pmnbmix as nb


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
