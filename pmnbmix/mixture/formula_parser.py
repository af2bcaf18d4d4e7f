"""The text of a formula as terms, checked word by word; nothing of it is ever evaluated.

The grammar is that of Wilkinson and Rogers (1973) as R has it: ``+`` adds terms, ``:`` is an
interaction, ``a * b`` is ``a + b + a:b``, ``a / b`` is ``a + a:b``, ``-`` takes a term away, and
``(a + b + c)**2`` has all pairs. What a function is given is arithmetic on columns and numbers.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pmnbmix.mixture.formula_terms import (
    ALLOWED,
    CENTRED,
    CONTRASTS,
    FUNCTIONS,
    TRANSFORMS,
    Factor,
    Node,
    Term,
    Value,
    as_text,
    term_label,
    unlike,
)

# Longer or deeper text is no formula that someone wrote, and would take long to read.
LONGEST, DEEPEST, MOST_TERMS, HIGHEST_POWER = 1000, 30, 200, 5
_MOST_OPERATIONS = 100
_MOST_KNOTS = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d][\w.]*)
    |`(?P<quoted>[^`\n]+)`
    |"(?P<double>[^"\\\n]*)"
    |'(?P<single>[^'\\\n]*)'
    |(?P<symbol>\*\*|[-+*/:^(),=\[\]])""",
    re.VERBOSE,
)
_REASONS = {
    "~": "a formula here has no response, since the counts are known: write what follows the ~",
    "|": "'|' is not known here: each part of the model has a formula of its own",
    "{": "Python in braces is never run: write I(...) for arithmetic",
    "}": "Python in braces is never run: write I(...) for arithmetic",
    ".": "'.' for all columns is not known here: name the columns",
    "%": "'%' is not known here: write a + a:b for what %in% does",
    "`": "a back quote has no partner, or nothing between: write `name of a column`",
    '"': "a quotation has no end, or holds a backslash",
    "'": "a quotation has no end, or holds a backslash",
}
_INTERCEPT = "the intercept is implied and cannot be left out: write the other terms only"


def parse(text: str, where: str) -> tuple[tuple[Term, ...], tuple[str, ...]]:
    """Read a formula.

    Parameters
    ----------
    text : str
    where : str
        What errors call it.

    Returns
    -------
    terms : tuple of Term
        Besides the intercept, those of fewer factors first.
    names : tuple of str
        Columns that they use, in the order of the text.

    Raises
    ------
    ValueError
        For anything that is not in the grammar; the text names it.
    """
    parser = _Parser(text, where)
    terms = parser.formula()
    used = {name for term in terms for factor in term for name in factor.node.columns()}
    return terms, tuple(name for name in parser.columns if name in used)


# While a formula is read, a factor is the number that it has among all of them.
_Product = tuple[int, ...]


class _Parser:
    """One pass through the tokens; each method reads what it is named after."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.tokens: list[tuple[str, str]] = []
        self.place = self.depth = self.operations = 0
        self.columns: dict[str, None] = {}
        self.factors: dict[Factor, int] = {}
        if len(text) > LONGEST:
            self.refuse(f"it has {len(text)} characters; at most {LONGEST} are read", shown=False)
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                self.tokens.append(("odd", text[at]))
                at += 1
                continue
            kind = str(found.lastgroup)
            if kind != "space":
                string = kind in ("double", "single")
                self.tokens.append(("string" if string else kind, found[kind]))
            at = found.end()

    def refuse(self, why: str, shown: bool = True) -> NoReturn:
        raise ValueError(f"{self.where}: {why}." + (f" The formula: {self.text!r}." * shown))

    def check_name(self, name: str) -> str:
        if name.startswith("__") or ".__" in name:
            self.refuse(f"{name!r} is no name of a column: leave out the double underscores")
        return name

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def accept(self, *symbols: str) -> str:
        kind, text = self.peek()
        if kind == "symbol" and text in symbols:
            self.place += 1
            return text
        return ""

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            self.unexpected(f"{symbol!r}")

    def unexpected(self, wanted: str) -> NoReturn:
        kind, text = self.peek()
        if kind == "end":
            self.refuse(f"it ends where {wanted} is expected")
        if kind == "odd":
            self.refuse(_REASONS.get(text, f"{text!r} has no place in a formula"))
        if text in ("[", "]"):
            self.refuse("brackets hold lists of knots or levels only, and nothing is taken apart")
        if kind == "string":
            self.refuse(f"the quotation {text!r} has no place there: {wanted} is expected")
        self.refuse(f"{text!r} stands where {wanted} is expected")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            self.refuse(f"parentheses are nested more than {DEEPEST} deep", shown=False)

    def formula(self) -> tuple[Term, ...]:
        if not self.tokens:
            self.refuse('it is empty; write "1" for the intercept alone', shown=False)
        terms = self.sum()
        if self.peek()[0] != "end":
            self.unexpected("an operator, such as +,")
        factors = list(self.factors)
        named = (tuple(factors[number] for number in term) for term in terms if term)
        return tuple(sorted(named, key=len))

    def numbered(self, factor: Factor) -> list[_Product]:
        """A factor as the only term."""
        return [(self.factors.setdefault(factor, len(self.factors)),)]

    def label(self, term: _Product) -> str:
        factors = list(self.factors)
        return term_label(tuple(factors[number] for number in term))

    def sum(self) -> list[_Product]:
        if self.peek() == ("symbol", "-"):
            if self.peek(1) in (("number", "1"), ("number", "0")):
                self.refuse(_INTERCEPT)
            self.refuse("it begins with '-', which takes a term away from those before it")
        terms = self.product()
        while sign := self.accept("+", "-"):
            others = self.product()
            if sign == "+":
                terms = self.joined(terms, others)
                continue
            if () in others:
                self.refuse(_INTERCEPT)
            for other in others:
                if not any(set(term) == set(other) for term in terms):
                    self.refuse(f"'- {self.label(other)}' takes away a term that is not there")
                terms = [term for term in terms if set(term) != set(other)]
        return terms

    def product(self) -> list[_Product]:
        terms = self.interaction()
        while sign := self.accept("*", "/"):
            others = self.interaction()
            if sign == "*":
                crossed = self.crossed(terms, others)
                terms = self.joined(terms, others, crossed)
            else:
                all_of_them = tuple(dict.fromkeys(factor for term in terms for factor in term))
                terms = self.joined(terms, self.crossed([all_of_them], others))
        return terms

    def interaction(self) -> list[_Product]:
        terms = self.power()
        while self.accept(":"):
            terms = self.crossed(terms, self.power())
        return terms

    def power(self) -> list[_Product]:
        base = self.atom()
        sign = self.accept("**", "^")
        if not sign:
            return base
        kind, text = self.peek()
        if kind != "number" or not text.isdigit() or not 1 <= int(text) <= HIGHEST_POWER:
            self.unexpected(f"a whole number from 1 to {HIGHEST_POWER} after {sign}")
        if len(base) == 1:
            name = self.label(base[0])
            self.refuse(
                f"{name}{sign}{text} would be {name} itself, since {sign} makes interactions: for "
                f"a power write I({name}**{text})"
            )
        self.place += 1
        terms = base
        for _ in range(int(text) - 1):
            terms = self.crossed(terms, base)
        return terms

    def atom(self) -> list[_Product]:
        kind, text = self.peek()
        if kind == "number":
            self.place += 1
            if text == "1":
                return [()]
            if text == "0":
                self.refuse(_INTERCEPT)
            self.refuse(f"the number {text} is no term; in arithmetic it stands within I(...)")
        if kind == "symbol" and text == "(":
            self.place += 1
            self.deeper()
            terms = self.sum()
            self.expect(")")
            self.depth -= 1
            return terms
        if kind == "name" and self.peek(1) == ("symbol", "("):
            return self.numbered(self.call())
        return self.numbered(Factor("column", self.column()))

    def column(self) -> Node:
        kind, text = self.peek()
        if kind not in ("name", "quoted"):
            self.unexpected("a column")
        if kind == "name" and keyword.iskeyword(text):
            self.refuse(
                f"{text!r} is a word of Python, which is never run here; a column of that name is "
                f"written `{text}`"
            )
        self.place += 1
        self.columns[self.check_name(text)] = None
        return Node("column", value=text)

    def joined(self, *groups: list[_Product]) -> list[_Product]:
        """Terms of all groups, each once."""
        return self.distinct(term for group in groups for term in group)

    def crossed(self, terms: list[_Product], others: list[_Product]) -> list[_Product]:
        """Interactions of each term with each other one."""
        return self.distinct(tuple(dict.fromkeys(one + two)) for one in terms for two in others)

    def distinct(self, terms: Iterable[_Product]) -> list[_Product]:
        known: dict[frozenset[int], _Product] = {}
        for term in terms:
            known.setdefault(frozenset(term), term)
            if len(known) > MOST_TERMS:
                self.refuse(f"it has more than {MOST_TERMS} terms", shown=False)
        return list(known.values())

    def call(self) -> Factor:
        """A function of columns, as one factor."""
        function = self.peek()[1]
        self.check_name(function)
        if function not in ALLOWED:
            self.refuse(
                f"{function!r} is no function that a formula may use; these are: "
                f"{', '.join(ALLOWED)}"
            )
        if function in FUNCTIONS:
            return self.checked(Factor("arithmetic", self.arithmetic_atom()))
        self.place += 2
        self.deeper()
        if function == "I":
            factor = Factor("arithmetic", self.arithmetic(), "I")
        elif function == "C":
            factor = self.categories()
        else:
            node = self.arithmetic()
            options = self.options(function, TRANSFORMS[function])
            factor = Factor("transform", node, function, options)
        self.expect(")")
        self.depth -= 1
        return self.checked(factor)

    def checked(self, factor: Factor) -> Factor:
        if not any(True for _ in factor.node.columns()):
            self.refuse(
                f"{factor.label} has no column in it, so it is constant, as the intercept is"
            )
        return factor

    def categories(self) -> Factor:
        """The rest of ``C(column, contr.treatment("base"), levels=[...])``."""
        node = self.column()
        given: dict[str, Value] = {}
        while self.accept(","):
            kind, text = self.peek()
            if kind == "name" and self.peek(1) == ("symbol", "="):
                self.place += 2
                if text == "levels" and text not in given:
                    given[text] = self.listed()
                    continue
                if text != "contrasts":
                    self.refuse(f"C() has no option {text!r}, or has it twice: contrasts, levels")
            kind, text = self.peek()
            if kind != "name" or text not in CONTRASTS or "base" in given:
                self.unexpected('contr.treatment("reference") or levels=[...]')
            self.place += 1
            if self.accept("(") and not self.accept(")"):
                if self.peek()[1] in ("base", "reference") and self.peek(1)[1] == "=":
                    self.place += 2
                given["base"] = self.value()
                self.expect(")")
        return Factor("categories", node, "C", tuple(sorted(given.items())))

    def options(self, function: str, known: dict[str, Any]) -> tuple[tuple[str, Value], ...]:
        given: dict[str, Value] = {}
        while self.accept(","):
            kind, name = self.peek()
            if kind == "name" and self.peek(1) == ("symbol", "="):
                self.place += 2
            elif known and not given and function != "scale":
                name = next(iter(known))
            else:
                self.unexpected(f"an option of {function}() as name=value")
            if name not in known or name in given:
                allowed = ", ".join(known) or "none"
                self.refuse(f"{function}() has no option {name!r}, or has it twice: {allowed}")
            wanted = known[name]
            value = self.listed() if wanted is list else self.value()
            if why := unlike(value, wanted):
                self.refuse(f"{function}({name}={as_text(value)}): expected {why}")
            given[name] = value
        if function in CENTRED and not {"df", "knots"} & given.keys():
            self.refuse(
                f"{function}() needs df=... or knots=[...], for example {function}(x, df=4)"
            )
        if function in CENTRED:
            # They are centred in any case.
            given.pop("constraints", None)
        return tuple(given.items())

    def listed(self) -> tuple[Value, ...]:
        self.expect("[")
        values = [self.value()]
        while self.accept(","):
            values.append(self.value())
        self.expect("]")
        if len(values) > _MOST_KNOTS:
            self.refuse(f"a list has {len(values)} entries; at most {_MOST_KNOTS} are read")
        return tuple(values)

    def value(self) -> Value:
        """A number, a quotation, or true or false."""
        sign = self.accept("-")
        kind, text = self.peek()
        if kind == "number":
            self.place += 1
            number = int(text) if text.isdigit() and len(text) < 16 else self.finite(text)
            return -number if sign else number
        if kind == "string" and not sign:
            self.place += 1
            return text
        if (kind, text) in (("name", "True"), ("name", "False")) and not sign:
            self.place += 1
            return text == "True"
        self.unexpected("a number, a quotation, True or False")

    def finite(self, text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            self.refuse("a number is above 1e308", shown=False)
        return number

    def arithmetic(self) -> Node:
        return self.operators(
            ("+", "-"), lambda: self.operators(("*", "/"), self.arithmetic_signed)
        )

    def operators(self, signs: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        while sign := self.accept(*signs):
            node = Node(sign, (node, operand()))
            self.operations += 1
            if self.operations > _MOST_OPERATIONS:
                self.refuse(f"it has more than {_MOST_OPERATIONS} sums and products", shown=False)
        return node

    def arithmetic_signed(self) -> Node:
        self.deeper()
        if self.accept("-"):
            node = Node("-", (self.arithmetic_signed(),))
        else:
            node = self.arithmetic_atom()
            if self.accept("**", "^"):
                node = Node("**", (node, self.arithmetic_signed()))
        self.depth -= 1
        return node

    def arithmetic_atom(self) -> Node:
        kind, text = self.peek()
        if kind == "number":
            self.place += 1
            return Node("number", value=self.finite(text))
        if kind == "symbol" and text == "(":
            self.place += 1
            self.deeper()
            node = self.arithmetic()
        elif kind == "name" and self.peek(1) == ("symbol", "("):
            if text not in FUNCTIONS:
                self.refuse(
                    f"{text!r} cannot stand inside another function; these can: "
                    f"{', '.join(FUNCTIONS)}"
                )
            self.place += 2
            self.deeper()
            node = Node(text, (self.arithmetic(),))
        else:
            return self.column()
        self.expect(")")
        self.depth -= 1
        return node
