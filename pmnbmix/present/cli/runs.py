"""Commands that fit, and the files that they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pmnbmix.present.cli import options
from pmnbmix.present.cli.kept import read_kept
from pmnbmix.present.cli.source import (
    Job,
    Source,
    bad_input,
    interruptible,
    prepare,
    target_file,
)
from pmnbmix.progress import watching
from pmnbmix.seeds import entropy_of

if TYPE_CHECKING:
    from pmnbmix.mixture.spec import MixtureSpec


def demo(
    dataset: Annotated[str, typer.Argument(help="Built-in data set.")] = "crab_satellites",
    max_components: options.MaxComponents = 3,
    draws: options.Draws = 1000,
    chains: options.Chains = 4,
    seed: options.Seed = 1,
    out: options.Out = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Run the whole job on a built-in data set.

    Example: pmnbmix demo red_mites
    """
    source = Source(dataset=dataset)
    _choose(
        Job(
            *("demo", source, draws, chains, seed, out, force, as_json),
            max_components=max_components,
        )
    )


def fit(
    file: options.File = None,
    dataset: options.Dataset = None,
    column: options.Column = None,
    exposure: options.Exposure = None,
    frequency: options.Frequency = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    missing: options.Missing = "error",
    keep: options.Keep = None,
    components: options.Components = None,
    spec: options.Spec = None,
    draws: options.Draws = 1000,
    chains: options.Chains = 4,
    seed: options.Seed = 1,
    out: options.Out = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Fit one number of components by EM, MAP and NUTS, and compare and check the three.

    Example: pmnbmix fit cells.csv --column count --exposure size_factor --components 2
    """
    source = Source.given(
        *(file, dataset, (column, exposure, frequency), (decimal, thousands), missing)
    )
    job = Job(
        *("fit", source, draws, chains, seed, out, force, as_json),
        spec=spec,
        components=components,
    )
    with bad_input():
        counts, priors, folder = prepare(job)
        kept_column = read_kept(source, keep, counts)
    from pmnbmix.posterior.checks import was_interrupted
    from pmnbmix.present import tables
    from pmnbmix.present.folder import begun, left_behind, write_fit_run
    from pmnbmix.study import fit_all
    from pmnbmix.study.storage import Kept, settings_of

    resolved, k = priors.resolve(counts), priors.n_components
    settings = settings_of(counts, resolved, draws, chains, n_components=k)
    with bad_input(), interruptible(left_behind(folder)), watching() as watch, begun(folder):
        kept = Kept.open(folder, settings, entropy_of(seed))
        fitted = kept.read(k, counts, resolved)
        if fitted is None:
            fitted = fit_all(
                counts, priors, draws=draws, chains=chains, random_seed=seed, watch=watch
            )
        watch("writing the folder", 0, 1)
        record = write_fit_run(folder, fitted, _recorded(job, priors, keep), kept_column)
    if as_json:
        _print_json(record, folder)
    else:
        console = tables.output_console()
        tables.print_heading(console, counts)
        tables.print_fitted(console, fitted)
        tables.print_answer(console, fitted)
        tables.print_folder(console, folder)
    if was_interrupted(fitted.tree):
        _say_interrupted(folder)


def choose(
    file: options.File = None,
    dataset: options.Dataset = None,
    column: options.Column = None,
    exposure: options.Exposure = None,
    frequency: options.Frequency = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    missing: options.Missing = "error",
    keep: options.Keep = None,
    max_components: options.MaxComponents = 4,
    thorough: options.Thorough = False,
    spec: options.Spec = None,
    draws: options.Draws = 1000,
    chains: options.Chains = 4,
    seed: options.Seed = 1,
    out: options.Out = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Choose how many components are needed, by LOO behind a convergence gate.

    Example: pmnbmix choose cells.csv --column count --max-components 4
    """
    source = Source.given(
        *(file, dataset, (column, exposure, frequency), (decimal, thousands), missing)
    )
    _choose(
        Job(
            *("choose", source, draws, chains, seed, out, force, as_json),
            spec=spec,
            max_components=max_components,
            thorough=thorough,
        ),
        keep,
    )


def report(
    run: Annotated[Path, typer.Argument(help="Folder that fit or choose has written.")],
    out: options.OutFile = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Read a run back, print its result, and write its report again.

    Without --out the report in the folder of the run is renewed.
    Example: pmnbmix report pmnbmix-choose-cells-count
    """
    with bad_input():
        file = None if out is None else target_file(out, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import REPORT, read_run
    from pmnbmix.present.report import write_report
    from pmnbmix.present.words import shown
    from pmnbmix.study import Choice

    with bad_input():
        result, record = read_run(run)
        path = run / REPORT if file is None else file
        write_report(result, path, record=record)
    if as_json:
        _print_json(record, run)
        return
    fitted = shown(result) if isinstance(result, Choice) else result
    console = tables.output_console()
    tables.print_heading(console, fitted.em.counts)
    tables.print_answer(console, result)
    tables.print_folder(console, path)


def _recorded(job: Job, priors: MixtureSpec, keep: str | None) -> dict[str, Any]:
    """The settings of the command for the record of the run."""
    return job.recorded(priors) | ({} if keep is None else {"keep": keep})


def _choose(job: Job, keep: str | None = None) -> None:
    from pmnbmix.mixture.spec import check_n_components

    with bad_input():
        most = check_n_components(job.max_components, "--max-components")
        counts, priors, folder = prepare(job)
        kept_column = read_kept(job.source, keep, counts)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import begun, left_behind, write_choice_run
    from pmnbmix.study import choose_components

    with bad_input(), interruptible(left_behind(folder)), watching() as watch, begun(folder):
        choice = choose_components(
            counts,
            most,
            thorough=job.thorough,
            spec=priors,
            draws=job.draws,
            chains=job.chains,
            random_seed=job.seed,
            watch=watch,
            folder=folder,
        )
        watch("writing the folder", 0, 1)
        record = write_choice_run(folder, choice, _recorded(job, priors, keep), kept_column)
    if job.as_json:
        _print_json(record, folder)
    else:
        console = tables.output_console()
        tables.print_heading(console, counts)
        tables.print_choice(console, choice)
        tables.print_folder(console, folder)
    if not choice.complete:
        _say_interrupted(folder)


def _say_interrupted(folder: Path) -> None:
    """Say how the work goes on, and end with the code of an interrupt."""
    typer.echo(f"pmnbmix: interrupted; the same command with --out {folder} goes on.", err=True)
    raise typer.Exit(130)


def _print_json(record: dict[str, Any], folder: Path) -> None:
    typer.echo(json.dumps({"folder": str(folder), **record}, ensure_ascii=False))
