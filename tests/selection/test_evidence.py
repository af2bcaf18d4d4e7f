"""Log evidence against quadrature."""

import json

import numpy as np
import pytest
from scipy import integrate, special, stats

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws, pack, unpack
from pmnbmix.selection.evidence import _log_proposal, log_joint
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


def sampled(counts, k, seed=1, **options):
    return nb.sample(counts, nb.MixtureSpec(k), random_seed=seed, progressbar=False, **options)


@pytest.mark.parametrize("name", ["crab_satellites", "red_mites"])
def test_one_component_equals_quadrature(name):
    counts = nb.load_dataset(name)
    spec = nb.MixtureSpec(1).resolve(counts)
    means, dispersions = np.linspace(-1.5, 3.0, 1501), np.linspace(-8.0, 3.0, 1101)
    grid = np.stack(np.meshgrid(means, dispersions, indexing="ij"), axis=-1)
    level = log_joint(grid.reshape(-1, 2), counts.table, spec).reshape(grid.shape[:2])
    inner = integrate.simpson(np.exp(level - level.max()), dispersions)
    exact = level.max() + np.log(integrate.simpson(inner, means))
    found = nb.log_evidence(sampled(counts, 1), random_seed=1)
    assert found.log_evidence == pytest.approx(exact, abs=0.01)
    assert found.mcse < 0.01


@pytest.mark.exhaustive
def test_two_components_equal_quadrature_in_five_dimensions():
    """Thirty counts; sums over a grid of both components and the nodes of the weight's prior."""
    truth = nb.MixtureParams([0.5, 0.5], [2.0, 12.0], [0.3, 0.2])
    counts = nb.Counts(truth.sample(30, random_seed=4)[0])
    spec = nb.MixtureSpec(2).resolve(counts)
    table = counts.table
    loc, scale = float(spec.log_means.loc), spec.log_means.scale
    # smooth integrands that vanish at both ends: sums over even grids converge quickly
    means = np.linspace(loc - 7.0, loc + 7.0, 71)
    dispersions = np.linspace(-7.0, 7.0, 36)
    one = np.stack(np.meshgrid(means, dispersions, indexing="ij"), axis=-1).reshape(-1, 2)
    alone = Draws(np.ones((1, len(one), 1)), *(np.exp(one[None, :, i, None]) for i in (0, 1)))
    density = np.exp(alone.log_density(table)[0])
    prior = -0.5 * ((one[:, 0] - loc) / scale) ** 2 - 0.5 * (one[:, 1] / 2.0) ** 2
    prior = np.exp(prior) / (2 * np.pi * scale * 2.0)
    prior *= (means[1] - means[0]) * (dispersions[1] - dispersions[0])
    nodes, shares = special.roots_jacobi(24, 1.0, 1.0)
    weights, shares = 0.5 * (nodes + 1.0), shares / shares.sum()
    # a weight and 1 minus it give the same, components being exchangeable
    weights, shares = weights[:12], 2.0 * shares[:12]
    kept = prior > 1e-9 * prior.max()
    density, prior = density[kept], prior[kept]
    total = 0.0
    for weight, share in zip(weights, shares, strict=True):
        for first in range(0, len(prior), 100):
            part = slice(first, first + 100)
            mixed = weight * density[part, None, :] + (1.0 - weight) * density[None]
            likelihood = np.exp(np.log(np.maximum(mixed, 1e-300)) @ table.frequency + 90.0)
            total += share * float(prior[part] @ likelihood @ prior)
    found = nb.log_evidence(sampled(counts, 2, draws=2000), random_seed=1)
    assert found.log_evidence == pytest.approx(np.log(total) - 90.0, abs=0.05)


def test_permuting_the_components_changes_nothing():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 8))
    order = [2, 0, 1]
    draws = unpack(points[None])
    turned = pack(draws.permuted(np.broadcast_to(order, draws.means.shape)))[0]
    proposal = stats.multivariate_t(rng.normal(size=8), np.diag(rng.uniform(1, 2, 8)), df=5)
    np.testing.assert_allclose(_log_proposal(points, proposal), _log_proposal(turned, proposal))
    table = CountTable.plain(np.array([0.0, 5.0]), np.ones(2), np.array([3.0, 1.0]))
    spec = nb.MixtureSpec(3, log_means=nb.NormalPrior(1.0, 2.0))
    np.testing.assert_allclose(log_joint(points, table, spec), log_joint(turned, table, spec))


def test_the_proposal_is_a_density():
    """Its average over permutations integrates to 1, by importance sampling from a wider one."""
    rng = np.random.default_rng(1)
    proposal = stats.multivariate_t([0.2, 0.0, 1.0, -0.5, 0.3], 0.36 * np.eye(5), df=5)
    wide = 2.0
    points = wide * rng.standard_t(4, size=(200_000, 5))
    log_wide = stats.t.logpdf(points / wide, 4).sum(axis=1) - 5 * np.log(wide)
    ratio = np.exp(_log_proposal(points, proposal) - log_wide)
    assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / np.sqrt(len(ratio)))


def test_bad_requests(crab_choice):
    tree = crab_choice.trees[2].copy()
    tree.attrs = {name: value for name, value in tree.attrs.items() if name != "spec"}
    with pytest.raises(ValueError, match="does not say what its priors were"):
        nb.log_evidence(tree)
    few = sampled(crab_choice.counts, 1, draws=20, chains=2)
    with pytest.raises(ValueError, match="there are 40 draws; at least 100"):
        nb.log_evidence(few)


def held_by_hand(draws):
    counts = nb.Counts([1, 2, 3, 9])
    tree = assemble(counts, draws, {})
    tree.attrs["spec"] = json.dumps(nb.MixtureSpec(draws.n_components).resolve(counts).to_dict())
    return tree


def test_stuck_chains_are_refused_in_words():
    for spread in (0.0, 1e-320):
        with pytest.raises(ValueError, match=r"do not spread in all 5 directions.*stuck"):
            nb.log_evidence(held_by_hand(scattered([TRUTH, LOWER], spread=spread)))


def test_weights_at_the_end_of_floats_are_refused_in_words():
    draws = scattered([TRUTH] * 2)
    for least in (0.0, float(np.exp(-700.0))):
        weights = draws.weights.copy()
        weights[1, 7] = [least, 1.0]
        with pytest.raises(ValueError, match=r"weights of chain 1, draw 7 are .*end of what float"):
            nb.log_evidence(held_by_hand(Draws(weights, draws.means, draws.dispersions)))


def test_chains_of_few_draws_and_flat_priors_are_refused():
    with pytest.raises(ValueError, match="chains have 2 draws; at least 8"):
        nb.log_evidence(held_by_hand(scattered([TRUTH] * 60, n_draws=2)))
    tree = held_by_hand(scattered([TRUTH] * 2))
    flat = nb.MixtureSpec(2, log_means=nb.NormalPrior(0.0, float("inf")))
    tree.attrs["spec"] = json.dumps(flat.to_dict())
    with pytest.raises(ValueError, match="flat prior"):
        nb.log_evidence(tree)


@pytest.mark.parametrize("spec", ["{", 3, "[1]", "[" * 100_000, '{"n_components": 2}'])
def test_a_damaged_specification_is_refused_in_words(spec):
    tree = held_by_hand(scattered([TRUTH] * 2, n_draws=60))
    tree.attrs["spec"] = spec
    for function in (nb.diagnose, nb.log_evidence):
        with pytest.raises(ValueError, match="attribute 'spec' of the tree is"):
            function(tree)
