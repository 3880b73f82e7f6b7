"""What ``compile`` is given: refused with what is wrong, before anything is generated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from staticgrad.graph.dims import format_shape, symbols_of
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import GraphError, GraphTypeError, Node, described
from staticgrad.graph.traverse import topological
from staticgrad.ops.convert import as_node
from staticgrad.rewrite.graph import Graph

#: what debugging looks for: NaN and inf in results, NaN in results, or either wherever it is made
Level = Literal["results", "nan", "all"]


def listed(given: Any, what: str) -> list[Any]:
    """One node or several, as a list; GraphTypeError for what is neither."""
    if isinstance(given, Node):
        return [given]
    if callable(given) or not isinstance(given, Iterable):
        raise GraphTypeError(
            f"compile: {what} must be nodes, made of placeholders, got {described(given)}"
        )
    return list(given)


def checked_inputs(inputs: Sequence[Any]) -> list[Node]:
    """The inputs; GraphTypeError where one is no placeholder, GraphError where two have one name."""
    seen: set[str] = set()
    for node in inputs:
        if not isinstance(node, Node) or node.op.name != "placeholder":
            raise GraphTypeError(f"compile: inputs must be placeholders, got {described(node)}")
        assert node.name is not None
        if node.name in seen:
            raise GraphError(f"compile: two inputs are called {node.name}")
        seen.add(node.name)
    return list(inputs)


def checked_outputs(outputs: Sequence[Any]) -> list[Node]:
    """The outputs; GraphTypeError where one is no node."""
    for node in outputs:
        if not isinstance(node, Node) or node.is_eager:
            raise GraphTypeError(f"compile: outputs must be nodes, got {described(node)}")
    return list(outputs)


def given_updates(updates: Any) -> dict[Any, Any]:
    """The updates as a dictionary; GraphTypeError for what is no mapping."""
    if updates is not None and not isinstance(updates, Mapping):
        raise GraphTypeError(
            "compile: updates is a dictionary of parameters and their new values, such as "
            f"{{W: W - 0.1 * dW}}, got {described(updates)}; sg.train_step takes an optimizer"
        )
    return dict(updates or {})


def checked_updates(updates: Mapping[Any, Any]) -> list[tuple[Parameter, Node]]:
    """New values of the parameters' dtypes and shapes, as nodes.

    Raises GraphTypeError for what is no parameter and for another dtype, GraphError for another shape.
    """
    result = []
    for parameter, value in updates.items():
        if not isinstance(parameter, Parameter):
            raise GraphTypeError(
                f"compile: only parameters can be updated, got {described(parameter)}"
            )
        try:
            node = as_node(value, parameter.dtype)
        except GraphTypeError as error:
            raise GraphTypeError(f"compile: the update of {parameter!r}: {error}") from None
        if node.dtype != parameter.dtype:
            raise GraphTypeError(
                f"compile: the update of {parameter!r} is {described(value)}, of dtype {node.dtype}; "
                f"cast it with sg.astype(value, {str(parameter.dtype)!r})"
            )
        if node.shape != parameter.shape:
            raise GraphError(
                f"compile: the update of {parameter!r} is {described(value)}, of shape "
                f"{format_shape(node.shape)}; shapes must be equal: sg.broadcast_to(value, "
                f"{format_shape(parameter.shape)}) repeats it, reductions like sg.sum make it smaller"
            )
        result.append((parameter, node))
    return result


def check_complete(graph: Graph) -> None:
    """Raise GraphError where a placeholder or a size that the graph needs is not among its inputs."""
    given = set(graph.inputs)
    bound = {dim for node in graph.inputs for dim in node.shape if not isinstance(dim, int)}
    for node in topological(graph.roots):
        if node.op.name == "placeholder" and node not in given:
            raise GraphError(
                f"compile: the outputs depend on placeholder {node.name}: {node.type}, "
                "which is not among the inputs"
            )
    for symbol in symbols_of([dim for node in graph.roots for dim in node.shape]):
        if symbol not in bound:
            raise GraphError(
                f"compile: no input has an axis of size {symbol}, so it is not known at the call"
            )


def debug_level(debug: Any) -> Level | None:
    """What ``compile(debug=...)`` asks for; None, the default, leaves it to ``STATICGRAD_DEBUG``.

    Raises ValueError for anything else than a truth value or a level.
    """
    asked = "debug=" if debug is not None else "STATICGRAD_DEBUG="
    value = os.environ.get("STATICGRAD_DEBUG", "") if debug is None else debug
    if value in (False, "", "0"):
        return None
    if value in (True, "1"):
        return "results"
    for level in get_args(Level):
        if value == level:
            return level
    raise ValueError(
        f'{asked}{value!r}: expected {"True" if debug is not None else "1"}, or what to report: '
        '"results" (NaN and inf that reach a result), "nan" (NaN that reaches a result) or "all" '
        "(NaN and inf wherever they are made)"
    )
