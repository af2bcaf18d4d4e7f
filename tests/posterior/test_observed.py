"""What PyMC and ArviZ make of the counts as an observed random variable."""

import warnings

import arviz as az
import numpy as np
import pymc as pm
import pytest

import pmnbmix as nb
from pmnbmix.posterior.distributions import NegativeBinomialMixture

EXPOSED = nb.Counts([0, 3, 5, 5, 40], exposure=[0.2, 1.0, 1.0, 2.0, 9.0], frequency=[3, 1, 2, 1, 1])
POINT = {
    "weights": np.array([0.3, 0.7]),
    "log_means": np.log([1.0, 6.0]),
    "log_dispersions": np.log([0.5, 0.2]),
}
PARAMS = nb.MixtureParams(POINT["weights"], [1.0, 6.0], [0.5, 0.2])
BOTH = pytest.mark.parametrize("likelihood", ["pymc", "fused"])


def terms(model, *, total):
    """Log density of the counts at POINT, as PyMC compiles it for this model."""
    point = dict(POINT)
    transform = model.rvs_to_transforms[model["weights"]]
    name = model.rvs_to_values[model["weights"]].name
    point[name] = transform.forward(POINT["weights"], *model["weights"].owner.inputs).eval()
    del point["weights"]
    compiled = model.compile_logp(vars=model.observed_RVs, sum=total)
    found = compiled(point)
    return found if total else found[0]


@BOTH
def test_every_observation_has_its_log_density_and_their_sum_is_that_of_all(likelihood):
    model = nb.build_model(EXPOSED, nb.MixtureSpec(2), likelihood)
    row = EXPOSED.expanded_inverse()
    table = EXPOSED.table
    expected = PARAMS.logpmf(table.values[row], table.exposure[row])
    np.testing.assert_allclose(terms(model, total=False), expected, rtol=1e-9)
    assert terms(model, total=True) == pytest.approx(expected.sum(), rel=1e-10)


@BOTH
def test_the_density_walks_over_unique_rows_only(likelihood):
    """Nothing as long as the observations is left in what a sampler compiles."""
    counts = nb.Counts([0, 1, 5], frequency=[400, 300, 300])
    model = nb.build_model(counts, nb.MixtureSpec(2), likelihood)
    compiled = model.logp_dlogp_function(ravel_inputs=True)._pytensor_function
    shared = {variable.name for variable in compiled.maker.fgraph.inputs if variable.name}
    shared |= {variable.name for variable in compiled.get_shared()}
    assert shared & {"frequency", "table"}
    assert not shared & {"count_data", "exposure", "row_of_obs"}


@BOTH
def test_a_sum_with_other_weights_has_the_gradient_of_its_terms(likelihood):
    """As tempering and stochastic gradients do, which no rule for plain sums covers."""
    model = nb.build_model(EXPOSED, nb.MixtureSpec(2), likelihood)
    (each,) = model.logp(vars=model.observed_RVs, sum=False)
    scale = np.linspace(0.0, 2.0, EXPOSED.n)
    value = model.rvs_to_values[model["log_means"]]
    weighted = (scale * each).sum()
    gradient = pm.pytensorf.compile(model.value_vars, pm.pytensorf.gradient(weighted, [value]))
    start = [model.initial_point()[v.name] for v in model.value_vars]
    place = [v.name for v in model.value_vars].index("log_means")
    start[place] = POINT["log_means"]
    compiled = pm.pytensorf.compile(model.value_vars, weighted)
    found = gradient(*start)
    for j in range(2):
        high, low = ([entry.copy() for entry in start] for _ in range(2))
        high[place][j] += 1e-5
        low[place][j] -= 1e-5
        slope = (compiled(*high) - compiled(*low)) / 2e-5
        assert found[j] == pytest.approx(slope, rel=1e-6)


