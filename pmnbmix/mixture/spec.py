"""What is fitted: the number of components and the priors, and their form in TOML.

To change a default prior, change it here; the compiled density, the pm.Model and the TOML files
all read these classes.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.checks import whole
from pmnbmix.data.counts import Counts
from pmnbmix.files import as_file, write_whole

Floats = NDArray[np.float64]
# More components than counts can tell apart; the work grows with the square of their number.
LARGEST_N_COMPONENTS = 100
# Integers of Python and of TOML have no largest one, floats do.
_LARGEST_BITS = 1000
# Beyond it the constant of a Dirichlet is lost to rounding.
_LARGEST_CONCENTRATION = 1e12
# Below it draws of the weights are 0 or 1 in floats.
_SMALLEST_CONCENTRATION = 1e-6
# "auto" comes to 268 at most, of counts up to 2**53 and exposures of 1e-100 to 1e100; beyond 354 a
# squared mean overflows.
_LARGEST_LOC = 300.0
# A scale below pins the parameter, and its precision overflows in the end; one above is as good as
# flat wherever exp() has a value.
_SCALES = (1e-3, 1e6)
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def check_n_components(n_components: object, name: str = "n_components") -> int:
    """Check a number of components: an integer of 1 or above, and no boolean."""
    return whole(n_components, name, 1, LARGEST_N_COMPONENTS)


def _check_keys(data: dict[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = [key for key in data if key not in allowed]
    if unknown:
        raise ValueError(
            f"{where}: unknown key {unknown[0]!r}. Allowed keys: {', '.join(allowed)}."
        )


def _check_number(name: str, value: object, positive: bool = False, infinite: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        raise ValueError(
            f"{name} must be at most 1e300 in size; got an integer of {value.bit_length()} bits."
        )
    too_large = math.isinf(value) and not infinite
    if math.isnan(value) or too_large or (positive and value <= 0):
        expected = " and ".join(
            word for word, wanted in (("above 0", positive), ("finite", not infinite)) if wanted
        )
        raise ValueError(f"{name} must be {expected}; got {value!r}.")


@dataclass(frozen=True)
class DirichletPrior:
    """Symmetric Dirichlet on the weights.

    Parameters
    ----------
    concentration : float
        1e-6 to 1e12. 1 is flat; 2, the default, keeps weights off 0, where a component
        would be empty.
    """

    concentration: float = 2.0

    def __post_init__(self) -> None:
        _check_number("concentration", self.concentration, positive=True)
        if float(self.concentration) > _LARGEST_CONCENTRATION:
            raise ValueError(
                f"concentration must be at most {_LARGEST_CONCENTRATION:g}, where weights are "
                f"equal already; got {self.concentration!r}."
            )
        if float(self.concentration) < _SMALLEST_CONCENTRATION:
            raise ValueError(
                f"concentration must be at least {_SMALLEST_CONCENTRATION:g}, where one weight is "
                f"1 and the others are 0 already; got {self.concentration!r}. A sparse prior has "
                "0.01 to 0.1."
            )
        object.__setattr__(self, "concentration", float(self.concentration))

    def log_density(self, weights: Floats) -> Floats:
        """Log density on the simplex of weights (..., k), with its constant."""
        k = weights.shape[-1]
        constant = special.gammaln(k * self.concentration) - k * special.gammaln(self.concentration)
        with np.errstate(divide="ignore"):
            total = special.xlogy(self.concentration - 1.0, weights).sum(axis=-1)
        return np.asarray(constant + total)


@dataclass(frozen=True)
class NormalPrior:
    """Normal on a logarithm, independently for each component.

    Parameters
    ----------
    loc : float or "auto"
        Centre, in log units, -300 to 300. "auto" (log means only) is the log of the overall rate
        of the counts.
    scale : float
        Standard deviation in log units, 0.001 to 1e6; ``inf`` makes the prior flat, which has a
        point estimate but no proper posterior.
    """

    loc: float | Literal["auto"]
    scale: float

    def __post_init__(self) -> None:
        if not (isinstance(self.loc, str) and self.loc == "auto"):
            _check_number("loc", self.loc)
            if abs(float(self.loc)) > _LARGEST_LOC:
                raise ValueError(
                    f"loc must be from {-_LARGEST_LOC:g} to {_LARGEST_LOC:g}, for it is the "
                    f"logarithm of a mean or dispersion; got {self.loc!r}. Take the logarithm of "
                    "what you expect."
                )
            object.__setattr__(self, "loc", float(self.loc))
        _check_number("scale", self.scale, positive=True, infinite=True)
        if not (math.isinf(self.scale) or _SCALES[0] <= float(self.scale) <= _SCALES[1]):
            raise ValueError(
                f"scale must be from {_SCALES[0]:g} to {_SCALES[1]:g}, or inf for a flat prior; "
                f"got {self.scale!r}. It is in log units: the default, 2, is a factor of e**2 = 7."
            )
        object.__setattr__(self, "scale", float(self.scale))

    def log_density(self, values: Floats) -> Floats:
        """Log density of logarithms (...), with its constant; 0 where the prior is flat."""
        if self.is_flat:
            return np.zeros(np.shape(values))
        deviation = (values - float(self.loc)) / self.scale
        return np.asarray(-0.5 * deviation**2 - HALF_LOG_TWO_PI - math.log(self.scale))

    @property
    def is_flat(self) -> bool:
        """Whether the prior has no effect."""
        return math.isinf(self.scale)


@dataclass(frozen=True)
class MixtureSpec:
    """Number of components and priors of a mixture of negative binomials.

    Parameters
    ----------
    n_components : int
        1 or above.
    weights : DirichletPrior
        Default Dirichlet(2).
    log_means : NormalPrior
        On the log of the mean per unit of exposure; default Normal("auto", 2).
    log_dispersions : NormalPrior
        On the log of the dispersion; default Normal(0, 2).

    Raises
    ------
    TypeError
        Where ``n_components`` is not an integer or a prior is of another class.
    ValueError
        Where ``n_components`` is below 1, a number of a prior is out of range, or "auto" is used
        for the dispersions.
    """

    n_components: int = 2
    weights: DirichletPrior = DirichletPrior()
    log_means: NormalPrior = NormalPrior("auto", 2.0)
    log_dispersions: NormalPrior = NormalPrior(0.0, 2.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_components", check_n_components(self.n_components))
        for name, family in (
            ("weights", DirichletPrior),
            ("log_means", NormalPrior),
            ("log_dispersions", NormalPrior),
        ):
            if not isinstance(getattr(self, name), family):
                raise TypeError(f"{name} must be a {family.__name__}; got {getattr(self, name)!r}.")
        if self.log_dispersions.loc == "auto":
            raise ValueError(
                'loc = "auto" exists for log_means only; give log_dispersions a number, for '
                "example 0 (a standard deviation of the rate equal to its mean)."
            )

    @property
    def is_resolved(self) -> bool:
        """Whether every prior is a distribution with numbers only."""
        return self.log_means.loc != "auto"

    @property
    def is_proper(self) -> bool:
        """Whether every prior can be sampled from."""
        return not (self.log_means.is_flat or self.log_dispersions.is_flat)

    def resolve(self, counts: Counts) -> MixtureSpec:
        """Replace "auto" by the log of the overall rate, sum of values over sum of exposure.

        Where all counts are 0 the rate is taken as 0.5 over the sum of exposure. The result is
        stored with every fit, so that refits on fewer rows keep the same prior.

        Parameters
        ----------
        counts : Counts

        Returns
        -------
        MixtureSpec
        """
        if not isinstance(counts, Counts):
            raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
        if self.is_resolved:
            return self
        table = counts.table
        total = float((table.frequency * table.values).sum()) or 0.5
        loc = math.log(total) - math.log(float((table.frequency * table.exposure).sum()))
        return dataclasses.replace(self, log_means=dataclasses.replace(self.log_means, loc=loc))

    def sampling_numbers(self) -> NDArray[np.float64]:
        """Return the priors as the compiled log posterior reads them, (5,)."""
        if not self.is_resolved:
            raise ValueError('the priors have loc = "auto"; call spec.resolve(counts) first.')
        return np.array(
            [
                self.weights.concentration,
                float(self.log_means.loc),
                self.log_means.scale,
                float(self.log_dispersions.loc),
                self.log_dispersions.scale,
            ]
        )

    def with_components(self, n_components: int) -> MixtureSpec:
        """Return the same priors for another number of components."""
        return dataclasses.replace(self, n_components=n_components)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain numbers and strings, as in the TOML file."""
        return {
            "n_components": self.n_components,
            "prior": {
                name: {"family": _FAMILIES[name][0], **dataclasses.asdict(getattr(self, name))}
                for name in _FAMILIES
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "specification") -> MixtureSpec:
        """Build from what `to_dict` gives; what is left out keeps its default.

        Raises
        ------
        TypeError, ValueError
            For an unknown key (the text names it and the allowed ones) or a wrong value.
        """
        if not isinstance(data, dict):
            raise TypeError(f"{where} must be a table; got {data!r}.")
        _check_keys(data, ("n_components", "prior"), where)
        arguments: dict[str, Any] = {}
        if "n_components" in data:
            arguments["n_components"] = data["n_components"]
        prior = data.get("prior", {})
        if not isinstance(prior, dict):
            raise TypeError(f"{where}: prior must be a table; got {prior!r}.")
        _check_keys(prior, tuple(_FAMILIES), f"{where}, [prior]")
        for name, section in prior.items():
            family, kind = _FAMILIES[name]
            place = f"{where}, [prior.{name}]"
            if not isinstance(section, dict):
                raise TypeError(f"{place}: expected a table of numbers; got {section!r}.")
            numbers = tuple(field.name for field in dataclasses.fields(kind))
            _check_keys(section, ("family", *numbers), place)
            given_family = section.get("family", family)
            if not (isinstance(given_family, str) and given_family == family):
                raise ValueError(
                    f"{place}: family {given_family!r} is not known; expected {family!r}."
                )
            default = getattr(cls(), name)
            given = {key: value for key, value in section.items() if key != "family"}
            try:
                arguments[name] = dataclasses.replace(default, **given)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{place}: {error}") from None
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> MixtureSpec:
        """Read a specification from a TOML file; numbers and switches only.

        Raises
        ------
        TypeError, ValueError
            Where the file is missing, is not TOML, or has an unknown key or a wrong value; the
            text names file, key and what is allowed.
        """
        file = as_file(path)
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{file}: there is no such file. Check the path.") from None
        # RecursionError: brackets within brackets without end
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"{file}: this is not TOML ({error}).") from None
        except UnicodeDecodeError:
            raise ValueError(f"{file}: this is not UTF-8 text; save it as UTF-8.") from None
        except OSError as error:
            raise ValueError(f"{file}: cannot be read ({error.strerror}).") from None
        return cls.from_dict(data, str(file))

    def to_toml(self) -> str:
        """Return the specification as the text of a TOML file."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the specification to a TOML file, replacing it.

        Raises
        ------
        ValueError
            Where the file cannot be written.
        """
        write_whole(path, self.to_toml())


_FAMILIES: dict[str, tuple[str, type]] = {
    "weights": ("dirichlet", DirichletPrior),
    "log_means": ("normal", NormalPrior),
    "log_dispersions": ("normal", NormalPrior),
}
