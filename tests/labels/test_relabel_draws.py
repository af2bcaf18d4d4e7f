"""Relabelling of plain arrays, against R's label.switching and against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.labels.ecr import Expected, Sampled, ecr, ecr_iterative
from pmnbmix.labels.relabelling import identity, pra
from pmnbmix.labels.stephens import losses_under, stephens
from tests.labels import switching


@pytest.fixture(params=switching.NAMES)
def case(request):
    return switching.read(request.param)


def agreement_cost(z, order, pivot):
    """Observations allocated otherwise than in the pivot, for each draw."""
    relabelled = np.take_along_axis(np.argsort(order, axis=1), z, axis=1)
    return (relabelled != pivot).sum(axis=1)


class TestAgainstTheReference:
    def test_stephens(self, case):
        np.testing.assert_array_equal(nb.relabel_draws(p=case.p), case.perm_STEPHENS)

    def test_pra(self, case):
        order = nb.relabel_draws(draws=case.mcmc, method="pra", pivot=int(case.best))
        np.testing.assert_array_equal(order, case.perm_PRA)

    def test_order(self, case):
        order = nb.relabel_draws(draws=case.mcmc, method="order")
        np.testing.assert_array_equal(order, case.perm_AIC)

    @pytest.mark.parametrize("name", ["AIC", "PRA", "STEPHENS"])
    def test_means_and_sds(self, case, name):
        arguments = {
            "AIC": {"draws": case.mcmc, "method": "order"},
            "PRA": {"draws": case.mcmc, "method": "pra", "pivot": int(case.best)},
            "STEPHENS": {"p": case.p},
        }
        order = nb.relabel_draws(**arguments[name])
        relabelled = np.take_along_axis(case.mcmc, order[..., None], axis=1)
        np.testing.assert_allclose(
            relabelled.mean(axis=0), getattr(case, f"mean_{name}"), rtol=1e-9
        )
        np.testing.assert_allclose(relabelled.std(axis=0), getattr(case, f"sd_{name}"), rtol=1e-9)

    def test_ecr_costs_no_more_in_any_draw(self, case):
        """Ties are broken otherwise, so permutations may differ where costs are the same."""
        z, pivot = case.z.astype(int), case.zpivot
        ours = agreement_cost(z, nb.relabel_draws(z=z, method="ecr", pivot=pivot), pivot)
        assert (ours <= agreement_cost(z, case.perm_ECR, pivot)).all()

    @pytest.mark.parametrize("version", [1, 2])
    def test_iterative_ecr_costs_no_more(self, case, version):
        """Each draw under the pivot that we end with; all of them under each one's own."""
        z, p, theirs = case.z.astype(int), case.p, getattr(case, f"perm_ECR{version}")
        k = p.shape[2]
        ours = nb.relabel_draws(z=z, p=p, method=f"ecr-iterative-{version}")
        allocations = Sampled(z, k, np.ones(z.shape[1]))
        expectation = Expected(lambda: [(slice(0, z.shape[1]), p)], np.ones(z.shape[1]), ours.shape)
        votes = allocations.votes if version == 1 else expectation.votes
        our_pivot, their_pivot = (votes(order).argmax(axis=1) for order in (ours, theirs))
        cost = agreement_cost(z, ours, our_pivot)
        # numbering apart, their labels under our pivot
        best = min(
            (
                agreement_cost(z, theirs[:, list(turn)], our_pivot)
                for turn in itertools.permutations(range(k))
            ),
            key=np.sum,
        )
        assert (cost <= best).all()
        assert cost.sum() <= agreement_cost(z, theirs, their_pivot).sum()


@pytest.fixture(scope="module")
def small():
    """Six draws of eight observations in three components, their labels shuffled."""
    rng = np.random.default_rng(0)
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    z = np.array([np.where(rng.random(8) < 0.85, truth, rng.integers(3, size=8)) for _ in range(6)])
    p = 0.7 * np.eye(3)[z] + 0.3 * rng.dirichlet(np.ones(3), size=(6, 8))
    turn = np.array([rng.permutation(3) for _ in range(6)])
    return np.take_along_axis(turn, z, axis=1), np.take_along_axis(
        p, np.argsort(turn, axis=1)[:, None, :].repeat(8, axis=1), axis=2
    )


def every_relabelling(n_draws, k):
    """All permutations of all draws but the first, whose numbering is free."""
    perms = list(itertools.permutations(range(k)))
    for rest in itertools.product(perms, repeat=n_draws - 1):
        yield np.array([perms[0], *rest])


def test_stephens_is_the_best_of_all_relabellings(small):
    _, p = small
    rows, frequency = slice(0, 8), np.ones(8)
    found = stephens(lambda: [(rows, p)], frequency, identity(6, 3))

    def loss(order):
        relabelled = np.take_along_axis(p, order[:, None, :], axis=2)
        mean = relabelled.mean(axis=0)
        return float((relabelled * np.log(relabelled / mean)).sum())

    best = min(loss(order) for order in every_relabelling(6, 3))
    ours = loss(nb.relabel_draws(p=p))
    assert ours == pytest.approx(best, rel=1e-12)
    # the reported loss is measured against the mean before the last step, which changed nothing
    assert found.loss == pytest.approx(loss(found.order), rel=1e-9)
    (again,) = losses_under(lambda: [(rows, p)], frequency, [found.order])
    assert again == pytest.approx(ours, rel=1e-9)


def test_iterative_ecr_is_the_best_of_all_relabellings(small):
    z, _ = small

    def loss(order):
        relabelled = np.take_along_axis(np.argsort(order, axis=1), z, axis=1)
        agree = sum(np.bincount(column, minlength=3).max() for column in relabelled.T)
        return z.size - agree

    ours = loss(nb.relabel_draws(z=z, method="ecr-iterative-1"))
    assert ours == min(loss(order) for order in every_relabelling(6, 3))


def test_cost_of_pra_is_the_squared_distance():
    rng = np.random.default_rng(1)
    draws, pivot = rng.normal(size=(20, 4, 2)), rng.normal(size=(4, 2))
    found = pra(draws, pivot)
    perms = np.array(list(itertools.permutations(range(4))))
    distance = ((draws[:, perms] - pivot) ** 2).sum(axis=(2, 3))
    np.testing.assert_allclose(found.cost, distance.min(axis=1), rtol=1e-10)
    np.testing.assert_array_equal(found.order, perms[distance.argmin(axis=1)])