class TestOtherData:
    new = nb.Counts([0, 7, 2], exposure=[1.0, 3.0, 0.5])

    def replaced(self, model):
        data = {"count_data": np.array([0, 7, 2]), "exposure": np.array([1.0, 3.0, 0.5])}
        with model:
            pm.set_data(data, coords={"obs": np.arange(3)})

    @BOTH
    def test_what_was_compiled_before_follows_them(self, likelihood):
        model = nb.build_model(EXPOSED, nb.MixtureSpec(2), likelihood)
        compiled = model.compile_logp(vars=model.observed_RVs)
        start = model.initial_point()
        before = compiled(start)
        self.replaced(model)
        spec = nb.MixtureSpec(2).resolve(EXPOSED)
        expected = nb.build_model(self.new, spec)
        assert compiled(start) != before
        assert compiled(start) == pytest.approx(
            expected.compile_logp(vars=expected.observed_RVs)(start), rel=1e-10
        )
        np.testing.assert_allclose(
            terms(model, total=False), PARAMS.logpmf(self.new.values, self.new.exposure)
        )

    def test_counts_without_exposures_have_no_density(self):
        model = nb.build_model(EXPOSED, nb.MixtureSpec(2))
        compiled = model.compile_logp()
        with model:
            pm.set_data({"count_data": np.array([0, 7, 2])}, coords={"obs": np.arange(3)})
        assert np.isnan(compiled(model.initial_point()))

    def test_what_are_no_counts_is_refused(self):
        with nb.build_model(EXPOSED, nb.MixtureSpec(2)), pytest.raises(ValueError, match="-1"):
            pm.set_data({"count_data": np.full(EXPOSED.n, -1)})

    @BOTH
    def test_a_copy_has_the_density_of_its_own(self, likelihood):
        """No data follow another model's, so that rows of a copy are not collapsed."""
        model = nb.build_model(EXPOSED, nb.MixtureSpec(2), likelihood)
        copied = model.copy()
        start = model.initial_point()
        assert copied.compile_logp()(start) == pytest.approx(model.compile_logp()(start))
        with copied:
            pm.set_data(
                {"count_data": np.array([0, 7, 2]), "exposure": np.array([1.0, 3.0, 0.5])},
                coords={"obs": np.arange(3)},
            )
        before = model.compile_logp()(start)
        self.replaced(model)
        assert copied.compile_logp()(start) == pytest.approx(model.compile_logp()(start))
        assert model.compile_logp()(start) != before


@pytest.fixture(scope="module")
def extended(crab):
    """The model with a variable of its own, sampled by PyMC and judged by its functions."""
    starts = nb.start_points(crab, nb.MixtureSpec(2), random_seed=1)
    with nb.build_model(crab, nb.MixtureSpec(2), likelihood="fused") as model:
        pm.Deterministic("sd", model["means"] ** 0.5, dims="mixture_component")
        tree = pm.sample(
            1000, tune=1000, chains=4, initvals=starts[0], random_seed=1, progressbar=False
        )
        pm.compute_log_likelihood(tree, progressbar=False)
        pm.sample_posterior_predictive(
            tree, extend_inferencedata=True, random_seed=1, progressbar=False
        )
    return tree


class TestSampledByPymc:
    def test_log_likelihood_is_of_observations(self, extended, crab):
        found = extended["log_likelihood"][crab.variable]
        assert found.dims == ("chain", "draw", "obs")
        draw = extended["posterior"].isel(chain=2, draw=5)
        params = nb.MixtureParams(draw["weights"], draw["means"], draw["dispersions"])
        np.testing.assert_allclose(
            found.isel(chain=2, draw=5), params.logpmf(crab.values), rtol=1e-9
        )

    def test_loo_is_that_of_our_own(self, extended, crab, crab_choice):
        found = az.loo(extended)
        taken = nb.from_datatree(extended, crab)
        assert found.elpd == pytest.approx(nb.loo(taken).elpd, abs=0.01)
        # two modes share these counts, so that chains differ in how long they stay in each
        assert found.elpd == pytest.approx(nb.loo(crab_choice.trees[2]).elpd, abs=0.6)

    def test_predictions_have_the_mean_of_the_posterior(self, extended, crab):
        predicted = extended["posterior_predictive"][crab.variable]
        assert predicted.dims == ("chain", "draw", "obs")
        posterior = extended["posterior"].to_dataset()
        expected = (posterior["weights"] * posterior["means"]).sum("mixture_component")
        gap = (predicted.mean("obs") - expected).values
        assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(gap.size)
        pit = az.loo_pit(extended)[crab.variable]
        assert abs(float(pit.mean()) - 0.5) < 0.1

    def test_data_are_in_the_tree(self, extended, crab):
        np.testing.assert_array_equal(extended["observed_data"][crab.variable], crab.values)
        assert (extended["constant_data"]["exposure"] == 1.0).all()

    def test_what_was_added_keeps_its_component(self, extended, crab):
        taken = nb.from_datatree(extended, crab)
        assert nb.diagnose(taken).components_ok
        np.testing.assert_allclose(taken["posterior"]["sd"] ** 2, taken["posterior"]["means"])
        relabelled = nb.relabel(taken, "order", by="weights")
        np.testing.assert_allclose(
            relabelled["posterior"]["sd"] ** 2, relabelled["posterior"]["means"]
        )


