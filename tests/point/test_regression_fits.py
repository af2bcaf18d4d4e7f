"""Point fits of mixtures of regressions: known optima and estimates, invariances, edges."""

import dataclasses
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pmnbmix as nb
from pmnbmix.point.em import run_em
from pmnbmix.point.level_em import iterate_levels
from pmnbmix.point.newton import climb
from pmnbmix.point.objective import likelihood_objective, pack_point, prior_objective
from tests.regression_models import ESTIMATES, MODELS, REFERENCES, model

# R writes these terms in another way.
R_TERMS = {
    "(Intercept)": "Intercept",
    "log(x+10)": "log(x + 10)",
    "TreatmentYes": "Treatment[T.Yes]",
    "TreatmentYes:log(Day)": "Treatment[T.Yes]:log(Day)",
    "femWomen": "fem[T.Women]",
    "marMarried": "mar[T.Married]",
    "EthN": "Eth[T.N]",
    "SexM": "Sex[T.M]",
    "AgeF1": "Age[T.F1]",
    "AgeF2": "Age[T.F2]",
    "AgeF3": "Age[T.F3]",
    "LrnSL": "Lrn[T.SL]",
}


@cache
def fit_of(name):
    counts, spec = model(name)
    return nb.fit_em(counts, spec, random_seed=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_best_optimum_known_is_reached(name):
    assert fit_of(name).log_likelihood > REFERENCES[name]["log_likelihood"] - 0.01


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in MODELS if model(name)[1].n_components > 1])
def test_the_best_optimum_known_is_reached_by_another_seed(name):
    counts, spec = model(name)
    best = REFERENCES[name]["log_likelihood"]
    assert nb.fit_em(counts, spec, random_seed=1).log_likelihood > best - 0.01


def r_coefficients(name):
    """Estimates and standard errors of a reference, a row each; components in R's order."""
    rows = []
    for term, (estimate, se) in ESTIMATES[name].get("shared_coefficients", {}).items():
        rows.append((-1, "shared", R_TERMS.get(term, term), estimate, se))
    for j, component in enumerate(ESTIMATES[name]["components"]):
        for term, (estimate, se) in component.get("coefficients", {}).items():
            rows.append((j, "means", R_TERMS.get(term, term), estimate, se))
        dispersion = component.get("log_dispersion")
        if dispersion and dispersion[1]:
            rows.append((j, "dispersions", "Intercept", *dispersion))
    return pd.DataFrame(rows, columns=["component", "part", "term", "estimate", "se"])


