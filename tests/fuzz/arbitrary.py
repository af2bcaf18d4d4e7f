"""Input of every kind for the public functions, and the judge of how they take it.

A call may return, or refuse its input by a ``raise`` of the package itself. An error out of numpy,
scipy, pandas or Python, and a warning, is a defect whatever its class: the text of such an error
speaks of the inside, not of the argument.
"""

from __future__ import annotations

import decimal
import fractions
import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import pmnbmix as nb

PACKAGE = Path(nb.__file__).parent
# every example fits something once, so that its cost is measured in examples and not in time
# Examples of a test in the whole suite, where all of them together take under a minute.
_EXAMPLES = 25
_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def budget(share: float = 1.0) -> settings:
    """Settings of a test: this share of the profile's examples; no limit on time."""
    thorough = settings.get_current_profile_name() == "thorough"
    many = settings().max_examples if thorough else _EXAMPLES
    return settings(
        max_examples=max(3, round(share * many)),
        deadline=None,
        derandomize=not thorough,
        suppress_health_check=_CHECKS,
    )


def refusal(call: Callable[[], Any], *, also: tuple[type[Exception], ...] = ()) -> str | None:
    """Text of the refusal of a call; None where it answered. Any other error goes through."""
    try:
        call()
    except (TypeError, ValueError, *also) as error:
        return _judged(error)
    return None


