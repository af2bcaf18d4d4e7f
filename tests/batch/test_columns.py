import itertools

import numpy as np
import pytest
from scipy import sparse

import pmnbmix as nb
from pmnbmix.batch import columns as batch_columns
from pmnbmix.batch.kernel import fit_columns_of
from tests.batch.columns_data import FAULTY, faulty, simulate

PARAMETERS = ("weights", "means", "dispersions")


def fit(*args, **kwargs):
    return nb.fit_columns(*args, progressbar=False, **kwargs)


@pytest.fixture(scope="module")
def plain():
    matrix, _ = simulate(80, 1500, 1)
    return matrix, fit(matrix), [nb.fit_em(nb.Counts(c), 2, random_seed=0) for c in matrix.T]


@pytest.fixture(scope="module")
def exposed():
    matrix, exposure = simulate(40, 1500, 2, exposed=True)
    single = [nb.fit_em(nb.Counts(c, exposure), 2, random_seed=0) for c in matrix.T]
    return matrix, exposure, fit(matrix, exposure=exposure), single


def same_optimum(fits, single):
    """Columns that are at the optimum of the single fit, and inside the parameter space."""
    at = []
    for index, em in enumerate(single):
        one = fits.isel(column=index)
        near = abs(em.log_likelihood - float(one.log_likelihood)) < 1e-6
        if near and em.statuses == (nb.Status.CONVERGED,):
            at.append(index)
    return at


def test_log_likelihoods_are_those_of_the_whole_pool_of_starts(plain, exposed):
    gaps = np.concatenate(
        [
            [em.log_likelihood for em in single] - fits.log_likelihood.to_numpy()
            for fits, single in (plain[1:], exposed[2:])
        ]
    )
    assert (gaps > 0.01).mean() <= 0.03
    assert np.median(np.abs(gaps)) < 1e-7


@pytest.mark.parametrize("case", ["plain", "exposed"])
def test_parameters_errors_criteria_and_statuses_are_those_of_fit_em(case, request):
    *_, fits, single = request.getfixturevalue(case)
    columns = same_optimum(fits, single)
    assert len(columns) >= 8
    for index in columns:
        one, em = fits.isel(column=index), single[index]
        errors = em.standard_errors()["se"].to_numpy().reshape(3, 2)
        for row, name in enumerate(PARAMETERS):
            np.testing.assert_allclose(one[name], getattr(em.params, name), rtol=2e-3)
            np.testing.assert_allclose(one[f"{name}_se"], errors[row], rtol=1e-2)
        for name in ("aic", "bic"):
            assert float(one[name]) == pytest.approx(getattr(em, name), abs=1e-5)
        assert float(one.icl) == pytest.approx(em.icl, rel=1e-4)
        assert one.statuses.item() == "converged"


def test_statuses_at_edges_are_those_of_fit_em(plain):
    _, fits, single = plain
    compared = 0
    for index, em in enumerate(single):
        if abs(em.log_likelihood - float(fits.log_likelihood[index])) < 1e-7:
            compared += len(em.statuses) > 1 or em.statuses != (nb.Status.CONVERGED,)
            assert fits.statuses[index].item() == ", ".join(em.statuses)
    assert compared > 20


def test_an_unknown_dispersion_has_an_infinite_error(plain):
    _, fits, _ = plain
    at_edge = fits.dispersions.to_numpy() == 0
    assert at_edge.any()
    assert np.isinf(fits.dispersions_se.to_numpy()[at_edge]).all()
    assert np.isfinite(fits.dispersions_se.to_numpy()[~at_edge]).any()


def test_overlap_and_separation_follow_from_responsibilities(plain):
    matrix, fits, _ = plain
    held = fits.responsibilities(matrix, [0, 5]).to_numpy()
    for at, column in enumerate((0, 5)):
        shared = held[:, at].T @ held[:, at]
        claimed = shared / shared.sum(axis=1, keepdims=True)
        weights = fits.weights[column].to_numpy()
        np.testing.assert_allclose(fits.overlap[column], [claimed[0, 1], claimed[1, 0]], rtol=1e-6)
        np.testing.assert_allclose(
            fits.separation[column], (np.diag(claimed) - weights) / (1 - weights), rtol=1e-6
        )
    np.testing.assert_allclose(held.sum(axis=2), 1.0)