@given(seed=st.integers(0, 10_000), k=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_labels_given_otherwise_come_out_the_same(seed, k):
    """Permuting the labels of each draw changes numbers at most, for all methods."""
    rng = np.random.default_rng(seed)
    n_draws, n = 12, 40
    truth = rng.integers(k, size=n)
    z = np.where(rng.random((n_draws, n)) < 0.9, truth, rng.integers(k, size=(n_draws, n)))
    p = 0.8 * np.eye(k)[z] + 0.2 / k
    draws = 3.0 * np.arange(k)[None, :, None] + rng.normal(size=(n_draws, k, 2))
    turn = np.array([rng.permutation(k) for _ in range(n_draws)])
    back = np.argsort(turn, axis=1)
    shuffled = {
        "z": np.take_along_axis(turn, z, axis=1),
        "p": np.take_along_axis(p, back[:, None, :].repeat(n, axis=1), axis=2),
        "draws": np.take_along_axis(draws, back[..., None], axis=1),
    }
    for method in ("ecr", "pra", "order"):
        pivot = {"ecr": truth, "pra": 3.0 * np.arange(k)[:, None].repeat(2, axis=1)}.get(method)
        one = nb.relabel_draws(p=p, z=z, draws=draws, method=method, pivot=pivot)
        other = nb.relabel_draws(**shuffled, method=method, pivot=pivot)
        relabelled = np.take_along_axis(draws, one[..., None], axis=1)
        again = np.take_along_axis(shuffled["draws"], other[..., None], axis=1)
        if method == "ecr":
            # ties may be broken otherwise
            cost, same = (
                ecr(Sampled(labels, k, np.ones(n)), truth).cost for labels in (z, shuffled["z"])
            )
            np.testing.assert_array_equal(cost, same)
        else:
            np.testing.assert_array_equal(relabelled, again)


@pytest.mark.parametrize("method", ["stephens", "ecr-iterative-1", "ecr-iterative-2", "ecr"])
def test_frequency_is_repetition(small, method):
    z, p = small
    frequency = np.array([1, 3, 2, 1, 1, 4, 1, 2])
    pivot = np.array([0, 0, 0, 1, 1, 2, 2, 2]) if method == "ecr" else None
    one = nb.relabel_draws(p=p, z=z, method=method, frequency=frequency, pivot=pivot)
    again = nb.relabel_draws(
        p=p.repeat(frequency, axis=1),
        z=z.repeat(frequency, axis=1),
        method=method,
        pivot=None if pivot is None else pivot.repeat(frequency),
    )
    np.testing.assert_array_equal(one, again)


def test_many_components_are_assigned_without_enumeration():
    rng = np.random.default_rng(3)
    k, truth = 9, rng.integers(9, size=300)
    turn = np.array([rng.permutation(k) for _ in range(50)])
    z = turn[:, truth]
    for method in ("ecr", "ecr-iterative-1"):
        order = nb.relabel_draws(z=z, method=method)
        relabelled = np.take_along_axis(np.argsort(order, axis=1), z, axis=1)
        assert (relabelled == relabelled[0]).all()


def test_a_pivot_is_found_where_none_is_given(small):
    z, _ = small
    order = nb.relabel_draws(z=z, method="ecr")
    relabelled = np.take_along_axis(np.argsort(order, axis=1), z, axis=1)
    assert any((relabelled[s] == z[s]).all() for s in range(len(z)))
    rng = np.random.default_rng(0)
    draws = np.array([[0.0], [5.0], [9.0]]) + rng.normal(size=(30, 3, 1))
    mixed = rng.permuted(draws, axis=1)
    order = nb.relabel_draws(draws=mixed, method="pra")
    relabelled = np.take_along_axis(mixed[..., 0], order, axis=1)
    assert relabelled.std(axis=0).max() < 1.5


def test_blocks_of_draws_change_nothing(small, monkeypatch):
    z, _ = small
    whole = nb.relabel_draws(z=z, method="ecr-iterative-1")
    monkeypatch.setattr("pmnbmix.labels.ecr._BLOCK", 16)
    np.testing.assert_array_equal(nb.relabel_draws(z=z, method="ecr-iterative-1"), whole)


def test_votes_of_expected_allocations_in_blocks(small):
    _, p = small
    parts = [(slice(0, 3), p[:, :3]), (slice(3, 8), p[:, 3:])]
    split = Expected(lambda: parts, np.ones(8), (6, 3))
    whole = Expected(lambda: [(slice(0, 8), p)], np.ones(8), (6, 3))
    np.testing.assert_allclose(split.votes(identity(6, 3)), p.sum(axis=0))
    one, other = (ecr_iterative(one, [identity(6, 3)]) for one in (split, whole))
    np.testing.assert_array_equal(one.order, other.order)


P, Z, D = np.full((2, 3, 2), 0.5), np.zeros((2, 3), int), np.zeros((2, 2, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"method": "sjw"}, ValueError, 'method must be "stephens", "ecr"'),
        ({}, ValueError, "needs p: responsibilities"),
        ({"method": "ecr", "p": P}, ValueError, "needs z: allocations"),
        ({"method": "ecr-iterative-2", "z": Z}, ValueError, "needs p"),
        ({"p": P[0]}, ValueError, r"p has shape \(3, 2\)"),
        ({"p": np.zeros((0, 3, 2))}, ValueError, "p has shape"),
        ({"p": P + np.nan}, ValueError, r"p holds nan at \(0, 0, 0\)"),
        ({"p": 2 * P}, ValueError, "sum to 1 over components; draw 0, observation 0"),
        ({"p": np.array([[["a"]]])}, TypeError, "p must hold numbers"),
        ({"z": Z + 1, "method": "ecr"}, ValueError, "labels from 1 to 1; expected 0 to k - 1"),
        ({"z": Z - 1, "method": "ecr", "p": P}, ValueError, "labels from -1 to -1"),
        ({"z": Z + 2, "method": "ecr", "p": P}, ValueError, "expected 0 to 1"),
        ({"z": Z + 0.5, "method": "ecr", "n_components": 2}, TypeError, "whole numbers"),
        ({"z": Z[0], "method": "ecr"}, ValueError, r"z has shape \(3,\)"),
        ({"z": Z, "p": P[:1], "method": "ecr"}, ValueError, "different numbers of draws"),
        ({"z": Z[:, :2], "p": P, "method": "ecr"}, ValueError, "p has 3 observations and z 2"),
        ({"p": P, "draws": np.zeros((2, 3, 1))}, ValueError, "numbers of components differ"),
        ({"p": P, "pivot": 1}, ValueError, "has no pivot"),
        ({"draws": D, "method": "pra", "pivot": 7}, ValueError, "pivot 7 is no draw; there are 2"),
        ({"draws": D, "method": "pra", "pivot": np.zeros(3)}, ValueError, "pivot has shape"),
        ({"draws": D, "method": "pra", "pivot": D[0] + np.inf}, ValueError, "not finite"),
        ({"draws": D, "method": "order", "by": 1}, ValueError, "by must be from 0 to 0"),
        ({"z": Z, "method": "ecr", "pivot": [0, 0, 9]}, ValueError, "pivot holds labels"),
        ({"p": P, "frequency": [1, 2]}, ValueError, r"frequency has shape \(2,\); expected \(3,\)"),
        ({"p": P, "frequency": [1, 2, -1]}, ValueError, "0 or more; entry 2 is -1"),
        ({"p": P, "frequency": ["a"] * 3}, TypeError, "frequency must hold numbers"),
        ({"z": np.full((2, 3), np.nan), "p": P, "method": "ecr"}, TypeError, r"nan at \(0, 0\)"),
        ({"draws": D, "method": "order", "by": "means"}, TypeError, "by must be a whole number"),
        ({"z": Z, "method": "ecr", "n_components": 2.5}, TypeError, "n_components must be"),
        ({"draws": D + 1e200, "method": "pra"}, ValueError, "distances need numbers below"),
    ],
)  # fmt: skip
def test_bad_arrays(arguments, error, text):
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(error, match=text),
    ):
        nb.relabel_draws(**arguments)