@pytest.mark.parametrize("name", [name for name in ESTIMATES if name in MODELS])
def test_estimates_and_standard_errors_are_those_of_r(name):
    fit = fit_of(name)
    if fit.is_plain:
        pytest.skip("without covariates the table has means and dispersions themselves")
    ours, theirs = fit.standard_errors(), r_coefficients(name)
    regular = ESTIMATES[name].get("hessian") == "regular"
    if not regular or abs(fit.log_likelihood - REFERENCES[name]["log_likelihood"]) > 0.01:
        pytest.skip("the reference is another optimum, or has no standard errors")
    intercepts = ours[(ours["part"] == "means") & (ours["term"] == "Intercept")]
    for j, rows in theirs.groupby("component"):
        if j >= 0:
            first = rows.loc[rows["term"] == "Intercept", "estimate"].iloc[0]
            nearest = intercepts.iloc[(intercepts["estimate"] - first).abs().argmin()]["component"]
        own = ours[ours["component"].isna() if j < 0 else ours["component"] == nearest]
        for row in rows.itertuples():
            found = own[(own["part"] == row.part) & (own["term"] == row.term)].iloc[0]
            # the reference has five decimals and four digits
            assert found["estimate"] == pytest.approx(row.estimate, rel=1e-3, abs=2e-5)
            assert found["se"] == pytest.approx(row.se, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_agree_with_differences(name):
    counts, spec = model(name)
    objective = prior_objective(counts, spec, sampling_density=False)
    design = objective.problem.design
    noise = np.random.default_rng(0).normal(0.0, 0.3, design.pinned.shape)
    point = design.unpack(design.pack(np.where(np.isnan(design.pinned), noise, design.pinned)))
    packed = design.pack(point)

    def value(at):
        return objective.value(design.unpack(at))

    def gradient(at):
        return design.pull_gradient(objective.derivatives(design.unpack(at))[0])

    def slope(function, h):
        # differences at two steps, from which the first error is taken out
        near, far = (
            (function(packed + size * h) - function(packed - size * h)) / (2 * size)
            for size in (2e-4, 4e-4)
        )
        return (4 * near - far) / 3

    found = design.pull_hessian(objective.derivatives(point)[1])
    for j, h in enumerate(np.eye(packed.size)):
        size = np.abs(gradient(packed)).max()
        assert gradient(packed)[j] == pytest.approx(slope(value, h), rel=1e-7, abs=1e-8 * size)
        np.testing.assert_allclose(
            found[j], slope(gradient, h), rtol=1e-7, atol=1e-8 * np.abs(found).max()
        )


def test_the_general_steps_end_where_those_of_the_plain_model_do():
    objective = likelihood_objective(nb.load_dataset("doctor_visits"), 2, False)
    start = pack_point(nb.MixtureParams([0.7, 0.3], [2.0, 6.0], [1.0, 1.0]))
    plain, _, _ = run_em(objective, start, 20, 0.0)
    general, path, _ = iterate_levels(objective.arrays, start, 20, 0.0)
    assert (np.diff(path) >= 0).all()
    ends = [climb(objective, point) for point in (plain, general)]
    assert ends[0].value == pytest.approx(ends[1].value, abs=1e-8)


def small(n=150, seed=0):
    """Counts of two groups that differ in what a covariate does."""
    rng = np.random.default_rng(seed)
    x, exposure = rng.normal(size=n), rng.lognormal(0.0, 0.4, n)
    first = rng.random(n) < 0.4
    rate = np.exp(np.where(first, 0.2 + 0.8 * x, 2.0 - 0.3 * x))
    values = rng.poisson(exposure * rate * rng.gamma(5.0, 0.2, n))
    return values, exposure, pd.DataFrame({"x": x, "g": np.where(x > 0.3, "high", "low")})


SPEC = nb.MixtureSpec(2, mean_formula="x")


@pytest.fixture(scope="module")
def fit():
    values, exposure, frame = small()
    return nb.fit_em(nb.Counts(values, exposure, covariates=frame), SPEC, random_seed=1)


def estimates_of(fit, part="means"):
    table = fit.coefficients
    table = table[table["part"] == part]
    return table.pivot(index="term", columns="component", values="estimate")


def test_scaled_and_shifted_covariates_give_the_same_fit(fit):
    values, exposure, frame = small()
    moved = frame.assign(x=1000.0 * frame["x"] + 4e5)
    other = nb.fit_em(nb.Counts(values, exposure, covariates=moved), SPEC, random_seed=1)
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-7)
    np.testing.assert_allclose(
        1000.0 * estimates_of(other).loc["x"].to_numpy(float),
        estimates_of(fit).loc["x"].to_numpy(float),
        rtol=1e-4,
    )


def test_rows_may_be_permuted_or_split(fit):
    values, exposure, frame = small()
    order = np.random.default_rng(3).permutation(len(values))
    rows = np.append(order, order[:20])
    times = np.ones(rows.size, int)
    # the first twenty rows are there twice, once with no frequency
    times[-20:] = 0
    counts = nb.Counts(
        values[rows], exposure[rows], times, covariates=frame.iloc[rows].reset_index(drop=True)
    )
    assert nb.fit_em(counts, SPEC, random_seed=1).log_likelihood == pytest.approx(
        fit.log_likelihood, abs=1e-8
    )


def test_scaled_exposures_move_intercepts_only(fit):
    values, exposure, frame = small()
    other = nb.fit_em(nb.Counts(values, 7.0 * exposure, covariates=frame), SPEC, random_seed=1)
    moved = estimates_of(other) - estimates_of(fit)
    np.testing.assert_allclose(moved.loc["Intercept"].to_numpy(float), -np.log(7.0), atol=1e-4)
    np.testing.assert_allclose(moved.loc["x"].to_numpy(float), 0.0, atol=1e-4)


