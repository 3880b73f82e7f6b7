"""Algebra that is safe in floating point: nothing here changes a bit of a result, NaN and inf
included, beyond the sign of a zero.

What is *not* here is as deliberate: x - x, 0 * x and x / x stay (they are NaN for inf or NaN), and
sums are never reordered.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticgrad.graph.node import Node, make_node
from staticgrad.ops import scalar
from staticgrad.ops.contraction import contract, parse
from staticgrad.ops.convert import broadcast
from staticgrad.ops.known import scalar_value
from staticgrad.ops.movement import PERMUTE, Reshape, inverse, permute, reshape_to
from staticgrad.ops.slicing import EMBED, SLICE
from staticgrad.ops.table import OPS
from staticgrad.rewrite.rules import RuleSet

SIMPLIFY = RuleSet()
rule = SIMPLIFY.rule


def is_value(node: Node, number: float) -> bool:
    value = scalar_value(node)
    return value is not None and value == number


def make_power(x: Node, exponent: float) -> Node:
    """The power as such, which ``**`` does not make of every exponent."""
    return make_node(OPS["power"], [x, number_like(x, exponent)])


def number_like(node: Node, value: Any) -> Node:
    from staticgrad.ops.convert import as_node

    return broadcast(as_node(value, node.dtype), node.shape)


@rule("x * 1 -> x", "exact", "multiply", example=lambda x: x * 1.0)
def _times_one(node: Node) -> Node | None:
    a, b = node.inputs
    return a if is_value(b, 1) else b if is_value(a, 1) else None


@rule("x * -1 -> -x", "exact", "multiply", example=lambda x: x * -1.0)
def _times_minus_one(node: Node) -> Node | None:
    a, b = node.inputs
    if is_value(b, -1):
        return scalar.negative(a)
    return scalar.negative(b) if is_value(a, -1) else None


@rule("x**1 -> x", "exact", "power", example=lambda x: make_power(x, 1.0))
def _first_power(node: Node) -> Node | None:
    return node.inputs[0] if is_value(node.inputs[1], 1) and node.type.is_float else None


@rule("x**3 -> x * x * x", "a rounding more than x**3 has; PyTorch and JAX do the same", "power",
      example=lambda x: make_power(x, 3.0))  # fmt: skip
def _small_power(node: Node) -> Node | None:
    x, exponent = node.inputs
    value = scalar_value(exponent)
    if value not in (2, 3, 4) or not node.type.is_float:
        return None
    squared = scalar.square(x)
    return squared if value == 2 else squared * (x if value == 3 else squared)


@rule("False & c -> False", "exact; so are True | c, True & c and False | c", "logical_and logical_or",
      example=lambda x: (x > 0) & number_like(x < 0, False))  # fmt: skip
def _known_truth(node: Node) -> Node | None:
    decisive = node.op.name == "logical_or"
    for known, other in (node.inputs, node.inputs[::-1]):
        value = scalar_value(known)
        if value is not None:
            return known if bool(value) is decisive else other
    return None


@rule("x / 1 -> x", "exact", "divide", example=lambda x: x / 1.0)
def _over_one(node: Node) -> Node | None:
    return node.inputs[0] if is_value(node.inputs[1], 1) else None


@rule("x / 2**k -> x * 2**-k", "exact: powers of two have exact reciprocals", "divide",
      example=lambda x: x / 4.0)  # fmt: skip
def _over_power_of_two(node: Node) -> Node | None:
    value = scalar_value(node.inputs[1])
    if value is None or value == 0 or not math.isfinite(value):
        return None
    mantissa, exponent = math.frexp(float(value))
    if abs(mantissa) != 0.5 or not -60 < exponent < 60:
        return None
    return scalar.multiply(node.inputs[0], number_like(node, 1.0 / float(value)))


@rule("a * (2**k * x) -> (a * 2**k) * x", "exact: doubling rounds nothing; abs(a) <= 1, so that "
      "nothing overflows that did not", "multiply", example=lambda x: 0.1 * (2.0 * x))  # fmt: skip
def _two_factors(node: Node) -> Node | None:
    for outer, inner in (node.inputs, node.inputs[::-1]):
        factor = scalar_value(outer)
        if inner.op.name != "multiply" or factor is None or not abs(factor) <= 1:
            continue
        for doubling, x in (inner.inputs, inner.inputs[::-1]):
            value = scalar_value(doubling)
            if value in (2, 4, 8, 16) and abs(factor) * value <= 1:
                return scalar.multiply(number_like(node, float(factor) * float(value)), x)
    return None


@rule("x + 0 -> x", "exact but for the sign of a zero", "add", example=lambda x: x + 0.0)
def _plus_zero(node: Node) -> Node | None:
    a, b = node.inputs
    return a if is_value(b, 0) else b if is_value(a, 0) else None


@rule("x - 0 -> x", "exact", "subtract", example=lambda x: x - 0.0)
def _minus_zero(node: Node) -> Node | None:
    a, b = node.inputs
    return a if is_value(b, 0) else scalar.negative(b) if is_value(a, 0) else None


@rule("-(-x) -> x", "exact", "negative", example=lambda x: scalar.negative(-x))
def _double_negation(node: Node) -> Node | None:
    (source,) = node.inputs
    return source.inputs[0] if source.op.name == "negative" else None


@rule("x + (-y) -> x - y", "exact", "add", example=lambda x: x + (-(x * x)))
def _plus_negative(node: Node) -> Node | None:
    a, b = node.inputs
    if b.op.name == "negative":
        return scalar.subtract(a, b.inputs[0])
    return scalar.subtract(b, a.inputs[0]) if a.op.name == "negative" else None


@rule("x - (-y) -> x + y", "exact", "subtract", example=lambda x: x - (-(x * x)))
def _minus_negative(node: Node) -> Node | None:
    a, b = node.inputs
    return scalar.add(a, b.inputs[0]) if b.op.name == "negative" else None


@rule("(-x) * (-y) -> x * y", "exact", "multiply divide", example=lambda x: (-x) * (-(x + 1)))
def _two_negatives(node: Node) -> Node | None:
    a, b = node.inputs
    if a.op.name != "negative" or b.op.name != "negative":
        return None
    return make_node(node.op, [a.inputs[0], b.inputs[0]])


@rule("(-x) * y -> -(x * y)", "exact: rounding is symmetric", "multiply divide",
      example=lambda x, y: (-x) * y)  # fmt: skip
def _one_negative(node: Node) -> Node | None:
    a, b = node.inputs
    if a.op.name == "negative":
        return scalar.negative(make_node(node.op, [a.inputs[0], b]))
    if b.op.name == "negative":
        return scalar.negative(make_node(node.op, [a, b.inputs[0]]))
    return None


@rule("-(c * x) -> (-c) * x", "exact: rounding is symmetric", "negative",
      example=lambda x: scalar.negative(0.3 * x))  # fmt: skip
def _negative_factor(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op.name != "multiply":
        return None
    for factor, x in (source.inputs, source.inputs[::-1]):
        value = scalar_value(factor)
        if value is not None and not math.isnan(value):
            return scalar.multiply(number_like(node, -value), x)
    return None


@rule("maximum(x, -inf) -> x", "exact, NaN included", "maximum",
      example=lambda x: scalar.maximum(x, -math.inf))  # fmt: skip
def _no_lower_bound(node: Node) -> Node | None:
    a, b = node.inputs
    return a if is_value(b, -math.inf) else b if is_value(a, -math.inf) else None


@rule("minimum(x, inf) -> x", "exact, NaN included", "minimum",
      example=lambda x: scalar.minimum(x, math.inf))  # fmt: skip
def _no_upper_bound(node: Node) -> Node | None:
    a, b = node.inputs
    return a if is_value(b, math.inf) else b if is_value(a, math.inf) else None


@rule("where(c, x, x) -> x", "exact", "where", example=lambda x: scalar.where(x > 0, x, x))
def _same_branches(node: Node) -> Node | None:
    condition, a, b = node.inputs
    if a is b:
        return a
    value = scalar_value(condition)
    return None if value is None else (a if value else b)


def nested_choice(condition: Node, x: Node, y: Node) -> Node:
    return scalar.where(condition, scalar.where(condition, x, 1.0), y)


@rule("where(c, where(c, x, y), z) -> where(c, x, z)", "exact", "where",
      example=lambda x, y: nested_choice(x > 0, x, y))  # fmt: skip
def _same_condition(node: Node) -> Node | None:
    condition, a, b = node.inputs
    if a.op.name == "where" and a.inputs[0] is condition:
        return scalar.where(condition, a.inputs[1], b)
    if b.op.name == "where" and b.inputs[0] is condition:
        return scalar.where(condition, a, b.inputs[2])
    return None


@rule("astype(astype(x)) -> astype(x)", "exact where the inner cast loses nothing", "astype",
      example=lambda x: scalar.astype(scalar.astype(x > 0, "int64"), "float64"))  # fmt: skip
def _double_cast(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.dtype == node.dtype:
        return source
    if source.op.name != "astype":
        return None
    (origin,) = source.inputs
    if not np.can_cast(origin.dtype, source.dtype, casting="safe"):
        return None
    return origin if origin.dtype == node.dtype else scalar.astype(origin, node.dtype)


@rule("broadcast(broadcast(x)) -> broadcast(x)", "moves nothing", "broadcast_to",
      example=lambda x: broadcast(broadcast(x, (2, 3, 4)), (5, 2, 3, 4)))  # fmt: skip
def _double_broadcast(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.shape == node.shape:
        return source
    return broadcast(source.inputs[0], node.shape) if source.op.name == "broadcast_to" else None


@rule("reshape(reshape(x)) -> reshape(x)", "moves nothing", "reshape",
      example=lambda x: reshape_to(reshape_to(x, (12,)), (2, 6)))  # fmt: skip
def _double_reshape(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.shape == node.shape:
        return source
    return reshape_to(source.inputs[0], node.shape) if source.op.name == "reshape" else None


@rule("reshape of a number -> broadcast", "moves nothing", "reshape",
      example=lambda x: reshape_to(broadcast(x.sum(), (3, 4)), (12,)))  # fmt: skip
def _reshape_constant(node: Node) -> Node | None:
    (source,) = node.inputs
    while source.op.name == "broadcast_to":
        source = source.inputs[0]
    if source is node.inputs[0] or source.shape != ():
        return None
    return broadcast(source, node.shape)


@rule("broadcast(reshape(x)) -> broadcast(x)", "leading axes of length one come by themselves",
      "broadcast_to", example=lambda x: broadcast(reshape_to(x, (1, 3, 4)), (2, 3, 4)))  # fmt: skip
def _broadcast_of_units(node: Node) -> Node | None:
    (source,) = node.inputs
    if not isinstance(source.op, Reshape):
        return None
    (inner,) = source.inputs
    lead = source.ndim - inner.ndim
    if lead > 0 and source.shape == (*(1,) * lead, *inner.shape):
        return broadcast(inner, node.shape)
    return None


@rule("transpose(transpose(x)) -> transpose(x)", "moves nothing", "permute_dims",
      example=lambda x: permute(permute(broadcast(x, (2, 3, 4)), [1, 2, 0]), [0, 2, 1]))  # fmt: skip
def _double_permute(node: Node) -> Node | None:
    (source,), axes = node.inputs, node.attrs["axes"]
    if axes == tuple(range(node.ndim)):
        return source
    if source.op is not PERMUTE:
        return None
    return permute(source.inputs[0], [source.attrs["axes"][axis] for axis in axes])


@rule("slice(slice(x)) -> slice(x)", "moves nothing", "slice",
      example=lambda x: x[::-1, 1:][:2, ::2])  # fmt: skip
def _double_slice(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op is not SLICE:
        return None
    return make_node(SLICE, [source.inputs[0]], composed(node.attrs, source.attrs, node.shape))


def composed(first: Any, second: Any, shape: Any) -> dict[str, Any]:
    """The map ``start + step * position`` of ``first`` followed by that of ``second``."""
    starts = tuple(
        start + step * position
        for start, step, position in zip(
            second["starts"], second["steps"], first["starts"], strict=True
        )
    )
    steps = tuple(a * b for a, b in zip(first["steps"], second["steps"], strict=True))
    return {"starts": starts, "steps": steps, "shape": shape}


@rule("embed(embed(x)) -> embed(x)", "moves nothing", "embed",
      example=lambda x: make_node(EMBED, [
          make_node(EMBED, [x], {"starts": (1, 0), "steps": (1, 2), "shape": (5, 8)})
      ], {"starts": (0, 8), "steps": (2, -1), "shape": (10, 9)}))  # fmt: skip
def _double_embed(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op is not EMBED:
        return None
    return make_node(EMBED, [source.inputs[0]], composed(source.attrs, node.attrs, node.shape))


@rule("sum over axes of length one -> reshape", "adds nothing", "sum prod max min",
      example=lambda x: reshape_to(x, (3, 1, 4)).sum(axis=1))  # fmt: skip
def _sum_over_units(node: Node) -> Node | None:
    (source,), axes = node.inputs, node.attrs["axes"]
    if not all(source.shape[axis] == 1 for axis in axes) or source.dtype != node.dtype:
        return None
    return reshape_to(source, node.shape)


@rule("contraction with a number -> product", "adds nothing", "contract",
      example=lambda x, y: contract("", x.sum(), "ij", y, "ij"))  # fmt: skip
def _contraction_with_number(node: Node) -> Node | None:
    left, right, out = parse(node.attrs["subscripts"])
    number, array = node.inputs
    if left and not right:
        number, array, left, right = array, number, right, left
    if left or len(right) != len(out):
        return None
    moved = permute(array, [right.index(letter) for letter in out])
    return scalar.multiply(broadcast(number, moved.shape), moved)


@rule("transpose in a contraction -> its subscripts", "moves nothing", "contract",
      example=lambda x, y: contract("ij", permute(x, [1, 0]), "jk", y, "ik"))  # fmt: skip
def _permuted_operand(node: Node) -> Node | None:
    left, right, out = parse(node.attrs["subscripts"])
    letters, operands, changed = [left, right], list(node.inputs), False
    for position, operand in enumerate(node.inputs):
        if operand.op is PERMUTE:
            back = inverse(operand.attrs["axes"])
            letters[position] = "".join(letters[position][axis] for axis in back)
            operands[position] = operand.inputs[0]
            changed = True
    if not changed:
        return None
    return contract(letters[0], operands[0], letters[1], operands[1], out)


@rule("transpose of a contraction -> its subscripts", "moves nothing", "permute_dims",
      example=lambda x, y: permute(contract("ji", x, "jk", y, "ik"), [1, 0]))  # fmt: skip
def _permuted_result(node: Node) -> Node | None:
    (source,) = node.inputs
    if source.op.name != "contract":
        return None
    left, right, out = parse(source.attrs["subscripts"])
    moved = "".join(out[axis] for axis in node.attrs["axes"])
    return contract(left, source.inputs[0], right, source.inputs[1], moved)
