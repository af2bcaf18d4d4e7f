"""NUTS against quadrature, and against long runs of the pm.Model by PyMC's own sampler."""

import json

import arviz as az
import numpy as np
import pytest
import xarray as xr

import pmnbmix as nb
from pmnbmix.posterior import attempts
from pmnbmix.posterior.engines import Chains, _worth_keeping
from tests.conftest import ROOT

PARAMETERS = ("weights", "means", "dispersions")


# A dozen quantities are compared, so that the largest of them is often near 3 standard errors.
LIMIT = 3.5


def within_monte_carlo_error(tree, expected, transform=lambda values: values):
    """Compare mean and sd of every parameter, each in combined Monte Carlo standard errors."""
    posterior = transform(tree["posterior"].to_dataset())
    for name in PARAMETERS:
        one = posterior[[name]]
        found = {
            "mean": one[name].mean(("chain", "draw")).values,
            "sd": one[name].std(("chain", "draw"), ddof=1).values,
        }
        for what, values in found.items():
            error = az.mcse(one, method=what)[name].values
            other = expected[name]
            difference = np.abs(values - np.array(other[what]))
            combined = np.hypot(error, np.array(other[f"mcse_{what}"]))
            assert (difference <= LIMIT * combined).all(), (name, what, difference / combined)


@pytest.mark.parametrize("name", ["crab_satellites", "doctor_visits"])
def test_posterior_equals_a_long_run_of_pymcs_own_sampler(name, crab_choice, doctor_tree):
    record = json.loads((ROOT / "models" / "reference" / f"{name}_K2.json").read_text())
    assert record["checks"]["density_ok"]
    assert record["checks"]["components_ok"]
    tree = crab_choice.trees[2] if name == "crab_satellites" else doctor_tree
    logs = {name: record["summary"][f"log_{name}"] for name in PARAMETERS}
    within_monte_carlo_error(tree, logs, np.log)
    if name == "doctor_visits":
        # on crab_satellites the moments of component 0 hang on one draw in ten thousand, and no
        # Monte Carlo standard error of a short run knows of it
        within_monte_carlo_error(tree, record["summary"])


@pytest.mark.parametrize("name", ["crab_satellites", "doctor_visits"])
def test_both_gates_hold_and_nearly_nothing_diverges(name, crab_choice, doctor_tree):
    tree = crab_choice.trees[2] if name == "crab_satellites" else doctor_tree
    diagnosis = nb.diagnose(tree)
    assert diagnosis.density_ok
    assert diagnosis.components_ok
    assert tree["sample_stats"]["diverging"].mean() <= 1e-3


def test_one_component_equals_quadrature(crab, crab_choice):
    """Posterior moments of (log mean, log dispersion) by a sum over a fine grid."""
    spec = nb.MixtureSpec(1).resolve(crab)
    log_means, log_dispersions = np.linspace(0.5, 1.7, 241), np.linspace(-1.2, 1.6, 281)
    table = crab.table
    log_density = np.array(
        [
            [
                nb.MixtureParams([1.0], [np.exp(a)], [np.exp(b)]).logpmf(table.values)
                @ table.frequency
                - 0.5 * ((a - spec.log_means.loc) / 2) ** 2
                - 0.5 * (b / 2) ** 2
                for b in log_dispersions
            ]
            for a in log_means
        ]
    )
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    assert max(mass[0].sum(), mass[-1].sum(), mass[:, 0].sum(), mass[:, -1].sum()) < 1e-6
    posterior = crab_choice.trees[1]["posterior"].to_dataset()
    for name, grid, weights in (
        ("means", log_means, mass.sum(1)),
        ("dispersions", log_dispersions, mass.sum(0)),
    ):
        one = np.log(posterior[[name]])
        mean = grid @ weights
        sd = np.sqrt((grid - mean) ** 2 @ weights)
        found_mean, found_sd = float(one[name].mean()), float(one[name].std())
        assert abs(found_mean - mean) < 4 * float(az.mcse(one, method="mean")[name].item())
        assert abs(found_sd - sd) < 4 * float(az.mcse(one, method="sd")[name].item())


@pytest.fixture(scope="module")
def short(crab):
    def run(seed, **other):
        return nb.sample(
            crab,
            nb.MixtureSpec(2),
            draws=50,
            tune=100,
            chains=2,
            random_seed=seed,
            progressbar=False,
            **other,
        )

    return run


def test_the_same_seed_gives_the_same_draws(short):
    one, same, other = short(3), short(3), short(4)
    for name in one.children:
        assert one[name].to_dataset().equals(same[name].to_dataset()), name
    assert not np.array_equal(one["posterior"]["means"], other["posterior"]["means"])


