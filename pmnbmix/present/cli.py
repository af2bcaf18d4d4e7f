"""The command line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pmnbmix.data.counts import Counts
    from pmnbmix.mixture.spec import MixtureSpec
    from pmnbmix.study import Watch

app = typer.Typer(
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mixtures of negative binomials: EM, MAP and NUTS side by side, labels checked, the "
    "number of components chosen.",
)

File = Annotated[
    Path | None,
    typer.Argument(
        help="csv, tsv (also .gz) or npz file with a column of counts.", show_default=False
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="A built-in data set instead of a file; 'pmnbmix datasets' lists them."),
]
Column = Annotated[
    str | None, typer.Option(help="Column with the counts; not needed where there is only one.")
]
Exposure = Annotated[
    str | None, typer.Option(help="Column with the exposure (size factor) of each row.")
]
Frequency = Annotated[
    str | None, typer.Option(help="Column that says how often each row was seen.")
]
Spec = Annotated[
    Path | None,
    typer.Option(help="TOML file with priors; choose and demo ignore its n_components."),
]
Draws = Annotated[int, typer.Option(help="Draws per chain.")]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same result.")]
Thorough = Annotated[
    bool,
    typer.Option(
        "--thorough", help="Ask bootstrap tests, evidence and a sparse prior too; takes longer."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the results; by default a new one in the current folder."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the folder of an earlier run.")]


@app.command()
def demo(
    dataset: Annotated[str, typer.Argument(help="Built-in data set.")] = "crab_satellites",
    max_components: Annotated[int, typer.Option(help="Fit 1 to this many components.")] = 3,
    draws: Draws = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    out: Out = None,
    force: Force = False,
) -> None:
    """Run the whole job on a built-in data set."""
    _choose(
        _Source(dataset=dataset),
        "demo",
        max_components=max_components,
        thorough=False,
        spec=None,
        draws=draws,
        chains=chains,
        seed=seed,
        out=out,
        force=force,
    )


@app.command()
def datasets() -> None:
    """List the built-in data sets."""
    from rich.table import Table

    from pmnbmix.data.datasets import list_datasets
    from pmnbmix.present.tables import output_console

    table = Table(title="Built-in data sets", title_justify="left")
    for heading in ("name", "n", "what was counted", "source"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "n" else "left")
    for entry in list_datasets():
        table.add_row(entry.name, f"{entry.n:,}", entry.title, entry.source)
    output_console().print(table)


@app.command()
def fit(
    file: File = None,
    dataset: Dataset = None,
    column: Column = None,
    exposure: Exposure = None,
    frequency: Frequency = None,
    components: Annotated[
        int | None, typer.Option(help="Number of components; 2 where the spec says nothing.")
    ] = None,
    spec: Spec = None,
    draws: Draws = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    out: Out = None,
    force: Force = False,
) -> None:
    """Fit one number of components by EM, MAP and NUTS, and compare and check the three.

    Example: pmnbmix fit cells.csv --column count --exposure size_factor --components 2
    """
    source = _Source(file, dataset, column, exposure, frequency)
    with _bad_input():
        counts = _read(source)
        priors = _read_spec(spec, components)
        _check_sampling(draws, chains)
        folder = _target(out, "fit", counts, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import building, write_fit_run
    from pmnbmix.study import fit_all

    with _bad_input(), building(folder, force) as made, _interruptible(), _progress() as watch:
        fitted = fit_all(counts, priors, draws=draws, chains=chains, random_seed=seed, watch=watch)
        watch("writing the folder", 0, 1)
        settings = _settings("fit", source, spec=priors, draws=draws, chains=chains, seed=seed)
        write_fit_run(made.partial, fitted, settings)
    console = tables.output_console()
    tables.print_heading(console, counts)
    tables.print_fitted(console, fitted)
    tables.print_folder(console, made.folder)


@app.command()
def choose(
    file: File = None,
    dataset: Dataset = None,
    column: Column = None,
    exposure: Exposure = None,
    frequency: Frequency = None,
    max_components: Annotated[int, typer.Option(help="Fit 1 to this many components.")] = 4,
    thorough: Thorough = False,
    spec: Spec = None,
    draws: Draws = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    out: Out = None,
    force: Force = False,
) -> None:
    """Choose how many components are needed, by LOO behind a convergence gate.

    Example: pmnbmix choose cells.csv --column count --max-components 4
    """
    source = _Source(file, dataset, column, exposure, frequency)
    _choose(
        source,
        "choose",
        max_components=max_components,
        thorough=thorough,
        spec=spec,
        draws=draws,
        chains=chains,
        seed=seed,
        out=out,
        force=force,
    )


@app.callback()
def _help_without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("pmnbmix"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what is wrong with it is one line and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process where absent.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # figures go to files; a window system is neither needed nor always there
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        code = app(arguments, prog_name="pmnbmix", standalone_mode=False)
    except (OSError, MemoryError) as error:
        typer.echo(f"pmnbmix: {type(error).__name__}: {error}", err=True)
        code = 1
    except Exception as error:
        # typer's errors about usage say so by this method, whichever click they come from
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(str(error.format_message()).split()).rstrip(".")
        context = getattr(error, "ctx", None)
        command = "pmnbmix" if context is None else context.command_path
        typer.echo(f"pmnbmix: {message}. Try '{command} --help'.", err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _choose(
    source: _Source,
    command: str,
    *,
    max_components: int,
    thorough: bool,
    spec: Path | None,
    draws: int,
    chains: int,
    seed: int,
    out: Path | None,
    force: bool,
) -> None:
    with _bad_input():
        from pmnbmix.mixture.spec import check_n_components

        counts = _read(source)
        priors = _read_spec(spec, None)
        check_n_components(max_components, "--max-components")
        _check_sampling(draws, chains)
        folder = _target(out, command, counts, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import building, unfinished, write_choice_run
    from pmnbmix.study import choose_components

    with (
        _bad_input(),
        building(folder, force) as made,
        unfinished(folder) as kept,
        _interruptible(),
        _progress() as watch,
    ):
        choice = choose_components(
            counts,
            max_components,
            thorough=thorough,
            spec=priors,
            draws=draws,
            chains=chains,
            random_seed=seed,
            watch=watch,
            folder=kept.folder,
        )
        watch("writing the folder", 0, 1)
        settings = _settings(
            command,
            source,
            spec=priors,
            max_components=max_components,
            thorough=thorough,
            draws=draws,
            chains=chains,
            seed=seed,
        )
        write_choice_run(made.partial, choice, settings)
        kept.complete = not choice.note.startswith("Interrupted")
    console = tables.output_console()
    tables.print_heading(console, counts)
    tables.print_choice(console, choice)
    tables.print_folder(console, made.folder)
    if not kept.complete:
        typer.echo(
            f"pmnbmix: interrupted; the same command with --out {made.folder} --force goes on.",
            err=True,
        )


@contextmanager
def _bad_input() -> Iterator[None]:
    """Turn what is wrong with the input into one line and exit code 2."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        typer.echo(f"pmnbmix: {text}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("pmnbmix: interrupted before anything was finished; nothing written.", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _progress() -> Iterator[Watch]:
    """Show the stage of the work and how far it is, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    # where nobody watches, an erased bar leaves an empty line
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as progress:
        task = progress.add_task("starting", total=None)

        def watch(title: str, done: int, total: int) -> None:
            progress.update(task, description=title, completed=done, total=total)

        yield watch


@dataclass(frozen=True)
class _Source:
    """Where the counts come from."""

    file: Path | None = None
    dataset: str | None = None
    column: str | None = None
    exposure: str | None = None
    frequency: str | None = None


def _read(source: _Source) -> Counts:
    from pmnbmix.data.datasets import load_dataset
    from pmnbmix.data.readers import read_counts

    if source.dataset is not None and source.file is None:
        for name in ("column", "exposure", "frequency"):
            if getattr(source, name) is not None:
                raise ValueError(f"--{name} belongs to a file; --dataset has no columns.")
        return load_dataset(source.dataset)
    if source.file is not None and source.dataset is None:
        return read_counts(source.file, source.column, source.exposure, source.frequency)
    raise ValueError(
        "name either a FILE or a --dataset. 'pmnbmix datasets' lists the built-in ones."
    )


def _read_spec(path: Path | None, components: int | None) -> MixtureSpec:
    from pmnbmix.mixture.spec import MixtureSpec

    spec = MixtureSpec.read(path) if path is not None else MixtureSpec()
    if not spec.is_proper:
        raise ValueError(
            f"{path}: a prior is flat (scale = inf), so there is no posterior to sample."
        )
    if spec.weights.concentration < 1:
        raise ValueError(
            f"{path}: a Dirichlet concentration of {spec.weights.concentration} has no MAP; use 1 "
            "or above, or sample() in Python."
        )
    return spec if components is None else spec.with_components(components)


def _check_sampling(draws: int, chains: int) -> None:
    if draws < 4:
        raise ValueError(f"--draws must be 4 or above; got {draws}.")
    if chains < 1:
        raise ValueError(f"--chains must be 1 or above; got {chains}.")


def _target(out: Path | None, command: str, counts: Counts, force: bool) -> Path:
    from pmnbmix.present.folder import check_target, free_folder

    if out is None:
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in counts.name)
        folder = free_folder(f"pmnbmix-{command}-{plain}")
    else:
        folder = out
    check_target(folder, force)
    return folder


def _settings(command: str, source: _Source, spec: MixtureSpec, **other: Any) -> dict[str, Any]:
    given = {name: str(value) for name, value in asdict(source).items() if value is not None}
    return {"command": command, **given, **other, "spec": spec.to_dict()}
