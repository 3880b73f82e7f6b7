"""Names for printing and for generated code: the user's where there are any.

Names depend on the graph alone, never on addresses or on what was made before, so that the same
model gives the same code.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological, users

#: a derived name longer than this is cut down to the op's
LONGEST_NAME = 20
#: what a value is called after, where the op's own name says little
JOINING = frozenset({"contract", "gemm", "add", "subtract", "multiply", "divide"})
INVISIBLE = frozenset({"broadcast_to", "reshape", "astype", "stop_gradient"})
#: in the place of an op's name alone, which stands for the function
PLAIN_NAMES = {"sum": "total", "max": "largest", "min": "smallest", "prod": "product",
               "exp": "exponential", "log": "logarithm", "abs": "magnitude"}  # fmt: skip
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
        if any(
            taker.adjoint_of is None and taker.origin == node.origin for taker in takers[node]
        ):
            continue
        node.name = node.origin.target


class Names(dict[Node, str]):
    """A unique Python identifier for each node that is asked for.

    In order of preference: the name given or inferred, which are all taken first; ``d_`` and the
    primal's name for an adjoint; what the node computes. Clashes are numbered.
    """

    def __init__(self, nodes: Iterable[Node], reserved: Iterable[str] = ()) -> None:
        super().__init__()
        self._taken = set(reserved)
        for node in nodes:
            if node.name is not None:
                self[node] = self._unique(identifier(node.name))

    def __missing__(self, node: Node) -> str:
        base = adjoint_name(node) or describe(node, self)
        if base in self._taken:
            base = PLAIN_NAMES.get(base, base)
        self[node] = self._unique(identifier(base))
        return self[node]

    def _unique(self, name: str) -> str:
        result, number = name, 2
        while result in self._taken:
            result, number = f"{name}_{number}", number + 1
        self._taken.add(result)
        return result


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
    return PLAIN_NAMES.get(base, base)


def _has_words(node: Node) -> bool:
    """Whether there is anything to say of an input: plain numbers and sizes have no names."""
    while node.op.name in INVISIBLE:
        node = node.inputs[0]
    return node.name is not None or bool(node.inputs) or node.op.name == "parameter"


def identifier(name: str) -> str:
    """``name`` as a Python identifier: dots of a module path become underscores."""
    cleaned = re.sub(r"\W", "_", name)
    if not cleaned or cleaned[0].isdigit():
        cleaned = f"_{cleaned}"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned
