import gzip

import numpy as np
import pandas as pd
import pytest

from pmnbmix.batch.files import open_matrix


def opened(folder, text, exposure=None, name="cells.csv"):
    """What a file of this text is opened as."""
    path = folder / name
    content = text.encode()
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return open_matrix(path, exposure)


REFUSED = {
    "a comma at the end of every row": (
        "a,b,c\n1,20,300,\n2,21,310,\n",
        "first data row has more fields than the header .*separator at the end",
    ),
    "a comma at the end of every row with a name": (
        "cell,g,h\nc1,20,300,\nc2,21,310,\n",
        "first data row has more fields than the header",
    ),
    "a comma at the end of every line": (
        "a,b,\n1,20,\n2,21,\n",
        "column 3 of 3 has no name.*separator at the end",
    ),
    "a comma at the end of a later row": (
        "a,b\n1,2\n3,4,\n",
        "cannot be parsed: data row 2 has more fields .*'3,4,'",
    ),
    "numbers of rows that the header leaves out": (
        "g,h\n1,5,3\n2,6,4\n",
        "more fields than the header .*names missing in the header, as that of the row names",
    ),
    "two fields too many": ("g,h\nx,y,5,3\n", "more fields than the header"),
    "thousands in the first column": (
        'a,b\n20,1\n"1,234",2\n30,3\n',
        "column 'a' must hold numbers; data row 2 has '1,234'.*1234, with commas between thousands",
    ),
    "thousands in the whole first column": ('a,b\n"1,234",1\n"2,345",2\n', "row 1 has '1,234'"),
    "a dash for what is missing": ("a,b\n20,1\n30,2\n-,3\n", "column 'a' .* data row 3 has '-'"),
    "a number among names of rows": (
        "cell,g\nc1,5\n7,6\n",
        "column 'cell' .*row 1 has 'c1'.*leave its header empty",
    ),
    "a bad cell in the only column": ("a\n1\nx\n", "column 'a' .* data row 2 has 'x'"),
    "no header line": (
        "1,20,300\n2,21,310\n",
        r"first line \(1,20,300\) holds numbers.*Add a header line",
    ),
    "no header line of zero and one": ("0,1\n2,3\n", "first line .* holds numbers"),
    "no header line of many columns": (
        ",".join(["17"] * 500) + "\n",
        r"first line \([17,]{80}\.\.\.\) holds numbers",
    ),
    "a name that comes twice": ("g,g,h\n1,2,3\n", "2 columns are called 'g'"),
    "a blank line of spaces": ("a,b\n1,2\n  \n3,4\n", "every cell of data row 2 is empty"),
    "a row that is cut off": ("a,b\n1,2\n3\n", "data row 2 has fewer fields"),
    "points that may divide thousands": (
        "a;b\n12;2\n1.000;4\n",
        r"column 'a' has '1\.000' in data row 2",
    ),
    "names left out of the header, and a row cut off": (
        "g,h\nc1,5,3\nc2,6\n",
        "data row 2 has fewer fields than the header .2 where it has 3",
    ),
    "a blank line inside": ("a,b\n1,2\n\n3,4\n", "every cell of data row 2 is empty"),
    "a blank line of one column": ("a\n1\n2\n \n3\n", "every cell of data row 3 is empty"),
    "a row of commas at the end": ("a,b\n1,2\n,\n", "every cell of data row 2 is empty"),
    "an empty file": ("", "the file is empty"),
    "a quotation without end": ('a,b\n1,2\n"3,4\n', "cannot be parsed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_would_be_misread_is_refused_in_one_line(case, tmp_path):
    text, expected = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=expected) as caught:
        opened(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'cells.csv'}: ")
    assert "\n" not in str(caught.value)


ROWS_NAMED = {
    "text under a header": "cell,g,h\nc1,5,3\nc2,6,4\n",
    "no header, as R and pandas write": ",g,h\nc1,5,3\nc2,6,4\n",
    "numbers without a header": ",g,h\n1,5,3\n2,6,4\n",
    "written again by pandas": "Unnamed: 0,g,h\n0,5,3\n1,6,4\n",
    "left out of the header, as R writes": 'g,h\n"c1",5,3\n"c2",6,4\n',
    "a name that is missing": "cell,g,h\nc1,5,3\nNA,6,4\n",
    "times": "time,g,h\n12:30,5,3\n12:31,6,4\n",
    "hexadecimal numbers": "id,g,h\n0x01,5,3\n0x02,6,4\n",
    "dates": "day,g,h\n2020-01-01,5,3\n2020-01-02,6,4\n",
    "barcodes": "cell,g,h\nAAAC-1,5,3\nAAAG-1,6,4\n",
    "blank lines around": "\n \ncell,g,h\nc1,5,3\nc2,6,4\n\n \n",
    "semicolons": "cell;g;h\nc1;5;3\nc2;6;4\n",
    "a byte order mark": "\ufeff\ncell,g,h\nc1,5,3\nc2,6,4",
    "returns": "\r\rcell,g,h\rc1,5,3\rc2,6,4\r\r",
}


@pytest.mark.parametrize("name", ["cells.csv", "cells.csv.gz", "cells.tsv", "CELLS.TSV.GZ"])
@pytest.mark.parametrize("case", ROWS_NAMED)
def test_names_of_rows_are_no_counts(case, name, tmp_path):
    text = ROWS_NAMED[case]
    text = text.replace(",", "\t") if "tsv" in name.lower() else text
    matrix, exposure = opened(tmp_path, text, name=name)
    assert exposure is None
    assert list(matrix.columns) == ["g", "h"]
    np.testing.assert_array_equal(matrix.to_numpy(), [[5, 3], [6, 4]])
    assert matrix.to_numpy().dtype == np.int64


def test_numbers_under_a_header_may_be_counts(tmp_path):
    matrix, _ = opened(tmp_path, "cell,g,h\n1001,5,3\n1002,6,4\n")
    np.testing.assert_array_equal(matrix.to_numpy(), [[1001, 5, 3], [1002, 6, 4]])


def test_names_that_pandas_gives_are_names(tmp_path):
    expected = np.arange(12).reshape(2, 6)
    matrix, _ = opened(tmp_path, pd.DataFrame(expected).to_csv(index=False))
    assert list(matrix.columns) == list("012345")
    np.testing.assert_array_equal(matrix.to_numpy(), expected)


def test_missing_counts_stay_in_their_rows(tmp_path):
    matrix, _ = opened(tmp_path, "cell,g,h\nc1,,3\nc2,,\nc3,6,4\n")
    np.testing.assert_array_equal(matrix.to_numpy(), [[np.nan, 3], [np.nan, np.nan], [6, 4]])


@pytest.mark.parametrize("empty", ["", "NA", " ", '""'])
def test_a_column_without_any_count_is_one_of_missing_counts(tmp_path, empty):
    matrix, _ = opened(tmp_path, f"g,h\n{empty},3\n{empty},4\n")
    assert matrix["g"].dtype == np.float64
    assert matrix["g"].isna().all()


@pytest.mark.parametrize("kind", [".parquet", ".feather"])
@pytest.mark.parametrize("rows_named", [False, True])
def test_tables_of_parquet_and_feather(tmp_path, kind, rows_named):
    frame = pd.DataFrame({"g": [5, 6], "h": [3, 4], "s": [0.5, 2.0]})
    if rows_named:
        frame.insert(0, "cell", ["c1", "c2"])
    path = tmp_path / f"cells{kind}"
    frame.to_parquet(path) if kind == ".parquet" else frame.to_feather(path)
    matrix, exposure = open_matrix(path, "s")
    assert list(matrix.columns) == ["g", "h"]
    np.testing.assert_array_equal(matrix.to_numpy(), [[5, 3], [6, 4]])
    np.testing.assert_array_equal(exposure, [0.5, 2])
    with pytest.raises(ValueError, match=r"no column 't'\. Existing columns: 'g', 'h', 's'"):
        open_matrix(path, "t")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=f"cells{kind}: it is not a whole {kind} file"):
        open_matrix(path)


