"""The fused log posterior, in each of its forms, against slow and independent arithmetic."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import pmnbmix as nb
from pmnbmix.data.squash import squash
from pmnbmix.mixture.kernel import LADDER, ROWS
from pmnbmix.mixture.levels import plain_terms, rows_of
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.sums import row_scores
from pmnbmix.mixture.target import make_target

WITHOUT = nb.Counts([0, 1, 2, 7, 30, 61], frequency=[9, 4, 1, 2, 1, 3])
WITH = nb.Counts(
    [0, 1, 2, 7, 30, 400], exposure=[0.5, 1.0, 3.0, 0.1, 1.0, 20.0], frequency=[9, 4, 1, 2, 1, 3]
)
CASES = [(WITHOUT, LADDER), (WITHOUT, ROWS), (WITH, ROWS)]
IDS = ["ladder", "rows, one exposure", "rows"]


def exact_log_posterior(counts, spec, packed):
    """The same from the exact density of each row, with its constants."""
    k = spec.n_components
    logits = np.append(packed[: k - 1], 0.0)
    log_weights = logits - np.logaddexp.reduce(logits)
    params = nb.MixtureParams(
        np.exp(log_weights), np.exp(packed[k - 1 : 2 * k - 1]), np.exp(packed[2 * k - 1 :])
    )
    table = counts.table
    value = table.frequency @ params.logpmf(table.values.astype(int), table.exposure)
    value += spec.weights.concentration * log_weights.sum()
    value += stats.norm.logpdf(
        packed[k - 1 : 2 * k - 1], spec.log_means.loc, spec.log_means.scale
    ).sum()
    dispersions = spec.log_dispersions
    return value + stats.norm.logpdf(packed[2 * k - 1 :], dispersions.loc, dispersions.scale).sum()


def exact_gradient(counts, spec, packed):
    """From the exact scores of the rows, in the log ratios of the weights."""
    k = spec.n_components
    logits = np.append(packed[: k - 1], 0.0)
    log_weights = logits - np.logaddexp.reduce(logits)
    point = np.array([log_weights, packed[k - 1 : 2 * k - 1], packed[2 * k - 1 :]])
    scores = counts.table.frequency @ row_scores(rows_of(counts.table), plain_terms(), point)
    concentration = spec.weights.concentration
    scores[:k] += concentration * (1.0 - k * np.exp(log_weights))
    scores[k : 2 * k] -= (packed[k - 1 : 2 * k - 1] - spec.log_means.loc) / spec.log_means.scale**2
    scores[2 * k :] -= (
        packed[2 * k - 1 :] - spec.log_dispersions.loc
    ) / spec.log_dispersions.scale**2
    return np.delete(scores, k - 1)


@pytest.mark.parametrize(("counts", "form"), CASES, ids=IDS)
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_it_is_likelihood_priors_and_jacobian(counts, form, k):
    spec = nb.MixtureSpec(k).resolve(counts)
    target = make_target(Problem.of(counts, spec), form)
    rng = np.random.default_rng(k)
    offsets = []
    for _ in range(20):
        packed = rng.normal(0.0, 2.0, 3 * k - 1)
        value, gradient = target.log_density(packed)
        offsets.append(value - exact_log_posterior(counts, spec, packed))
        np.testing.assert_allclose(
            gradient, exact_gradient(counts, spec, packed), rtol=1e-11, atol=1e-10
        )
    # the normalising constants of the priors are left out
    np.testing.assert_allclose(offsets, offsets[0], atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    mean=st.floats(-12, 12),
    dispersion=st.floats(-40, 25),
    values=st.lists(st.integers(0, 10**9), min_size=1, max_size=6),
    exposed=st.booleans(),
)
def test_it_is_exact_from_poisson_to_overdispersed_and_for_a_billion(
    mean, dispersion, values, exposed
):
    exposure = np.geomspace(1e-3, 1e3, len(values)) if exposed else None
    counts = nb.Counts(values, exposure)
    spec = nb.MixtureSpec(1, log_means=nb.NormalPrior(0.0, 5.0))
    packed = np.array([mean, dispersion])
    for form in [ROWS] + [LADDER] * (exposure is None and max(values) < 1000):
        value, gradient = make_target(Problem.of(counts, spec), form).log_density(packed)
        # the constants of the two priors are left out
        offset = 2.0 * np.log(2.0 * np.pi) / 2.0 + np.log(5.0) + np.log(2.0)
        expected = exact_log_posterior(counts, spec, packed) + offset
        # what rounds is as large as the distance of a count from its mean
        size = sum(abs(np.array(values) - (1 if exposure is None else exposure) * np.exp(mean)))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12 + 1e-14 * size)
        np.testing.assert_allclose(
            gradient, exact_gradient(counts, spec, packed), rtol=1e-10, atol=1e-11 + 1e-14 * size
        )


def test_the_ladder_gives_way_where_densities_underflow():
    # nothing of a component at 2000 is left at 0, where a ladder begins
    counts = nb.Counts(np.arange(400))
    spec = nb.MixtureSpec(2).resolve(counts)
    for means in ([2000.0, 3000.0], [1e-3, 5000.0], [200.0, 1e6]):
        packed = np.concatenate([[0.3], np.log(means), [-9.0, -12.0]])
        ladder = make_target(Problem.of(counts, spec), LADDER).log_density(packed)
        rows = make_target(Problem.of(counts, spec), ROWS).log_density(packed)
        assert np.isfinite(rows[0])
        assert ladder[0] == pytest.approx(rows[0], rel=1e-12)
        np.testing.assert_allclose(ladder[1], rows[1], rtol=1e-9, atol=1e-8)


def test_the_ladder_gives_way_where_only_a_weight_underflows():
    counts = nb.Counts(np.arange(360, 440))
    spec = nb.MixtureSpec(2).resolve(counts)
    packed = np.array([360.0, np.log(50.0), np.log(400.0), -9.0, -9.0])
    ladder, rows = (
        make_target(Problem.of(counts, spec), form).log_density(packed) for form in (0, 1)
    )
    assert ladder[0] == pytest.approx(rows[0], rel=1e-12)
    np.testing.assert_allclose(ladder[1], rows[1], rtol=1e-9, atol=1e-8)


def test_the_form_is_chosen_by_the_table():
    spec = nb.MixtureSpec(2, log_means=nb.NormalPrior(0.0, 2.0))
    assert make_target(Problem.of(nb.Counts(np.arange(40)), spec)).form == LADDER
    assert make_target(Problem.of(WITHOUT, spec)).form == ROWS
    assert make_target(Problem.of(WITH, spec)).form == ROWS
    assert make_target(Problem.of(nb.Counts([0, 100_000]), spec)).form == ROWS


def test_parameters_too_extreme_for_a_number_have_no_density():
    for counts in (WITHOUT, WITH):
        target = make_target(Problem.of(counts, nb.MixtureSpec(1).resolve(counts)))
        for packed in ([800.0, 0.0], [-800.0, 0.0], [0.0, 800.0], [0.0, -800.0]):
            assert target.log_density(np.array(packed))[0] == -np.inf


def test_fractional_frequencies_of_a_squashed_table():
    rng = np.random.default_rng(0)
    exposure = np.exp(rng.normal(0.0, 0.5, 5000))
    truth = nb.MixtureParams([0.6, 0.4], [2.0, 12.0], [0.3, 0.2])
    counts = nb.Counts(truth.sample(5000, rng, exposure)[0], exposure)
    table = squash(counts.table, 0.5, 8)
    assert table.values.size < 0.4 * counts.n_unique
    spec = nb.MixtureSpec(2).resolve(counts)
    packed = np.array([0.3, 0.8, 2.4, -1.0, -1.5])
    value, gradient = make_target(Problem.of(counts, spec)).log_density(packed)
    squashed = make_target(Problem.of(counts, spec).on(table))
    squashed_value, squashed_gradient = squashed.log_density(packed)
    assert squashed_value == pytest.approx(value, abs=1e-5)
    np.testing.assert_allclose(squashed_gradient, gradient, atol=1e-3)


def test_whitened_coordinates_are_an_affine_map():
    spec = nb.MixtureSpec(2).resolve(WITH)
    target = make_target(Problem.of(WITH, spec))
    rng = np.random.default_rng(0)
    centre, root = rng.normal(size=5), np.tril(rng.normal(size=(5, 5)))
    whitened = target.whitened(centre, root)
    z = rng.normal(size=5)
    value, gradient = whitened.log_density(z)
    plain, plain_gradient = target.log_density(centre + root @ z)
    assert value == pytest.approx(plain, rel=1e-14)
    np.testing.assert_allclose(gradient, root.T @ plain_gradient, rtol=1e-12)
    np.testing.assert_allclose(whitened.unwhitened(z[None]), (centre + root @ z)[None], rtol=1e-14)
    np.testing.assert_array_equal(target.unwhitened(z), z)
    np.testing.assert_allclose(whitened.log_densities(np.stack([z, z])), [value, value])


def test_one_count_against_forty_digits():
    spec = nb.MixtureSpec(1, log_means=nb.NormalPrior(0.0, 1.0))
    for x, mean, dispersion in [(0, 3.0, 0.4), (15, 3.0, 1e-9), (16, 30.0, 2.0), (500, 1e-3, 1e-6)]:
        for form in (LADDER, ROWS):
            found, _ = make_target(Problem.of(nb.Counts([x]), spec), form).log_density(
                np.log([mean, dispersion])
            )
            with mpmath.workdps(60):
                m, r = mpmath.mpf(mean), 1 / mpmath.mpf(dispersion)
                exact = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
                exact += r * mpmath.log(r / (r + m)) + x * mpmath.log(m / (r + m))
                exact -= mpmath.log(m) ** 2 / 2 + mpmath.log(r) ** 2 / 8
            assert found == pytest.approx(float(exact), rel=2e-14)
