"""A graph run op by op, again and again, by functions that stand for its nodes: the eager way of a
model that was declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from staticgrad.graph.leaves import PLACEHOLDER
from staticgrad.graph.node import Node
from staticgrad.ops.custom import CUSTOM

#: a function for a node, and the nodes whose values it takes
Translation = tuple[Callable[..., Any], Sequence[Node]]


class Replay:
    """The nodes that ``roots`` need, in order, each with its function.

    Args:
        roots: what is computed. leaves: the nodes whose values a call is given.
        constants: values that never change.
        translate: the function of a node that is neither. It is called once: what depends on constants
            alone is computed then.

    Values are let go after their last use, as variables of a function would be.
    """

    def __init__(
        self,
        roots: Sequence[Node],
        leaves: Sequence[Node],
        constants: Mapping[Node, Any],
        translate: Callable[[Node], Translation],
    ) -> None:
        self._known = dict(constants)
        given = {leaf: position for position, leaf in enumerate(leaves)}
        translations: dict[Node, Translation] = {}
        order: list[Node] = []
        stack = [(root, False) for root in reversed(roots)]
        while stack:
            node, ready = stack.pop()
            if ready:
                function, sources = translations[node]
                if all(source in self._known for source in sources) and node.op.name != "uniform":
                    self._known[node] = function(*(self._known[source] for source in sources))
                else:
                    order.append(node)
            elif node not in translations and node not in given and node not in self._known:
                translations[node] = translate(node)
                stack.append((node, True))
                stack += [(source, False) for source in reversed(translations[node][1])]
        slots = {**given}
        self._start: list[Any] = [None] * len(leaves)
        for node, value in self._known.items():
            slots[node] = len(self._start)
            self._start.append(value)
        for node in order:
            slots[node] = len(self._start)
            self._start.append(None)
        last: dict[Node, Node] = {s: node for node in order for s in translations[node][1]}
        free: dict[Node, list[int]] = {}
        kept = {*roots, *given, *self._known}
        for source, node in last.items():
            if source not in kept:
                free.setdefault(node, []).append(slots[source])
        self._steps = [
            (translations[node][0], [slots[s] for s in translations[node][1]], slots[node],
             free.get(node, []))
            for node in order
        ]  # fmt: skip
        self._roots = [slots[root] for root in roots]

    def __call__(self, leaves: Sequence[Any]) -> list[Any]:
        """The values of the roots."""
        values = self._start.copy()
        values[: len(leaves)] = leaves
        for function, sources, slot, free in self._steps:
            values[slot] = function(*[values[source] for source in sources])
            for place in free:
                values[place] = None
        return [values[root] for root in self._roots]


class Pullback:
    """The pullback of a ``custom_gradient`` node as a graph of its own.

    The user's function is called once, with a placeholder for the adjoint; what it takes from the
    graph around it is given to it at each call.

    Attributes:
        adjoint: the placeholder. captured: the nodes of the graph around that the pullback uses.
        adjoints: of the node's arguments, None where nothing flows back.
    """

    def __init__(self, node: Node, around: set[Node]) -> None:
        self.adjoint = Node(PLACEHOLDER, (), {}, node.type, "adjoint")
        self.adjoints = list(node.op.pullback(node, self.adjoint))[1:]
        self.captured: list[Node] = []
        seen: set[Node] = {self.adjoint}
        stack = [item for item in self.adjoints if item is not None]
        while stack:
            item = stack.pop()
            if item in seen:
                continue
            seen.add(item)
            if item in around:
                self.captured.append(item)
            else:
                stack += item.inputs

    @property
    def roots(self) -> list[Node]:
        return [item for item in self.adjoints if item is not None]

    @property
    def sources(self) -> list[Node]:
        """The nodes whose values are those of ``captured``: a result that was saved is what the user's
        function has computed, before it got its derivative."""
        return [item.inputs[0] if item.op is CUSTOM else item for item in self.captured]

    def spread(self, values: Sequence[Any]) -> list[Any]:
        """An entry for each argument, of values of ``roots``."""
        given = iter(values)
        return [None if item is None else next(given) for item in self.adjoints]
