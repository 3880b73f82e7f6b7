"""Which nodes of different stages are the same value, and which values are kin.

Passes rebuild nodes, but hand on where they come from: the ``Origin`` object of the operation that
the user wrote, and the primal whose pullback made them. From these a node gets a key that holds from
the declared graph to the generated code.

A *concept* is an operation as declared, or a leaf; what it is turned into, and what its pullback
makes, belongs to it. The *target* of an adjoint is the concept whose adjoint it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin

FORWARD, BACKWARD, UPDATE = 0, 1, 2
LEAVES = ("placeholder", "parameter")


@dataclass(eq=False)
class Value:
    """What the page tells of a value: its number, its name, its lane (``FORWARD``, ``BACKWARD``,
    ``UPDATE``), its concept, and the concept whose adjoint or new value it is (-1 for none)."""

    number: int
    name: str
    lane: int
    concept: int
    target: int
    type: str
    op: str
    origin: Origin | None


class Values:
    """The values of all stages of a function. ``names`` are those of the generated code."""

    def __init__(self, names: dict[Node, str]) -> None:
        self.all: list[Value] = []
        self._names = names
        self._numbers: dict[tuple, Value] = {}
        self._concepts: dict[tuple, int] = {}
        #: nodes are held, so that what their origins are told apart by stays valid
        self._held: dict[Node, Value] = {}

    def enter(self, nodes: Iterable[Node], late: set[Node], renew: dict[Node, Node]) -> None:
        """Take in the nodes of a stage. ``late`` are those which only updates need, ``renew`` says of
        new values which parameter takes them."""
        for node in nodes:
            if node not in self._held:
                self._held[node] = self._value(node, late, renew)

    def __getitem__(self, node: Node) -> Value:
        return self._held[node]

    def __contains__(self, node: Node) -> bool:
        return node in self._held

    def spoken(self, node: Node) -> str:
        """What to call a node in a text: its name, or that of what its operation is turned into, or
        of what its adjoint is named after."""
        value = self._held.get(node)
        if value is None or value.name:
            return (value.name if value else node.name) or node.op.name
        same = {
            other.name if other.lane == value.lane else other.name.removeprefix("d_")
            for other in self.all
            if other.name
            and (
                (other.lane == value.lane and other.concept == value.concept)
                or (
                    value.lane == FORWARD
                    and other.lane == BACKWARD
                    and other.target == value.concept
                )
            )
        }
        return same.pop() if len(same) == 1 else node.op.name

    def concept(self, node: Node) -> int:
        """The number of the operation or leaf that a node comes from."""
        return self._concepts.setdefault(_concept_key(node), len(self._concepts))

    def _value(self, node: Node, late: set[Node], renew: dict[Node, Node]) -> Value:
        target = -1
        if node in late:
            lane = UPDATE
            key: tuple = ("update", *_concept_key(node), node.op.name)
            if node in renew:
                target = self.concept(renew[node])
                key = ("new", target)
        elif node.adjoint_of is not None:
            lane = BACKWARD
            key = ("partial", *_concept_key(node), node.op.name, node.adjoint_of.name)
            if node.role == "adjoint":
                target = self.concept(node.adjoint_of)
                key = ("adjoint", target, _order(node))
        else:
            lane = FORWARD
            key = ("forward", *_concept_key(node), node.op.name)
        value = self._numbers.get(key)
        if value is None:
            value = Value(
                len(self.all), "", lane, self.concept(node), target, str(node.type), node.op.name,
                node.origin,
            )  # fmt: skip
            self._numbers[key] = value
            self.all.append(value)
        # the last stage tells best what a value is called
        if node in renew:
            value.name = f"new {self._names.get(renew[node]) or renew[node].name or 'value'}"
        else:
            value.name = self._names.get(node) or value.name or node.name or ""
        return value


def _concept_key(node: Node) -> tuple:
    if node.op.name in LEAVES or node.origin is None:
        return (id(node),)
    return (id(node.origin),)


def _order(node: Node) -> int:
    """1 for an adjoint, 2 for the adjoint of an adjoint."""
    order = 0
    while node.role == "adjoint" and node.adjoint_of is not None:
        order, node = order + 1, node.adjoint_of
    return order
