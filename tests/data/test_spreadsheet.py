import datetime
import sys
import warnings
import zipfile

import pandas as pd
import pytest

import pmnbmix as nb
from pmnbmix.batch.files import open_matrix

openpyxl = pytest.importorskip("openpyxl")


def written(folder, rows, more=()):
    """A workbook with these rows in its first sheet, and further sheets of these names."""
    book = openpyxl.Workbook()
    book.active.title = "visits"
    for row in rows:
        book.active.append(row)
    for name in more:
        book.create_sheet(name)
    path = folder / "cells.xlsx"
    book.save(path)
    return path


def test_columns_of_a_spreadsheet(tmp_path):
    rows = [["id", "visits", "years"], ["a", 3, 0.5], ["b", 0, 1], ["c", 7, 2.5]]
    counts = nb.read_counts(written(tmp_path, rows), "visits", "years")
    assert counts.values.tolist() == [3, 0, 7]
    assert counts.exposure.tolist() == [0.5, 1.0, 2.5]


def test_what_pandas_writes(tmp_path):
    path = tmp_path / "cells.xlsx"
    pd.DataFrame({"count": [4, 0], "size": [1.5, 2.0]}).to_excel(path)
    assert nb.read_counts(path, "count", "size").exposure.tolist() == [1.5, 2.0]
    matrix, _ = open_matrix(path, "size")
    assert matrix.to_dict("list") == {"count": [4, 0]}


def test_blank_rows_and_columns_around_a_table_are_none_of_it(tmp_path):
    rows = [[], [None, " "], ["count", None, "  "], [3], [0, None], [], [None, None], ["  "]]
    assert nb.read_counts(written(tmp_path, rows)).values.tolist() == [3, 0]


REFUSED = {
    "a missing cell": ([["count", "b"], [3, 1], [None, 2]], "1 empty .* data row 2"),
    "a blank row": ([["count"], [3], [None], [4]], "1 empty .* data row 2"),
    "text": ([["count"], [3], ["many"]], "data row 2 has 'many'"),
    "thousands as text": ([["count"], ["12"], ["1.000"]], "'1.000' in data row 2.* 1000, .*or 1,"),
    "half a count": ([["count"], [3], [2.5]], "2.5 in data row 2"),
    "a date": ([["count"], [datetime.date(2020, 1, 1)]], "data row 1 has '2020-01-01"),
    "true": ([["count"], [True]], "holds true and false"),
    "true among numbers": ([["count"], [3], [True]], "must hold numbers; data row 2 has 'True'"),
    "no header": ([[3, 4], [5, 6]], "first line .* holds numbers"),
    "nothing": ([], "its first sheet, 'visits', is empty"),
    "only a header": ([["count"]], "is empty: at least one"),
    "another sheet": ([["a", "b"], [1, 2]], "no column 'count'.*Only the first sheet, 'visits'"),
    "names twice": ([["count", "count"], [1, 2]], "2 columns are called 'count'"),
    "too large an integer": ([["count"], [10**30]], r"at most 2\*\*53"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_column_of_counts_is_named(tmp_path, case):
    rows, expected = REFUSED[case]
    path = written(tmp_path, rows, ["notes"])
    with pytest.raises((TypeError, ValueError), match=expected) as caught:
        nb.read_counts(path, "count")
    assert str(caught.value).startswith(f"{path}: ")


def test_numbers_as_text_are_read_as_it_is_said(tmp_path):
    path = written(tmp_path, [["count"], [12], ["1.000"]])
    assert nb.read_counts(path, thousands=".").values.tolist() == [12, 1000]


def test_damaged_files_are_no_whole_ones(tmp_path):
    whole = written(tmp_path, [["count"], [3]]).read_bytes()
    path = tmp_path / "cells.xlsx"
    for content in (b"", b"PK", whole[:-30], whole[: len(whole) // 2], b"count\n3\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"it is not a whole \.xlsx file"):
            nb.read_counts(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(ValueError, match=r"it is not a whole \.xlsx file"):
        nb.read_counts(path)


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("pmnbmix.data.spreadsheet.LARGEST_SPREADSHEET", 1000)
    with pytest.raises(ValueError, match=r"unpacks to \d+ bytes; at most 1000 are read"):
        nb.read_counts(written(tmp_path, [["count"], [3]]))


def test_a_size_that_a_sheet_only_claims_is_not_believed(tmp_path):
    path = written(tmp_path, [["count"], [3]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b'ref="A1:A2"' in parts[sheet]
    parts[sheet] = parts[sheet].replace(b'ref="A1:A2"', b'ref="A1:XFD1048576"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert nb.read_counts(path).values.tolist() == [3]


def test_without_openpyxl_one_line_of_pandas_is_named(tmp_path, monkeypatch):
    path = written(tmp_path, [["count"], [3]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        ValueError, match=r"pmnbmix\[excel\].*pandas\.read_excel\(\"cells\.xlsx\"\)"
    ):
        nb.read_counts(path)


def test_warnings_of_openpyxl_are_none_of_the_users(tmp_path):
    path = written(tmp_path, [["count"], [3]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    del parts["xl/styles.xml"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nb.read_counts(path).values.tolist() == [3]
