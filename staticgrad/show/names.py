"""Names for printing and for generated code: the user's where there are any.

Names depend on the graph alone, never on addresses or on what was made before, so that the same
model gives the same code.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection, Iterable, Sequence

from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological, users

#: a derived name longer than this is cut down to the op's
LONGEST_NAME = 24
#: what a value is called after, where the op's own name says little
JOINING = frozenset({"contract", "gemm", "add", "subtract", "multiply", "divide"})
INVISIBLE = frozenset({"broadcast_to", "reshape", "astype", "stop_gradient"})
OP_NAMES = {"contract": "product", "gemm": "product", "astype": "cast", "slice": "part"}


def name_results(roots: Iterable[Node]) -> None:
    """Name what the user's statements assign: in ``hidden = sg.tanh(x @ W)``, the tanh.

    The result of a statement is the node that nothing else on its line takes in. Names already
    given stay.
    """
    order = topological(roots)
    takers = users(order)
    for node in order:
        if node.name is not None or node.adjoint_of is not None or node.origin is None:
            continue
        if node.op.name in ("constant", "size", "broadcast_to"):
            continue
        if any(taker.origin == node.origin for taker in takers[node]):
            continue
        node.name = node.origin.target


def assign_names(nodes: Sequence[Node], reserved: Collection[str] = ()) -> dict[Node, str]:
    """A unique Python identifier for each node; ``nodes`` are in topological order.

    In order of preference: the name given or inferred; ``d_`` and the primal's name for an adjoint;
    the op's name with that of its first named input. Clashes are numbered.
    """
    taken = set(reserved)
    names: dict[Node, str] = {}
    own: list[Node] = []
    derived: list[Node] = []
    for node in nodes:
        (own if node.name is not None else derived).append(node)
    for node in own:
        names[node] = _unique(identifier(node.name or ""), taken)
    for node in derived:
        names[node] = _unique(_derived(node, names), taken)
    return names


def adjoint_name(node: Node) -> str | None:
    """``d_W`` for the adjoint of ``W``; ``d_d_W`` for that of an adjoint."""
    primal = node.adjoint_of
    if node.role != "adjoint" or primal is None:
        return None
    prefix = "d_"
    while primal.name is None and primal.role == "adjoint" and primal.adjoint_of is not None:
        prefix, primal = prefix + "d_", primal.adjoint_of
    return prefix + describe(primal, {})


def describe(node: Node, names: dict[Node, str], depth: int = 4) -> str:
    """What a node may be called: its name, or the op's with what it is applied to."""
    if node in names:
        return names[node]
    if node.name is not None:
        return node.name
    base = OP_NAMES.get(node.op.name, node.op.name)
    if not depth or not node.inputs:
        return base
    parts = [source for source in node.inputs if _has_words(source)]
    if node.op.name in INVISIBLE and parts:
        return describe(parts[0], names, depth)
    if node.op.name not in JOINING:
        parts = parts[:1]
    words = [describe(part, names, depth - 1) for part in parts]
    if node.op.name not in JOINING:
        words = [base, *words]
    joined = "_".join(words)
    if words and len(joined) <= LONGEST_NAME:
        return joined
    return f"{base}_value" if hasattr(builtins, base) else base


def _has_words(node: Node) -> bool:
    """Whether there is anything to say of an input: plain numbers and sizes have no names."""
    while node.op.name in INVISIBLE:
        node = node.inputs[0]
    return node.name is not None or bool(node.inputs) or node.op.name == "parameter"


def _derived(node: Node, names: dict[Node, str]) -> str:
    adjoint = adjoint_name(node)
    if adjoint is not None:
        return identifier(adjoint)
    return identifier(describe(node, names))


def identifier(name: str) -> str:
    """``name`` as a Python identifier: dots of a module path become underscores."""
    cleaned = re.sub(r"\W", "_", name)
    if not cleaned or cleaned[0].isdigit():
        cleaned = f"_{cleaned}"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned


def _unique(name: str, taken: set[str]) -> str:
    result, number = name, 2
    while result in taken:
        result, number = f"{name}_{number}", number + 1
    taken.add(result)
    return result
