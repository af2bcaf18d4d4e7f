"""Traces of how counts were recorded: no zeros, heaps at the largest value or at round numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.tree.reading import Reading, read

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# What the fit expects is averaged over so many draws and exposures, at counts of at most this.
_DRAWS = 60
_EXPOSURES = 20
_LARGEST = 400
# A heap is remarked on if chance makes one as large less often than this, and if it is at least so
# many times what is expected: of very many counts every difference is beyond chance.
_CHANCE = 1e-5
_TIMES = 1.5
# A heap at the largest value has at least so many counts, and so many times what each of the
# three values below it has: a long tail ends in single counts.
_LEAST = 5
_ABOVE = 3.0
# Values from here on are looked at for multiples of 5; small multiples are few, and belong to the
# shape of the distribution.
_FROM = 5


def recording_marks(tree: xr.DataTree) -> tuple[str, ...]:
    """Say what the counts have that recording explains and no mixture of this kind does.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.

    Returns
    -------
    tuple of str
        A sentence for each: no count of 0 where the fit expects many, a heap at the largest value,
        heaps at multiples of 5 or 10; with what it may mean. Empty if nothing was noticed.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> from pmnbmix.selection.recording import recording_marks
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> recording_marks(tree)
    ()
    """
    return marks_of(read(tree))


def marks_of(reading: Reading) -> tuple[str, ...]:
    """`recording_marks`, of a tree that has been read."""
    table = reading.table
    values = np.unique(table.values)
    # One value more than there is shows what the fit expects beyond the largest.
    top = int(min(values[-1], _LARGEST))
    support = np.arange(top + 1.0)
    observed = np.bincount(
        np.minimum(table.values, top + 1.0).astype(np.intp), table.frequency, minlength=top + 2
    )[: top + 1]
    expected = table.n * _mass(reading.draws.thinned(_DRAWS), table, support)
    found = [*_no_zeros(values, expected)]
    capped = ""
    if values[-1] <= _LARGEST and values.size > 2:
        capped = _heap_at_the_largest(observed, expected)
    found.extend([capped] if capped else [])
    # A heap at the largest value is no heap at a round number.
    last = top if capped else top + 1
    found.extend(_heaps_at_round_numbers(observed[:last], expected[:last]))
    return tuple(found)


def _mass(draws: Draws, table: CountTable, support: Floats) -> Floats:
    """Posterior mean of the probability of each value, averaged over the exposures."""
    mass = np.zeros(support.size)
    for exposure, share in zip(*table.typical_exposures(_EXPOSURES), strict=True):
        rows = CountTable.plain(support, np.full(support.size, exposure), np.ones(support.size))
        mass += share * np.exp(draws.log_density(rows)).mean(axis=(0, 1))
    return mass


def _no_zeros(values: Floats, expected: Floats) -> list[str]:
    missing = int(min(values[0], expected.size))
    below = float(expected[:missing].sum())
    if math.exp(-below) > _CHANCE:
        return []
    if missing == 1:
        return [
            f"No count is 0, where the fit expects {_whole(below)}: if counts are recorded only "
            "where they are above zero, they are truncated, and this model is wrong for them."
        ]
    return [
        f"No count is below {missing}, where the fit expects {_whole(below)}: if smaller counts "
        "are not recorded, the counts are truncated, and this model is wrong for them."
    ]


def _heap_at_the_largest(observed: Floats, expected: Floats) -> str:
    beside = observed[-4:-1].mean()
    if observed[-1] < max(_LEAST, _ABOVE * beside) or not _is_heap(observed[-1], expected[-1]):
        return ""
    return (
        f"{_whole(observed[-1])} counts are {observed.size - 1}, the largest value, where the fit "
        f"expects {_whole(expected[-1])}: if it stands for that many or more, the counts are "
        "top-coded, and this model takes it literally."
    )


def _heaps_at_round_numbers(observed: Floats, expected: Floats) -> list[str]:
    # Counts rounded to 5 heap at 5, 15, 25, ... as well, those rounded to 10 do not.
    for step, from_, apart in ((5, _FROM, 10), (10, 10, 10)):
        places = np.arange(from_, observed.size, apart)
        seen, wanted = observed[places], expected[places]
        # One heap alone may be a component; rounding shows at several numbers.
        if (seen > wanted).sum() >= 3 and _is_heap(seen.sum(), wanted.sum()):
            places = np.arange(from_, observed.size, step)
            seen, wanted = observed[places], expected[places]
            return [
                f"{_whole(seen.sum())} counts are multiples of {step}, where the fit expects "
                f"{_whole(wanted.sum())}: if counts were rounded or estimated, single values say "
                "less than the model takes them to say."
            ]
    return []


def _is_heap(observed: float, expected: float) -> bool:
    beyond = stats.poisson.sf(observed - 1.0, expected)
    return bool(observed > _TIMES * expected and beyond < _CHANCE)


def _whole(number: float) -> str:
    return f"{number:,.0f}" if number >= 10.0 else f"{number:.1f}".removesuffix(".0")
