"""LOO at nodes of the exposure, against LOO of every row."""

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.selection import loo_terms
from pmnbmix.tree.reading import read
from tests.synthetic import TRUTH

RNG = np.random.default_rng(12)
EXPOSURE = RNG.lognormal(0.0, 0.6, 1500)
COUNTS = nb.Counts(TRUTH.sample(1500, RNG, EXPOSURE)[0], exposure=EXPOSURE)


@pytest.fixture(scope="module")
def tree():
    return nb.sample(COUNTS, nb.MixtureSpec(2), draws=400, random_seed=3, progressbar=False)


@pytest.fixture(scope="module")
def whole(tree):
    """LOO of every row."""
    return nb.loo(tree)


@pytest.fixture
def few_kept(monkeypatch):
    """As if log densities of all rows took more memory than may be kept."""
    monkeypatch.setattr("pmnbmix.mixture.row_density.KEPT_BYTES", 8 * 1600 * 1000)


def test_nodes_give_what_all_rows_give(tree, whole, few_kept):
    made = nb.loo(tree)
    assert "interpolation_error" not in whole.elpd_i.attrs
    assert made.elpd_i.attrs["interpolation_error"] < 1e-3
    assert abs(made.elpd - whole.elpd) < 0.01 * whole.se
    np.testing.assert_allclose(made.elpd_i, whole.elpd_i, atol=5e-3)
    np.testing.assert_allclose(made.pareto_k, whole.pareto_k, atol=0.3)
    assert made.p == pytest.approx(whole.p, abs=0.02)
    assert made.se == pytest.approx(whole.se, rel=1e-4)
    assert made.elpd_i.name == whole.elpd_i.name
    assert made.warning == whole.warning


def test_terms_that_nodes_cannot_give_are_computed_row_by_row(tree, whole, few_kept, monkeypatch):
    monkeypatch.setattr(loo_terms, "_ALLOWED", 0.0)
    made = nb.loo(tree)
    assert "interpolation_error" not in made.elpd_i.attrs
    np.testing.assert_allclose(made.elpd_i, whole.elpd_i, atol=1e-4)


def test_rows_about_a_high_k_are_looked_up(tree, few_kept):
    density = read(tree).density
    # every row has a Pareto k above this, and as many as may be are looked up
    found = loo_terms.terms_of(density, 1.0, good_k=-10.0)
    rows = np.argsort(-found.pareto_k)[:50]
    elpd, pareto_k, _ = loo_terms._of_block(density.of_rows(rows), 1.0)
    np.testing.assert_array_equal(found.elpd[rows], elpd)
    np.testing.assert_array_equal(found.pareto_k[rows], pareto_k)


def test_a_posterior_without_its_rows_is_used_as_any_other(few_kept, tmp_path):
    tree = nb.sample(COUNTS, nb.MixtureSpec(2), draws=400, random_seed=3, progressbar=False)
    assert "log_likelihood_unique" not in tree.children
    assert "log_likelihood" not in tree.children
    with pytest.raises(ValueError, match=r"takes 19 MB.*add_log_likelihood"):
        _ = tree.log_likelihood
    em = nb.fit_em(COUNTS, 2, random_seed=1)
    diagnosis = nb.diagnose(tree, em)
    assert diagnosis.density_ok
    compared = nb.compare_estimates(em=em, nuts=tree)
    assert compared.attrs["log_likelihood"]["nuts"] <= em.log_likelihood
    assert nb.quantile_residuals(tree, random_seed=1).std() == pytest.approx(1.0, abs=0.1)
    nb.save(tree, tmp_path / "cells.nc")
    loaded = nb.load(tmp_path / "cells.nc")
    assert nb.loo(loaded).elpd == nb.loo(tree).elpd
    assert nb.relabel(loaded, "ecr")["relabelling"].attrs["method"] == "ecr"
    whole = nb.add_log_likelihood(loaded)
    assert dict(whole["log_likelihood"].sizes) == {"chain": 4, "draw": 400, "obs": 1500}
    assert nb.plots.plot_chains(tree).shape == (4,)
    assert nb.stack_chains(tree).table["elpd"].notna().all()
