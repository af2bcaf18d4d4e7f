import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import pmnbmix as nb

ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([0.5, 1.0, 2.25]), st.integers(0, 4)), min_size=1
).filter(lambda rows: any(frequency for _, _, frequency in rows))


@given(ROWS)
def test_table_expands_back_to_every_single_observation(rows):
    values, exposure, frequency = (list(column) for column in zip(*rows, strict=True))
    counts = nb.Counts(values, exposure, frequency)

    expanded = counts.expanded_inverse()
    assert counts.n == sum(frequency) == expanded.size
    np.testing.assert_array_equal(counts.table.values[expanded], np.repeat(values, frequency))
    np.testing.assert_array_equal(counts.table.exposure[expanded], np.repeat(exposure, frequency))
    np.testing.assert_array_equal(counts.table.frequency, np.bincount(expanded))


@given(ROWS)
def test_unique_rows_are_unique_and_ascending(rows):
    values, exposure, frequency = (list(column) for column in zip(*rows, strict=True))
    table = nb.Counts(values, exposure, frequency).table
    pairs = list(zip(table.values, table.exposure, strict=True))
    assert pairs == sorted(set(pairs))
    assert (table.frequency > 0).all()


def test_rows_never_seen_belong_to_no_unique_row():
    counts = nb.Counts([3, 5, 3], frequency=[1, 0, 2])
    np.testing.assert_array_equal(counts.inverse, [0, -1, 0])
    assert (counts.n, counts.n_unique) == (3, 1)


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2],
        (0, 1, 2),
        np.array([0.0, 1.0, 2.0]),
        np.array([0, 1, 2], dtype=np.uint8),
        pd.Series([0, 1, 2], dtype="Int64"),
        pd.Series([0, 1, 2], dtype=object),
        np.ma.masked_array([0, 1, 2], mask=False),
    ],
)
def test_numbers_in_any_container_are_counts(values):
    np.testing.assert_array_equal(nb.Counts(values).values, [0, 1, 2])


def test_arrays_cannot_be_changed_from_outside():
    source = np.array([1, 2, 3])
    counts = nb.Counts(source)
    source[0] = 99
    assert counts.values[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        counts.values[0] = 99


@pytest.mark.parametrize(
    ("arguments", "error", "texts"),
    [
        ({"values": [3, -1, -2]}, ValueError, ["0 or above", "2 entries", "-1 at index 1"]),
        ({"values": [1, 2.5]}, ValueError, ["whole numbers", "2.5 at index 1"]),
        ({"values": [1.0, np.nan]}, ValueError, ["finite", "nan at index 1", "drop"]),
        ({"values": [np.inf]}, ValueError, ["finite", "inf at index 0"]),
        ({"values": [None, 1]}, ValueError, ["missing", "index 0"]),
        ({"values": pd.Series([1, pd.NA], dtype="Int64")}, ValueError, ["finite", "index 1"]),
        ({"values": np.ma.masked_array([1, 2], [False, True])}, ValueError, ["masked", "index 1"]),
        ({"values": ["1", "2"]}, TypeError, ["strings", "'1'"]),
        ({"values": [1, "x"]}, TypeError, ["strings"]),
        ({"values": pd.Series([1, "x"], dtype=object)}, TypeError, ["'x'", "index 1"]),
        ({"values": [True, False]}, TypeError, ["booleans"]),
        ({"values": np.array([True, False])}, TypeError, ["booleans"]),
        ({"values": [1, True, 2]}, TypeError, ["True at index 1"]),
        ({"values": "12"}, TypeError, ["list or an array", "str"]),
        ({"values": None}, TypeError, ["list or an array", "NoneType"]),
        ({"values": {1, 2}}, TypeError, ["list or an array", "set"]),
        ({"values": range(0)}, ValueError, ["empty"]),
        ({"values": pd.Series([1, True], dtype=object)}, TypeError, ["True", "bool"]),
        ({"values": [1 + 2j]}, TypeError, ["complex"]),
        ({"values": np.array(["2020-01-01"], dtype="datetime64[D]")}, TypeError, ["datetime64"]),
        ({"values": []}, ValueError, ["empty"]),
        ({"values": 5}, TypeError, ["list or an array", "int"]),
        ({"values": np.array(5)}, ValueError, ["one dimension", "()"]),
        ({"values": [[1], [2]]}, ValueError, ["one dimension", "(2, 1)", "ravel"]),
        ({"values": [[1], [2, 3]]}, ValueError, ["different lengths"]),
        (
            {"values": sparse.csr_matrix([[1, 2], [0, 3]])},
            ValueError,
            ["sparse matrix of shape (2, 2)", "matrix[:, [j]]"],
        ),
        ({"values": sparse.csr_array([[1.5], [0]])}, ValueError, ["whole numbers", "1.5"]),
        ({"values": [2**60]}, ValueError, ["2**53", str(2**60)]),
        ({"values": [2**70]}, ValueError, ["2**53"]),
        ({"values": [1, 2], "exposure": [1.0]}, ValueError, ["exposure has 1", "values has 2"]),
        ({"values": [1], "exposure": [0.0]}, ValueError, ["above 0", "0.0 at index 0"]),
        ({"values": [1], "exposure": [-1.0]}, ValueError, ["above 0", "-1.0", "logarithm"]),
        ({"values": [1], "exposure": [np.nan]}, ValueError, ["exposure", "finite"]),
        ({"values": [1], "exposure": [np.inf]}, ValueError, ["exposure", "finite"]),
        ({"values": [1], "exposure": ["a"]}, TypeError, ["exposure", "strings"]),
        ({"values": [1], "frequency": [-1]}, ValueError, ["frequency", "0 or above"]),
        ({"values": [1], "frequency": [0.5]}, ValueError, ["frequency", "whole numbers"]),
        ({"values": [1], "frequency": [0]}, ValueError, ["every frequency is 0"]),
        ({"values": [1, 2], "frequency": [1]}, ValueError, ["frequency has 1"]),
        ({"values": [1, 2], "frequency": [2**53, 2**53]}, ValueError, ["2**53"]),
        ({"values": [1], "name": ""}, TypeError, ["name"]),
        ({"values": [1], "name": 3}, TypeError, ["name"]),
    ],
)
def test_bad_input_is_named_with_its_place_and_the_next_step(arguments, error, texts):
    with pytest.raises(error) as caught:
        nb.Counts(**arguments)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("molecules", "molecules"),
        ("a/b", "a_b"),
        ("Zähler (n)", "Zähler__n"),
        ("frequency", "frequency_count"),
        ("draw", "draw_count"),
        ("/", "count"),
    ],
)
def test_any_name_can_stand_for_a_variable(name, variable):
    assert nb.Counts([1], name=name).variable == variable


