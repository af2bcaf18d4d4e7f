"""The Stan twin: its recorded numbers replayed, for which Stan itself is not needed."""

import hashlib
import json

import arviz as az
import numpy as np
import pytest
from pymc.model.transform.conditioning import remove_value_transforms
from scipy import special

import pmnbmix as nb
from pmnbmix.mixture.kernel import LADDER, ROWS
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.point.objective import pack_point, prior_objective
from tests.conftest import ROOT

FOLDER = ROOT / "models"
RECORD = json.loads((FOLDER / "reference" / "stan.json").read_text(encoding="utf-8"))
CASES = [
    pytest.param(case, id=f"{case['data']}-{case['n_components']}") for case in RECORD["cases"]
]
# Differences found are at most 5e-15, 5e-11 and, of PyMC's distributions, which lose digits to
# cancellation near Poisson, 2e-10.
VALUE, GRADIENT, PYMC = 1e-12, 1e-9, 1e-8


def data_of(case):
    data = RECORD["data"][case["data"]]
    return nb.Counts(data["x"], exposure=data["exposure"], frequency=data["frequency"])


def spec_of(case):
    prior = case["prior"]
    return nb.MixtureSpec(
        case["n_components"],
        nb.DirichletPrior(prior["concentration"]),
        nb.NormalPrior(prior["log_mean_loc"], prior["log_mean_scale"]),
        nb.NormalPrior(prior["log_dispersion_loc"], prior["log_dispersion_scale"]),
    )


def points_of(case):
    names = ("weights", "log_means", "log_dispersions")
    return zip(*(np.array(case[name]) for name in names), strict=True)


def params_of(weights, log_means, log_dispersions):
    return nb.MixtureParams(weights, np.exp(log_means), np.exp(log_dispersions))


def constants(spec):
    """Logarithm of the constants of the priors, which the compiled target leaves out."""
    k, a = spec.n_components, spec.weights.concentration
    total = special.gammaln(k * a) - k * special.gammaln(a) - k * np.log(2 * np.pi)
    return total - k * np.log(spec.log_means.scale * spec.log_dispersions.scale)


def test_the_record_is_complete():
    cases = {(case["data"], case["n_components"]) for case in RECORD["cases"]}
    assert cases == {(name, k) for name in ("crab_satellites", "exposed") for k in (1, 2, 3)}
    for case in RECORD["cases"]:
        assert len(case["log_density"]) == len(case["gradient"]) == 50
        assert len(case["weights"]) == 50


def test_the_numbers_are_those_of_the_program_as_it_stands():
    program = (FOLDER / "mixture.stan").read_text(encoding="utf-8")
    # where this fails, run models/generate.py again
    assert hashlib.sha256(program.encode()).hexdigest() == RECORD["sha256_of_program"]


def priors_of(spec):
    """Concentration of the weights, and centre and scale of the two logarithms."""
    of_means, of_dispersions = spec.log_means, spec.log_dispersions
    return (
        spec.weights.concentration,
        (of_means.loc, of_means.scale),
        (of_dispersions.loc, of_dispersions.scale),
    )


