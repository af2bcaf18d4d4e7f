"""Specifications and priors under input of every kind."""

from __future__ import annotations

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.mixture.problem import Problem
from tests.fuzz import arbitrary as a

_KEYS = st.sampled_from(
    [
        *("n_components", "prior", "weights", "log_means", "log_dispersions", "family"),
        *("loc", "scale", "concentration", "dirichlet", "normal", "auto", "x"),
    ]
)
_tables = st.recursive(
    st.one_of(a.odd_scalars, _KEYS, st.floats(), st.integers(-3, 200)),
    lambda inner: st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_likely = st.fixed_dictionaries(
    {},
    optional={
        "n_components": st.integers(-1, 5) | a.odd_scalars,
        "prior": st.dictionaries(
            st.sampled_from(["weights", "log_means", "log_dispersions"]),
            st.dictionaries(
                st.sampled_from(["family", "loc", "scale", "concentration"]),
                st.floats(-2, 5) | _KEYS | a.odd_scalars,
                max_size=3,
            ),
        ),
    },
)


@a.budget(2)
@given(a.odd_scalars, a.odd_scalars)
def test_priors_hold_finite_numbers_or_refuse(first, second):
    dirichlet = a.answer(lambda: nb.DirichletPrior(first))
    if dirichlet is not None:
        assert 0 < dirichlet.concentration < math.inf
    normal = a.answer(lambda: nb.NormalPrior(first, second))
    if normal is not None:
        assert normal.loc == "auto" or math.isfinite(normal.loc)
        assert normal.scale > 0


@pytest.mark.parametrize("argument", ["n_components", "weights", "log_means", "log_dispersions"])
def test_a_specification_refuses_what_is_none(argument):
    @a.budget(1)
    @given(a.not_whole)
    def check(odd):
        a.refused(lambda: nb.MixtureSpec(**{argument: odd}), argument)

    check()


@a.budget(4)
@given(st.one_of(_tables, _likely))
def test_a_table_makes_a_specification_or_is_refused(data):
    spec = a.answer(lambda: nb.MixtureSpec.from_dict(data))
    if spec is not None:
        assert nb.MixtureSpec.from_dict(spec.to_dict()) == spec


@a.budget(4)
@given(a.specs())
def test_a_specification_survives_its_file(spec):
    data = tomllib.loads(spec.to_toml())
    assert nb.MixtureSpec.from_dict(data) == spec


@a.budget(2)
@given(a.specs(), a.counts())
def test_a_resolved_specification_has_finite_numbers(spec, counts):
    resolved = spec.resolve(counts)
    assert resolved.is_resolved
    prior = Problem.of(counts, resolved).prior(resolved.weights.concentration)
    for numbers in prior:
        assert np.isfinite(numbers).all()
    assert resolved.resolve(counts) == resolved


@a.budget(2)
@given(a.specs(), st.integers(1, 5), st.data())
def test_log_densities_of_priors_are_numbers(spec, k, data):
    weights = np.array(data.draw(st.lists(st.floats(1e-6, 1), min_size=k, max_size=k)))
    logs = np.array(data.draw(st.lists(st.floats(-700, 700), min_size=k, max_size=k)))
    assert np.isfinite(spec.weights.log_density(weights / weights.sum()))
    assert np.isfinite(spec.log_dispersions.log_density(logs)).all()


@a.budget(1)
@given(a.odd_scalars)
def test_resolving_needs_counts(odd):
    a.refused(lambda: nb.MixtureSpec().resolve(odd), "counts")


@a.budget(1)
@given(a.not_whole)
def test_another_number_of_components_is_checked(odd):
    a.refused(lambda: nb.MixtureSpec().with_components(odd), "n_components")
