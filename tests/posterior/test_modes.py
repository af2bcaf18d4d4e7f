import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.modes import find_modes, modes_that_matter, spread_starts
from tests.conftest import REFERENCE


@pytest.fixture(scope="module")
def crab_modes():
    counts = nb.load_dataset("crab_satellites")
    return find_modes(counts, nb.MixtureSpec(2).resolve(counts), random_seed=0)


def log_posterior(counts, spec, packed):
    return make_target(Problem.of(counts, spec)).log_density(packed)


def test_two_label_distinct_modes_of_nearly_equal_density(crab, crab_modes):
    assert len(crab_modes) == 2
    assert abs(crab_modes[0].log_density - crab_modes[1].log_density) < 0.5
    assert len(modes_that_matter(crab_modes)) == 2
    spec = nb.MixtureSpec(2).resolve(crab)
    for mode in crab_modes:
        value, gradient = log_posterior(crab, spec, mode.packed)
        assert np.abs(gradient).max() < 1e-4
        assert (np.diag(mode.root) > 0).all()
        # one Laplace standard deviation away in every direction the density is lower
        for eigenvalue, direction in zip(*np.linalg.eigh(mode.root @ mode.root.T), strict=True):
            for sign in (-0.3, 0.3):
                moved = mode.packed + sign * np.sqrt(eigenvalue) * direction
                assert log_posterior(crab, spec, moved)[0] < value


def test_covariance_is_the_inverse_of_the_numerical_hessian(crab, crab_modes):
    spec, mode = nb.MixtureSpec(2).resolve(crab), crab_modes[0]
    hessian = np.empty((5, 5))
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-5
        above = log_posterior(crab, spec, mode.packed + step)[1]
        below = log_posterior(crab, spec, mode.packed - step)[1]
        hessian[i] = (above - below) / 2e-5
    np.testing.assert_allclose(np.linalg.inv(-hessian), mode.root @ mode.root.T, rtol=1e-4)


def test_the_mode_203_nats_lower_is_listed_and_gets_no_chain():
    counts = nb.read_counts(REFERENCE / "droplets.npz", "total")
    spec = nb.MixtureSpec(2).resolve(counts)
    modes = find_modes(counts, spec, random_seed=0)
    gaps = [modes[0].log_density - mode.log_density for mode in modes]
    assert any(190 < gap < 210 for gap in gaps)
    assert len(modes_that_matter(modes)) == 1


def test_chains_start_spread_over_the_modes_that_matter(crab, crab_modes):
    spec = nb.MixtureSpec(2).resolve(crab)
    target = make_target(Problem.of(crab, spec))
    starts, which = spread_starts(target, crab_modes, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(which, [0, 1, 0, 1, 0])
    for start, index in zip(starts, which, strict=True):
        mode = crab_modes[index]
        assert not np.array_equal(start, mode.packed)
        value, _ = log_posterior(crab, spec, start)
        at_mode, _ = log_posterior(crab, spec, mode.packed)
        assert value > at_mode - 10 - 2 * start.size
    again, _ = spread_starts(target, crab_modes, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(starts, again)
