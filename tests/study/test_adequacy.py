import math

import numpy as np
import pytest
import xarray as xr

import pmnbmix as nb
from pmnbmix.study.adequacy import Adequacy, judge_adequacy

TWO = nb.MixtureParams([0.6, 0.4], [2.0, 25.0], [0.3, 0.1])


def test_one_component_does_not_describe_two():
    counts = nb.Counts(TWO.sample(300, random_seed=0)[0])
    judged = judge_adequacy(nb.fit_em(counts, 1, random_seed=1))
    assert judged.verdict == "not described"
    assert judged.p_value == 0.01
    assert judged.reach > judged.limit
    assert judged.sentence.startswith("The mixture does not describe the counts (goodness of fit")


def test_right_fits_are_rejected_as_rarely_as_it_says():
    """Of 40 right fits, 2 are expected at p <= 0.05; more than 7 has probability 0.001."""
    p_values = []
    for seed in range(40):
        counts = nb.Counts(nb.MixtureParams([1.0], [6.0], [0.4]).sample(200, random_seed=seed)[0])
        p_values.append(judge_adequacy(nb.fit_em(counts, 1, random_seed=1)).p_value)
    assert sum(p <= 0.05 for p in p_values) <= 7
    assert min(p_values) < 0.5 < max(p_values)


def test_samples_stand_for_more_counts_and_exposures_than_are_drawn():
    rng = np.random.default_rng(3)
    exposure = rng.lognormal(0.0, 0.4, 3000)
    counts = nb.Counts(TWO.sample(3000, rng, exposure)[0], exposure)
    assert judge_adequacy(nb.fit_em(counts, 1, random_seed=1)).verdict == "not described"
    assert judge_adequacy(nb.fit_em(counts, 2, random_seed=1)).p_value > 0.05


@pytest.mark.parametrize(
    ("numbers", "verdict", "words"),
    [
        ((0.3, 0.02, 0.04), "described", "The mixture describes the counts (goodness of fit"),
        ((0.03, 0.02, 0.02), "doubtful", "It is doubtful whether"),
        ((0.01, 0.02, 0.01), "not described", "ranks are up to 2.0 % off uniform, by chance up to"),
        # millions of counts show every misfit, also one that moves no rank by a hundredth
        ((0.01, 0.002, 0.001), "doubtful", "by more than chance, but by little"),
        ((math.nan, 0.02, math.nan), "not tested", "was not tested"),
    ],
)
def test_words(numbers, verdict, words):
    judged = Adequacy(*numbers)
    assert judged.verdict == verdict
    assert words in judged.sentence


def test_what_was_stored_is_read_or_refused():
    stored = xr.Dataset({"p_value": 0.01, "reach": 0.1, "limit": 0.05})
    assert Adequacy.of(stored) == Adequacy(0.01, 0.1, 0.05)
    with pytest.raises(ValueError, match="goodness of fit is none"):
        Adequacy.of(stored.assign(reach=1.5))
    with pytest.raises(KeyError):
        Adequacy.of(stored.drop_vars("limit"))
