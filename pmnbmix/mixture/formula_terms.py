"""What formulas are made of: terms of factors, and the arithmetic within them.

A term is a product of factors, such as a column, its categories, arithmetic or a spline. Arithmetic
is computed here, entry by entry, so that no text of a formula is ever run as Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.covariates import label

Floats = NDArray[np.float64]
# Functions of numbers, entry by entry.
FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
}
_OPERATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
}

CONTRASTS = ("contr.treatment", "Treatment")
_EXTRAPOLATIONS = ("raise", "clip", "zero", "extend")
# What the options of a transform may be: a switch, a word of some, a number, numbers, or a whole
# number from one to another.
_SPLINE: dict[str, Any] = {
    "df": (1, 50),
    "knots": list,
    "lower_bound": float,
    "upper_bound": float,
    "extrapolation": _EXTRAPOLATIONS,
}
# Transforms that look at the whole column, and their options, of which the first needs no name.
TRANSFORMS: dict[str, dict[str, Any]] = {
    "center": {},
    "scale": {"center": bool, "scale": bool, "ddof": (0, 1)},
    "poly": {"degree": (1, 10), "raw": bool},
    "bs": {**_SPLINE, "degree": (0, 10)},
    "cr": {**_SPLINE, "constraints": ("center",)},
    "cs": {**_SPLINE, "constraints": ("center",)},
    "cc": {**_SPLINE, "constraints": ("center",)},
}
# Without this option the columns of these splines sum to 1, which is the intercept again.
CENTRED, CENTRE = ("cr", "cs", "cc"), "constraints='center'"
ALLOWED = ("C", "I", *FUNCTIONS, *TRANSFORMS)

Value = bool | int | float | str | tuple["Value", ...]


@dataclass(frozen=True)
class Node:
    """Arithmetic: a column, a number, an operator or a function of some of these.

    Attributes
    ----------
    kind : str
        "column", "number", "-" with one operand or two, "+", "*", "/", "**", or of `FUNCTIONS`.
    operands : tuple of Node
    value : str or float
        The name of a column, or a number.
    """

    kind: str
    operands: tuple[Node, ...] = ()
    value: str | float = ""

    def __str__(self) -> str:
        if self.kind == "column":
            return str(self.value)
        if self.kind == "number":
            return label(self.value)
        if self.kind in FUNCTIONS:
            return f"{self.kind}({self.operands[0]})"
        # Operators of the same rank are taken from the left, powers from the right.
        loose = [operand.rank < self.rank for operand in self.operands]
        if len(loose) == 2:
            other = 0 if self.kind == "**" else 1
            loose[other] = self.operands[other].rank <= self.rank
        parts = [
            f"({operand})" if apart else str(operand)
            for operand, apart in zip(self.operands, loose, strict=True)
        ]
        return f"-{parts[0]}" if len(parts) == 1 else f" {self.kind} ".join(parts)

    @property
    def rank(self) -> int:
        """How tightly it holds together; what has no operator does most."""
        if self.kind == "-" and len(self.operands) == 1:
            return 3
        return {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}.get(self.kind, 5)

    def columns(self) -> Iterator[str]:
        """Names of the columns in it."""
        if self.kind == "column":
            yield str(self.value)
        for operand in self.operands:
            yield from operand.columns()

    def evaluate(self, column: Callable[[str], Floats]) -> Floats:
        """Compute it from its columns; what has no value becomes infinite or NaN."""
        if self.kind == "column":
            return column(str(self.value))
        if self.kind == "number":
            return np.asarray(self.value, dtype=np.float64)
        operands = [operand.evaluate(column) for operand in self.operands]
        with np.errstate(all="ignore"):
            if self.kind in FUNCTIONS:
                return FUNCTIONS[self.kind](operands[0])
            if len(operands) == 1:
                return -operands[0]
            return _OPERATORS[self.kind](*operands)


@dataclass(frozen=True)
class Factor:
    """What a term is made of: a column, its categories, arithmetic, or a transform.

    Attributes
    ----------
    kind : {"column", "categories", "arithmetic", "transform"}
    node : Node
        The column, or what is computed first.
    function : str
        Name of the transform, or ``I`` or nothing.
    options : tuple of (str, value)
        Of the transform; of categories ``base`` and ``levels``.
    """

    kind: str
    node: Node
    function: str = ""
    options: tuple[tuple[str, Value], ...] = ()

    @property
    def label(self) -> str:
        """How the columns that it makes are called; those of categories add which it is."""
        if self.kind in ("column", "categories"):
            return str(self.node)
        if self.kind == "transform":
            return self.call(str(self.node))
        return f"I({self.node})" if self.function else str(self.node)

    def call(self, argument: str) -> str:
        """Text of the transform of an argument, as the user may write it."""
        options = "".join(f", {name}={as_text(value)}" for name, value in self.options)
        return f"{self.function}({argument}{options})"

    def written(self, argument: str) -> str:
        """Text for formulaic, where an argument has this name."""
        if self.kind != "transform":
            return argument
        text = self.call(argument)
        return f"{text[:-1]}, {CENTRE})" if self.function in CENTRED else text


# A term is a set of factors in the order that they were written; none is the intercept.
Term = tuple[Factor, ...]


def term_label(term: Term) -> str:
    """A term in words of the user."""
    return ":".join(factor.label for factor in term) or "1"


def as_text(value: Value) -> str:
    """Text of an option, as formulas have it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_text, value))}]"
    return repr(value)


def unlike(value: Value, wanted: Any) -> str:
    """What was expected, if the value of an option is something else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is bool:
        return "" if isinstance(value, bool) else "True or False"
    if wanted is float:
        return "" if number else "a number"
    if wanted is list:
        numbers = isinstance(value, tuple) and not any(unlike(entry, float) for entry in value)
        return "" if numbers else "numbers in brackets"
    if isinstance(wanted, tuple) and isinstance(wanted[0], str):
        return "" if value in wanted else " or ".join(map(repr, wanted))
    least, most = wanted
    inside = isinstance(value, int) and number and least <= value <= most
    return "" if inside else f"a whole number from {least} to {most}"
