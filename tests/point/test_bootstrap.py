import json

import numpy as np
import pytest
from scipy import stats

import pmnbmix as nb
from pmnbmix.point import bootstrap as bootstrap_module


@pytest.fixture(scope="module")
def fit():
    truth = nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2])
    return nb.fit_em(nb.Counts(truth.sample(800, random_seed=8)[0]), 2, random_seed=0)


@pytest.mark.parametrize("kind", ["parametric", "nonparametric"])
def test_both_kinds_agree_with_wald_where_components_are_separated(fit, kind):
    replicates = fit.bootstrap(n_boot=150, kind=kind, random_seed=1, n_jobs=1)
    wald = fit.standard_errors()
    # 150 replicates know a standard deviation to 6 %; the sandwich is what row draws estimate
    np.testing.assert_allclose(replicates.table["se"] / wald["se"], 1.0, atol=0.3)
    assert (replicates.table["flag"] == "").all()
    assert replicates.complete
    assert replicates.estimates.shape == (150, 3, 2)
    np.testing.assert_allclose(replicates.estimates[:, 0].sum(axis=1), 1.0)


def test_replicates_are_matched_to_the_components_of_the_fit():
    # equal means: sorted by mean alone, half the replicates would come out swapped
    truth = nb.MixtureParams([0.5, 0.5], [20.0, 20.0], [2.0, 0.0])
    fit = nb.fit_em(nb.Counts(truth.sample(3000, random_seed=1)[0]), 2, random_seed=0)
    wide = int(fit.params.dispersions.argmax())
    dispersions = fit.bootstrap(n_boot=40, random_seed=2, n_jobs=1).estimates[:, 2]
    assert (dispersions[:, wide] > 5 * dispersions[:, 1 - wide]).all()


def test_the_edge_is_marked_inconsistent(crab):
    table = nb.fit_em(crab, 2, random_seed=0).bootstrap(n_boot=20, random_seed=1, n_jobs=1).table
    assert "inconsistent" in table.loc["dispersions[0]", "flag"]
    assert "profile_intervals" in table.loc["dispersions[0]", "flag"]


def test_exposures_are_kept():
    rng = np.random.default_rng(3)
    exposure = np.exp(rng.normal(0, 1, 300))
    truth = nb.MixtureParams([1.0], [4.0], [0.5])
    fit = nb.fit_em(nb.Counts(truth.sample(300, rng, exposure)[0], exposure), 1)
    table = fit.bootstrap(n_boot=60, random_seed=0, n_jobs=1).table
    wald = fit.standard_errors()
    assert table.loc["means[0]", "se"] == pytest.approx(wald.loc["means[0]", "se"], rel=0.4)


@pytest.mark.exhaustive
def test_results_do_not_depend_on_the_number_of_processes(fit):
    one = fit.bootstrap(n_boot=4, random_seed=5, n_jobs=1).estimates
    np.testing.assert_array_equal(fit.bootstrap(n_boot=4, random_seed=5, n_jobs=2).estimates, one)
    assert not np.array_equal(fit.bootstrap(n_boot=4, random_seed=6, n_jobs=1).estimates, one)


def test_likelihood_ratio_rejects_one_component_for_two_and_not_two_for_three(fit):
    first = nb.bootstrap_lrt(fit.counts, n_boot=19, random_seed=1, n_jobs=1, progressbar=False)
    assert first.p_value == 1 / 20
    assert first.statistic > 20 * first.null_statistics.max()
    second = nb.bootstrap_lrt(
        fit.counts, null=2, alternative=3, n_boot=19, random_seed=1, n_jobs=1, progressbar=False
    )
    exceeding = (second.null_statistics >= second.statistic).sum()
    assert second.p_value == (1 + exceeding) / 20
    assert second.p_value > 0.05
    # the larger mixture starts from the smaller one, so it is never lower
    assert (second.null_statistics > -1e-6).all()


