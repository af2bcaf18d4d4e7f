import numpy as np

from pmnbmix.selection.influence import influence

RNG = np.random.default_rng(0)


def test_one_observation_that_makes_the_difference_is_found():
    terms = np.insert(RNG.normal(0.0, 0.1, 200), 17, 30.0)
    found = influence(terms)
    assert found.observations == (17,)
    assert found.difference == terms.sum()
    rest = np.delete(terms, 17)
    np.testing.assert_allclose(found.without, rest.sum())
    np.testing.assert_allclose(found.error_without, np.sqrt(200) * rest.std(ddof=1))


def test_two_that_make_the_difference_together_are_both_named():
    terms = np.append(np.full(300, 0.02) + RNG.normal(0.0, 0.01, 300), [20.0, 20.0])
    assert set(influence(terms).observations) == {300, 301}


def test_nobody_decides_where_many_do():
    assert influence(RNG.normal(0.1, 0.3, 300)) is None
    assert influence(np.append(np.zeros(50), 0.5)) is None
    assert influence(np.array([9.0, 0.0])) is None
