"""Loops that occur several times become one function that is called several times.

Two nests of loops are the same if they read the same but for the names of their buffers. Loops that
run over whole arrays element by element, as an optimizer's rule does, are the same whatever the
shapes: their function takes the arrays with one axis. A function is compiled once, however many layers
call it, and its mathematics is read once.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sympy

from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Peeled,
    Program,
    Routine,
    Statement,
    groups,
    shared_loops,
    statements,
)
from staticgrad.codegen.reader import reader_of
from staticgrad.codegen.reserved import RESERVED
from staticgrad.graph.dims import Dim, canonical, product, symbols_of
from staticgrad.graph.node import Node

#: elements that a thread does at a time of a loop over whole arrays: an optimizer's rule takes some 30
#: microseconds for so many
SLICE = 2**16


@dataclass(frozen=True, eq=False)
class Candidate:
    """A group of items that could be a call: its arrays, its scalars, and how it reads, with the
    buffers' names and in general."""

    items: list[Any]
    arguments: list[Buffer]
    sizes: list[sympy.Symbol]
    internal: list[Buffer]
    exact: tuple[Any, ...]
    flat: tuple[Any, ...] | None


def outline(program: Program) -> Program:
    """Replace groups of items that occur at least twice by calls of one function."""
    blocks = [item for item in program.items if isinstance(item, Blocked)]
    parts: list[tuple[list[Any], dict[Buffer, Buffer]]] = [
        (group, {}) for group in groups(program.items) if group[-1] not in blocks
    ]  # fmt: skip
    parts += [(group, item.views) for item in blocks for group in groups(item.items)]
    readers = program.readers
    uses = _uses([group for group, _ in parts])
    found: dict[int, Candidate] = {}
    counts: dict[Any, list[Candidate]] = {}
    for group, views in parts:
        candidate = _candidate(readers, group, uses, views)
        if candidate is not None:
            found[id(group[-1])] = candidate
            for key in (candidate.flat, candidate.exact):
                if key is not None:
                    counts.setdefault(key, []).append(candidate)
    taken = set(program.names.values()) | {buffer.name for buffer in program.buffers}
    routines: dict[Any, Routine] = {}

    def replaced(items: list[Any], is_block: bool = False) -> list[Any]:
        result: list[Any] = []
        for group in groups(items):
            candidate = found.get(id(group[-1]))
            keys = () if candidate is None else (candidate.flat, candidate.exact)
            slices = 0 if is_block else slices_of(candidate)
            key = next((k for k in keys if k is not None and (len(counts[k]) > 1 or slices)), None)
            if candidate is None or key is None:
                result += group
                continue
            if key not in routines:
                routines[key] = _routine(counts[key], key is candidate.flat, taken)
            arguments = [candidate.arguments[k] for k in routines[key].order]
            routine = routines[key]
            slices = slices if routine.flat else 0
            result.append(Invocation(routine, group, arguments, routine.sizes, slices))
        return result

    program.items = replaced(program.items)
    for item in blocks:
        item.items = replaced(item.items, is_block=True)
    program.routines = list(routines.values())
    return program


def slices_of(candidate: Candidate | None) -> int:
    """How many elements of whole arrays a thread does at a time; 0 if it is not worth it."""
    if candidate is None or candidate.flat is None or candidate.sizes:
        return 0
    array = next(buffer for buffer in candidate.arguments if not is_scalar(buffer))
    size = product(array.stored_shape)
    return SLICE if isinstance(size, int) and size >= 2 * SLICE else 0


def _uses(parts: list[list[Any]]) -> dict[Buffer, set[int]]:
    """For each local variable, the groups that touch it."""
    found: dict[Buffer, set[int]] = {}
    for number, group in enumerate(parts):
        for statement in statements(group):
            for access in statement.accesses:
                if access.buffer.is_local:
                    found.setdefault(variable(access.buffer), set()).add(number)
    return found