@pytest.mark.parametrize("exposure", [1e308, 1e-310, 1.1e100, 9e-101])
def test_exposures_whose_squares_are_no_numbers_are_refused(exposure):
    with pytest.raises(ValueError, match="exposure must be between 1e-100 and 1e"):
        nb.Counts([1, 2], [1.0, exposure])


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_the_widest_exposures_allowed_can_be_fitted(scale):
    counts = nb.Counts([0, 3, 5, 9], np.full(4, scale))
    fit = nb.fit_em(counts, 2, random_seed=0)
    plain = nb.fit_em(nb.Counts([0, 3, 5, 9]), 2, random_seed=0)
    assert fit.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(fit.params.means * scale, plain.params.means, rtol=1e-4)


@pytest.mark.parametrize("argument", ["exposure", "frequency"])
def test_numbers_labelled_in_another_order_are_refused(argument):
    """A Series that was sorted by something else went to other counts by position."""
    frame = pd.DataFrame({"count": [0, 5, 9], "size": [1, 2, 3]}, index=["a", "b", "c"])
    nb.Counts(frame["count"], **{argument: frame["size"]})
    nb.Counts(frame["count"], **{argument: frame["size"].to_numpy()[::-1]})
    with pytest.raises(ValueError, match=f"{argument} has the labels .* in another order"):
        nb.Counts(frame["count"], **{argument: frame["size"].sort_values(ascending=False)})


def test_a_digest_tells_other_rows_and_another_order_apart():
    def digest(*arguments, **options):
        return nb.Counts(*arguments, **options).digest

    own = digest([1, 2, 2], [1.0, 2.0, 0.5])
    assert own == digest(np.array([1.0, 2.0, 2.0]), [1, 2, 0.5], name="another")
    others = [
        digest([2, 1, 2], [2.0, 1.0, 0.5]),
        digest([1, 2, 2]),
        digest([1, 2, 2], [1.0, 2.0, 0.5], [1, 1, 2]),
        digest([1, 2, 3], [1.0, 2.0, 0.5]),
    ]
    assert len({own, *others}) == 5


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_columns_and_rows_are_read(kind):
    values = [3, 0, 7, 0]
    column = kind(np.array(values)[:, None])
    for one_column in (column, column.T, column.astype(np.float32)):
        assert nb.Counts(one_column).values.tolist() == values
    exposed = nb.Counts(column, exposure=kind(np.array([[0.5, 1.0, 2.0, 1.0]])))
    assert exposed.exposure.tolist() == [0.5, 1.0, 2.0, 1.0]
    one = sparse.coo_array(np.array(values))
    assert one.ndim == 1
    assert nb.Counts(one).values.tolist() == values


def test_a_gene_of_an_anndata_is_read():
    anndata = pytest.importorskip("anndata")
    matrix = np.array([[3, 1], [0, 2], [7, 0]], dtype=np.float32)
    adata = anndata.AnnData(sparse.csr_matrix(matrix))
    adata.var_names = ["CD8A", "CD4"]
    assert nb.Counts(adata[:, "CD8A"].X).values.tolist() == [3, 0, 7]
    assert nb.Counts(adata[:, "CD4"].to_df()["CD4"]).values.tolist() == [1, 2, 0]
