import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.labels.relabel import relabel_by_responsibilities, thinned
from pmnbmix.labels.stephens import stephens
from pmnbmix.mixture.permute import gather
from pmnbmix.tree.writing import assemble
from tests.labels import switching
from tests.synthetic import scattered


@pytest.mark.parametrize("name", switching.NAMES)
def test_stephens_gives_the_permutations_of_the_reference(name):
    """R's label.switching starts from the labels as they are; so does this."""
    case = switching.read(name)
    p = case.p
    start = np.tile(np.arange(p.shape[2]), (p.shape[0], 1))
    rows = slice(0, p.shape[1])
    found = stephens(lambda: [(rows, p)], np.ones(p.shape[1]), start)
    np.testing.assert_array_equal(found.order, case.perm_STEPHENS)


def test_blocks_and_frequencies_change_nothing():
    case = switching.read("K3")
    values, first, inverse, frequency = np.unique(
        case.x, return_index=True, return_inverse=True, return_counts=True
    )
    p = case.p
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


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_components_that_differ_in_dispersion_only(seed):
    """Ordering by mean mixes them up; the responsibilities tell them apart."""
    truth = nb.MixtureParams([0.5, 0.5], [40.0, 40.0], [1.0, 1 / 60])
    counts = nb.Counts(truth.sample(400, random_seed=seed)[0])
    tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)

    def centre_and_spread(tree):
        logs = -np.log(tree["posterior"]["dispersions"].values.reshape(-1, 2))
        order = np.argsort(logs.mean(axis=0))
        return logs.mean(axis=0)[order], logs.std(axis=0)[order]

    centre, spread = centre_and_spread(tree)
    assert (np.abs(centre - np.log([1.0, 60.0])) < 2 * spread).all()
    assert (spread < 0.7).all()
    _, spoilt = centre_and_spread(nb.relabel(tree, method="order", by="means"))
    assert (spoilt > 0.85).all()
    diagnosis = nb.diagnose(tree)
    assert "Ordering by mean is unsafe here" in str(diagnosis)
    assert "told apart by their dispersions" in str(diagnosis)
    assert diagnosis.labelling.loc["order by dispersions", "agreement"] > 0.99


@pytest.mark.parametrize("method", ["ecr", "ecr-iterative-1", "ecr-iterative-2", "pra"])
def test_other_methods_agree_where_labels_are_clear(doctor_tree, method):
    mixed, _ = shuffled(doctor_tree, 3)
    tree = nb.relabel(mixed, method=method)
    assert tree["relabelling"].attrs["method"] == method
    same = (tree["posterior"]["means"] == doctor_tree["posterior"]["means"]).all(
        "mixture_component"
    )
    assert float(same.mean()) > 0.99
    assert (tree["relabelling"]["cost"] >= 0).all()


@pytest.mark.parametrize("method", ["ecr", "pra"])
def test_a_point_fit_can_be_the_pivot(crab, crab_choice, method):
    em = nb.fit_em(crab, 2, random_seed=0)
    mixed, _ = shuffled(crab_choice.trees[2], 4)
    by_fit = nb.relabel(mixed, method=method, pivot=em)
    by_params = nb.relabel(mixed, method=method, pivot=em.params.permuted([1, 0]))
    assert by_fit["posterior"].to_dataset().identical(by_params["posterior"].to_dataset())
    if method == "ecr":
        values, pivot = crab.values, em.params.responsibilities(crab.values).argmax(axis=1)
        draw = mixed["posterior"].to_dataset().isel(chain=0, draw=7)
        params = nb.MixtureParams(draw["weights"], draw["means"], draw["dispersions"])
        p = params.responsibilities(values)
        expected = min(crab.n - p[np.arange(crab.n), turn].sum() for turn in (pivot, 1 - pivot))
        assert float(by_fit["relabelling"]["cost"][0, 7]) == pytest.approx(expected)


def test_a_pivot_with_a_mean_of_zero():
    """EM gives mean 0 to the component of structural zeros."""
    rng = np.random.default_rng(0)
    counts = nb.Counts([0] * 60 + rng.poisson(5, 40).tolist())
    em = nb.fit_em(counts, 2, random_seed=0)
    assert em.params.means[0] == 0.0
    truth = nb.MixtureParams([0.6, 0.4], [0.02, 5.0], [0.3, 0.1])
    draws = scattered([truth] * 2, n_draws=100)
    order = rng.permuted(np.tile([0, 1], (2, 100, 1)), axis=-1)
    tree = assemble(counts, draws.permuted(order), {})
    new = nb.relabel(tree, method="pra", pivot=em)
    assert float(new["posterior"]["means"][..., 0].max()) < 1
    assert np.isfinite(new["relabelling"]["cost"]).all()


def test_a_pivot_of_other_counts_is_refused(crab_choice, doctor_visits):
    with pytest.raises(ValueError, match="pass those of the fit"):
        nb.relabel(crab_choice.trees[2], method="ecr", pivot=nb.fit_em(doctor_visits, 2))


def test_large_tables_are_relabelled_from_a_sample_of_rows_first(monkeypatch):
    truth = nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2])
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0, 0.5, 3000))
    counts = nb.Counts(truth.sample(3000, random_seed=1, exposure=exposure)[0], exposure=exposure)
    draws = scattered([truth] * 2, n_draws=200)
    order = rng.permuted(np.tile([0, 1], (2, 200, 1)), axis=-1)
    found = relabel_by_responsibilities(draws.permuted(order), counts.table)
    restored = gather(order.reshape(-1, 2), found.order)
    assert (restored == restored[0]).all()
    # the sample of the rows stands for all of them
    small = thinned(counts.table, 500)
    assert small.values.size <= 500
    assert small.frequency.sum() == pytest.approx(3000)
    mean = small.frequency @ small.values / 3000
    assert mean == pytest.approx(counts.values.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"method": "ecrr"}, '"stephens", "ecr"'),
        ({"method": "stephens", "pivot": 1}, "no pivot"),
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


def test_a_variable_to_sort_by_that_is_no_name_is_refused_in_words(crab_choice):
    with pytest.raises(TypeError, match=r"by must be the name of a variable.*got \['means'\]"):
        nb.relabel(crab_choice.trees[2], "order", by=["means"])
    with pytest.raises(TypeError, match="by must be the name of a variable"):
        nb.relabel(crab_choice.trees[2], by=["means"])