def test_densities_are_those_of_the_parameters_at_each_row(fit):
    frame = pd.DataFrame({"x": [-1.0, 0.5, 2.0]})
    values, exposure = np.array([0, 3, 12]), np.array([1.0, 2.0, 0.5])
    expected = fit.expected_counts(frame, exposure)
    for i in range(3):
        at = fit.params_at({"x": frame["x"][i]})
        one = at.logpmf([values[i]], exposure[i])
        assert fit.logpmf(values, exposure, frame)[i] == pytest.approx(one[0], abs=1e-12)
        mean = exposure[i] * at.means
        size = 1.0 / np.maximum(at.dispersions, 1e-9)
        each = stats.nbinom.logpmf(values[i], size, size / (size + mean))
        each = np.where(at.dispersions > 0, each, stats.poisson.logpmf(values[i], mean))
        assert one[0] == pytest.approx(np.log(at.weights @ np.exp(each)), abs=1e-9)
        np.testing.assert_allclose(
            fit.responsibilities(values, exposure, frame)[i],
            at.responsibilities([values[i]], exposure[i])[0],
            atol=1e-12,
        )
        assert fit.quantile(0.9, exposure, frame)[i] == at.quantile([0.9], exposure[i])[0]
        rates = nb.fit_em(nb.Counts([1, 2, 3]), 1).rates([1])
        assert list(fit.rates(values, exposure, covariates=frame)) == list(rates)
        assert expected["mean"][i] == pytest.approx(exposure[i] * at.weights @ at.means)


def test_drawn_counts_have_the_expected_mean(fit):
    rows = pd.DataFrame({"x": np.full(20_000, 0.7)})
    values, labels = fit.sample(covariates=rows, exposure=np.full(20_000, 2.0), random_seed=1)
    at = fit.params_at({"x": 0.7})
    means, spread = 2.0 * at.means, at.dispersions
    variance = at.weights @ (means + (1 + spread) * means**2) - (at.weights @ means) ** 2
    assert abs(values.mean() - at.weights @ means) < 4 * np.sqrt(variance / 20_000)
    assert abs(labels.mean() - at.weights[1]) < 4 * np.sqrt(0.25 / 20_000)


def test_profile_intervals_end_where_the_deviance_is_its_quantile(fit):
    table = fit.profile_intervals()
    row = table[(table["part"] == "means") & (table["term"] == "x")].iloc[0]
    objective, point = fit._objective, fit._optima[0].point
    scale = objective.problem.design.means.scale[1]
    for end in (row["lower"], row["upper"]):
        held = point.copy()
        held[2, 0] = end * scale
        ended = climb(objective.holding(2, 0), held)
        assert 2 * (fit.log_likelihood - ended.value) == pytest.approx(3.8415, abs=2e-3)
    wald = fit.standard_errors()
    inside = wald["estimate"].between(table["lower"], table["upper"])
    assert inside[wald["part"] == "means"].all()


def test_the_bootstrap_scatters_as_far_as_standard_errors_say(fit):
    scatter = fit.bootstrap(n_boot=60, random_seed=1, n_jobs=1)
    wald = fit.standard_errors()
    slopes = (wald["part"] == "means") & (wald["term"] == "x")
    ratio = scatter.table["se"][slopes] / wald["se"][slopes]
    assert ratio.between(0.6, 1.7).all()
    assert scatter.estimates.shape == (60, len(wald))


def test_a_fit_is_read_back_as_it_was(fit, tmp_path):
    fit.write(tmp_path / "fit.json")
    again = nb.PointFit.read(tmp_path / "fit.json")
    pd.testing.assert_frame_equal(again.standard_errors(), fit.standard_errors())
    pd.testing.assert_frame_equal(again.expected_counts(), fit.expected_counts())
    text = (tmp_path / "fit.json").read_text()
    (tmp_path / "fit.json").write_text(text.replace('"point": [[', '"point": [[0.0, '))
    with pytest.raises(ValueError, match=r"fit\.json: this is not a whole fit"):
        nb.PointFit.read(tmp_path / "fit.json")


def test_one_poisson_regression_has_effects_in_closed_form():
    values, exposure, frame = small()
    spec = nb.MixtureSpec(1, mean_formula="x + g", families="poisson")
    fit = nb.fit_em(nb.Counts(values, exposure, covariates=frame), spec)
    slope = estimates_of(fit)[0]
    table = nb.effects(fit).set_index(["covariate", "component"])
    of_x, of_g = table.loc[("x", 0)], table.loc[("g", 0)]
    assert of_x["ratio"] == pytest.approx(np.exp(slope["x"]))
    assert of_g["change"] == "high to low"
    assert of_g["ratio"] == pytest.approx(np.exp(slope["g[T.low]"]))
    expected = fit.expected_counts(frame)["mean"].mean()
    assert of_x["difference"] == pytest.approx(expected * np.expm1(slope["x"]))
    se = fit.standard_errors().set_index("term")["se"]["x"]
    assert np.log(of_x["ratio_upper"] / of_x["ratio"]) == pytest.approx(1.959964 * se, rel=1e-5)


