"""Relabelling of small trees made by hand, whose right permutations are known."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import special

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.labels import relabel as module
from pmnbmix.labels.relabel import (
    best_draw,
    canonical,
    relabel_by_pivot,
    relabel_by_responsibilities,
    responsibility_source,
    sampled_source,
    thinned,
)
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.permute import gather, invert
from pmnbmix.tree.reading import read
from pmnbmix.tree.writing import assemble
from tests.synthetic import scattered

THREE = nb.MixtureParams([0.5, 0.3, 0.2], [1.0, 12.0, 80.0], [0.2, 0.05, 0.01])
COUNTS = nb.Counts(*THREE.sample(80, random_seed=5)[:1])
SHAPE = (2, 30, 3)
DIMS = ("chain", "draw", "mixture_component")


def scrambled(seed=0, centre=THREE):
    """Draws in the right order, and the order in which a sampler might have given each."""
    draws = scattered([centre] * 2, n_draws=30, seed=seed)
    k = centre.n_components
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(k), (2, 30, 1)), axis=-1)
    return draws, order


RIGHT, ORDER = scrambled()
TREE = assemble(COUNTS, RIGHT.permuted(ORDER), {})
METHODS = ["stephens", "ecr", "ecr-iterative-1", "ecr-iterative-2", "pra", "order"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_restores_labels_that_are_clear(method):
    before = TREE.copy(deep=True)
    new = nb.relabel(TREE, method=method)
    for name in ("weights", "means", "dispersions"):
        np.testing.assert_array_equal(new["posterior"][name], getattr(RIGHT, name))
    np.testing.assert_array_equal(new["relabelling"]["permutation"], invert(ORDER))
    assert new["relabelling"]["permutation"].dims == DIMS
    assert new["relabelling"]["cost"].dims == DIMS[:2]
    assert new["relabelling"].attrs == {"method": method}
    for dim in DIMS:
        np.testing.assert_array_equal(new["relabelling"][dim], TREE["posterior"][dim])
    # the tree that was given is as it was
    assert TREE.identical(before)


@pytest.mark.parametrize("method", METHODS)
def test_two_components_are_restored_too(method):
    draws, order = scrambled(4, nb.MixtureParams([0.5, 0.5], [3.0, 40.0], [0.2, 0.05]))
    new = nb.relabel(assemble(COUNTS, draws.permuted(order), {}), method=method)
    np.testing.assert_array_equal(new["posterior"]["means"], draws.means)


def test_the_cost_of_stephens_is_the_divergence_from_the_average():
    params = [
        nb.MixtureParams(RIGHT.weights[i], RIGHT.means[i], RIGHT.dispersions[i])
        for i in np.ndindex(*SHAPE[:2])
    ]
    p = np.stack([one.responsibilities(COUNTS.values) for one in params])
    expected = special.rel_entr(p, p.mean(axis=0)).sum(axis=(1, 2))
    cost = nb.relabel(TREE)["relabelling"]["cost"].values
    np.testing.assert_allclose(cost.ravel(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("by", ["weights", "means", "dispersions"])
def test_order_by_a_parameter(by):
    new = nb.relabel(TREE, method="order", by=by)
    np.testing.assert_array_equal(new["posterior"]["means"], RIGHT.means)
    assert new["relabelling"].attrs == {"method": f"order by {by}"}
    assert (new["relabelling"]["cost"] == 0.0).all()


def with_more(tree):
    """The tree with other groups and variables of every layout that another model may have."""
    new = tree.copy()
    rng = np.random.default_rng(1)
    mark = gather(np.broadcast_to([10.0, 20.0, 30.0], SHAPE), ORDER)
    posterior = new["posterior"].to_dataset()
    posterior["mark"] = (DIMS, mark)
    posterior["turned"] = (DIMS[::-1], mark.transpose())
    posterior["wide"] = (
        ("chain", "mixture_component", "age", "draw"),
        np.stack([mark, -mark], 3).transpose(0, 2, 3, 1),
    )
    posterior["level"] = (DIMS[:2], rng.normal(size=(2, 30)))
    posterior["fixed"] = (("mixture_component",), [5.0, 6.0, 7.0])
    posterior["pairs"] = ((*DIMS[:2], "pair"), rng.normal(size=(2, 30, 2)))
    new["posterior"].dataset = posterior
    new["log_prior"] = xr.DataTree(xr.Dataset({"mark": (DIMS, mark), "level": posterior["level"]}))
    new["responsibilities"] = xr.DataTree(xr.Dataset({"p": (("unique_row",), [1.0])}))
    return new


def test_everything_that_has_draws_and_components_moves():
    tree = with_more(TREE)
    new = nb.relabel(tree)
    posterior = new["posterior"].to_dataset()
    right = np.broadcast_to([10.0, 20.0, 30.0], SHAPE)
    for found in (posterior["mark"], posterior["turned"], new["log_prior"]["mark"]):
        np.testing.assert_array_equal(found.transpose(*DIMS), right)
    wide = posterior["wide"]
    assert wide.dims == ("chain", "mixture_component", "age", "draw")
    np.testing.assert_array_equal(wide.isel(age=0).transpose(*DIMS), right)
    np.testing.assert_array_equal(wide.isel(age=1).transpose(*DIMS), -right)
    for name in ("level", "fixed", "pairs"):
        assert posterior[name].identical(tree["posterior"].to_dataset()[name])
    # averages over old labels are gone, and nothing else
    assert set(new.children) == (set(tree.children) | {"relabelling"}) - {"responsibilities"}


def test_order_by_another_variable():
    tree = with_more(TREE)
    for by in ("mark", "turned"):
        new = nb.relabel(tree, method="order", by=by)
        np.testing.assert_array_equal(new["posterior"]["means"], RIGHT.means)
    posterior = tree["posterior"].to_dataset()
    posterior["long"] = (("chain", "draw", "item"), np.zeros((2, 30, 5)))
    tree["posterior"].dataset = posterior
    with pytest.raises(ValueError, match="by='phi'"):
        nb.relabel(tree, by="phi")
    with pytest.raises(ValueError, match="got 'phi'"):
        nb.relabel(tree, method="order", by="phi")
    with pytest.raises(ValueError, match="by='long' has 5 values a draw; there are 3 components"):
        nb.relabel(tree, method="order", by="long", names={"weights": "weights"})


def test_draws_with_names_of_their_own():
    posterior = TREE["posterior"].to_dataset()
    theirs = xr.Dataset(
        {
            "w": posterior["weights"].rename(mixture_component="cluster"),
            "mu": posterior["means"].rename(mixture_component="cluster"),
            "alpha": 1 / posterior["dispersions"].rename(mixture_component="cluster"),
        }
    )
    names = {"weights": "w", "means": "mu", "inv_disps": "alpha"}
    tree = xr.DataTree.from_dict({"posterior": theirs.drop_vars("cluster")})
    new = nb.relabel(tree, counts=COUNTS, names=names)
    np.testing.assert_array_equal(new["posterior"]["mu"], RIGHT.means)
    np.testing.assert_array_equal(new["relabelling"]["permutation"], invert(ORDER))
    # "ecr" needs a draw of high density, which is found without a log prior and rows kept
    new = nb.relabel(tree, "ecr", counts=COUNTS, names=names)
    np.testing.assert_array_equal(new["posterior"]["mu"], RIGHT.means)


def test_permutations_count_from_the_samplers_labels():
    once = nb.relabel(TREE, method="order", by="means")
    # another numbering in between, as if labels had been changed once more
    reading = read(once)
    draws, order = reading.raw, reading.order
    np.testing.assert_array_equal(draws.means, RIGHT.permuted(ORDER).means)
    np.testing.assert_array_equal(order, invert(ORDER))
    again = nb.relabel(once, method="stephens")
    np.testing.assert_array_equal(again["relabelling"]["permutation"], invert(ORDER))
    turned = once.copy()
    turned["relabelling"].dataset = once["relabelling"].to_dataset().transpose(*DIMS[::-1])
    np.testing.assert_array_equal(read(turned).order, invert(ORDER))
    reading = read(TREE)
    draws, order = reading.raw, reading.order
    np.testing.assert_array_equal(draws.means, RIGHT.permuted(ORDER).means)
    np.testing.assert_array_equal(order, np.broadcast_to([0, 1, 2], SHAPE))


@pytest.mark.parametrize("method", ["stephens", "ecr-iterative-1", "ecr-iterative-2", "order"])
def test_methods_without_a_pivot_refuse_one(method):
    with pytest.raises(ValueError, match="has no pivot"):
        nb.relabel(TREE, method=method, pivot=THREE)


@pytest.mark.parametrize("method", METHODS[:-1])
def test_only_order_has_something_to_sort_by(method):
    with pytest.raises(ValueError, match=f"by='means' belongs to .*'{method}' has no such choice"):
        nb.relabel(TREE, method=method, by="means")


def test_pivots_that_do_not_fit():
    with pytest.raises(TypeError, match="got list"):
        nb.relabel(TREE, method="pra", pivot=[1, 2])
    two = nb.MixtureParams([0.5, 0.5], [1.0, 2.0], [0.1, 0.1])
    with pytest.raises(ValueError, match="pivot has 2 components, but the tree has 3"):
        nb.relabel(TREE, method="pra", pivot=two)
    other = SimpleNamespace(params=THREE, counts=nb.Counts([0, 1, 5, 9, 40, 80]))
    with pytest.raises(ValueError, match="pass those of the fit"):
        nb.relabel(TREE, method="ecr", pivot=other)
    # draws of another sampler do not say what they were fitted to
    bare = xr.DataTree.from_dict({"posterior": TREE["posterior"].to_dataset()})
    assert "relabelling" in nb.relabel(bare, "ecr", pivot=other, counts=COUNTS).children


def coordinates(draws, least):
    means = np.log(np.maximum(draws.means, least))
    columns = [means, draws.weights, draws.dispersions / (1 + draws.dispersions)]
    return np.stack(columns, axis=-1).reshape(-1, 3, 3)


@pytest.mark.parametrize("case", ["plain", "a mean of zero", "one dispersion", "large means"])
def test_pra_takes_the_nearest_permutation(case):
    """Squared distances in units of standard deviations, over all permutations one by one."""
    draws = RIGHT.permuted(ORDER)
    pivot, least = nb.MixtureParams([0.4, 0.3, 0.3], [2.0, 9.0, 50.0], [0.3, 0.1, 0.02]), 1e-300
    if case == "a mean of zero":
        pivot = nb.MixtureParams([0.4, 0.3, 0.3], [0.0, 9.0, 50.0], [0.3, 0.1, 0.02])
        least = min(draws.means.min(), 1.0)
        draws.means[0, 3, 1] = 0.0
        least = draws.means[draws.means > 0].min()
    if case == "one dispersion":
        draws = Draws(draws.weights, draws.means, np.full(SHAPE, 0.25))
    if case == "large means":
        draws = Draws(draws.weights, draws.means * 100.0, draws.dispersions)
        pivot, least = nb.MixtureParams([0.4, 0.3, 0.3], [0.0, 900.0, 50.0], [0.3, 0.1, 0.02]), 1.0
    own = Draws(pivot.weights[None, None], pivot.means[None, None], pivot.dispersions[None, None])
    points, centre = coordinates(draws, least), coordinates(own, least)[0]
    scale = points.std(axis=(0, 1))
    if case == "one dispersion":
        scale[2] = 1.0
    distance = np.array(
        [
            (((points[:, turn] - centre) / scale) ** 2).sum(axis=(1, 2))
            for turn in map(list, itertools.permutations(range(3)))
        ]
    )
    found = relabel_by_pivot("pra", draws, (lambda: [], COUNTS.table), pivot)
    np.testing.assert_allclose(found.cost, distance.min(axis=0), rtol=1e-9)
    turned = np.take_along_axis(points, found.order[:, :, None], axis=1)
    np.testing.assert_allclose(
        (((turned - centre) / scale) ** 2).sum(axis=(1, 2)), found.cost, rtol=1e-9
    )


def test_pra_where_all_weights_are_one_third():
    """Their standard deviation is a rounding error, by which nothing may be divided."""
    draws = Draws(np.full(SHAPE, 1 / 3), RIGHT.means, RIGHT.dispersions).permuted(ORDER)
    assert (np.full((60, 3, 3), 1 / 3).std(axis=(0, 1)) > 0.0).all()
    pivot = nb.MixtureParams([0.1, 0.3, 0.6], [1.0, 12.0, 80.0], [0.2, 0.05, 0.01])
    found = relabel_by_pivot("pra", draws, (lambda: [], COUNTS.table), pivot)
    np.testing.assert_array_equal(found.order, invert(ORDER).reshape(-1, 3))


def test_ecr_counts_what_is_allocated_otherwise_than_in_the_pivot():
    draws = RIGHT.permuted(ORDER)
    pivot = nb.MixtureParams([0.4, 0.3, 0.3], [2.0, 9.0, 50.0], [0.3, 0.1, 0.02])
    found = relabel_by_pivot("ecr", draws, responsibility_source(draws, COUNTS.table), pivot)
    allocation = pivot.responsibilities(COUNTS.values).argmax(axis=1)
    for chain, draw, s in [(0, 0, 0), (0, 29, 29), (1, 4, 34)]:
        params = nb.MixtureParams(
            *(getattr(draws, name)[chain, draw] for name in ("weights", "means", "dispersions"))
        )
        p = params.responsibilities(COUNTS.values)
        costs = [
            COUNTS.n - p[np.arange(COUNTS.n), np.array(turn)[allocation]].sum()
            for turn in itertools.permutations(range(3))
        ]
        assert found.cost[s] == pytest.approx(min(costs), abs=1e-9)


@pytest.mark.parametrize("with_prior", [False, True])
def test_the_best_draw_is_that_of_highest_density(with_prior):
    tree, level = TREE.copy(), np.empty(SHAPE[:2])
    draws = RIGHT.permuted(ORDER)
    prior = np.random.default_rng(3).normal(0, 30, SHAPE[:2])
    for chain, draw in np.ndindex(*SHAPE[:2]):
        params = nb.MixtureParams(
            *(getattr(draws, name)[chain, draw] for name in ("weights", "means", "dispersions"))
        )
        level[chain, draw] = params.logpmf(COUNTS.values).sum()
    by_likelihood = level.argmax()
    if with_prior:
        tree["log_prior"] = xr.DataTree(xr.Dataset({"level": (DIMS[:2], prior)}))
        level = level + prior
        assert level.argmax() != by_likelihood
    chain, draw = np.unravel_index(level.argmax(), level.shape)
    found = best_draw(read(tree), draws)
    np.testing.assert_array_equal(found.means, draws.means[chain, draw])
    np.testing.assert_array_equal(found.weights, draws.weights[chain, draw])
    np.testing.assert_array_equal(found.dispersions, draws.dispersions[chain, draw])


def test_one_component_has_nothing_to_relabel(monkeypatch):
    # not even responsibilities, which are large
    monkeypatch.setattr(module, "responsibility_source", None)
    draws = scattered([nb.MixtureParams([1.0], [3.0], [0.2])] * 2, n_draws=30)
    found = relabel_by_responsibilities(draws, COUNTS.table)
    np.testing.assert_array_equal(found.order, np.zeros((60, 1)))
    np.testing.assert_array_equal(found.cost, np.zeros(60))


def test_thinning_takes_rows_evenly():
    table = CountTable.plain(
        np.arange(4.0), np.array([1.0, 2.0, 1.0, 3.0]), np.array([6.0, 1.0, 1.0, 2.0])
    )
    assert thinned(table, 4) is table
    assert thinned(table, 5) is table
    # the middles of two halves of ten observations are the rows of the 3rd and the 8th
    two = thinned(table, 2)
    np.testing.assert_array_equal(two.values, [0.0, 2.0])
    np.testing.assert_array_equal(two.exposure, [1.0, 1.0])
    np.testing.assert_array_equal(two.frequency, [5.0, 5.0])
    three = thinned(table, 3)
    np.testing.assert_array_equal(three.values, [0.0, 3.0])
    np.testing.assert_allclose(three.frequency, [20 / 3, 10 / 3])


def test_what_is_kept_and_what_is_made_again(monkeypatch):
    draws, table = RIGHT.permuted(ORDER), COUNTS.table
    taken = 8 * draws.means.size * table.values.size
    monkeypatch.setattr(module, "_KEEP_BYTES", taken)
    blocks, rows = responsibility_source(draws, table)
    assert blocks() is blocks()
    assert rows is table
    monkeypatch.setattr(module, "_KEEP_BYTES", taken + 1)
    few, _ = responsibility_source(draws, table)
    assert few() is few()
    monkeypatch.setattr(module, "_KEEP_BYTES", taken - 1)
    again, _ = responsibility_source(draws, table)
    assert again() is not again()
    for (where, p), (same, q) in zip(blocks(), again(), strict=True):
        assert where == same
        np.testing.assert_array_equal(p, q)


def test_large_tables_are_squashed(monkeypatch):
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0, 0.5, 300))
    counts = nb.Counts(THREE.sample(300, random_seed=1, exposure=exposure)[0], exposure)
    draws, table = RIGHT.permuted(ORDER), counts.table
    monkeypatch.setattr(module, "_SQUASH_FROM", table.values.size)
    assert responsibility_source(draws, table)[1] is table
    monkeypatch.setattr(module, "_SQUASH_FROM", table.values.size - 1)
    _, squashed = responsibility_source(draws, table)
    assert squashed.values.size < 250
    assert squashed.frequency.sum() == pytest.approx(300)
    assert squashed.frequency @ squashed.exposure == pytest.approx(exposure.sum(), rel=1e-6)


@pytest.mark.parametrize("most", [10, 10**6])
def test_starts_are_compared_on_a_sample_where_there_are_many_rows(monkeypatch, most):
    monkeypatch.setattr(module, "_COMPARED_ON", most)
    draws, calls = RIGHT.permuted(ORDER), []
    whole = module.stephens_best_of
    monkeypatch.setattr(
        module,
        "stephens_best_of",
        lambda blocks, frequency, starts: (
            calls.append((frequency.size, len(starts))) or whole(blocks, frequency, starts)
        ),
    )
    if most > COUNTS.n_unique:
        monkeypatch.setattr(module, "stephens", None)
    found = relabel_by_responsibilities(draws, COUNTS.table)
    restored = gather(ORDER.reshape(-1, 3), found.order)
    assert (restored == restored[0]).all()
    assert found.cost.shape == (60,)
    # the labels as they are, and the orders by three parameters
    assert calls == [(min(len(thinned(COUNTS.table, most).values), most), 4)]
    # at the limit, all rows are compared, and once is enough
    monkeypatch.setattr(module, "stephens", None)
    monkeypatch.setattr(module, "_COMPARED_ON", COUNTS.n_unique)
    calls.clear()
    relabel_by_responsibilities(draws, COUNTS.table)
    assert calls == [(COUNTS.n_unique, 4)]


def test_a_sample_of_rows_with_their_responsibilities():
    draws = RIGHT.permuted(ORDER)
    blocks, small = sampled_source(draws, COUNTS.table)
    assert small is COUNTS.table
    params = nb.MixtureParams(draws.weights[1, 2], draws.means[1, 2], draws.dispersions[1, 2])
    found = np.concatenate([p[32] for _, p in blocks()])
    np.testing.assert_allclose(found, params.responsibilities(small.values), rtol=1e-9, atol=1e-12)


def test_components_are_numbered_by_the_median_of_their_means():
    order = invert(ORDER).reshape(-1, 3)
    for turn in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        found = canonical(RIGHT.permuted(ORDER), order[:, turn])
        np.testing.assert_array_equal(found, invert(ORDER))
    # medians, not averages: one draw far off changes nothing
    means = RIGHT.means.copy()
    means[0, 0] = [1e9, 12.0, 80.0]
    wild = Draws(RIGHT.weights, means, RIGHT.dispersions)
    found = canonical(wild, np.tile([2, 1, 0], (60, 1)))
    np.testing.assert_array_equal(found, np.broadcast_to([0, 1, 2], SHAPE))
    # equal medians keep their order
    same = Draws(RIGHT.weights, np.full(SHAPE, 3.0), RIGHT.dispersions)
    found = canonical(same, np.tile([1, 2, 0], (60, 1)))
    np.testing.assert_array_equal(found, np.broadcast_to([1, 2, 0], SHAPE))
