"""Elementwise ops: a name, a formula over real symbols, and what follows from it.

The formula is a SymPy expression in ``x``, ``y``, ``z`` (the arguments in order). Its partial
derivatives come from SymPy unless one is given: for a kink, for a stable form, or for a form in
terms of the result ``out``, such as ``1 - out**2``. A *primitive* also names the function or the
operator that computes it; an op without one is computed by its formula, written out in primitives.

Formulas that SymPy takes long to make are declared as functions without arguments, which make them
when they are first asked for: all of them together would double the time that the package takes to
import.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.compose import divided, minus, negative, plus, squared, times
from staticgrad.graph.expression import Call, Expression, Infix, Power
from staticgrad.graph.node import GraphTypeError, Node, Op, TensorType, make_node, options_of
from staticgrad.ops.convert import (
    all_alike,
    as_node,
    broadcast_together,
    cast,
    common_dtype,
    float_dtype,
)
from staticgrad.ops.formulas import HEADS, apply_expression, reading, translate
from staticgrad.ops.known import is_zero
from staticgrad.ops.table import FUNCTIONS, register, sample

x, y, z = sympy.symbols("x y z", real=True)
out = sympy.Symbol("out", real=True)
ARGUMENTS = (x, y, z)

#: the notation of an op that mathematics writes out
FORMULA: Any = "formula"


class Elementwise(Op):
    """An op that maps scalars to a scalar, element by element. Calling it makes a node.

    ``kind`` says how dtypes go: ``"arithmetic"`` keeps the common dtype of the arguments,
    ``"float"`` makes integers float64 first, ``"comparison"`` and ``"logical"`` give bool,
    ``"select"`` takes a bool and two of a common dtype.
    """

    def __init__(
        self,
        name: str,
        formula: Any,
        derivative: Any,
        *,
        arity: int,
        kind: str,
        call: str | None,
        infix: tuple[str, int] | None,
        numpy: Callable[..., Any] | None,
        options: Mapping[sympy.Symbol, float],
        flops: int,
        doc: str,
        notation: Any = None,
    ) -> None:
        super().__init__(name)
        self._formula = formula
        self.arguments = ARGUMENTS[:arity]
        self.options = {symbol.name: default for symbol, default in options.items()}
        self._option_symbols = tuple(options)
        self.kind = kind
        self.call = call
        self.infix = infix
        self.numpy = numpy
        self.flops = flops
        self.__doc__ = doc
        self._given = derivative
        self.notation = notation
        self.head = _head(self)

    @functools.cached_property
    def formula(self) -> Any:
        return _made(self._formula)

    @functools.cached_property
    def derivative(self) -> tuple[Any, ...]:
        """The partial derivatives, as declared or else from SymPy.

        Raises ValueError where one is declared for another number of arguments.
        """
        given = _made(self._given)
        if given is None:
            return tuple(sympy.diff(self.formula, argument) for argument in self.arguments)
        given = given if isinstance(given, tuple) else (given,)
        if len(given) != len(self.arguments):
            raise ValueError(
                f"op {self.name} takes {len(self.arguments)} arguments: give a derivative for each"
            )
        return given

    @property
    def primitive(self) -> bool:
        return self.call is not None or self.infix is not None

    def __call__(self, *values: Any, **options: float) -> Node:
        if len(values) != len(self.arguments):
            raise GraphTypeError(
                f"{self.name}() takes {len(self.arguments)} arguments, got {len(values)}"
            )
        unknown = set(options) - set(self.options)
        if unknown:
            raise GraphTypeError(f"{self.name}() has no option {', '.join(sorted(unknown))}")
        return make_node(self, self.prepare(values), {**self.options, **options})

    def prepare(self, values: Sequence[Any]) -> list[Node]:
        """The arguments as nodes of one shape, and of the dtypes that the op works in."""
        if self.kind not in ("select", "logical"):
            alike = all_alike(values)
            if alike is not None:
                return alike
        first = []
        if self.kind == "select":
            first, values = [as_node(values[0])], values[1:]
        dtype = np.dtype("bool") if self.kind == "logical" else common_dtype(values)
        if self.kind == "float":
            dtype = float_dtype(dtype)
        if self.kind in ("arithmetic", "numeric") and dtype.kind == "b":
            dtype = np.dtype("int64")
        nodes = first
        for value in values:
            node = as_node(value, dtype)
            nodes.append(node if self.kind == "logical" else cast(node, dtype))
        return broadcast_together(self.name, nodes)

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        conditions = inputs if self.kind == "logical" else inputs[: self.kind == "select"]
        if any(item.dtype.kind != "b" for item in conditions):
            raise TypeError("expected bool; compare first, as in x > 0")
        boolean = self.kind in ("comparison", "logical")
        return TensorType(np.dtype("bool") if boolean else inputs[-1].dtype, inputs[-1].shape)

    def environment(self, node: Node) -> dict[Any, Any]:
        """What the symbols of the formulas stand for at ``node``."""
        result: dict[Any, Any] = dict(zip(self.arguments, node.inputs, strict=True))
        for symbol in self._option_symbols:
            result[symbol] = node.attrs[symbol.name]
        result[out] = node
        return result

    def expand(self, node: Node) -> Node:
        """The node written out in primitives."""
        return translate(self.formula, self.environment(node), node)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        if not node.type.is_float:
            return [None] * len(node.inputs)
        environment = self.environment(node)
        return [
            chain(adjoint, derivative, environment) if source.differentiable else None
            for source, derivative in zip(node.inputs, self.derivative, strict=True)
        ]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        if self.numpy is not None:
            return self.numpy(*arrays, **attrs)
        environment: dict[Any, Any] = dict(zip(self.arguments, arrays, strict=True))
        for symbol in self._option_symbols:
            environment[symbol] = attrs[symbol.name]
        return translate(self.formula, environment, arrays[0])

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        sort = node.adjoint_of is not None
        return self.compose(arguments, {key: node.attrs[key] for key in self.options}, sort)

    def compose(
        self, arguments: Sequence[Expression], options: Mapping[str, Any], sort: bool = False
    ) -> Expression:
        """The op applied to expressions; ``sort`` puts factors that are short before others."""
        rank = max(argument.rank for argument in arguments)
        if self.infix is not None:
            return joined(self.infix[0], arguments, rank, sort)
        if self.notation is not None and self.notation is not FORMULA:
            made = replace(self.notation(*arguments, **options), rank=rank)
            return squared(made) if sort and isinstance(made, Power) else made
        written = self._written(arguments, options) if self.notation is FORMULA else None
        told = {key: value for key, value in options.items() if value != self.options[key]}
        return Call(self.name, tuple(arguments), options_of(told), written, rank=rank)

    def _written(
        self, arguments: Sequence[Expression], options: Mapping[str, Any]
    ) -> Expression | None:
        """The formula of the arguments, unless it repeats long ones."""
        occurrences = [self.formula.count(symbol) for symbol in self.arguments]
        if any(
            argument.weight > 1 and count > 1
            for argument, count in zip(arguments, occurrences, strict=True)
        ):
            return None
        environment: dict[Any, Any] = dict(zip(self.arguments, arguments, strict=True))
        for symbol in self._option_symbols:
            environment[symbol] = options[symbol.name]
        return reading(self.formula)(environment, apply_expression)


def joined(
    operator: str, arguments: Sequence[Expression], rank: int, sort: bool = False
) -> Expression:
    """One or two expressions with an operator in front or between."""
    if len(arguments) == 1:
        return negative(arguments[0])
    left, right = arguments
    builders = {"+": plus, "-": minus}
    if operator in builders:
        return builders[operator](left, right)
    if operator in ("*", "/"):
        return (times if operator == "*" else divided)(left, right, sort)
    return Infix(operator, left, right, rank=rank)


def _made(formula: Any) -> Any:
    return formula() if isinstance(formula, types.FunctionType) else formula


def _head(op: Elementwise) -> Any:
    """The SymPy function that stands for ``op`` inside other ops' formulas."""

    def fdiff(self: Any, position: int = 1) -> Any:
        replacement = dict(zip(op.arguments, self.args, strict=True))
        return op.derivative[position - 1].subs({**replacement, out: self}, simultaneous=True)

    head = type(op.name, (sympy.Function,), {"fdiff": fdiff, "is_real": True})
    HEADS[head] = op
    return head


