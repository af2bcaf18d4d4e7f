import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.study.thorough import count_modes, occupied_components


@pytest.fixture(scope="module")
def earthquakes():
    counts = nb.load_dataset("earthquakes")
    return nb.choose_components(
        counts, 2, thorough=True, draws=500, random_seed=1, watch=lambda title, done, total: None
    )


def test_one_component_suffices_for_the_earthquakes_by_every_criterion(earthquakes):
    thorough = earthquakes.thorough
    assert earthquakes.chosen == 1
    assert thorough.table["log_evidence"].idxmax() == 1
    assert (thorough.table["mcse"] < 0.1).all()
    assert np.isnan(thorough.table.loc[1, "p_value"])
    assert thorough.table.loc[2, "p_value"] > 0.1
    assert thorough.occupied.idxmax() == 1
    assert thorough.occupied.sum() == pytest.approx(1.0)
    assert thorough.occupied_ok
    for words in (
        "Evidence, which depends on the priors, is highest for 1",
        "finds no need for more than 1",
        "1 component is occupied most often",
        "Modes of the fitted distributions: 1 (K=1)",
    ):
        assert words in " ".join(earthquakes.reasons)


def test_nothing_of_it_is_done_unasked(crab_choice):
    assert crab_choice.thorough is None


def test_occupied_components_of_two_clusters():
    truth = nb.MixtureParams([0.5, 0.5], [3.0, 60.0], [0.1, 0.1])
    counts = nb.Counts(truth.sample(150, random_seed=0)[0])
    spec = nb.MixtureSpec().resolve(counts)
    occupied, ok = occupied_components(counts, spec, 3, np.random.default_rng(1))
    assert ok
    assert occupied[1] == 0.0
    assert occupied.idxmax() == 2


@pytest.mark.parametrize(
    ("params", "number"),
    [
        (nb.MixtureParams([1.0], [5.0], [0.1]), 1),
        (nb.MixtureParams([0.5, 0.5], [3.0, 60.0], [0.1, 0.1]), 2),
        (nb.MixtureParams([0.5, 0.5], [5.0, 5.5], [0.1, 0.1]), 1),
        # a Poisson of whole mean has two equal probabilities at its top
        (nb.MixtureParams([1.0], [4.0], [0.0]), 1),
        (nb.MixtureParams([1.0], [0.2], [1.0]), 1),
    ],
)
def test_modes_of_a_distribution(params, number):
    assert count_modes(params, 200) == number


def test_an_interrupt_costs_only_the_other_criteria(crab):
    def interrupt(title, done, total):
        if "evidence" in title:
            raise KeyboardInterrupt

    choice = nb.choose_components(
        crab, 1, thorough=True, draws=300, random_seed=0, watch=interrupt
    )  # fmt: skip
    assert choice.chosen == 1
    assert choice.thorough is None
    assert "Interrupted before the other criteria" in choice.reasons[-1]
