"""Whether a fitted mixture describes the counts: the one verdict that every output repeats."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.params import MixtureParams, cdf_jump
from pmnbmix.point.fit import fit_em
from pmnbmix.point.goodness import distance_from_uniform
from pmnbmix.point.optima import Status
from pmnbmix.point.result import PointFit
from pmnbmix.selection.adequacy import RANK_PLACES, rank_curve

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)

# No replicate of 99 is as far away where the counts are not described; a fit that is right is
# called wrong in one case of a hundred, and doubtful in four more.
_REPLICATES = 99
_REJECTED = 0.01
_DOUBTFUL = 0.05
# After so many replicates of which so many are as far away, the rest cannot make a fit doubtful.
_ENOUGH = (39, 10)
# Distances times the square root of n have one distribution whatever n is, so that replicates of
# so many observations stand for those of millions, with so many different exposures.
_REPLICATE_SIZE = 1000
_EXPOSURES = 12
# Of very many counts every misfit is found; one that moves no rank by this much is told, and it
# is no reason to discard the fit.
_SLIGHT = 0.01
_PLACES = np.linspace(0.0, 1.0, RANK_PLACES)
_SEED = 0


@dataclass(frozen=True)
class Adequacy:
    """Verdict on whether a mixture describes the counts.

    Attributes
    ----------
    p_value : float
        Of `goodness_of_fit` of the maximum likelihood fit; NaN if counts could not be drawn from
        it.
    reach : float
        Largest distance of the ranks of the counts from uniform, in units of probability.
    limit : float
        What chance explains of it: 95 % of replicates, each fitted again, stay below.

    Examples
    --------
    >>> from pmnbmix.study.adequacy import Adequacy
    >>> Adequacy(p_value=0.01, reach=0.08, limit=0.05).verdict
    'not described'
    """

    p_value: float
    reach: float
    limit: float

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Adequacy:
        """Read what was stored; a ValueError if these are no probabilities."""
        numbers = {part.name: float(dataset[part.name]) for part in fields(cls)}
        if any(number < 0.0 or number > 1.0 for number in numbers.values()):
            raise ValueError(f"its goodness of fit is none: {numbers}")
        return cls(**numbers)

    @property
    def verdict(self) -> Literal["described", "doubtful", "not described", "not tested"]:
        """The verdict in a word or two."""
        if math.isnan(self.p_value):
            return "not tested"
        if self.p_value > _DOUBTFUL:
            return "described"
        if self.p_value > _REJECTED or self.reach < _SLIGHT:
            return "doubtful"
        return "not described"

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        if self.verdict == "not tested":
            return (
                "Whether the mixture describes the counts was not tested, because counts could not "
                "be drawn from the fit."
            )
        ranks = (
            f"goodness of fit p = {self.p_value:.2f}; ranks are up to {100 * self.reach:.1f} % off "
            f"uniform, by chance up to {100 * self.limit:.1f} %"
        )
        if self.verdict == "described":
            return f"The mixture describes the counts ({ranks})."
        if self.verdict == "not described":
            return f"The mixture does not describe the counts ({ranks})."
        if self.p_value > _REJECTED:
            return f"It is doubtful whether the mixture describes the counts ({ranks})."
        return f"The mixture differs from the counts by more than chance, but by little ({ranks})."


def judge_adequacy(em: PointFit) -> Adequacy:
    """Test whether counts like these would come from a fit.

    Counts are drawn from the fit and fitted again, up to 99 times, fewer where the answer is clear
    [2]_. If there are more than 1,000, samples of that size stand for them, and exposures at twelve
    quantiles stand for all. The result depends on nothing but the fit.

    Parameters
    ----------
    em : PointFit
        From `fit_em`.

    Returns
    -------
    Adequacy

    Raises
    ------
    KeyboardInterrupt
        If interrupted.

    References
    ----------
    .. [1] C. Czado, T. Gneiting, L. Held (2009), Predictive model assessment for count data,
       Biometrics 65, 1254-1261, https://doi.org/10.1111/j.1541-0420.2009.01191.x
    .. [2] J. Besag, P. Clifford (1991), Sequential Monte Carlo p-values, Biometrika 78, 301-304,
       https://doi.org/10.1093/biomet/78.2.301
    .. [3] W. Stute, W. Gonzalez Manteiga, M. Presedo Quindimil (1993), Bootstrap based goodness of
       fit tests, Metrika 40, 243-256, https://doi.org/10.1007/BF02613687

    Examples
    --------
    >>> import pmnbmix as nb
    >>> from pmnbmix.study.adequacy import judge_adequacy
    >>> counts = nb.load_dataset("crab_satellites")
    >>> [judge_adequacy(nb.fit_em(counts, k, random_seed=1)).verdict for k in (1, 2)]
    ['not described', 'described']
    """
    rng = np.random.default_rng(_SEED)
    n, reach = em.counts.n, _reach(em.params, em.counts)
    distance = distance_from_uniform(em.params, em.counts.table)
    size, larger = min(n, _REPLICATE_SIZE), 0
    reaches: list[float] = []
    while len(reaches) < _REPLICATES and not (len(reaches) >= _ENOUGH[0] and larger >= _ENOUGH[1]):
        try:
            again = _drawn(em, size, rng)
        except ValueError as error:
            _log.info("goodness of fit was not tested: %s", error)
            return Adequacy(math.nan, reach, math.nan)
        refitted = fit_em(
            again, em.n_components, mixing=em.mixing, start=em.params, random_seed=rng
        )
        if Status.INTERRUPTED in refitted.statuses:
            raise KeyboardInterrupt
        larger += distance_from_uniform(refitted.params, again.table) >= distance
        reaches.append(_reach(refitted.params, again))
    return Adequacy(
        p_value=(1 + larger) / (1 + len(reaches)),
        reach=reach,
        limit=float(np.quantile(reaches, 0.95) * math.sqrt(size / n)),
    )


def _drawn(em: PointFit, size: int, rng: np.random.Generator) -> Counts:
    """A sample from the fit."""
    exposure = None
    if em.counts.has_exposure:
        exposures, shares = em.counts.table.typical_exposures(_EXPOSURES)
        exposure = rng.choice(exposures, size, p=shares)
    return Counts(em.params.sample(size, rng, exposure)[0], exposure)


def _reach(params: MixtureParams, counts: Counts) -> float:
    lower, upper = cdf_jump(params, counts.table)
    ranks = {"lower": lower, "upper": upper, "frequency": counts.table.frequency}
    return float(np.abs(rank_curve(pd.DataFrame(ranks), _PLACES)).max())
