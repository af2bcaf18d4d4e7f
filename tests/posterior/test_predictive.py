import numpy as np
import pytest
from scipy import stats

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws, predict_counts, unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.engines import Settings, run_nutpie
from pmnbmix.posterior.frequencies import _above, draw_counts
from pmnbmix.posterior.predictive import log_prior, predictive_groups, prior_draws
from tests.synthetic import scattered


def test_predicted_counts_have_the_moments_of_the_mixture():
    params = nb.MixtureParams([0.3, 0.7], [2.0, 30.0], [0.5, 0.0])
    repeated = Draws(
        *(
            np.broadcast_to(getattr(params, name), (2, 5000, 2))
            for name in ("weights", "means", "dispersions")
        )
    )
    exposure = np.array([1.0, 4.0])
    counts = predict_counts(repeated, exposure, np.random.default_rng(0))
    assert counts.shape == (2, 5000, 2)
    for i, scale in enumerate(exposure):
        means = scale * params.means
        mean = params.weights @ means
        second = params.weights @ (means + (1 + params.dispersions) * means**2)
        sample = counts[..., i].ravel()
        error = np.sqrt((second - mean**2) / sample.size)
        assert abs(sample.mean() - mean) < 4 * error
        assert sample.var() == pytest.approx(second - mean**2, rel=0.05)


def test_log_prior_is_scipys(crab_choice, crab):
    tree, spec = crab_choice.trees[3], nb.MixtureSpec(3).resolve(crab)
    draw = tree["posterior"].to_dataset().isel(chain=2, draw=11)
    found = tree["log_prior"].to_dataset().isel(chain=2, draw=11)
    np.testing.assert_allclose(
        found["weights"], stats.dirichlet.logpdf(draw["weights"].values, [2.0, 2.0, 2.0])
    )
    expected = stats.norm.logpdf(np.log(draw["means"]), spec.log_means.loc, 2.0)
    np.testing.assert_allclose(found["means"], expected)
    np.testing.assert_allclose(
        found["dispersions"], stats.norm.logpdf(np.log(draw["dispersions"]), 0.0, 2.0)
    )


def test_prior_draws_follow_the_priors(crab):
    spec = nb.MixtureSpec(2).resolve(crab)
    draws = prior_draws(spec, 4000, np.random.default_rng(1))
    for sample, law in (
        (np.log(draws.means[0, :, 0]), stats.norm(spec.log_means.loc, 2.0)),
        (np.log(draws.dispersions[0, :, 1]), stats.norm(0.0, 2.0)),
        (draws.weights[0, :, 0], stats.beta(2.0, 2.0)),
    ):
        assert stats.kstest(sample, law.cdf).pvalue > 1e-3
    assert log_prior(draws, spec)["weights"].shape == (1, 4000)


def test_posterior_predictive_mean_is_that_of_the_posterior(crab_choice, crab):
    tree = crab_choice.trees[2]
    predicted = tree["posterior_predictive"][crab.name]
    posterior = tree["posterior"].to_dataset()
    expected = (posterior["weights"] * posterior["means"]).sum("mixture_component")
    # one predicted data set scatters around its own mean by the spread of 173 counts
    gap = (predicted.mean("obs") - expected).values
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(gap.size)


def test_many_rows_are_predicted_as_tables(doctor_tree, doctor_visits):
    table = doctor_tree["posterior_predictive_table"].to_dataset()
    assert "posterior_predictive" not in doctor_tree.children
    assert (table["times"].sum("value") == doctor_visits.n).all()
    zeros = table["times"].sel(value=0).values.ravel()
    observed = (doctor_visits.values == 0).sum()
    assert abs(zeros.mean() - observed) < 4 * zeros.std()


