"""Names for printing and for generated code: the user's where there are any.

Names depend on the graph alone, never on addresses or on what was made before, so that the same
model gives the same code.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence

from staticgrad.graph.dims import format_dim
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import lend_role, topological, users
from staticgrad.ops.known import scalar_value

#: a derived name longer than this is cut down to the op's
LONGEST_NAME = 28
#: what a value is called after, where the op's own name says little
JOINING = {"contract": "", "gemm": "", "multiply": "", "add": "plus", "subtract": "minus",
           "divide": "over"}  # fmt: skip
#: what arithmetic gives, where there is no room to say of what
NOUNS = {"contract": "product", "gemm": "product", "multiply": "product", "add": "addition",
         "subtract": "difference", "divide": "ratio", "where": "choice"}  # fmt: skip
#: what a value of another dtype is called after
SHORT_TYPES = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "bool"}
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
    order = topological(_with_primals(roots))
    takers = users(order)
    for node in order:
        if node.name is not None or node.adjoint_of is not None or node.origin is None:
            continue
        if node.op.name in ("size", "broadcast_to") or (node.op.name == "constant" and not node.ndim):
            continue
        if any(
            taker.adjoint_of is None and taker.origin == node.origin for taker in takers[node]
        ):
            continue
        node.name = node.assigned or node.origin.target


def _with_primals(roots: Iterable[Node]) -> list[Node]:
    """The roots, and the primals of all adjoints below them: a gradient alone does not lead to the
    value it is the gradient of, which would be missing among what a statement made."""
    found = dict.fromkeys(roots)
    waiting = list(found)
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        waiting.extend(node.inputs)
        if node.adjoint_of is not None and node.adjoint_of not in seen:
            found[node.adjoint_of] = None
            waiting.append(node.adjoint_of)
    return list(found)


class Names(dict[Node, str]):
    """A unique Python identifier for each node that is asked for.

    In order of preference: the name given or inferred, which are all taken first, that of the variable
    in which the user keeps a gradient among them; ``d_`` and the primal's name for an adjoint; what the
    node computes. Clashes are numbered.
    """

    def __init__(self, nodes: Iterable[Node], reserved: Iterable[str] = ()) -> None:
        super().__init__()
        self._taken = set(reserved)
        nodes = list(nodes)
        self._standing_for = {node.declared: node for node in nodes}
        self._outputs = _outputs(nodes)
        # those of inputs and parameters are written by the user in so many words
        for node in sorted(nodes, key=lambda item: item.op.name not in ("placeholder", "parameter")):
            if node.name or node.assigned:
                self[node] = self._unique(identifier(node.name or node.assigned or ""))

    def __missing__(self, node: Node) -> str:
        base = adjoint_name(node, self) or describe(node, self)
        if base in self._taken:
            base = PLAIN_NAMES.get(base, base)
        self[node] = self._unique(identifier(base))
        return self[node]

    def of_declared(self, node: Node) -> str | None:
        """The name of what stands for a declared node, where it has one."""
        standing = self._standing_for.get(node.declared)
        if standing is None:
            return None
        return self[standing] if standing in self or standing.name or standing.assigned else None

    def has_derivatives_of_several(self, primal: Node) -> bool:
        """Whether more than one scalar is differentiated with respect to ``primal``."""
        return len(self._outputs.get(primal.declared, ())) > 1

    def _unique(self, name: str) -> str:
        result, number = name, 2
        while result in self._taken:
            result, number = f"{name}_{number}", number + 1
        self._taken.add(result)
        return result


def adjoint_name(node: Node, names: Names | None = None) -> str | None:
    """``d_W`` for the adjoint of ``W``, unless the user has it in a variable; ``d_d_W`` for that of an
    adjoint.

    ``d_loss_d_W`` where several scalars are differentiated; ``d2_loss_d_W2`` and ``d2_loss_d_W_d_b``
    for derivatives of a derivative.
    """
    primal = primal_of(node)
    if node.role != "adjoint" or primal is None:
        return None
    if node.assigned is not None:
        return node.assigned
    prefix = "d_"
    while not primal.name and not primal.assigned and primal.role == "adjoint":
        outer = primal_of(primal)
        if outer is None:
            break
        prefix, primal = prefix + "d_", outer
    known = names.of_declared(primal) if names is not None else None
    described = known or describe(primal, {})
    output = node.derivative_of
    if output is None or prefix != "d_":
        return prefix + described
    first, inner = primal_of(output), output.derivative_of
    if output.role == "adjoint" and output.name is None and first is not None and inner is not None:
        of_first = describe(first, {})
        below = f"{of_first}2" if of_first == described else f"{of_first}_d_{described}"
        return f"d2_{describe(inner, {})}_d_{below}"
    if names is not None and names.has_derivatives_of_several(primal):
        return f"d_{describe(output, {})}_d_{described}"
    return prefix + described


def _outputs(nodes: Iterable[Node]) -> dict[Node, set[Node]]:
    """The scalars that are differentiated with respect to each primal."""
    result: dict[Node, set[Node]] = {}
    for node in nodes:
        primal, output = primal_of(node), node.derivative_of
        if node.role == "adjoint" and primal is not None and output is not None:
            result.setdefault(primal.declared, set()).add(output.declared)
    return result


def primal_of(node: Node) -> Node | None:
    """What a node is the adjoint of: where there are several, one that the user has named."""
    primals = (node.adjoint_of, *node.adjoint_too_of)
    return next((p for p in primals if p is not None and p.name is not None), primals[0])


def name_sources(order: Sequence[Node]) -> None:
    """Where an adjoint is another node's values in another shape, that node takes its name."""
    takers = users(order)
    for node in reversed(order):
        if node.role != "adjoint" or node.name is not None or node.op.name != "reshape":
            continue
        (source,) = node.inputs
        if source.role is None and source.name is None and len(takers[source]) == 1:
            lend_role(source, node)