def test_p_values_are_uniform_under_the_null():
    truth = nb.MixtureParams([1.0], [6.0], [0.5])
    p_values = [
        nb.bootstrap_lrt(
            nb.Counts(truth.sample(80, random_seed=seed)[0]),
            n_boot=9,
            random_seed=seed,
            n_jobs=1,
            progressbar=False,
        ).p_value
        for seed in range(40)
    ]
    # p takes the values 1/10 to 10/10, each with probability a tenth
    below = np.array([np.mean(np.array(p_values) <= level) for level in (0.1, 0.5, 0.9)])
    for share, level in zip(below, (0.1, 0.5, 0.9), strict=True):
        assert stats.binomtest(round(40 * share), 40, level).pvalue > 1e-3


def test_an_interrupted_test_goes_on_from_what_is_done(crab, monkeypatch, caplog):
    options = {"random_seed": 4, "n_jobs": 1, "progressbar": False}
    whole = nb.bootstrap_lrt(crab, n_boot=8, **options)
    ratio = bootstrap_module._ratio
    calls = []

    def interrupted(fits):
        calls.append(fits)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return ratio(fits)

    monkeypatch.setattr(bootstrap_module, "_ratio", interrupted)
    part = nb.bootstrap_lrt(crab, n_boot=8, **options)
    assert not part.complete
    assert part.null_statistics.size == 3
    assert "keeping 3 of 8" in caplog.text
    monkeypatch.setattr(bootstrap_module, "_ratio", ratio)
    rest = nb.bootstrap_lrt(crab, n_boot=8, resume=part, **options)
    assert rest.complete
    np.testing.assert_array_equal(rest.null_statistics, whole.null_statistics)
    with pytest.raises(ValueError, match="resume is a test of 1 against 2"):
        nb.bootstrap_lrt(nb.load_dataset("red_mites"), n_boot=8, resume=part, **options)


def test_bad_arguments_say_what_was_found(crab):
    fit = nb.fit_em(crab, 1)
    with pytest.raises(ValueError, match="alternative must be larger than null; got null=2"):
        nb.bootstrap_lrt(crab, null=2, alternative=2)
    for n_boot in (0, 1, 2.5, True, "9"):
        with pytest.raises((TypeError, ValueError), match="n_boot must be a whole number of 2"):
            nb.bootstrap_lrt(crab, n_boot=n_boot)
        with pytest.raises((TypeError, ValueError), match="n_boot must be a whole number of 2"):
            fit.bootstrap(n_boot=n_boot)
    with pytest.raises(ValueError, match='kind must be "parametric" or "nonparametric"'):
        fit.bootstrap(n_boot=9, kind="jackknife")
    with pytest.raises(ValueError, match="its posterior does"):
        nb.fit_map(crab, nb.MixtureSpec(1)).bootstrap(n_boot=9)
    with pytest.raises(TypeError, match="counts must be a Counts"):
        nb.bootstrap_lrt([1, 2, 3])


def test_ratios_that_differ_by_rounding_are_equal():
    # without overdispersion the second component adds nothing, in the data and in most replicates
    test = nb.bootstrap_lrt(
        nb.Counts([0, 1], frequency=[85, 30]),
        n_boot=19,
        random_seed=0,
        n_jobs=1,
        progressbar=False,
    )
    assert test.statistic == pytest.approx(0.0, abs=1e-6)
    assert test.p_value == 1.0


def test_more_counts_than_can_be_drawn_are_refused():
    fit = nb.fit_em(nb.Counts([0, 1, 2, 5], frequency=[10**9, 10**8, 10**7, 10**6]), 1)
    with pytest.raises(ValueError, match="cannot be drawn again"):
        fit.bootstrap(n_boot=2, random_seed=0)
    assert fit.bootstrap(n_boot=2, kind="nonparametric", random_seed=0, n_jobs=1).complete


@pytest.mark.parametrize("n_jobs", [0, -1, 1.5, True])
def test_a_number_of_processes_is_checked(crab, n_jobs):
    with pytest.raises((TypeError, ValueError), match="n_jobs must be"):
        nb.bootstrap_lrt(crab, n_boot=5, n_jobs=n_jobs)
    with pytest.raises(TypeError, match="resume must be a BootstrapTest; got str"):
        nb.bootstrap_lrt(crab, n_boot=5, resume="x")


