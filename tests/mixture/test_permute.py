import itertools

import numpy as np
import pytest

from pmnbmix.mixture.permute import best_permutations, gather, invert


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 7])
def test_best_permutations_beat_every_other(k):
    cost = np.random.default_rng(k).random((4, k, k))
    order, total = best_permutations(cost)
    for s in range(4):
        assert sorted(order[s]) == list(range(k))
        assert total[s] == pytest.approx(sum(cost[s, j, order[s, j]] for j in range(k)))
        least = min(
            sum(cost[s, j, candidate[j]] for j in range(k))
            for candidate in itertools.permutations(range(k))
        )
        assert total[s] == pytest.approx(least)


def test_infinite_costs_are_avoided():
    cost = np.array([[[np.inf, 1.0], [1.0, np.inf]]])
    order, total = best_permutations(cost)
    np.testing.assert_array_equal(order, [[1, 0]])
    assert total[0] == 2.0


def test_invert_undoes_gather():
    rng = np.random.default_rng(0)
    array = rng.random((3, 5, 4))
    order = rng.permuted(np.tile(np.arange(4), (3, 5, 1)), axis=-1)
    np.testing.assert_array_equal(gather(gather(array, order), invert(order)), array)
    # a 3-cycle tells gather from scatter
    np.testing.assert_array_equal(gather(np.array([10, 20, 30]), np.array([1, 2, 0])), [20, 30, 10])
