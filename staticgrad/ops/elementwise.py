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
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.node import GraphTypeError, Node, Op, TensorType, make_node
from staticgrad.ops.convert import as_node, broadcast_together, cast, common_dtype, float_dtype
from staticgrad.ops.known import is_zero
from staticgrad.ops.table import FUNCTIONS, register, sample

x, y, z = sympy.symbols("x y z", real=True)
out = sympy.Symbol("out", real=True)
ARGUMENTS = (x, y, z)

#: which op a SymPy function stands for in a formula
HEADS: dict[Any, Elementwise] = {}

# Python's precedences, for printing without needless parentheses
OR, COMPARE, BIT_OR, BIT_AND, SUM, PRODUCT, UNARY, POWER = 1, 4, 5, 7, 9, 10, 11, 12


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

    def format(self, node: Node, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
        if self.infix is None:
            return super().format(node, arguments)
        return infix(self.infix[0], self.infix[1], arguments)


def infix(operator: str, precedence: int, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Join one or two texts by an operator, with parentheses where Python needs them."""

    def wrapped(argument: tuple[str, int], least: int) -> str:
        text, bound = argument
        return text if bound >= least else f"({text})"

    if len(arguments) == 1:
        return f"{operator}{wrapped(arguments[0], precedence)}", precedence
    # a - (b - c) and a / (b * c) keep their parentheses: only the left operand may bind equally
    left = wrapped(arguments[0], precedence + (precedence in (COMPARE, POWER)))
    return f"{left} {operator} {wrapped(arguments[1], precedence + 1)}", precedence


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
) -> Elementwise:
    """Declare an elementwise op; see the module's docstring and ``Elementwise``.

    ``stands_for`` is SymPy's own function for it, where it has one (``sympy.tanh``).
    """
    op = Elementwise(
        name, formula, derivative, arity=arity, kind=kind, call=call, infix=infix, numpy=numpy,
        options=options or {}, flops=flops, doc=doc or f"{name}, elementwise.",
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
    return FUNCTIONS["multiply"](adjoint, translate(derivative, environment, adjoint))


def translate(formula: Any, environment: Mapping[Any, Any], like: Any) -> Any:
    """A SymPy formula as ops applied to what its symbols stand for: nodes, or NumPy arrays.

    Numbers stay Python numbers, which adapt to the dtype beside them; a formula that is a number
    altogether becomes one of the dtype and shape of ``like``. A function that no op stands for is
    an error: formulas never fall back on anything unknown.
    """
    arrays = not isinstance(like, Node)
    result = _reading(sympy.sympify(formula))(environment, _apply_array if arrays else _apply_node)
    if isinstance(result, (int, float)):
        if arrays:
            return np.full_like(like, result)
        from staticgrad.ops.convert import broadcast

        return broadcast(as_node(result, like.dtype), like.shape)
    return result


#: applies an op, given by name, to values with options
Apply = Callable[..., Any]
#: a formula, ready to be computed: of what its symbols stand for, and of how ops are applied
Reading = Callable[[Mapping[Any, Any], Apply], Any]


def _apply_array(name: str, *values: Any, **options: Any) -> Any:
    from staticgrad.ops.table import OPS

    op = OPS[name]
    if all(isinstance(value, (int, float)) for value in values):
        return op.execute([np.asarray(float(value)) for value in values], options).item()
    return op.execute(_in_dtype(values), {**getattr(op, "options", {}), **options})


def _apply_node(name: str, *values: Any, **options: Any) -> Any:
    if all(isinstance(value, (int, float)) for value in values):
        return _apply_array(name, *values, **options)
    return FUNCTIONS[name](*values, **options)


@functools.lru_cache(maxsize=4096)
def _reading(expression: Any) -> Reading:
    """How to compute a formula. To walk through SymPy's trees takes much longer than to compute, so
    it is done once for each formula."""
    if expression.is_Symbol:
        return lambda environment, apply: environment[expression]
    if expression.is_Integer:
        return _constant_reading(int(expression))
    if expression.is_number and not expression.has(sympy.Function):
        return _constant_reading(float(expression))
    if expression.is_Add:
        return _sum(expression)
    if expression.is_Mul:
        return _product(expression)
    if expression.is_Pow:
        return _power(expression)
    if isinstance(expression, sympy.polygamma):
        order, argument = _reading(expression.args[0]), _reading(expression.args[1])
        name = HEADS[sympy.polygamma].name
        return lambda environment, apply: apply(
            name, argument(environment, apply), order=int(order(environment, apply))
        )
    if isinstance(expression, (sympy.Max, sympy.Min)):
        name = "maximum" if isinstance(expression, sympy.Max) else "minimum"
        first, *rest = sorted(expression.args, key=lambda item: (item.is_number, str(item)))
        result = _reading(first)
        for item in rest:
            result = _combine(name, result, _reading(item))
        return result
    op = HEADS.get(expression.func)
    if op is None:
        raise ValueError(f"no op stands for {expression.func.__name__} in {expression}")
    count = len(op.arguments)
    if len(expression.args) == count:
        return _call(op.name, expression.args)
    arguments = [_reading(argument) for argument in expression.args]
    names = tuple(op.options)

    def with_options(environment: Mapping[Any, Any], apply: Apply) -> Any:
        values = [argument(environment, apply) for argument in arguments]
        options = dict(zip(names, values[count:], strict=False))
        return apply(op.name, *values[:count], **options)

    return with_options


def _constant_reading(value: Any) -> Reading:
    return lambda environment, apply: value


def _call(name: str, arguments: Sequence[Any]) -> Reading:
    readings = [_reading(argument) for argument in arguments]
    return lambda environment, apply: apply(
        name, *[reading(environment, apply) for reading in readings]
    )


def _combine(name: str, left: Reading, right: Reading) -> Reading:
    return lambda environment, apply: apply(
        name, left(environment, apply), right(environment, apply)
    )


def _of(name: str, argument: Reading) -> Reading:
    return lambda environment, apply: apply(name, argument(environment, apply))


def _in_dtype(values: Sequence[Any]) -> list[Any]:
    """Python numbers as scalars of the floating dtype of the arrays beside them."""
    dtype = next((v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"), None)
    if dtype is None:
        return list(values)
    return [dtype.type(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else v
            for v in values]  # fmt: skip


def _sum(expression: Any) -> Reading:
    """Terms in reading order: ``1 - square(out)``, not ``-square(out) + 1``."""
    positive = [term for term in expression.args if not term.could_extract_minus_sign()]
    negative = [-term for term in expression.args if term.could_extract_minus_sign()]
    positive.sort(key=lambda term: (not term.is_number, str(term)))
    if positive:
        result = _reading(positive[0])
    else:
        result = _of("negative", _reading(negative.pop(0)))
    for term in positive[1:]:
        result = _combine("add", result, _reading(term))
    for term in sorted(negative, key=str):
        result = _combine("subtract", result, _reading(term))
    return result


def _product(expression: Any) -> Reading:
    """A number first, then the factors, over the product of what divides."""
    number, rest = expression.as_coeff_Mul()
    factors, divisors = [], []
    for factor in sympy.Mul.make_args(rest):
        if factor.is_number:
            number = number * factor
        elif factor.is_Pow and factor.exp.is_number and factor.exp == -1:
            divisors.append(factor.base)
        else:
            factors.append(factor)
    if not factors:
        result: Any = _reading(number)
        number = sympy.Integer(1)
    else:
        result = None
        if number not in (1, -1):
            result = _reading(number)
        for factor in sorted(factors, key=str):
            value = _reading(factor)
            result = value if result is None else _combine("multiply", result, value)
        if number == -1:
            result = _of("negative", result)
    if divisors:
        bottom = _reading(divisors[0])
        for divisor in divisors[1:]:
            bottom = _combine("multiply", bottom, _reading(divisor))
        result = _combine("divide", result, bottom)
    return result


def _power(expression: Any) -> Reading:
    base, exponent = expression.base, expression.exp
    if base is sympy.E:
        return _of("exp", _reading(exponent))
    value = _reading(base)
    if exponent == 2:
        return _of("square", value)
    if exponent == 3:
        return _combine("multiply", _of("square", value), value)
    if exponent == sympy.Rational(1, 2):
        return _of("sqrt", value)
    if exponent == -sympy.Rational(1, 2):
        return _of("rsqrt", value)
    if exponent.is_number and exponent < 0:
        return _combine("divide", _constant_reading(1.0), _reading(base**-exponent))
    return _combine("pow", value, _reading(exponent))
