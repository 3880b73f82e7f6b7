"""The elementwise ops, one declaration each. Conventions at kinks are PyTorch's."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from staticgrad.graph.compose import divided, number
from staticgrad.graph.expression import (
    Call,
    Choice,
    Constant,
    Expression,
    Fenced,
    Indicator,
    Negation,
    Number,
    Power,
    Root,
)
from staticgrad.graph.node import GraphError, Node, Op, TensorType, make_node
from staticgrad.ops.convert import as_node, cast
from staticgrad.ops.elementwise import (
    FORMULA,
    elementwise,
    out,
    x,
    y,
    z,
)
from staticgrad.ops.lowering import BIT_AND, BIT_OR, COMPARE, PRODUCT, SUM, UNARY
from staticgrad.ops.table import method, register, sample

ONE, ZERO, HALF = sympy.Integer(1), sympy.Integer(0), sympy.Rational(1, 2)


class Cast(Op):
    """The same values in another dtype, as NumPy's ``astype``."""

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return TensorType(attrs["dtype"], inputs[0].shape)

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        source = node.inputs[0]
        return [cast(adjoint, source.dtype) if source.differentiable else None]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.asarray(arrays[0]).astype(attrs["dtype"])

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        (operand,) = arguments
        if node.inputs[0].dtype.kind == "b":
            return Indicator(operand, str(node.dtype), rank=operand.rank)
        if node.inputs[0].op.name == "size":
            return operand
        return Call(str(node.dtype), (operand,), notation=operand, rank=operand.rank)


