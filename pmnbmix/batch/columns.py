"""`fit_columns`: a mixture for every column of a matrix, on all cores or on a cluster."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from pmnbmix.batch.blocks import Block, Bounds, block_of
from pmnbmix.batch.column_fits import ColumnFits, as_fits, exposure_of
from pmnbmix.batch.fitting import CRITERIA, Exposures, Results, Task, blank, fit_block
from pmnbmix.batch.sources import Computed, Source, open_source
from pmnbmix.batch.store import Store, block_digest, open_store
from pmnbmix.mixture.spec import check_n_components
from pmnbmix.point.replicates import check_n_jobs
from pmnbmix.progress import progress_bar

_log = logging.getLogger(__name__)

# A block has at most so many columns, and so many counts, zeros included.
_WIDEST = 512
_MOST_COUNTS = 8_000_000
# A matrix is cut into at least so many blocks, if it has the columns, to keep cores busy.
_LEAST_BLOCKS = 32
# So many blocks wait for each worker, so that none idles while the next one is read.
_WAITING = 2
# A matrix of fewer rows, and so many times as many columns, may be transposed.
_FEW_ROWS, _MANY_TIMES = 500, 10
# The block of a lost worker is begun again so many times.
_RETRIES = 3

# A block, or columns that a worker has to compute and the index of the first.
Part = Block | tuple[Any, int]


def fit_columns(
    matrix: Any,
    n_components: int | Literal["bic", "icl"] = 2,
    exposure: ArrayLike | str | None = None,
    client: Any = None,
    *,
    max_components: int = 4,
    layer: str | None = None,
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    progressbar: bool = True,
) -> ColumnFits:
    """Fit a mixture to every column of a matrix by maximum likelihood.

    Each column is climbed from a few deterministic starts, so that the same matrix gives the same
    result, bit for bit, whatever it is stored in and however many workers there are. A column that
    holds no counts is a row of the result that says why; it never stops the others.

    Parameters
    ----------
    matrix : array_like of shape (n, n_columns)
        Counts, observations by columns: a numpy array, scipy sparse (compressed columns are
        native), a pandas DataFrame, an xarray DataArray, an AnnData (also backed), a zarr or h5py
        array, or a Dask array. What lies on disk is read in blocks and never held whole.
    n_components : int or {"bic", "icl"}
        1 or above; or the criterion by which 1 to ``max_components`` are chosen, column by column.
    exposure : array_like of shape (n,), or str, optional
        Size factor of each observation, above 0, on the natural scale; or its name in ``.obs`` of
        an AnnData. 1 where absent.
    client : dask.distributed.Client, optional
        Fit on its workers instead of the cores of this machine.
    max_components : int
        Most components that a criterion may choose.
    layer : str, optional
        Layer of an AnnData that holds the counts; ``X`` where absent.
    out : path-like, optional
        Folder (zarr) to which finished blocks are written as they come. Where it holds blocks of
        the same fits already, only what is missing is fitted. `ColumnFits.read` reads it.
    n_jobs : int, optional
        Threads; all cores where absent. Without meaning beside a client.
    progressbar : bool
        Show one, with columns a second.

    Returns
    -------
    ColumnFits
        A Dataset of parameters, standard errors, criteria and a status for every column.

    Raises
    ------
    TypeError, ValueError
        For a container that holds no numbers, and arguments of the wrong kind or out of range; not
        for the counts of a column.
    KeyboardInterrupt
        Where interrupted before a block is done; later, what is done is returned, the status of
        the other columns is "interrupted", and a warning is logged.

    Notes
    -----
    ``times_reached`` says how many of the ``n_starts`` starts led to the best optimum. `fit_em`
    runs a larger pool of starts on one column, and measures intervals.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin (1977), J. R. Stat. Soc. B 39, 1-38,
       https://doi.org/10.1111/j.2517-6161.1977.tb01600.x

    Examples
    --------
    >>> import pandas as pd
    >>> import pmnbmix as nb
    >>> wide = nb.MixtureParams([0.6, 0.4], [2, 30], [0.2, 0.1])
    >>> one = nb.MixtureParams([1], [5], [0.3])
    >>> genes = pd.DataFrame({"a": wide.sample(300, 1)[0], "b": one.sample(300, 2)[0]})
    >>> fits = nb.fit_columns(genes, "bic", n_jobs=1, progressbar=False)
    >>> fits["n_components"].to_numpy().tolist()
    [2, 1]
    >>> fits["means"].sel(column="a").to_numpy().round()
    array([ 2., 30., nan, nan])
    """
    source = open_source(matrix, layer)
    numbers = exposure_of(matrix, exposure)
    exposures = Exposures.of(numbers, source.n)
    _remark_on_shape(source)
    task = _task(n_components, max_components, source.n)
    check_n_jobs(n_jobs)
    attrs: dict[str, Any] = {
        "n": source.n,
        "candidates": list(task.candidates),
        "chosen_by": "" if isinstance(n_components, int | np.integer) else n_components,
        "has_exposure": int(exposure is not None),
        "exposure_digest": _exposure_digest(exposures),
    }
    width = _width(source)
    store = None if out is None else open_store(out, attrs, source.names, task, width)
    width = width if store is None else store.width
    size = source.names.size
    bounds: Bounds = [(a, min(a + width, size)) for a in range(0, size, width)]
    results = blank(task, size)
    if store is not None:
        bounds = _missing(source, store, bounds, results)
    left = sum(b - a for a, b in bounds)
    done = size - left

    def keep(first: int, digest: bytes, part: Results) -> None:
        _place(results, first, part)
        if store is not None:
            store.write(first // width, part, digest)

    with (
        _workers(client, n_jobs, exposures, task, store is not None) as workers,
        progress_bar("fitting", progressbar, unit="columns") as show,
    ):

        def advance(n_columns: int) -> None:
            nonlocal done
            done += n_columns
            show(done, size)

        finished = _run(source, bounds, workers, client is not None, keep, advance, done)
    fits = as_fits(results, source.names, {**attrs, "finished": int(finished)})
    if finished and not fits["n_components"].any():
        _log.warning(
            "none of the %d columns holds counts; the first: %s", size, fits["reason"][0].item()
        )
    return fits


def _remark_on_shape(source: Source) -> None:
    """Log that a matrix may have its observations in columns, as tables of genes often have."""
    size = source.names.size
    if source.n < _FEW_ROWS and size >= _MANY_TIMES * source.n:
        _log.warning(
            "%s rows and %s columns: a mixture is fitted to each column, with a row for each "
            "observation. If the observations are the columns, pass the transposed matrix",
            *(f"{source.n:,}", f"{size:,}"),
        )


def _task(n_components: Any, max_components: Any, n: int) -> Task:
    largest = check_n_components(max_components)
    if isinstance(n_components, str):
        if n_components not in CRITERIA:
            raise ValueError(
                f'n_components must be a whole number, "bic" or "icl"; got {n_components!r}.'
            )
        return Task(n, tuple(range(1, largest + 1)), n_components)
    return Task(n, (check_n_components(n_components),), "bic")


def _width(source: Source) -> int:
    """Columns to a block: by the matrix alone, so that a store fits every machine."""
    even = -(-source.names.size // _LEAST_BLOCKS)
    return int(max(1, min(_WIDEST, even, _MOST_COUNTS // source.n)))


def _exposure_digest(exposures: Exposures) -> str:
    digest = hashlib.blake2b(exposures.position.tobytes(), digest_size=16)
    digest.update(repr(exposures.scale).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Workers:
    """How a block is started, and how many are to be under way at this time."""

    start: Callable[[Part], Any]
    slots: Callable[[], int]


@contextmanager
def _workers(
    client: Any, n_jobs: int | None, exposures: Exposures, task: Task, stored: bool
) -> Iterator[_Workers]:
    if client is None:
        n_threads = n_jobs or os.cpu_count() or 1
        pool = ThreadPoolExecutor(n_threads)
        try:
            yield _Workers(
                lambda part: pool.submit(_fit_part, part, exposures, task, stored),
                lambda: n_threads * _WAITING,
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return
    if not hasattr(client, "submit") or not hasattr(client, "nthreads"):
        raise TypeError(
            f"client must be a dask.distributed.Client; got {type(client).__name__}. Leave it out "
            "to use the cores of this machine."
        )
    from dask import delayed

    # It is made by a task, not scattered, so that a lost worker's copy can be made again; blocks
    # travel with their task for the same reason.
    shared = client.submit(_same, exposures, pure=False)

    def start(part: Part) -> Any:
        if isinstance(part, Block):
            return client.submit(
                _fit_part, part, shared, task, stored, pure=False, retries=_RETRIES
            )
        lazy, first = part
        job = delayed(_fit_part, pure=False)((lazy, first), shared, task, stored)
        return client.compute(job, retries=_RETRIES)

    # Workers come and go: on a cluster with a queue most of them come later.
    yield _Workers(start, lambda: max(sum(client.nthreads().values()), 1) * _WAITING)


def _same(exposures: Exposures) -> Exposures:
    return exposures


def _fit_part(part: Part, exposures: Exposures, task: Task, stored: bool) -> tuple[bytes, Results]:
    block = part if isinstance(part, Block) else block_of(*part)
    return block_digest(block) if stored else b"", fit_block(block, exposures, task)


def _missing(source: Source, store: Store, bounds: Bounds, results: Results) -> Bounds:
    """Blocks that are not in the store; those that are go into the results, if counts are the same.

    What has to be computed to be read is not held against the store.
    """
    done = store.done()
    kept = [pair for pair, there in zip(bounds, done, strict=True) if there]
    for a, b in kept:
        _place(results, a, store.read(a // store.width, b - a))
    if not isinstance(source, Computed):
        for block in source.blocks(kept):
            if block_digest(block) != store.digest(block.first // store.width):
                raise ValueError(
                    f"the counts of columns {block.first} to "
                    f"{block.first + block.indptr.size - 2} are not those that were fitted to make "
                    "what is in the folder out. Name another folder, or delete it."
                )
    if kept:
        _log.info("%d of %d blocks were fitted before", len(kept), len(bounds))
    return [pair for pair, there in zip(bounds, done, strict=True) if not there]


def _place(results: Results, first: int, part: Results) -> None:
    for name, numbers in part.items():
        results[name][first : first + len(numbers)] = numbers


def _run(
    source: Source,
    bounds: Bounds,
    workers: _Workers,
    on_cluster: bool,
    keep: Callable[[int, bytes, Results], None],
    advance: Callable[[int], None],
    done: int,
) -> bool:
    """Fit blocks, a few under way at a time; False where interrupted after some were done.

    ``done`` columns were fitted before.
    """
    parts: Iterator[Part] = source.blocks(bounds)
    if on_cluster and isinstance(source, Computed):
        parts = source.lazily(bounds)
    waiting: deque[tuple[int, Any]] = deque()
    try:
        for (first, _), part in zip(bounds, parts, strict=True):
            waiting.append((first, workers.start(part)))
            if len(waiting) >= workers.slots():
                first, job = waiting.popleft()
                done += _collect(first, job, keep, advance)
        while waiting:
            first, job = waiting.popleft()
            done += _collect(first, job, keep, advance)
    except KeyboardInterrupt:
        for _, job in waiting:
            job.cancel()
        if not done:
            raise
        _log.warning("interrupted; keeping the %d columns that are done", done)
        return False
    return True


def _collect(
    first: int,
    job: Any,
    keep: Callable[[int, bytes, Results], None],
    advance: Callable[[int], None],
) -> int:
    digest, results = job.result()
    keep(first, digest, results)
    n_columns = len(results["statuses"])
    advance(n_columns)
    return n_columns
