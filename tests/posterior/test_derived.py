import numpy as np
import pytest

import pmnbmix as nb


@pytest.fixture(scope="module")
def exposed_tree():
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0.0, 0.5, 300))
    truth = nb.MixtureParams([0.6, 0.4], [2.0, 15.0], [0.3, 0.2])
    counts = nb.Counts(truth.sample(300, rng, exposure)[0], exposure)
    tree = nb.sample(counts, nb.MixtureSpec(2), draws=100, random_seed=1, progressbar=False)
    return counts, tree


def each_draw(tree):
    posterior = tree["posterior"].to_dataset().stack(s=("chain", "draw"))
    for i in range(posterior.sizes["s"]):
        yield nb.MixtureParams(
            *(posterior[name].values[:, i] for name in ("weights", "means", "dispersions"))
        )


def test_responsibilities_are_the_mean_over_draws(exposed_tree):
    counts, tree = exposed_tree
    found = nb.add_responsibilities(tree)["responsibilities"].to_dataset()
    held = np.array(
        [params.responsibilities(counts.values, counts.exposure) for params in each_draw(tree)]
    )
    np.testing.assert_allclose(found["mean"], held.mean(axis=0), atol=1e-11)
    np.testing.assert_allclose(found["sd"], held.std(axis=0), atol=1e-9)
    np.testing.assert_array_equal(found["component"], held.mean(axis=0).argmax(axis=1))
    np.testing.assert_allclose(found["mean"].sum("mixture_component"), 1.0)
    assert "responsibilities" not in tree.children


def test_rates_are_those_of_each_draw(exposed_tree):
    counts, tree = exposed_tree
    found = nb.add_rates(tree)["rates"].to_dataset()
    rows = slice(0, 40)
    means, squares = [], []
    for params in each_draw(tree):
        held = params.responsibilities(counts.values[rows], counts.exposure[rows])
        x, s = counts.values[rows, None], counts.exposure[rows, None]
        shape, rate = params.inv_disps + x, params.inv_disps / params.means + s
        means.append((held * shape / rate).sum(axis=1))
        squares.append((held * shape * (shape + 1) / rate**2).sum(axis=1))
    mean = np.mean(means, axis=0)
    np.testing.assert_allclose(found["mean"][rows], mean, rtol=1e-10)
    np.testing.assert_allclose(
        found["sd"][rows], np.sqrt(np.mean(squares, axis=0) - mean**2), rtol=1e-7
    )


def test_they_come_in_the_order_of_the_observations(crab, crab_choice):
    tree = nb.add_rates(nb.add_responsibilities(crab_choice.trees[2]))
    assert tree["rates"].sizes["obs"] == crab.n
    # a crab with more satellites has a higher rate
    order = np.argsort(crab.values, kind="stable")
    assert (np.diff(tree["rates"]["mean"].values[order]) >= 0).all()
    with pytest.raises(TypeError, match="DataTree"):
        nb.add_rates("tree")


def test_relabelling_drops_what_it_would_make_wrong(crab_choice):
    tree = nb.add_rates(nb.add_responsibilities(crab_choice.trees[2]))
    again = nb.relabel(tree, method="order", by="dispersions")
    assert "responsibilities" not in again.children
    assert "rates" in again.children
    assert "responsibilities" in tree.children


def test_too_many_observations_are_refused():
    counts = nb.Counts([0, 1, 4], frequency=[10**12, 10**11, 10**10])
    tree = nb.sample(
        counts, nb.MixtureSpec(1), draws=10, tune=50, chains=2, random_seed=1, progressbar=False
    )
    for add in (nb.add_responsibilities, nb.add_rates):
        with pytest.raises(ValueError, match="above the limit"):
            add(tree)
