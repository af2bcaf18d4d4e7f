"""Coverage-guided fuzzing, by hand, of everything that reads a file.

    uv run --with atheris python .ci/fuzz.py FOLDER [--seconds 3600] [--targets toml tree ...]

The seconds are shared among the targets, which run one after another in processes of their own.
FOLDER keeps the corpus of each target, so that a later run goes on from it, and whatever was found:
an error that is not the package's own refusal (once for each place), an input that ends the
process, takes over 10 s or needs over 2 GB. ``--again FOLDER/found/FILE`` runs one of these.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import io
import json
import linecache
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import atheris
import numpy as np

import pmnbmix as nb
from pmnbmix.batch.files import open_matrix
from pmnbmix.present.folder import read_run

# What reads. Functions are instrumented one by one: in a whole package, those that are compiled
# to machine code would be too, and would no longer compile.
READERS = (
    *("numpy.lib._format_impl", "numpy.lib._npyio_impl", "zipfile", "gzip", "tomllib._parser"),
    *(
        f"pmnbmix.{name}"
        for name in (
            *(
                "data.readers",
                "data.delimited",
                "data.columnar",
                "data.numerals",
                "data.archive",
                "data.spreadsheet",
                "data.checks",
                "data.counts",
                "data.table",
                "mixture.spec",
                "mixture.params",
                "mixture.draws",
                "tree.checks",
                "tree.reading",
            ),
            *("files", "hdf5", "point.as_json", "tree.storage", "batch.files", "batch.sources"),
            *("batch.blocks", "batch.disk", "batch.store"),
            *("study.storage", "study.computed", "present.folder"),
        )
    ),
)
PACKAGE = Path(nb.__file__).parent
_SECONDS, _MEGABYTES = 10, 2048
_LARGEST = 2**18
_CSV = b"count,size\n3,1.5\n0,2\n12,1e-3\n"
_VALUES = [0, 1, 1, 2, 3, 3, 4, 5, 9, 12, 30]


def columns(matrix: Any, exposure: Any = None) -> None:
    """Fit what was opened; so few rows take milliseconds."""
    nb.fit_columns(matrix, 1, exposure=exposure, n_jobs=1, progressbar=False)


def one_file(suffix: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    """Target that writes its input into a file."""

    def run(data: bytes, folder: Path) -> None:
        file = folder / f"input{suffix}"
        file.write_bytes(data)
        read(file)

    return run


def zipped(read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    """Target whose input is an array of an archive, so that no checksum keeps it out."""

    def run(data: bytes, folder: Path) -> None:
        file = folder / "input.npz"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("count.npy", data)
        read(file)

    return run


def gzipped(data: bytes, folder: Path) -> None:
    """Compress all but inputs that begin with what gzip begins with."""
    file = folder / "input.csv.gz"
    file.write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1))
    nb.read_counts(file, "count", "size")


def one_of_folder(template: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    """Target that replaces one file of a folder: the first byte says which."""

    def run(data: bytes, folder: Path) -> None:
        if not data:
            return
        files = files_of(folder / template)
        file = files[data[0] % len(files)]
        before = file.read_bytes()
        try:
            file.write_bytes(data[1:])
            read(folder / template)
        finally:
            file.write_bytes(before)

    return run


def files_of(folder: Path) -> list[Path]:
    """Files of a folder whose content can be exchanged, in order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".png", ".html", ".csv")
    )


TARGETS: dict[str, Callable[[bytes, Path], Any]] = {
    "text": one_file(".csv", lambda file: nb.read_counts(file, "count", "size")),
    "one_column": one_file(".tsv", nb.read_counts),
    "gzip": gzipped,
    "npz": one_file(".npz", nb.read_counts),
    "npy": zipped(nb.read_counts),
    "toml": one_file(".toml", nb.MixtureSpec.read),
    "point_fit": one_file(".json", nb.PointFit.read),
    "tree": one_file(".nc", nb.load),
    "table": one_file(".csv", lambda file: columns(*open_matrix(file, "size"))),
    "sparse": one_file(".npz", lambda file: columns(*open_matrix(file))),
    "h5ad": one_file(".h5ad", lambda file: columns(*open_matrix(file))),
    "column_fits": one_of_folder("fits.zarr", nb.ColumnFits.read),
    "run": one_of_folder("run", read_run),
}