def test_an_index_of_pandas_names_rows(tmp_path):
    path = tmp_path / "cells.parquet"
    pd.DataFrame({"g": [5, 6]}, index=pd.Index([7, 8], name="cell")).to_parquet(path)
    matrix, _ = open_matrix(path)
    assert list(matrix.columns) == ["g"]
    assert matrix["g"].tolist() == [5, 6]


def test_a_blank_line_in_quotes_is_none(tmp_path):
    matrix, _ = opened(tmp_path, 'cell,g\n"c\n\n1",5\n"c\n2",6\n')
    assert matrix["g"].tolist() == [5, 6]


def test_thousands_of_columns(tmp_path):
    expected = np.random.default_rng(7).poisson(2, (3, 5000))
    names = [f"g{j}" for j in range(5000)]
    frame = pd.DataFrame(expected, columns=names, index=["c1", "c2", "c3"])
    matrix, _ = opened(tmp_path, frame.to_csv())
    assert list(matrix.columns) == names
    np.testing.assert_array_equal(matrix.to_numpy(), expected)


def test_exposures_are_a_column_of_the_table(tmp_path):
    matrix, exposure = opened(tmp_path, "s,g\n0.5,3\n2,4\n", "s")
    assert list(matrix.columns) == ["g"]
    np.testing.assert_array_equal(exposure, [0.5, 2])


def test_exposures_that_are_names_of_rows_exist_but_are_no_numbers(tmp_path):
    with pytest.raises(TypeError, match=r"column 's' cannot hold the exposures.*row 1 has 'low'"):
        opened(tmp_path, "s,g\nlow,3\nhigh,4\n", "s")
    with pytest.raises(ValueError, match=r"there is no column 't'. Existing columns: 'g'"):
        opened(tmp_path, "s,g\nlow,3\nhigh,4\n", "t")


def test_a_gzipped_table_that_is_damaged_or_none(tmp_path):
    path = tmp_path / "cells.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 500)[:-20])
    with pytest.raises(ValueError, match=r"cells\.csv\.gz: the compressed file is damaged"):
        open_matrix(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"cells\.csv\.gz: this is not a gzipped file"):
        open_matrix(path)
