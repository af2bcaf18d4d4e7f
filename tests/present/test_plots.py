"""What figures say, read back from their axes; how they look is judged by eye."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.present import plots
from pmnbmix.tree.writing import assemble
from tests.synthetic import scattered


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_fit_shows_observed_and_expected_frequencies(crab_choice, crab):
    ax = nb.plots.plot_fit(crab_choice.trees[2])
    bars = [patch.get_height() for patch in ax.patches]
    np.testing.assert_array_equal(bars, np.bincount(crab.values))
    drawn = lines(ax)
    mixture = drawn["expected"].get_ydata()
    parts = sum(line.get_ydata() for label, line in drawn.items() if label.startswith("component"))
    np.testing.assert_allclose(mixture, parts)
    assert mixture.sum() == pytest.approx(173, abs=2)
    predicted = crab_choice.trees[2]["posterior_predictive"][crab.name].values
    np.testing.assert_allclose(mixture[0], (predicted == 0).sum(-1).mean(), rtol=0.05)


def test_fit_bins_large_counts_and_averages_exposures():
    rng = np.random.default_rng(0)
    exposure = rng.lognormal(0.0, 0.6, 900)
    params = nb.MixtureParams([0.5, 0.5], [20.0, 900.0], [0.2, 0.1])
    counts = nb.Counts(params.sample(900, rng, exposure)[0], exposure)
    tree = assemble(counts, scattered([params] * 2, n_draws=50), {})
    ax = nb.plots.plot_fit(tree)
    assert ax.get_xscale() == "symlog"
    assert "averaged over exposures" in ax.get_title()
    steps = ax.patches[0].get_data()
    # areas, as the axis shows them, are observations; all lie in the bins, and the expectation
    # nearly so
    places = np.column_stack([steps.edges, np.zeros(steps.edges.size)])
    decade = np.diff(ax.transData.transform([[10.0, 0.0], [100.0, 0.0]])[:, 0])
    widths = np.diff(ax.transData.transform(places)[:, 0]) / decade
    assert ax.get_yscale() == "linear"
    assert ax.get_xlabel().endswith("(logarithmic scale)")
    assert ax.get_ylabel() == "observations per factor of 10"
    mixture = lines(ax)["expected"].get_ydata() * widths
    assert mixture.sum() == pytest.approx(900, rel=0.02)
    observed = steps.values * widths
    assert observed.sum() == pytest.approx(900)
    assert np.abs(mixture - observed).sum() < 0.35 * 900


def test_heights_that_are_square_roots_say_so(crab_choice):
    counts = nb.Counts([0, 1, 2, 3, 9], frequency=[900, 30, 20, 10, 8])
    tree = assemble(counts, scattered([nb.MixtureParams([1.0], [0.3], [4.0])] * 2, n_draws=5), {})
    assert nb.plots.plot_fit(tree).get_ylabel() == "observations (square root scale)"
    assert nb.plots.plot_fit(crab_choice.trees[2]).get_ylabel() == "observations"


def test_a_point_fit_is_drawn_as_it_is_without_a_band(crab):
    em = nb.fit_em(crab, 2, random_seed=1)
    drawn = lines(nb.plots.plot_fit(em))
    exact = 173 * np.exp(em.logpmf(np.arange(16)))
    np.testing.assert_allclose(drawn["expected"].get_ydata(), exact, rtol=1e-9)
    assert "component 0 (39%)" in drawn
    assert "its central 95 %" not in nb.plots.plot_fit(em).get_legend_handles_labels()[1]
    assert len(nb.plots.plot_components(em).get_lines()) == 2
    with pytest.raises(TypeError, match=r"a fit must be a DataTree.*or a PointFit.*got list"):
        nb.plots.plot_fit([1, 2])


def test_many_components_are_drawn_so_that_they_can_be_read():
    """Twenty-one components ended in a limit of forty panels after the sampling was done."""
    k = 21
    params = nb.MixtureParams(np.full(k, 1 / k), np.arange(1.0, k + 1), np.full(k, 0.1))
    counts = nb.Counts(params.sample(300, random_seed=0)[0])
    tree = assemble(counts, scattered([params] * 2, n_draws=20), {})
    tree = nb.relabel(tree, method="order", by="means")
    styles = {
        (line.get_color(), line.get_linestyle())
        for label, line in lines(nb.plots.plot_fit(tree)).items()
        if label.startswith("component")
    }
    assert len(styles) == k
    axes = nb.plots.plot_chains(tree)
    assert axes[2].images[0].get_array().shape == (k, 40)
    figure = nb.plots.plot_relabelling(tree).viz["figure"].item()
    assert len(figure.axes) == 2 * k


def test_figures_are_drawn_where_one_asks(crab_choice):
    _, ax = plt.subplots()
    assert nb.plots.plot_fit(crab_choice.trees[2], ax=ax) is ax
    assert nb.plots.plot_elpd(crab_choice, ax=ax) is ax
    _, axes = plt.subplots(1, 3)
    fitted = crab_choice.fits[2]
    assert nb.plots.plot_estimates(fitted.tree, fitted.estimates, axes=axes) is axes
    _, four = plt.subplots(4, 1)
    assert nb.plots.plot_chains(fitted.tree, axes=four) is four


def test_estimates_carry_their_marks(crab_choice):
    fitted = crab_choice.fits[2]
    axes = nb.plots.plot_estimates(fitted.tree, fitted.estimates)
    marks = {
        round(float(line.get_xdata()[0]), 4)
        for line in axes[1].get_lines()
        if line.get_marker() in ("^", "o")
    }
    expected = {
        round(float(fitted.estimates.loc[f"means[{j}]", method]), 4)
        for j in range(2)
        for method in ("em", "map")
    }
    assert marks == expected
    # the Poisson limit cannot stand on a log axis: it is marked at its left edge
    assert any(line.get_marker() == "<" for line in axes[2].get_lines())


def test_one_component_has_no_weight_to_draw(crab_choice):
    fitted = crab_choice.fits[1]
    axes = nb.plots.plot_estimates(fitted.tree, fitted.estimates)
    assert "weight 1" in axes[0].texts[0].get_text()


def test_elpd_marks_chosen_and_refused(crab_choice):
    import dataclasses

    ax = nb.plots.plot_elpd(crab_choice)
    assert {"chosen: 2", "best: 2"} < set(ax.get_legend_handles_labels()[1])
    table = crab_choice.table.copy()
    table.loc[3, ["density_ok", "plausible"]] = False
    ax = nb.plots.plot_elpd(dataclasses.replace(crab_choice, table=table))
    assert "not assessed: density gate failed" in ax.get_legend_handles_labels()[1]
    table["density_ok"] = False
    none = dataclasses.replace(crab_choice, table=table, chosen=None, best=None)
    assert len(nb.plots.plot_elpd(none).get_lines()) == 1


def test_chains_are_laid_side_by_side(crab_choice):
    axes = nb.plots.plot_chains(crab_choice.trees[2])
    assert [line.get_xdata().size for line in axes[1].get_lines()[:2]] == [4000, 4000]
    assert axes[2].get_yscale() == "log"
    labels = [label.get_text() for label in axes[3].get_xticklabels()]
    assert labels == ["chain 0", "chain 1", "chain 2", "chain 3"]


def test_bins_of_a_linear_axis_have_one_whole_width():
    counts = nb.Counts(np.random.default_rng(0).poisson(400, 400))
    ax = plots.plot_fit(
        nb.sample(counts, nb.MixtureSpec(1), draws=20, tune=50, chains=2, progressbar=False)
    )
    edges = next(patch for patch in ax.patches if hasattr(patch, "get_data")).get_data().edges
    widths = np.unique(np.diff(edges))
    assert widths.size == 1
    assert widths[0] == int(widths[0])


def test_a_name_with_dollars_is_text(tmp_path):
    counts = nb.Counts([1, 4, 7, 2], name="$x_{1$ count")
    tree = nb.sample(counts, nb.MixtureSpec(1), draws=20, tune=50, chains=2, progressbar=False)
    ax = plots.plot_fit(tree)
    ax.figure.savefig(tmp_path / "fit.png")
    assert "$" in ax.get_xlabel()


def test_criteria_are_losses_from_the_best(crab_choice):
    axes = nb.plots.plot_criteria(crab_choice)
    assert [ax.get_title() for ax in axes] == ["elpd (LOO)", "BIC / 2", "AIC / 2", "ICL / 2"]
    table = crab_choice.table
    np.testing.assert_allclose(axes[0].get_lines()[0].get_ydata(), -table["elpd_diff"])
    bic = 0.5 * (table["bic"] - table["bic"].min())
    np.testing.assert_allclose(axes[1].get_lines()[0].get_ydata(), bic)
    with pytest.raises(ValueError, match="there are 4 criteria and 2 axes"):
        nb.plots.plot_criteria(crab_choice, axes[:2])


def test_criteria_that_no_posterior_has_are_said_to_be_missing(crab_choice):
    table = crab_choice.table.assign(elpd_diff=np.nan)
    axes = nb.plots.plot_criteria(replace(crab_choice, table=table, chosen=None))
    assert [text.get_text().split()[0] for text in axes[0].texts] == ["not"]
    assert not any(ax.texts for ax in axes[1:])


def test_rootogram_hangs_what_was_observed_from_what_is_expected(crab_choice, crab):
    ax = nb.plots.plot_rootogram(crab_choice.trees[2])
    expected = lines(ax)["expected"].get_ydata()
    bars = [patch for patch in ax.patches if patch.get_width() == 0.85]
    tops = [bar.get_y() + bar.get_height() for bar in bars]
    np.testing.assert_allclose(tops, expected)
    observed = np.array([bar.get_height() for bar in bars]) ** 2
    np.testing.assert_allclose(observed, np.bincount(crab.values), atol=1e-12)


def test_rootogram_of_many_observations_has_the_differences_alone(doctor_tree, doctor_visits):
    ax = nb.plots.plot_rootogram(doctor_tree)
    assert "expected" not in lines(ax)
    # the bar at 0: expected minus observed, in square roots
    zero = ax.patches[0]
    ends = {zero.get_y(), zero.get_y() + zero.get_height()}
    assert 0.0 in np.round(list(ends), 12)
    assert abs(zero.get_height()) < 3.0


def test_ranks_stay_within_the_band_where_the_mixture_fits_and_leave_it_where_not(crab_choice):
    reach = {}
    for k in (1, 2):
        ax = nb.plots.plot_loo_pit(crab_choice.trees[k])
        drawn = lines(ax)["observations"]
        assert drawn.get_ydata()[[0, -1]] == pytest.approx([0.0, 0.0], abs=1e-9)
        band = ax.patches[0].get_height() / 2
        reach[k] = np.abs(drawn.get_ydata()).max() / band
    assert reach[1] > 1.0
    assert reach[2] < 0.5
