import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.selection.distances import distances


def draws_of(*params):
    return Draws(
        *(
            np.array([[getattr(one, name) for one in params]])
            for name in ("weights", "means", "dispersions")
        )
    )


def by_sum(p, q, exposure=1.0, high=4000):
    values = np.arange(high)
    one, other = (each.logpmf(values, np.full(high, exposure)) for each in (p, q))
    kl = (np.exp(one) * (one - other)).sum()
    return kl, 0.5 * np.abs(np.exp(one) - np.exp(other)).sum()


ONE = nb.MixtureParams([0.4, 0.6], [2.0, 20.0], [0.3, 0.2])
OTHER = nb.MixtureParams([0.5, 0.5], [3.0, 18.0], [0.1, 0.4])


def test_equal_sums_over_all_counts():
    found = distances({"em": draws_of(ONE), "map": draws_of(OTHER)}, None)
    for name, (p, q) in {"em, map": (ONE, OTHER), "map, em": (OTHER, ONE)}.items():
        kl, variation = by_sum(p, q)
        assert found["kl"][name] == pytest.approx(kl, rel=1e-6)
    assert found["total_variation"]["em, map"] == pytest.approx(variation, rel=1e-6)


def test_averaged_over_exposures():
    counts = nb.Counts([1, 5, 9], exposure=[0.5, 2.0, 2.0])
    found = distances({"em": draws_of(ONE), "nuts": draws_of(OTHER)}, counts.table)
    expected = by_sum(ONE, OTHER, 0.5)[0] / 3 + 2 * by_sum(ONE, OTHER, 2.0)[0] / 3
    assert found["kl"]["em, nuts"] == pytest.approx(expected, rel=1e-6)


def test_a_posterior_is_its_predictive_distribution():
    found = distances({"em": draws_of(ONE), "nuts": draws_of(ONE, OTHER)}, None)
    values = np.arange(4000)
    p, q = ONE.logpmf(values), OTHER.logpmf(values)
    mixed = np.logaddexp(p, q) - np.log(2)
    assert found["kl"]["em, nuts"] == pytest.approx((np.exp(p) * (p - mixed)).sum(), rel=1e-6)


def test_the_same_is_nothing_apart():
    found = distances({"em": draws_of(ONE), "map": draws_of(ONE)}, None)
    assert found["kl"] == {"em, map": 0.0, "map, em": 0.0}
    assert found["total_variation"] == {"em, map": 0.0}


def test_large_counts_and_a_poisson_tail_stay_finite():
    """A Poisson component has no mass that numbers could hold where a heavy tail still has some."""
    poisson = nb.MixtureParams([1.0], [1e6], [0.0])
    heavy = nb.MixtureParams([1.0], [1.01e6], [0.5])
    found = distances({"em": draws_of(poisson), "map": draws_of(heavy)}, None)
    # a normal of sd 1,000 within one of 710,000, near its mode
    values = poisson.sample(4000, random_seed=0)[0]
    expected = (poisson.logpmf(values) - heavy.logpmf(values)).mean()
    assert found["kl"]["em, map"] == pytest.approx(expected, rel=0.02)
    assert 500 < found["kl"]["map, em"] < np.inf
    assert 0.98 < found["total_variation"]["em, map"] <= 1.0


def test_comparisons_carry_them(crab_choice):
    table = crab_choice.fits[2].estimates
    em, map_ = crab_choice.em[2], crab_choice.map[2]
    kl, variation = by_sum(em.params, map_.params, high=300)
    assert table.attrs["kl"]["em, map"] == pytest.approx(kl, rel=1e-4)
    assert table.attrs["total_variation"]["em, map"] == pytest.approx(variation, rel=1e-4)
    assert table.attrs["log_likelihood"]["em"] == pytest.approx(em.log_likelihood)
    heights = table.attrs["log_posterior"]
    assert heights["em"] == -np.inf
    assert heights["map"] == pytest.approx(map_.log_density)
    assert heights["map"] >= heights["nuts"] > heights["map"] - 2
    assert all(np.isfinite(value) for value in table.attrs["kl"].values())
    assert table["flag"].str.contains("several modes: 2 of the posterior matter").all()