def test_a_covariate_that_separates_is_named_and_a_prior_holds_it():
    rng = np.random.default_rng(0)
    insured = np.repeat([False, True], 60)
    values = np.where(insured, rng.poisson(4.0, 120), 0)
    counts = nb.Counts(values, covariates={"insured": insured})
    spec = nb.MixtureSpec(1, mean_formula="insured", families="poisson")
    fit = nb.fit_em(counts, spec)
    assert fit.status == "separation"
    flags = fit.standard_errors().set_index("term")["flag"]
    assert flags["insured"].startswith("insured separates the counts")
    held = nb.fit_map(counts, spec)
    assert held.status == "converged"
    assert held.coefficients.set_index("term")["estimate"]["insured"] < 6.0


def test_many_rows_are_searched_on_a_sample_and_finished_on_all():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(7000, 2)), columns=["a", "b"])
    first = rng.random(7000) < 0.4
    rate = np.exp(np.where(first, 0.2 + 0.5 * frame["a"], 1.8 - 0.4 * frame["b"]))
    values = rng.poisson(rate * rng.gamma(4.0, 0.25, 7000))
    fit = nb.fit_em(
        nb.Counts(values, covariates=frame),
        nb.MixtureSpec(2, mean_formula="a + b"),
        random_seed=1,
    )
    table = fit.standard_errors()
    truth = np.array([0.2, 0.5, 0.0, 1.8, 0.0, -0.4])
    means = table[table["part"] == "means"]
    assert (np.abs(means["estimate"] - truth) < 4 * means["se"]).all()
    gradient, _ = fit._objective.derivatives(fit._optima[0].point)
    assert np.abs(gradient).max() < 1e-2


def test_families_are_mixed_and_keep_their_places():
    fit = fit_of("biochemists_zip_full")
    assert fit.params.dispersions[0] == 0.0
    assert fit.params.means[1] == 0.0
    parts = fit.coefficients.groupby("part")["component"].agg(lambda c: sorted(set(c)))
    assert parts["means"] == [0]
    assert parts["weights"] == [0, 1]
    assert "dispersions" not in parts


def test_equal_weights_are_held():
    values, exposure, frame = small()
    counts = nb.Counts(values, exposure, covariates=frame)
    fit = nb.fit_em(counts, SPEC, mixing="equal", random_seed=1)
    np.testing.assert_allclose(fit.params.weights, 0.5)
    assert fit.n_parameters == 6


def test_the_bootstrap_test_finds_that_two_regressions_are_needed():
    values, exposure, frame = small(80)
    test = nb.bootstrap_lrt(
        nb.Counts(values, exposure, covariates=frame),
        spec=dataclasses.replace(SPEC, families="poisson"),
        n_boot=5,
        random_seed=1,
        n_jobs=1,
        progressbar=False,
    )
    assert test.p_value == pytest.approx(1 / 6)


def test_goodness_of_fit_of_a_regression_is_uniform_enough(fit):
    test = nb.goodness_of_fit(fit, n_boot=20, random_seed=1, n_jobs=1, progressbar=False)
    assert test.p_value > 0.05


def test_components_that_may_trade_places_are_said_to():
    rng = np.random.default_rng(1)
    x = np.repeat([0, 1], 100)
    values = rng.poisson(np.where(rng.random(200) < 0.5, 1, 8) * np.exp(0.5 * x))
    counts = nb.Counts(values, covariates={"x": x})
    # two mixtures, one for each x: which component of one goes with which of the other is open
    spec = nb.MixtureSpec(2, mean_formula="x", weight_formula="x", families="poisson")
    fits = [nb.fit_em(counts, spec, random_seed=seed) for seed in (1, 7)]
    assert all(fit.status == "not-identified" for fit in fits)
    pd.testing.assert_frame_equal(fits[0].coefficients, fits[1].coefficients, rtol=1e-4)
    assert fits[0].standard_errors()["flag"].str.startswith("not identified").all()
    # with one weight for both, the weights tell which belong together
    fit = nb.fit_em(counts, dataclasses.replace(spec, weight_formula="1"), random_seed=1)
    assert fit.status == "converged"


def test_a_fit_is_a_start_for_one_component_more(fit):
    values, exposure, frame = small()
    counts = nb.Counts(values, exposure, covariates=frame)
    more = nb.fit_em(counts, SPEC.with_components(3), start=fit, random_seed=1)
    assert more.log_likelihood >= fit.log_likelihood
    again = nb.fit_em(counts, SPEC, start=[fit, fit.params], random_seed=2)
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)
    with pytest.raises(TypeError, match=r"MixtureParams or a PointFit.*got dict"):
        nb.fit_em(counts, SPEC, start={})
