import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.labels.relabel import stephens
from pmnbmix.mixture.permute import gather


@pytest.mark.parametrize("name", ["K2", "K3", "K5"])
def test_stephens_gives_the_permutations_of_the_reference(reference, name):
    """R's label.switching starts from the labels as they are; so does this."""
    data = np.load(reference / "label_switching" / f"{name}_in.npz")
    expected = np.load(reference / "label_switching" / f"{name}_ref.npz")
    p = data["p"]
    start = np.tile(np.arange(p.shape[2]), (p.shape[0], 1))
    rows = slice(0, p.shape[1])
    found = stephens(lambda: [(rows, p)], np.ones(p.shape[1]), start)
    np.testing.assert_array_equal(found.order, expected["perm_STEPHENS"])


def test_blocks_and_frequencies_change_nothing(reference):
    data = np.load(reference / "label_switching" / "K3_in.npz")
    values, first, inverse, frequency = np.unique(
        data["x"], return_index=True, return_inverse=True, return_counts=True
    )
    p = data["p"]
    # responsibilities of equal counts are equal, so unique rows with frequencies are the same
    np.testing.assert_allclose(p[:, first][:, inverse], p, rtol=1e-6)
    start = np.tile(np.arange(3), (p.shape[0], 1))
    whole = stephens(lambda: [(slice(0, p.shape[1]), p)], np.ones(p.shape[1]), start)
    unique = p[:, first]
    half = values.size // 2
    parts = [
        (slice(0, half), unique[:, :half]),
        (slice(half, values.size), unique[:, half:]),
    ]
    split = stephens(lambda: parts, frequency.astype(float), start)
    np.testing.assert_array_equal(split.order, whole.order)
    np.testing.assert_allclose(split.cost, whole.cost, rtol=1e-6)


def shuffled(tree, seed):
    """The tree with labels permuted at random in every draw, as if the sampler had done it."""
    rng = np.random.default_rng(seed)
    new = tree.copy()
    posterior = new["posterior"].to_dataset()
    order = rng.permuted(
        np.tile(np.arange(posterior.sizes["mixture_component"]), (4, 1000, 1)), axis=-1
    )
    for name in ("weights", "means", "dispersions"):
        posterior[name] = posterior[name].copy(data=gather(posterior[name].values, order))
    new["posterior"].dataset = posterior
    del new["relabelling"]
    return new, order


def test_labels_permuted_at_random_come_back(doctor_tree):
    mixed, order = shuffled(doctor_tree, 0)
    again = nb.relabel(mixed)
    for name in ("weights", "means", "dispersions"):
        np.testing.assert_array_equal(again["posterior"][name], doctor_tree["posterior"][name])
    permutation = again["relabelling"]["permutation"].values
    np.testing.assert_array_equal(gather(order, permutation)[..., 0], 0)
    # what does not depend on labels is untouched
    for name in ("log_likelihood_unique", "observed_data", "sample_stats"):
        assert again[name].to_dataset().identical(mixed[name].to_dataset())


def test_relabelling_twice_counts_from_the_samplers_labels(doctor_tree):
    mixed, _ = shuffled(doctor_tree, 1)
    once = nb.relabel(mixed, method="order", by="dispersions")
    twice = nb.relabel(once)
    straight = nb.relabel(mixed)
    np.testing.assert_array_equal(
        twice["relabelling"]["permutation"], straight["relabelling"]["permutation"]
    )
    np.testing.assert_array_equal(twice["posterior"]["means"], straight["posterior"]["means"])


@pytest.mark.parametrize("by", ["weights", "means", "dispersions"])
def test_order_sorts_every_draw(doctor_tree, by):
    mixed, _ = shuffled(doctor_tree, 2)
    tree = nb.relabel(mixed, method="order", by=by)
    array = tree["posterior"][by].values
    rising = (np.diff(array, axis=-1) >= 0).all()
    falling = (np.diff(array, axis=-1) <= 0).all()
    assert rising or falling
    medians = np.median(tree["posterior"]["means"], axis=(0, 1))
    assert (np.diff(medians) >= 0).all()
    assert tree["relabelling"].attrs["method"] == f"order by {by}"


def test_log_prior_moves_with_the_labels(crab_choice):
    tree = nb.relabel(crab_choice.trees[3], method="order", by="dispersions")
    spec = nb.MixtureSpec(3).resolve(crab_choice.counts)
    deviation = (np.log(tree["posterior"]["means"]) - spec.log_means.loc) / 2.0
    expected = -0.5 * deviation**2 - np.log(2.0 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(tree["log_prior"]["means"], expected)


def test_components_that_differ_in_dispersion_only():
    """Ordering by mean mixes them up; the responsibilities tell them apart."""
    truth = nb.MixtureParams([0.5, 0.5], [5.0, 5.0], [1.0, 1 / 60])
    counts = nb.Counts(truth.sample(400, random_seed=3)[0])
    tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    logs = np.log(tree["posterior"]["dispersions"])
    by_mean = np.log(nb.relabel(tree, method="order", by="means")["posterior"]["dispersions"])
    spread, spoilt = (array.std(("chain", "draw")).values for array in (logs, by_mean))
    # the smaller dispersion is hardly known, the larger well; ordered by mean they are one blur
    centre = logs.mean(("chain", "draw")).values
    assert abs(centre.max() - 0.0) < 2 * spread[centre.argmax()]
    assert abs(centre.min() - np.log(1 / 60)) < 2.5 * spread[centre.argmin()]
    assert spread.max() < 1.0
    assert spoilt.min() > 1.2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"method": "ecr"}, "stephens, order"),
        ({"by": "means"}, 'method="order"'),
        ({"method": "order", "by": "phi"}, "weights, means, dispersions"),
    ],
)
def test_bad_requests(crab_choice, arguments, text):
    with pytest.raises(ValueError, match=text):
        nb.relabel(crab_choice.trees[2], **arguments)


def test_trees_that_are_none(crab_choice):
    with pytest.raises(TypeError, match="DataTree"):
        nb.relabel({"posterior": 1})
    tree = crab_choice.trees[2].copy()
    del tree["unique_rows"]
    with pytest.raises(ValueError, match="unique_rows"):
        nb.relabel(tree)
    bare = crab_choice.trees[2].copy()
    del bare["posterior"]
    with pytest.raises(ValueError, match="no group 'posterior'"):
        nb.relabel(bare)
    nameless = crab_choice.trees[2].copy()
    nameless["posterior"].dataset = nameless["posterior"].to_dataset().drop_vars("means")
    with pytest.raises(ValueError, match="no variable 'means'"):
        nb.relabel(nameless)
    other = crab_choice.trees[2].copy()
    other["posterior"].dataset = other["posterior"].to_dataset().rename(mixture_component="k")
    with pytest.raises(ValueError, match="dimensions"):
        nb.relabel(other)
