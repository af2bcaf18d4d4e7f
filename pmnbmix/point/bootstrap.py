"""The bootstrap likelihood ratio test of a number of components."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.files import as_file, read_json, write_json
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec, check_n_components
from pmnbmix.point.fit import check_counts, fit_em
from pmnbmix.point.objective import likelihood_objective
from pmnbmix.point.optima import Status
from pmnbmix.point.regression_starts import with_a_copy
from pmnbmix.point.replicates import check_n_boot, check_n_jobs, collect, draw_again
from pmnbmix.point.resample import redraw_rows
from pmnbmix.point.result import PointFit
from pmnbmix.point.search import search
from pmnbmix.seeds import entropy_of, stream

Floats = NDArray[np.float64]

_FORMAT = "pmnbmix bootstrap test"
# These attributes of a test are whole numbers.
_WHOLE = ("null", "alternative", "n_boot", "entropy")
# Likelihood ratios count as equal if they differ by no more than this share, or this many nats.
_ROUNDING = 1e-6
_MAX_ITER = 200


@dataclass(frozen=True, eq=False)
class BootstrapTest:
    """Bootstrap likelihood ratio test of a number of components.

    Attributes
    ----------
    null, alternative : int
        Numbers of components.
    statistic : float
        Twice the log likelihood ratio of the data.
    null_statistics : ndarray, shape (n_done,)
        The same of counts drawn from the fitted null.
    n_boot : int
        How many replicates were asked for.
    entropy : int
        Seed of the replicates, from which a test goes on.
    digest_of_counts : str
        Which counts were tested (`Counts.digest`); empty if that is not known.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> options = {"random_seed": 1, "n_jobs": 1, "progressbar": False}
    >>> nb.bootstrap_lrt(counts, n_boot=10, **options).write("test.json")
    >>> test = nb.BootstrapTest.read("test.json")
    >>> test.complete, test.null_statistics.size
    (True, 10)
    >>> longer = nb.bootstrap_lrt(counts, n_boot=20, resume=test, **options)  # 10 more
    >>> round(longer.p_value, 2)
    0.05
    """

    null: int
    alternative: int
    statistic: float
    null_statistics: Floats = field(repr=False)
    n_boot: int
    entropy: int
    digest_of_counts: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return (
            f"BootstrapTest(null={self.null}, alternative={self.alternative}, "
            f"statistic={self.statistic:.4g}, p_value={self.p_value:.3g}, "
            f"replicates={self.null_statistics.size})"
        )

    @property
    def complete(self) -> bool:
        """Whether every replicate was run."""
        return self.null_statistics.size == self.n_boot

    @property
    def p_value(self) -> float:
        """Probability of such a ratio under the null, (1 + exceedances) / (1 + replicates)."""
        # Fits that are as good as one another differ by rounding, which must not decide.
        rounding = _ROUNDING * max(1.0, abs(self.statistic))
        exceedances = int((self.null_statistics >= self.statistic - rounding).sum())
        return (1 + exceedances) / (1 + self.null_statistics.size)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the test to a JSON file, in one step.

        Raises
        ------
        ValueError
            Where the file cannot be written.
        """
        # JSON cannot hold integers of NumPy.
        whole = {name: int(getattr(self, name)) for name in _WHOLE}
        values = {
            "statistic": float(self.statistic),
            "null_statistics": self.null_statistics.tolist(),
            "digest_of_counts": self.digest_of_counts,
        }
        write_json(as_file(path), {"format": _FORMAT, **whole, **values})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> BootstrapTest:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            Where the file is missing or holds something else.
        """
        data = read_json(path, _FORMAT)
        try:
            whole = {name: data[name] for name in _WHOLE}
            if not all(type(value) is int and value >= 0 for value in whole.values()):
                raise ValueError(f"these must be whole numbers of 0 or above: {whole}")
            statistics = np.array(data["null_statistics"], dtype=np.float64)
            if statistics.ndim != 1 or statistics.size > whole["n_boot"]:
                raise ValueError(f"{statistics.shape} statistics of {whole['n_boot']} replicates")
            statistic = float(data["statistic"])
            if not (np.isfinite(statistics).all() and math.isfinite(statistic)):
                raise ValueError("a statistic is no number")
            digest = data.get("digest_of_counts", "")
            if not isinstance(digest, str):
                raise ValueError(f"digest_of_counts is {digest!r}, not text")
            return cls(
                statistic=statistic,
                null_statistics=statistics,
                digest_of_counts=digest,
                **whole,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: this is no whole test ({error}). Remove it.") from None


def bootstrap_lrt(
    counts: Counts,
    *,
    null: int = 1,
    alternative: int = 2,
    spec: MixtureSpec | None = None,
    n_boot: int = 199,
    resume: BootstrapTest | None = None,
    file: str | os.PathLike[str] | None = None,
    random_seed: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    progressbar: bool = True,
) -> BootstrapTest:
    """Test a number of components against a larger one by the bootstrap likelihood ratio.

    The ratio has no chi-square distribution between mixtures, so its distribution under the null
    is made: counts are drawn from the fitted null and both mixtures are fitted to them, each from
    the whole pool of starts.

    Parameters
    ----------
    counts : Counts
    null, alternative : int
        Numbers of components, the alternative larger.
    spec : MixtureSpec, optional
        Formulas and family of both; the plain model if absent.
    n_boot : int
        Number of replicates.
    resume : BootstrapTest, optional
        An earlier or interrupted test of the same counts; its replicates are kept and only the
        missing ones are run.
    file : path-like, optional
        JSON file that takes the replicates every few seconds; where it exists already, it is what
        is gone on from, with its seed. So the same call goes on after the process was killed.
    random_seed : int or numpy.random.Generator, optional
        The result does not depend on ``n_jobs``.
    n_jobs : int, optional
        Processes; all cores where absent and the work is worth starting them.
    progressbar : bool

    Returns
    -------
    BootstrapTest
        ``complete`` is False where the work was interrupted; pass it as ``resume`` to go on.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and a ``resume`` or ``file`` of other
        counts, or a ``file`` that cannot be read or written.

    References
    ----------
    .. [1] G. J. McLachlan (1987), On bootstrapping the likelihood ratio test statistic for the
       number of components in a normal mixture, J. R. Stat. Soc. C 36, 318-324,
       https://doi.org/10.2307/2347790

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> test = nb.bootstrap_lrt(counts, n_boot=20, random_seed=1, n_jobs=1, progressbar=False)
    >>> round(test.statistic, 1), float(test.null_statistics.max().round(1))
    (30.9, 7.5)
    >>> round(test.p_value, 2)
    0.05
    """
    check_counts(counts)
    null = check_n_components(null, "null")
    alternative = check_n_components(alternative, "alternative")
    if alternative <= null:
        raise ValueError(
            f"alternative must be larger than null; got null={null}, alternative={alternative}."
        )
    if spec is not None and not isinstance(spec, MixtureSpec):
        raise TypeError(
            f"spec must be a MixtureSpec, whose formulas both mixtures have; got {spec!r}. The "
            "numbers of components are null and alternative."
        )
    check_n_boot(n_boot)
    n_boot = int(n_boot)
    check_n_jobs(n_jobs)
    if resume is not None and not isinstance(resume, BootstrapTest):
        raise TypeError(f"resume must be a BootstrapTest; got {type(resume).__name__}.")
    where = "resume"
    if resume is not None and file is not None:
        raise ValueError(f"give resume or file, not both; got file={str(file)!r} and a resume.")
    if file is not None and Path(file).exists():
        resume, where = BootstrapTest.read(file), str(file)
    entropy = entropy_of(random_seed) if resume is None else resume.entropy
    if spec is None or spec.is_plain:
        fits = _both(counts, null, alternative, stream(entropy, -1))
        statistic = _ratio(fits)
        params = fits[0].params
        ratio_of: Callable[[np.random.Generator], float] = partial(
            _plain_ratio, counts, params, null, alternative
        )
    else:
        if len(set(spec.families)) > 1:
            raise ValueError(
                f"the test compares numbers of components of one family, but spec has families "
                f"{spec.families}. Compare fits of different families by their AIC or BIC."
            )
        statistic, ratio_of = _of_regressions(counts, spec, null, alternative, stream(entropy, -1))
    kept: list[float] = []
    if resume is not None:
        same = (resume.null, resume.alternative) == (null, alternative)
        if not same or not math.isclose(resume.statistic, statistic, rel_tol=1e-6, abs_tol=1e-6):
            raise ValueError(
                f"{where} is a test of {resume.null} against {resume.alternative} components with "
                f"statistic {resume.statistic:.6g}, but this is {null} against {alternative} with "
                f"{statistic:.6g}. Pass the result for the same counts, or none."
            )
        # Other counts may have the same statistic, as 0 where the alternative gains nothing.
        if resume.digest_of_counts not in ("", counts.digest):
            raise ValueError(
                f"{where} is a test of other counts, or of the same in another order. Pass the "
                "result for these counts, or none."
            )
        kept = resume.null_statistics.tolist()[:n_boot]

    def replicate(index: int) -> float:
        return ratio_of(stream(entropy, index))

    def test_of(done: list[float]) -> BootstrapTest:
        statistics = np.array(kept + done)
        return BootstrapTest(
            null, alternative, statistic, statistics, n_boot, entropy, counts.digest
        )

    def keep(done: list[float]) -> None:
        # A file that is there already may hold more replicates than are asked for now.
        if file is not None and (done or not Path(file).exists()):
            test_of(done).write(file)

    # Written before the work, so that a place that cannot be written to is known at once.
    keep([])
    missing = range(len(kept), n_boot)
    title = "bootstrap likelihood ratio"
    return test_of(collect(replicate, missing, n_jobs, progressbar, title, keep))


def _plain_ratio(
    counts: Counts, params: MixtureParams, null: int, alternative: int, rng: np.random.Generator
) -> float:
    return _ratio(_both(draw_again(counts, params, rng), null, alternative, rng))


def _of_regressions(
    counts: Counts, spec: MixtureSpec, null: int, alternative: int, rng: np.random.Generator
) -> tuple[float, Callable[[np.random.Generator], float]]:
    """The ratio of the data, and a function that gives that of a replicate."""
    objectives = [
        likelihood_objective(counts, spec.with_components(k), False) for k in (null, alternative)
    ]

    def ratio(table: CountTable, rng: np.random.Generator) -> tuple[float, Floats]:
        smaller = search(objectives[0].on(table), rng, _MAX_ITER).optima[0]
        start = smaller.point
        for _ in range(alternative - null):
            start = with_a_copy(start)
        larger = search(objectives[1].on(table), rng, _MAX_ITER, own_starts=[start]).optima[0]
        gain = 2.0 * (larger.log_likelihood - smaller.log_likelihood)
        return max(0.0, gain), smaller.point

    statistic, point = ratio(objectives[0].table, rng)

    def replicate(rng: np.random.Generator) -> float:
        return ratio(redraw_rows(objectives[0], point, rng), rng)[0]

    return statistic, replicate


def _both(
    counts: Counts, null: int, alternative: int, rng: np.random.Generator
) -> tuple[PointFit, PointFit]:
    """Fits of both mixtures; the alternative also starts from the null, so it is never lower."""
    smaller = fit_em(counts, null, random_seed=rng)
    start = smaller.params
    for _ in range(alternative - null):
        start = _with_a_copy(start)
    return smaller, fit_em(counts, alternative, start=start, random_seed=rng)


def _with_a_copy(params: MixtureParams) -> MixtureParams:
    """The same distribution with one component more: the largest, split in two."""
    largest = int(params.weights.argmax())
    weights = params.weights.copy()
    weights[largest] *= 0.5
    return MixtureParams(
        np.append(weights, weights[largest]),
        np.append(params.means, params.means[largest]),
        np.append(params.dispersions, params.dispersions[largest]),
    )


def _ratio(fits: tuple[PointFit, PointFit]) -> float:
    for fit in fits:
        if Status.INTERRUPTED in fit.statuses:
            raise KeyboardInterrupt
    # The larger model starts from the smaller one too, so that only rounding can put it behind.
    return max(0.0, 2.0 * (fits[1].log_likelihood - fits[0].log_likelihood))
