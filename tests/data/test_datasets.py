import csv

import numpy as np
import pytest

import pmnbmix as nb
from tests.conftest import REFERENCE

# name: published number of observations, total count
PUBLISHED = {
    "crab_satellites": (173, 505),
    "earthquakes": (107, 2072),
    "death_notices": (1096, 2364),
    "simar_claims": (9461, 2028),
    "red_mites": (150, 172),
    "fetal_lamb": (240, 86),
    "doctor_visits": (20190, 57752),
}


def test_sets_have_their_published_size():
    found = {
        entry.name: (entry.n, int(nb.load_dataset(entry.name).values.sum()))
        for entry in nb.list_datasets()
    }
    assert found == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_sets_equal_the_reference_files(name):
    with (REFERENCE / "data" / f"{name}.csv").open() as stream:
        header, *rows = list(csv.reader(stream))
    numbers = np.array(rows, dtype=int)
    if header[0] == "year":
        expected = np.sort(numbers[:, 1])
    else:
        expected = np.repeat(numbers[:, 0], numbers[:, 1])
    np.testing.assert_array_equal(np.sort(nb.load_dataset(name).values), expected)


def test_every_set_names_its_source():
    for entry in nb.list_datasets():
        assert any(character.isdigit() for character in entry.source)


def test_unknown_set_gives_the_nearest_and_all():
    with pytest.raises(ValueError, match="Did you mean 'crab_satellites'") as caught:
        nb.load_dataset("crabs")
    assert "fetal_lamb" in str(caught.value)


def test_droplets_are_bimodal_and_their_size_factors_explain_it():
    counts = nb.simulate_droplets(2000, with_exposure=True, random_seed=3)
    assert counts.has_exposure
    values, rate = counts.values, counts.values / counts.exposure
    # two populations: the counts vary as much as their mean, the rates by a tenth of it
    assert values.std() / values.mean() > 0.5
    assert rate.std() / rate.mean() < 0.15
    bare = nb.simulate_droplets(2000, random_seed=3)
    assert not bare.has_exposure
    np.testing.assert_array_equal(bare.values, values)


def test_no_droplets():
    with pytest.raises(ValueError, match="n_droplets"):
        nb.simulate_droplets(0)


def test_a_built_in_set_cannot_be_changed():
    with pytest.raises(TypeError):
        nb.list_datasets()[0].frequencies[0] = 1
