import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import pmnbmix as nb
from tests.fuzz import arbitrary as a

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


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pmnbmix.data.delimited.LARGEST_ARCHIVE", 10**6)
    path = tmp_path / "cells.csv.gz"
    path.write_bytes(gzip.compress(b"count\n" + b"0\n" * 10**6))
    with pytest.raises(ValueError, match="unpacks to more than 1000000 bytes"):
        nb.read_counts(path)


def test_gzip(tmp_path):
    path = tmp_path / "cells.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    np.testing.assert_array_equal(nb.read_counts(path, "count").values, [3, 0, 7])


def test_arrays_of_an_npz(tmp_path):
    path = tmp_path / "cells.npz"
    np.savez_compressed(path, x=[3, 0], s=[0.5, 1.5])
    counts = nb.read_counts(path, column="x", exposure="s", name="molecules")
    np.testing.assert_array_equal(counts.exposure, [0.5, 1.5])
    assert counts.name == "molecules"


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


def _npz(path, header):
    """An archive whose array x has this header and four bytes of content."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", stream.getvalue() + b"\0\0\0\0")


def test_python_objects_in_an_npz_are_never_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TypeError, match="run code"):
        nb.read_counts(path, "x")


def test_an_array_that_claims_more_than_the_file_holds(tmp_path):
    path = tmp_path / "huge.npz"
    _npz(path, {"descr": "<i8", "fortran_order": False, "shape": (10**15,)})
    with pytest.raises(ValueError, match="claims"):
        nb.read_counts(path, "x")


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(2**16, dtype=np.int64))
    assert path.stat().st_size < 2000
    monkeypatch.setattr("pmnbmix.data.readers.LARGEST_ARCHIVE", 2**19)
    with pytest.raises(ValueError, match=r"bomb\.npz: array 'x' unpacks to 524416 bytes; at most"):
        nb.read_counts(path)


def test_truncated_npz(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, x=np.arange(10_000))
    path = tmp_path / "half.npz"
    path.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="npz"):
        nb.read_counts(path, "x")


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("count,b\n5,1,3\n7,2,4\n9,0,5\n", "count"),
        ("count\n2,5\n3,7\n1,1\n0,9\n", None),
        ("count,b\n5,1,\n7,2,\n", "count"),
    ],
)
def test_rows_with_more_fields_than_the_header_are_refused(tmp_path, text, column):
    path = tmp_path / "shifted.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="the first data row has more fields than the header"):
        nb.read_counts(path, column)


def test_a_later_row_with_more_fields_is_refused(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("count\n2\n3,7\n")
    with pytest.raises(ValueError, match="cannot be parsed"):
        nb.read_counts(path)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("count,count,b\n1,2,3\n")
    with pytest.raises(ValueError, match="2 columns are called 'count'"):
        nb.read_counts(path, "count")
    assert nb.read_counts(path, "b").values.tolist() == [3]


BLANK_INSIDE = {
    "three of six counts are missing": ("count\n1\n\n3\n\n\n4\n", "3 empty .* first in data row 2"),
    "below the header": ("count\n\n1\n2\n", "1 empty .* data row 1"),
    "of several columns": ("count,b\n1,1\n2,2\n\n3,3\n", "1 empty .* data row 3"),
    "of several columns, below the header": ("count,b\n\n1,1\n", "1 empty .* data row 1"),
    "of spaces": ("count\n1\n  \n3\n", "1 empty .* data row 2"),
    "of spaces and tabs": ("count,b\n1,1\n \t\n3,3\n", "every cell of data row 2 is empty"),
    "of Windows": ("count\r\n1\r\n\r\n3\r\n", "1 empty .* data row 2"),
    "of returns": ("\r\rcount\r1\r\r3\r", "1 empty .* data row 2"),
    "after blank lines before the header": ("\n \ncount\n1\n\n3\n", "1 empty .* data row 2"),
    "a cell of quotes at the end": ('count\n1\n""\n\n', "1 empty .* data row 2"),
    "a row of commas at the end": ("count,b\n1,1\n,\n", "1 empty .* data row 2"),
}


@pytest.mark.parametrize("case", BLANK_INSIDE)
def test_a_blank_line_inside_is_an_empty_cell(tmp_path, case):
    text, expected = BLANK_INSIDE[case]
    path = tmp_path / "cells.csv"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=expected):
        nb.read_counts(path, "count")


def test_a_blank_line_does_not_shift_the_row_of_an_error(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text('label,count\n"a\n\nb",1\n\nc,x\n')
    with pytest.raises(ValueError, match="data row 2"):
        nb.read_counts(path, "count")
    path.write_text('\n\nlabel,count\n"a\n\nb",1\n\n2,2\n3,3,3\n')
    with pytest.raises(ValueError, match=r"data row 4 has more fields .*3 where it has 2: '3,3,3'"):
        nb.read_counts(path, "count")


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n  \n\t", "  \n \n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize("start", ["", "\n", " \n\n", "\r\n\r\n", "\ufeff", "\ufeff\n\t\n"])
def test_blank_lines_around_a_table_are_none_of_its_rows(tmp_path, start, end):
    path = tmp_path / "cells.csv"
    path.write_bytes(f"{start}count\n3\n0\n7{end}".encode())
    assert nb.read_counts(path).values.tolist() == [3, 0, 7]
    path.write_bytes(f'{start}count,b\n3,"x\n\ny"\n0,z{end}'.encode())
    assert nb.read_counts(path, "count").values.tolist() == [3, 0]


def test_a_row_of_tabs_is_not_blank_where_tabs_separate(tmp_path):
    path = tmp_path / "cells.tsv"
    path.write_text("count\tb\n1\t1\n\t\n")
    with pytest.raises(ValueError, match=r"1 empty .* data row 2"):
        nb.read_counts(path, "count")


WITHOUT_END = {
    'count,b\n1,2\n"3,4\n': "a quotation in data row 2 does not end",
    'count,b\n1,2\n3,"4\n': "a quotation in its last row does not end",
    'count\n1\n"3': "a quotation in its last row does not end",
    '"count,b\n1,2\n': "its first line is no header",
}


@pytest.mark.parametrize("text", WITHOUT_END)
def test_a_quotation_without_end_is_no_cell(tmp_path, text):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"cannot be parsed: {WITHOUT_END[text]}"):
        nb.read_counts(path, "count")


def test_a_quotation_mark_inside_a_cell_is_a_letter(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text('label,count\n5" pipe,3\n6" pipe,4\n')
    assert nb.read_counts(path, "count").values.tolist() == [3, 4]


OTHER_LENGTHS = {
    "count,b\n1,2\n3\n": "data row 2 has fewer fields .*1 where it has 2: '3'.*cut off",
    "count,b\n1,2\n# a comment\n": "data row 2 has fewer fields .*may be a comment",
    "# made by, say\ncount,b,c\n1,2,3\n": "no column 'count'.*first line may be a comment",
    "# made by\n1,2\n": "no column 'count'.*first line may be a comment",
    "count;b\n1;2\n3;2;5\n": "data row 2 has more fields .*'3;2;5'",
}


@pytest.mark.parametrize("text", OTHER_LENGTHS)
def test_rows_of_another_length_are_refused_with_what_they_may_come_from(tmp_path, text):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=OTHER_LENGTHS[text]):
        nb.read_counts(path, "count")


def test_rows_of_another_length_are_numbered_far_into_a_file(tmp_path):
    path = tmp_path / "cells.csv"
    # more than one block of the parser
    path.write_text("count,b\n" + 3_000_000 * "1234,5\n" + "6\n" + "7,8\n")
    with pytest.raises(ValueError, match="data row 3000001 has fewer fields"):
        nb.read_counts(path, "count")


def test_a_column_may_be_called_NA(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("NA,b\n1,2\n")
    assert nb.read_counts(path, "NA").values.tolist() == [1]


def test_suffixes_in_capitals_and_byte_order_marks(tmp_path):
    path = tmp_path / "CELLS.CSV"
    path.write_bytes(b"\xef\xbb\xbfcount,b\n4,1\n6,2\n")
    assert nb.read_counts(path, "count").values.tolist() == [4, 6]


def test_a_blank_line_at_the_end_makes_no_floats_of_whole_numbers(tmp_path):
    path = tmp_path / "long.csv"
    # the nearest float is 2**53, which would be allowed
    path.write_text(f"count\n{2**53 + 1}\n\n")
    with pytest.raises(ValueError, match=r"at most 2\*\*53"):
        nb.read_counts(path)


def test_an_integer_too_long_for_the_machine_is_refused_by_its_size(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("count\n1" + 30 * "0" + "\n")
    with pytest.raises(ValueError, match=r"at most 2\*\*53"):
        nb.read_counts(path)


READ = {
    "a plus sign": ("count\n+1\n2\n", [1, 2]),
    "space": ("count\n 1\n2 \n\t3\n", [1, 2, 3]),
    "exponents": ("count\n1e2\n2\n", [100, 2]),
    "text that is a number but for space in one cell": ('count\n1\n"+2 "\n', [1, 2]),
    "zeros before": ("count\n007\n1\n", [7, 1]),
    "decimals in every cell": ("count\n1.000\n15.000\n", [1, 15]),
    "decimals of another number": ("count\n1.000\n15.0\n12\n", [1, 15, 12]),
    "decimals below one": ("count\n0.000\n12\n", [0, 12]),
}


@pytest.mark.parametrize("case", READ)
def test_numbers_as_they_may_be_written(tmp_path, case):
    text, expected = READ[case]
    path = tmp_path / "cells.csv"
    path.write_text(text)
    assert nb.read_counts(path).values.tolist() == expected


@pytest.mark.parametrize(
    "cell", ["0x1F", "1_000", "True", "12:30", "2020-01-01", "1,5", "1.000.000"]
)
def test_what_is_no_number_is_shown_as_it_is_written(tmp_path, cell):
    path = tmp_path / "cells.csv"
    path.write_text(f"count;b\n7;1\n{cell};2\n")
    with pytest.raises(TypeError, match=f"must hold numbers; data row 2 has '{cell}'"):
        nb.read_counts(path, "count")


def test_points_that_may_divide_thousands_are_refused(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("count;b\n12;0,5\n7;1\n1.000;2\n350;3\n")
    with pytest.raises(
        ValueError, match=r"'count' has '1\.000' in data row 3.*may mean 1000, .* or 1\..*decimals"
    ):
        nb.read_counts(path, "count")


def _frame():
    return pd.DataFrame(
        {
            "count": [3, 0, 7],
            "size": [0.5, 1.5, 2.5],
            "cell": ["a", "b", "c"],
            "missing": pd.array([1, None, 3], dtype="Int64"),
            "half": [1.0, 2.5, 3.0],
            "flag": [True, False, True],
            "day": pd.to_datetime(["2020-01-01"] * 3),
            "kind": pd.Categorical(["x", "y", "x"]),
        }
    )


def _written(folder, kind, frame=None):
    path = folder / f"cells{kind}"
    frame = _frame() if frame is None else frame
    frame.to_parquet(path) if kind == ".parquet" else frame.to_feather(path)
    return path


COLUMNAR = pytest.mark.parametrize("kind", [".parquet", ".feather"])


@COLUMNAR
def test_columns_of_parquet_and_feather(tmp_path, kind):
    counts = nb.read_counts(_written(tmp_path, kind), "count", exposure="size")
    assert counts.values.tolist() == [3, 0, 7]
    assert counts.exposure.tolist() == [0.5, 1.5, 2.5]
    one = _written(tmp_path, kind, pd.DataFrame({"molecules": [4, 5]}))
    assert nb.read_counts(one).name == "molecules"


def test_the_index_of_a_frame_is_no_column_of_counts(tmp_path):
    frame = pd.DataFrame({"molecules": [4, 5]}, index=["a", "b"])
    assert nb.read_counts(_written(tmp_path, ".parquet", frame)).values.tolist() == [4, 5]


@COLUMNAR
@pytest.mark.parametrize(
    ("column", "error", "text"),
    [
        ("counts", ValueError, "no column 'counts'. Existing columns: 'count', 'size', 'cell'"),
        (None, ValueError, "it has 8 columns"),
        ("cell", TypeError, "must hold numbers; data row 1 has 'a'"),
        ("kind", TypeError, "must hold numbers; data row 1 has 'x'"),
        ("day", TypeError, "must hold numbers; data row 1 has '2020-01-01"),
        ("flag", TypeError, "true and false"),
        ("missing", ValueError, "1 empty or missing cell, the first in data row 2"),
        ("half", ValueError, "whole numbers.*2.5 in data row 2"),
    ],
)
def test_columns_that_are_no_counts_are_refused(tmp_path, kind, column, error, text):
    path = _written(tmp_path, kind)
    with pytest.raises(error, match=text) as caught:
        nb.read_counts(path, column)
    assert str(caught.value).startswith(str(path))


@COLUMNAR
def test_a_file_that_is_cut_off_or_another_is_no_whole_one(tmp_path, kind):
    path = _written(tmp_path, kind)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"ARROW1", whole[:-1], whole[: len(whole) // 2], whole[100:]):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=f"cells{kind}: it is not a whole {kind} file"
        ) as caught:
            nb.read_counts(path, "count")
        assert "\n" not in str(caught.value)


@COLUMNAR
def test_damaged_bytes_are_refused_or_read(tmp_path, kind):
    path = _written(tmp_path, kind)
    whole = path.read_bytes()
    draw = np.random.default_rng(1)
    for place in draw.integers(0, len(whole), 150):
        content = bytearray(whole)
        content[place] ^= int(draw.integers(1, 256))
        path.write_bytes(content)
        a.refusal(lambda: nb.read_counts(path, "count", exposure="size"))


@COLUMNAR
def test_a_table_that_unpacks_to_too_much(tmp_path, kind, monkeypatch):
    path = _written(tmp_path, kind, pd.DataFrame({"count": np.zeros(10**5, dtype=np.int64)}))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("pmnbmix.data.columnar.LARGEST_ARCHIVE", 7 * 10**5)
    with pytest.raises(ValueError, match=r"unpacks to \d+ bytes; at most 700000 are read"):
        nb.read_counts(path)


def test_two_columns_of_one_name_in_a_file_that_knows_types(tmp_path):
    table = pa.table([[1, 2], [3, 4], [5, 6]], names=["count", "count", "b"])
    for write, kind in ((parquet.write_table, ".parquet"), (feather.write_feather, ".feather")):
        path = tmp_path / f"twice{kind}"
        try:
            write(table, path)
        except ValueError:
            # feather does not write it
            continue
        with pytest.raises(ValueError, match="2 columns are called 'count'"):
            nb.read_counts(path, "count")
        assert nb.read_counts(path, "b").values.tolist() == [5, 6]


@pytest.mark.parametrize("content", [b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\n   ", b"\x93NUMPY"])
def test_an_npz_whose_header_is_damaged(tmp_path, content):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("count.npy", content)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        nb.read_counts(path)


def test_an_encrypted_npz(tmp_path):
    path = tmp_path / "locked.npz"
    np.savez(path, count=np.arange(5))
    content = bytearray(path.read_bytes())
    # the flag "encrypted" of the local and of the central header
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="encrypted"):
        nb.read_counts(path)


def test_semicolons_and_tabs_are_found_where_commas_are_not(tmp_path):
    for separator in (";", "\t"):
        path = tmp_path / "cells.csv"
        path.write_text(f" count {separator}s\n4{separator}0.5\n6{separator}2\n")
        counts = nb.read_counts(path, "count", "s")
        assert counts.values.tolist() == [4, 6]
        assert counts.exposure.tolist() == [0.5, 2.0]


def test_errors_name_the_column_and_count_rows_from_one(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("count\n4\n-6\n")
    with pytest.raises(ValueError, match=r"column 'count' \(values\) must be.*-6 in data row 2"):
        nb.read_counts(path, "count")


@pytest.mark.parametrize("path", [None, 5, ["a.csv"]])
def test_a_path_must_be_a_name(path):
    with pytest.raises(TypeError, match="path must be the name of a file"):
        nb.read_counts(path)
