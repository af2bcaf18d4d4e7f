import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

import pmnbmix as nb
from tests.conftest import REFERENCE

# Best log likelihoods known, by number of components.
KNOWN = {
    "crab_satellites": (-383.7046, -368.2318, -366.8520),
    "earthquakes": (-357.6500, -356.9561, -356.7820),
    "death_notices": (-1990.8287, -1989.9459),
    "simar_claims": (-5348.0400, -5341.1327, -5340.7035),
    "red_mites": (-222.4372, -221.1428),
    "fetal_lamb": (-186.6266, -185.9131),
    "doctor_visits": (-44199.2744, -43966.9875, -43963.6183),
}


@pytest.mark.parametrize(
    ("name", "k"), [(name, k + 1) for name, values in KNOWN.items() for k in range(len(values))]
)
def test_best_known_optimum_from_ten_seeds(name, k):
    counts = nb.load_dataset(name)
    for seed in range(10):
        fit = nb.fit_em(counts, k, random_seed=seed)
        assert fit.log_likelihood > KNOWN[name][k - 1] - 1e-3
        assert (np.diff(fit.log_likelihood_path) >= 0).all()
        assert fit.log_likelihood_path[-1] == pytest.approx(fit.log_likelihood, abs=1e-9)
        assert fit.n_iter == fit.log_likelihood_path.size - 1


def cells():
    """Molecules of the gene FTL in 700 cells, by the total of each; the cells come with scanpy."""
    anndata = pytest.importorskip("anndata", reason="anndata is not installed")
    scanpy = importlib.util.find_spec("scanpy")
    if scanpy is None:
        pytest.skip("scanpy, whose sample of cells this is, is not installed")
    folder = Path(scanpy.origin).parent / "datasets"
    given = anndata.read_h5ad(folder / "10x_pbmc68k_reduced.h5ad").raw.to_adata()
    total = given.obs["n_counts"].to_numpy(dtype=float)
    logged = given[:, "FTL"].X.toarray()[:, 0].astype(float)
    return nb.Counts(np.rint(np.expm1(logged) * total / 1e4), total)


def droplets():
    return nb.read_counts(REFERENCE / "droplets.npz", "total")


def rare():
    """Molecules of which most droplets have none, by the molecules of the droplet."""
    return nb.read_counts(REFERENCE / "droplets.npz", "rare", "total")


@pytest.mark.parametrize("counts_of", [droplets, rare, cells])
def test_best_known_optimum_of_large_counts_and_of_exposures(counts_of):
    known = json.loads((REFERENCE / "optima.json").read_text())[counts_of.__name__]
    counts = counts_of()
    for k in (1, 2):
        fit = nb.fit_em(counts, k, random_seed=k)
        assert fit.log_likelihood > known["best"][k - 1] - 0.01, k


def test_the_three_optima_of_the_droplets():
    known = json.loads((REFERENCE / "optima.json").read_text())["droplets"]["optima of 2"]
    assert len(known) == 3
    optima = nb.fit_em(droplets(), 2, random_seed=1).optima
    for one in known:
        assert (optima["log_likelihood"] - one).abs().min() < 0.01


def test_published_poisson_mixture_of_the_death_notices():
    # Hasselblad 1969: weight .3599, means 1.2561 and 2.6634
    fit = nb.fit_em(nb.load_dataset("death_notices"), 2, random_seed=0)
    assert fit.status is nb.Status.POISSON_LIMIT
    np.testing.assert_array_equal(fit.params.dispersions, 0.0)
    np.testing.assert_allclose(fit.params.weights[0], 0.3599, atol=2e-4)
    np.testing.assert_allclose(fit.params.means, [1.2561, 2.6634], atol=2e-4)


def test_published_inverse_dispersion_of_the_red_mites():
    # Bliss and Fisher 1953: 1.0246
    fit = nb.fit_em(nb.load_dataset("red_mites"), 1)
    assert fit.params.inv_disps[0] == pytest.approx(1.0246, abs=1e-4)


def test_every_optimum_is_listed_with_how_often_it_was_reached(crab):
    optima = nb.fit_em(crab, 2, random_seed=0).optima
    assert optima["log_likelihood"].is_monotonic_decreasing
    # two optima that are no permutations of each other
    assert (optima["log_likelihood"] > -369).sum() == 2
    assert optima["times_reached"].sum() >= 26
    for _, row in optima.iterrows():
        params = nb.MixtureParams(row["weights"], row["means"], row["dispersions"])
        assert params.logpmf(crab.values).sum() == pytest.approx(row["log_likelihood"], abs=1e-6)


