"""Families of components: negative binomial, Poisson, or a point mass at zero.

They are edges of the negative binomial: dispersion 0 is Poisson, and mean 0 is a count of 0 only.
"""

from __future__ import annotations

from collections.abc import Sequence

FAMILIES = ("nb", "poisson", "zero")
_KNOWN = '"nb", "poisson" or "zero"'


def as_families(families: object, n_components: int) -> tuple[str, ...]:
    """Check the families of components: one for all, or one for each.

    Raises
    ------
    TypeError
        If it is neither text nor a sequence of text.
    ValueError
        For an unknown family, another number than components, more than one "zero", and "zero"
        alone.
    """
    if isinstance(families, str):
        each: tuple[str, ...] = (families,) * n_components
    elif isinstance(families, Sequence) and all(isinstance(one, str) for one in families):
        each = tuple(families)
    else:
        raise TypeError(
            f"families must be {_KNOWN}, or one of them for each component; got {families!r}."
        )
    unknown = [one for one in each if one not in FAMILIES]
    if unknown:
        raise ValueError(f"families must be {_KNOWN}; got {unknown[0]!r}.")
    if len(each) != n_components:
        raise ValueError(
            f"families has {len(each)} entries for {n_components} "
            f"component{'s' * (n_components > 1)}: {each!r}. Give one for each, or one for all."
        )
    if set(each) == {"zero"}:
        raise ValueError(
            'families are all "zero", which cannot make a count above 0. Make another component '
            '"nb" or "poisson".'
        )
    if each.count("zero") > 1:
        raise ValueError(
            f'families has {each.count("zero")} components that are "zero", which cannot be told '
            "apart. One is enough."
        )
    return each


def for_components(families: Sequence[str], n_components: int) -> Sequence[str]:
    """Families for another number of components, if all are of one kind.

    Raises
    ------
    ValueError
        If they are not, and the number is another.
    """
    if len(set(families)) == 1:
        return families[0]
    if len(families) == n_components:
        return families
    listed = ", ".join(f'"{one}"' for one in families)
    raise ValueError(
        f"families are {listed}, which leaves open what {n_components} component"
        f"{'s' * (n_components != 1)} would be. Say so: MixtureSpec(n_components={n_components}, "
        "families=(...))."
    )
