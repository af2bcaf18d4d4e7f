"""Relabelling of arrays of draws under input of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb
from tests.fuzz import arbitrary as a

_METHODS = ["stephens", "ecr", "ecr-iterative-1", "ecr-iterative-2", "pra", "order"]


@st.composite
def _draws(draw):
    n_samples, n, k = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    p = rng.dirichlet(np.full(k, draw(st.sampled_from([0.01, 1.0, 50.0]))), (n_samples, n))
    z = rng.integers(0, k, (n_samples, n))
    scale = draw(st.sampled_from([1e-300, 1.0, 1e9, 1e300]))
    return p, z, scale * rng.normal(size=(n_samples, k, 2)), k


@a.budget(3)
@given(_draws(), st.sampled_from(_METHODS))
def test_orders_are_permutations(given_, method):
    p, z, draws, k = given_
    arguments = {"p": p, "z": z, "draws": draws, "method": method}
    order = a.answer(lambda: nb.relabel_draws(**arguments))
    if order is None:
        assert method == "pra"
        assert np.abs(draws).max() > 1e100
        return
    assert order.shape == (len(p), k)
    assert (np.sort(order, axis=1) == np.arange(k)).all()
    np.testing.assert_array_equal(order, nb.relabel_draws(**arguments))


@pytest.mark.parametrize(
    "argument", ["p", "z", "draws", "method", "pivot", "by", "frequency", "n_components"]
)
def test_relabel_draws_answers_or_refuses(argument):
    @a.budget(1)
    @given(_draws(), st.sampled_from(_METHODS), a.odd_arrays | a.odd_scalars)
    def check(given_, method, odd):
        p, z, draws, _ = given_
        arguments = {"p": p, "z": z, "draws": draws, "method": method}
        arguments[argument] = odd
        order = a.answer(lambda: nb.relabel_draws(**arguments))
        if order is not None:
            assert (np.sort(order, axis=1) == np.arange(order.shape[1])).all()

    check()


@a.budget(1)
@given(a.odd_arrays)
def test_one_array_alone_is_taken_or_refused(odd):
    for name, method in (("p", "stephens"), ("z", "ecr"), ("draws", "pra"), ("draws", "order")):
        a.answer(lambda name=name, method=method: nb.relabel_draws(**{name: odd}, method=method))
