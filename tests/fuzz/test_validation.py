"""What needs a posterior, or fits many times: that its arguments are checked before it starts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.posterior.columns import METHODS
from tests.fuzz import arbitrary as a

_COUNTS = nb.load_dataset("crab_satellites")
_SPEC = nb.MixtureSpec(2)
# zeros in two dimensions are a matrix of counts
_not_matrix = a.not_numbers.filter(
    lambda value: not (isinstance(value, np.ndarray) and value.ndim == 2)
)
# arguments that every call of the function has, and what each argument never is
_CALLS = {
    nb.sample: (
        {"counts": _COUNTS, "spec": _SPEC},
        {
            "counts": a.odd_scalars,
            "spec": a.not_specs,
            "draws": a.not_whole,
            "tune": a.not_whole.filter(lambda value: value is not None and not _is_zero(value)),
            "chains": a.not_whole,
            "engine": a.odd_scalars,
            "target_accept": a.not_text | st.sampled_from([0.0, 1.0, -1.0, 2, float("nan")]),
            "random_seed": a.not_seeds,
        },
    ),
    nb.laplace: (
        {"counts": _COUNTS, "spec": _SPEC},
        {
            "counts": a.odd_scalars,
            "spec": a.not_specs,
            "draws": a.not_whole,
            "random_seed": a.not_seeds,
        },
    ),
    nb.build_model: (
        {"counts": _COUNTS, "spec": _SPEC},
        {"counts": a.odd_scalars, "spec": a.not_specs, "likelihood": a.odd_scalars},
    ),
    nb.start_points: (
        {"counts": _COUNTS, "spec": _SPEC},
        {
            "counts": a.odd_scalars,
            "spec": a.not_specs,
            "chains": a.not_whole,
            "random_seed": a.not_seeds,
        },
    ),
    nb.choose_components: (
        {"counts": _COUNTS, "max_components": 2},
        {
            "counts": a.odd_scalars,
            "max_components": a.not_whole,
            "spec": a.not_specs.filter(lambda value: value is not None),
            "draws": a.not_whole,
            "chains": a.not_whole,
            "random_seed": a.not_seeds,
        },
    ),
    nb.fit_columns: (
        {"matrix": [[1], [2]], "progressbar": False},
        {
            "matrix": _not_matrix,
            "n_components": a.not_whole,
            "exposure": st.sampled_from([True, 1j, {}, object, ..., [], [1, 0], [1.0]]),
            "max_components": a.not_whole,
            "n_jobs": a.not_whole.filter(lambda value: value is not None),
        },
    ),
    nb.sample_columns: (
        {"matrix": [[1], [2]], "columns": [0], "progressbar": False},
        {
            "matrix": _not_matrix,
            "columns": a.not_text,
            "spec": a.not_specs.filter(lambda value: value is not None),
            "method": a.odd_scalars.filter(
                lambda value: not (isinstance(value, str) and value in METHODS)
            ),
            "draws": a.not_whole,
            "random_seed": a.not_seeds,
        },
    ),
    nb.from_datatree: ({"tree": None, "counts": _COUNTS}, {"tree": a.odd_scalars}),
    nb.compare_estimates: (
        {},
        {name: a.odd_scalars.filter(lambda value: value is not None) for name in ("em", "map")}
        | {"nuts": a.odd_scalars},
    ),
} | {
    function: ({}, {"tree": a.odd_scalars})
    for function in (
        nb.add_log_likelihood,
        nb.add_rates,
        nb.add_responsibilities,
        nb.co_cluster,
        nb.diagnose,
        nb.log_evidence,
        nb.loo,
        nb.loo_pit,
        nb.quantile_residuals,
        nb.relabel,
        nb.stack_chains,
    )
}


def _is_zero(value):
    return isinstance(value, int) and value == 0


@pytest.mark.parametrize(
    ("function", "argument"),
    [(function, name) for function, (_, odd) in _CALLS.items() for name in odd],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_arguments_are_checked_before_the_work(function, argument):
    always, odd = _CALLS[function]

    @a.budget(0.4)
    @given(odd[argument])
    def check(value):
        text = a.refusal(lambda: function(**(always | {argument: value})))
        assert text is not None, f"{argument} was taken: {value!r}"

    check()
