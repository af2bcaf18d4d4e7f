import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.laplace import importance
from pmnbmix.posterior.modes import find_modes


@pytest.fixture(scope="module")
def separated():
    truth = nb.MixtureParams([0.4, 0.6], [5.0, 40.0], [0.2, 0.1])
    return nb.Counts(truth.sample(800, random_seed=0)[0])


@pytest.fixture(scope="module")
def tree(separated):
    return nb.laplace(separated, nb.MixtureSpec(2), random_seed=1)


@pytest.fixture(scope="module")
def sampled(separated):
    return nb.sample(separated, nb.MixtureSpec(2), random_seed=1, progressbar=False)


def test_it_agrees_with_nuts(tree, sampled):
    for name in ("weights", "means", "dispersions"):
        one, two = tree["posterior"].to_dataset()[[name]], sampled["posterior"].to_dataset()[[name]]
        error = np.hypot(az.mcse(one)[name].values, az.mcse(two)[name].values)
        gap = one[name].mean(("chain", "draw")) - two[name].mean(("chain", "draw"))
        assert (np.abs(gap.values) < 3.5 * error).all()


def test_its_tree_is_one_of_independent_draws(separated, tree, sampled):
    assert tree["posterior"].sizes == {"chain": 4, "draw": 1000, "mixture_component": 2}
    assert tree.attrs["k_hat"] < 0.7
    assert tree.attrs["importance_ess"] > 4000
    assert nb.diagnose(tree).density_ok
    # Monte Carlo errors of elpd are some hundredths of its five parameters
    assert nb.loo(tree).elpd == pytest.approx(nb.loo(sampled).elpd, abs=0.3)
    means = tree["posterior"]["means"].values.reshape(-1, 2)
    assert np.unique(means, axis=0).shape[0] > 3600
    again = nb.laplace(separated, nb.MixtureSpec(2), random_seed=1)
    assert again["posterior"].to_dataset().equals(tree["posterior"].to_dataset())


def test_weights_correct_a_proposal_that_is_too_wide(separated):
    spec = nb.MixtureSpec(1).resolve(separated)
    mode = find_modes(separated, spec, 0)[0]
    found = importance(
        make_target(Problem.of(separated, spec)), mode, 20_000, np.random.default_rng(0)
    )
    weights = np.exp(found.log_weights)
    assert weights.sum() == pytest.approx(1.0)
    mean = weights @ found.packed
    sd = np.sqrt(weights @ (found.packed - mean) ** 2)
    laplace_sd = np.sqrt(np.diag(mode.root @ mode.root.T))
    # 800 counts: the posterior is close to the approximation, far from the t that was drawn from
    np.testing.assert_allclose(sd, laplace_sd, rtol=0.05)
    assert found.packed.std(axis=0)[0] > 1.2 * laplace_sd[0]
    assert 5_000 < found.effective < 20_000


def test_it_refuses_where_it_would_be_wrong(crab, doctor_visits):
    with pytest.raises(ValueError, match=r"modes matter.*Use sample"):
        nb.laplace(crab, nb.MixtureSpec(2), random_seed=0)
    with pytest.raises(ValueError, match=r"k-hat .*Use sample"):
        nb.laplace(doctor_visits, nb.MixtureSpec(2), random_seed=0)
    with pytest.raises(ValueError, match="draws must be a whole number of 100 or above; got 5"):
        nb.laplace(crab, nb.MixtureSpec(1), draws=5)
    with pytest.raises(ValueError, match="draws must be a multiple of 4"):
        nb.laplace(crab, nb.MixtureSpec(1), draws=4001)
    with pytest.raises(TypeError, match="draws must be a whole number"):
        nb.laplace(crab, nb.MixtureSpec(1), draws=1e3)


def test_its_quantiles_are_those_of_nuts(crab, crab_choice):
    tree = nb.laplace(crab, nb.MixtureSpec(1), random_seed=0)
    for name in ("means", "dispersions"):
        one = np.log(tree["posterior"][name].values.ravel())
        other = np.log(crab_choice.trees[1]["posterior"][name].values.ravel())
        found, expected = (np.quantile(array, [0.05, 0.5, 0.95]) for array in (one, other))
        # of 4,000 draws, the tails to a tenth of a standard deviation
        np.testing.assert_allclose(found, expected, atol=0.12 * other.std())
        assert one.std() == pytest.approx(other.std(), rel=0.08)
