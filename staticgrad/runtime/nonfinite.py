"""Where a NaN or an infinity comes from: element by element, back to the op that made it.

Nothing needs to be known of an op for that. Whether an element of an input is to blame for an
element of the result is found out by computing the op again with other numbers in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.rewrite.graph import Graph
from staticgrad.runtime.interpreter import execute

Position = tuple[int, ...]
#: stands in for NaN and inf: within the domain of all functions, and no function overflows there
HARMLESS = 0.5
#: results that are traced back, outputs first; one is enough in most cases
TRACED = 4


@dataclass(frozen=True)
class Cause:
    """Where something that is not finite begins.

    Attributes:
        node: what makes it, or the leaf that held it. position: the element.
        path: the nodes that it goes through, from ``node`` to the result.
        infinity: for a NaN that is made of infinities: where those come from.
    """

    node: Node
    position: Position
    path: tuple[Node, ...]
    infinity: Cause | None = None


class Trace:
    """The values of all nodes of a call, and questions about them.

    ``order`` holds the nodes, inputs before users.
    """

    def __init__(
        self, graph: Graph, order: Sequence[Node], values: Mapping[Node, np.ndarray],
        sizes: Mapping[Any, int],
    ) -> None:  # fmt: skip
        self.graph, self.order, self.values, self.sizes = graph, order, values, sizes

    def bad_result(self, only_nan: bool) -> Cause | None:
        """The earliest cause of NaN or inf among the results; None where there is none.

        Infinities that derive from constants of the graph alone are meant, and do not count; with
        ``only_nan`` no infinities do.
        """
        found: list[Cause] = []
        for root in dict.fromkeys(self.graph.roots):
            value = self.values[root]
            if value.dtype.kind != "f" or np.isfinite(value).all():
                continue
            wrong = np.isnan(value)
            if not wrong.any() and not only_nan:
                wrong = np.isinf(value) & ~self.meant.get(root, np.False_)
            if wrong.any():
                found.append(self.cause(root, first(wrong)))
            if len(found) == TRACED:
                break
        place = {node: number for number, node in enumerate(self.order)}
        return min(found, key=lambda cause: place[cause.node], default=None)

    def cause(self, node: Node, position: Position) -> Cause:
        """Where the NaN or the infinity at an element of ``node`` begins."""
        path: list[Node] = []
        while True:
            path.insert(0, node)
            source, is_bad = self._source(node, position)
            if source is not None:
                node, position = source
                continue
            infinity = None
            if is_bad is np.isnan:
                blamed = self._blamed(node, position, np.isnan, np.isinf)
                infinity = None if blamed is None else self.cause(*blamed)
            return Cause(node, position, tuple(path), infinity)

    def _source(self, node: Node, position: Position) -> tuple[tuple[Node, Position] | None, Any]:
        is_bad = np.isnan if np.isnan(self.values[node][position]) else np.isinf
        return self._blamed(node, position, is_bad, is_bad), is_bad

    def _blamed(
        self, node: Node, position: Position, is_bad: Any, kind: Callable[[np.ndarray], Any]
    ) -> tuple[Node, Position] | None:
        """The element of an input without which the result at ``position`` would not be bad, among
        the elements of a ``kind``; None where there is none."""
        suspects = []
        for source in dict.fromkeys(node.inputs):
            value = self.values[source]
            if value.dtype.kind == "f":
                wrong = kind(value)
                meant = self.meant.get(source, np.False_)
                # what is meant comes last: the others suffice mostly
                suspects += [(False, source, at) for at in np.flatnonzero(wrong & ~meant)]
                suspects += [(True, source, at) for at in np.flatnonzero(wrong & meant)]
        suspects.sort(key=lambda suspect: suspect[0])

        def is_bad_with(count: int) -> bool:
            """Whether the first suspects are enough, while the others are harmless."""
            values = {source: self.values[source].copy() for source in node.inputs}
            for _, source, at in suspects[count:]:
                values[source].reshape(-1)[at] = HARMLESS
            return bool(is_bad(self.again(node, values)[position]))

        if not suspects or is_bad_with(0):
            return None
        low, high = 0, len(suspects)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_bad_with(middle) else (middle, high)
        _, source, at = suspects[high - 1]
        place = np.unravel_index(at, self.values[source].shape)
        return source, tuple(int(item) for item in place)

    def again(self, node: Node, values: Mapping[Node, np.ndarray]) -> np.ndarray:
        """The value of a node, computed from other values of its inputs."""
        return execute(node, [values[source] for source in node.inputs], self.sizes)

    def made(self, node: Node) -> np.ndarray:
        """The elements that a node makes NaN or infinite: from finite numbers, or NaN from others."""
        value = self.values[node]
        wrong = ~np.isfinite(value)
        inputs = {source: self.values[source] for source in node.inputs}
        if not wrong.any() or all(np.isfinite(v).all() for v in inputs.values()):
            return wrong
        finite = {source: without(v, ~np.isfinite(v)) for source, v in inputs.items()}
        numbers = {source: without(v, np.isnan(v)) for source, v in inputs.items()}
        new_nan = np.isnan(value) & np.isnan(self.again(node, numbers))
        return (wrong & ~np.isfinite(self.again(node, finite))) | new_nan

    @cached_property
    def meant(self) -> dict[Node, np.ndarray]:
        """The infinities that derive from constants of the graph alone, as masks by node."""
        masks: dict[Node, np.ndarray] = {}
        for node in self.order:
            value = self.values.get(node)
            if value is None or value.dtype.kind != "f":
                continue
            if node.op.name == "constant":
                mask = np.isinf(value)
            elif not any(source in masks for source in node.inputs) or not np.isinf(value).any():
                continue
            else:
                inputs = {source: self.values[source] for source in node.inputs}
                others = {
                    source: without(v, ~np.isfinite(v) & ~masks.get(source, np.False_))
                    for source, v in inputs.items()
                }
                mask = np.isinf(value) & np.isinf(self.again(node, others)) & ~self.made(node)
            if mask.any():
                masks[node] = mask
        return masks


def without(value: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """An array with harmless numbers in some places."""
    if value.dtype.kind != "f" or not wrong.any():
        return value
    return np.where(wrong, value.dtype.type(HARMLESS), value)


def first(mask: np.ndarray) -> Position:
    """The position of the first true element."""
    return tuple(int(item) for item in np.argwhere(mask)[0])


def is_given(node: Node) -> bool:
    """Whether a node holds what comes from outside: an input, a parameter."""
    return isinstance(node, Parameter) or node.op.name == "placeholder"


__all__ = ["Cause", "Trace", "first", "is_given"]