def test_counts_and_default_priors_are_those_of_the_package(crab):
    case = RECORD["cases"][0]
    table = data_of(case).table
    np.testing.assert_array_equal(table.values, crab.table.values)
    np.testing.assert_array_equal(table.frequency, crab.table.frequency)
    for one in (case, RECORD["posterior"]):
        resolved = nb.MixtureSpec(one["n_components"]).resolve(data_of(one))
        for stated, expected in zip(priors_of(spec_of(one)), priors_of(resolved), strict=True):
            np.testing.assert_allclose(stated, expected, rtol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_log_density_of_the_pymc_model(case):
    # on the weights themselves: the record has no Jacobian, and neither has this
    log_density = remove_value_transforms(
        nb.build_model(data_of(case), spec_of(case))
    ).compile_logp()
    found = []
    for weights, log_means, log_dispersions in points_of(case):
        point = {"log_means": log_means, "log_dispersions": log_dispersions}
        found.append(log_density(point if weights.size == 1 else {"weights": weights, **point}))
    np.testing.assert_allclose(found, case["log_density"], rtol=PYMC)


@pytest.mark.parametrize("case", CASES)
def test_log_density_of_parameters_and_priors(case):
    counts, spec = data_of(case), spec_of(case)
    found = [
        counts.frequency @ params_of(*point).logpmf(counts.values, counts.exposure)
        + float(spec.weights.log_density(point[0]))
        + spec.log_means.log_density(point[1]).sum()
        + spec.log_dispersions.log_density(point[2]).sum()
        for point in points_of(case)
    ]
    np.testing.assert_allclose(found, case["log_density"], rtol=VALUE)


@pytest.mark.parametrize(
    ("case", "sampling_density"),
    [
        pytest.param(*case.values, sampling, id=f"{case.id}-{'modes' if sampling else 'map'}")
        for case in CASES
        for sampling in (True, False)
        # below a concentration of 1 there is no MAP
        if sampling or case.values[0]["prior"]["concentration"] >= 1
    ],
)
def test_log_density_that_point_estimates_and_modes_climb(case, sampling_density):
    objective = prior_objective(data_of(case), spec_of(case), sampling_density)
    found = []
    for point in points_of(case):
        jacobian = np.log(point[0]).sum() if sampling_density else 0.0
        found.append(objective.value(pack_point(params_of(*point))) - jacobian)
    np.testing.assert_allclose(found, case["log_density"], rtol=VALUE)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(*case.values, form, id=f"{case.id}-{name}")
        for case in CASES
        for name, form in (("ladder", LADDER), ("rows", ROWS))
        # the ladder is for counts without exposures
        if form == ROWS or case.values[0]["data"] != "exposed"
    ],
)
def test_log_density_and_gradient_of_the_compiled_target(case, form):
    spec = spec_of(case)
    k = spec.n_components
    target = make_target(Problem.of(data_of(case), spec), form=form)
    # log weights less their average are Stan's coordinates times the basis, so our log ratios are
    # those coordinates times the basis less its last column: a constant matrix, by which gradients
    # are turned into each other, and through which no Jacobian comes in
    basis = np.array(case["simplex_basis"]).reshape(k - 1, k)
    turn = basis[:, :-1] - basis[:, -1:]
    found, gradients = [], []
    for weights, log_means, log_dispersions in points_of(case):
        log_weights = np.log(weights)
        position = np.concatenate([log_weights[:-1] - log_weights[-1], log_means, log_dispersions])
        value, gradient = target.log_density(position)
        # the Jacobian of the log ratios is the product of the weights
        found.append(value + constants(spec) - log_weights.sum())
        gradients.append(np.concatenate([turn @ gradient[: k - 1], gradient[k - 1 :]]))
    np.testing.assert_allclose(found, case["log_density"], rtol=VALUE)
    expected = np.array(case["gradient"])
    # an entry can be near 0 where the others are not
    size = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(gradients / size, expected / size, rtol=0, atol=GRADIENT)


@pytest.fixture(scope="module")
def scores():
    """Differences from Stan's posterior summaries in combined Monte Carlo errors, by what of."""
    record = RECORD["posterior"]
    tree = nb.sample(data_of(record), spec_of(record), draws=2000, random_seed=1, progressbar=False)
    posterior = tree["posterior"].to_dataset()
    order = posterior["means"].argsort(axis=-1)
    out = {}
    for name, stan in record["summary"].items():
        if name == "weights":
            variable = posterior["weights"]
        else:
            variable = np.log(posterior[name.removeprefix("log_")])
        # by mean in each draw, as Stan's were
        one = variable.copy(data=np.take_along_axis(variable.values, order.values, axis=-1))
        one = one.to_dataset(name="x")
        for moment, value in (
            ("mean", one["x"].mean(("chain", "draw"))),
            ("sd", one["x"].std(("chain", "draw"), ddof=1)),
        ):
            error = az.mcse(one, method=moment)["x"].values
            gap = value.values - np.array(stan[moment])
            combined = np.hypot(error, stan[f"mcse_{moment}"])
            for j, score in enumerate((gap / combined).tolist()):
                out[f"{moment} of {name}[{j}]"] = score
    return out


def test_posterior_of_stans_own_sampler(scores):
    # of 12 comparisons (10 that can differ, for the weights sum to 1), one in forty such tests
    # would have a score above 3 by chance; above 3.5 it is one in two hundred
    assert len(scores) == 12
    assert max(abs(score) for score in scores.values()) < 3.5, scores


def test_stans_own_checks_held():
    checks = RECORD["posterior"]["checks"]
    assert checks["divergences"] == 0
    assert checks["draws_with_swapped_labels"] == 0
    assert checks["largest_r_hat"] < 1.01
