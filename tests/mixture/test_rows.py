import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.mixture.rows import draws_log_density, draws_responsibilities


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet([1.0, 2.0, 3.0], 300)
    means, inv_disps = np.exp(rng.normal(1, 2, (300, 3))), np.exp(rng.normal(0, 4, (300, 3)))
    # at every edge: Poisson, a point mass at 0, an empty component
    inv_disps[0], means[1, 0], weights[2] = np.inf, 0.0, [0.0, 0.4, 0.6]
    return weights, means, inv_disps


@pytest.mark.parametrize("exposed", [False, True])
def test_each_draw_is_what_its_parameters_say(draws, exposed):
    rng = np.random.default_rng(1)
    values = rng.poisson(np.exp(rng.normal(1, 2, 400)))
    counts = nb.Counts(values, np.exp(rng.normal(0, 1, 400)) if exposed else None)
    weights, means, inv_disps = draws
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    table = counts.table
    rows = draws_log_density(table, log_weights, means, inv_disps)
    shares = draws_responsibilities(table, log_weights, means, inv_disps)
    for s in range(0, 300, 1 if not exposed else 7):
        params = nb.MixtureParams(weights[s], means[s], 1.0 / inv_disps[s])
        np.testing.assert_allclose(
            rows[s], params.logpmf(table.values, table.exposure), rtol=1e-12, atol=1e-11
        )
        np.testing.assert_allclose(
            shares[s], params.responsibilities(table.values, table.exposure), atol=1e-11
        )
