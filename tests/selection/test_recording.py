"""Traces of how counts were recorded, on counts made so that what is right is known."""

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.selection.recording import recording_marks
from pmnbmix.tree.writing import assemble

LAW = nb.MixtureParams([0.5, 0.5], [4.0, 30.0], [0.3, 0.2])


def marks(values, law=LAW, exposure=None):
    arrays = (np.tile(array, (2, 10, 1)) for array in (law.weights, law.means, law.dispersions))
    return recording_marks(assemble(nb.Counts(values, exposure), Draws(*arrays), {}))


@pytest.mark.parametrize("seed", range(5))
def test_counts_as_they_are_have_none(seed):
    rng = np.random.default_rng(seed)
    exposure = rng.lognormal(0.0, 0.5, 800)
    assert marks(LAW.sample(800, rng)[0]) == ()
    assert marks(LAW.sample(800, rng, exposure)[0], exposure=exposure) == ()


def test_no_zeros_where_many_are_expected():
    law = nb.MixtureParams([1.0], [2.0], [0.5])
    values = law.sample(400, random_seed=0)[0]
    (said,) = marks(values[values > 0], law)
    expected = (values > 0).sum() * np.exp(law.logpmf([0])[0])
    assert said.startswith(f"No count is 0, where the fit expects {expected:.0f}")
    (said,) = marks(values[values > 1], law)
    assert said.startswith("No count is below 2")
    # where hardly a zero is expected, none is no news
    far = nb.MixtureParams([1.0], [60.0], [0.01])
    assert marks(far.sample(300, random_seed=0)[0], far) == ()


def test_a_heap_at_the_largest_value_is_no_long_tail():
    values = LAW.sample(600, random_seed=0)[0]
    (said,) = marks(np.minimum(values, 30))
    assert said.startswith(f"{(values >= 30).sum()} counts are 30, the largest value")
    assert "top-coded" in said
    assert marks(np.append(values, 150)) == ()


@pytest.mark.parametrize("step", [5, 10])
def test_rounded_counts(step):
    rng = np.random.default_rng(step)
    values = LAW.sample(900, rng)[0]
    rounded = np.where(rng.random(900) < 0.6, step * np.round(values / step), values).astype(int)
    said = " ".join(marks(rounded))
    assert f"multiples of {step}" in said