def seeds(target: str, folder: Path) -> Iterator[bytes]:
    """Valid inputs; folders that targets need are made in ``folder``."""
    counts = nb.Counts(_VALUES)
    if target in ("text", "gzip", "table"):
        yield _CSV
        yield b"count;size\n3;1\n4;2\n"
        yield b"\xef\xbb\xbfcount,size\r\n1,2\r\n"
        yield b'"count","size"\n"1","2"\n'
    elif target == "one_column":
        yield b"count\n1\n2\n"
        yield b"\tcount\na\t1\nb\t2\n"
    elif target in ("npz", "npy"):
        for array in (np.arange(4), np.arange(3.0), np.array([b"a"]), np.zeros((0, 2))):
            content = io.BytesIO()
            if target == "npz":
                np.savez(content, count=array)
            else:
                np.save(content, array)
            yield content.getvalue()
    elif target == "toml":
        nb.MixtureSpec(2).write(folder / "spec.toml")
        yield (folder / "spec.toml").read_bytes()
    elif target == "point_fit":
        for k in (1, 2):
            nb.fit_em(counts, k, random_seed=1).write(folder / "fit.json")
            yield (folder / "fit.json").read_bytes()
        nb.fit_map(counts, nb.MixtureSpec(1), random_seed=1).write(folder / "fit.json")
        yield (folder / "fit.json").read_bytes()
    elif target == "tree":
        tree = nb.sample(nb.Counts([0, 3]), nb.MixtureSpec(1), draws=4, chains=1, random_seed=1)
        nb.save(tree, folder / "tree.nc")
        yield (folder / "tree.nc").read_bytes()
    elif target == "sparse":
        from scipy import sparse

        sparse.save_npz(folder / "m.npz", sparse.csc_array([[0, 1], [2, 0]]), compressed=False)
        yield (folder / "m.npz").read_bytes()
    elif target == "h5ad":
        import anndata
        from scipy import sparse

        for matrix in (np.array([[0.0, 1.0], [2.0, 0.0]]), sparse.csr_matrix([[0, 1], [2, 0]])):
            anndata.AnnData(matrix).write_h5ad(folder / "m.h5ad")
            yield (folder / "m.h5ad").read_bytes()
    elif target == "column_fits":
        nb.fit_columns(np.array([[0, 1], [2, 0], [3, 3]]), 1, out=folder / "fits.zarr", n_jobs=1)
    elif target == "run":
        from pmnbmix.present.folder import write_choice_run

        choice = nb.choose_components(nb.Counts([0, 1, 4]), 2, draws=100, random_seed=1)
        (folder / "run").mkdir()
        write_choice_run(folder / "run", choice, {})
    for template in ("fits.zarr", "run"):
        if (folder / template).is_dir():
            for place, file in enumerate(files_of(folder / template)):
                yield bytes([place]) + file.read_bytes()


def instrument() -> None:
    """Count branches in every function of the readers."""
    for name in READERS:
        module = importlib.import_module(name)
        holders = [module, *(one for one in vars(module).values() if isinstance(one, type))]
        for holder in holders:
            if holder is not module and holder.__module__ != name:
                continue
            for function in vars(holder).values():
                found = getattr(function, "__func__", function)
                if isinstance(found, FunctionType) and found.__module__ == name:
                    atheris.instrument_func(found)


def place_of(error: BaseException) -> str | None:
    """Where an error came from, None where the package raised it on purpose."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    source = linecache.getline(last.filename, last.lineno or 0).strip()
    ours = Path(last.filename).is_relative_to(PACKAGE) and source.startswith("raise ")
    if ours and isinstance(error, TypeError | ValueError):
        return None
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    at = inside[-1] if inside else last
    return f"{type(error).__name__}-{Path(at.filename).stem}-{at.lineno}"


def fuzz(target: str, kept: Path, seconds: int) -> None:
    """Fuzz one target in this process; it ends on what cannot be caught."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    memory = Path("/dev/shm")  # noqa: S108
    work = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    corpus, found = kept / "corpus" / target, kept / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds(target, work)):
        (corpus / f"seed-{number}").write_bytes(seed)
    run = TARGETS[target]
    # once before anything is timed: what is compiled or imported on first use
    for seed in corpus.glob("seed-*"):
        # some are refused, and should be
        with contextlib.suppress(TypeError, ValueError):
            run(seed.read_bytes(), work)
    instrument()

    def once(data: bytes) -> None:
        try:
            run(data, work)
        except Exception as error:
            place = place_of(error)
            if place and not (file := found / f"{target}-{place}").exists():
                file.write_bytes(data)
                text = "".join(traceback.format_exception(error))
                file.with_name(f"{file.name}.txt").write_text(text)

    options = {
        "max_total_time": seconds,
        "timeout": _SECONDS,
        "rss_limit_mb": _MEGABYTES,
        "max_len": _LARGEST,
        "len_control": 0,
        "artifact_prefix": f"{found}/{target}-",
        "print_final_stats": 1,
    }
    atheris.Setup([sys.argv[0], *(f"-{k}={v}" for k, v in options.items()), str(corpus)], once)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def report(kept: Path, target: str, seconds: float) -> dict[str, Any]:
    """Fuzz one target until its seconds are over, going on after what ends the process."""
    until, executions, ended = time.monotonic() + seconds, 0, 0
    while (left := int(until - time.monotonic())) > 5 and ended < 50:
        command = [sys.executable, __file__, str(kept), "--one", target, "--seconds", str(left)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace")  # noqa: S603
        log = kept / f"{target}.log"
        log.write_text(run.stderr)
        counted = re.findall(r"(?:executed_units: |#)(\d+)", run.stderr)
        executions += max(map(int, counted), default=0)
        if run.returncode == 0:
            break
        ended += 1
        log.rename(kept / f"{target}-ended-{ended}.log")
    found = sorted(path.name for path in (kept / "found").glob(f"{target}-*"))
    return {"target": target, "executions": executions, "ended": ended, "found": found}


def main() -> None:
    """Run every target, or one of what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--again", type=Path, help="run one input that was found")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.again:
        target = next(name for name in TARGETS if given.again.name.startswith(f"{name}-"))
        with tempfile.TemporaryDirectory() as work:
            list(seeds(target, Path(work)))
            TARGETS[target](given.again.read_bytes(), Path(work))
    elif given.one:
        fuzz(given.one, given.folder.absolute(), given.seconds)
    else:
        for target in given.targets:
            found = report(given.folder.absolute(), target, given.seconds / len(given.targets))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
