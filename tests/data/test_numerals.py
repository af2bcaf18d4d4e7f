import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmnbmix as nb


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


def written(folder, text, name="cells.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


GERMAN = "count;size\n12;0,5\n7;1,25\n1.000;2\n350;1\n2.000;3\n15.000;1.200\n"
# What may mean two things, and what the error says of both.
TWO_READINGS = {
    "points before three digits in some cells": (
        GERMAN,
        r"'count' has '1\.000' in data row 3.* 1000, .*thousands=\"\.\" .*or 1, .*decimal=\"\.\"",
    ),
    "in all cells, where semicolons divide them": (
        "count;b\n1.000;1\n15.000;2\n",
        r"'1\.000' in data row 1\. It may mean 1000, .*semicolons",
    ),
    "in cells of text": ('count,b\n"12 ",1\n"1.000 ",2\n', r"may mean 1000, .*or 1, "),
    "commas before three digits, in quotes": (
        'count,b\n12,1\n"1,500",2\n',
        r"'1,500', which may mean 1\.5, .*decimal=\",\" .*or 1500, .*thousands=\",\"",
    ),
    "commas, where semicolons divide the cells": (
        "count;b\n12;1\n1,500;2\n",
        r"which may mean 1\.5, .*or 1500, .*first is likely, because semicolons",
    ),
}


@pytest.mark.parametrize("case", TWO_READINGS)
def test_numbers_that_may_mean_two_things_are_refused(tmp_path, case):
    text, expected = TWO_READINGS[case]
    path = written(tmp_path, text)
    with pytest.raises((TypeError, ValueError), match=expected) as caught:
        nb.read_counts(path, "count")
    assert "\n" not in str(caught.value)


def test_exposures_that_may_mean_two_things_are_refused(tmp_path):
    path = written(tmp_path, "count;size\n3;1.250\n4;2\n")
    with pytest.raises(
        ValueError, match=r"column 'size' has '1\.250' in data row 1.* 1250, .* 1\.25"
    ):
        nb.read_counts(path, "count", "size")
    # one cell that can only be a decimal settles it
    path = written(tmp_path, "count;size\n3;1.250\n4;0.5\n")
    assert nb.read_counts(path, "count", "size").exposure.tolist() == [1.25, 0.5]


def test_options_say_which_reading_is_meant(tmp_path):
    path = written(tmp_path, GERMAN)
    counts = nb.read_counts(path, "count", "size", thousands=".")
    assert counts.values.tolist() == [12, 7, 1000, 350, 2000, 15000]
    assert counts.exposure.tolist() == [0.5, 1.25, 2, 1, 3, 1200]
    assert nb.read_counts(path, "count", decimal=".").values.tolist() == [12, 7, 1, 350, 2, 15]
    both = nb.read_counts(path, "count", "size", decimal=",", thousands=".")
    assert both.digest == counts.digest


MARKS = {",": ",", ".": ".", " ": " \u00a0\u2009\u202f", "'": "'\u2019"}


@pytest.mark.parametrize(("mark", "sign"), [(m, s) for m, signs in MARKS.items() for s in signs])
def test_every_mark_of_thousands_is_named_and_read(tmp_path, mark, sign):
    cells = ["12", f"1{sign}234", f"-3{sign}456{sign}789", "+0"]
    path = written(tmp_path, "".join(f'"{cell}"\n' for cell in ["count", *cells]))
    expected = re.escape(f'thousands="{mark}" (command line: --thousands "{mark}")')
    with pytest.raises(TypeError, match=f"data row [23] has .*{expected}"):
        nb.read_counts(path)
    with pytest.raises(ValueError, match="-3456789 in data row 3"):
        nb.read_counts(path, thousands=mark)
    path = written(tmp_path, path.read_text(encoding="utf-8").replace("-", ""))
    assert nb.read_counts(path, thousands=mark).values.tolist() == [12, 1234, 3456789, 0]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1,5", "2,25"], r"decimal commas: pass decimal=\",\""),
        (["1.234,5", "7"], r"decimal commas and points between thousands: pass thousands=\"\.\""),
        (["1,234.5", "7"], r"commas between thousands: pass thousands=\",\""),
        (["1 234,5", "7"], r"spaces between thousands: pass decimal=\",\", thousands=\" \""),
        (["1.000,5", "1,000.5"], "other cells write their numbers in another way"),
        (["1,00,000", "7"], "without marks between its digits"),
        (["# by hand", "7"], "may be a comment. Remove that line"),
    ],
)
def test_a_cell_is_blamed_on_what_it_is(tmp_path, cells, said):
    path = written(tmp_path, "count;size\n" + "".join(f"1;{cell}\n" for cell in cells))
    with pytest.raises(TypeError, match=f"column 'size' .*data row 1 has '{cells[0]}'.*{said}"):
        nb.read_counts(path, "count", "size")


def test_a_cell_that_is_not_written_as_it_was_said(tmp_path):
    path = written(tmp_path, "count;b\n7;1\n1.000;2\n")
    with pytest.raises(
        TypeError, match=r"'1\.000', .*decimal commas\. If points .* thousands=\"\.\""
    ):
        nb.read_counts(path, "count", decimal=",")
    path = written(tmp_path, "count;b\n1.000;1\n10.00;2\n")
    with pytest.raises(
        TypeError, match=r"data row 2 has '10\.00', which is no number written with"
    ):
        nb.read_counts(path, "count", thousands=".")


def test_the_only_column_may_have_commas_in_its_cells(tmp_path):
    path = written(tmp_path, "count\n12\n1,000\n")
    with pytest.raises(ValueError, match=r"data row 2 has more .*pass thousands=\",\""):
        nb.read_counts(path)
    assert nb.read_counts(path, thousands=",").values.tolist() == [12, 1000]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decimal": ";"}, 'decimal must be "." or ","; got \';\''),
        ({"thousands": "_"}, "thousands must be .*; got '_'"),
        ({"thousands": ""}, "thousands must be .*; got ''"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
    ],
)
def test_signs_that_are_none(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        nb.read_counts(written(tmp_path, "count\n1\n"), **options)


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20),
    st.sampled_from([(".", ","), (".", " "), (",", "."), (",", "'"), (".", "'")]),
)
def test_counts_written_with_marks_come_back(values, signs):
    decimal, mark = signs
    text = "count;b\n" + "".join(f"{f'{value:,}'.replace(',', mark)};1\n" for value in values)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), text)
        assert (
            nb.read_counts(path, "count", decimal=decimal, thousands=mark).values.tolist() == values
        )
