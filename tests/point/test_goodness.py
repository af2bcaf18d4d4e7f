import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.params import cdf_jump
from pmnbmix.point.goodness import distance_from_uniform


def test_jump_is_the_density(crab):
    params = nb.fit_em(crab, 2, random_seed=0).params
    lower, upper = cdf_jump(params, crab.table)
    np.testing.assert_allclose(upper - lower, np.exp(params.logpmf(crab.table.values)), rtol=1e-9)
    next_to = np.diff(crab.table.values) == 1
    np.testing.assert_allclose(lower[1:][next_to], upper[:-1][next_to])


def test_distance_by_hand():
    """One count at 0 of a Poisson with mean log 2: its transform is uniform on (0, 1/2)."""
    params = nb.MixtureParams([1.0], [np.log(2.0)], [0.0])
    found = distance_from_uniform(params, nb.Counts([0]).table)
    # integral of (2u - u)^2 up to 1/2 and of (1 - u)^2 beyond
    assert found == pytest.approx(1 / 24 + 1 / 24, rel=1e-3)


def test_p_values_of_true_models_are_uniform_and_of_wrong_ones_small(crab, doctor_visits):
    truth = nb.MixtureParams([1.0], [5.0], [0.5])
    p = []
    for seed in range(30):
        counts = nb.Counts(truth.sample(100, random_seed=seed)[0])
        fit = nb.fit_em(counts, 1, random_seed=0)
        test = nb.goodness_of_fit(fit, n_boot=39, random_seed=seed, n_jobs=1, progressbar=False)
        p.append(test.p_value)
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) < 0.3
    one = nb.fit_em(crab, 1, random_seed=0)
    assert nb.goodness_of_fit(one, n_boot=39, random_seed=0, progressbar=False).p_value == 1 / 40
    two = nb.fit_em(crab, 2, random_seed=0)
    assert nb.goodness_of_fit(two, n_boot=39, random_seed=0, progressbar=False).p_value > 0.02


def test_equal_weights_stay_equal_in_replicates():
    """Refitted with free weights, replicates came closer to uniform than the fit could."""
    truth = nb.MixtureParams([0.5, 0.5], [3.0, 30.0], [0.2, 0.2])
    counts = nb.Counts(truth.sample(150, random_seed=0)[0])
    nulls = {}
    for mixing in ("equal", "estimated"):
        fit = nb.fit_em(counts, 2, mixing=mixing, random_seed=0)
        test = nb.goodness_of_fit(fit, n_boot=60, random_seed=1, n_jobs=1, progressbar=False)
        nulls[mixing] = np.median(test.null_statistics)
    assert nulls["equal"] > 1.3 * nulls["estimated"]


def test_bad_requests(crab):
    with pytest.raises(ValueError, match="got one by 'map'"):
        nb.goodness_of_fit(nb.fit_map(crab, nb.MixtureSpec(1)))
    with pytest.raises(TypeError, match="fit must be a PointFit"):
        nb.goodness_of_fit(crab)
    with pytest.raises(ValueError, match="n_boot"):
        nb.goodness_of_fit(nb.fit_em(crab, 1), n_boot=1)
