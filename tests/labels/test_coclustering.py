import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.labels.coclustering import _expected_vi
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


@pytest.fixture(scope="module")
def counts():
    return nb.Counts(TRUTH.sample(300, random_seed=2)[0])


def test_similarity_is_the_mean_probability_of_a_common_component(counts):
    draws = scattered([TRUTH] * 2, n_draws=20)
    found = nb.co_cluster(assemble(counts, draws, {}))
    total = 0.0
    for chain in range(2):
        for draw in range(20):
            params = nb.MixtureParams(
                *(getattr(draws, name)[chain, draw] for name in ("weights", "means", "dispersions"))
            )
            p = params.responsibilities(counts.table.values)
            total += p @ p.T / 40
    np.testing.assert_allclose(found.similarity.values, total, rtol=1e-10)
    np.testing.assert_array_equal(found.similarity["value"], counts.table.values)


def test_labels_make_no_difference(counts):
    draws = scattered([TRUTH] * 4, n_draws=50)
    order = np.random.default_rng(0).permuted(np.tile([0, 1], (4, 50, 1)), axis=-1)
    one, other = (
        nb.co_cluster(assemble(counts, each, {})) for each in (draws, draws.permuted(order))
    )
    np.testing.assert_allclose(one.similarity, other.similarity, rtol=1e-12)
    np.testing.assert_array_equal(one.partition, other.partition)


def test_the_partition_separates_what_is_separate(counts):
    found = nb.co_cluster(assemble(counts, scattered([TRUTH] * 4, n_draws=100), {}))
    assert found.n_clusters == 2
    # one cut: small counts in cluster 0, large ones in 1
    assert (np.diff(found.partition) >= 0).all()
    at = counts.table.values[np.argmax(found.partition)]
    assert 5 <= at <= 10
    assert found.chain_gap < 0.1
    stuck = nb.co_cluster(assemble(counts, scattered([TRUTH, LOWER], n_draws=100), {}))
    assert stuck.chain_gap > 0.5


def test_expected_vi_of_certain_allocations_is_that_of_the_partitions():
    """Where every draw has the same allocation the bound is exact."""
    truth = np.array([0, 0, 1, 1, 2, 2])
    similarity = (truth[:, None] == truth).astype(float)
    assert _expected_vi(truth, similarity, np.ones(6)) == pytest.approx(0.0, abs=1e-12)
    # against one cluster for all: the entropy of the truth
    one = np.zeros(6, dtype=int)
    assert _expected_vi(one, similarity, np.ones(6)) == pytest.approx(np.log(3))
    halves = np.array([0, 0, 0, 1, 1, 1])
    joint = np.array([2, 1, 0, 0, 1, 2]) / 6
    joint = joint[joint > 0]
    entropy = -(joint * np.log(joint)).sum()
    expected = 2 * entropy - np.log(3) - np.log(2)
    assert _expected_vi(halves, similarity, np.ones(6)) == pytest.approx(expected)


def test_frequency_is_repetition():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], size=5)
    frequency = np.array([2, 1, 3, 1, 2])
    partition = np.array([0, 0, 1, 1, 2])
    rows = np.repeat(np.arange(5), frequency)
    whole = p[rows] @ p[rows].T
    # an observation is with itself
    np.fill_diagonal(whole, 1.0)
    together = np.array(
        [[(whole[i] * (partition[rows] == c)).sum() for c in range(3)] for i in range(9)]
    )
    own = together[np.arange(9), partition[rows]]
    sizes = np.bincount(partition[rows])[partition[rows]]
    expected = np.mean(np.log(sizes) + np.log(whole.sum(1)) - 2 * np.log(own))
    found = _expected_vi(partition, p @ p.T, frequency.astype(float))
    assert found == pytest.approx(max(expected, 0.0))


def test_one_row_and_one_component():
    counts = nb.Counts([3, 3, 3])
    tree = assemble(counts, scattered([nb.MixtureParams([1.0], [3.0], [0.5])] * 2, n_draws=10), {})
    found = nb.co_cluster(tree)
    assert found.n_clusters == 1
    assert found.similarity.values == pytest.approx(1.0)
    assert found.expected_vi == 0.0


def test_too_many_rows_are_refused(counts, monkeypatch):
    monkeypatch.setattr("pmnbmix.labels.coclustering.LARGEST", 10)
    tree = assemble(counts, scattered([TRUTH], n_draws=10), {})
    with pytest.raises(ValueError, match=r"distinct \(count, exposure\) rows; similarities of at"):
        nb.co_cluster(tree)
