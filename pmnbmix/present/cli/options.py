"""Options that commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path | None,
    typer.Argument(
        help="csv, tsv (also .gz), parquet, feather, xlsx or npz file with a column of counts; - "
        "reads a csv from standard input.",
        show_default=False,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="A built-in data set instead of a file; 'pmnbmix datasets' lists them."),
]
Column = Annotated[
    str | None, typer.Option(help="Column with the counts; not needed if there is only one.")
]
Exposure = Annotated[
    str | None, typer.Option(help="Column with the exposure (size factor) of each row.")
]
Frequency = Annotated[
    str | None, typer.Option(help="Column that says how often each row was seen.")
]
Decimal = Annotated[
    str | None,
    typer.Option(help="Decimal sign of the file, . or ,", metavar="SIGN", show_default=False),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        help="What divides thousands in the file: . , ' or a space.",
        metavar="SIGN",
        show_default=False,
    ),
]
Missing = Annotated[
    str, typer.Option(help="What becomes of rows with an empty cell: error or drop.")
]
Keep = Annotated[
    str | None,
    typer.Option(help="Column of identifiers that assignments.csv repeats, such as barcode."),
]
Spec = Annotated[
    Path | None,
    typer.Option(help="TOML file with priors; choose and demo ignore its n_components."),
]
Components = Annotated[
    int | None, typer.Option(help="Number of components; 2 if the spec says nothing.")
]
MaxComponents = Annotated[int, typer.Option(help="Fit 1 to this many components.")]
Thorough = Annotated[
    bool,
    typer.Option(
        "--thorough", help="Ask bootstrap tests, evidence and a sparse prior too; takes longer."
    ),
]
Draws = Annotated[int, typer.Option(help="Draws per chain.")]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same result.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the results; by default a new one in the current folder."),
]
OutFile = Annotated[
    Path | None, typer.Option("--out", help="File to write; standard output if absent.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run has written.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, for other programs to read.")
]