def test_entropy_is_that_of_the_responsibilities(exposed):
    matrix, exposure, fits, _ = exposed
    held = fits.responsibilities(matrix, [3], exposure).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = -np.nansum(held * np.log(held))
    assert float(fits.entropy[3]) == pytest.approx(expected, rel=1e-8)


def test_order_and_company_of_columns_change_nothing(plain):
    matrix, fits, _ = plain
    order = np.random.default_rng(0).permutation(matrix.shape[1])
    some = fit(matrix[:, order[:9]], n_jobs=1)
    for name in (*PARAMETERS, "log_likelihood", "times_reached"):
        np.testing.assert_array_equal(some[name], fits[name].to_numpy()[order[:9]])


def test_order_of_observations_changes_nothing_but_digits(exposed):
    matrix, exposure, fits, _ = exposed
    order = np.random.default_rng(0).permutation(exposure.size)
    moved = fit(matrix[order], exposure=exposure[order])
    np.testing.assert_allclose(moved.log_likelihood, fits.log_likelihood, rtol=1e-12)


def test_exposures_in_another_unit_scale_the_means(exposed):
    matrix, exposure, fits, _ = exposed
    scaled = fit(matrix[:, :10], exposure=1e3 * exposure)
    np.testing.assert_allclose(scaled.log_likelihood, fits.log_likelihood[:10], rtol=1e-9)
    np.testing.assert_allclose(scaled.means, fits.means[:10] / 1e3, rtol=1e-3, atol=1e-9)


def test_one_exposure_for_all_scales_the_means_exactly(plain):
    matrix, fits, _ = plain
    scaled = fit(matrix[:, :10], exposure=4.0)
    np.testing.assert_array_equal(scaled.means, fits.means[:10] / 4.0)
    np.testing.assert_array_equal(scaled.means_se, fits.means_se[:10] / 4.0)
    np.testing.assert_array_equal(scaled.log_likelihood, fits.log_likelihood[:10])


def test_components_are_sorted_by_mean(plain, exposed):
    for fits in (plain[1], exposed[2]):
        assert (np.diff(fits.means, axis=1) >= 0).all()
        np.testing.assert_allclose(fits.weights.sum("mixture_component"), 1.0)


@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_a_criterion_chooses_the_best_of_separate_fits(criterion):
    matrix, _ = simulate(12, 800, 4, log_mean=1.0)
    chosen = fit(matrix, criterion, max_components=3)
    scores = np.column_stack([fit(matrix, k)[criterion] for k in (1, 2, 3)])
    np.testing.assert_array_equal(chosen.candidate_criterion, scores)
    np.testing.assert_array_equal(chosen.n_components, scores.argmin(axis=1) + 1)
    np.testing.assert_array_equal(chosen[criterion], scores.min(axis=1))
    assert len(set(chosen.n_components.to_numpy())) > 1
    beyond = np.arange(3) >= chosen.n_components.to_numpy()[:, None]
    assert (np.isnan(chosen.means.to_numpy()) == beyond).all()


def test_one_component_has_its_mean_at_the_average_and_fit_em_s_dispersion():
    matrix, _ = simulate(8, 500, 6)
    fits = fit(matrix, 1)
    np.testing.assert_allclose(fits.means[:, 0], matrix.mean(axis=0), rtol=1e-12)
    em = nb.fit_em(nb.Counts(matrix[:, 2]), 1)
    np.testing.assert_allclose(fits.dispersions[2], em.params.dispersions, rtol=1e-5)
    assert (fits.weights_se == 0).all()


def test_columns_that_are_no_counts_say_why_and_stop_nothing():
    fits = fit(faulty())
    for column, (name, (row, _, word)) in enumerate(FAULTY.items()):
        assert fits.status[column].item() == (word or fits.status[0].item()), name
        if row is not None:
            assert fits.reason[column].item().startswith(f"Row {row} (from 0) has "), name
            assert np.isnan(fits.means[column]).all()
            assert fits.n_components[column] == 0
    assert np.isfinite(fits.log_likelihood[:3]).all()
    assert float(fits.log_likelihood[1]) == 0.0


