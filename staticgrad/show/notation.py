"""Mathematical notation: how expressions are set, in LaTeX and in MathML alike.

``Notation`` decides what stands where: fractions, parentheses, what is bold, how names split into a
base and a subscript. Its two subclasses say how each of a few marks is written in their language.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from staticgrad.graph.compose import negative, spelled
from staticgrad.graph.expression import (
    Along,
    Call,
    Choice,
    Constant,
    Contraction,
    Expression,
    Fenced,
    Indexed,
    Indicator,
    Infix,
    Listed,
    Method,
    Negation,
    Number,
    Positions,
    Power,
    Product,
    Range,
    Root,
    Symbol,
    Transpose,
    Values,
)
from staticgrad.ops.notation import LETTERS
from staticgrad.show.plain import ATOM, POWER, PRODUCT, SUM, binding, format_value

GREEK = frozenset(
    """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
    upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega""".split()
)
#: an exponent heavier than this stands in parentheses after "exp"
HEAVIEST_EXPONENT = 6
#: signs that go with indices below them; others are names
LARGE = frozenset("∑∏")


class Notation(ABC):
    """Writes expressions. Subclasses have the marks."""

    def write(self, expression: Expression) -> str:
        """An expression in this notation."""
        expression = spelled(expression)
        writer: Any = getattr(self, f"_{type(expression).__name__.lower()}")
        return writer(expression)

    # ---- marks -----------------------------------------------------------------------------------

    @abstractmethod
    def row(self, *parts: str) -> str:
        """Parts side by side."""

    @abstractmethod
    def letter(self, text: str, bold: bool) -> str:
        """A variable of one letter, Latin or the name of a Greek one."""

    @abstractmethod
    def word(self, text: str) -> str:
        """A name of several letters, upright."""

    @abstractmethod
    def function(self, name: str) -> str:
        """The name of a function, set as an operator."""

    @abstractmethod
    def digits(self, text: str) -> str:
        """A number."""

    @abstractmethod
    def sign(self, text: str) -> str:
        """An operator or a relation, as a Unicode character."""

    @abstractmethod
    def sub(self, base: str, below: str) -> str: ...

    @abstractmethod
    def sup(self, base: str, above: str) -> str: ...

    @abstractmethod
    def under(self, base: str, below: str) -> str:
        """A large operator with its indices."""

    @abstractmethod
    def over(self, base: str, mark: str = "‾") -> str:
        """A bar or a hat over something."""

    @abstractmethod
    def fraction(self, above: str, below: str) -> str: ...

    @abstractmethod
    def root(self, inner: str) -> str: ...

    @abstractmethod
    def fence(self, left: str, inner: str, right: str) -> str: ...

    @abstractmethod
    def cases(self, rows: Sequence[tuple[str, str]]) -> str: ...

    @abstractmethod
    def linked(self, name: str, text: str) -> str:
        """Marks ``text`` as standing for what is called ``name``, where that can be said."""

    # ---- expressions -----------------------------------------------------------------------------

    def held(self, expression: Expression, least: int) -> str:
        """An expression, in parentheses where it binds less than ``least``."""
        expression = spelled(expression)
        text = self.write(expression)
        return text if self._binds(expression) >= least else self.fence("(", text, ")")

    def _binds(self, expression: Expression) -> int:
        if isinstance(expression, Call) and expression.notation is not None:
            return self._binds(expression.notation)
        if isinstance(expression, Along) and expression.sign in LARGE:
            return PRODUCT
        if isinstance(expression, Contraction):
            return PRODUCT
        if isinstance(expression, Product) and expression.divisors and not expression.negative:
            return PRODUCT
        if isinstance(expression, Transpose) or (
            isinstance(expression, Symbol) and expression.output is not None
        ):
            return POWER
        if isinstance(expression, Power) and expression.base == Constant("e"):
            return ATOM if expression.exponent.weight > HEAVIEST_EXPONENT else POWER
        if isinstance(expression, Choice):
            return ATOM if not self._masked(expression) else PRODUCT
        return binding(expression)

    def _symbol(self, symbol: Symbol) -> str:
        return self.linked(symbol.name, self._unlinked(symbol))

    def _unlinked(self, symbol: Symbol) -> str:
        variable, output = symbol.variable, symbol.output
        if variable is None:
            return self.name(symbol.label or symbol.name, symbol.rank)
        if output is None:
            # the field's notation for an adjoint
            return self.over(self._denominator(variable))
        d = self.sign("∂")
        if output.variable is not None and output.output is not None:
            first = self._denominator(output.variable)
            second = self._denominator(variable)
            above = self.row(self.sup(d, self.digits("2")), self._unlinked(output.output))
            if first == second:
                return self.fraction(above, self.row(d, self.sup(first, self.digits("2"))))
            return self.fraction(above, self.row(d, first, d, second))
        below = self.row(d, self._denominator(variable))
        return self.fraction(self.row(d, self._unlinked(output)), below)

    def _denominator(self, variable: Expression) -> str:
        return self._unlinked(variable) if isinstance(variable, Symbol) else self.held(variable, ATOM)

    def name(self, label: str, rank: int = 0) -> str:
        """A user's name: ``W_hidden`` with a subscript, ``fc1.weight`` as the weight of fc1."""
        path, _, last = label.rpartition(".")
        base, below = last, path
        hat = re.fullmatch(r"([^\W\d_]+?)_?hat", base)
        if hat is not None and len(hat[1]) > 1 and hat[1] not in GREEK:
            hat = None
        if not path and hat is None:
            match = re.fullmatch(r"([^\W\d_]+?)_?(\d+)", last) or re.fullmatch(
                r"([^\W_]+)_([^\W_]+)", last
            )
            if match and (len(match[1]) == 1 or match[1] in GREEK or "_" in last):
                base, below = match[1], match[2]
        if hat is not None:
            text = self.over(self._base(hat[1], rank), "^")
        else:
            text = self._base(base, rank)
        return self.sub(text, self._below(below)) if below else text

    def _base(self, text: str, rank: int) -> str:
        if len(text) == 1 or text in GREEK:
            return self.letter(text, rank > 0)
        return self.word(text)

    def _below(self, text: str) -> str:
        if text.isdigit():
            return self.digits(text)
        return self._base(text, 0)

    def _number(self, number: Number) -> str:
        value = number.value
        if isinstance(value, bool):
            return self.word(str(value).lower())
        if value < 0:
            return self.row(self.sign("−"), self.write(negative(number)))
        text = format_value(value)
        if text == "inf":
            return self.sign("∞")
        mantissa, _, exponent = text.partition("e")
        if not exponent:
            return self.digits(text) if text != "nan" else self.word("NaN")
        power = self.write(Power(Number(10), Number(int(exponent))))
        if mantissa == "1":
            return power
        return self.row(self.digits(mantissa), self.sign("×"), power)

    def _constant(self, constant: Constant) -> str:
        return self.letter(constant.name, False)

    def _values(self, values: Values) -> str:
        if values.elements is None or len(values.shape) > 1:
            size = self._joined([self.digits(str(n)) for n in values.shape], "×")
            return self.sub(self.word("constant"), size)
        return self.fence(
            "(", self._joined([self.digits(str(v)) for v in values.elements], ","), ")"
        )

    def _joined(self, parts: Sequence[str], separator: str) -> str:
        result: list[str] = []
        for part in parts:
            result += [self.sign(separator), part] if result else [part]
        return self.row(*result)

    def _infix(self, expression: Infix) -> str:
        operator, own = expression.operator, binding(expression)
        left, right = expression.left, expression.right
        if operator == "@":
            parts = [self.held(left, POWER if not _is_matmul(left) else PRODUCT),
                     self.held(right, POWER)]  # fmt: skip
            return self.row(parts[0], self.sign(" "), parts[1])
        if operator == "//":
            return self.fence("⌊", self.fraction(self.write(left), self.write(right)), "⌋")
        if operator in ("&", "|"):
            # other than in Python, comparisons bind tighter than these
            sides = [
                self.held(side, ATOM if _is_logical(side) else 0) for side in (left, right)
            ]
            return self.row(sides[0], self.sign(SIGNS[operator]), sides[1])
        first = own + (own not in (SUM, PRODUCT))
        return self.row(
            self.held(left, first),
            self.sign(SIGNS.get(operator, operator)),
            self.held(right, own + 1),
        )

    def _product(self, expression: Product) -> str:
        minus = [self.sign("−")] if expression.negative else []
        above = self._factors(expression.factors, bool(expression.divisors))
        if not expression.divisors:
            return self.row(*minus, above)
        below = self._factors(expression.divisors, True)
        # what has a height of its own stands beside the fraction, and what is long beside a short one
        short = all(divisor.weight == 0 for divisor in expression.divisors)
        tall = [f for f in expression.factors if _is_tall(f) or (short and f.weight > 2)]
        if tall:
            rest = [factor for factor in expression.factors if factor not in tall] or [Number(1)]
            front = self.fraction(self._factors(rest, True), below)
            behind = self._factors(tall, False)
            arrays = any(part.rank for part in (*rest, *expression.divisors))
            both = arrays and any(factor.rank for factor in tall)
            return self.row(*minus, front, self.sign("⊙" if both else " "), behind)
        return self.row(*minus, self.fraction(above, below))

    def _factors(self, factors: Sequence[Expression], inside_fraction: bool) -> str:
        """A product. Numbers and scalars stand in front without a sign; arrays are multiplied
        elementwise, which has a sign of its own."""
        if len(factors) == 1:
            return self.held(factors[0], SUM if inside_fraction else PRODUCT)
        scalars = [factor for factor in factors if factor.rank == 0]
        arrays = [factor for factor in factors if factor.rank > 0]
        parts: list[str] = []
        for position, factor in enumerate([*scalars, *arrays]):
            text = self.held(factor, POWER)
            if parts:
                elementwise = position > len(scalars)
                both = isinstance(factor, Number)
                parts.append(self.sign("⊙" if elementwise else "×" if both else " "))
            parts.append(text)
        return self.row(*parts)

    def _power(self, expression: Power) -> str:
        base, exponent = expression.base, expression.exponent
        if base == Constant("e") and exponent.weight > HEAVIEST_EXPONENT:
            return self.row(self.function("exp"), self.fence("(", self.write(exponent), ")"))
        called = base if isinstance(base, Call) and base.notation is None else None
        if called is not None and not isinstance(base, Along) and len(called.arguments) == 1:
            # tanh²(x), as is usual for functions
            head = self.sup(self.function(called.name), self.write(exponent))
            return self.row(head, self._arguments(called))
        return self.sup(self.held(base, ATOM), self.write(exponent))

    def _root(self, expression: Root) -> str:
        return self.root(self.write(expression.operand))

    def _fenced(self, expression: Fenced) -> str:
        left, right = expression.fences[0], expression.fences[1]
        return self.fence(left, self.write(expression.operand), right)

    def _negation(self, expression: Negation) -> str:
        return self.row(self.sign("¬"), self.held(expression.operand, ATOM))

    def _call(self, expression: Call) -> str:
        if expression.notation is not None:
            return self.write(expression.notation)
        return self.row(self.function(expression.name), self._arguments(expression))

    def _arguments(self, expression: Call) -> str:
        parts = [self.write(argument) for argument in expression.arguments]
        for key, value in expression.options:
            parts.append(self.row(self.word(key), self.sign("="), self._option(value)))
        return self.fence("(", self._joined(parts, ","), ")")

    def _option(self, value: Any) -> str:
        if isinstance(value, Expression):
            return self.write(value)
        if isinstance(value, tuple):
            return self.fence("(", self._joined([self._option(item) for item in value], ","), ")")
        if isinstance(value, (bool, int, float)):
            return self.write(Number(value))
        return self.word(str(value))

    def _listed(self, expression: Listed) -> str:
        return self.fence("(", self._joined([self.write(item) for item in expression.items], ","), ")")

    def _along(self, expression: Along) -> str:
        indices = self._joined([self._index(index) for index in expression.indices], ",")
        (operand, *_), sign = expression.arguments, expression.sign
        if sign == "‖":
            text = self.fence("‖", self.write(operand), "‖")
            order = [self._option(value) for key, value in expression.options if key == "ord"]
            if not order and not expression.indices:
                return text
            below = [*order, *([indices] if expression.indices else [])]
            return self.sub(text, self._joined(below or [self.digits("2")], ";"))
        if sign in LARGE and sign:
            text = self.sign(sign)
            text = self.under(text, indices) if expression.indices else text
            return self.row(text, self.sign(" "), self.held(operand, PRODUCT))
        name = self.function(sign or expression.name)
        if expression.indices:
            name = self.under(name, indices) if sign else self.sub(name, indices)
        return self.row(name, self._arguments(expression))

    def _index(self, index: str) -> str:
        return self.letter(index, False) if len(index) == 1 else self.word(index)

    def _contraction(self, expression: Contraction) -> str:
        """A sum of products of elements, with a letter for each axis."""
        inputs, _, out = expression.subscripts.partition("->")
        used = "".join(dict.fromkeys(c for c in inputs if c != ","))
        letters = "ijklmnpqrstuvw" if len(used) <= 14 else used
        renamed = dict(zip(used, letters, strict=False))
        left, right = inputs.split(",")
        summed = [renamed[c] for c in used if c not in out]
        factors = []
        for operand, names in ((expression.left, left), (expression.right, right)):
            text = self.held(operand, ATOM)
            below = self.row(*[self.letter(renamed[c], False) for c in names])
            factors.append(self.sub(text, below) if names else text)
        body = self.row(factors[0], self.sign(" "), factors[1])
        if not summed:
            return body
        large = self.under(self.sign("∑"), self._joined([self._index(c) for c in summed], ","))
        return self.row(large, self.sign(" "), body)

    def _transpose(self, expression: Transpose) -> str:
        return self.sup(self.held(expression.operand, ATOM), self.sign("⊤"))

    def _method(self, expression: Method) -> str:
        size = self._joined(
            [self.write(item) for item in expression.arguments],
            "×" if expression.name == "reshape" else ",",
        )
        head = self.sub(self.function(expression.name), size)
        return self.row(head, self.fence("(", self.write(expression.operand), ")"))

    def _range(self, expression: Range) -> str:
        parts = [expression.start, expression.stop]
        texts = [self.write(part) if part is not None else "" for part in parts]
        if expression.step is not None:
            texts.append(self.write(expression.step))
        return self._joined(texts, ":")

    def _indexed(self, expression: Indexed) -> str:
        places = self._joined([self.write(place) for place in expression.places], ",")
        if not expression.function:
            return self.sub(self.held(expression.operand, ATOM), places)
        head = self.sub(self.function(expression.function), places)
        return self.row(head, self.fence("(", self.write(expression.operand), ")"))

    def _positions(self, expression: Positions) -> str:
        return self._index(LETTERS[expression.axis % len(LETTERS)])

    def _indicator(self, expression: Indicator) -> str:
        """Iverson's brackets."""
        return self.fence("[", self.write(expression.condition), "]")

    def _choice(self, expression: Choice) -> str:
        masked = self._masked(expression)
        if masked is not None:
            return self.write(masked)
        chosen, other = self.write(expression.chosen), self.write(expression.other)
        condition = self.row(self.word("if"), self.sign(" "), self.write(expression.condition))
        return self.cases([(chosen, condition), (other, self.word("otherwise"))])

    def _masked(self, expression: Choice) -> Expression | None:
        """A choice between something and zero as a product with Iverson's brackets."""
        if expression.other != Number(0):
            return None
        indicator = Indicator(expression.condition, "", rank=expression.condition.rank)
        if expression.chosen == Number(1):
            return indicator
        return Product((expression.chosen, indicator), rank=expression.rank)


#: Python's operators in mathematics
SIGNS = {
    "-": "−", "<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "&": "∧", "|": "∨", "%": "mod",
}  # fmt: skip


def _is_matmul(expression: Expression) -> bool:
    return isinstance(expression, Infix) and expression.operator == "@"


def _is_logical(expression: Expression) -> bool:
    return isinstance(expression, Infix) and expression.operator in ("&", "|")


def _is_tall(expression: Expression) -> bool:
    if isinstance(expression, Symbol):
        return expression.output is not None
    return isinstance(expression, Along) and expression.sign in LARGE
