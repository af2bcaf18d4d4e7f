import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.tree.writing import assemble
from tests.synthetic import LOWER, TRUTH, scattered


@pytest.fixture(scope="module")
def separated():
    """5,000 counts of two components far apart, where EM and NUTS must agree."""
    truth = nb.MixtureParams([0.4, 0.6], [3.0, 60.0], [0.3, 0.2])
    counts = nb.Counts(truth.sample(5000, random_seed=6)[0])
    spec = nb.MixtureSpec(2)
    return nb.compare_estimates(
        em=nb.fit_em(counts, 2, random_seed=0),
        map=nb.fit_map(counts, spec, random_seed=0),
        nuts=nb.sample(counts, spec, random_seed=0, progressbar=False),
    )


def test_separated_components_agree(separated):
    assert list(separated.index) == [
        f"{name}[{j}]" for name in ("weights", "means", "dispersions") for j in range(2)
    ]
    assert (separated["em_difference"].abs() < 0.1).all()
    assert (separated["map_difference"].abs() < 0.1).all()
    np.testing.assert_allclose(separated["em_se"], separated["nuts_sd"], rtol=0.1)
    assert (separated["flag"] == "").all()
    inside = (separated["nuts_lower"] < separated["nuts_median"]) & (
        separated["nuts_median"] < separated["nuts_upper"]
    )
    assert inside.all()


def test_differences_are_in_posterior_standard_deviations(separated):
    expected = (separated["em"] - separated["nuts_mean"]) / separated["nuts_sd"]
    np.testing.assert_allclose(separated["em_difference"], expected)


def test_a_poisson_limit_and_a_heavy_tail_are_flagged(crab_choice):
    table = crab_choice.fits[2].estimates
    assert "Poisson limit" in table.loc["dispersions[0]", "flag"]
    assert "heavy tail" in table.loc["dispersions[0]", "flag"]
    assert "heavy tail" not in table.loc["means[1]", "flag"]
    assert "em: another optimum" in table.loc["means[1]", "flag"]


def test_components_that_cannot_be_told_apart_flag_every_row():
    """Chains agree on them, since relabelling makes them agree."""
    overlapping = nb.MixtureParams([0.5, 0.5], [8.0, 16.0], [0.2, 0.2])
    counts = nb.Counts(overlapping.sample(200, random_seed=1)[0])
    tree = nb.sample(counts, nb.MixtureSpec(2), draws=500, random_seed=0, progressbar=False)
    diagnosis = nb.diagnose(tree)
    assert diagnosis.components_ok
    for known in (None, diagnosis):
        flags = nb.compare_estimates(nuts=tree, diagnosis=known)["flag"]
        assert flags.str.contains("weak labels").all()


def test_components_are_matched_and_not_only_sorted():
    """EM puts the wide component first, by a hair; the posterior puts it last."""
    counts = nb.Counts([1, 2, 3])
    wide_first = nb.MixtureParams([0.3, 0.7], [4.99, 5.01], [2.0, 0.1])
    wide_last = nb.MixtureParams([0.7, 0.3], [4.98, 5.02], [0.1, 2.0])
    point = assemble(counts, scattered([wide_first], n_draws=1, spread=0.0), {})
    draws = scattered([wide_last] * 4, spread=0.01)
    # labels kept as they are, for the counts say nothing about them here
    nuts = nb.relabel(assemble(counts, draws, {}), method="order", by="dispersions")
    table = nb.compare_estimates(em=point, nuts=nuts)
    both = table.loc[["dispersions[0]", "dispersions[1]"], ["em", "nuts_mean"]]
    np.testing.assert_allclose(both["em"], both["nuts_mean"], rtol=0.05)


def test_any_subset(crab_choice):
    em, map_, tree = crab_choice.em[2], crab_choice.map[2], crab_choice.trees[2]
    assert "nuts_mean" not in nb.compare_estimates(em=em, map=map_)
    assert "em" not in nb.compare_estimates(nuts=tree)
    assert list(nb.compare_estimates(map=map_.to_datatree())["map"]) == list(
        nb.compare_estimates(map=map_)["map"]
    )


def test_chains_that_disagree_flag_every_row():
    counts = nb.Counts(TRUTH.sample(300, random_seed=2)[0])
    stuck = assemble(counts, scattered([TRUTH, TRUTH, TRUTH, LOWER]), {})
    table = nb.compare_estimates(nuts=stuck)
    assert table["flag"].str.contains("density gate failed").all()


def test_a_parameter_that_never_varies_has_no_difference():
    counts = nb.Counts([1, 2, 3])
    one = nb.MixtureParams([1.0], [2.0], [0.5])
    fixed = Draws(np.ones((2, 8, 1)), np.full((2, 8, 1), 2.0), np.full((2, 8, 1), 0.5))
    table = nb.compare_estimates(
        em=assemble(counts, scattered([one], n_draws=1, spread=0.0), {}),
        nuts=assemble(counts, fixed, {}),
    )
    np.testing.assert_array_equal(table["em_difference"], 0.0)


def test_bad_requests(crab_choice):
    with pytest.raises(ValueError, match="nothing to compare"):
        nb.compare_estimates()
    with pytest.raises(TypeError, match="em must be"):
        nb.compare_estimates(em=3)
    with pytest.raises(ValueError, match="differ"):
        nb.compare_estimates(em=crab_choice.em[1], nuts=crab_choice.trees[2])


def test_fits_of_different_counts_are_refused(crab, crab_choice):
    em = nb.fit_em(nb.load_dataset("earthquakes"), 2, random_seed=0)
    with pytest.raises(ValueError, match="em and nuts are of different counts: n observations 107"):
        nb.compare_estimates(em=em, nuts=crab_choice.trees[2])


def test_counts_whose_sums_agree_are_told_apart_by_their_rows():
    """60 observations, 3 distinct, the same sum: four sums saw no difference."""
    em = nb.fit_em(nb.Counts([1, 5, 6] * 20), 1)
    others = nb.Counts([2, 4, 6] * 20)
    map_ = nb.fit_map(others, nb.MixtureSpec(1), random_seed=0)
    nuts = assemble(others, scattered([nb.MixtureParams([1.0], [4.0], [0.1])] * 2), {})
    text = "em and {} are of different counts: count 1{} comes 20 times in em, 0 times in {}"
    for arguments, at in (
        ({"em": em, "map": map_}, " at exposure 1"),
        ({"em": em.to_datatree(), "map": map_}, ""),
        ({"em": em, "nuts": nuts}, " at exposure 1"),
        ({"em": em.to_datatree(), "nuts": nuts}, ""),
    ):
        other = list(arguments)[1]
        with pytest.raises(ValueError, match=text.format(other, at, other)):
            nb.compare_estimates(**arguments)
    same = nb.compare_estimates(map=map_.to_datatree(), nuts=nuts)
    assert {"map", "nuts_mean"} <= set(same.columns)


def test_a_diagnosis_that_is_none_is_refused(crab_choice):
    with pytest.raises(TypeError, match="diagnosis must be what diagnose"):
        nb.compare_estimates(nuts=crab_choice.trees[2], diagnosis="a")
