"""Saving, damaging, loading and going on, in any order: whole results or a refusal."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import pmnbmix as nb
from pmnbmix.batch import columns as batch_columns
from tests.fuzz import arbitrary as a

_COUNTS = nb.Counts([0, 1, 1, 2, 3, 5, 8, 13])
_MATRIX = np.random.default_rng(1).poisson(3.0, (20, 6))
_QUIET = {"progressbar": False}
_FITS = [nb.fit_em(_COUNTS, k, random_seed=1) for k in (1, 2)]
_WHOLE = nb.bootstrap_lrt(_COUNTS, n_boot=6, random_seed=1, n_jobs=1, **_QUIET)
_COLUMNS = nb.fit_columns(_MATRIX, 2, n_jobs=1, **_QUIET).log_likelihood.to_numpy()

_names = st.sampled_from(["one", "two"])
_shares = st.floats(0, 0.999)


def _trees():
    # on first use, since collecting tests should not sample
    if not _TREES:
        options = {"draws": 8, "tune": 20, "chains": 2, **_QUIET}
        _TREES.extend(
            nb.sample(_COUNTS, nb.MixtureSpec(1), random_seed=seed, **options) for seed in (1, 2)
        )
    return _TREES


_TREES: list = []


class Work(RuleBasedStateMachine):
    """Files of fits and of draws, replicates of a test, and a folder of columns."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        # what a file holds, by its name; None where it was damaged
        self.held = {}
        self.replicates = 0
        self.kept = np.zeros(_MATRIX.shape[1], dtype=bool)

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(name=_names, which=st.integers(0, 1))
    def save_a_fit(self, name, which):
        _FITS[which].write(self.folder / f"{name}.json")
        self.held[f"{name}.json"] = _FITS[which].params.means

    @rule(name=_names, which=st.integers(0, 1))
    def save_draws(self, name, which):
        tree = _trees()[which]
        nb.save(tree, self.folder / f"{name}.nc")
        self.held[f"{name}.nc"] = tree["posterior"]["means"].values

    @rule(data=st.data(), share=_shares)
    def cut_a_file_off(self, data, share):
        if self.held:
            name = data.draw(st.sampled_from(sorted(self.held)))
            content = (self.folder / name).read_bytes()
            # the last byte of JSON is a line break that nobody needs
            (self.folder / name).write_bytes(content[: int(share * (len(content) - 1))])
            self.held[name] = None

    @rule(data=st.data())
    def read(self, data):
        if not self.held:
            return
        name = data.draw(st.sampled_from(sorted(self.held)))
        file = self.folder / name
        if self.held[name] is None:
            a.refused(lambda: (nb.load if file.suffix == ".nc" else nb.PointFit.read)(file), name)
        elif file.suffix == ".nc":
            np.testing.assert_array_equal(nb.load(file)["posterior"]["means"], self.held[name])
        else:
            means = nb.PointFit.read(file).params.means
            np.testing.assert_allclose(means, self.held[name], rtol=1e-12)

    @rule(n=st.integers(2, 6))
    def test_with_replicates_in_a_file(self, n):
        file = self.folder / "test.boot"
        found = nb.bootstrap_lrt(_COUNTS, n_boot=n, random_seed=1, n_jobs=1, file=file, **_QUIET)
        self.replicates = max(self.replicates, n)
        np.testing.assert_array_equal(found.null_statistics, _WHOLE.null_statistics[:n])
        stored = nb.BootstrapTest.read(file).null_statistics
        np.testing.assert_array_equal(stored, _WHOLE.null_statistics[: self.replicates])

    @rule(blocks=st.integers(0, 7))
    def fit_columns_until_interrupted(self, blocks):
        begun, fitting = itertools.count(), batch_columns._fit_part

        def interrupted(*arguments):
            if next(begun) == blocks:
                raise KeyboardInterrupt
            return fitting(*arguments)

        batch_columns._fit_part = interrupted
        try:
            fits = nb.fit_columns(_MATRIX, 2, out=self.folder / "fits.zarr", n_jobs=1, **_QUIET)
        except KeyboardInterrupt:
            return
        finally:
            batch_columns._fit_part = fitting
        done = fits.status.to_numpy() != "interrupted"
        np.testing.assert_array_equal(fits.log_likelihood.to_numpy()[done], _COLUMNS[done])
        assert not (self.kept & ~done).any()
        self.kept = done

    @invariant()
    def nothing_is_left_over(self):
        if hasattr(self, "folder"):
            assert not [path for path in self.folder.iterdir() if path.name.startswith(".")]


def test_work_in_any_order():
    thorough = settings.get_current_profile_name() == "thorough"
    run_state_machine_as_test(
        Work,
        settings=settings(a.budget(), max_examples=40 if thorough else 4, stateful_step_count=12),
    )
