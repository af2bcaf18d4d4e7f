"""Public sets of counts on which single seeds once stopped below the best optimum.

From the R package COUNT (J. M. Hilbe): ``fasttrakg``, deaths of heart attacks with cases as
exposure; ``ships``, incidents with months of service as exposure. Both have a Poisson component at
their best optimum, and exposures that spread over decades.
"""

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.point.starts import start_pool

FASTTRAKG = nb.Counts(
    [5, 10, 15, 28, 1, 0, 1, 2, 10, 9, 39, 50, 1, 3, 2],
    exposure=[19, 83, 412, 1864, 1, 3, 18, 70, 28, 139, 443, 1374, 6, 16, 27],
)
# fmt: off
SHIPS = nb.Counts(
    [0, 0, 3, 4, 6, 18, 11, 39, 29, 58, 53, 12, 44, 18, 1, 1, 0, 1, 6, 2, 1, 0, 0, 0, 0, 2, 11, 4,
     0, 7, 7, 5, 12, 1],
    exposure=[127, 63, 1095, 1095, 1512, 3353, 2244, 44882, 17176, 28609, 20370, 7064, 13099, 7117,
              1179, 552, 781, 676, 783, 1948, 274, 251, 105, 288, 192, 349, 1208, 2051, 45, 789,
              437, 1157, 2161, 542],
)
# fmt: on


@pytest.mark.parametrize(
    ("counts", "best", "weights", "means"),
    [
        (FASTTRAKG, -44.4515, [0.217, 0.783], [0.0373, 0.1230]),
        (SHIPS, -84.0111, [0.259, 0.741], [0.00204, 0.00381]),
    ],
    ids=["fasttrakg", "ships"],
)
def test_every_seed_finds_the_best_optimum(counts, best, weights, means):
    for seed in range(6):
        fit = nb.fit_em(counts, 2, random_seed=seed)
        assert fit.log_likelihood == pytest.approx(best, abs=1e-4)
        np.testing.assert_allclose(fit.params.weights, weights, atol=6e-4)
        np.testing.assert_allclose(fit.params.means, means, rtol=3e-3)
        assert fit.params.dispersions[0] == 0.0


def test_starts_at_rows_are_made_where_exposures_spread():
    rng = np.random.default_rng(1)
    families = [name for name, _ in start_pool(SHIPS.table, 2, rng)]
    assert "exposed-rows" in families
    plain = nb.Counts(SHIPS.values)
    assert "exposed-rows" not in [name for name, _ in start_pool(plain.table, 2, rng)]