def _candidate(
    readers: dict[Node, Buffer],
    group: list[Any],
    uses: dict[Buffer, set[int]],
    views: dict[Buffer, Buffer],
) -> Candidate | None:
    members = list(statements(group))
    if not isinstance(group[-1], Loop | Peeled) or any(shared_loops(group)) or any(
        isinstance(member, Call) or member.action == "check" for member in members
    ):
        return None
    arguments: dict[Buffer, None] = {}
    internal: dict[Buffer, None] = {}
    for member in members:
        for access in member.accesses:
            buffer = access.buffer
            if buffer.kind == "token":
                continue
            if not buffer.is_local:
                arguments[buffer] = None
            elif len(uses[variable(buffer)]) == 1:
                internal[buffer] = None
            elif access.writes:
                return None
            else:
                arguments[buffer] = None
    ordered = sorted(arguments, key=is_scalar)  # arrays first
    names = {buffer: f"a{number}" for number, buffer in enumerate(ordered)}
    # an accumulator and its result may be one variable
    local = {name: f"l{number}" for number, name in enumerate(dict.fromkeys(b.name for b in internal))}
    names |= {buffer: local[buffer.name] for buffer in internal}
    with renamed(names):
        lines = list(_lines(readers, group))
        flat_lines = _flat_lines(readers, group, views)
    kinds = tuple(
        (str(b.dtype), None if is_scalar(b) else views.get(b, b).stored_shape) for b in ordered
    )
    flat = None
    if flat_lines is not None:
        flat = (tuple(flat_lines), tuple((kind, shape is None) for kind, shape in kinds))
    sizes = {
        symbol for item in _loops(group) for symbol in symbols_of((item.extent,))
    } | {s for b in (*arguments, *internal) for s in symbols_of(views.get(b, b).shape)}  # fmt: skip
    return Candidate(
        group, ordered, sorted(sizes, key=str), list(internal), (tuple(lines), kinds), flat
    )


def variable(buffer: Buffer) -> Buffer:
    """The buffer that a local variable stands for: an accumulator may be one with its result."""
    result = buffer.finishes_in
    return result if result is not None and result.is_local else buffer


def is_scalar(buffer: Buffer) -> bool:
    """Whether generated code holds it in a local variable."""
    return buffer.is_local or buffer.by_value


@contextmanager
def renamed(names: dict[Buffer, str]) -> Iterator[None]:
    """Buffers under other names, for as long as it lasts."""
    old = {buffer: buffer.name for buffer in names}
    for buffer, name in names.items():
        buffer.name = name
    try:
        yield
    finally:
        for buffer, name in old.items():
            buffer.name = name


def _loops(items: list[Any]) -> Iterator[Loop]:
    for item in items:
        if isinstance(item, Loop):
            yield item
            yield from _loops(item.body)
        elif isinstance(item, Peeled):
            yield from _loops(item.items)


def _lines(readers: dict[Node, Buffer], items: list[Any]) -> Iterator[Any]:
    """What the items read like, up to layout."""
    for item in items:
        if isinstance(item, Loop):
            yield ("for", str(item.variable), item.start, item.extent)
            yield from _lines(readers, item.body)
            yield "end"
        elif isinstance(item, Peeled):
            yield from _lines(readers, item.items)
        else:
            yield statement_text(readers, item, item.variables)


def statement_text(
    buffers: dict[Node, Buffer], statement: Statement, variables: tuple[Any, ...],
    position: str = "",
) -> tuple[str, ...]:  # fmt: skip
    """All that a statement says."""
    reader = reader_of(statement, buffers, position)
    value = statement.value(reader, variables)[0]
    assert statement.target is not None
    target = reader.load(statement.target, statement.index(reader, variables))[0]
    running = ""
    if statement.running is not None and statement.running_index is not None:
        running = reader.load(statement.running, statement.running_index(variables))[0]
    return statement.action, statement.combine, target, value, running


def _flat_lines(
    readers: dict[Node, Buffer], group: list[Any], views: dict[Buffer, Buffer]
) -> list[Any] | None:
    """The same for loops that run over all arrays from their first element to their last."""
    if len(group) > 1 or not isinstance(group[0], Loop):
        return None
    item, extents = group[0], []
    while isinstance(item, Loop):
        extents.append(item.extent)
        if len(item.body) > 1 and any(isinstance(inner, Loop) for inner in item.body):
            return None
        if any(isinstance(inner, Peeled) for inner in item.body):
            return None
        body = item.body
        item = body[0]
    size = canonical(product(extents))
    for statement in body:
        if statement.action != "store":
            return None
        for access in statement.accesses:
            if access.buffer.kind == "token" or is_scalar(access.buffer):
                continue
            shape = views.get(access.buffer, access.buffer).stored_shape
            if not _is_flat(statement, access.index, access.buffer, shape, size):
                return None
    unknown = [
        tuple(sympy.Symbol(f"axis_{axis}_") for axis in range(len(statement.domain)))
        for statement in body
    ]
    lines = [
        statement_text(readers, statement, variables, "i")
        for statement, variables in zip(body, unknown, strict=True)
    ]
    return None if any("axis_" in text for line in lines for text in line) else lines


