"""Commands that fit, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pmnbmix.present.cli import options
from pmnbmix.present.cli.source import (
    Source,
    bad_input,
    check_sampling,
    interruptible,
    read,
    read_spec,
    settings_of,
    shown_progress,
    target,
    target_file,
)


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
    _choose(
        Source(dataset=dataset),
        "demo",
        max_components=max_components,
        thorough=False,
        spec=None,
        draws=draws,
        chains=chains,
        seed=seed,
        out=out,
        force=force,
        as_json=as_json,
    )


def fit(
    file: options.File = None,
    dataset: options.Dataset = None,
    column: options.Column = None,
    exposure: options.Exposure = None,
    frequency: options.Frequency = None,
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
    source = Source(file, dataset, column, exposure, frequency)
    with bad_input():
        counts = read(source)
        priors = read_spec(spec, components)
        check_sampling(draws, chains)
        folder = target(out, "fit", counts, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import building, write_fit_run
    from pmnbmix.study import fit_all

    with bad_input(), building(folder, force) as made, interruptible(), shown_progress() as watch:
        fitted = fit_all(counts, priors, draws=draws, chains=chains, random_seed=seed, watch=watch)
        watch("writing the folder", 0, 1)
        settings = settings_of("fit", source, spec=priors, draws=draws, chains=chains, seed=seed)
        record = write_fit_run(made.partial, fitted, settings)
    if as_json:
        _print_json(record, made.folder)
    else:
        console = tables.output_console()
        tables.print_heading(console, counts)
        tables.print_fitted(console, fitted)
        tables.print_folder(console, made.folder)
    attrs = fitted.tree.attrs
    if attrs["interrupted"] or attrs.get("repetition_interrupted"):
        # what there is was written, but not all that was asked for
        raise typer.Exit(130)


def choose(
    file: options.File = None,
    dataset: options.Dataset = None,
    column: options.Column = None,
    exposure: options.Exposure = None,
    frequency: options.Frequency = None,
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
    source = Source(file, dataset, column, exposure, frequency)
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
        as_json=as_json,
    )


def report(
    run: Annotated[Path, typer.Argument(help="Folder that fit or choose has written.")],
    out: options.OutFile = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Read a run back, say what came out, and write its report anew.

    Without --out the report in the folder of the run is renewed.
    Example: pmnbmix report pmnbmix-choose-cells
    """
    with bad_input():
        file = None if out is None else target_file(out, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import REPORT, read_run
    from pmnbmix.present.report import write_report
    from pmnbmix.present.words import answer, shown
    from pmnbmix.selection.adequacy import loo_pit
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
    for sentence in answer(result, loo_pit(fitted.tree)):
        console.print(sentence, highlight=False, markup=False)
    tables.print_folder(console, path)


def _choose(
    source: Source,
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
    as_json: bool,
) -> None:
    with bad_input():
        from pmnbmix.mixture.spec import check_n_components

        counts = read(source)
        priors = read_spec(spec, None)
        check_n_components(max_components, "--max-components")
        check_sampling(draws, chains)
        folder = target(out, command, counts, force)
    from pmnbmix.present import tables
    from pmnbmix.present.folder import building, unfinished, write_choice_run
    from pmnbmix.study import choose_components

    with (
        bad_input(),
        # left last, when the run is in its place
        unfinished(folder) as kept,
        building(folder, force) as made,
        interruptible(),
        shown_progress() as watch,
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
        settings = settings_of(
            command,
            source,
            spec=priors,
            max_components=max_components,
            thorough=thorough,
            draws=draws,
            chains=chains,
            seed=seed,
        )
        record = write_choice_run(made.partial, choice, settings)
        # a study that stopped early may have been interrupted afterwards; then it says both
        kept.complete = "Interrupted" not in choice.note
    if not kept.complete:
        typer.echo(
            f"pmnbmix: interrupted; the same command with --out {made.folder} --force goes on.",
            err=True,
        )
    if as_json:
        _print_json(record, made.folder)
    else:
        console = tables.output_console()
        tables.print_heading(console, counts)
        tables.print_choice(console, choice)
        tables.print_folder(console, made.folder)
    if not kept.complete:
        raise typer.Exit(130)


def _print_json(record: dict[str, Any], folder: Path) -> None:
    typer.echo(json.dumps({"folder": str(folder), **record}, ensure_ascii=False))