def test_what_was_done_is_in_the_attributes(short, crab_choice):
    tree = short(3, target_accept=0.85)
    assert tree.attrs["tune"] == 100
    assert tree.attrs["target_accept"] == 0.85
    assert tree.attrs["attempts"] == 1
    spec = nb.MixtureSpec.from_dict(json.loads(crab_choice.trees[2].attrs["spec"]))
    assert spec == nb.MixtureSpec(2).resolve(crab_choice.counts)


def test_an_attempt_that_fails_is_repeated_and_told_of(crab):
    tree = nb.sample(crab, nb.MixtureSpec(2), draws=210, chains=2, random_seed=1, progressbar=False)
    assert tree.attrs["attempts"] == 2
    assert tree.attrs["thinned_from"] == 1680
    assert "tune 1000" in tree.attrs["failed_attempts"]
    assert tree["posterior"].sizes["draw"] == tree["sample_stats"].sizes["draw"] == 210
    assert tree.attrs["n_sampled"] == 2 * 1680


def test_chains_that_agree_go_on_and_no_attempt_failed(crab, monkeypatch):
    """As if each component were to have ten times the effective draws."""
    monkeypatch.setattr(attempts, "_WORTH", 10.0)
    totals = []
    tree = nb.sample(
        crab,
        nb.MixtureSpec(2),
        random_seed=1,
        on_draw=lambda done, total: totals.append(total),
    )
    assert tree.attrs["attempts"] == 1
    assert tree.attrs["failed_attempts"] == ""
    assert tree.attrs["extensions"] == 1
    assert "tune 1000" in tree.attrs["extended_because"]
    assert tree.attrs["thinned_from"] == 8000
    assert tree.attrs["n_sampled"] == 4 * 8000
    assert set(totals) == {4 * (1000 + 4000)}
    for group in ("posterior", "sample_stats"):
        np.testing.assert_array_equal(tree[group]["draw"], np.arange(1000))
    record = json.loads((ROOT / "models" / "reference" / "crab_satellites_K2.json").read_text())
    logs = {name: record["summary"][f"log_{name}"] for name in PARAMETERS}
    within_monte_carlo_error(tree, logs, np.log)


def test_longer_chains_hold_what_was_there_before():
    def chains(first, n):
        stats = xr.Dataset(
            {"energy": (("chain", "draw"), np.full((2, n), float(first)))},
            coords={"chain": [0, 1], "draw": np.arange(n)},
        )
        packed = first + np.arange(2.0 * n).reshape(2, n, 1)
        return Chains(packed, stats, "engine", [0, 1], True)

    both = chains(0, 3).followed_by(chains(100, 2))
    np.testing.assert_array_equal(both.packed[..., 0], [[0, 1, 2, 100, 101], [3, 4, 5, 102, 103]])
    np.testing.assert_array_equal(both.stats["energy"][1], [0, 0, 0, 100, 100])
    np.testing.assert_array_equal(both.stats["draw"], np.arange(5))


def test_the_built_in_sets_need_no_second_run(crab_choice, doctor_tree):
    for tree in (*crab_choice.trees.values(), doctor_tree):
        assert (tree.attrs["attempts"], tree.attrs["extensions"]) == (1, 0)


@pytest.mark.parametrize("request_", [{"chains": 1, "draws": 50}, {"chains": 2, "draws": 20}])
def test_what_no_gate_can_pass_is_not_tried_again(crab, request_):
    tree = nb.sample(crab, nb.MixtureSpec(1), random_seed=1, progressbar=False, **request_)
    assert tree.attrs["attempts"] == 1


def test_thinning_keeps_divergences_and_whole_blocks():
    diverging = np.zeros((2, 11), dtype=bool)
    diverging[0, 1] = diverging[1, 10] = True
    energy = np.random.default_rng(0).normal(size=(2, 11)).cumsum(-1)
    stats = xr.Dataset(
        {
            "diverging": (("chain", "draw"), diverging),
            "n_steps": (("chain", "draw"), np.full((2, 11), 3)),
            "energy": (("chain", "draw"), energy),
        }
    )
    packed = np.arange(22.0).reshape(2, 11, 1)
    few = Chains(packed, stats, "engine", [0, 1], True).thinned(4)
    np.testing.assert_array_equal(few.packed[..., 0], [[3, 7], [14, 18]])
    # a divergence between kept draws counts; one after the last whole block is cut off with it
    np.testing.assert_array_equal(few.stats["diverging"], [[True, False], [False, False]])
    np.testing.assert_array_equal(few.stats["n_steps"], 12)
    np.testing.assert_array_equal(few.stats["energy"], energy[:, [3, 7]])
    # of all draws, since thinned ones change by more from one to the next
    change, scatter = np.square(np.diff(energy)).mean(-1), energy.var(-1)
    np.testing.assert_allclose(few.stats["e_bfmi"], change / scatter, rtol=0.15)