def answer(call: Callable[[], Any]) -> Any:
    """What a call returned; None where it refused its input in the package's own words."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        _judged(error)
        return None


def refused(call: Callable[[], Any], argument: str) -> None:
    """Check that a call refuses its input, and that the text names the argument."""
    text = refusal(call)
    assert text is not None, f"{argument} was taken"
    assert argument in text, text


def _judged(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    ours = Path(frame.filename).is_relative_to(PACKAGE) and line.startswith("raise ")
    if not ours:
        raise AssertionError(
            f"{type(error).__name__} from inside, at {frame.filename}:{frame.lineno}: {error}"
        ) from error
    text = str(error)
    assert len(text) > 15, text
    assert text.rstrip().endswith((".", "?", ")")), text
    return text


# What no argument takes for a number.
not_numbers = st.one_of(
    st.sampled_from(
        [
            None,
            "",
            "a",
            "1",
            b"1",
            True,
            False,
            1j,
            [],
            {},
            set(),
            (),
            object,
            ...,
            np.True_,
            np.datetime64("2020-01-01"),
            pd.NA,
            pd.NaT,
            fractions.Fraction(1, 2),
            decimal.Decimal("1.5"),
            np.array([1, 2]),
            np.array([]),
            [[1], [2, 3]],
            range(3),
            lambda: 1,
            np.random.default_rng,
            nb.MixtureSpec(2),
            float,
            np.zeros((2, 2)),
            slice(1),
        ]
    ),
    st.text(max_size=5),
    st.binary(max_size=3),
)
not_text = not_numbers.filter(lambda value: value is not None and not isinstance(value, str))
odd_floats = st.sampled_from(
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        -0.0,
        -1.0,
        0.5,
        1e308,
        -1e308,
        5e-324,
        1e-310,
        2.0**53,
        2.0**53 + 2,
        1e300,
        np.float32(1e38),
        np.float16(0.5),
        np.longdouble("1e400"),
    ]
)
odd_integers = st.sampled_from(
    [
        0,
        -1,
        1,
        2,
        101,
        2**31,
        2**53,
        2**53 + 1,
        2**63,
        2**64,
        10**30,
        10**400,
        -(2**63),
        -(10**400),
        np.int8(-1),
        np.uint64(2**64 - 1),
        np.int64(0),
    ]
)
odd_scalars = st.one_of(not_numbers, odd_floats, odd_integers, st.floats(), st.integers())
# Whole numbers of 1 or above are valid for many arguments; these never are.
not_whole = st.one_of(
    not_numbers,
    odd_floats,
    st.sampled_from([0, -1, np.int8(-1), -(2**63), -(10**400), 1.0, np.float64(2)]),
)
# A specification may be a number of components.
not_specs = not_whole.filter(lambda value: not isinstance(value, nb.MixtureSpec))
not_seeds = st.one_of(
    not_numbers.filter(lambda value: value is not None),
    odd_floats,
    st.sampled_from([-1, -(10**400), np.int64(-3), np.random.RandomState(0), 1.0]),
    st.builds(np.random.SeedSequence, st.just(1)),
)
seeds = st.one_of(
    st.integers(0, 2**32), st.sampled_from([0, 2**63, 10**40, np.int8(3), np.uint64(2**64 - 1)])
)

numbers = st.one_of(st.integers(0, 9), odd_floats, odd_integers, st.floats())
odd_arrays = st.one_of(
    odd_scalars,
    st.lists(numbers, max_size=4),
    st.lists(odd_scalars, max_size=4),
    st.lists(st.lists(numbers, max_size=2), max_size=3),
    st.tuples(numbers, numbers),
    st.lists(numbers, max_size=3).map(lambda entries: np.array(entries, dtype=object)),
    st.lists(st.integers(0, 9), max_size=3).map(pd.Series),
    st.lists(st.sampled_from([1, None, pd.NA]), min_size=1, max_size=3).map(
        lambda entries: pd.array(entries, dtype="Int64")
    ),
    st.sampled_from(
        [
            np.array(3),
            np.array(["1"]),
            np.array([b"1"]),
            np.array([True]),
            np.array([1 + 0j]),
            np.zeros((2, 0)),
            np.zeros((1, 1)),
            np.ones((2, 2, 2)),
            np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
            np.array([1, 2], dtype=">i4"),
            np.array([1.0], dtype=np.longdouble),
            np.array([2**64 - 1], dtype=np.uint64),
            np.ma.masked_array([1, 2], mask=[False, True]),
            np.array(["2020-01-01"], dtype="M8[D]"),
            pd.Categorical([1, 2]),
            pd.DataFrame({"a": [1, 2]}),
            pd.Index([1, 2]),
            memoryview(b"ab"),
            bytearray(b"ab"),
            iter([1]),
        ]
    ),
)

# Valid input, extremes included.
count_values = st.one_of(
    st.integers(0, 8), st.integers(0, 2000), st.sampled_from([0, 10**6, 10**9])
)
values = st.lists(count_values, min_size=1, max_size=12)
exposures = st.floats(-6, 6).map(lambda power: 10.0**power)


@st.composite
def counts(draw: st.DrawFn, most: int = 12) -> nb.Counts:
    """Valid counts: from one to a dozen rows, with and without exposure and frequency."""
    rows = draw(st.lists(count_values, min_size=1, max_size=most))
    n = len(rows)
    scale = draw(st.none() | st.lists(exposures, min_size=n, max_size=n))
    times = draw(st.none() | st.lists(st.integers(0, 40), min_size=n, max_size=n).filter(any))
    return nb.Counts(rows, scale, times)


@st.composite
def params(draw: st.DrawFn, n_components: int | None = None) -> nb.MixtureParams:
    """Valid parameters, with empty components, means of 0 and Poisson ones among them."""
    k = n_components or draw(st.integers(1, 4))

    def each(entries: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(entries, min_size=k, max_size=k)))

    share = each(st.one_of(st.integers(0, 5).map(float), st.floats(0, 1)))
    if not share.sum() > 1e-6:
        share = np.ones(k)
    positive = st.floats(-9, 9).map(lambda power: 10.0**power)
    return nb.MixtureParams(
        share / share.sum(),
        each(st.one_of(st.just(0.0), positive)),
        each(st.one_of(st.just(0.0), st.sampled_from([5e-324, 1e-300, 1e300]), positive)),
    )


@st.composite
def specs(draw: st.DrawFn, least: float = 0.05) -> nb.MixtureSpec:
    """Valid specifications; ``least`` is the smallest Dirichlet concentration."""
    scale = st.one_of(st.just(float("inf")), st.floats(0.01, 100))
    return nb.MixtureSpec(
        draw(st.integers(1, 4)),
        nb.DirichletPrior(draw(st.floats(least, 50))),
        nb.NormalPrior(draw(st.one_of(st.just("auto"), st.floats(-20, 20))), draw(scale)),
        nb.NormalPrior(draw(st.floats(-20, 20)), draw(scale)),
    )