@pytest.mark.parametrize("digits", [1, 12], ids=["shared", "each its own"])
def test_tables_with_exposures_have_the_mean_of_the_counts(digits):
    """Counts that share exposures are multinomial, others are drawn one by one."""
    rng = np.random.default_rng(0)
    exposure = rng.lognormal(0, 0.5, 15_000)
    values, _ = nb.MixtureParams([1.0], [3.0], [0.2]).sample(15_000, rng, exposure)
    counts = nb.Counts(values, np.round(exposure, digits) + 0.1)
    tree = nb.sample(
        counts, nb.MixtureSpec(1), draws=900, tune=200, chains=4, random_seed=1, progressbar=False
    )
    table = tree["posterior_predictive_table"].to_dataset()
    assert (table["times"].sum("value") == 15_000).all()
    mean = (table["times"] * table["value"]).sum("value") / 15_000
    assert float(mean.mean()) == pytest.approx(counts.values.mean(), rel=0.05)


def test_a_billion_observations_of_three_rows_take_no_memory():
    """They were drawn one by one, in 7 GB."""
    counts = nb.Counts([0, 1, 4], exposure=[1, 2, 3], frequency=[10**9, 500, 20])
    params = nb.MixtureParams([1.0], [0.5], [0.2])
    draws = scattered([params] * 2, n_draws=20, spread=1e-9)
    groups = predictive_groups(
        counts, nb.MixtureSpec(1).resolve(counts), draws, np.random.default_rng(0)
    )
    times = groups["posterior_predictive_table"]["times"]
    assert (times.sum("value") == counts.n).all()
    share = np.exp(params.logpmf([0, 1])) * 1e9
    found = times.sel(value=[0, 1]).mean(("chain", "draw"))
    # of 500 and 20 observations with other exposures no more than these can differ
    assert np.all(np.abs(found - share) < 520 + 4 * np.sqrt(share / 40))


class TestCountsOfOneExposureDrawnAtOnce:
    params = nb.MixtureParams([0.3, 0.7], [2.0, 30.0], [0.5, 2.0])
    draws = scattered([params] * 2, n_draws=100, spread=1e-9)

    @pytest.mark.parametrize("largest", [300, 20, 1], ids=["all below", "some above", "most above"])
    def test_they_follow_the_mixture_whatever_is_drawn_fast(self, largest):
        """Those above the value up to which they are drawn fast come from the same tail."""
        counts = draw_counts(self.draws, 1.5, 200, largest, np.random.default_rng(0))
        assert counts.shape == (2, 100, 200)
        values = np.arange(12)
        expected = np.diff(self.params.cdf(10 * values, np.full(12, 1.5)), prepend=0, append=1)
        found = np.bincount(np.digitize(counts.ravel(), 10 * values, right=True), minlength=13)
        assert stats.chisquare(found, expected * counts.size).pvalue > 1e-3

    def test_the_order_of_observations_means_nothing(self):
        counts = draw_counts(self.draws, 1.0, 200, 300, np.random.default_rng(0))
        half = counts[..., :100].mean() - counts[..., 100:].mean()
        assert abs(half) < 4 * counts.std() / np.sqrt(counts.size / 4)

    def test_a_count_above_a_tail_that_has_nearly_no_mass(self):
        """Given 400 or more, an ordinary count is little more; 1 minus this tail is 1."""
        params = nb.MixtureParams([1.0], [2.0], [1e-3])
        few = scattered([params], n_draws=1000, spread=1e-9)
        arrays = (getattr(few, name)[0] for name in ("weights", "means", "dispersions"))
        high = _above(*arrays, 40, np.random.default_rng(0))
        law = stats.nbinom(1000, 1000 / 1002)
        assert law.sf(39) < 1e-35
        assert np.mean(high == 40) == pytest.approx(law.pmf(40) / law.sf(39), abs=0.03)
        assert high.min() == 40


def test_observations_of_several_exposures_have_their_own_means():
    exposure = np.tile([1.0, 5.0], 200)
    values, _ = nb.MixtureParams([1.0], [3.0], [0.1]).sample(400, 1, exposure)
    draws = scattered([nb.MixtureParams([1.0], [3.0], [0.1])] * 2, n_draws=50, spread=1e-9)
    counts = nb.Counts(values, exposure)
    spec = nb.MixtureSpec(1).resolve(counts)
    predicted = predictive_groups(counts, spec, draws, np.random.default_rng(0))
    mean = predicted["posterior_predictive"]["count"].mean(("chain", "draw"))
    np.testing.assert_allclose(mean, 3.0 * exposure, rtol=0.35)
    assert mean[::2].mean() == pytest.approx(3.0, rel=0.02)
    assert mean[1::2].mean() == pytest.approx(15.0, rel=0.02)


