"""Op-by-op execution on NumPy arrays: the reference that compiled functions are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import concrete
from staticgrad.graph.leaves import Parameter, sizes_from
from staticgrad.graph.node import GraphError, GraphTypeError, Node, described
from staticgrad.graph.traverse import topological
from staticgrad.ops.random_numbers import draw_numbers


def evaluate(outputs: Node | Sequence[Node], values: Mapping[Node, Any] | None = None) -> Any:
    """Compute nodes op by op in NumPy, without compiling.

    Args:
        outputs: a node or several.
        values: an array for each placeholder that ``outputs`` depend on.

    Returns:
        An array or a list of them; parameters count with their current value.

    Raises:
        GraphError: if a placeholder has no value. GraphTypeError: for what is no node.
        ValueError: if a value's shape does not fit the declaration.
    """
    single = isinstance(outputs, Node)
    roots = [outputs] if isinstance(outputs, Node) else list(outputs)
    for root in roots:
        if not isinstance(root, Node):
            raise GraphTypeError(f"evaluate: expected nodes, got {described(root)}")
    given = dict(values or {})
    for key in given:
        if not isinstance(key, Node):
            raise GraphTypeError(
                f"evaluate: values are given by placeholder, as in {{x: array}}, got {described(key)}"
            )
    arrays = {node: np.asarray(value, dtype=node.dtype) for node, value in given.items()}
    sizes = sizes_from(list(arrays), [array.shape for array in arrays.values()])
    order = topological(roots)
    draws = draw_numbers(order)
    remaining = _use_counts(order, roots)
    for node in order:
        if node in arrays:
            continue
        if isinstance(node, Parameter):
            arrays[node] = node.value
            continue
        if node.op.name == "placeholder":
            raise GraphError(f"evaluate: no value for placeholder {node.name}: {node.type}")
        inputs = [arrays[source] for source in node.inputs]
        arrays[node] = execute(node, inputs, sizes, draws.get(node))
        for source in node.inputs:
            remaining[source] -= 1
            if not remaining[source] and source not in given:
                del arrays[source]
    results = [np.array(arrays[root]) for root in roots]
    return results[0] if single else results


def execute(
    node: Node, inputs: Sequence[np.ndarray], sizes: Mapping[Any, int], draw: int | None = None
) -> np.ndarray:
    """The value of a node whose inputs are these; ``draw`` says which random numbers it gets."""
    attrs = {key: concrete(value, sizes) for key, value in node.attrs.items()}
    if draw is not None:
        attrs["draw"] = draw
    with np.errstate(all="ignore"):
        return np.asarray(node.op.execute(inputs, attrs), dtype=node.dtype)


def _use_counts(order: Sequence[Node], roots: Sequence[Node]) -> dict[Node, int]:
    """How often each node is still needed, so that its array can be let go in time."""
    counts = dict.fromkeys(order, 0)
    for node in order:
        for source in node.inputs:
            counts[source] += 1
    for root in roots:
        counts[root] += 1
    return counts
