import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import pmnbmix as nb
from tests.fuzz import arbitrary as a


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