class StopGradient(Op):
    """The identity, through which no adjoint flows back."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return inputs[0]

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [None]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return arrays[0]


CAST = register(Cast("astype"))
STOP_GRADIENT = register(StopGradient("stop_gradient"))


@method()
def astype(x: Any, dtype: Any) -> Node:
    """``x`` cast to ``dtype``. The adjoint is cast back; integers have none."""
    return cast(as_node(x), dtype)


def stop_gradient(x: Any) -> Node:
    """``x``, as a constant to differentiation: no adjoint flows back through it."""
    return make_node(STOP_GRADIENT, [as_node(x)])


# ---- comparison and logic ------------------------------------------------------------------------

NONE2 = (ZERO, ZERO)


def _comparison(name: str, operator: str, formula: Any, function: Any) -> Any:
    return elementwise(
        name, formula, NONE2, arity=2, kind="comparison", infix=(operator, COMPARE),
        numpy=function, differentiable=False,
    )  # fmt: skip


less = _comparison("less", "<", lambda: x < y, np.less)
less_equal = _comparison("less_equal", "<=", lambda: x <= y, np.less_equal)
greater = _comparison("greater", ">", lambda: x > y, np.greater)
greater_equal = _comparison("greater_equal", ">=", lambda: x >= y, np.greater_equal)
equal = _comparison("equal", "==", lambda: sympy.Eq(x, y), np.equal)
not_equal = _comparison("not_equal", "!=", lambda: sympy.Ne(x, y), np.not_equal)

logical_and = elementwise(
    "logical_and", sympy.Function("and_")(x, y), NONE2, arity=2, kind="logical",
    infix=("&", BIT_AND), numpy=np.logical_and,
)  # fmt: skip
logical_or = elementwise(
    "logical_or", sympy.Function("or_")(x, y), NONE2, arity=2, kind="logical",
    infix=("|", BIT_OR), numpy=np.logical_or,
)  # fmt: skip
logical_xor = elementwise(
    "logical_xor", sympy.Function("xor")(x, y), NONE2, arity=2, kind="logical",
    infix=("!=", COMPARE), numpy=np.logical_xor,
)  # fmt: skip
logical_not = elementwise(
    "logical_not", sympy.Function("not_")(x), ZERO, kind="logical", call="logical_not",
    numpy=np.logical_not, notation=Negation,
)  # fmt: skip
isnan = elementwise(
    "isnan", sympy.Ne(x, x, evaluate=False), ZERO, kind="comparison", call="isnan",
    numpy=np.isnan, differentiable=False,
)  # fmt: skip

_where = sympy.Function("where")
where = elementwise(
    "where", _where(x, y, z), (ZERO, _where(x, ONE, ZERO), _where(x, ZERO, ONE)), arity=3,
    kind="select", call="where", numpy=np.where, notation=Choice,
    doc="``y`` where the condition ``x`` holds, else ``z``; no adjoint reaches the side not taken.",
)  # fmt: skip
sample("where", lambda a, b: where(a > 0, a, b), (3, 4), (4,))

choose = where.head
for operation in (less, less_equal, greater, greater_equal, equal, logical_and):
    operation.head.is_real = None


# ---- arithmetic ----------------------------------------------------------------------------------

add = elementwise("add", x + y, arity=2, kind="numeric", infix=("+", SUM), numpy=np.add)
subtract = elementwise(
    "subtract", x - y, arity=2, kind="numeric", infix=("-", SUM), numpy=np.subtract
)
multiply = elementwise(
    "multiply", x * y, arity=2, kind="numeric", infix=("*", PRODUCT), numpy=np.multiply
)
divide = elementwise(
    "divide", x / y, (1 / y, -out / y), arity=2, infix=("/", PRODUCT), numpy=np.divide,
    flops=4, domain=((-2.0, 2.0), (0.5, 2.0)),
)  # fmt: skip
negative = elementwise("negative", -x, kind="numeric", infix=("-", UNARY), numpy=np.negative)
floor_divide = elementwise(
    "floor_divide", lambda: sympy.floor(x / y), NONE2, arity=2, kind="numeric", infix=("//", PRODUCT),
    numpy=np.floor_divide, flops=5, domain=((-2.0, 2.0), (0.5, 2.0)),
)  # fmt: skip
remainder = elementwise(
    "remainder", lambda: x - y * sympy.floor(x / y), lambda: (ONE, -floor_divide.head(x, y)),
    arity=2, kind="numeric", infix=("%", PRODUCT), numpy=np.remainder, flops=5,
    domain=((-2.0, 2.0), (2.5, 3.0)),
)  # fmt: skip
square = elementwise(
    "square", x**2, 2 * x, kind="numeric", call="square", numpy=np.square,
    notation=lambda a: Power(a, Number(2)),
)  # fmt: skip

# d/dx is 0 where y is 0, and d/dy is 0 where x is 0 and y is not negative: the limits, where the
# formulas y x**(y-1) and x**y log(x) would give 0 * inf.
_power = elementwise(
    "power", lambda: x**y,
    lambda: (
        choose(equal.head(y, ZERO), ZERO, y * x ** (y - 1)),
        choose(logical_and.head(equal.head(x, ZERO), greater_equal.head(y, ZERO)), ZERO,
               out * sympy.log(x)),
    ),
    arity=2, kind="numeric", call="power", numpy=np.power, flops=20, notation=Power,
    domain=((0.2, 2.0), (-2.0, 2.0)),
)  # fmt: skip


@method("pow")
def pow(x: Any, y: Any) -> Node:
    """``x ** y``; exponents -1, 0.5, 1 and 2 become 1/x, sqrt(x), x and x*x, as in NumPy.

    Raises GraphError for a negative integer power of integers.
    """
    if isinstance(y, (int, float)) and not isinstance(y, bool):
        base = as_node(x)
        if y == 2:
            return square(base)
        if y == 1:
            return base
        if base.type.is_float and y == 0.5:
            return sqrt(base)
        if base.type.is_float and y == -1:
            return divide(1.0, base)
        if not base.type.is_float and isinstance(y, int) and y < 0:
            raise GraphError("integers to a negative integer power: cast the base to a float first")
    return _power(x, y)


def _extremum(name: str, short: str) -> Callable[..., Expression]:
    return lambda a, b: Call(name, (a, b), notation=Call(short, (a, b)))


maximum = elementwise(
    "maximum", lambda: sympy.Max(x, y),
    lambda: (
        choose(greater.head(x, y), ONE, choose(equal.head(x, y), HALF, ZERO)),
        choose(greater.head(y, x), ONE, choose(equal.head(x, y), HALF, ZERO)),
    ),
    arity=2, kind="arithmetic", call="maximum", numpy=np.maximum, notation=_extremum("maximum", "max"),
    doc="The larger of x and y, NaN if either is; at a tie each gets half of the adjoint.",
)  # fmt: skip
minimum = elementwise(
    "minimum", lambda: sympy.Min(x, y),
    lambda: (
        choose(less.head(x, y), ONE, choose(equal.head(x, y), HALF, ZERO)),
        choose(less.head(y, x), ONE, choose(equal.head(x, y), HALF, ZERO)),
    ),
    arity=2, kind="arithmetic", call="minimum", numpy=np.minimum, notation=_extremum("minimum", "min"),
    doc="The smaller of x and y, NaN if either is; at a tie each gets half of the adjoint.",
)  # fmt: skip
_clip = elementwise(
    "clip", lambda: sympy.Min(sympy.Max(x, y), z),
    lambda: (
        choose(logical_and.head(greater_equal.head(x, y), less_equal.head(x, z)), ONE, ZERO),
        choose(less.head(x, y), ONE, ZERO),
        choose(greater.head(x, z), ONE, ZERO),
    ),
    arity=3, kind="arithmetic", call="clip", flops=2,
    numpy=lambda a, low, high: np.minimum(np.maximum(a, low), high),
    domain=((-2.0, 2.0), (-1.0, -0.5), (0.5, 1.0)),
)  # fmt: skip


@method()
def clip(x: Any, min: Any = None, max: Any = None) -> Node:
    """``x`` limited to [min, max]; either bound may be None. The adjoint passes at the bounds too."""
    node = as_node(x)
    if min is None and max is None:
        return node
    if node.dtype.kind == "f":
        lowest, highest = -np.inf, np.inf
    else:
        info = np.iinfo(node.dtype)
        lowest, highest = builtins.int(info.min), builtins.int(info.max)
    return _clip(node, lowest if min is None else min, highest if max is None else max)


sign = elementwise(
    "sign", sympy.sign(x), ZERO, kind="arithmetic", call="sign", numpy=np.sign,
    stands_for=sympy.sign,
)  # fmt: skip
abs = elementwise(
    "abs", sympy.Abs(x), sign.head(x), kind="arithmetic", call="absolute", numpy=np.abs,
    stands_for=sympy.Abs, notation=lambda a: Fenced("abs", "||", a),
    doc="The absolute value; its derivative at 0 is 0.",
)  # fmt: skip
floor = elementwise(
    "floor", sympy.floor(x), ZERO, kind="float", call="floor", numpy=np.floor,
    stands_for=sympy.floor, notation=lambda a: Fenced("floor", "⌊⌋", a),
)  # fmt: skip


# ---- exponentials, logarithms, roots -------------------------------------------------------------

exp = elementwise(
    "exp", sympy.exp(x), out, call="exp", numpy=np.exp, stands_for=sympy.exp, flops=10,
    notation=lambda a: Call("exp", (a,), notation=Power(Constant("e"), a)),
)  # fmt: skip
expm1 = elementwise(
    "expm1", sympy.exp(x) - 1, out + 1, call="expm1", numpy=np.expm1, flops=10, notation=FORMULA
)
log = elementwise(
    "log", sympy.log(x), call="log", numpy=np.log, stands_for=sympy.log, flops=10,
    domain=(0.2, 3.0),
)  # fmt: skip
log1p = elementwise(
    "log1p", sympy.log(1 + x), call="log1p", numpy=np.log1p, flops=10, domain=(-0.5, 3.0),
    notation=FORMULA,
)  # fmt: skip
log2 = elementwise(
    "log2", lambda: sympy.log(x) / sympy.log(2), lambda: 1 / (x * sympy.log(2).evalf(17)),
    call="log2", numpy=np.log2, flops=10, domain=(0.2, 3.0), notation=FORMULA,
)  # fmt: skip
sqrt = elementwise(
    "sqrt", sympy.sqrt(x), HALF / out, call="sqrt", numpy=np.sqrt, flops=4, domain=(0.2, 3.0),
    notation=Root,
)  # fmt: skip
rsqrt = elementwise(
    "rsqrt", 1 / sympy.sqrt(x), -HALF * out**3, call="rsqrt",
    numpy=lambda a: 1 / np.sqrt(a), flops=6, domain=(0.2, 3.0),
    notation=lambda a: Call("rsqrt", (a,), notation=divided(Number(1), Root(a))),
)  # fmt: skip


# ---- trigonometric and hyperbolic functions ------------------------------------------------------

sin = elementwise("sin", sympy.sin(x), call="sin", numpy=np.sin, stands_for=sympy.sin, flops=12)
cos = elementwise("cos", sympy.cos(x), call="cos", numpy=np.cos, stands_for=sympy.cos, flops=12)
tan = elementwise(
    "tan", sympy.tan(x), 1 + out**2, call="tan", numpy=np.tan, stands_for=sympy.tan, flops=20,
    domain=(-1.2, 1.2),
)  # fmt: skip


def _circle() -> Any:
    return sympy.sqrt(sympy.Mul(1 - x, 1 + x, evaluate=False))


asin = elementwise(
    "asin", sympy.asin(x), lambda: 1 / _circle(), call="asin", numpy=np.arcsin,
    stands_for=sympy.asin, flops=15, domain=(-0.9, 0.9),
)  # fmt: skip
acos = elementwise(
    "acos", sympy.acos(x), lambda: -1 / _circle(), call="acos", numpy=np.arccos,
    stands_for=sympy.acos, flops=15, domain=(-0.9, 0.9),
)  # fmt: skip
atan = elementwise(
    "atan", sympy.atan(x), 1 / (1 + x**2), call="atan", numpy=np.arctan, stands_for=sympy.atan,
    flops=15,
)  # fmt: skip
atan2 = elementwise(
    "atan2", lambda: sympy.atan2(x, y), lambda: (y / (x**2 + y**2), -x / (x**2 + y**2)), arity=2,
    call="atan2", numpy=np.arctan2, stands_for=sympy.atan2, flops=20, domain=((0.3, 2.0), (0.3, 2.0)),
    doc="The angle of the point with coordinates (y, x), as numpy.arctan2(y, x).",
)  # fmt: skip
cosh = elementwise(
    "cosh", sympy.cosh(x), call="cosh", numpy=np.cosh, stands_for=sympy.cosh, flops=15
)
sinh = elementwise(
    "sinh", sympy.sinh(x), call="sinh", numpy=np.sinh, stands_for=sympy.sinh, flops=15
)
tanh = elementwise(
    "tanh", sympy.tanh(x), 1 - out**2, call="tanh", numpy=np.tanh, stands_for=sympy.tanh, flops=12
)
# at the origin, where x/out is 0/0, the derivative is taken as 0, as that of a norm is
hypot = elementwise(
    "hypot", lambda: sympy.sqrt(x**2 + y**2),
    lambda: tuple(choose(equal.head(out, ZERO), ZERO, side / out) for side in (x, y)),
    arity=2, call="hypot", numpy=np.hypot, flops=8, notation=FORMULA,
)  # fmt: skip


# ---- special functions ---------------------------------------------------------------------------


def scipy_special(name: str) -> Callable[..., Any]:
    """A function of scipy.special, which takes a quarter of a second to import, so at the call."""

    def call(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return call



erf = elementwise(
    "erf", sympy.erf(x), call="erf", numpy=scipy_special("erf"), stands_for=sympy.erf, flops=20
)
erfc = elementwise(
    "erfc", sympy.erfc(x), call="erfc", numpy=scipy_special("erfc"), stands_for=sympy.erfc, flops=20
)
_order = sympy.Symbol("order", integer=True)


def _polygamma(x: Any, order: int) -> Any:
    x = np.asarray(x)
    return scipy_special("polygamma")(order, x.astype("float64")).astype(x.dtype)[()]


# polygamma(order, x) is the derivative of order `order` of digamma(x)
_polygamma_op = elementwise(
    "polygamma", sympy.polygamma(_order, x), sympy.polygamma(_order + 1, x),
    call="polygamma", numpy=_polygamma, stands_for=sympy.polygamma, options={_order: 1},
    flops=40, domain=(0.3, 4.0), notation=lambda a, order: Call("polygamma", (number(order), a)),
)  # fmt: skip
digamma = elementwise(
    "digamma", sympy.polygamma(0, x), sympy.polygamma(1, x), call="digamma",
    numpy=scipy_special("digamma"), stands_for=sympy.digamma, flops=40, domain=(0.3, 4.0),
    doc="The logarithmic derivative of the gamma function.",
    notation=lambda a: Call("digamma", (a,), notation=Call("psi", (a,))),
)  # fmt: skip
lgamma = elementwise(
    "lgamma", sympy.loggamma(x), digamma.head(x), call="lgamma", numpy=scipy_special("gammaln"),
    stands_for=sympy.loggamma, flops=40, domain=(0.3, 4.0),
    doc="The logarithm of the absolute value of the gamma function.",
    notation=lambda a: Call("lgamma", (a,), notation=Call("log", (Call("Gamma", (a,)),))),
)  # fmt: skip


def polygamma(n: int, x: Any) -> Node:
    """The derivative of order ``n`` of digamma, as ``scipy.special.polygamma``; n >= 0.

    Raises GraphError where ``n`` is not a non-negative integer.
    """
    if not isinstance(n, int) or n < 0:
        raise GraphError(f"polygamma needs an integer order n >= 0, got {n!r}")
    return digamma(x) if n == 0 else _polygamma_op(x, order=n)


sample("clip", lambda a: clip(a, -0.5, None), (3, 4))
sample("clip", lambda a: clip(a, None, 0.5), (3, 4))
sample("pow", lambda a: pow(a, 3), (3, 4))
sample("pow", lambda a: pow(a, 2.5), (3, 4), domain=(0.2, 2.0))
sample("pow", lambda a: pow(2.0, a), (3, 4))
sample("polygamma", lambda a: polygamma(2, a), (3, 4), domain=(0.3, 4.0))
sample("astype", lambda a: astype(a, "float64") * 2.0, (3, 4))
