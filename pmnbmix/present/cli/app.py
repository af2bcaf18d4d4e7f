"""The program: its commands, and what becomes of errors."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from pmnbmix.present.cli import asides, runs
from pmnbmix.present.cli.columns import columns

app = typer.Typer(
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mixtures of negative binomials: EM, MAP and NUTS side by side, labels checked, the "
    "number of components chosen.",
)

_COMMANDS: tuple[Callable[..., None], ...] = (
    *(runs.demo, asides.datasets, runs.fit, runs.choose, runs.report, columns),
    *(asides.simulate, asides.spec, asides.doctor),
)
for _command in _COMMANDS:
    app.command()(_command)


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
    """Run the command line; an error of the user is told in one line, with exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process if absent.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Figures go to files, and the machine may not have a window system.
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        code = app(arguments, prog_name="pmnbmix", standalone_mode=False)
    except MemoryError as error:
        typer.echo(
            f"pmnbmix: not enough memory ({error}). What was finished is kept. Close other "
            "programs, or fit a random sample of the counts.",
            err=True,
        )
        code = 1
    except OSError as error:
        typer.echo(f"pmnbmix: {type(error).__name__}: {error}", err=True)
        code = 1
    except Exception as error:
        # Typer's errors about usage have this method, whichever version of click they come from.
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(str(error.format_message()).split()).rstrip(".")
        context = getattr(error, "ctx", None)
        command = "pmnbmix" if context is None else context.command_path
        typer.echo(f"pmnbmix: {message}. Try '{command} --help'.", err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