def elementwise(
    name: str,
    formula: Any,
    derivative: Any = None,
    *,
    arity: int = 1,
    kind: str = "float",
    call: str | None = None,
    infix: tuple[str, int] | None = None,
    numpy: Callable[..., Any] | None = None,
    stands_for: Any = None,
    options: Mapping[sympy.Symbol, float] | None = None,
    flops: int = 1,
    domain: Any = (-2.0, 2.0),
    differentiable: bool = True,
    doc: str = "",
    notation: Any = None,
) -> Elementwise:
    """Declare an elementwise op; see the module's docstring and ``Elementwise``.

    ``stands_for`` is SymPy's own function for it, where it has one (``sympy.tanh``). ``notation``
    makes the expression that is printed of the expressions of its arguments, options by name: without
    one, it is a call; with ``FORMULA`` a call in text, and the formula in mathematical notation.
    """
    op = Elementwise(
        name, formula, derivative, arity=arity, kind=kind, call=call, infix=infix, numpy=numpy,
        options=options or {}, flops=flops, doc=doc or f"{name}, elementwise.", notation=notation,
    )  # fmt: skip
    if stands_for is not None:
        HEADS[stands_for] = op
    FUNCTIONS[name] = op
    register(op)
    if kind not in ("select", "logical"):
        shapes = [(3, 4), (4,), (3, 1)][:arity]
        sample(name, op, *shapes, domain=domain, differentiable=differentiable)
    return op


