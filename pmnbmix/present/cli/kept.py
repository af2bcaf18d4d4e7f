"""The column of identifiers that a command keeps beside the assignments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmnbmix.data.counts import Counts
    from pmnbmix.present.cli.source import Source


def read_kept(source: Source, keep: str | None, counts: Counts) -> dict[str, Any]:
    """Read the column that ``--keep`` names, one entry a row of the counts.

    Raises
    ------
    ValueError
        If there is no file to read it from, or it does not fit the counts.
    """
    if keep is None:
        return {}
    from pmnbmix.data.columnar import kind_of_table, read_table

    file = source.file
    if file is None or str(file) == "-" or kind_of_table(file) is None:
        raise ValueError(
            "--keep needs a csv, tsv, parquet or feather file: a data set, standard input and npz "
            "files have no identifiers to keep."
        )
    taken = {counts.name, "exposure", "frequency", "component"}
    if keep in taken or keep.startswith("p_component_"):
        raise ValueError(f"--keep {keep}: assignments.csv has a column of that name anyway.")
    column = read_table(file, [keep]).column(keep)
    if len(column) != counts.values.size:
        raise ValueError(
            f"--keep {keep}: the column has {len(column)} rows, and {counts.values.size} were read "
            "as counts. Drop rows from the file first, so that both have the same."
        )
    return {keep: column}
