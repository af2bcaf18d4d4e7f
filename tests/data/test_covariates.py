import copy
import itertools
import pickle
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.data.covariates import as_covariates, distinct_rows

SEX = ["f", "m", "f"]


def one(column, n_rows=3):
    return as_covariates({"a": column}, n_rows)["a"]


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], dtype=np.uint8),
        np.array([1, 2, 3], dtype=np.longdouble),
        np.array([1, 2.0, np.int64(3)], dtype=object),
        pd.Series([1, 2, 3], dtype="Int64"),
        pd.Series([1.0, 2.0, 3.0], dtype=pd.SparseDtype(float)),
        np.ma.masked_array([1, 2, 3], mask=[False, False, False]),
    ],
)
def test_numbers_are_floats_that_cannot_be_changed(column):
    cells = one(column)
    assert cells.dtype == np.float64
    np.testing.assert_array_equal(cells, [1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        cells[0] = 5


@pytest.mark.parametrize(
    "column",
    [
        [True, False, True],
        np.array([True, False, True], dtype=object),
        pd.array([True, False, True], dtype="boolean"),
    ],
)
def test_booleans_stay_booleans(column):
    assert one(column).dtype == np.bool_
    assert one(column).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "column", [SEX, np.array(SEX), pd.Series(SEX), pd.Series(SEX, dtype="string"), tuple(SEX)]
)
def test_text_is_categories_in_alphabetical_order(column):
    cells = one(column)
    assert isinstance(cells, pd.Categorical)
    assert list(cells.categories) == ["f", "m"]
    assert list(cells) == SEX


def test_categoricals_keep_their_order_and_unused_categories():
    cells = one(pd.Categorical(["low", "high", "low"], categories=["low", "middle", "high"]))
    assert list(cells.categories) == ["low", "middle", "high"]
    assert cells.codes.tolist() == [0, 2, 0]
    # categories are text, whatever they were
    assert list(one(pd.Categorical([2.0, 10.0, 2.0])).categories) == ["2", "10"]
    assert list(one(pd.cut([1, 5, 9], [0, 5, 10])).categories) == ["(0, 5]", "(5, 10]"]
    with pytest.raises(ValueError, match="two categories that are both written '1'"):
        one(pd.Categorical([1, "1", 1]))


def test_minus_zero_is_zero():
    assert not np.signbit(one([-0.0, 0.0, 1.0])).any()


@pytest.mark.parametrize(
    ("column", "error", "text"),
    [
        ([1, None, np.nan], ValueError, "'a' has 2 missing values, the first at index 1. Drop"),
        (["x", None, "y"], ValueError, "'a' has 1 missing value, the first at index 1"),
        (pd.Categorical(["x", None, "y"]), ValueError, "1 missing value, the first at index 1"),
        (pd.array([1, pd.NA, 2], dtype="Int64"), ValueError, "1 missing value"),
        (np.ma.masked_array([1, 2, 3], mask=[0, 0, 1]), ValueError, "first at index 2"),
        ([1.0, np.inf, -np.inf], ValueError, "finite; 2 entries are not, the first is inf at inde"),
        (
            [10**400, 1, 2],
            ValueError,
            "must be finite; 1 entry is not, the first is inf at index 0",
        ),
        ([1, 2], ValueError, "'a' has 2 entries but there are 3 counts. Both must come"),
        (np.ones((3, 2)), ValueError, r"must be one column; got ndarray of shape \(3, 2\)"),
        (pd.to_datetime(["2020-01-01"] * 3), TypeError, "got dates or times, the first is '2020"),
        (pd.to_timedelta([1, 2, 3]), TypeError, "got dates or times"),
        ([1j, 2, 3], TypeError, "must hold numbers, booleans or strings; got"),
        ([b"x", b"y", b"x"], TypeError, "got b'x' of type bytes at index 0"),
        (["x", 1, "y"], TypeError, "got 'x' at index 0 and 1 at index 1. Make all of them numbers"),
        ([True, 1, 0], TypeError, "got True at index 0 and 1 at index 1"),
        ([object()] * 3, TypeError, "of type object at index 0"),
        ("abc", TypeError, "must be a column of 3 values; got 'abc'"),
        (5, TypeError, "must be a column of 3 values; got 5. Repeat"),
        ({1, 2, 3}, TypeError, "must be a column of 3 values"),
    ],
)
def test_other_columns_are_refused_by_name_and_place(column, error, text):
    with pytest.raises(error, match=text) as caught:
        one(column)
    assert str(caught.value).startswith("covariate 'a' ")


@pytest.mark.parametrize(
    ("covariates", "error", "text"),
    [
        ([[1, 2, 3]], TypeError, "must be a DataFrame or a mapping .*; got list. Try"),
        ("age", TypeError, "got str"),
        ({}, ValueError, "has no columns"),
        (pd.DataFrame(index=range(3)), ValueError, "has no columns"),
        ({3: [1, 2, 3]}, TypeError, "column 0 is named 3. Rename it"),
        ({"": [1, 2, 3]}, TypeError, "column 0 is named ''"),
        (pd.DataFrame(np.ones((3, 2))), TypeError, "column 0 is named 0"),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), ValueError, "2 columns called 'a'"),
    ],
)
def test_what_is_no_table_of_columns_is_refused(covariates, error, text):
    with pytest.raises(error, match=text) as caught:
        nb.Counts([1, 2, 3], covariates=covariates)
    assert str(caught.value).startswith("covariates ")


def test_counts_keep_covariates_read_only():
    frame = pd.DataFrame({"age": [31, 64, 47], "sex": SEX})
    counts = nb.Counts([0, 4, 2], covariates=frame, name="age")
    assert isinstance(counts.covariates, MappingProxyType)
    assert list(counts.covariates) == ["age", "sex"]
    assert repr(counts) == "Counts('age', n=3, n_unique=3, 2 covariates)"
    assert "<th" in counts._repr_html_()
    assert ">covariates<" in counts._repr_html_()
    frame["age"] = 0
    assert counts.covariates["age"].tolist() == [31, 64, 47]
    pd.testing.assert_frame_equal(
        pd.DataFrame(dict(nb.Counts([1, 2, 3], covariates=counts.covariates).covariates)),
        pd.DataFrame(dict(counts.covariates)),
    )
    assert nb.Counts([0, 4, 2]).covariates is None


def test_counts_with_covariates_go_to_other_processes():
    counts = nb.Counts([0, 4, 2], covariates={"age": [31, 64, 47], "sex": SEX}, subject=SEX)
    for again in (copy.deepcopy(counts), pickle.loads(pickle.dumps(counts))):
        assert again.digest == counts.digest
        assert isinstance(again.covariates, MappingProxyType)
    plain = pickle.loads(pickle.dumps(nb.Counts([1, 2])))
    assert plain.covariates is None
    assert plain.digest == nb.Counts([1, 2]).digest


def test_the_table_of_no_formula_is_that_of_values_and_exposures():
    values, exposure, times = [3, 0, 3, 3], [1, 1, 1, 2], [1, 2, 1, 0]
    plain = nb.Counts(values, exposure, times)
    full = nb.Counts(values, exposure, times, {"a": [1, 2, 3, 4]}, [1, 1, 2, 2], [3, 0, 9, 9], -1)
    for name, column in vars(plain.table).items():
        np.testing.assert_array_equal(getattr(full.table, name), column)
    np.testing.assert_array_equal(full.inverse, plain.inverse)


@pytest.mark.parametrize("labelled", ["frame", "series"])
def test_labels_in_another_order_are_refused(labelled):
    values = pd.Series([0, 5, 9], index=["x", "y", "z"])
    column = pd.Series([1, 2, 3], index=["x", "y", "z"], name="a")
    nb.Counts(values, covariates=column.to_frame())
    turned = column[::-1]
    covariates = turned.to_frame() if labelled == "frame" else {"a": turned}
    with pytest.raises(
        ValueError, match=r"covariate.* labels of the observations in another order"
    ):
        nb.Counts(values, covariates=covariates)
    with pytest.raises(ValueError, match="subject has the labels"):
        nb.Counts(values, subject=turned)


