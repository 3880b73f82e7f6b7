"""Which nodes get a place in memory, and which are computed late."""

from __future__ import annotations

from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.elementwise import Elementwise
from staticgrad.ops.movement import Reshape
from staticgrad.ops.reduction import Reduction
from staticgrad.ops.routine import RoutineOp
from staticgrad.rewrite.graph import Graph

LEAVES = ("placeholder", "parameter", "constant", "size")
#: ops with statements of their own; everything else can be said element by element
OWN_LOOPS = ("cumsum", "scatter_add", "fold", "sum", "prod", "max", "min")
#: an inlined expression with more operations than this gets a name, so that lines stay readable
LONGEST_EXPRESSION = 7


def is_scalar_constant(node: Node) -> bool:
    return node.op.name == "constant" and node.attrs["value"].size == 1


def is_routine(node: Node) -> bool:
    """Whether a routine computes a node, from whole arrays in memory."""
    return node.op.name == "gemm" or isinstance(node.op, RoutineOp)


def is_view(node: Node) -> bool:
    """Whether a node is another view of its input's memory."""
    return isinstance(node.op, Reshape) and not node.op.moves_units_only(node)


def is_cheap(node: Node) -> bool:
    """Whether computing an element again costs no more than loading it would."""
    return node.op.name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
                            "negative", "astype", "logical_not") or not isinstance(
        node.op, Elementwise
    )  # fmt: skip


def overlap(node: Node) -> bool:
    """Whether a node reads elements of its input several times."""
    return node.op.name == "windows" and any(
        size > stride
        for size, stride in zip(node.attrs["sizes"], node.attrs["strides"], strict=True)
    )


def choose_buffers(
    graph: Graph, order: list[Node], uses: dict[Node, list[Node]]
) -> set[Node]:
    """The nodes whose values are kept, as opposed to inlined where they are used."""
    roots = set(graph.roots)
    kept: set[Node] = set()
    length: dict[Node, int] = {}
    for node in order:
        if node.op.name in LEAVES:
            length[node] = 0
            continue
        consumers = uses[node]
        inlined = sum(length[source] for source in node.inputs if source not in kept)
        length[node] = inlined + (node.op.flops > 0)
        elementwise = isinstance(node.op, Elementwise)
        same_domain = all(
            isinstance(user.op, (Elementwise, Reduction)) or user.op.name == "astype"
            for user in consumers
        )
        if (
            node in roots
            or node.op.name in OWN_LOOPS
            or is_routine(node)
            or any(is_routine(user) or is_view(user) for user in consumers)
            or (node.op.flops > 0 and any(overlap(user) for user in consumers))
            or is_view(node)
            or (len(consumers) + (node in roots) > 1 and not is_cheap(node))
            or (elementwise and any(user.op.name == "square" for user in consumers))
            or (
                (elementwise or (node.op.name == "astype" and not node.shape))
                and (node.op.flops > 2 or not node.shape)
                and any(user.op.name == "broadcast_to" for user in consumers)
            )
            or (length[node] > LONGEST_EXPRESSION and same_domain)
            or (elementwise and node.name is not None and same_domain)
        ):
            kept.add(node)
    return kept


def late_nodes(graph: Graph, order: list[Node]) -> set[Node]:
    """What neither outputs nor adjoints need, but new values of parameters do."""
    early = set(topological([*graph.outputs, *(n for n in order if n.adjoint_of is not None)]))
    return {node for node in order if node not in early and node.op.name not in LEAVES}
