"""From nodes to expressions, and which nodes get a line of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from staticgrad.graph.expression import Expression, Infix, Symbol, Transpose
from staticgrad.graph.leaves import PLACEHOLDER
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological, users, with_inputs
from staticgrad.ops.table import OPS
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.passes import fold_constants, simplify
from staticgrad.show.names import (
    NOUNS,
    PLAIN_NAMES,
    Names,
    describe,
    identifier,
    name_results,
    primal_of,
)

#: letters for parts that nobody has named
LETTERS = "uvqacghkmprstz"
JOINED = frozenset({"add", "multiply", "divide", "subtract", "negative"})
#: words in a name which tell that it spells out a formula
OPERATIONS = frozenset([*OPS, *PLAIN_NAMES.values(), *NOUNS.values(), "plus", "minus", "over"])
#: what is used more than once gets a line of its own from this weight on
SHARED_WEIGHT = 4
#: a derivative with respect to something that has a name
DERIVATIVE_WEIGHT = 2
#: and so does everything that has become longer than one reads at a glance
LONGEST_WEIGHT = 20
#: and a sum, which is read term by term
LONGEST_SUM = 60
#: how far a value without a name may be from named ones to be written out
DEEPEST = 4


@dataclass(frozen=True)
class Line:
    """``left = right``, which is what ``node`` computes."""

    node: Node
    left: Symbol
    right: Expression


def lines_of(roots: Sequence[Node]) -> list[Line]:
    """What ``roots`` compute, a line for each of them and for what they share, inputs before users.

    Gradients are tidied first: constants are folded, products by one and double transposes left out.
    """
    called = tidied(roots)
    order, asked = topological(called), set(called)
    chosen = _chosen(order, asked)
    names = _Letters([node for node in order if node in chosen or not node.inputs])
    built: dict[Node, Expression] = {}
    known: dict[Expression, Symbol] = {}
    lines = []
    for node in order:
        if not node.inputs and node.op.name in ("placeholder", "parameter"):
            built[node] = left = symbol_of(node, names)
            if node in asked:
                lines.append(Line(node, left, left))
            continue
        right = node.op.express(node, [built[source] for source in node.inputs])
        # what is computed twice is told once
        built[node] = known.get(right, right)
        if node not in chosen or (built[node] is not right and node not in asked):
            continue
        left = symbol_of(node, names)
        if node in asked and called[node] is not node and left.variable is None and not node.name:
            left = symbol_of(called[node], Names([called[node]]))
        lines.append(Line(node, left, right))
        if node not in asked or node.name is not None:
            built[node] = known[right] = left
    return lines


def tidied(roots: Sequence[Node]) -> dict[Node, Node]:
    """Roots without what derivation leaves behind, products by one and double transposes; each with
    the root it stands for, whose name it may not have."""
    name_results(roots)
    if all(node.adjoint_of is None for node in topological(roots)):
        return dict(zip(roots, roots, strict=True))
    apart = [node for node in topological(roots) if node.assigned and node not in set(roots)]
    if apart:
        # a number says more by itself, in what it is used for, than under a name
        alone = _simplified(_cut(apart, set(apart))[0])
        apart = [node for node, value in zip(apart, alone, strict=True) if not _is_number(value)]
    cut, stand_ins = _cut([*apart, *roots], set(apart))
    simple = _simplified(cut)
    known: dict[Node, Node] = {}
    for node, value in zip(apart, simple, strict=False):
        (known[stand_ins[node]],) = _with(known, [value])
    return dict(zip(_with(known, simple[len(apart) :]), roots, strict=True))


def _is_number(node: Node) -> bool:
    return all(source.op.name in ("constant", "broadcast_to") for source in topological([node]))


def _simplified(roots: Sequence[Node]) -> Sequence[Node]:
    graph = Graph((), tuple(roots))
    for step in (fold_constants, simplify):
        graph = step(graph)
    return graph.outputs


def _cut(roots: Sequence[Node], apart: set[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """The roots over inputs that stand for the nodes ``apart``, so that rules see no further: gradients
    that the user has in variables stay terms of their own. Also returns these inputs."""
    stand_ins: dict[Node, Node] = {}
    built: dict[Node, Node] = {}
    for node in topological(roots):
        sources = [stand_ins.get(source, built[source]) for source in node.inputs]
        built[node] = with_inputs(node, sources)
        if node in apart:
            stand_ins[node] = Node(PLACEHOLDER, (), {}, node.type, node.assigned)
    return [built[root] for root in roots], stand_ins


def _with(known: Mapping[Node, Node], roots: Sequence[Node]) -> list[Node]:
    """The roots over what ``known`` has in the place of some inputs."""
    built = dict(known)
    for node in topological(roots):
        if node not in built:
            built[node] = with_inputs(node, [built[source] for source in node.inputs])
    return [built[root] for root in roots]


def _chosen(order: Sequence[Node], roots: set[Node]) -> set[Node]:
    """The nodes that get a line of their own."""
    takers = users(order)
    built: dict[Node, Expression] = {}
    chosen: set[Node] = set()
    for node in order:
        expression = node.op.express(node, [built[source] for source in node.inputs])
        built[node] = expression
        if node in roots:
            chosen.add(node)
            continue
        if not node.inputs or isinstance(expression, Symbol):
            continue
        while isinstance(expression, Transpose):
            expression = expression.operand
        weight = expression.weight
        primal = primal_of(node) if node.role == "adjoint" else None
        if (
            node.name is not None
            or node.assigned is not None
            or (weight >= SHARED_WEIGHT and len(takers[node]) > 1)
            or (weight >= DERIVATIVE_WEIGHT and primal is not None and primal.name is not None)
            or _longest(expression) > LONGEST_WEIGHT
            or weight > LONGEST_SUM
        ):
            chosen.add(node)
            built[node] = Symbol(f"_{len(chosen)}", rank=node.ndim)
    return chosen


def _longest(expression: Expression) -> int:
    """The weight of an expression; of a sum that of its longest term, since those are read one by
    one."""
    if isinstance(expression, Infix) and expression.operator in "+-":
        return max(_longest(expression.left), _longest(expression.right))
    return expression.weight


class _Letters(Names):
    """Names in which what would be called after several operations gets a letter instead."""

    def __missing__(self, node: Node) -> str:
        named = node.role == "adjoint" or node.name is not None or not node.inputs
        first, *later = describe(node, self).split("_")
        if named or (later and not OPERATIONS & {*later, *([first] if first in JOINED else [])}):
            return super().__missing__(node)
        self[node] = next((c for c in LETTERS if c not in self._taken), None) or self._unique("u")
        self._taken.add(self[node])
        return self[node]


def expression_of(node: Node, names: Mapping[Node, str]) -> Expression:
    """What ``node`` computes, in terms of the nodes that ``names`` has; these are not written out."""
    built: dict[Node, Expression] = {}
    stack = [node]
    while stack:
        item = stack[-1]
        if item in built:
            stack.pop()
        elif item in names and item is not node:
            built[item] = symbol_of(item, names)
        elif missing := [source for source in item.inputs if source not in built]:
            stack += missing
        else:
            built[item] = item.op.express(item, [built[source] for source in item.inputs])
    return built[node]


def symbol_of(node: Node, names: Mapping[Node, str]) -> Symbol:
    """The name of a node; of a derivative also what it is the derivative of."""
    name = names[node]
    primal, output = primal_of(node), node.derivative_of
    if node.name is not None or node.role != "adjoint" or primal is None:
        return Symbol(name, node.name or "", rank=node.ndim)
    has_name = output is not None and output is not node and (output.name or output.role)
    if node.assigned is not None and not has_name:
        return Symbol(name, node.assigned, rank=node.ndim)
    known = _Described(names)
    return Symbol(
        name,
        variable=_variable(primal, known),
        output=symbol_of(output, known) if output is not None and has_name else None,
        rank=node.ndim,
    )


def _variable(primal: Node, names: _Described) -> Expression:
    """What is differentiated with respect to: a name, or something short without one."""
    if primal in names or primal.name is not None or primal.role is not None:
        return symbol_of(primal, names)
    expression = _short(primal, names, DEEPEST)
    if expression is not None and 0 < expression.weight <= SHARED_WEIGHT:
        return expression
    return symbol_of(primal, names)


def _short(node: Node, names: _Described, depth: int) -> Expression | None:
    """What a node is in terms of named ones, if these are near."""
    if node in names or node.name is not None:
        return symbol_of(node, names)
    parts = [_short(source, names, depth - 1) if depth else None for source in node.inputs]
    known = [part for part in parts if part is not None]
    return node.op.express(node, known) if len(known) == len(parts) else None


class _Described(dict[Node, str]):
    """The names of nodes, those that nobody has named included."""

    def __init__(self, names: Mapping[Node, str]) -> None:
        super().__init__(names)

    def __missing__(self, node: Node) -> str:
        return identifier(node.name or describe(node, dict(self)))