@pytest.mark.parametrize(
    ("subject", "codes", "labels"),
    [
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        ([7, 3, 7], [1, 0, 1], [3, 7]),
        ([7.0, 3.0, 7.0], [1, 0, 1], [3, 7]),
        (pd.Categorical(["b", "a", "b"], categories=["b", "c", "a"]), [0, 1, 0], ["b", "a"]),
    ],
)
def test_subjects_are_numbered(subject, codes, labels):
    counts = nb.Counts([1, 2, 3], subject=subject)
    assert counts.subject.dtype == np.intp
    assert counts.subject.tolist() == codes
    assert counts.subject_labels.tolist() == labels
    assert repr(counts).endswith("2 subjects)")


@pytest.mark.parametrize(
    ("subject", "error", "text"),
    [
        ([1, None, 2], ValueError, "1 missing value, the first at index 1"),
        ([1, 2.5, 2], ValueError, r"whole numbers up to 2\*\*53; got 2.5 at index 1"),
        ([True, False, True], TypeError, "got booleans"),
        ([1, 2], ValueError, "has 2 entries but there are 3 counts"),
        (pd.to_datetime(["2020-01-01"] * 3), TypeError, "dates or times"),
    ],
)
def test_other_subjects_are_refused(subject, error, text):
    with pytest.raises(error, match=text) as caught:
        nb.Counts([1, 2, 3], subject=subject)
    assert str(caught.value).startswith("subject ")


def test_records_that_stand_for_several_counts():
    counts = nb.Counts([0, 1, 10], upper=[0, 4, np.inf])
    assert counts.upper.tolist() == [0, 4, np.inf]
    assert repr(counts).endswith("2 inexact)")
    assert nb.Counts([0]).upper is None


@pytest.mark.parametrize(
    ("upper", "error", "text"),
    [
        ([0, 0, np.inf], ValueError, "count or above; it is 0 at index 1, where the count is 1"),
        ([0, 1.5, 20], ValueError, "whole numbers.*1.5 at index 1"),
        ([0, np.nan, 20], ValueError, "present; 1 entry is not.*index 1.*inf for a count or more"),
        ([0, -np.inf, 20], ValueError, "finite"),
        ([0, 1], ValueError, "has 2 entries but values has 3"),
        (["0", "1", "2"], TypeError, "must be numbers"),
        (5, TypeError, "list or an array"),
    ],
)
def test_other_upper_limits_are_refused(upper, error, text):
    with pytest.raises(error, match=text) as caught:
        nb.Counts([0, 1, 10], upper=upper)
    assert str(caught.value).startswith("upper ")


def test_counts_that_could_not_be_recorded():
    assert nb.Counts([1, 2, 10], above=0).above.tolist() == [0, 0, 0]
    counts = nb.Counts([1, 2, 0], above=np.array([0, 1, -1]))
    assert counts.above.tolist() == [0, 1, -1]
    assert repr(counts).endswith("2 cut off)")
    assert nb.Counts([0]).above is None


@pytest.mark.parametrize(
    ("above", "error", "text"),
    [
        (0, ValueError, "a count of 0 was recorded at index 1, though above=0 says that counts up"),
        ([0, -1, 5], ValueError, "a count of 5 was recorded at index 2, though above=5"),
        ([0, -2, 1], ValueError, "0 or above; 1 entry is not, the first is -2 at index 1.*-1 says"),
        (0.5, ValueError, "whole numbers"),
        (np.nan, ValueError, "finite"),
        (10**400, ValueError, "at most"),
        (True, TypeError, "bool"),
        ("0", TypeError, "str"),
        ([0, -1], ValueError, "has 2 entries but values has 3"),
    ],
)
def test_other_limits_below_are_refused(above, error, text):
    with pytest.raises(error, match=text) as caught:
        nb.Counts([1, 0, 5], above=above)
    assert str(caught.value).startswith("above ")


def test_what_cannot_use_subjects_and_limits_says_so():
    plain = [
        nb.Counts([1, 2]),
        nb.Counts([1, 2], covariates={"a": [1, 2]}),
        nb.Counts([1, 2], subject=["a", "b"], upper=[1, 2], above=[-1, -1]),
    ]
    for counts in plain:
        counts.refuse_observed("fit_em")
    for options, text in (
        ({"subject": [1, 1, 2]}, "fit_em cannot use subject=... yet: 3 counts are of 2 subjects"),
        ({"upper": [1, 2, 9]}, "fit_em cannot use upper=... yet: 1 of 3 records"),
        ({"above": 0}, "fit_em cannot use above=... yet: 3 of 3 counts"),
    ):
        with pytest.raises(ValueError, match=text):
            nb.Counts([1, 2, 3], **options).refuse_observed("fit_em")


