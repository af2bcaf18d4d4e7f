import gzip

import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb

TABLE = "count,size_factor,times,label\n3,0.5,1,a\n0,1.5,2,b\n7,2.5,0,c\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text(TABLE)
    return path


def test_columns_of_a_csv(table):
    counts = nb.read_counts(table, column="count", exposure="size_factor", frequency="times")
    np.testing.assert_array_equal(counts.values, [3, 0, 7])
    np.testing.assert_array_equal(counts.exposure, [0.5, 1.5, 2.5])
    np.testing.assert_array_equal(counts.frequency, [1, 2, 0])
    assert counts.name == "count"


def test_one_column_needs_no_name(tmp_path):
    path = tmp_path / "one.tsv"
    path.write_text("molecules\n5\n6\n\n")
    counts = nb.read_counts(path)
    np.testing.assert_array_equal(counts.values, [5, 6])
    assert counts.name == "molecules"


def test_gzip(tmp_path):
    path = tmp_path / "cells.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    np.testing.assert_array_equal(nb.read_counts(path, "count").values, [3, 0, 7])


@pytest.mark.parametrize(
    ("text", "column", "error", "texts"),
    [
        (TABLE, "counts", ValueError, ["no column 'counts'", "'count'", "'size_factor'"]),
        (TABLE, None, ValueError, ["4 columns", "column=NAME", "--column"]),
        (TABLE, "label", TypeError, ["'label'", "data row 1", "'a'"]),
        ("count\n1\n2\nx\n", "count", TypeError, ["'x'", "data row 3"]),
        ("count,b\n1,1\n,2\n", "count", ValueError, ["missing", "data row 2"]),
        ("count\n1\n-4\n", "count", ValueError, ["0 or above", "-4"]),
        ("count\n1\n2.5\n", "count", ValueError, ["whole numbers"]),
        ("flag\nTrue\nFalse\n", "flag", TypeError, ["true and false"]),
        ("3\n4\n5\n", None, ValueError, ["first line", "header"]),
        ("count\n", "count", ValueError, ["empty"]),
        ("", "count", ValueError, ["empty"]),
        ('a,b\n1,2\n"3,4\n', "a", ValueError, ["parsed"]),
    ],
)
def test_bad_text_is_named_with_file_and_place(tmp_path, text, column, error, texts):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(error) as caught:
        nb.read_counts(path, column)
    assert str(caught.value).startswith(str(path))
    for part in texts:
        assert part in str(caught.value)


# the time within a gzip would give the workers of pytest-xdist tests of different names
@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"\xff\xfe\x00count\n1\n", "UTF-8"),
        ("a.xlsx", b"PK", ".xlsx"),
        ("a.csv.gz", gzip.compress(TABLE.encode() * 500, mtime=0)[:60], "damaged"),
        ("a.csv.gz", b"not gzip", "not a gzipped file"),
        ("a.npz", b"not a zip", "npz"),
    ],
)
def test_unreadable_files(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        nb.read_counts(path, "count")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        nb.read_counts(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="not a file"):
        nb.read_counts(tmp_path)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("count,count,b\n1,2,3\n")
    with pytest.raises(ValueError, match="2 columns are called 'count'"):
        nb.read_counts(path, "count")
    assert nb.read_counts(path, "b").values.tolist() == [3]


def test_errors_name_the_column_and_count_rows_from_one(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("count\n4\n-6\n")
    with pytest.raises(ValueError, match=r"column 'count' \(values\) must be.*-6 in data row 2"):
        nb.read_counts(path, "count")


@pytest.mark.parametrize("path", [None, 5, ["a.csv"]])
def test_a_path_must_be_a_name(path):
    with pytest.raises(TypeError, match="path must be the name of a file"):
        nb.read_counts(path)


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".npz"])
def test_rows_without_a_number_are_left_out_if_asked(tmp_path, kind, caplog):
    path = tmp_path / f"cells{kind}"
    frame = pd.DataFrame({"count": [3, np.nan, 0, 5, np.nan], "size": [1.0, 2.0, np.nan, 0.5, 1.0]})
    if kind == ".csv":
        frame.to_csv(path, index=False)
    elif kind == ".parquet":
        frame.astype({"count": "Int64"}).to_parquet(path)
    else:
        np.savez(path, **frame)
    counts = nb.read_counts(path, "count", "size", missing="drop")
    assert counts.values.tolist() == [3, 5]
    assert counts.exposure.tolist() == [1.0, 0.5]
    assert caplog.messages == [
        f"{path}: left out 3 of 5 rows with an empty or missing cell, the first is data row 2"
    ]
    # a column that is not asked for may be empty
    assert nb.read_counts(path, "count", missing="drop").n == 3
    with pytest.raises(ValueError, match=r"empty or missing|finite"):
        nb.read_counts(path, "count", "size")


