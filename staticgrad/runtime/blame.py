"""What is said of a node that made NaN or inf: formula, line, and the numbers that went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import concrete
from staticgrad.graph.expression import Expression
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.contraction import Contract, parse
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.movement import BROADCAST, Reshape
from staticgrad.runtime.nonfinite import Cause, Trace
from staticgrad.show.names import Names, describe
from staticgrad.show.plain import plain
from staticgrad.show.trees import expression_of, symbol_of

#: results and intermediate values that are named on the way from a cause to a result
LONGEST_PATH = 6
#: elements of a leaf that are listed beside the first
LISTED = 4
#: a formula of several operations is written out up to so many characters
LONGEST_FORMULA = 60


class NonFiniteError(FloatingPointError):
    """NaN or inf in a call of a function that was compiled with ``debug``. Nothing was changed.

    Attributes:
        node: what made it, or the input, parameter or constant that held it.
        name: of the node, in the user's names. formula: what it computes; empty for a leaf.
        position: of the element. value: the element, NaN or an infinity.
        operands: the numbers or arrays it is computed from, by how they are written: ``"x[3, 1]"``.
        origin: the user's line, or None.
    """

    def __init__(
        self, message: str, node: Node, name: str, formula: str, position: tuple[int, ...],
        value: float, operands: Mapping[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.node, self.name, self.formula, self.position = node, name, formula, position
        self.value, self.operands, self.origin = value, dict(operands), node.origin

    def __reduce__(self) -> tuple[Any, ...]:
        # nodes stay in their process; the message is what another one can use
        return FloatingPointError, (str(self),)


class Reporter:
    """Describes nodes of a function's graph under the names that its formulas have."""

    def __init__(self, function: str, order: Sequence[Node], updates: Mapping[Node, str]) -> None:
        self.function, self.updates = function, updates
        self.names = Names(order)
        for node in order:
            if not is_hidden(node):
                self.names[node]  # in the order of the graph, whichever is asked for first

    def error(self, cause: Cause, trace: Trace) -> NonFiniteError:
        """The error that tells where NaN or inf comes from."""
        node, position = cause.node, cause.position
        name, text = self.names[node], formula(node, self.names)
        value = trace.values[node][position]
        wrong = ~np.isfinite(trace.values[node])
        operands = self.operands(node, position, trace)
        kind = "nan" if np.isnan(value) else "inf"
        if node.inputs:
            head = f"{self.function}: {name} = {text} makes {kind}"
        else:
            head = f"{self.function}: {self._leaf(node)} holds {kind}"
        lines = [head, f"  {at(name, position)} = {value}{count(wrong)}"]
        lines += self._numbers(node, operands)
        if not node.inputs:
            lines += also(name, position, wrong)
        lines += self._whereabouts(node)
        if cause.infinity is not None:
            lines += self._infinity(cause.infinity, trace)
        if cause.path[-1] in set(trace.graph.roots):
            lines += self._reached(cause.path)
        return NonFiniteError(
            "\n".join(lines), node, name, text if node.inputs else "", position, float(value), operands
        )

    def _whereabouts(self, node: Node) -> list[str]:
        """What the node is to the model, and the user's line."""
        lines = []
        primal = node.adjoint_of
        if primal is not None:
            whole = "the adjoint of" if node.role == "adjoint" else "part of the pullback of"
            lines.append(f"  {whole} {primal.name or written_out(primal)}")
        if node.origin is not None:
            if node.origin.scope:
                lines.append(f"  in {node.origin.scope}")
            lines.append(f"  {node.origin.file}:{node.origin.line}")
            if node.origin.text:
                lines.append(f"    {node.origin.text}")
        return lines

    def _infinity(self, cause: Cause, trace: Trace) -> list[str]:
        node, position = cause.node, cause.position
        name, value = self.names[node], trace.values[node][position]
        if not node.inputs:
            element = f": {at(name, position)} = {value}" if position else ""
            return [f"  the infinity is given, by {self._leaf(node)}{element}"]
        lines = [f"  the infinity comes from {name} = {formula(node, self.names)}",
                 f"  {at(name, position)} = {value}"]  # fmt: skip
        lines += self._numbers(node, self.operands(node, position, trace))
        return lines + self._whereabouts(node)

    def _reached(self, path: Sequence[Node]) -> list[str]:
        """The way to the result, in names."""
        passed = [self.names[node] for node in path[1:-1] if not is_hidden(node)]
        if len(passed) > LONGEST_PATH:
            half = LONGEST_PATH // 2
            passed = [*passed[:half], "...", *passed[-half:]]
        result = self.updates.get(path[-1], f"output {self.names[path[-1]]}")
        return [f"  it reaches {' -> '.join([*passed, result])}"]

    def _leaf(self, node: Node) -> str:
        """A leaf as it is called to the user."""
        if isinstance(node, Parameter):
            return f"{'parameter' if node.requires_grad else 'state'} {self.names[node]}"
        if node.op.name == "placeholder":
            return f"input {self.names[node]}"
        return f"the constant {formula(node, self.names)}"

    def _numbers(self, node: Node, operands: Mapping[str, Any]) -> list[str]:
        """The numbers that went in; with a formula for what the user gave no name."""
        unnamed = {self.names[n]: n for n in node.inputs if n.name is None and n.inputs}
        lines = []
        for label, number in operands.items():
            name = label.split("[")[0]
            told = f"    where {name} = {formula(unnamed[name], self.names)}" if name in unnamed else ""
            lines.append(f"    {label} = {summary(np.asarray(number))}{told}")
        return lines

    def operands(
        self, node: Node, position: tuple[int, ...], trace: Trace
    ) -> dict[str, Any]:
        """The numbers that an element is computed from, by what they are called."""
        found: dict[str, Any] = {}
        for source, place in zip(node.inputs, read_at(node, position), strict=True):
            shown, index = source, place
            if index is not None and not any(isinstance(item, slice) for item in index):
                shown, index = behind(source, index, trace.sizes)
            if is_hidden(shown) and not shown.shape:
                continue  # a number that the formula shows
            name = self.names[shown] if not is_hidden(shown) else formula(shown, self.names)
            value = trace.values[shown]
            if index is None:
                found[name] = value
            else:
                found[at(name, index)] = value[index]
        return found