def test_a_column_whose_fit_breaks_is_a_row_that_says_so(monkeypatch):
    matrix, _ = simulate(6, 200, 7)

    def breaking(indptr, rows, values, *rest):
        wanted = rest[4]
        if 2 in wanted:
            raise np.linalg.LinAlgError("cannot be factored")
        fit_columns_of(indptr, rows, values, *rest)

    monkeypatch.setattr("pmnbmix.batch.fitting.fit_columns_of", breaking)
    monkeypatch.setattr(batch_columns, "_LEAST_BLOCKS", 1)
    fits = fit(matrix)
    assert fits.status[2].item() == "failed"
    assert "fit_em" in fits.reason[2].item()
    assert np.isfinite(fits.log_likelihood.to_numpy()[[0, 1, 3, 4, 5]]).all()


CORNERS = {
    "one observation": (np.array([[4, 0, 1_000_000_000]]), None),
    "two observations": (np.array([[4, 0], [9, 0]]), None),
    "large counts": (np.array([[10**9, 3], [10**9 + 7, 1], [2, 10**9], [5, 0], [1, 2]]), None),
    "twelve orders": (
        np.random.default_rng(1).poisson(np.geomspace(1e-6, 1e6, 400))[:, None],
        np.geomspace(1e-6, 1e6, 400),
    ),
}


@pytest.mark.parametrize("case", CORNERS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_corners_are_those_of_fit_em(case, k):
    matrix, exposure = CORNERS[case]
    fits = fit(matrix, k, exposure=exposure)
    for index, column in enumerate(matrix.T):
        em = nb.fit_em(nb.Counts(column, exposure), k, random_seed=0)
        reached = float(fits.log_likelihood[index])
        assert reached == pytest.approx(em.log_likelihood, abs=0.01), (case, index)
        own = fits.params(index).logpmf(column, exposure).sum()
        assert reached == pytest.approx(own, abs=1e-7)


def test_a_stored_zero_and_a_value_stored_twice_are_what_they_sum_to():
    stored = sparse.csc_array(
        (np.array([2, 0, 1, 3, 5]), np.array([0, 1, 3, 3, 2]), np.array([0, 4, 5])), shape=(6, 2)
    )
    exposure = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 3.0])
    before = stored.data.copy()
    one = fit(stored, exposure=exposure)
    other = fit(stored.toarray(), exposure=exposure)
    np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)
    np.testing.assert_array_equal(stored.data, before)


BAD_ARGUMENTS = {
    "one dimension": (ValueError, lambda m: fit(m[:, 0]), r"its shape is \(1500,\)"),
    "empty": (ValueError, lambda m: fit(m[:0]), r"is empty: its shape is \(0, 80\)"),
    "text": (TypeError, lambda m: fit(m.astype(str)), "its dtype is <U"),
    "booleans": (TypeError, lambda m: fit(m > 0), "its dtype is bool"),
    "complex": (TypeError, lambda m: fit(m + 1j), "its dtype is complex128"),
    "none": (TypeError, lambda m: fit(None), "got NoneType"),
    "lists of other lengths": (ValueError, lambda m: fit([[1], [1, 2]]), "lengths"),
    "no components": (ValueError, lambda m: fit(m, 0), "got 0"),
    "criterion": (ValueError, lambda m: fit(m, "aic"), '"bic" or "icl"; got'),
    "exposure": (ValueError, lambda m: fit(m, exposure=[1.0, 2.0]), "exposure has 2"),
    "obs": (TypeError, lambda m: fit(m, exposure="n_counts"), "names a column of .obs"),
    "layer": (TypeError, lambda m: fit(m, layer="counts"), "a layer of an AnnData"),
    "client": (TypeError, lambda m: fit(m, client=3), "client must be a dask"),
    "most components": (ValueError, lambda m: fit(m, max_components=0), "got 0"),
    "a path": (TypeError, lambda m: fit("cells.h5ad"), "got str. Open the file first"),
    "threads": (ValueError, lambda m: fit(m, n_jobs=0), "n_jobs must be"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_with_what_was_found(plain, case):
    error, call, text = BAD_ARGUMENTS[case]
    with pytest.raises(error, match=text):
        call(plain[0])


def test_interrupted_work_keeps_what_is_done(plain, monkeypatch, caplog):
    matrix, whole, _ = plain
    done = itertools.count()

    def interrupt(part, *rest):
        if next(done) == 12:
            raise KeyboardInterrupt
        return fitting(part, *rest)

    fitting = batch_columns._fit_part
    monkeypatch.setattr(batch_columns, "_fit_part", interrupt)
    fits = fit(matrix, n_jobs=1)
    kept = fits.status.to_numpy() != "interrupted"
    assert 0 < kept.sum() < matrix.shape[1]
    assert not fits.attrs["finished"]
    assert whole.attrs["finished"]
    np.testing.assert_array_equal(
        fits.log_likelihood.to_numpy()[kept], whole.log_likelihood.to_numpy()[kept]
    )
    assert np.isnan(fits.log_likelihood.to_numpy()[~kept]).all()
    assert "interrupted; keeping" in caplog.text


def test_interrupted_before_anything_is_done_it_raises(plain, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch_columns, "_fit_part", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(plain[0])


def test_responsibilities_need_the_exposures_of_the_fit(exposed):
    matrix, exposure, fits, _ = exposed
    with pytest.raises(ValueError, match="made with exposures"):
        fits.responsibilities(matrix, [0])
    with pytest.raises(TypeError, match="a list of names"):
        fits.responsibilities(matrix, 0, exposure)
    with pytest.raises(ValueError, match="no column 400 among the 40 of the fits"):
        fits.responsibilities(matrix, [400], exposure)
    with pytest.raises(ValueError, match="no column 39 in a matrix of 39"):
        fits.responsibilities(matrix[:, 1:], [39], exposure)
    bad = matrix.astype(float)
    bad[7, 3] = -1
    with pytest.raises(ValueError, match=r"column 3: .*-1"):
        fits.responsibilities(bad, [3], exposure)


def test_exposures_that_the_fit_did_not_have_are_refused(plain):
    matrix, fits, _ = plain
    with pytest.raises(ValueError, match="made without exposures"):
        fits.responsibilities(matrix, [0], 2.0)


def test_one_column_and_a_few_of_them_can_be_taken_out(plain):
    matrix, fits, _ = plain
    one, few = fits.isel(column=7), fits.isel(column=[7, 3])
    np.testing.assert_array_equal(one.params(7).means, fits.params(7).means)
    np.testing.assert_array_equal(few.params(3).means, fits.params(3).means)
    assert one.to_frame().index.tolist() == [7]
    np.testing.assert_array_equal(
        few.responsibilities(matrix, np.array([3]))[:, 0], fits.responsibilities(matrix, [3])[:, 0]
    )
    with pytest.raises(ValueError, match="there is no column 4 among the 2 of the fits"):
        few.params(4)


def test_a_matrix_without_a_column_of_counts_is_warned_of(caplog):
    fit(np.array([[0.5, -1.0], [1.5, 2.0]]))
    assert "none of the 2 columns holds counts; the first: Row 0 (from 0) has 0.5" in caplog.text


def test_fits_can_be_written_as_netcdf(plain, tmp_path):
    import xarray as xr

    plain[1].to_netcdf(tmp_path / "fits.nc")
    with xr.open_dataset(tmp_path / "fits.nc") as read:
        np.testing.assert_array_equal(read.means, plain[1].means)


def test_a_column_without_a_fit_has_no_parameters_to_give():
    fits = fit(faulty())
    with pytest.raises(ValueError, match="its status is 'negative'"):
        fits.params(5)


def test_a_frame_has_a_row_a_column(plain):
    _, fits, _ = plain
    frame = fits.to_frame()
    assert list(frame.index) == list(range(80))
    np.testing.assert_array_equal(frame["means[1]"], fits.means[:, 1])
    np.testing.assert_array_equal(frame["status"], fits.status)


def test_far_fewer_rows_than_columns_are_remarked_on(caplog):
    matrix = np.random.default_rng(1).poisson(3.0, (20, 200))
    nb.fit_columns(matrix, 1, n_jobs=1, progressbar=False)
    [said] = caplog.messages
    assert said.startswith("20 rows and 200 columns: a mixture is fitted to each column")
    assert "transposed" in said
    caplog.clear()
    nb.fit_columns(matrix[:, :199], 1, n_jobs=1, progressbar=False)
    nb.fit_columns(matrix.T, 1, n_jobs=1, progressbar=False)
    assert caplog.messages == []
