"""Counts, data sets and simulated ones under input of every kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.data.squash import squash
from tests.fuzz import arbitrary as a


@a.budget(4)
@given(a.odd_arrays, st.none() | a.odd_arrays, st.none() | a.odd_arrays)
def test_counts_are_valid_or_refused(values, exposure, frequency):
    counts = a.answer(lambda: nb.Counts(values, exposure, frequency))
    if counts is not None:
        assert counts.values.dtype == np.int64
        assert counts.values.min() >= 0
        assert np.isfinite(counts.exposure).all()
        assert counts.exposure.min() > 0
        assert counts.table.n == counts.n > 0


@a.budget(2)
@given(
    a.values,
    st.sampled_from(["values", "exposure", "frequency", "subject", "upper", "above"]),
    a.odd_arrays,
)
def test_a_refusal_names_its_argument(values, argument, odd):
    arguments = {"values": values, argument: odd}
    text = a.refusal(lambda: nb.Counts(**arguments))
    if text is not None:
        assert argument in text


@a.budget(2)
@given(a.values, a.odd_arrays)
def test_covariates_are_valid_or_refused_by_name(values, odd):
    made = []
    text = a.refusal(lambda: made.append(nb.Counts(values, covariates={"a": odd})))
    if text is not None:
        assert "'a'" in text or "values" in text
    for counts in made:
        cells = counts.covariates["a"]
        assert len(cells) == counts.values.size
        assert isinstance(cells, pd.Categorical) or np.isfinite(cells).all()


@a.budget(1)
@given(a.not_numbers.filter(lambda name: not (isinstance(name, str) and name)))
def test_a_name_is_text(name):
    a.refused(lambda: nb.Counts([1], name=name), "name")


@a.budget(4)
@given(a.counts())
def test_the_table_holds_every_observation(counts):
    table = counts.table
    order = np.lexsort((table.exposure, table.values))
    assert (order == np.arange(order.size)).all()
    assert table.n == counts.n
    seen = counts.frequency > 0
    np.testing.assert_array_equal(table.values[counts.inverse[seen]], counts.values[seen])
    np.testing.assert_array_equal(table.exposure[counts.inverse[seen]], counts.exposure[seen])
    assert (counts.inverse[~seen] == -1).all()


@a.budget(2)
@given(a.counts(60), st.floats(1e-6, 30), st.integers(2, 8))
def test_a_squashed_table_keeps_the_observations(counts, width, nodes):
    table = counts.table
    small = squash(table, width, nodes)
    assert small.values.size <= table.values.size
    assert np.isfinite(small.exposure).all()
    assert (small.frequency > 0).all()
    for value in np.unique(table.values):
        kept, had = small.values == value, table.values == value
        np.testing.assert_allclose(
            small.frequency[kept].sum(), table.frequency[had].sum(), rtol=1e-9
        )
        assert small.exposure[kept].min() >= table.exposure[had].min() * (1 - 1e-9)
        assert small.exposure[kept].max() <= table.exposure[had].max() * (1 + 1e-9)


@a.budget(1)
@given(st.integers(1, 300), st.booleans(), a.seeds)
def test_simulated_droplets_are_the_same_for_one_seed(n, with_exposure, seed):
    first, second = (
        nb.simulate_droplets(n, with_exposure=with_exposure, random_seed=seed) for _ in range(2)
    )
    assert first.n == n
    assert first.has_exposure == with_exposure
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.exposure, second.exposure)


@a.budget(1)
@given(a.not_whole)
def test_simulated_droplets_need_a_whole_number(n):
    a.refused(lambda: nb.simulate_droplets(n), "n_droplets")


@a.budget(1)
@given(a.not_seeds)
def test_simulated_droplets_need_a_seed(seed):
    a.refused(lambda: nb.simulate_droplets(3, random_seed=seed), "random_seed")


@a.budget(1)
@given(a.odd_scalars)
def test_an_unknown_data_set_is_refused(name):
    a.refused(lambda: nb.load_dataset(name), "data set")


@a.budget(1)
@given(a.not_text)
def test_a_path_is_text(path):
    a.refused(lambda: nb.read_counts(path), "path")


@pytest.mark.parametrize(
    "argument", ["column", "exposure", "frequency", "name", "subject", "upper"]
)
def test_the_arguments_of_a_reader_are_names(tmp_path, argument):
    file = tmp_path / "counts.csv"
    file.write_text("a,b\n1,2\n3,4\n")

    @a.budget(1)
    @given(a.not_text | a.odd_floats)
    def check(odd):
        arguments = {"column": "a", argument: odd}
        a.refused(lambda: nb.read_counts(file, **arguments), argument)

    check()