def test_nothing_is_said_where_nothing_is_missing(table, caplog):
    assert nb.read_counts(table, "count", missing="drop").n == 3
    assert caplog.messages == []


def test_rows_left_out_do_not_shift_the_row_of_an_error(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("count\n1\n\nNA\n-4\n")
    with pytest.raises(ValueError, match=r"column 'count' \(values\).*-4.* in data row 4"):
        nb.read_counts(path, missing="drop")


def test_what_is_left_of_a_file_without_numbers(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("count,b\nNA,1\n,2\n")
    with pytest.raises(ValueError, match="every row lacks a number in 'count'"):
        nb.read_counts(path, "count", missing="drop")
    with pytest.raises(ValueError, match=r'missing must be "error" or "drop"; got \'skip\''):
        nb.read_counts(path, "count", missing="skip")


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        (".xls", r'pandas\.read_excel\("cells\.xls"\)\.to_csv\("cells\.csv", index=False\)'),
        (".dta", "pandas.read_stata"),
        (".txt", "name it .csv"),
        ("", "files without a suffix .*name it .csv"),
        (".h5ad", "to_df"),
    ],
)
def test_files_of_another_kind_come_with_the_next_step(tmp_path, suffix, said):
    path = tmp_path / f"cells{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=said):
        nb.read_counts(path)


PEOPLE = """\
visits,age,sex,smoker,who,most,years
3,31, f,true,p1,3,1
0,64,m,false,p2,4,2
7,47.5,f,true,p1,inf,1
"""
WITH = {"covariates": ["age", "sex", "smoker"], "subject": "who", "upper": "most", "above": -1}


def people(folder, kind):
    """The same table as a file of another kind."""
    text = folder / "people.csv"
    text.write_text(PEOPLE)
    frame = pd.read_csv(text, skipinitialspace=True)
    path = folder / f"people{kind}"
    if kind == ".tsv":
        path.write_text(PEOPLE.replace(",", "\t"))
    elif kind == ".npz":
        np.savez(path, **{name: np.array(frame[name].tolist()) for name in frame})
    elif kind == ".xlsx":
        # a sheet has no infinity
        frame.astype({"most": object}).replace({np.inf: "inf"}).to_excel(path, index=False)
    elif kind == ".parquet":
        frame.to_parquet(path)
    elif kind == ".feather":
        frame.to_feather(path)
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".npz", ".xlsx", ".parquet", ".feather"])
def test_covariates_subjects_and_limits_of_every_kind_of_file(tmp_path, kind):
    if kind == ".xlsx":
        pytest.importorskip("openpyxl")
    counts = nb.read_counts(people(tmp_path, kind), "visits", exposure="years", **WITH)
    assert counts.values.tolist() == [3, 0, 7]
    assert list(counts.covariates) == ["age", "sex", "smoker"]
    np.testing.assert_array_equal(counts.covariates["age"], [31, 64, 47.5])
    assert list(counts.covariates["sex"]) == ["f", "m", "f"]
    assert counts.covariates["smoker"].dtype == np.bool_
    assert counts.subject.tolist() == [0, 1, 0]
    assert counts.subject_labels.tolist() == ["p1", "p2"]
    assert counts.upper.tolist() == [3, 4, np.inf]
    assert counts.above.tolist() == [-1, -1, -1]


def test_a_covariate_may_be_the_exposure_too(tmp_path):
    counts = nb.read_counts(people(tmp_path, ".csv"), "visits", "years", covariates="years")
    assert counts.covariates["years"].tolist() == counts.exposure.tolist()


def test_limits_below_may_be_a_column(tmp_path):
    path = tmp_path / "cut.csv"
    path.write_text("n,cut\n1,0\n5,2\n")
    assert nb.read_counts(path, "n", above="cut").above.tolist() == [0, 2]
    assert nb.read_counts(path, "n", above=0).above.tolist() == [0, 0]
    with pytest.raises(
        ValueError, match=r"above must be below every count; a count of 1 was recor"
    ):
        nb.read_counts(path, "n", above=1)
    path.write_text("n,cut\n1,0\n5,5\n")
    with pytest.raises(ValueError, match=r"column 'cut' \(above\) must be .* in data row 2"):
        nb.read_counts(path, "n", above="cut")


def test_categories_of_parquet_keep_their_order(tmp_path):
    grades = pd.Categorical(["low", "high", None], categories=["low", "mid", "high"])
    frame = pd.DataFrame({"n": [1, 2, 3], "grade": grades})
    for kind in ("parquet", "feather"):
        path = tmp_path / f"grades.{kind}"
        getattr(frame, f"to_{kind}")(path)
        counts = nb.read_counts(path, "n", covariates="grade", missing="drop")
        assert list(counts.covariates["grade"].categories) == ["low", "mid", "high"]
        assert counts.values.tolist() == [1, 2]
        with pytest.raises(
            ValueError, match=r"column 'grade' \(covariate\) has 1 empty or missing"
        ):
            nb.read_counts(path, "n", covariates="grade")


def test_dates_are_no_covariates(tmp_path):
    path = tmp_path / "days.parquet"
    pd.DataFrame({"n": [1], "day": pd.to_datetime(["2020-01-01"])}).to_parquet(path)
    with pytest.raises(TypeError, match=r"'day' \(covariate\) must hold numbers.*2020-01-01.*days"):
        nb.read_counts(path, "n", covariates="day")


@pytest.mark.parametrize(
    ("options", "error", "texts"),
    [
        ({"covariates": ["age", "sx"]}, ValueError, ["no column 'sx'", "'sex'"]),
        ({"covariates": ["age", "age"]}, ValueError, ["covariates names column 'age' twice"]),
        ({"covariates": [1]}, TypeError, ["covariates must be names of columns"]),
        ({"covariates": 5}, TypeError, ["covariates must be names of columns", "5"]),
        ({"subject": 5}, TypeError, ["subject must be a name"]),
        ({"upper": 5}, TypeError, ["upper must be a name"]),
        ({"subject": "age"}, ValueError, ["column 'age' (subject)", "47.5 in data row 3"]),
        ({"upper": "age", "above": 0}, ValueError, ["column 'age' (upper)", "47.5 in data row 3"]),
        ({"upper": "visits"}, ValueError, ["column 'visits' is named for two things"]),
        ({"above": 0.5}, ValueError, ["above must be whole numbers"]),
    ],
)
def test_what_cannot_be_read_beside_counts_is_named(tmp_path, options, error, texts):
    with pytest.raises(error) as caught:
        nb.read_counts(people(tmp_path, ".csv"), "visits", **options)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize("kind", [".csv", ".npz"])
def test_rows_without_a_covariate_are_refused_or_left_out(tmp_path, caplog, kind):
    path = tmp_path / f"gaps{kind}"
    frame = pd.DataFrame({"n": [1, 2, 3, 4], "a": [1.0, np.nan, 2.0, 3.0], "b": [*"xy", "", "x"]})
    if kind == ".csv":
        frame.to_csv(path, index=False)
    else:
        np.savez(path, n=frame["n"], a=frame["a"], b=np.array([*"xyzx"]))
    with pytest.raises(ValueError, match=r"column 'a' \(covariate\) has 1 .*in data row 2"):
        nb.read_counts(path, "n", covariates=["a", "b"])
    counts = nb.read_counts(path, "n", covariates=["a", "b"], missing="drop")
    assert counts.values.tolist() == ([1, 4] if kind == ".csv" else [1, 3, 4])
    left = 4 - counts.n
    assert f"left out {left} of 4 rows with an empty or missing cell, the first is" in caplog.text
    # what no covariate is asked for may be missing
    assert nb.read_counts(path, "n").n == 4


def test_true_and_false_with_gaps_are_true_and_false(tmp_path):
    path = tmp_path / "flags.csv"
    path.write_text("n,flag\n1,true\n2,\n3,false\n")
    counts = nb.read_counts(path, "n", covariates="flag", missing="drop")
    assert counts.covariates["flag"].tolist() == [True, False]