def is_hidden(node: Node) -> bool:
    """Whether formulas show what a node repeats, reshapes or holds in its place."""
    if node.name is not None:
        return False
    moves = isinstance(node.op, Reshape) and node.op.moves_units_only(node)
    return node.op is BROADCAST or moves or node.op.name in ("constant", "size")


def formula(node: Node, names: Mapping[Node, str]) -> str:
    """What a node computes, over the names of its inputs."""

    def expression(source: Node) -> Expression:
        if not is_hidden(source):
            return symbol_of(source, names)
        return source.op.express(source, [expression(item) for item in source.inputs])

    return plain(node.op.express(node, [expression(source) for source in node.inputs]))


def written_out(node: Node) -> str:
    """What a node computes of what has a name; of long formulas only the last operation."""
    named = {item: item.name for item in topological([node]) if item.name and item is not node}
    text = plain(expression_of(node, named))
    if len(text) <= LONGEST_FORMULA:
        return text
    return formula(node, {source: describe(source, {}) for source in topological([node])})


def read_at(node: Node, position: tuple[int, ...]) -> list[tuple[Any, ...] | None]:
    """For each input, the elements that one of the result is computed from; None where that is not
    told by the op."""
    everything = slice(None)
    if isinstance(node.op, Elementwise):
        return [position for _ in node.inputs]
    if isinstance(node.op, Contract):
        *operands, out = parse(node.attrs["subscripts"])
        places = dict(zip(out, position, strict=True))
        return [tuple(places.get(letter, everything) for letter in item) for item in operands]
    axes = node.attrs.get("axes")
    if axes is None or len(node.inputs) != 1:
        return [None] * len(node.inputs)
    rank = node.inputs[0].ndim
    kept = position if node.ndim == rank else None
    rest = iter(position)
    place = tuple(
        everything if axis in axes else kept[axis] if kept is not None else next(rest)
        for axis in range(rank)
    )
    return [place]


def behind(
    node: Node, position: tuple[int, ...], sizes: Mapping[Any, int]
) -> tuple[Node, tuple[int, ...]]:
    """The node that hidden ones repeat, reshape or cast, and the element in question."""
    while node.inputs and (is_hidden(node) or (node.op.name == "astype" and node.name is None)):
        (source,) = node.inputs
        shape = concrete(source.shape, sizes)
        if node.op is BROADCAST:
            tail = position[node.ndim - source.ndim :]
            position = tuple(
                0 if dim == 1 else item for dim, item in zip(shape, tail, strict=True)
            )
        elif isinstance(node.op, Reshape):
            flat = np.ravel_multi_index(position, concrete(node.shape, sizes)) if position else 0
            position = tuple(int(item) for item in np.unravel_index(flat, shape))
        node = source
    return node, position


def at(name: str, position: Sequence[Any]) -> str:
    """An element, or a part, as it is written."""
    if not position:
        return name
    items = ", ".join(":" if isinstance(item, slice) else str(item) for item in position)
    return f"{name}[{items}]"


def also(name: str, position: Sequence[int], wrong: np.ndarray) -> list[str]:
    """Further elements of a leaf that are not finite, as far as a line can tell."""
    others = [tuple(place) for place in np.argwhere(wrong).tolist() if tuple(place) != position]
    if not others:
        return []
    text = ", ".join(at(name, place) for place in others[:LISTED])
    more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
    return [f"    not finite either: {text}{more}"]


def count(wrong: np.ndarray) -> str:
    return "" if wrong.size == 1 else f"  ({wrong.sum()} of {wrong.size} elements are not finite)"


def summary(value: np.ndarray) -> str:
    """A few numbers in full; of many some, the smallest and the largest."""
    if value.ndim == 0:
        return str(value)
    if value.size <= 6:
        return np.array2string(value, precision=6, separator=", ")
    text = np.array2string(value.reshape(-1), precision=6, separator=", ", threshold=4, edgeitems=2)
    if value.dtype.kind != "f":
        return text
    finite = value[np.isfinite(value)]
    if not finite.size:
        return text
    extremes = f"{finite.min():.6g} to {finite.max():.6g}"
    return f"{text}, {'finite ones ' if finite.size < value.size else ''}from {extremes}"


__all__ = ["NonFiniteError", "Reporter"]
