"""Reading the counts and priors of a command, and checking where its results go."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pmnbmix.data.counts import Counts
    from pmnbmix.mixture.spec import MixtureSpec

_GZIP = b"\x1f\x8b"
# Standard input may hold as many bytes as a file of counts.
_LARGEST_INPUT = 2**31
_OF_A_FILE = ("column", "exposure", "frequency", "decimal", "thousands", "missing")
# All chains together need this many draws, because LOO fits the tail of the importance ratios.
_FEWEST_DRAWS = 50


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn an error about the input into one line and exit code 2."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        typer.echo(f"pmnbmix: {text}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def interruptible(left: Callable[[], str]) -> Iterator[None]:
    """End an interrupted command with exit code 130 and a sentence on what it has left behind."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"pmnbmix: interrupted; {left()}", err=True)
        raise typer.Exit(130) from None


@dataclass(frozen=True)
class Source:
    """The file or data set that the counts come from."""

    file: Path | None = None
    dataset: str | None = None
    column: str | None = None
    exposure: str | None = None
    frequency: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: str | None = None

    @classmethod
    def given(
        cls,
        file: Path | None,
        dataset: str | None,
        columns: tuple[str | None, str | None, str | None],
        numerals: tuple[str | None, str | None],
        missing: str,
    ) -> Source:
        """The options of a command; what is the default is left out."""
        return cls(file, dataset, *columns, *numerals, None if missing == "error" else missing)

    @property
    def how(self) -> dict[str, Any]:
        """How to read the file, as `read_counts` takes it."""
        given = {name: getattr(self, name) for name in _OF_A_FILE}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def stem(self) -> str:
        """Name of the file without its suffixes; empty if there is none."""
        if self.file is None or str(self.file) == "-":
            return ""
        stem = self.file.stem
        return Path(stem).stem if self.file.suffix.lower() == ".gz" else stem


@dataclass(frozen=True)
class Job:
    """The options of a command that fits; it is `fit` if they have no max_components."""

    command: str
    source: Source
    draws: int
    chains: int
    seed: int
    out: Path | None
    force: bool
    as_json: bool
    spec: Path | None = None
    components: int | None = None
    max_components: int | None = None
    thorough: bool = False

    def recorded(self, priors: MixtureSpec) -> dict[str, Any]:
        """The settings of the command for the record of the run."""
        given = {k: str(value) for k, value in asdict(self.source).items() if value is not None}
        searched = {"max_components": self.max_components, "thorough": self.thorough}
        return {
            "command": self.command,
            **given,
            **(searched if self.max_components is not None else {}),
            **{name: getattr(self, name) for name in ("draws", "chains", "seed")},
            "spec": priors.to_dict(),
        }


def read(source: Source) -> Counts:
    """Read the counts from the file, data set or standard input that the command names."""
    from pmnbmix.data.datasets import load_dataset
    from pmnbmix.data.readers import read_counts

    if source.dataset is not None and source.file is None:
        for name in source.how:
            raise ValueError(f"--{name} belongs to a file; --dataset has no columns.")
        return load_dataset(source.dataset)
    if source.file is not None and source.dataset is None:
        if str(source.file) == "-":
            return _read_standard_input(source.how)
        return read_counts(source.file, **source.how)
    raise ValueError(
        "name either a FILE or a --dataset. 'pmnbmix datasets' lists the built-in ones."
    )


def _read_standard_input(how: dict[str, Any]) -> Counts:
    """Counts of a csv, gzipped or not, from standard input."""
    from pmnbmix.data.readers import read_counts

    if sys.stdin is None:
        raise ValueError(
            "standard input is closed. Name a FILE, or pipe counts in: cat cells.csv | pmnbmix fit "
            "-."
        )
    content = sys.stdin.buffer.read(_LARGEST_INPUT + 1)
    if len(content) > _LARGEST_INPUT:
        raise ValueError(f"standard input: more than {_LARGEST_INPUT} bytes. Pass a file.")
    suffix = ".csv.gz" if content.startswith(_GZIP) else ".csv"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"standard-input{suffix}"
        file.write_bytes(content)
        try:
            return read_counts(file, **how)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error).replace(str(file), "standard input")) from None


def prepare(job: Job) -> tuple[Counts, MixtureSpec, Path]:
    """Counts, priors and folder of a run; errors in them are raised before the work begins."""
    counts = read(job.source)
    priors = read_spec(job.spec, job.components)
    check_sampling(job.draws, job.chains)
    from pmnbmix.posterior.checks import check_arguments
    from pmnbmix.present.folder import check_target, free_folder
    from pmnbmix.selection.loo import refuse_too_many

    refuse_too_many(counts.n)
    check_arguments(counts, priors)
    folder = job.out
    if folder is None:
        named = "-".join(filter(None, (job.source.stem, counts.name)))
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in named)
        folder = free_folder(f"pmnbmix-{job.command}-{plain}", counts)
    check_target(folder, job.force)
    return counts, priors, folder


def read_spec(path: Path | None, components: int | None) -> MixtureSpec:
    """Priors from a file, or the default ones; an error if they cannot be sampled."""
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


def check_sampling(draws: int, chains: int) -> None:
    """Refuse, before anything is fitted, settings whose draws could not be judged."""
    from pmnbmix.data.checks import whole

    whole(draws, "--draws", 4)
    whole(chains, "--chains", 1)
    if draws * chains < _FEWEST_DRAWS:
        raise ValueError(
            f"--draws {draws} of --chains {chains} are {draws * chains} draws in all; LOO needs "
            f"{_FEWEST_DRAWS} or more. Raise --draws."
        )


def followed(path: Path) -> Path:
    """Follow links and resolve "." and ".."; any other path is returned as it is."""
    try:
        linked = stat.S_ISLNK(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        linked = False
    except OSError as error:
        raise ValueError(
            f"{path}: this name cannot be used ({error.strerror}). Name another --out."
        ) from None
    if not linked and path.name not in ("", ".."):
        return path
    end = Path(os.path.realpath(path))
    if end.is_symlink():
        raise ValueError(f"{path}: this link leads in a circle. Name another --out.")
    return end


def target_file(out: Path, force: bool) -> Path:
    """File for a result, with links followed, checked before the work begins.

    Raises
    ------
    ValueError
        If it exists and ``force`` is false, is not a file, or its folder is missing or cannot be
        written to.
    """
    file = followed(out)
    if file.is_dir():
        raise ValueError(f"{out} is a folder; name a file in it.")
    if file.exists() and not file.is_file():
        raise ValueError(f"{out} is not a file, so it cannot be replaced. Name another.")
    if file.exists() and not force:
        raise ValueError(f"{out} exists. Name another file, or replace it with --force.")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder. Make it first.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{folder}: this folder cannot be written to. Name another --out.")
    return file