def test_digests_without_anything_new_are_those_of_the_first_release():
    digest = nb.Counts([1, 2, 2], [1.0, 2.0, 0.5]).digest
    assert digest == "86cf198aaf8a12d37bad7c93d4e215af8e273843ea830d09cc0344a27aa7e42b"
    digest = nb.Counts([0, 1, 2], frequency=[3, 0, 1]).digest
    assert digest == "27379de8f70e5f68bfec599f8550256a725b5bb4a47e90e0bb20b25d2278af36"


def test_digests_tell_everything_that_is_given():
    given = [
        {},
        {"covariates": {"a": [1, 2]}},
        {"covariates": {"b": [1, 2]}},
        {"covariates": {"a": [1, 3]}},
        {"covariates": {"a": [True, False]}},
        {"covariates": {"a": [1, 0]}},
        {"covariates": {"a": ["1", "2"]}},
        {"covariates": {"a": ["2", "1"]}},
        {"covariates": {"a": pd.Categorical(["1", "2"], categories=["2", "1"])}},
        {"covariates": {"a": [1, 2], "b": [1, 2]}},
        {"subject": [1, 2]},
        {"subject": [1, 1]},
        {"upper": [1, 2]},
        {"upper": [1, 5]},
        {"above": 0},
        {"above": -1},
    ]
    digests = [nb.Counts([1, 2], **options).digest for options in given]
    assert len(set(digests)) == len(given)
    assert digests == [nb.Counts([1.0, 2.0], **options).digest for options in given]


COLUMNS = {
    "number": st.lists(st.sampled_from([-1.5, 0.0, 2.0, 1e300]), min_size=6, max_size=6),
    "flag": st.lists(st.booleans(), min_size=6, max_size=6),
    "text": st.lists(st.sampled_from(["a", "b", "é"]), min_size=6, max_size=6),
    "seen": st.lists(st.booleans(), min_size=6, max_size=6),
}


@given(
    st.fixed_dictionaries(COLUMNS), st.permutations(["number", "flag", "text"]), st.integers(0, 3)
)
def test_distinct_rows_are_those_of_python(drawn, names, how_many):
    seen = np.array(drawn.pop("seen"))
    covariates = as_covariates(drawn, 6)
    names = names[:how_many]
    rows, level = distinct_rows(covariates, names, 6, seen)
    patterns = [tuple(drawn[name][i] for name in names) for i in range(6)]
    expected = sorted({pattern for pattern, was in zip(patterns, seen, strict=True) if was})
    assert list(rows) == names
    assert [tuple(column[i] for column in rows.values()) for i in range(len(expected))] == expected
    assert all(len(column) == len(expected) for column in rows.values())
    assert level.tolist() == [
        expected.index(pattern) if was else -1 for pattern, was in zip(patterns, seen, strict=True)
    ]


def test_many_columns_of_many_values_keep_their_patterns_apart():
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.permutation(300) / 7 for j in range(12)}
    rows, level = distinct_rows(as_covariates(columns, 300), list(columns), 300, np.ones(300, bool))
    assert sorted(level) == list(range(300))
    for name, column in columns.items():
        np.testing.assert_array_equal(rows[name][level], column)


def test_patterns_follow_the_order_of_categories():
    grades = pd.Categorical(["low", "high", "low"], categories=["low", "high"])
    rows, level = distinct_rows(as_covariates({"a": grades}, 3), ["a"], 3, np.ones(3, bool))
    assert list(rows["a"]) == ["low", "high"]
    assert level.tolist() == [0, 1, 0]


def test_all_combinations_are_found():
    grid = np.array(list(itertools.product(range(3), range(2), range(4))), dtype=float)
    rng = np.random.default_rng(1)
    cells = grid[rng.integers(0, 24, 2000)]
    covariates = as_covariates({name: cells[:, j] for j, name in enumerate("abc")}, 2000)
    rows, level = distinct_rows(covariates, "abc", 2000, np.ones(2000, bool))
    np.testing.assert_array_equal(np.stack(list(rows.values()), axis=1), grid)
    np.testing.assert_array_equal(grid[level], cells)