def _is_flat(
    statement: Statement, index: Any, buffer: Buffer, shape: tuple[Dim, ...], size: Dim
) -> bool:
    """Whether the element that a step of the loops touches is the one with the step's number."""
    # the shortcuts answer most questions, and algebra takes long
    total = product(shape)
    if index is None or (total != size and canonical(total - size) != 0):
        return False
    moved = tuple(index[axis] for axis in buffer.axes)
    if shape == statement.domain and moved == statement.own:
        return True
    return bool(canonical(_number(moved, shape) - _number(statement.own, statement.domain)) == 0)


def _number(index: tuple[Any, ...], shape: tuple[Dim, ...]) -> Any:
    """The number of an element in memory; where an axis has one element, its index is 0."""
    number: Any = sympy.Integer(0)
    for position, extent in zip(index, shape, strict=True):
        number = number * extent + (0 if extent == 1 else position)
    return sympy.expand(number)


# ---- names ------------------------------------------------------------------------------------------


def _routine(instances: list[Candidate], flat: bool, taken: set[str]) -> Routine:
    first = instances[0]
    used = {*RESERVED, *(str(size) for size in first.sizes)}
    parameters = []
    for position, buffer in enumerate(first.arguments):
        name = common_name([instance.arguments[position] for instance in instances])
        parameters.append((buffer, unique(name, used)))
    # what is updated, by what, then the rest of the arrays, then the numbers
    first_names = ["parameter", "gradient"]
    order = list(range(len(parameters)))
    if flat and {"parameter", "gradient"} <= {name for _, name in parameters}:
        order.sort(
            key=lambda k: (
                is_scalar(parameters[k][0]),
                first_names.index(parameters[k][1]) if parameters[k][1] in first_names else 2,
                parameters[k][1] if not is_scalar(parameters[k][0]) else "",
            )
        )
    local = {
        name: unique(name, used) for name in dict.fromkeys(b.name for b in first.internal)
    }  # fmt: skip
    internal = [(buffer, local[buffer.name]) for buffer in first.internal]
    written = [
        statement for statement in statements(first.items) if statement.action != "start"
    ]  # fmt: skip
    section = written[-1].section
    base = section
    if section != "update":
        base = f"{section}_{written[0].node.op.name}"
    name = unique(base, taken)
    parameters = [parameters[k] for k in order]
    sizes = first.sizes
    if flat:
        # the length of its arrays is all that it goes by, but for sizes that values are computed of
        text = " ".join(part for line in first.flat[0] for part in line)  # type: ignore[index]
        sizes = [size for size in sizes if re.search(rf"\b{size}\b", text)]
    return Routine(name, first.items, parameters, internal, sizes, flat, order)


def unique(name: str, taken: set[str]) -> str:
    result, number = name, 2
    while result in taken or keyword.iskeyword(result):
        result, number = f"{name}_{number}", number + 1
    taken.add(result)
    return result


def common_name(buffers: list[Buffer]) -> str:
    """What the names of buffers have in common: ``exp_avg`` of ``fc1_weight_exp_avg`` and
    ``fc2_bias_exp_avg``."""
    names = [buffer.name for buffer in buffers]
    if len(set(names)) == 1:
        return names[0]
    if all(name.startswith("d_") for name in names):
        rest = common_words([name[2:] for name in names])
        return f"d_{rest}" if rest else "gradient"
    rest = common_words(names)
    if rest:
        return rest
    if all(buffer.kind == "parameter" for buffer in buffers):
        return "parameter"
    return "gradient" if any(name.startswith("d_") for name in names) else names[0]


def common_words(names: list[str]) -> str:
    words = [name.split("_") for name in names]
    ends: list[str] = []
    for column in zip(*(reversed(w) for w in words), strict=False):
        if len(set(column)) > 1:
            break
        ends.insert(0, column[0])
    starts: list[str] = []
    for column in zip(*words, strict=False):
        if len(set(column)) > 1:
            break
        starts.append(column[0])
    best = "_".join(ends if len(ends) >= len(starts) else starts)
    return best if best.isidentifier() and best not in ("d", "f32", "f64") else ""
