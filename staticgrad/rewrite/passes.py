"""The graph passes: plain functions from a graph to a graph."""

from __future__ import annotations

import numpy as np

from staticgrad.graph.leaves import constant
from staticgrad.graph.node import Node, rewriting
from staticgrad.graph.traverse import inherit, interning_key, take_role, transform
from staticgrad.ops import scalar
from staticgrad.ops.composite import Composite
from staticgrad.ops.convert import broadcast
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.known import scalar_value
from staticgrad.ops.movement import permute
from staticgrad.ops.random_numbers import UNIFORM, draw_numbers
from staticgrad.ops.reduction import SUM, reduce_sum
from staticgrad.ops.runs import by_runs
from staticgrad.rewrite.gemm import lower_contraction
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.rules import fire
from staticgrad.rewrite.simplify import SIMPLIFY
from staticgrad.rewrite.stabilise import STABILISE

COMMUTATIVE = frozenset({"add", "multiply", "equal", "not_equal", "logical_and", "logical_or"})
#: constants larger than this are computed at the call instead of being stored in the program
LARGEST_FOLDED = 1_000_000


def merge_common_subexpressions(graph: Graph) -> Graph:
    """Compute equal expressions once. A name that the user gave survives."""
    known: dict[tuple, Node] = {}

    def visit(node: Node) -> Node:
        key = interning_key(node)
        if node.op.name in COMMUTATIVE:
            key = (*key[:-1], tuple(sorted(key[-1])))
        found = known.setdefault(key, node)
        if found is not node:
            fire("equal expressions merged")
        if found is not node and found.inputs:
            if found.name is None and node.name is not None:
                found.name = node.name
            if found.role is None and node.role is not None:
                take_role(found, node)
            elif found.adjoint_of is not None and node.adjoint_of is None:
                # needed by the forward pass: that is where it is computed
                found.adjoint_of, found.origin, found.role = None, node.origin, None
        return found

    return graph.replace(transform(graph.roots, visit))


def fold_constants(graph: Graph) -> Graph:
    """Compute now what depends on constants alone. A constant spread over an array stays a number
    until it meets an array."""

    def visit(node: Node) -> Node:
        if not node.inputs:
            return node
        if not all(is_constant(source) for source in node.inputs) and not (
            # the same number everywhere, whatever the shape
            isinstance(node.op, Elementwise)
            and all(scalar_value(source) is not None for source in node.inputs)
        ):
            return node
        if node.op.name in ("broadcast_to", "gather", "scatter_add"):
            return node
        numbers = [scalar_value(source) for source in node.inputs]
        if isinstance(node.op, Elementwise) and not any(number is None for number in numbers):
            with np.errstate(all="ignore"):
                value = node.op.execute([np.asarray(number) for number in numbers], node.attrs)
            fire("numbers computed")
            return broadcast(constant(np.asarray(value, dtype=node.dtype)), node.shape)
        if scalar_value(node) is not None:
            fire("numbers computed")
            return broadcast(constant(np.asarray(numbers[0], node.dtype)), node.shape)
        if any(not isinstance(dim, int) for dim in node.shape):
            return node
        if int(np.prod(node.shape)) > LARGEST_FOLDED:
            return node
        with np.errstate(all="ignore"):
            arrays = [constant_value(source) for source in node.inputs]
            value = np.asarray(node.op.execute(arrays, node.attrs), dtype=node.dtype)
        fire("constant arrays computed")
        return constant(value, name=node.name)

    return graph.replace(transform(graph.roots, visit))


def is_constant(node: Node) -> bool:
    """Whether a node is a constant, or one that is repeated along axes of known size."""
    if node.op.name == "broadcast_to":
        return is_constant(node.inputs[0]) and all(isinstance(dim, int) for dim in node.shape)
    return node.op.name == "constant"


def constant_value(node: Node) -> np.ndarray:
    if node.op.name == "broadcast_to":
        array = constant_value(node.inputs[0])
        return np.asarray(node.op.execute([array], node.attrs))
    return node.attrs["value"]


