"""What arbitrary input broke once, each as one case."""

from __future__ import annotations

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.study.storage import read_thorough
from tests.fuzz import arbitrary as a

_MIXTURE = nb.MixtureParams([0.5, 0.5], [1, 2], [1, 1])
_HUGE = 10**400
_CRAB = nb.load_dataset("crab_satellites")


_MATRIX = np.arange(6).reshape(3, 2)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
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
        (lambda: nb.sample_columns(_MATRIX, _MATRIX, nb.MixtureSpec(1)), "columns"),
    ],
    ids=[str(i) for i in range(21)],
)
def test_an_error_from_inside_is_a_refusal_in_words(call, argument):
    a.refused(call, argument)


def test_responsibilities_of_a_far_count_sum_to_1():
    mixture = nb.MixtureParams(np.full(3, 1 / 3), [0, 1, 1], [0, 0, 0])
    np.testing.assert_allclose(mixture.responsibilities([10**9]), [[0, 0.5, 0.5]], rtol=1e-12)


def test_criteria_without_a_table_are_refused_by_the_name_of_their_file(tmp_path):
    (tmp_path / "thorough.json").write_text('{"format": "pmnbmix study", "table": 0.5}')
    with pytest.raises(ValueError, match=r"thorough\.json"):
        read_thorough(tmp_path)
