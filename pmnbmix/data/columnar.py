"""Tables from files as named columns: text, parquet, feather and spreadsheets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pmnbmix.data.delimited import LARGEST_ARCHIVE, SEPARATORS, locate, read_delimited
from pmnbmix.data.numerals import Numerals, plain
from pmnbmix.data.spreadsheet import read_spreadsheet

_BYTES_A_CELL = 8
# An error shows this many characters of what pyarrow says.
_SHOWN = 200


def kind_of_table(file: Path) -> str | None:
    """Suffix of a table, without .gz; None for files of other kinds."""
    kind = file.suffix.lower()
    if kind == ".gz":
        kind = file.with_suffix("").suffix.lower()
        return kind if kind in SEPARATORS else None
    return kind if kind in SEPARATORS or kind in (".parquet", ".feather", ".xlsx") else None


def read_table(
    file: Path,
    columns: Sequence[str] | None = None,
    *,
    rows_named: bool = False,
    numerals: Numerals | None = None,
    as_stored: Collection[str] = (),
) -> Any:
    """Read columns of a csv, tsv (also gzipped), parquet, feather or xlsx file.

    Parameters
    ----------
    file : Path
        Of a kind that `kind_of_table` knows.
    columns : sequence of str, optional
        All if absent, but for the index of a DataFrame that pandas wrote.
    rows_named : bool
        Whether the header of a text may lack a field for the names of the rows.
    numerals : Numerals, optional
        How numbers are written, where they are text.
    as_stored : collection of str
        Columns of which categories and dates of parquet and feather are left as they are.

    Returns
    -------
    pyarrow.Table
        Its columns hold numbers, true and false, text, or what only parquet and feather can.

    Raises
    ------
    ValueError
        If the file is damaged or too large, lacks a column or has two of its name, if what reads it
        is not installed, and for every reason of `read_delimited`.
    """
    kind = kind_of_table(file)
    if kind in SEPARATORS:
        return read_delimited(
            file, SEPARATORS[kind], columns, rows_named=rows_named, numerals=numerals
        )
    import pyarrow as pa

    if kind == ".xlsx":
        table = read_spreadsheet(file, columns)
    else:
        with _in_words(kind):
            table = (_read_parquet if kind == ".parquet" else _read_feather)(file, columns)
            # pyarrow trusts what a file says about where its texts begin and end.
            table.validate(full=True)
    with _in_words(kind):
        columns_read = [
            column
            if name in as_stored
            and (pa.types.is_dictionary(column.type) or pa.types.is_temporal(column.type))
            else plain(column, name, numerals)
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        return pa.table(columns_read, names=table.column_names)


def labelled(column: Any, name: str) -> Any:
    """A column of `read_table` as numbers, true and false, or categories.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    name : str
        What errors call it.

    Returns
    -------
    ndarray or pandas.Categorical
        Text is trimmed, and its categories are sorted; those of parquet and feather keep their
        order. Missing cells are NaN, None or without category.

    Raises
    ------
    TypeError
        If it holds something else, such as dates.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        try:
            return column.unify_dictionaries().to_pandas().array
        except (pa.ArrowException, ValueError, TypeError):
            # A file may name a category twice, or not at all.
            column = plain(column, name)
    if pa.types.is_string(column.type):
        return pd.Categorical(pc.utf8_trim_whitespace(column).to_pandas())
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()
    first = column[0].as_py() if len(column) else None
    raise TypeError(
        f"{name} must hold numbers, true and false, or text; data row 1 has {str(first)!r}, which "
        f"is stored as {kind}. Turn the column into numbers, such as days since the first date, or "
        "into text."
    )


def _read_parquet(file: Path, columns: Sequence[str] | None) -> Any:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        chosen = _chosen(source.schema_arrow, columns)
        _refuse_large(source.metadata.num_rows * len(chosen) * _BYTES_A_CELL)
        names = source.schema_arrow.names
        return source.read([names[j] for j in chosen]).select([names[j] for j in chosen])


def _read_feather(file: Path, columns: Sequence[str] | None) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(file)) as source:
        chosen = _chosen(pa.ipc.open_file(source).schema, columns)
        reader = pa.ipc.open_file(
            source, options=pa.ipc.IpcReadOptions(included_fields=sorted(chosen))
        )
        batches, size = [], 0
        for j in range(reader.num_record_batches):
            batches.append(reader.get_batch(j))
            size += batches[-1].nbytes
            _refuse_large(size)
        return pa.Table.from_batches(batches, reader.schema)


def _chosen(schema: Any, columns: Sequence[str] | None) -> list[int]:
    """Positions of the named columns, or of all columns except an index that pandas wrote."""
    index = (schema.pandas_metadata or {}).get("index_columns", []) if columns is None else []
    names = schema.names
    chosen = [j for j in locate(names, columns) if names[j] not in index]
    if not chosen:
        raise ValueError("it has no columns. Save it again, with one column of counts or more.")
    return chosen


def _refuse_large(size: int) -> None:
    if size > LARGEST_ARCHIVE:
        raise ValueError(
            f"it unpacks to {size} bytes; at most {LARGEST_ARCHIVE} are read. Split it, or name "
            "fewer columns."
        )


@contextmanager
def _in_words(kind: str | None) -> Iterator[None]:
    """Turn an error of pyarrow into one that says that the file is damaged."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, LookupError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # The system raised this one, so that the file itself may be whole.
            raise
        reason = (str(error).strip() or repr(error)).splitlines()[0][:_SHOWN]
        raise ValueError(f"it is not a whole {kind} file ({reason}). Save it again.") from None