class TestStarts:
    def test_they_are_modes_in_turn(self, crab):
        starts = nb.start_points(crab, nb.MixtureSpec(2), chains=5, random_seed=1)
        assert len(starts) == 5
        assert set(starts[0]) == {"weights", "log_means", "log_dispersions"}
        # crab_satellites has two modes of nearly equal mass
        for name, value in starts[0].items():
            np.testing.assert_array_equal(value, starts[2][name])
            assert not np.allclose(value, starts[1][name])
        model = nb.build_model(crab, nb.MixtureSpec(2))
        spec = nb.MixtureSpec(2).resolve(crab)
        tree = nb.sample(crab, spec, draws=4, tune=50, chains=2, random_seed=1, progressbar=False)
        means = np.exp([start["log_means"] for start in starts[:2]])
        np.testing.assert_allclose(means, tree["modes"]["means"].values[:2], rtol=1e-4)
        assert model.rvs_to_initial_values[model["log_means"]] is None

    def test_of_one_component(self, crab):
        (start,) = nb.start_points(crab, nb.MixtureSpec(1), chains=1, random_seed=1)
        assert set(start) == {"log_means", "log_dispersions"}
        model = nb.build_model(crab, nb.MixtureSpec(1))
        assert np.isfinite(model.compile_logp()(start))

    def test_find_map_leaves_the_saddle(self, crab):
        spec = nb.MixtureSpec(2)
        found = []
        with nb.build_model(crab, spec):
            for start in nb.start_points(crab, spec, chains=2, random_seed=1):
                point = pm.find_MAP(
                    initvals=start, jitter=False, return_inferencedata=True, progressbar=False
                )["posterior"].isel(chain=0, draw=0)
                order = np.argsort(point["means"].values)
                found.append([point[name].values[order] for name in ("weights", "means")])
        # either mode has an estimate of its own, and neither is the saddle of equal components
        for _, means in found:
            assert means[1] > 2.0 * means[0]
        best = nb.fit_map(crab, spec, random_seed=1).params
        weights, means = min(found, key=lambda entry: abs(entry[1][0] - best.means[0]))
        np.testing.assert_allclose(weights, best.weights, rtol=1e-2)
        np.testing.assert_allclose(means, best.means, rtol=1e-2)


class TestDistribution:
    def test_parameters_may_differ_between_observations(self):
        rng = np.random.default_rng(0)
        weights = rng.dirichlet([2.0, 2.0], 5)
        means, dispersions = rng.lognormal(size=(5, 2)), rng.lognormal(size=2)
        exposure, values = rng.uniform(0.5, 2.0, 5), np.array([0, 1, 9, 3, 2])
        variable = NegativeBinomialMixture.dist(
            weights=weights, means=means, dispersions=dispersions, exposure=exposure
        )
        found = pm.logp(variable, values).eval()
        for i in range(5):
            params = nb.MixtureParams(weights[i], means[i], dispersions)
            expected = params.logpmf(values[i : i + 1], exposure[i : i + 1])
            np.testing.assert_allclose(found[i], expected[0], rtol=1e-9)
        assert pm.draw(variable, random_seed=1).shape == (5,)

    def test_draws_have_the_mean_and_variance_of_the_mixture(self):
        variable = NegativeBinomialMixture.dist(
            weights=PARAMS.weights, means=PARAMS.means, dispersions=PARAMS.dispersions, exposure=2.0
        )
        drawn = pm.draw(variable, draws=40_000, random_seed=1)
        means = 2.0 * PARAMS.means
        mean = PARAMS.weights @ means
        second = PARAMS.weights @ (means + (1 + PARAMS.dispersions) * means**2)
        assert abs(drawn.mean() - mean) < 4 * np.sqrt((second - mean**2) / drawn.size)
        assert drawn.var() == pytest.approx(second - mean**2, rel=0.05)

    def test_in_a_model_of_ones_own(self):
        with pm.Model() as model:
            means = pm.LogNormal("means", 0.0, 1.0, shape=2)
            NegativeBinomialMixture(
                "visits",
                weights=np.array([0.5, 0.5]),
                means=means,
                dispersions=np.array([0.1, 1.0]),
                observed=np.array([0, 4, 2]),
            )
        assert model["visits"].ndim == 1
        expected = nb.MixtureParams([0.5, 0.5], [2.0, 3.0], [0.1, 1.0]).logpmf([0, 4, 2])
        found = model.compile_logp(vars=model.observed_RVs, sum=False)(
            {"means_log__": np.log([2.0, 3.0])}
        )[0]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_too_many_observations_for_a_model():
    counts = nb.Counts([0, 3], frequency=[13_000_000, 2])
    with pytest.raises(ValueError, match=r"13000002 observations.*Call sample"):
        nb.build_model(counts, nb.MixtureSpec(1))


def test_counts_beyond_32_bits_stay_what_they_are():
    counts = nb.Counts([0, 2**40])
    model = nb.build_model(counts, nb.MixtureSpec(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model[counts.variable]
        value = model.rvs_to_values[found].eval()
    np.testing.assert_array_equal(value, counts.values)