class TestEdges:
    """Edges of the data and of the parameter space are values."""

    def test_one_observation(self):
        fit = nb.fit_em(nb.Counts([7]), 1)
        assert fit.params.means[0] == pytest.approx(7.0)
        assert fit.params.dispersions[0] == 0.0
        assert nb.Status.POISSON_LIMIT in fit.statuses

    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_all_zero(self, k):
        fit = nb.fit_em(nb.Counts([0, 0, 0, 0]), k, random_seed=0)
        assert fit.log_likelihood == pytest.approx(0.0, abs=1e-14)
        np.testing.assert_array_equal(fit.params.means, 0.0)
        assert nb.Status.POINT_MASS in fit.statuses

    @pytest.mark.parametrize("k", [1, 2, 4])
    def test_all_equal(self, k):
        fit = nb.fit_em(nb.Counts([5] * 20), k, random_seed=0)
        poisson = nb.MixtureParams([1.0], [5.0], [0.0]).logpmf([5])[0] * 20
        assert fit.log_likelihood == pytest.approx(poisson, abs=1e-6)

    def test_more_components_than_values(self):
        fit = nb.fit_em(nb.Counts([0, 3]), 5, random_seed=0)
        assert np.isfinite(fit.log_likelihood)
        assert fit.params.n_components == 5

    def test_underdispersed_counts_are_poisson(self):
        fit = nb.fit_em(nb.Counts([4, 5, 5, 6, 5, 5]), 1)
        assert fit.params.dispersions[0] == 0.0
        assert fit.status is nb.Status.POISSON_LIMIT

    def test_mean_equal_to_variance(self):
        # the score of the dispersion at 0 is exactly 0
        fit = nb.fit_em(nb.Counts([1, 3]), 1)
        assert np.isfinite(fit.log_likelihood)
        assert fit.params.means[0] == pytest.approx(2.0)

    def test_counts_of_a_billion(self):
        rng = np.random.default_rng(1)
        params = nb.MixtureParams([0.5, 0.5], [1e9, 3e9], [1e-4, 1e-4])
        values, _ = params.sample(200, rng)
        fit = nb.fit_em(nb.Counts(values), 2, random_seed=0)
        np.testing.assert_allclose(fit.params.means, params.means, rtol=0.01)
        np.testing.assert_allclose(fit.params.dispersions, params.dispersions, rtol=0.5)

    def test_exposures_over_twelve_orders_of_magnitude(self):
        rng = np.random.default_rng(3)
        exposure = 10.0 ** rng.uniform(-6, 6, 300)
        values, _ = nb.MixtureParams([1.0], [4.0], [0.3]).sample(300, rng, exposure)
        fit = nb.fit_em(nb.Counts(values, exposure), 1)
        assert fit.params.means[0] == pytest.approx(4.0, rel=0.2)
        assert fit.params.dispersions[0] == pytest.approx(0.3, rel=0.4)

    def test_a_component_of_zeros(self):
        values = np.concatenate(
            [np.zeros(300, dtype=int), np.random.default_rng(0).poisson(8.0, 200)]
        )
        fit = nb.fit_em(nb.Counts(values), 2, random_seed=0)
        assert fit.params.means[0] < 1e-3
        np.testing.assert_allclose(fit.params.weights, [0.6, 0.4], atol=0.01)

    def test_every_status_has_a_sentence(self):
        for status in nb.Status:
            assert status.sentence.endswith(".")


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 1000))
def test_scaling_the_exposure_divides_the_means(scale, seed):
    counts = nb.Counts([0, 1, 1, 2, 9, 12, 7, 0, 3], exposure=[1, 2, 1, 1, 1, 2, 1, 0.5, 1])
    scaled = nb.Counts(counts.values, counts.exposure * scale)
    one, other = (nb.fit_em(data, 2, random_seed=seed) for data in (counts, scaled))
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=40), st.integers(0, 1000))
def test_rows_and_frequencies_say_the_same(values, seed):
    unique, frequency = np.unique(values, return_counts=True)
    one = nb.fit_em(nb.Counts(values), 2, random_seed=seed)
    other = nb.fit_em(nb.Counts(unique, frequency=frequency), 2, random_seed=seed)
    assert other.log_likelihood == one.log_likelihood
    np.testing.assert_array_equal(other.params.means, one.params.means)


