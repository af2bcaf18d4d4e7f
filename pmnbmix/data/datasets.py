"""Built-in counts: published frequency tables, and the experiment that motivates the model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pmnbmix.data.checks import as_size
from pmnbmix.data.counts import Counts
from pmnbmix.seeds import as_rng


@dataclass(frozen=True)
class Dataset:
    """A published table of counts.

    Attributes
    ----------
    name, title, source : str
        How it is called, what was counted, and where it was published.
    frequencies : mapping of int to int
        How often each count was seen.
    """

    name: str
    title: str
    source: str
    frequencies: Mapping[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequencies", MappingProxyType(dict(self.frequencies)))

    @property
    def n(self) -> int:
        """Number of observations."""
        return sum(self.frequencies.values())


def _by_value(*frequencies: int) -> dict[int, int]:
    """Frequencies of 0, 1, 2, ..."""
    return dict(enumerate(frequencies))


_EARTHQUAKES = (
    "13 14 8 10 16 26 32 27 18 32 36 24 22 23 22 18 25 21 21 14 8 11 14 23 18 17 19 20 22 19 "
    "13 26 13 14 22 24 21 22 26 21 23 24 27 41 31 27 35 26 28 36 39 21 17 22 17 19 15 34 10 15 "
    "22 18 15 20 15 22 19 16 30 27 29 23 20 16 21 21 25 16 18 15 18 14 10 15 8 15 6 11 8 7 "
    "18 16 13 12 13 20 15 16 12 18 15 16 13 15 16 11 11"
)


def _tally(series: str) -> dict[int, int]:
    values, times = np.unique([int(word) for word in series.split()], return_counts=True)
    return dict(zip(values.tolist(), times.tolist(), strict=True))


_DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "crab_satellites",
            "Satellite males around each of 173 female horseshoe crabs",
            "Brockmann (1996) Ethology 102, 1-21, doi:10.1111/j.1439-0310.1996.tb01099.x; "
            "Agresti (2002) Categorical Data Analysis, Table 4.3",
            _by_value(62, 16, 9, 19, 19, 15, 13, 4, 6, 3, 3, 1, 1, 0, 1, 1),
        ),
        Dataset(
            "earthquakes",
            "Earthquakes of magnitude 7 and above in the world, per year, 1900 to 2006",
            "USGS; Zucchini and MacDonald (2009) Hidden Markov Models for Time Series, Table 1.1, "
            "doi:10.1201/9781420010893",
            _tally(_EARTHQUAKES),
        ),
        Dataset(
            "death_notices",
            "Deaths of women aged 80 and above in The Times of London, per day, 1910 to 1912",
            "Hasselblad (1969) J. Am. Stat. Assoc. 64, 1459-1471",
            _by_value(162, 267, 271, 185, 111, 61, 27, 8, 3, 1),
        ),
        Dataset(
            "simar_claims",
            "Automobile accident claims per policy, La Royale Belge, 9,461 policies",
            "Simar (1976) Ann. Stat. 4, 1200-1209, doi:10.1214/aos/1176343651; "
            "Efron and Hastie (2016) Computer Age Statistical Inference, Table 6.1",
            _by_value(7840, 1317, 239, 42, 14, 4, 4, 1),
        ),
        Dataset(
            "red_mites",
            "European red mites on each of 150 apple leaves",
            "Bliss and Fisher (1953) Biometrics 9, 176-200, doi:10.2307/3001850",
            _by_value(70, 38, 17, 10, 9, 3, 2, 1),
        ),
        Dataset(
            "fetal_lamb",
            "Movements of a fetal lamb in each of 240 intervals of 5 seconds",
            "Leroux and Puterman (1992) Biometrics 48, 545-558, doi:10.2307/2532308",
            _by_value(182, 41, 12, 2, 2, 0, 0, 1),
        ),
        Dataset(
            "doctor_visits",
            "Outpatient visits to a doctor in a year, RAND health insurance experiment",
            "Newhouse and the Insurance Experiment Group (1993) Free for All?; "
            "Deb and Trivedi (2002) J. Health Econ. 21, 601-625",
            _by_value(
                *(6308, 3817, 2797, 1884, 1345, 968, 689, 531, 408, 287),
                *(206, 190, 118, 109, 82, 59, 56, 33, 37, 35),
                *(26, 22, 19, 19, 13, 8, 10, 6, 12, 6),
                *(8, 8, 4, 5, 9, 5, 0, 5, 9, 1),
                *(3, 5, 0, 0, 6, 2, 2, 0, 2, 0),
                *(0, 1, 3, 0, 0, 1, 1, 1, 1, 0),
                *(0, 0, 1, 1, 0, 1, 0, 0, 0, 1),
                *(0, 0, 1, 0, 1, 0, 1, 1),
            ),
        ),
    )
}


def list_datasets() -> list[Dataset]:
    """List the built-in data sets with their titles and sources.

    Returns
    -------
    list of Dataset

    Examples
    --------
    >>> import pmnbmix as nb
    >>> for dataset in nb.list_datasets()[:3]:
    ...     print(f"{dataset.name}: {dataset.n} counts")
    crab_satellites: 173 counts
    earthquakes: 107 counts
    death_notices: 1096 counts
    """
    return list(_DATASETS.values())


def load_dataset(name: str) -> Counts:
    """Load a built-in data set, one entry an observation.

    Parameters
    ----------
    name : str
        One of the names in `list_datasets`.

    Returns
    -------
    Counts

    Raises
    ------
    ValueError
        For an unknown name; the text gives the nearest ones and lists all.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> nb.load_dataset("crab_satellites")
    Counts('crab_satellites', n=173, n_unique=15)
    """
    if not isinstance(name, str) or name not in _DATASETS:
        near = difflib.get_close_matches(str(name), _DATASETS, n=2, cutoff=0.4)
        hint = f" Did you mean {' or '.join(repr(guess) for guess in near)}?" if near else ""
        raise ValueError(
            f"there is no data set {name!r}.{hint} Existing ones: {', '.join(_DATASETS)}."
        )
    frequencies = _DATASETS[name].frequencies
    return Counts(np.repeat(list(frequencies), list(frequencies.values())), name=name)


def simulate_droplets(
    n_droplets: int = 2000,
    *,
    with_exposure: bool = False,
    random_seed: int | np.random.Generator | None = None,
) -> Counts:
    """Simulate spike-in molecules per droplet, whose size factors are bimodal.

    Every droplet gets the same spike-in solution, so its molecules differ only by how much of it
    the droplet caught: the size factor. Two populations of droplets make two modes of size factors
    and so two modes of counts. Without exposure the counts need two components; with the size
    factors as exposure, one component explains them.

    Parameters
    ----------
    n_droplets : int
        Number of droplets.
    with_exposure : bool
        Carry the true size factors as exposure.
    random_seed : int or numpy.random.Generator, optional

    Returns
    -------
    Counts
        Molecules per droplet, a few hundred to about ten thousand.

    Raises
    ------
    ValueError
        If ``n_droplets`` is not a whole number from 1 to 2**31.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.simulate_droplets(500, with_exposure=True, random_seed=1)
    >>> counts
    Counts('molecules', n=500, n_unique=500, with exposure)
    >>> rate = counts.values / counts.exposure
    >>> print(f"{rate.mean():.2g}")
    3e+03
    """
    n_droplets = as_size(n_droplets, "n_droplets")
    rng = as_rng(random_seed)
    poor = rng.random(n_droplets) < 0.35
    mean = np.where(poor, 0.35, 1.35)
    shape = np.where(poor, 12.0, 8.0)
    size_factor = rng.gamma(shape, mean / shape)
    # Size factors do not explain all: the variance of the rate is 1 % of its squared mean of 3,000.
    rate = rng.gamma(100.0, 3000.0 / 100.0, n_droplets)
    molecules = rng.poisson(size_factor * rate)
    return Counts(molecules, size_factor if with_exposure else None, name="molecules")
