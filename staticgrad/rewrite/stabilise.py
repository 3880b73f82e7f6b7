"""Stabilising rules: expressions that overflow or cancel, in the form that does not.

``sg.grad`` applies them before it differentiates, so that derivatives are those of the stable form,
and the compiler applies them again to what derivation made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from staticgrad.graph.node import Node, make_node
from staticgrad.graph.traverse import interning_key
from staticgrad.ops import activations, scalar
from staticgrad.ops.losses import LOG_SOFTMAX, SOFTMAX
from staticgrad.ops.movement import reshape_to
from staticgrad.ops.reduction import sum as reduce
from staticgrad.ops.statistics import LOGSUMEXP
from staticgrad.rewrite.rules import RuleSet
from staticgrad.rewrite.simplify import is_value

STABILISE = RuleSet()
rule = STABILISE.rule


def stabilise_nodes(roots: Sequence[Node], keep: Iterable[Node] = ()) -> list[Node]:
    """``roots`` in stable form; nodes in ``keep`` stand as they are."""
    return STABILISE.apply(roots, keep)


def same(a: Node, b: Node) -> bool:
    """Whether two nodes compute the same value, looking through a few levels of equal nodes."""
    if a is b:
        return True
    if a.op is not b.op or a.type != b.type or len(a.inputs) != len(b.inputs):
        return False
    if not a.inputs:
        return interning_key(a) == interning_key(b)
    if interning_key(a)[:4] != interning_key(b)[:4]:
        return False
    return all(same(x, y) for x, y in zip(a.inputs, b.inputs, strict=True))


def pair(node: Node, op: str) -> tuple[Node, Node] | None:
    """The two operands of a commutative node, the one of ``op`` first; None where there is none."""
    a, b = node.inputs
    if a.op.name == op:
        return a, b
    return (b, a) if b.op.name == op else None


def one_plus(node: Node) -> Node | None:
    """``x`` of ``1 + x`` in either order."""
    if node.op.name != "add":
        return None
    a, b = node.inputs
    return b if is_value(a, 1) else a if is_value(b, 1) else None


@rule("log(1 + exp(x)) -> softplus(x)", "exp overflows above 88", "log",
      example=lambda x: scalar.log(1.0 + scalar.exp(x)), hard=(100.0, 1000.0, -100.0))  # fmt: skip
def _softplus(node: Node) -> Node | None:
    rest = one_plus(node.inputs[0])
    return activations.softplus(rest.inputs[0]) if rest is not None and rest.op.name == "exp" else None


@rule("log1p(exp(x)) -> softplus(x)", "exp overflows above 88", "log1p",
      example=lambda x: scalar.log1p(scalar.exp(x)), hard=(100.0, 1000.0))  # fmt: skip
def _softplus_log1p(node: Node) -> Node | None:
    (source,) = node.inputs
    return activations.softplus(source.inputs[0]) if source.op.name == "exp" else None


@rule("log(exp(x) + exp(y)) -> logaddexp(x, y)", "exp overflows above 88", "log",
      example=lambda x: scalar.log(scalar.exp(x) + scalar.exp(2.0 * x)),
      hard=(100.0, -200.0))  # fmt: skip
def _logaddexp(node: Node) -> Node | None:
    (total,) = node.inputs
    if total.op.name != "add" or any(item.op.name != "exp" for item in total.inputs):
        return None
    a, b = total.inputs
    return activations.logaddexp(a.inputs[0], b.inputs[0])


@rule("log(1 + x) -> log1p(x)", "1 + x loses the digits of a small x", "log",
      example=lambda x: scalar.log(1.0 + x), domain=(-0.5, 2.0), hard=(1e-9, -1e-12))  # fmt: skip
def _log1p(node: Node) -> Node | None:
    rest = one_plus(node.inputs[0])
    return None if rest is None else scalar.log1p(rest)


@rule("log(1 - x) -> log1p(-x)", "1 - x loses the digits of a small x", "log",
      example=lambda x: scalar.log(1.0 - x), domain=(-2.0, 0.5), hard=(1e-9, -1e-12))  # fmt: skip
def _log1m(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op.name == "subtract" and is_value(source.inputs[0], 1):
        return scalar.log1p(scalar.negative(source.inputs[1]))
    return None


@rule("exp(x) - 1 -> expm1(x)", "exp(x) - 1 loses the digits of a small x", "subtract",
      example=lambda x: scalar.exp(x) - 1.0, hard=(1e-9, -1e-12))  # fmt: skip
def _expm1(node: Node) -> Node | None:
    a, b = node.inputs
    if a.op.name == "exp" and is_value(b, 1):
        return scalar.expm1(a.inputs[0])
    if b.op.name == "exp" and is_value(a, 1):
        return scalar.negative(scalar.expm1(b.inputs[0]))
    return None


@rule("-softplus(-x) -> log_sigmoid(x)", "one function instead of three", "negative",
      example=lambda x: -activations.softplus(-x), hard=(100.0, -100.0))  # fmt: skip
def _log_sigmoid(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op.name == "softplus" and source.inputs[0].op.name == "negative":
        return activations.log_sigmoid(source.inputs[0].inputs[0])
    return None


@rule("log(sigmoid(x)) -> log_sigmoid(x)", "sigmoid underflows below -88", "log",
      example=lambda x: scalar.log(activations.sigmoid(x)), hard=(-100.0, -1000.0, 100.0))  # fmt: skip
def _log_of_sigmoid(node: Node) -> Node | None:
    (source,) = node.inputs
    return activations.log_sigmoid(source.inputs[0]) if source.op.name == "sigmoid" else None


@rule("1 / (1 + exp(-x)) -> sigmoid(x)", "its derivative would be inf / inf", "divide",
      example=lambda x: 1.0 / (1.0 + scalar.exp(-x)), hard=(-100.0, 100.0))  # fmt: skip
def _sigmoid(node: Node) -> Node | None:
    top, bottom = node.inputs
    rest = one_plus(bottom)
    if rest is None or rest.op.name != "exp" or not is_value(top, 1):
        return None
    (argument,) = rest.inputs
    inner = argument.inputs[0] if argument.op.name == "negative" else scalar.negative(argument)
    return activations.sigmoid(inner)


@rule("exp(x) / (1 + exp(x)) -> sigmoid(x)", "inf / inf above 88", "divide",
      example=lambda x: scalar.exp(x) / (1.0 + scalar.exp(x)), hard=(100.0, -100.0))  # fmt: skip
def _sigmoid_of_exp(node: Node) -> Node | None:
    top, bottom = node.inputs
    rest = one_plus(bottom)
    if rest is None or top.op.name != "exp" or not same(top, rest):
        return None
    return activations.sigmoid(top.inputs[0])


@rule("1 - sigmoid(x) -> sigmoid(-x)", "1 - sigmoid(x) cancels for large x", "subtract",
      example=lambda x: 1.0 - activations.sigmoid(x), hard=(50.0, 100.0))  # fmt: skip
def _complement(node: Node) -> Node | None:
    a, b = node.inputs
    if is_value(a, 1) and b.op.name == "sigmoid":
        return activations.sigmoid(scalar.negative(b.inputs[0]))
    return None


@rule("1 - erf(x) -> erfc(x)", "1 - erf(x) cancels for large x", "subtract",
      example=lambda x: 1.0 - scalar.erf(x), hard=(6.0, 9.0))  # fmt: skip
def _erfc(node: Node) -> Node | None:
    a, b = node.inputs
    return scalar.erfc(b.inputs[0]) if is_value(a, 1) and b.op.name == "erf" else None


@rule("log(softmax(x)) -> log_softmax(x)", "softmax underflows", "log",
      example=lambda x: scalar.log(make_node(SOFTMAX, [x], {"axes": (0,)})),
      hard=(1000.0,))  # fmt: skip
def _log_of_softmax(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op is SOFTMAX:
        return make_node(LOG_SOFTMAX, source.inputs, source.attrs)
    return None


@rule("log(sum(exp(x))) -> logsumexp(x)", "exp overflows above 88", "log",
      example=lambda x: scalar.log(reduce(scalar.exp(x), axis=0)),
      hard=(1000.0, -1000.0))  # fmt: skip
def _logsumexp(node: Node) -> Node | None:
    (source,) = node.inputs
    total = source.inputs[0] if source.op.name == "reshape" else source
    if total.op.name != "sum" or total.inputs[0].op.name != "exp":
        return None
    (exponent,) = total.inputs[0].inputs
    result = make_node(LOGSUMEXP, [exponent], {"axes": total.attrs["axes"]})
    return reshape_to(result, node.shape)


@rule("exp(x) / sum(exp(x)) -> softmax(x)", "inf / inf above 88", "divide",
      example=lambda x: scalar.exp(x) / reduce(scalar.exp(x), axis=0, keepdims=True),
      hard=(1000.0,))  # fmt: skip
def _softmax(node: Node) -> Node | None:
    top, bottom = node.inputs
    if bottom.op.name != "broadcast_to" or top.op.name != "exp":
        return None
    total = bottom.inputs[0]
    total = total.inputs[0] if total.op.name == "reshape" else total
    if total.op.name != "sum" or not same(total.inputs[0], top):
        return None
    axes = total.attrs["axes"]
    spread = tuple(1 if axis in axes else dim for axis, dim in enumerate(top.shape))
    if bottom.inputs[0].shape not in (spread, ()):
        return None
    if bottom.inputs[0].shape == () and len(axes) != top.ndim:
        return None
    return make_node(SOFTMAX, [top.inputs[0]], {"axes": axes})


def square_of(node: Node) -> Node | None:
    """``x`` where the node is x**2 or x * x."""
    if node.op.name == "square":
        return node.inputs[0]
    if node.op.name == "multiply" and same(*node.inputs):
        return node.inputs[0]
    return None


@rule("sqrt(x**2) -> abs(x)", "the square overflows or underflows", "sqrt",
      example=lambda x: scalar.sqrt(scalar.square(x)), hard=(1e30, 1e-30))  # fmt: skip
def _root_of_square(node: Node) -> Node | None:
    inner = square_of(node.inputs[0])
    return None if inner is None else scalar.abs(inner)


@rule("sqrt(x**2 + y**2) -> hypot(x, y)", "the squares overflow or underflow", "sqrt",
      example=lambda x: scalar.sqrt(scalar.square(x) + scalar.square(2.0 * x)),
      hard=(1e30, 1e-30))  # fmt: skip
def _hypot(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op.name != "add":
        return None
    a, b = (square_of(item) for item in source.inputs)
    return None if a is None or b is None else scalar.hypot(a, b)


@rule("sqrt(x**2 + c) -> hypot(x, sqrt(c))", "the square overflows; so x / sqrt(x**2 + c) is 0",
      "sqrt", example=lambda x: x / scalar.sqrt(scalar.square(x) + 4.0),
      hard=(1e30,))  # fmt: skip
def _hypot_constant(node: Node) -> Node | None:
    from staticgrad.ops.known import scalar_value

    (source,) = node.inputs
    if source.op.name != "add":
        return None
    for a, b in (source.inputs, source.inputs[::-1]):
        inner, value = square_of(a), scalar_value(b)
        # a tiny constant guards against the division by zero, which hypot handles as well
        if inner is not None and value is not None and value > 0:
            return scalar.hypot(inner, float(value) ** 0.5)
    return None


@rule("1 / sqrt(x) -> rsqrt(x)", "one function instead of two", "divide",
      example=lambda x: 1.0 / scalar.sqrt(x), domain=(0.2, 3.0))  # fmt: skip
def _rsqrt(node: Node) -> Node | None:
    top, bottom = node.inputs
    return scalar.rsqrt(bottom.inputs[0]) if is_value(top, 1) and bottom.op.name == "sqrt" else None


