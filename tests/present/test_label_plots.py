"""What figures of labels say, read back from their axes; how they look is judged by eye."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.tree.reading import read
from pmnbmix.tree.writing import assemble
from tests.synthetic import TRUTH, scattered


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def tree():
    """Chains 1 and 3 have the labels of the others exchanged."""
    counts = nb.Counts(TRUTH.sample(200, random_seed=2)[0])
    draws = scattered([TRUTH] * 4, n_draws=100)
    order = np.where(np.arange(4)[:, None, None] % 2, [1, 0], [0, 1])
    return nb.relabel(
        assemble(counts, draws.permuted(np.broadcast_to(order, draws.means.shape)), {})
    )


@pytest.mark.parametrize("name", ["means", "weights", "dispersions"])
def test_traces_before_and_after(tree, name):
    collection = nb.plots.plot_relabelling(tree, name)
    raw = read(tree).raw
    expected = {"as sampled": getattr(raw, name), "relabelled": tree["posterior"][name].values}
    for labels, array in expected.items():
        for row in (0, 1):
            ax = collection.get_target(name, {"row": row, "labels": labels})
            drawn = np.array([line.get_ydata() for line in ax.get_lines()[:4]])
            shown = array[..., row] if name == "weights" else np.log10(array[..., row])
            np.testing.assert_allclose(drawn, shown)


def test_ranks_before_and_after(tree):
    collection = nb.plots.plot_relabelling(tree, kind="rank")

    def furthest(labels):
        ax = collection.get_target("means", {"row": 0, "labels": labels})
        return max(np.abs(line.get_ydata()).max() for line in ax.get_lines())

    # two chains above and two below all others are half the range off
    assert furthest("as sampled") > 0.45
    assert furthest("relabelled") < 0.2


def test_permutations_are_one_colour_a_chain(tree):
    ax = nb.plots.plot_permutations(tree)
    image = ax.get_images()[0].get_array()
    assert image.shape == (4, 100)
    assert (image == image[:, :1]).all()
    assert image[0, 0] == image[2, 0] != image[1, 0] == image[3, 0]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(texts) == ["0 1  (50%)", "1 0  (50%)"]


def test_rare_permutations_share_a_colour(tree):
    rng = np.random.default_rng(0)
    truth = nb.MixtureParams([0.25] * 4, [1.0, 10.0, 100.0, 1000.0], [0.1] * 4)
    counts = nb.Counts(truth.sample(200, random_seed=2)[0])
    draws = scattered([truth] * 2, n_draws=1500)
    shuffled = draws.permuted(rng.permuted(np.tile(np.arange(4), (2, 1500, 1)), axis=-1))
    ax = nb.plots.plot_permutations(nb.relabel(assemble(counts, shuffled, {})))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(texts) == 7
    assert texts[-1].startswith("others  (7")
    # no more columns than can be seen
    assert ax.get_images()[0].get_array().shape[1] == 750


def test_overlap_has_its_numbers(tree):
    diagnosis = nb.diagnose(tree)
    ax = nb.plots.plot_overlap(diagnosis)
    written = np.array([float(text.get_text()) for text in ax.texts]).reshape(2, 2)
    np.testing.assert_allclose(written, diagnosis.overlap, atol=0.005)
    np.testing.assert_allclose(written.sum(axis=1), 1.0, atol=0.011)


def test_co_clustering_draws_similarity_and_bounds(tree):
    clustering = nb.co_cluster(tree)
    ax = nb.plots.plot_co_clustering(clustering)
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), clustering.similarity)
    assert ax.get_title() == "2 clusters"
    # one bound, drawn both ways; and a row of marks for each cluster
    assert len(ax.get_lines()) == 2 + 2


def test_co_clustering_orders_by_rate_where_there_are_exposures():
    exposure = np.exp(np.random.default_rng(0).normal(0, 0.5, 60))
    counts = nb.Counts(TRUTH.sample(60, random_seed=1, exposure=exposure)[0], exposure=exposure)
    clustering = nb.co_cluster(assemble(counts, scattered([TRUTH], n_draws=50), {}))
    ax = nb.plots.plot_co_clustering(clustering)
    order = np.argsort(counts.table.values / counts.table.exposure, kind="stable")
    image = ax.get_images()[0].get_array()
    np.testing.assert_allclose(np.diag(image), np.diag(clustering.similarity)[order])
    assert "per unit of exposure" in ax.get_ylabel()


def test_components_add_up_to_the_mixture(crab_choice):
    tree = crab_choice.trees[2]
    whole = nb.plots.plot_fit(tree)
    expected = next(line for line in whole.get_lines() if line.get_label() == "expected")
    ax = nb.plots.plot_components(tree)
    total = sum(line.get_ydata() for line in ax.get_lines())
    np.testing.assert_allclose(total, expected.get_ydata())


def test_figures_are_drawn_where_one_asks(tree):
    _, ax = plt.subplots()
    assert nb.plots.plot_permutations(tree, ax=ax) is ax
    assert nb.plots.plot_overlap(nb.diagnose(tree), ax=ax) is ax
    assert nb.plots.plot_co_clustering(nb.co_cluster(tree), ax=ax) is ax
    assert nb.plots.plot_components(tree, ax=ax) is ax


def test_bad_requests(tree):
    with pytest.raises(ValueError, match='name must be "weights", "means" or "dispersions"'):
        nb.plots.plot_relabelling(tree, "mu")
    with pytest.raises(ValueError, match='kind must be "trace" or "rank"'):
        nb.plots.plot_relabelling(tree, kind="dots")
    alone = nb.stack_chains(tree).tree
    with pytest.raises(ValueError, match="ranks compare chains, and there is one"):
        nb.plots.plot_relabelling(alone, kind="rank")
    nb.plots.plot_relabelling(alone)
    bare = tree.copy()
    del bare["relabelling"]
    with pytest.raises(ValueError, match=r"no group 'relabelling'.*relabel\(\) makes"):
        nb.plots.plot_permutations(bare)


def test_poisson_components_have_no_log_dispersion_to_draw(tree):
    flat = tree.copy()
    posterior = flat["posterior"].to_dataset()
    flat["posterior"].dataset = posterior.assign(dispersions=0.0 * posterior["dispersions"])
    collection = nb.plots.plot_relabelling(flat, "dispersions")
    ax = collection.get_target("dispersions", {"row": 0, "labels": "relabelled"})
    assert not np.any(ax.get_lines()[0].get_ydata())


def test_overlap_takes_a_tree_or_says_what_it_takes(crab_choice):
    tree = crab_choice.trees[2]
    ax = nb.plots.plot_overlap(tree)
    np.testing.assert_array_equal(ax.images[0].get_array(), nb.diagnose(tree).overlap)
    with pytest.raises(TypeError, match=r"must be what diagnose.. returns, or a DataTree.*got int"):
        nb.plots.plot_overlap(3)
