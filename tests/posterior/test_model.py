import numpy as np
import pymc as pm
import pytest
from pytensor.gradient import NullTypeGradError
from scipy import stats

import pmnbmix as nb

EXPOSED = nb.Counts([0, 3, 5, 5, 40], exposure=[0.2, 1.0, 1.0, 2.0, 9.0], frequency=[3, 1, 2, 1, 1])
PLAIN = nb.load_dataset("crab_satellites")


def exhaustive(value):
    return pytest.param(value, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("counts", [PLAIN, EXPOSED], ids=["plain", "exposed"])
@pytest.mark.parametrize("k", [exhaustive(1), 2, exhaustive(3)])
def test_log_density_is_that_of_the_density_and_the_priors(counts, k):
    spec = nb.MixtureSpec(k).resolve(counts)
    model = nb.build_model(counts, spec)
    names = [value.name for value in model.value_vars]
    log_density = model.compile_logp(jacobian=False)
    rng = np.random.default_rng(k)
    for _ in range(20):
        weights = rng.dirichlet(np.full(k, 2.0))
        log_means = rng.normal(spec.log_means.loc, 2.0, k)
        log_dispersions = rng.normal(0.0, 2.0, k)
        point = {"log_means": log_means, "log_dispersions": log_dispersions}
        expected = stats.norm.logpdf(log_means, spec.log_means.loc, 2.0).sum()
        expected += stats.norm.logpdf(log_dispersions, 0.0, 2.0).sum()
        if k > 1:
            transformed = next(name for name in names if name.startswith("weights"))
            weights_variable = model["weights"]
            transform = model.rvs_to_transforms[weights_variable]
            point[transformed] = transform.forward(weights, *weights_variable.owner.inputs).eval()
            expected += stats.dirichlet.logpdf(weights, np.full(k, 2.0))
        params = nb.MixtureParams(weights, np.exp(log_means), np.exp(log_dispersions))
        rows = params.logpmf(counts.values, counts.exposure)
        expected += rows @ counts.frequency
        assert log_density(point) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("mode", ["NUMBA", exhaustive("FAST_COMPILE")])
@pytest.mark.parametrize("counts", [exhaustive(PLAIN), EXPOSED], ids=["plain", "exposed"])
@pytest.mark.parametrize("k", [exhaustive(1), 2])
def test_the_fused_likelihood_is_the_same_model(counts, k, mode):
    models = [nb.build_model(counts, nb.MixtureSpec(k), word) for word in ("pymc", "fused")]
    rng = np.random.default_rng(k)
    start = models[0].initial_point()
    compiled = [(model.compile_logp(mode=mode), model.compile_dlogp(mode=mode)) for model in models]
    for _ in range(5):
        point = {name: value + rng.normal(size=value.shape) for name, value in start.items()}
        (value, gradient), (fused_value, fused_gradient) = (
            (log_density(point), slope(point)) for log_density, slope in compiled
        )
        assert fused_value == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(fused_gradient, gradient, rtol=1e-8, atol=1e-8)


def test_the_fused_model_refuses_second_derivatives():
    model = nb.build_model(PLAIN, nb.MixtureSpec(1), likelihood="fused")
    with pytest.raises(NullTypeGradError, match="Second derivatives: use build_model"):
        model.compile_d2logp()


@pytest.mark.exhaustive
def test_the_fused_model_can_be_built_upon():
    # both components share their dispersion
    with nb.build_model(PLAIN, nb.MixtureSpec(2), likelihood="fused") as model:
        pm.Potential(
            "shared", -50.0 * (model["log_dispersions"][0] - model["log_dispersions"][1]) ** 2
        )
        trace = pm.sample(100, tune=200, chains=2, random_seed=1, progressbar=False)
    logs = trace["posterior"]["log_dispersions"]
    assert float(abs(logs[..., 0] - logs[..., 1]).max()) < 0.6


def test_flat_priors_are_flat():
    flat = nb.NormalPrior(0.0, float("inf"))
    model = nb.build_model(PLAIN, nb.MixtureSpec(1, log_means=flat, log_dispersions=flat))
    point = {"log_means": np.array([0.7]), "log_dispersions": np.array([0.1])}
    expected = nb.MixtureParams([1.0], np.exp([0.7]), np.exp([0.1])).logpmf(PLAIN.values).sum()
    assert model.compile_logp(jacobian=False)(point) == pytest.approx(expected, rel=1e-8)


def test_prior_draws_have_the_shapes_of_the_model():
    with nb.build_model(PLAIN, nb.MixtureSpec(2)):
        tree = pm.sample_prior_predictive(50, random_seed=1)
    prior, predicted = tree["prior"], tree["prior_predictive"][PLAIN.variable]
    assert prior["weights"].dims == ("chain", "draw", "mixture_component")
    np.testing.assert_allclose(prior["weights"].sum("mixture_component"), 1.0)
    assert predicted.dims == ("chain", "draw", "obs")
    assert predicted.shape == (1, 50, PLAIN.n)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([1, 2], nb.MixtureSpec(2)), TypeError, "list"),
        ((PLAIN, "2"), TypeError, "spec must be a MixtureSpec"),
        ((PLAIN, nb.MixtureSpec(2), "stan"), ValueError, '"pymc"'),
    ],
)
def test_bad_requests(arguments, error, text):
    with pytest.raises(error, match=text):
        nb.build_model(*arguments)