@pytest.mark.exhaustive
def test_pymcs_sampler_gives_the_same_groups(short):
    ours, theirs = short(1), short(1, engine="pymc")
    assert theirs.attrs["engine"].startswith("pymc")
    assert set(ours.children) == set(theirs.children)
    for name in ours.children:
        if name not in ("sample_stats", "modes"):
            assert ours[name].sizes == theirs[name].sizes
    assert "diverging" in theirs["sample_stats"]


def test_progress_reaches_the_total(crab):
    seen = []
    nb.sample(
        crab,
        nb.MixtureSpec(1),
        draws=50,
        tune=50,
        chains=2,
        random_seed=1,
        on_draw=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (200, 200)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_interrupted_chains_that_are_complete_are_kept(crab, caplog):
    def interrupt(done, total):
        if done >= 0.6 * total:
            raise KeyboardInterrupt

    tree = nb.sample(
        crab,
        nb.MixtureSpec(2),
        draws=400,
        tune=400,
        chains=4,
        random_seed=1,
        on_draw=interrupt,
    )
    assert tree.attrs["interrupted"] == 1
    sizes = tree["posterior"].sizes
    assert sizes["chain"] >= 2
    assert 400 * sizes["chain"] >= sizes["chain"] * sizes["draw"] >= 4
    assert tree["sample_stats"].sizes["draw"] == sizes["draw"]
    assert "interrupted" in caplog.text


def test_of_interrupted_chains_those_that_make_the_most_draws_are_kept():
    def chain(draws):
        return xr.DataTree.from_dict(
            {"posterior": xr.Dataset({"packed": ("draw", np.zeros(draws))})}
        )

    def kept(*lengths):
        found = _worth_keeping({i: chain(length) for i, length in enumerate(lengths)})
        return {i: trace["posterior"].sizes["draw"] for i, trace in found.items()}

    assert kept(1000, 1000, 300, 250) == {0: 1000, 1: 1000}
    assert kept(1000, 900, 800) == {0: 800, 1: 800, 2: 800}
    assert kept(1000) == kept() == kept(1000, 3) == {}


def test_an_interrupted_repetition_gives_what_came_before(crab, caplog):
    runs = [0]

    def interrupt(done, total):
        if done < runs[-1]:
            runs.append(done)
        runs[-1] = done
        if len(runs) > 1 and done > 0.8 * total:
            raise KeyboardInterrupt

    tree = nb.sample(crab, nb.MixtureSpec(2), draws=110, chains=4, random_seed=1, on_draw=interrupt)
    # although the chains of the repetition had draws by then
    assert tree.attrs["repetition_interrupted"] == 1
    assert tree.attrs["attempts"] == 1
    assert tree["posterior"].sizes["draw"] == 110
    assert "plain coordinates" in tree.attrs["failed_attempts"]
    assert "the attempt before" in caplog.text


def test_interrupts_at_any_time_keep_or_raise_but_nothing_else(crab):
    for place in range(12):
        reports = []

        def interrupt(done, total, place=place, reports=reports):
            reports.append(done)
            if len(reports) > place:
                raise KeyboardInterrupt

        try:
            tree = nb.sample(crab, nb.MixtureSpec(1), draws=1500, random_seed=1, on_draw=interrupt)
        except KeyboardInterrupt:
            continue
        assert tree["posterior"].sizes["chain"] >= 2
        # a run that was over before its turn to be interrupted came is complete
        assert tree.attrs["interrupted"] == (len(reports) > place)


def test_interrupted_too_early_is_an_interrupt(crab):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nb.sample(
            crab,
            nb.MixtureSpec(1),
            tune=10_000_000,
            random_seed=1,
            on_draw=interrupt,
        )


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"counts": [1, 2]}, TypeError, "Counts"),
        ({"spec": "2"}, TypeError, "MixtureSpec"),
        ({"draws": 0}, ValueError, "draws must be a whole number of 4"),
        ({"draws": 10.5}, TypeError, "draws must be a whole number"),
        ({"chains": 0}, ValueError, "chains"),
        ({"random_seed": -1}, ValueError, "random_seed must be 0 or above; got -1"),
        ({"random_seed": "a"}, TypeError, "random_seed must be an integer or a numpy"),
        ({"tune": -1}, ValueError, "tune"),
        ({"engine": "stan"}, ValueError, '"nutpie" or "pymc"'),
        ({"target_accept": 1.0}, ValueError, "between 0 and 1"),
        (
            {"spec": nb.MixtureSpec(2, log_means=nb.NormalPrior(0.0, float("inf")))},
            ValueError,
            "proper",
        ),
    ],
)
def test_bad_requests(crab, arguments, error, text):
    with pytest.raises(error, match=text):
        nb.sample(**{"counts": crab, "spec": nb.MixtureSpec(2), **arguments})
