"""Random numbers inside a graph: a function of a seed, a counter and the position.

Nothing is drawn in sequence, so that elements can be computed in any order, in fused loops, and again
where that is cheaper than to store them; and the same state gives the same bits in both modes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import canonical
from staticgrad.graph.expression import Call, Expression
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node, Op, TensorType, make_node
from staticgrad.ops.lowering import ATOM, Index, Reader, Scalar
from staticgrad.ops.table import register

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Uniform(Op):
    """Numbers in [0, 1) in the shape and dtype of the second input, from the state in the first.

    The state holds a seed and a count of draws. ``draw`` tells the draws of one graph apart: in the
    order of declaration, each counts from the state's number on.
    """

    flops = 12

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return inputs[1]

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return [None, None]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        state, like = arrays
        return uniform_numbers(int(state[0]), int(state[1]) + attrs["draw"], like.shape, like.dtype)

    def lower(self, node: Node, index: Index, reader: Reader) -> Scalar:
        state = node.inputs[0]
        seed, count = reader.read(state, (0,))[0], reader.read(state, (1,))[0]
        place: Any = 0
        for position, extent in zip(index, node.shape, strict=True):
            place = canonical(place * extent + position)
        number = f"{count} + {node.attrs['draw']}" if node.attrs["draw"] else count
        name = "uniform32" if node.dtype == np.float32 else "uniform64"
        return reader.call(name, [seed, number, reader.integer(place)[0]]), ATOM

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        draw = node.attrs["draw"]
        return Call("uniform", (arguments[0],), distinct=draw, rank=node.ndim)


UNIFORM = register(Uniform("uniform"))
_sites = itertools.count()


def mix(bits: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators" (2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def uniform_numbers(seed: int, draw: int, shape: Any, dtype: Any) -> np.ndarray:
    """The numbers of one draw: SplitMix64 started at a key made of seed and draw."""
    with np.errstate(over="ignore"):
        key = mix(np.asarray(np.int64(seed).view(np.uint64) + _GOLDEN * np.uint64(draw + 1)))
        places = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
        bits = mix(key + _GOLDEN * places).reshape(shape)
    if dtype == np.float32:
        return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform_like(x: Node, state: Parameter) -> Node:
    """Numbers in [0, 1) in the shape and dtype of ``x``: (seed, count) of ``state`` say which.

    In a static graph, a compiled call counts its draws when it is done. An eager tensor draws at
    once, and the state goes on.
    """
    if not x.is_eager:
        return make_node(UNIFORM, [state, x], {"draw": next(_sites)})
    result = make_node(UNIFORM, [state, x], {"draw": 0})
    state.value[1] += 1
    return result


def draw_numbers(nodes: Iterable[Node]) -> dict[Node, int]:
    """Which draw from its state each node is, in the order of declaration."""
    draws = sorted(
        (node for node in nodes if node.op is UNIFORM), key=lambda node: node.attrs["draw"]
    )
    sites: dict[Node, list[int]] = {}
    numbers = {}
    for node in draws:
        known = sites.setdefault(node.inputs[0], [])
        if node.attrs["draw"] not in known:
            known.append(node.attrs["draw"])
        numbers[node] = known.index(node.attrs["draw"])
    return numbers
