"""Run pieces of work in copies of this process, each killed at a later step of writing.

    python killed.py FOLDER WORK=MOVE[,MOVE ...] [WORK=MOVE ...]

For each MOVE n a copy is killed by SIGKILL just before it moves its n-th file into place, and
another just after; a copy that has fewer moves ends by itself. Each has a folder of its own,
FOLDER/WORK/before-n or after-n. Copies are made by fork before anything has started threads, so
that imports are paid once. With "all" for the moves, n grows until the work ends by itself.
"""

import itertools
import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

import pmnbmix as nb

VALUES = [0, 1, 1, 2, 3, 3, 4, 5, 6, 8, 9, 12, 15, 20, 30]
QUIET = {"progressbar": False}


def counts():
    return nb.Counts(VALUES * 4)


def matrix():
    rng = np.random.default_rng(3)
    return rng.poisson(rng.gamma(1.0, [1.0, 5.0, 20.0, 2.0, 3.0, 8.0], (60, 6)))


def fit(folder):
    nb.fit_em(counts(), 2, random_seed=1).write(folder / "fit.json")
    nb.fit_em(counts(), 1, random_seed=1).write(folder / "fit.json")


def tree(folder):
    for seed in (1, 2):
        found = nb.sample(counts(), nb.MixtureSpec(1), draws=50, random_seed=seed, **QUIET)
        nb.save(found, folder / "tree.nc")


def choose(folder):
    options = {"draws": 100, "random_seed": 4, "watch": lambda title, done, total: None}
    nb.choose_components(counts(), 2, folder=folder / "study", stop_early=False, **options)


def bootstrap(folder):
    nb.bootstrap_lrt(
        counts(), n_boot=6, random_seed=2, n_jobs=1, file=folder / "test.json", **QUIET
    )


def columns(folder):
    nb.fit_columns(matrix(), 2, out=folder / "fits.zarr", n_jobs=1, **QUIET)


WORK = {one.__name__: one for one in (fit, tree, choose, bootstrap, columns)}


def killed_at(work, folder, moves, after):
    """Status of a copy of this process that is killed at a move."""
    folder.mkdir(parents=True)
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    replace, done = os.replace, []

    def counted(*arguments, **options):
        if len(done) + 1 == moves and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments, **options)
        done.append(arguments)
        if len(done) == moves and after:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted
    # a replicate is a matter of milliseconds here; each is written
    nb.point.replicates._BETWEEN_FILES = 0.0
    try:
        work(folder)
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(3)
    os._exit(0)


def main():
    # what is imported on first use, so that copies need not
    import arviz  # noqa: F401
    import nutpie  # noqa: F401
    import pymc  # noqa: F401
    import zarr  # noqa: F401

    import pmnbmix.batch
    import pmnbmix.point.replicates
    import pmnbmix.study  # noqa: F401

    for given in sys.argv[2:]:
        name, moves = given.split("=")
        for move in itertools.count(1) if moves == "all" else map(int, moves.split(",")):
            statuses = {
                when: killed_at(
                    WORK[name], Path(sys.argv[1], name, f"{when}-{move}"), move, when == "after"
                )
                for when in ("before", "after")
            }
            sys.stdout.write(f"{name} {move} {statuses}\n")
            sys.stdout.flush()
            if set(statuses.values()) == {0}:
                break
            assert set(statuses.values()) == {signal.SIGKILL}


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