def chain(adjoint: Node, derivative: Any, environment: Mapping[Any, Any]) -> Node | None:
    """``adjoint * derivative``: the chain rule at one argument; None for a derivative of zero.

    A derivative that is a choice, ``where(condition, a, b)``, becomes a choice of products. And an
    adjoint that is masked, ``where(condition, a, 0)``, is masked again after the multiplication:
    otherwise 0 * inf would let a NaN through from the branch that was not taken.
    """
    if derivative == 0:
        return None
    if derivative == 1:
        return adjoint
    where = FUNCTIONS["where"]
    if getattr(derivative.func, "__name__", "") == "where":
        condition = translate(derivative.args[0], environment, adjoint)
        branches = [chain(adjoint, branch, environment) for branch in derivative.args[1:]]
        return where(condition, *[0.0 if branch is None else branch for branch in branches])
    if derivative == -1:
        return FUNCTIONS["negative"](adjoint)
    if adjoint.op.name == "where":
        condition, taken, other = adjoint.inputs
        if is_zero(other):
            return where(condition, chain(taken, derivative, environment), 0.0)
        if is_zero(taken):
            return where(condition, 0.0, chain(other, derivative, environment))
    numerator, denominator = derivative.as_numer_denom() if derivative.is_Mul else (derivative, 1)
    if numerator == 1 or (derivative.is_Pow and derivative.exp == -1):
        denominator = 1 / derivative
        return FUNCTIONS["divide"](adjoint, translate(denominator, environment, adjoint))
    if denominator in environment and denominator is not out:
        # the other argument's derivative is the adjoint over this one: one division for both
        quotient = FUNCTIONS["divide"](adjoint, environment[denominator])
        return chain(quotient, numerator, environment)
    return FUNCTIONS["multiply"](adjoint, translate(derivative, environment, adjoint))
