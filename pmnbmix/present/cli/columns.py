"""`pmnbmix columns`: a mixture for every column of a file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmnbmix.files import beside
from pmnbmix.present.cli import options
from pmnbmix.present.cli.source import bad_input, followed, interruptible, target_file

if TYPE_CHECKING:
    from pmnbmix.batch.column_fits import ColumnFits

_SHOWN = 10


def columns(
    file: Annotated[
        Path,
        typer.Argument(
            help="h5ad or zarr (an AnnData), csv, tsv (also .gz), parquet, feather or xlsx with a "
            "column for each, or npz (scipy sparse); observations in rows.",
            show_default=False,
        ),
    ],
    components: Annotated[
        str, typer.Option(help="Number of components, or the criterion that chooses: bic or icl.")
    ] = "2",
    max_components: Annotated[
        int, typer.Option(help="Most components that a criterion may choose.")
    ] = 4,
    exposure: Annotated[
        str | None,
        typer.Option(help="Column with the exposures: of .obs, or of the table."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer of an AnnData that holds the counts; X if absent.")
    ] = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the fits go: a folder ending in .zarr, written as they come, or a .csv "
            "table; by default NAME-columns.zarr in the current folder."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Threads; all cores if absent.", show_default=False)
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Fit a mixture to every column of a file, thousands of genes at once.

    A run that was interrupted goes on when the same command is given again.

    Example: pmnbmix columns data.h5ad --exposure n_counts --out fits.zarr
    """
    import time

    from pmnbmix.batch.columns import fit_columns
    from pmnbmix.batch.files import open_matrix
    from pmnbmix.files import write_whole

    target = out or Path(f"{file.name.split('.')[0]}-columns.zarr")
    replaced = force and target.exists()
    with bad_input(), interruptible(lambda: _left(target, replaced)):
        wanted = _components(components)
        table = _is_table(target)
        if os.path.exists(target) and os.path.exists(file) and target.samefile(file):
            raise ValueError(f"{target} is the file that is read. Name another --out.")
        place = target_file(target, force) if table else _target_folder(target, force)
        matrix, exposures = open_matrix(file, exposure, decimal=decimal, thousands=thousands)
        begun = time.perf_counter()
        with _replaced(place, force and not table):
            fits = fit_columns(
                matrix,
                wanted,
                exposures,
                max_components=max_components,
                layer=layer,
                out=None if table else place,
                n_jobs=jobs,
            )
        seconds = time.perf_counter() - begun
        if table:
            write_whole(place, fits.to_frame().to_csv())
    if as_json:
        typer.echo(json.dumps(_summary(fits, target, seconds), ensure_ascii=False))
    else:
        _print(fits, target, seconds)
    if not fits.attrs["finished"]:
        raise typer.Exit(130)


def _left(target: Path, replaced: bool) -> str:
    """What an interrupt has left of the fits."""
    if replaced:
        return f"{target} is as it was before."
    if target.is_dir():
        return f"{target} holds the columns that were finished, and the same command goes on."
    return f"nothing is written to {target}."


def _components(text: str) -> Any:
    if text in ("bic", "icl"):
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"--components must be a whole number, bic or icl; got {text!r}."
        ) from None


def _is_table(target: Path) -> bool:
    suffix = target.suffix.lower()
    if suffix not in (".csv", ".zarr"):
        raise ValueError(f"--out must end in .zarr or .csv; got {str(target)!r}.")
    return suffix == ".csv"


def _target_folder(target: Path, force: bool) -> Path:
    """Folder for the fits, with links followed; only earlier fits in it may be replaced."""
    from pmnbmix.batch.column_fits import ColumnFits

    folder = followed(target)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{target} is a file; fits go to a folder. Name another --out.")
    if force and folder.exists() and any(folder.iterdir()):
        # Only a folder that this program wrote may be removed.
        ColumnFits.read(folder)
    return folder


@contextmanager
def _replaced(folder: Path, force: bool) -> Iterator[None]:
    """Move an earlier folder aside; it is put back if the block fails, and removed otherwise."""
    if not (force and folder.exists()):
        yield
        return
    old = beside(folder)
    try:
        folder.rename(old)
    except OSError as error:
        raise ValueError(
            f"{folder}: it cannot be replaced ({error.strerror}). Name another --out."
        ) from None
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _summary(fits: ColumnFits, target: Path, seconds: float) -> dict[str, Any]:
    return {
        "columns": fits.sizes["column"],
        "observations": fits.attrs["n"],
        "seconds": round(seconds, 3),
        "finished": bool(fits.attrs["finished"]),
        "status": _counted(fits["status"].to_numpy().tolist()),
        "n_components": _counted(fits["n_components"].to_numpy().tolist()),
        "out": str(target),
    }


def _counted(words: list[Any]) -> dict[str, int]:
    return {str(word): words.count(word) for word in sorted(set(words))}


def _print(fits: ColumnFits, target: Path, seconds: float) -> None:
    import numpy as np
    from rich.table import Table

    from pmnbmix.point.optima import Status
    from pmnbmix.present.tables import output_console

    console = output_console()
    size = fits.sizes["column"]
    console.print(
        f"{size:,} columns of {fits.attrs['n']:,} observations in {seconds:.1f} s", style="bold"
    )
    table = Table(title="What became of the columns", title_justify="left")
    table.add_column("status")
    table.add_column("columns", justify="right")
    for word, number in _counted(fits["status"].to_numpy().tolist()).items():
        table.add_row(word, f"{number:,}")
    console.print(table)
    if fits.attrs["chosen_by"]:
        chosen = _counted(fits["n_components"].to_numpy().tolist())
        listed = ", ".join(f"{k}: {number:,}" for k, number in chosen.items())
        console.print(f"Columns by number of components ({fits.attrs['chosen_by']}): {listed}")
    lowest = fits["separation"].min("mixture_component", skipna=False).fillna(-1.0).to_numpy()
    # A component of one or two observations is far from the others by accident: it is not shown.
    few = np.char.find(fits["statuses"].to_numpy().astype(str), str(Status.FEW_OBSERVATIONS)) >= 0
    lowest[few] = -1.0
    clearest = np.argsort(-lowest, kind="stable")[:_SHOWN]
    clearest = clearest[lowest[clearest] > 0.0]
    if clearest.size:
        table = Table(title="Columns whose components are told apart best", title_justify="left")
        for heading in ("column", "weights", "means", "dispersions", "separation"):
            table.add_column(heading, justify="left" if heading == "column" else "right")
        for index in clearest:
            one = fits.isel(column=int(index))
            numbers = [
                ", ".join(f"{number:.3g}" for number in one[name].to_numpy() if number == number)
                for name in ("weights", "means", "dispersions")
            ]
            table.add_row(_plain(one["column"].item()), *numbers, f"{lowest[index]:.2f}")
        console.print(table)
    console.print(f"\nWritten to {target}", style="bold", markup=False, highlight=False)
    if target.suffix.lower() == ".zarr":
        console.print(
            f'Read it with pmnbmix.ColumnFits.read("{target}").', markup=False, highlight=False
        )


def _plain(name: Any) -> Any:
    from rich.text import Text

    return Text(str(name))