def test_the_same_seed_gives_the_same_fit(crab):
    one, other = (nb.fit_em(crab, 3, random_seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.log_likelihood_path, other.log_likelihood_path)
    assert one.optima.equals(other.optima)


def test_equal_mixing_fixes_the_weights(crab):
    equal = nb.fit_em(crab, 2, mixing="equal", random_seed=0)
    np.testing.assert_array_equal(equal.params.weights, [0.5, 0.5])
    assert equal.n_parameters == 4
    free = nb.fit_em(crab, 2, random_seed=0)
    assert equal.log_likelihood < free.log_likelihood
    # no other point with these weights is higher
    start = np.log([*equal.params.means, *np.maximum(equal.params.dispersions, 1e-4)])
    best = optimize.minimize(
        lambda c: (
            -nb.MixtureParams([0.5, 0.5], np.exp(c[:2]), np.exp(c[2:])).logpmf(crab.values).sum()
        ),
        start,
        method="Nelder-Mead",
        options={"maxiter": 4000},
    )
    assert equal.log_likelihood > -best.fun - 1e-6


def test_a_start_of_ones_own_joins_the_pool(crab):
    start = nb.MixtureParams([0.4, 0.6], [0.1, 4.7], [0.1, 0.1])
    fit = nb.fit_em(crab, 2, start=start, random_seed=0)
    assert fit.log_likelihood > -368.24


def test_criteria_are_their_formulas(crab):
    fit = nb.fit_em(crab, 2, random_seed=0)
    assert fit.n_parameters == 5
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 10)
    assert fit.bic == pytest.approx(-2 * fit.log_likelihood + 5 * np.log(173))
    held = fit.params.responsibilities(crab.values)
    entropy = -np.sum(held[held > 0] * np.log(held[held > 0]))
    assert fit.entropy == pytest.approx(entropy)
    assert fit.icl == pytest.approx(fit.bic + 2 * entropy)


def test_responsibilities_and_predictions(crab):
    fit = nb.fit_em(crab, 2, random_seed=0)
    np.testing.assert_array_equal(fit.responsibilities(), fit.responsibilities(crab.values))
    np.testing.assert_array_equal(fit.predict([0, 10]), [0, 1])


def test_new_counts_need_their_exposure():
    counts = nb.Counts([1, 5, 9], exposure=[1.0, 2.0, 3.0])
    fit = nb.fit_em(counts, 1)
    with pytest.raises(ValueError, match="need theirs"):
        fit.responsibilities([4])
    assert fit.responsibilities([4], exposure=1.0).shape == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"counts": [1, 2, 3]}, TypeError, "Wrap the column"),
        ({"n_components": 0}, ValueError, "1 or above"),
        ({"n_components": 1.5}, TypeError, "whole number"),
        ({"mixing": "both"}, ValueError, '"estimated" or "equal"'),
        ({"start": [0.5, 0.5]}, TypeError, "MixtureParams"),
        (
            {"n_components": 3, "start": nb.MixtureParams([1.0], [1.0], [1.0])},
            ValueError,
            "1 components but 3",
        ),
        ({"start": nb.MixtureParams([0.5, 0.5], [0, 0], [1, 1])}, ValueError, "probability 0"),
        ({"max_iter": 0}, ValueError, "max_iter"),
    ],
)
def test_bad_requests(crab, arguments, error, text):
    with pytest.raises(error, match=text):
        nb.fit_em(**{"counts": crab, **arguments})


def test_tree_is_laid_out_as_find_map_does(crab):
    fit = nb.fit_em(crab, 2, random_seed=0)
    tree = fit.to_datatree()
    posterior = tree["posterior"].to_dataset()
    for name in ("weights", "means", "dispersions"):
        assert posterior[name].dims == ("chain", "draw", "mixture_component")
        np.testing.assert_array_equal(posterior[name].values[0, 0], getattr(fit.params, name))
    assert set(tree.children) >= {"posterior", "fit", "optimizer_result", "observed_data"}
    assert tree["fit"]["covariance_matrix"].dims == ("rows", "columns")
    assert tree["optimizer_result"].attrs["status"] == "poisson-limit"


def test_arguments_that_would_be_ignored_are_refused(crab):
    fit = nb.fit_em(crab, 1)
    with pytest.raises(ValueError, match="without values"):
        fit.responsibilities(exposure=[2.0] * 173)
    start = nb.MixtureParams([0.2, 0.8], [1.0, 5.0], [0.5, 0.5])
    with pytest.raises(ValueError, match='mixing="equal" fixes the weights at 1/2'):
        nb.fit_em(crab, 2, mixing="equal", start=start)
