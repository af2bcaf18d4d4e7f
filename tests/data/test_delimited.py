import gzip

import pytest

import pmnbmix as nb


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pmnbmix.data.delimited.LARGEST_ARCHIVE", 10**6)
    path = tmp_path / "cells.csv.gz"
    path.write_bytes(gzip.compress(b"count\n" + b"0\n" * 10**6))
    with pytest.raises(ValueError, match="unpacks to more than 1000000 bytes"):
        nb.read_counts(path)


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
    "count,b\n# a, b, c\n1,2\n": "more fields .*Data row 1 begins with #: it may be a comment",
    "count,b\n1,2\n# a, b, c\n": "more fields .*Data row 2 begins with #: it may be a comment",
    "count,b\n1,2\n7,1,000\n": "more fields .*part of a number .*put such cells in quotes",
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


def test_semicolons_and_tabs_are_found_where_commas_are_not(tmp_path):
    for separator in (";", "\t"):
        path = tmp_path / "cells.csv"
        path.write_text(f" count {separator}s\n4{separator}0.5\n6{separator}2\n")
        counts = nb.read_counts(path, "count", "s")
        assert counts.values.tolist() == [4, 6]
        assert counts.exposure.tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count\n# by hand\n3\n", "data row 1 has '# by hand', which may be a comment"),
        ("b,count\n# x,y\n1,2\n", "data row 1 has 'y'.*Some lines begin with #"),
        ("# molecules\ncount\n3\n", "data row 1 has 'count'.*first line begins with #"),
        ("# molecules\ncount,b\n3,4\n", "more fields .*first line begins with #"),
    ],
)
def test_comments_are_blamed_on_themselves(tmp_path, text, said):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    column = None if text.startswith("#") or "," not in text else "count"
    with pytest.raises((TypeError, ValueError), match=said) as caught:
        nb.read_counts(path, column)
    assert "decimal" not in str(caught.value)


def test_a_header_may_begin_with_a_number_sign(tmp_path):
    path = tmp_path / "cells.tsv"
    path.write_text("#gene\tcount\na\t3\n")
    assert nb.read_counts(path, "count").values.tolist() == [3]
