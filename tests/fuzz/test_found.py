"""What arbitrary input broke once, each as one case."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmnbmix as nb
from pmnbmix.batch.files import open_matrix
from pmnbmix.study.storage import read_thorough
from tests.fuzz import arbitrary as a

_MIXTURE = nb.MixtureParams([0.5, 0.5], [1, 2], [1, 1])
_HUGE = 10**400
_CRAB = nb.load_dataset("crab_satellites")


_DRAWS = np.array([[[1.0], [2.0]]])
_MATRIX = np.arange(6).reshape(3, 2)


# call, and the argument that its refusal names
_CASES = [
    (lambda: nb.Counts([_HUGE]), "values"),
    (lambda: nb.Counts([1], np.array([np.longdouble("1e400")])), "exposure"),
    (lambda: nb.DirichletPrior(_HUGE), "concentration"),
    (lambda: nb.NormalPrior(np.zeros(2), 1.0), "loc"),
    (lambda: nb.MixtureSpec.from_dict(None), "specification"),
    (lambda: nb.load_dataset([]), "data set"),
    (lambda: nb.simulate_droplets("3"), "n_droplets"),
    (lambda: nb.MixtureParams([[1], [2, 3]], [1], [1]), "weights"),
    (lambda: nb.MixtureParams.from_pymc([1], [1], "a"), "alpha"),
    (lambda: _MIXTURE.permuted([False, True]), "order"),
    (lambda: _MIXTURE.quantile([0.1, 0.2], [1, 2, 3]), "exposure"),
    (lambda: _MIXTURE.logpmf([1], [[1], [2, 3]]), "exposure"),
    (lambda: nb.fit_em(_CRAB, mixing="equal", start=1), "start"),
    (lambda: nb.relabel_draws(z="a", method="ecr"), "z"),
    (lambda: nb.relabel_draws(p=[[1], [2, 3]]), "p"),
    (lambda: nb.fit_em(_CRAB, 1).standard_errors(kind=np.zeros(2)), "kind"),
    (lambda: nb.fit_em(_CRAB, 1).rates(quantiles=[[0.5, 0.6]]), "quantiles"),
    (lambda: nb.DirichletPrior(1e308), "concentration"),
    (lambda: nb.sample(_CRAB, nb.MixtureSpec(1), engine=np.zeros((2, 2))), "engine"),
    (lambda: nb.sample_columns(_MATRIX, [0], nb.MixtureSpec(1), method=_MATRIX), "method"),
    (lambda: nb.Counts(np.array([np.longdouble("1e400")], dtype=object)), "values"),
    (lambda: nb.fit_em(_CRAB, 1).rates([[], [0]]), "values"),
    (lambda: nb.build_model(_CRAB, nb.MixtureSpec(1), likelihood=pd.NA), "likelihood"),
    (lambda: nb.relabel_draws(draws=_DRAWS, pivot=[[0], [1e308]], method="pra"), "pivot"),
    (lambda: nb.relabel_draws(draws=[[[np.longdouble("1e400")]]], method="pra"), "draws"),
    (
        lambda: nb.relabel_draws([[[1.0]]], frequency=(np.longdouble("1e400"),)),
        "frequency",
    ),
    # these took all memory
    (lambda: nb.relabel_draws(z=[[10**9, 0]], method="ecr"), "z"),
    (lambda: nb.relabel_draws(z=[[1, 0]], n_components=10**9, method="ecr"), "n_components"),
    (lambda: nb.sample_columns(_MATRIX, _MATRIX, nb.MixtureSpec(1)), "columns"),
]


@pytest.mark.parametrize(("call", "argument"), _CASES, ids=[str(i) for i in range(len(_CASES))])
def test_an_error_from_inside_is_a_refusal_in_words(call, argument):
    a.refused(call, argument)


def test_responsibilities_of_a_far_count_sum_to_1():
    mixture = nb.MixtureParams(np.full(3, 1 / 3), [0, 1, 1], [0, 0, 0])
    np.testing.assert_allclose(mixture.responsibilities([10**9]), [[0, 0.5, 0.5]], rtol=1e-12)


def test_a_half_is_a_concentration_in_every_precision():
    assert nb.DirichletPrior(np.float16(0.5)).concentration == 0.5


def test_a_quantile_does_not_depend_on_its_neighbours():
    mixture = nb.MixtureParams([0, 0, 1 / 6, 5 / 6], [0, 0, 0, 1], [0, 0, 0, 1000])
    alone = mixture.quantile([0.999999999999])
    np.testing.assert_array_equal(mixture.quantile([0.0, 0.999999999999])[1:], alone)
    assert mixture.cdf(alone)[0] >= 0.999999999999 > mixture.cdf(alone - 1)[0]


def test_brackets_without_end_are_refused(tmp_path):
    (tmp_path / "spec.toml").write_text("a = " + "[" * 100_000)
    a.refused(lambda: nb.MixtureSpec.read(tmp_path / "spec.toml"), "spec.toml")
    (tmp_path / "fit.json").write_text("[" * 100_000)
    a.refused(lambda: nb.PointFit.read(tmp_path / "fit.json"), "fit.json")


# flag bits of a zip archive that zipfile knows but does not read
@pytest.mark.parametrize("bit", [0, 5])
def test_an_archive_that_is_encrypted_or_patched_is_refused(bit, tmp_path):
    file = tmp_path / "matrix.npz"
    sparse.save_npz(file, sparse.csc_array(_MATRIX))
    content = bytearray(file.read_bytes())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 8] |= 1 << bit
        at += 4
    file.write_bytes(content)
    a.refused(lambda: open_matrix(file), "matrix.npz")


def test_criteria_without_a_table_are_refused_by_the_name_of_their_file(tmp_path):
    (tmp_path / "thorough.json").write_text('{"format": "pmnbmix study", "table": 0.5}')
    with pytest.raises(ValueError, match=r"thorough\.json"):
        read_thorough(tmp_path)


def test_labels_and_frequencies_beyond_whole_numbers_are_refused():
    draws = np.array([[[1.0], [2.0]]])
    z = np.array([[0, 1]])
    with pytest.raises(TypeError, match=r"pivot must hold whole numbers \(labels\); inf at \(1,\)"):
        nb.relabel_draws(z=z, draws=draws, method="ecr", pivot=(0, np.inf))
    for frequency, total in (([0, 1e308], "1e\\+308"), ([1e308, 1e308], "inf")):
        with pytest.raises(ValueError, match=f"frequency sums to {total}"):
            nb.relabel_draws(p=np.eye(2)[None], draws=draws, frequency=frequency)


def test_no_parameter_to_order_by_is_said_so():
    with pytest.raises(TypeError, match="by must be the number of a parameter in draws; got None"):
        nb.relabel_draws(draws=np.ones((1, 1, 2)), method="order", by=None)


def test_a_likelihood_ratio_is_not_below_0_by_rounding():
    counts = nb.Counts([11, 11, 11, 15, 17, 19, 19, 20])
    test = nb.bootstrap_lrt(counts, n_boot=2, random_seed=0, n_jobs=1, progressbar=False)
    assert test.statistic >= 0.0
    assert (test.null_statistics >= 0.0).all()
