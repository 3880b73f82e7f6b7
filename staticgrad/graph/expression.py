"""Formulas as trees: what an op says of itself, once, for every way of printing.

An op makes an expression of the expressions of its inputs (``Op.express``). The kinds below are those
of mathematical notation, not of ops: text, LaTeX and MathML print each kind, and know of no op.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Expression:
    """A formula. ``rank`` is the number of axes of what it stands for, where anything hinges on it."""

    rank: int = field(default=0, kw_only=True)

    def parts(self) -> Iterable[Expression]:
        """The expressions that it is made of."""
        return ()

    @property
    def weight(self) -> int:
        """How much there is to read: the number of operations and calls."""
        return 1 + sum(part.weight for part in self.parts())


@dataclass(frozen=True)
class Symbol(Expression):
    """A value that stands by its name.

    ``name`` is a Python identifier; ``label`` what the user calls it, with the dots of a module path.
    The derivative of ``output`` with respect to ``variable`` has both; the variable is an expression
    where it has no name of its own. An adjoint has no ``output`` where that is no scalar, or has no
    name.
    """

    name: str
    label: str = ""
    variable: Expression | None = None
    output: Symbol | None = None

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Number(Expression):
    """A number: a Python bool, int or float, infinite or NaN perhaps; ``single`` says that it is
    known to the precision of float32 only."""

    value: Any
    single: bool = False

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Constant(Expression):
    """A number that has a name in mathematics: pi."""

    name: str

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Values(Expression):
    """An array of numbers: its elements as nested tuples where they are few, else its shape.

    ``distinct`` tells arrays apart that look alike.
    """

    elements: Any
    shape: tuple[int, ...]
    distinct: int = 0

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Infix(Expression):
    """``left operator right``, the operator in Python's spelling: + - @ // % and comparisons."""

    operator: str
    left: Expression
    right: Expression

    def parts(self) -> Iterable[Expression]:
        return self.left, self.right


@dataclass(frozen=True)
class Product(Expression):
    """Factors over divisors, elementwise, with at most one number among the factors, at the front."""

    factors: tuple[Expression, ...]
    divisors: tuple[Expression, ...] = ()
    negative: bool = False

    def parts(self) -> Iterable[Expression]:
        return (*self.factors, *self.divisors)

    @property
    def weight(self) -> int:
        written = [part for part in self.parts() if not isinstance(part, Number)]
        return sum(part.weight for part in written) + max(1, len(written) - 1)


@dataclass(frozen=True)
class Power(Expression):
    base: Expression
    exponent: Expression

    def parts(self) -> Iterable[Expression]:
        return self.base, self.exponent


@dataclass(frozen=True)
class Root(Expression):
    """The square root."""

    operand: Expression

    def parts(self) -> Iterable[Expression]:
        return (self.operand,)


@dataclass(frozen=True)
class Fenced(Expression):
    """A function that mathematics writes as a pair of fences: ``abs``, ``floor``."""

    name: str
    fences: str
    operand: Expression

    def parts(self) -> Iterable[Expression]:
        return (self.operand,)


@dataclass(frozen=True)
class Negation(Expression):
    """The logical one."""

    operand: Expression

    def parts(self) -> Iterable[Expression]:
        return (self.operand,)


@dataclass(frozen=True)
class Call(Expression):
    """A function of arguments, and of options by name.

    ``notation`` is how mathematics writes it, where that is not the name in front of arguments;
    ``distinct`` tells calls apart that look alike, as two draws of random numbers do.
    """

    name: str
    arguments: tuple[Expression, ...]
    options: tuple[tuple[str, Any], ...] = ()
    notation: Expression | None = None
    distinct: int = 0

    def parts(self) -> Iterable[Expression]:
        return self.arguments


@dataclass(frozen=True)
class Listed(Expression):
    """Several values, one after the other."""

    items: tuple[Expression, ...]

    def parts(self) -> Iterable[Expression]:
        return self.items

    @property
    def weight(self) -> int:
        return sum(item.weight for item in self.items)


@dataclass(frozen=True)
class Along(Call):
    """A function along some axes of its argument: a sum, a maximum, a softmax.

    Attributes: ``sign`` is the operator that mathematics has for it, such as ∑ or ‖, if not the name;
    ``axes`` are None where they need not be said; ``indices`` say what runs along them: dimensions'
    names, or letters.
    """

    sign: str = ""
    axes: tuple[int, ...] | None = None
    indices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contraction(Expression):
    """The sum of products ``subscripts`` tells, as ``"ab,bc->ac"``."""

    subscripts: str
    left: Expression
    right: Expression

    def parts(self) -> Iterable[Expression]:
        return self.left, self.right


@dataclass(frozen=True)
class Transpose(Expression):
    """A matrix transposed, or each matrix of a stack."""

    operand: Expression
    stacked: bool = False

    def parts(self) -> Iterable[Expression]:
        return (self.operand,)

    @property
    def weight(self) -> int:
        return self.operand.weight


@dataclass(frozen=True)
class Method(Expression):
    """A value rearranged: ``x.reshape(...)``."""

    operand: Expression
    name: str
    arguments: tuple[Expression, ...]

    def parts(self) -> Iterable[Expression]:
        return (self.operand,)


@dataclass(frozen=True)
class Range(Expression):
    """``start:stop:step``; all of an axis where all are None."""

    start: Expression | None = None
    stop: Expression | None = None
    step: Expression | None = None

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Indexed(Expression):
    """The elements of ``operand`` at ``places``: slices, or integers as expressions.

    With ``function`` the other way round: an array of zeros with the operand at these places.
    """

    operand: Expression
    places: tuple[Expression, ...]
    function: str = ""

    def parts(self) -> Iterable[Expression]:
        return (self.operand, *self.places)


@dataclass(frozen=True)
class Positions(Expression):
    """0, 1, 2 and so on along an axis of ``size``, which is axis ``axis`` of ``rank``."""

    size: Expression
    axis: int

    @property
    def weight(self) -> int:
        return 0


@dataclass(frozen=True)
class Indicator(Expression):
    """A condition as a number of ``dtype``: 1 where it holds, else 0."""

    condition: Expression
    dtype: str

    def parts(self) -> Iterable[Expression]:
        return (self.condition,)


@dataclass(frozen=True)
class Choice(Expression):
    """``chosen`` where the condition holds, else ``other``."""

    condition: Expression
    chosen: Expression
    other: Expression

    def parts(self) -> Iterable[Expression]:
        return self.condition, self.chosen, self.other