def simplify(graph: Graph) -> Graph:
    """Algebra that is safe in floating point."""
    return graph.replace(SIMPLIFY.apply(graph.roots))


def stabilise(graph: Graph) -> Graph:
    """Forms that neither overflow nor cancel."""
    return graph.replace(STABILISE.apply(graph.roots))


def drop_stop_gradients(graph: Graph) -> Graph:
    """After derivation, stop_gradient is the identity, and so is a custom gradient."""

    def visit(node: Node) -> Node:
        if node.op.name not in ("stop_gradient", "custom_gradient"):
            return node
        fire(f"{node.op.name} dropped")
        return node.inputs[0]

    return graph.replace(transform(graph.roots, visit))


def number_draws(graph: Graph) -> Graph:
    """Number the draws of random numbers from each state, in the order of their declaration."""
    numbers = draw_numbers(graph.nodes())
    if not numbers:
        return graph
    by_site = {
        (id(node.inputs[0]), node.attrs["draw"]): number for node, number in numbers.items()
    }

    def visit(node: Node) -> Node:
        if node.op is not UNIFORM:
            return node
        fire("draws numbered")
        attrs = {"draw": by_site[id(node.inputs[0]), node.attrs["draw"]]}
        return inherit(Node(node.op, node.inputs, attrs, node.type, node.name), node)

    return graph.replace(transform(graph.roots, visit))


def expand_composites(graph: Graph) -> Graph:
    """Write composite ops, and elementwise ops without a function of their own, in primitives."""

    def visit(node: Node) -> Node:
        replacement = _expanded(node)
        if replacement is None:
            return node
        fire(f"{node.op.name} written out")
        (replacement,) = transform([replacement], visit, keep=node.inputs)
        return inherit(replacement, node) if replacement.serial > node.serial else replacement

    return graph.replace(transform(graph.roots, visit))


def _expanded(node: Node) -> Node | None:
    op = node.op
    written_out = isinstance(op, Composite) or (isinstance(op, Elementwise) and not op.primitive)
    if not written_out and op.name not in ("relu", "clip"):
        return None
    with rewriting(node):
        if isinstance(op, Composite):
            return op.expand(node)
        if op.name == "relu":
            return scalar.maximum(node.inputs[0], 0.0 if node.type.is_float else 0)
        if op.name == "clip":
            value, low, high = node.inputs
            return scalar.minimum(scalar.maximum(value, low), high)
        return op.expand(node)  # type: ignore[attr-defined]


def split_sums(graph: Graph) -> Graph:
    """Sums over outer and over innermost axes as a sum of sums, each over its innermost axes: the
    first runs over memory, and loops for the second, which cannot be shared, stay small."""

    def visit(node: Node) -> Node:
        if node.op is not SUM or not node.type.is_float:
            return node
        (source,), axes = node.inputs, node.attrs["axes"]
        inner = [axis for axis in axes if set(range(axis, source.ndim)) <= set(axes)]
        outer = [axis for axis in axes if axis not in inner]
        if not inner or not outer:
            return node
        fire("sums split")
        with rewriting(node):
            sums = reduce_sum(source, inner)
            kept = [axis for axis in range(sums.ndim) if axis not in outer]
            last = range(len(kept), sums.ndim)
            return inherit(reduce_sum(permute(sums, [*kept, *outer]), tuple(last)), node)

    return graph.replace(transform(graph.roots, visit))


def sum_runs(graph: Graph) -> Graph:
    """Scatter-adds with known indices that come in runs by a routine."""

    def visit(node: Node) -> Node:
        with rewriting(node):
            replacement = by_runs(node)
        if replacement is None:
            return node
        fire("scatter_add by runs")
        return inherit(replacement, node)

    return graph.replace(transform(graph.roots, visit))


def lower_contractions(graph: Graph) -> Graph:
    """Contractions as matrix products, or as loops where those are too small."""

    def visit(node: Node) -> Node:
        if node.op.name != "contract":
            return node
        with rewriting(node):
            return inherit(lower_contraction(node), node)

    return graph.replace(transform(graph.roots, visit))