def test_replicates_in_a_file_are_gone_on_from(crab, tmp_path):
    file = tmp_path / "test.json"
    options = {"n_jobs": 1, "progressbar": False}
    whole = nb.bootstrap_lrt(crab, n_boot=8, random_seed=1, **options)
    part = nb.bootstrap_lrt(crab, n_boot=3, random_seed=1, file=file, **options)
    again = nb.bootstrap_lrt(crab, n_boot=8, random_seed=99, file=file, **options)
    assert part.null_statistics.tolist() == whole.null_statistics[:3].tolist()
    assert again.null_statistics.tolist() == whole.null_statistics.tolist()
    # fewer are asked for: those that are there stay
    assert nb.bootstrap_lrt(crab, n_boot=2, file=file, **options).null_statistics.size == 2
    assert nb.BootstrapTest.read(file).null_statistics.tolist() == whole.null_statistics.tolist()
    with pytest.raises(ValueError, match=r"test.json is a test of 1 against 2 components with"):
        nb.bootstrap_lrt(nb.load_dataset("red_mites"), n_boot=8, file=file, **options)
    with pytest.raises(ValueError, match="resume or file, not both"):
        nb.bootstrap_lrt(crab, n_boot=8, file=file, resume=part, **options)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("null_statistics", [1.0, "a"], "no whole test"),
        ("null_statistics", [[1.0]], "statistics of"),
        ("null_statistics", [0.5] * 9, "9"),
        ("statistic", None, "no whole test"),
        ("n_boot", -3, "0 or above"),
        ("entropy", 0.5, "whole numbers"),
        ("format", "another", "no pmnbmix bootstrap test"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, name, value, said):
    file = tmp_path / "test.json"
    nb.BootstrapTest(1, 2, 3.0, np.array([0.5, 1.0]), 4, 7).write(file)
    data = json.loads(file.read_text())
    data[name] = value
    file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=said):
        nb.BootstrapTest.read(file)


def test_a_place_that_cannot_be_written_to_is_known_before_the_work(crab, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap_module, "collect", None)
    with pytest.raises(ValueError, match="cannot write test"):
        nb.bootstrap_lrt(crab, n_boot=10**7, file=tmp_path / "none" / "test.json")


def test_integers_of_numpy_are_written_too(tmp_path):
    file = tmp_path / "test.json"
    counts = nb.Counts([0, 1, 1, 2, 3, 5, 8, 13])
    options = {"random_seed": 1, "n_jobs": 1, "progressbar": False}
    found = nb.bootstrap_lrt(counts, n_boot=np.int64(2), file=file, **options)
    assert found.complete
    assert nb.BootstrapTest.read(file).n_boot == 2
    whole = np.int64([1, 2, 4, 7])
    nb.BootstrapTest(*whole[:2], np.float64(3.0), np.array([0.5]), *whole[2:]).write(file)
    assert nb.BootstrapTest.read(file).entropy == 7


def test_a_file_of_other_counts_is_refused_though_the_statistic_is_the_same(tmp_path):
    # one component fits counts that hardly vary, so that the ratio is 0 but for rounding
    options = {"n_boot": 2, "random_seed": 1, "n_jobs": 1, "progressbar": False}
    one, other = nb.Counts([3, 3, 4, 4, 3]), nb.Counts([7, 7, 8, 8, 7])
    file = tmp_path / "test.json"
    first = nb.bootstrap_lrt(one, file=file, **options)
    second = nb.bootstrap_lrt(other, **options)
    assert [first.statistic, second.statistic] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert nb.BootstrapTest.read(file).digest_of_counts == one.digest
    with pytest.raises(ValueError, match="is a test of other counts"):
        nb.bootstrap_lrt(other, file=file, **options)
    with pytest.raises(ValueError, match="resume is a test of other counts"):
        nb.bootstrap_lrt(other, resume=first, **options)
    assert nb.bootstrap_lrt(one, file=file, **options).p_value == first.p_value
