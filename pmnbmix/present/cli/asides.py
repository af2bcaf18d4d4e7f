"""Commands beside fitting: data sets, simulated counts, priors, and a look at the installation."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmnbmix.files import write_whole
from pmnbmix.present.cli import options
from pmnbmix.present.cli.source import bad_input, read_spec, target_file

if TYPE_CHECKING:
    from pmnbmix.mixture.params import MixtureParams


def datasets(as_json: options.Json = False) -> None:
    """List the built-in data sets."""
    from rich.table import Table

    from pmnbmix.data.datasets import list_datasets
    from pmnbmix.present.tables import output_console

    if as_json:
        listed = [
            {"name": one.name, "n": one.n, "title": one.title, "source": one.source}
            for one in list_datasets()
        ]
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    table = Table(title="Built-in data sets", title_justify="left")
    for heading in ("name", "n", "what was counted", "source"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "n" else "left")
    for entry in list_datasets():
        table.add_row(entry.name, f"{entry.n:,}", entry.title, entry.source)
    output_console().print(table)


def simulate(
    weights: Annotated[str, typer.Option(help="Weights, divided by commas.")] = "0.4,0.6",
    means: Annotated[str, typer.Option(help="Means per unit of exposure.")] = "2,20",
    dispersions: Annotated[
        str, typer.Option(help="Dispersions: variance = mean + dispersion * mean ** 2.")
    ] = "0.3,0.2",
    n: Annotated[int, typer.Option("-n", help="Number of counts.")] = 500,
    exposure_spread: Annotated[
        float,
        typer.Option(help="Standard deviation of the log exposures; 0 leaves the column out."),
    ] = 0.0,
    seed: options.Seed = 1,
    out: options.OutFile = None,
    force: options.Force = False,
) -> None:
    """Draw counts from a mixture, as csv with the component that each came from.

    Example: pmnbmix simulate --weights .3,.7 --means 2,30 --dispersions .1,.3 -n 1000 --out
    counts.csv
    """
    import numpy as np

    from pmnbmix.data.checks import whole

    with bad_input():
        file = None if out is None else target_file(out, force)
        params = _params(weights, means, dispersions)
        whole(n, "-n", 1)
        if not 0.0 <= exposure_spread <= 20.0:
            raise ValueError(f"--exposure-spread must be 0 to 20; got {exposure_spread}.")
        rng = np.random.default_rng(seed)
        exposure = np.exp(rng.normal(0.0, exposure_spread, n)) if exposure_spread else None
        values, components = params.sample(n, random_seed=rng, exposure=exposure)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["count", *(["size_factor"] if exposure is not None else []), "component"])
    sizes = [] if exposure is None else [exposure.tolist()]
    writer.writerows(zip(values.tolist(), *sizes, components.tolist(), strict=True))
    _write(buffer.getvalue(), file)


def spec(
    file: Annotated[
        Path | None, typer.Argument(help="TOML file to check and complete.", show_default=False)
    ] = None,
    components: options.Components = None,
    out: options.OutFile = None,
    force: options.Force = False,
) -> None:
    """Print the priors as TOML: the default ones, or those of a file, checked and completed.

    Example: pmnbmix spec --out priors.toml, then change a number and pass --spec priors.toml
    """
    with bad_input():
        target = None if out is None else target_file(out, force)
        priors = read_spec(file, components)
    _write(priors.to_toml(), target)


def doctor(as_json: options.Json = False) -> None:
    """Check the installation: versions, compiler, density, sampler, figures. Exit code 1 if bad."""
    from pmnbmix.present.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([vars(one) for one in findings], ensure_ascii=False))
    else:
        from rich.table import Table

        from pmnbmix.present.tables import output_console

        table = Table(title="Installation", title_justify="left")
        for heading in ("part", "state", "what was found"):
            table.add_column(heading, overflow="fold")
        for one in findings:
            table.add_row(one.part, "ok" if one.ok else "failed", one.text)
        output_console().print(table)
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def _params(weights: str, means: str, dispersions: str) -> MixtureParams:
    from pmnbmix.mixture.params import MixtureParams

    numbers = []
    for name, text in (("weights", weights), ("means", means), ("dispersions", dispersions)):
        try:
            numbers.append([float(part) for part in text.split(",")])
        except ValueError:
            raise ValueError(
                f"--{name} must be numbers divided by commas, such as 0.4,0.6; got {text!r}."
            ) from None
    return MixtureParams(*numbers)


def _write(text: str, file: Path | None) -> None:
    if file is None:
        typer.echo(text, nl=False)
        return
    content = text.encode()
    with bad_input():
        # Without the time the same counts give the same file.
        write_whole(file, gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)
    typer.echo(f"Written to {file}", err=True)