def describe(node: Node, names: dict[Node, str], depth: int = 4) -> str:
    """What a node may be called: its name, or the op's with what it is applied to."""
    if node in names:
        return names[node]
    if node.name or node.assigned:
        return node.name or node.assigned or ""
    base = OP_NAMES.get(node.op.name, node.op.name)
    if node.op.name == "size":
        return format_dim(node.attrs["dim"]) if str(node.attrs["dim"]).isidentifier() else base
    if not depth or not node.inputs:
        return base
    parts = [source for source in node.inputs if _has_words(source)]
    if node.op.name in INVISIBLE and parts:
        inner = describe(parts[0], names, depth)
        if node.op.name == "astype" and (parts[0].name or parts[0].op.name == "parameter"):
            return f"{inner}_{SHORT_TYPES[str(node.dtype)]}"
        return inner
    joining = JOINING.get(node.op.name)
    if joining is None:
        # what is done to a sum or a product of several things needs no list of them
        parts = parts[:1]
        if parts and parts[0] not in names and _joined_by(parts[0]):
            return PLAIN_NAMES.get(base) or f"{base}_{NOUNS[_joined_by(parts[0])]}"
    words = [describe(part, names, depth - 1) for part in parts]
    if joining in ("minus", "over") and len(words) == 2 and parts[1] not in names:
        # words have no parentheses
        inner = _joined_by(parts[1])
        words[1] = NOUNS[inner] if inner in ("add", "subtract") else words[1]
    if joining is None:
        words = [base, *words]
    elif len(words) == 2 and joining:
        words.insert(1, joining)
    elif len(words) == 1 and len(node.inputs) == 2:
        words.insert(0, _beside_constant(node))
    joined = "_".join(words)
    if words and len(joined) <= LONGEST_NAME:
        return joined
    return PLAIN_NAMES.get(base) or NOUNS.get(base, base)


def _beside_constant(node: Node) -> str:
    """What arithmetic with a number does: ``half``, ``one_minus``, ``scaled``; or with an array that
    has no name."""
    first, second = (scalar_value(source) for source in node.inputs)
    if first is None and second is None:
        return NOUNS[node.op.name]
    number, op = (second if first is None else first), node.op.name
    known = {
        ("multiply", 0.5): "half", ("multiply", 2.0): "twice", ("multiply", -1.0): "negative",
        ("add", 1.0): "one_plus",
    }  # fmt: skip
    if first == 1 and op in ("subtract", "divide"):
        return f"one_{JOINING[op]}"
    if (op, number) in known:
        return known[op, number]
    return "scaled" if op in ("multiply", "divide") else "shifted"


def _has_words(node: Node) -> bool:
    """Whether there is anything to say of an input: plain numbers and sizes have no names."""
    while node.op.name in INVISIBLE:
        node = node.inputs[0]
    return node.name is not None or bool(node.inputs) or node.op.name in ("parameter", "size")


def _joined_by(node: Node) -> str:
    """The arithmetic that makes a value of several, where it has no name."""
    while node.op.name in INVISIBLE and node.name is None:
        node = node.inputs[0]
    return node.op.name if node.name is None and node.op.name in JOINING else ""


def identifier(name: str) -> str:
    """``name`` as a Python identifier: dots of a module path become underscores."""
    cleaned = re.sub(r"\W", "_", name)
    if not cleaned or cleaned[0].isdigit():
        cleaned = f"_{cleaned}"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned
