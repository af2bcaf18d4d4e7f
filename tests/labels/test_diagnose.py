"""Findings on posteriors whose faults are known because they were built in."""

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


@pytest.fixture(scope="module")
def counts():
    return nb.Counts(TRUTH.sample(500, random_seed=2)[0])


def flipped(draws, where):
    order = np.where(np.asarray(where)[..., None], [1, 0], [0, 1])
    return draws.permuted(np.broadcast_to(order, draws.means.shape))


def test_healthy(counts):
    diagnosis = nb.diagnose(assemble(counts, scattered([TRUTH] * 4), {}))
    assert diagnosis.density_ok
    assert diagnosis.components_ok
    assert diagnosis.findings == frozenset()
    assert "chains agree on every component" in str(diagnosis)


def test_switching_between_chains_is_repaired(counts):
    draws = flipped(scattered([TRUTH] * 4), np.array([True, False, True, False])[:, None])
    diagnosis = nb.diagnose(assemble(counts, draws, {}))
    assert diagnosis.findings == {"label-switching"}
    assert diagnosis.density_ok
    assert diagnosis.components_ok
    assert diagnosis.table.loc["means[0]", "r_hat_raw"] > 1.5
    assert diagnosis.table.loc["means[0]", "r_hat"] < 1.01
    assert "between chains" in str(diagnosis)


def test_switching_within_chains_is_repaired_and_seen_where_r_hat_is_blind(counts):
    draws = scattered([TRUTH] * 4)
    rng = np.random.default_rng(1)
    draws = flipped(draws, rng.random(draws.means.shape[:2]) < 0.5)
    diagnosis = nb.diagnose(assemble(counts, draws, {}))
    assert diagnosis.findings == {"label-switching"}
    assert diagnosis.components_ok
    # labels drawn at random in every draw leave the raw r-hat at 1
    assert diagnosis.table.loc["means[0]", "r_hat_raw"] < 1.01
    assert "within chains" in str(diagnosis)


def test_relabelled_before_or_not_makes_no_difference(counts):
    draws = flipped(scattered([TRUTH] * 4), np.array([True, False, True, False])[:, None])
    raw = assemble(counts, draws, {})
    one, other = nb.diagnose(raw), nb.diagnose(nb.relabel(raw))
    assert one.findings == other.findings
    np.testing.assert_allclose(
        one.table["r_hat_raw"].dropna(), other.table["r_hat_raw"].dropna(), rtol=1e-12
    )


def test_a_chain_in_another_mode(counts):
    draws = scattered([TRUTH, TRUTH, TRUTH, LOWER])
    diagnosis = nb.diagnose(assemble(counts, draws, {}))
    assert not diagnosis.density_ok
    assert not diagnosis.components_ok
    assert "multimodal" in diagnosis.findings
    assert "density gate failed" in diagnosis.summary[0]


def test_modes_of_equal_likelihood_are_told_apart_by_their_rows():
    """The sum over rows is the same in both modes; the density of a row is not."""
    counts = nb.Counts([0, 10])
    one = nb.MixtureParams([1.0], [2.0], [2.0])
    target = one.logpmf([0, 10]).sum()
    means = np.linspace(0.5, 60, 4000)
    totals = np.array([nb.MixtureParams([1.0], [m], [2.0]).logpmf([0, 10]).sum() for m in means])
    far = means[20 + np.argmin(np.abs(totals[means > 5] - target)) + (means <= 5).sum() - 20]
    other = nb.MixtureParams([1.0], [far], [2.0])
    assert abs(other.logpmf([0, 10]).sum() - target) < 0.05
    draws = scattered([one, one, other, other], spread=0.01)
    diagnosis = nb.diagnose(assemble(counts, draws, {}))
    assert "multimodal" in diagnosis.findings
    assert not diagnosis.density_ok


def test_components_have_the_numbers_of_the_tree():
    # descending labels, and one chain of the rarer component wanders
    truth = nb.MixtureParams([0.0005, 0.9995], [300.0, 12.0], [0.2, 0.2])
    counts = nb.Counts([*np.random.default_rng(0).negative_binomial(5, 0.3, 300), 320])
    draws = scattered([truth] * 4)
    rare = draws.means.copy()
    rare[0, :, 0] *= 1.3
    tree = nb.relabel(assemble(counts, Draws(draws.weights, rare, draws.dispersions), {}))
    diagnosis = nb.diagnose(tree)
    assert tree["posterior"]["weights"].values[..., 1].max() < 0.01
    assert "Component 1 often holds less than one observation" in str(diagnosis)
    assert diagnosis.table.loc["means[1]", "r_hat"] > 1.05
    r_hat = az.rhat(tree)
    for name in ("weights", "means", "dispersions"):
        for j in (0, 1):
            expected = float(r_hat[name].values[j])
            assert diagnosis.table.loc[f"{name}[{j}]", "r_hat"] == pytest.approx(expected)


