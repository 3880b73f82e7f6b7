"""Scalar parameters, such as a learning rate, are cast where they are read."""

from __future__ import annotations

from staticgrad.codegen.program import Program, Statement, statements
from staticgrad.graph.traverse import topological, users


def cast_settings(program: Program) -> Program:
    """A scalar parameter that is needed in another dtype only is read as one."""
    nodes = topological([member.node for member in statements(program.items)])
    takers = users(nodes)
    kept = []
    for item in program.items:
        if isinstance(item, Statement) and item.node.op.name == "astype" and item.target is not None:
            (source,) = item.node.inputs
            buffer = program.readers.get(source)
            if (
                buffer is not None and buffer.by_value and buffer.cast_to is None
                and item.target.is_local and len(takers[source]) == 1
            ):  # fmt: skip
                buffer.cast_to = item.target
                item.target.name = buffer.name
                continue
        kept.append(item)
    program.items = kept
    return program
