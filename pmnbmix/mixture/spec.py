"""What is fitted: components, formulas, families and priors, and their form in TOML.

To change a default prior, change it here; the compiled density, the pm.Model and the TOML files
all read it. What a prior is stands in `pmnbmix.mixture.priors`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.checks import whole
from pmnbmix.data.counts import Counts
from pmnbmix.files import as_file, write_whole
from pmnbmix.html import html_table
from pmnbmix.mixture.families import as_families, for_components
from pmnbmix.mixture.formula_terms import term_label
from pmnbmix.mixture.formulas import Formula
from pmnbmix.mixture.priors import DirichletPrior, NormalPrior

Floats = NDArray[np.float64]

# The default priors.
WEIGHTS = DirichletPrior(2.0)
LOG_MEANS = NormalPrior("auto", 2.0)
LOG_DISPERSIONS = NormalPrior(0.0, 2.0)
SLOPES = NormalPrior(0.0, 1.0)

# Counts cannot tell more components apart, and the work grows with the square of their number.
LARGEST_N_COMPONENTS = 100


def check_n_components(n_components: object, name: str = "n_components") -> int:
    """Check a number of components: an integer of 1 or above, and no boolean."""
    return whole(n_components, name, 1, LARGEST_N_COMPONENTS)


def _check_keys(data: dict[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = [key for key in data if key not in allowed]
    if unknown:
        raise ValueError(
            f"{where}: unknown key {unknown[0]!r}. Allowed keys: {', '.join(allowed)}."
        )


@dataclass(frozen=True)
class MixtureSpec:
    """What is fitted: how many components, what their parameters depend on, and the priors.

    A formula says what depends on covariates; "1" is a constant. Each has an intercept. The
    coefficients of a term belong to each component, but those of ``shared_formula`` to all.

    | here                 | flexmix     | Stata fmm    | brms   | Latent GOLD       |
    |----------------------|-------------|--------------|--------|-------------------|
    | `mean_formula`       | model       | the equation | mu1    | predictors        |
    | `shared_formula`     | fixed       | lcinvariant  | mu     | class independent |
    | `weight_formula`     | concomitant | lcprob       | theta1 | covariates        |
    | `dispersion_formula` |             |              | shape1 |                   |

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
    slopes : NormalPrior
        On every coefficient but the intercepts, where numeric covariates have standard deviation 1;
        default Normal(0, 1). The other priors are those of the centre of the covariates.
    mean_formula, shared_formula, weight_formula, dispersion_formula : str
        Terms of the log means (own, and shared by all components), of the logits of the weights
        and of the log dispersions, such as "age + C(sex)"; default "1". They may use columns, the
        operators ``+ - : * / ** ( )``, and the functions ``C I log log1p log2 log10 exp sqrt center
        scale poly bs cr cs cc``. The intercept is implied.
    families : str or sequence of str
        "nb", "poisson" or "zero" (a count of 0 only), one for each component or one for all; kept
        as a tuple.

    Raises
    ------
    TypeError
        If ``n_components`` is not an integer, a prior is of another class, or a formula is no text.
    ValueError
        If ``n_components`` is below 1, a number of a prior is out of range, "auto" is used for
        anything but the means, a formula has what none may have, a term is both own and shared, or
        families are unknown, of another number than components, or cannot make a count above 0.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> spec = nb.MixtureSpec(n_components=2, weights=nb.DirichletPrior(1.0))
    >>> spec.write("spec.toml")
    >>> nb.MixtureSpec.read("spec.toml") == spec
    True
    >>> print(spec.to_toml())
    n_components = 2
    <BLANKLINE>
    [prior.weights]
    family = "dirichlet"
    concentration = 1.0
    ...
    >>> nb.MixtureSpec.from_dict({"prior": {"weights": {"concentration": 1.0}}}) == spec
    True
    >>> spec.to_dict()["prior"]["log_dispersions"]
    {'family': 'normal', 'loc': 0.0, 'scale': 2.0}

    The prior of the means is centred at the overall rate of the counts:

    >>> resolved = spec.resolve(nb.load_dataset("crab_satellites"))
    >>> round(resolved.log_means.loc, 2)
    1.07
    >>> resolved.with_components(3).n_components
    3

    A regression in two components, one of which makes zeros only:

    >>> print(nb.MixtureSpec(mean_formula="age", families=("nb", "zero")).to_toml())
    n_components = 2
    families = [
        "nb",
        "zero",
    ]
    <BLANKLINE>
    [formula]
    means = "age"
    ...
    """

    n_components: int = 2
    weights: DirichletPrior = WEIGHTS
    log_means: NormalPrior = LOG_MEANS
    log_dispersions: NormalPrior = LOG_DISPERSIONS
    slopes: NormalPrior = SLOPES
    mean_formula: str = "1"
    shared_formula: str = "1"
    weight_formula: str = "1"
    dispersion_formula: str = "1"
    families: Sequence[str] = "nb"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_components", check_n_components(self.n_components))
        for name, family in (
            ("weights", DirichletPrior),
            ("log_means", NormalPrior),
            ("log_dispersions", NormalPrior),
            ("slopes", NormalPrior),
        ):
            if not isinstance(getattr(self, name), family):
                raise TypeError(f"{name} must be a {family.__name__}; got {getattr(self, name)!r}.")
        if self.log_dispersions.loc == "auto":
            raise ValueError(
                'loc = "auto" exists for log_means only; give log_dispersions a number, for '
                "example 0 (a standard deviation of the rate equal to its mean)."
            )
        if self.slopes.loc == "auto":
            raise ValueError('loc = "auto" exists for log_means only; give slopes a number, 0.')
        formulas = {name: Formula.parse(getattr(self, name), name) for name in _FORMULAS.values()}
        _refuse_both(formulas["mean_formula"], formulas["shared_formula"])
        for name, formula in formulas.items():
            object.__setattr__(self, name, formula.text)
        object.__setattr__(self, "families", as_families(self.families, self.n_components))

    def __repr__(self) -> str:
        # What regressions have besides is told where it is not the default.
        told = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name in _ALWAYS or not self._is_default(field.name)
        )
        return f"MixtureSpec({', '.join(told)})"

    def _is_default(self, name: str) -> bool:
        if name == "families":
            return set(self.families) == {"nb"}
        return bool(getattr(self, name) == getattr(type(self), name))

    def _repr_html_(self) -> str:
        means, dispersions = self.log_means, self.log_dispersions
        rows = [
            ("weights", f"Dirichlet({self.weights.concentration:g})"),
            ("log means", f"Normal({means.loc}, {means.scale:g})"),
            ("log dispersions", f"Normal({dispersions.loc}, {dispersions.scale:g})"),
        ]
        if not self.is_plain:
            rows.append(("slopes", f"Normal({self.slopes.loc}, {self.slopes.scale:g})"))
            rows += [
                (name.replace("_", " "), getattr(self, name))
                for name in _FORMULAS.values()
                if getattr(self, name) != "1"
            ]
            rows.append(("families", ", ".join(self.families)))
        what = "negative binomials" if self._is_default("families") else "components"
        title = f"mixture of {self.n_components} {what}, priors"
        return html_table(title, rows)

    @property
    def is_resolved(self) -> bool:
        """Whether every prior is a distribution with numbers only."""
        return self.log_means.loc != "auto"

    @property
    def is_proper(self) -> bool:
        """Whether every prior can be sampled from."""
        flat_slopes = self.slopes.is_flat and self._has_slopes
        return not (self.log_means.is_flat or self.log_dispersions.is_flat or flat_slopes)

    @property
    def is_plain(self) -> bool:
        """Whether nothing depends on covariates, and every component is negative binomial."""
        return not self._has_slopes and self._is_default("families")

    @property
    def _has_slopes(self) -> bool:
        return any(getattr(self, name) != "1" for name in _FORMULAS.values())

    def resolve(self, counts: Counts) -> MixtureSpec:
        """Replace "auto" by the log of the overall rate, sum of values over sum of exposure.

        If all counts are 0, the rate is taken as 0.5 over the sum of exposure. The result is
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

    def with_components(self, n_components: int) -> MixtureSpec:
        """Return the same formulas and priors for another number of components.

        Raises
        ------
        ValueError
            If components are of several families, since another number leaves open which.
        """
        families = for_components(self.families, n_components)
        return dataclasses.replace(self, n_components=n_components, families=families)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain numbers and strings, as in the TOML file."""
        plain: dict[str, Any] = {"n_components": self.n_components}
        # The files of plain mixtures stay what they were, and so do digests of them.
        if not self._is_default("families"):
            plain["families"] = list(self.families)
        formulas = {key: getattr(self, name) for key, name in _FORMULAS.items()}
        if stated := {key: text for key, text in formulas.items() if text != "1"}:
            plain["formula"] = stated
        plain["prior"] = {
            name: {"family": _PRIORS[name][0], **dataclasses.asdict(getattr(self, name))}
            for name in _PRIORS
            if name in _ALWAYS or not self._is_default(name)
        }
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "specification") -> MixtureSpec:
        """Build a specification from the form of `to_dict`; parts left out keep their defaults.

        Raises
        ------
        TypeError, ValueError
            For an unknown key (the text names it and the allowed ones) or a wrong value.
        """
        if not isinstance(data, dict):
            raise TypeError(f"{where} must be a table; got {data!r}.")
        _check_keys(data, ("n_components", "prior", "formula", "families"), where)
        arguments: dict[str, Any] = {
            key: data[key] for key in ("n_components", "families") if key in data
        }
        formulas = data.get("formula", {})
        if not isinstance(formulas, dict):
            raise TypeError(f"{where}: formula must be a table; got {formulas!r}.")
        _check_keys(formulas, tuple(_FORMULAS), f"{where}, [formula]")
        arguments |= {_FORMULAS[key]: text for key, text in formulas.items()}
        prior = data.get("prior", {})
        if not isinstance(prior, dict):
            raise TypeError(f"{where}: prior must be a table; got {prior!r}.")
        _check_keys(prior, tuple(_PRIORS), f"{where}, [prior]")
        for name, section in prior.items():
            family, kind = _PRIORS[name]
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
            If the file is missing, is not TOML, or has an unknown key or a wrong value; the
            text names file, key and what is allowed.
        """
        file = as_file(path)
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{file}: there is no such file. Check the path.") from None
        # Brackets nested too deeply raise a RecursionError.
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
            If the file cannot be written.
        """
        write_whole(path, self.to_toml())


def as_spec(spec: object) -> MixtureSpec:
    """Take a specification, or a number of components with the default priors.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is a number below 1 or above the largest.
    """
    if isinstance(spec, MixtureSpec):
        return spec
    if isinstance(spec, bool) or not isinstance(spec, int | np.integer):
        raise TypeError(
            "spec must be a MixtureSpec, or a number of components for the default priors; got "
            f"{spec!r}. Try MixtureSpec(n_components=2), or 2."
        )
    return MixtureSpec(check_n_components(spec, "spec"))


def refuse_regression(spec: MixtureSpec, what: str) -> None:
    """Refuse formulas and families for something that knows the plain model only.

    Raises
    ------
    ValueError
    """
    if not spec.is_plain:
        stated = ", ".join(
            f"{name} = {getattr(spec, name)!r}"
            for name in (*_FORMULAS.values(), "families")
            if not spec._is_default(name)
        )
        raise ValueError(
            f"{what} cannot use formulas and families yet; got {stated}. fit_em and fit_map can: "
            "their fits have standard errors and intervals."
        )


def _refuse_both(own: Formula, shared: Formula) -> None:
    """Refuse a term that is in both formulas of the means."""
    terms = {frozenset(term) for term in own.terms}
    both = [term_label(term) for term in shared.terms if frozenset(term) in terms]
    if both:
        raise ValueError(
            f"{both[0]!r} is a term of mean_formula and of shared_formula, so that its "
            "coefficients could be split between them in any way. Leave it in one."
        )


# The formulas as files call them, by the part of the model.
_FORMULAS = {
    "means": "mean_formula",
    "shared": "shared_formula",
    "weights": "weight_formula",
    "dispersions": "dispersion_formula",
}
_ALWAYS = ("n_components", "weights", "log_means", "log_dispersions")
_PRIORS: dict[str, tuple[str, type]] = {
    "weights": ("dirichlet", DirichletPrior),
    "log_means": ("normal", NormalPrior),
    "log_dispersions": ("normal", NormalPrior),
    "slopes": ("normal", NormalPrior),
}