def test_a_prior_that_holds_chains_below_an_optimum_is_no_lower_mode(crab):
    spec = nb.MixtureSpec(1, log_means=nb.NormalPrior(3.0, 0.05))
    tree = nb.sample(crab, spec, draws=250, tune=300, random_seed=1, progressbar=False)
    em = nb.fit_em(crab, 1)
    gap = em.log_likelihood - float(
        (tree["log_likelihood_unique"]["crab_satellites"] @ tree["unique_rows"]["frequency"]).max()
    )
    assert gap > 20.0
    assert "lower-mode" not in nb.diagnose(tree, optima=em).findings


def test_optima_of_something_else_are_refused(counts, crab):
    tree = assemble(counts, scattered([TRUTH] * 4), {})
    with pytest.raises(ValueError, match="optima is a fit of 173 observations"):
        nb.diagnose(tree, optima=nb.fit_em(crab, 2, random_seed=0))
    with pytest.raises(ValueError, match="optima has 3 components"):
        nb.diagnose(tree, optima=nb.fit_em(counts, 3, random_seed=0))


def test_few_effective_draws_are_not_called_disagreement(counts):
    diagnosis = nb.diagnose(assemble(counts, scattered([TRUTH] * 4, n_draws=99, seed=10), {}))
    assert not diagnosis.density_ok
    assert diagnosis.findings == {"not-mixed"}
    assert "Chains agree, but" in str(diagnosis)


def test_divergences_are_counted_over_all_draws_made(counts):
    tree = assemble(counts, scattered([TRUTH] * 4), {})
    tree.attrs.update({"n_divergent": 12, "n_sampled": 16_000})
    assert "divergences" not in nb.diagnose(tree).findings
    tree.attrs.update({"n_divergent": 33, "n_sampled": 16_000})
    assert "33 of 16000 draws diverged" in str(nb.diagnose(tree))


def test_all_chains_in_a_lower_mode_need_the_optima(counts):
    tree = assemble(counts, scattered([LOWER] * 4), {})
    assert "lower-mode" not in nb.diagnose(tree).findings
    em = nb.fit_em(counts, 2, random_seed=0)
    for optima in (em, em.optima, em.to_datatree()):
        assert "lower-mode" in nb.diagnose(tree, optima=optima).findings
    healthy = assemble(counts, scattered([TRUTH] * 4), {})
    assert "lower-mode" not in nb.diagnose(healthy, optima=em).findings
    with pytest.raises(TypeError, match="optima"):
        nb.diagnose(tree, optima=3)


def test_too_short(counts):
    rng = np.random.default_rng(0)
    draws = scattered([TRUTH] * 4, n_draws=60)
    drift = np.exp(np.cumsum(rng.normal(0, 0.03, (4, 60, 1)), axis=1))
    drifting = Draws(draws.weights, draws.means * drift, draws.dispersions)
    diagnosis = nb.diagnose(assemble(counts, drifting, {}))
    assert not diagnosis.density_ok
    assert "not-mixed" in diagnosis.findings


def test_one_chain_cannot_show_convergence(counts):
    diagnosis = nb.diagnose(assemble(counts, scattered([TRUTH]), {}))
    assert not diagnosis.density_ok
    assert "not-mixed" in diagnosis.findings
    assert "One chain" in str(diagnosis)


def test_components_that_cannot_be_told_apart(counts):
    blurred = nb.MixtureParams([0.5, 0.5], [9.0, 11.0], [0.8, 0.8])
    diagnosis = nb.diagnose(assemble(counts, scattered([blurred] * 4, spread=0.5), {}))
    assert "weak-labels" in diagnosis.findings


def test_empty_and_near_poisson_components(counts):
    nearly = nb.MixtureParams([0.0005, 0.9995], [300.0, 12.0], [0.5, 1e-4])
    diagnosis = nb.diagnose(assemble(counts, scattered([nearly] * 4), {}))
    assert {"empty-component", "near-poisson"} <= diagnosis.findings


def test_divergences(counts):
    import xarray as xr

    diverging = np.zeros((4, 500), dtype=bool)
    diverging[0, :20] = True
    stats = xr.Dataset({"diverging": (("chain", "draw"), diverging)})
    diagnosis = nb.diagnose(assemble(counts, scattered([TRUTH] * 4), {"sample_stats": stats}))
    assert diagnosis.findings == {"divergences"}
    assert "20 of 2000" in str(diagnosis)


def test_real_posteriors(crab_choice, doctor_tree):
    for k, tree in crab_choice.trees.items():
        diagnosis = nb.diagnose(tree, optima=crab_choice.em[k])
        assert diagnosis.density_ok
        assert "lower-mode" not in diagnosis.findings
        assert len(diagnosis.summary) >= len(diagnosis.findings) + 1
    assert {"label-switching", "weak-labels"} <= nb.diagnose(crab_choice.trees[3]).findings
    assert nb.diagnose(doctor_tree).components_ok


def test_components_that_are_the_same_are_weak_however_small_the_loss():
    """All draws agree that every observation could belong to either: Stephens' loss is nothing."""
    rng = np.random.default_rng(0)
    counts = nb.Counts(rng.negative_binomial(5, 0.3, 300))
    weights = rng.dirichlet([50, 50], size=(4, 500))
    means = counts.values.mean() * np.exp(rng.normal(0, 0.03, (4, 500, 2)))
    draws = Draws(weights, means, 0.2 * np.exp(rng.normal(0, 0.05, (4, 500, 2))))
    diagnosis = nb.diagnose(assemble(counts, draws, {}))
    assert diagnosis.labelling.loc["stephens", "loss"] < 0.01
    assert "weak-labels" in diagnosis.findings
    assert (diagnosis.components["separation"].abs() < 0.05).all()
    assert "repairs" not in str(diagnosis)
    assert "Ordering by mean is unsafe" not in str(diagnosis)


@pytest.mark.parametrize("name", ["death_notices", "simar_claims", "fetal_lamb"])
def test_real_components_that_nothing_tells_apart(name):
    counts = nb.load_dataset(name)
    tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    assert "weak-labels" in nb.diagnose(tree).findings


def test_optima_are_checked_against_the_counts(counts, crab):
    tree = assemble(counts, scattered([TRUTH] * 4), {})
    other = nb.fit_em(nb.Counts(counts.values + 1), 2, random_seed=0)
    fewer = nb.fit_em(nb.Counts(counts.values[:100]), 2, random_seed=0)
    for optima in (other, fewer.optima, fewer.to_datatree()):
        with pytest.raises(ValueError, match=r"states a log likelihood of .* same counts"):
            nb.diagnose(tree, optima=optima)


def test_a_chain_near_no_optimum_is_not_said_to_be_near_one(counts):
    far = nb.MixtureParams([0.5, 0.5], [10.0, 22.0], [1.0, 0.6])
    em = nb.fit_em(counts, 2, random_seed=0)
    diagnosis = nb.diagnose(assemble(counts, scattered([TRUTH] * 3 + [far]), {}), optima=em)
    assert diagnosis.chains["optimum"].isna().tolist() == [False, False, False, True]
    assert "near the best optimum" in str(diagnosis)
    assert "near no known optimum" in str(diagnosis)


def test_a_prior_that_is_not_known_is_not_acquitted(counts):
    tree = assemble(counts, scattered([LOWER] * 4), {})
    text = str(nb.diagnose(tree, optima=nb.fit_em(counts, 2, random_seed=0)))
    assert "what the prior was is not known" in text


def test_a_chain_that_never_moved(counts):
    draws = scattered([TRUTH] * 4)
    frozen = Draws(*(getattr(draws, name).copy() for name in ("weights", "means", "dispersions")))
    for array in (frozen.weights, frozen.means, frozen.dispersions):
        array[3] = array[3, :1]
    diagnosis = nb.diagnose(assemble(counts, frozen, {}))
    assert not diagnosis.density_ok
    assert diagnosis.findings == {"not-mixed"}
    assert "Chain 3 never moved" in str(diagnosis)


def test_too_few_draws_are_refused(counts):
    with pytest.raises(ValueError, match="chains have 2 draws; a diagnosis needs 4"):
        nb.diagnose(assemble(counts, scattered([TRUTH] * 4, n_draws=2), {}))
    em = nb.fit_em(counts, 2, random_seed=0)
    with pytest.raises(ValueError, match="chains have 1 draws"):
        nb.diagnose(em.to_datatree(), counts=counts)


def test_attributes_of_more_chains_do_not_count(counts):
    tree = assemble(counts, scattered([TRUTH] * 4), {})
    tree.attrs.update({"n_divergent": 400, "n_sampled": 4000, "thinned_from": 1000})
    assert "divergences" in nb.diagnose(tree).findings
    three = tree.isel(chain=[0, 1, 3])
    three.attrs.update(tree.attrs)
    diagnosis = nb.diagnose(three)
    assert "divergences" not in diagnosis.findings
    assert diagnosis.chains.index.tolist() == [0, 1, 3]


def test_one_exchanged_draw_is_not_switching_within_chains(counts):
    where = np.zeros((4, 500), bool)
    where[2:] = True
    where[0, 250] = True
    diagnosis = nb.diagnose(assemble(counts, flipped(scattered([TRUTH] * 4), where), {}))
    assert "between chains: the most frequent permutation has 50% of the draws" in str(diagnosis)


def test_names_that_are_no_mapping_are_refused_in_words(counts):
    tree = assemble(counts, scattered([TRUTH] * 2, n_draws=20), {})
    for names in (["means"], "means", {"means": 3}, {"means": ["mu"]}):
        for function in (nb.diagnose, nb.relabel, nb.co_cluster):
            with pytest.raises(TypeError, match="names must be a mapping of str to str"):
                function(tree, names=names)