def test_too_many_predictions_are_replicates_with_the_draw_of_each():
    rng = np.random.default_rng(2)
    counts = nb.Counts(rng.poisson(3.0, 4000), rng.uniform(0.5, 2.0, 4000))
    draws = scattered([nb.MixtureParams([1.0], [2.4], [0.1])] * 4, n_draws=1000, spread=1e-9)
    groups = predictive_groups(counts, nb.MixtureSpec(1).resolve(counts), draws, rng)
    predicted = groups["posterior_predictive"]
    assert predicted["count"].dims == ("replicate", "obs")
    assert predicted.sizes["replicate"] == 4 * 62
    labels = {(int(c), int(d)) for c, d in zip(*_labels(predicted), strict=True)}
    assert len(labels) == 4 * 62
    assert {c for c, _ in labels} == {0, 1, 2, 3}
    assert (0, 0) in labels
    assert (3, 999) in labels


def _labels(predicted):
    return predicted["replicate_chain"].values, predicted["replicate_draw"].values


def test_tables_of_large_counts_stay_small():
    counts = nb.simulate_droplets(2000, random_seed=1)
    tree = nb.sample(
        counts, nb.MixtureSpec(1), draws=400, tune=200, chains=2, random_seed=1, progressbar=False
    )
    for name, child in tree.children.items():
        assert child.to_dataset().nbytes <= 1.05e8, name


def test_priors_wider_than_floats_are_drawn_from_and_predict(crab):
    wide = nb.NormalPrior(0.0, 1e6)
    spec = nb.MixtureSpec(3, nb.DirichletPrior(0.001), wide, wide)
    draws = prior_draws(spec, 500, np.random.default_rng(0))
    for array in (draws.weights, draws.means, draws.dispersions):
        assert np.isfinite(array).all()
    predicted = predict_counts(draws, np.array([1e-100, 1.0, 1e100]), np.random.default_rng(1))
    assert predicted.min() == 0
    assert predicted.max() >= 2**51


def test_draws_beyond_floats_stay_parameters_with_a_log_prior():
    """NUTS walks there under a wide prior, or a concentration near 0."""
    draws = unpack(np.array([[[-1e5, 1e5, 900.0, -900.0, 0.0, -1e6, 1e6, 0.0]]]))
    spec = nb.MixtureSpec(3, nb.DirichletPrior(0.001), nb.NormalPrior(0.0, 1e6))
    for array in (draws.weights, draws.means, draws.dispersions):
        assert np.isfinite(array).all()
        assert (array > 0.0).all()
    for variable in log_prior(draws, spec).data_vars.values():
        assert np.isfinite(variable).all()


def test_a_dispersion_prior_of_scale_300_can_be_sampled(crab):
    spec = nb.MixtureSpec(1, log_dispersions=nb.NormalPrior(0.0, 300.0))
    tree = nb.sample(crab, spec, draws=20, tune=20, chains=2, random_seed=0, progressbar=False)
    assert np.isfinite(tree["prior"]["dispersions"]).all()
    assert (tree["prior_predictive"][crab.name] >= 0).all()


def test_a_chain_that_cannot_start_is_told_of_without_the_trace_of_the_sampler(crab):
    target = make_target(Problem.of(crab, nb.MixtureSpec(1).resolve(crab)))
    starts, settings = np.full((1, target.size), np.nan), Settings(10, 10, 0.8)
    with pytest.raises(
        RuntimeError, match=r"NUTS failed in chain 0 \(.*nearer to the counts"
    ) as info:
        run_nutpie(target, starts, [1], settings, lambda done, total: None)
    assert "\n" not in str(info.value)
