"""From the lowered graph to statements: which nodes get a buffer, and how each is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.choose import (
    LEAVES,
    OWN_LOOPS,
    choose_buffers,
    is_routine,
    is_scalar_constant,
    is_view,
    late_nodes,
)
from staticgrad.codegen.program import (
    ACCUMULATORS,
    Access,
    Buffer,
    Call,
    Program,
    RoutineCall,
    Statement,
)
from staticgrad.codegen.reader import ElementReader
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological, users
from staticgrad.ops.indexing import is_in_range
from staticgrad.ops.reduction import Reduction
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.windows import Fold
from staticgrad.rewrite.graph import Graph
from staticgrad.show.names import Names


class Scheduler:
    """Builds the statements of a program, node by node in topological order.

    Statements come in groups: those of one reduction (start and accumulate) share their outer loops
    and are placed together.
    """

    def __init__(self, graph: Graph, names: Names) -> None:
        self.graph = graph
        self.names = names
        self.order = topological(graph.roots)
        self.uses = users(self.order)
        self.kept = choose_buffers(graph, self.order, self.uses)
        self.late = late_nodes(graph, self.order)
        self.buffers: dict[Node, Buffer] = {}
        self.all: list[Buffer] = []
        self.groups: list[list[Any]] = []
        self.checks: list[Statement] = []
        self.early_checks: list[Statement] = []
        self.check_tokens: dict[Node, Buffer] = {}

    def run(self) -> Program:
        graph = self.graph
        inputs = [self._leaf(node, "input") for node in graph.inputs]
        for buffer in inputs:
            buffer.by_value = not buffer.shape
        parameters, constants = [], []
        updated = {parameter for parameter, _ in graph.updates}
        for node in [*self.order, *(parameter for parameter, _ in graph.updates)]:
            if node in self.buffers:
                continue
            if node.op.name == "parameter":
                parameters.append(self._leaf(node, "parameter"))
                parameters[-1].by_value = not node.shape and node not in updated
            elif node.op.name == "constant" and (
                not is_scalar_constant(node) or any(is_routine(user) for user in self.uses[node])
            ):
                constants.append(self._leaf(node, "constant"))
        outputs = self._outputs()
        # what only new values need comes last
        for late in (False, True):
            for node in self.order:
                chosen = (node in self.late) is late and node in self.kept
                if chosen and not self._stored_by_update(node):
                    self._schedule(node)
        for node, buffer in zip(graph.outputs, outputs, strict=True):
            if self.buffers.get(node) is not buffer:
                self._store(node, buffer, self._section(node), self._reading(node))
        self._updates()
        return Program(
            inputs, parameters, constants, outputs, self.all, self.groups, self.checks, self.names
        )

    # ---- buffers ---------------------------------------------------------------------------------

    def _leaf(self, node: Node, kind: str) -> Buffer:
        buffer = self._buffer(self.names[node], node, kind)
        self.buffers[node] = buffer
        return buffer

    def _buffer(self, name: str, node: Node, kind: str, shape: Any = None) -> Buffer:
        # accumulators get their names later, around those of all others
        taken = {buffer.name for buffer in self.all if buffer.finishes_in is None}
        while name in taken:
            name += "_"
        buffer = Buffer(name, node.dtype, node.shape if shape is None else shape, kind, node)
        self.all.append(buffer)
        return buffer

    def _target(self, node: Node) -> Buffer:
        if node not in self.buffers:
            self.buffers[node] = self._buffer(self.names[node], node, "workspace")
        return self.buffers[node]

    def _outputs(self) -> list[Buffer]:
        """A buffer per output. Where it can be, the node is computed right into it."""
        result, seen = [], set()
        for node in self.graph.outputs:
            direct = (
                node not in seen
                and node.op.name not in LEAVES
                and not is_view(node)
            )
            name = self.names[node] if direct else f"{self.names[node]}_out"
            buffer = self._buffer(name, node, "output")
            if direct:
                self.buffers[node] = buffer
            else:
                # a copy, which nothing else reads
                buffer.node = None
            seen.add(node)
            result.append(buffer)
        return result

    # ---- statements ------------------------------------------------------------------------------

    def _schedule(self, node: Node) -> None:
        section = self._section(node)
        if is_view(node):
            source = self.buffers[node.inputs[0]]
            view = self._buffer(self.names[node], node, source.kind)
            view.root = source
            source.memory.viewed = True
            self.buffers[node] = view
        elif node.op.name == "gemm":
            operands = tuple(self.buffers[source] for source in node.inputs)
            transpose = (node.attrs["transpose_a"], node.attrs["transpose_b"])
            self.groups.append([Call(node, self._target(node), operands, transpose, section)])
        elif isinstance(node.op, RoutineOp):
            self._target(node)
            arrays = [self.buffers[operand] for operand in node.op.operands(node)]
            scratch = self._scratch(node, node.op.scratch(node))
            several = node.op.uses_threads(node)
            call = RoutineCall(node, self.buffers[node], arrays, scratch, section, several)
            self.groups.append([call])
        elif node.op.name == "cumsum":
            self._scan(node, section)
        elif node.op.name in ("scatter_add", "fold"):
            self._scatter(node, section)
        elif isinstance(node.op, Reduction):
            self._reduce(node, section)
        else:
            self._store(node, self._target(node), section, self._computing(node))

    def _scratch(self, node: Node, size: Any) -> Buffer | None:
        """Memory of a routine's own."""
        if size is None:
            return None
        number = sum(buffer.name.startswith("scratch") for buffer in self.all) + 1
        name = "scratch" if number == 1 else f"scratch_{number}"
        buffer = self._buffer(name, node, "workspace", (size,))
        buffer.node = None
        return buffer

    def _computing(self, node: Node) -> Any:
        return lambda reader, own: reader.compute(node, own)

    def _reading(self, node: Node) -> Any:
        return lambda reader, own: reader.read(node, own)

    def _section(self, node: Node) -> str:
        if node in self.late:
            return "update"
        return "forward" if node.adjoint_of is None else "backward"

    def _finish(self, statement: Statement) -> Statement:
        """Take down what the statement reads and writes, by running its lowering once."""
        reader = ElementReader(self.buffers)
        statement.value(reader, statement.own)
        index = statement.index(reader, statement.own)
        statement.accesses = list(reader.accesses)
        statement.functions = set(reader.functions)
        statement.flops = reader.flops
        if statement.target is not None:
            read = statement.action == "scatter" and statement.node.op.name == "scatter_add"
            written = None if read else index
            statement.accesses.append(Access(statement.target, written, True))
        if statement.running is not None and statement.running_index is not None:
            place = statement.running_index(statement.own)
            statement.accesses.append(Access(statement.running, place, True))
        if statement.action != "start":
            for gather in inlined_gathers(statement.node, self.buffers):
                self._check_bounds(gather, statement)
        if statement.section == "update":
            # no update before every index has been checked: a failed call changes nothing
            for token in self.check_tokens.values():
                statement.accesses.append(Access(token, None, False))
        return statement

    def _store(self, node: Node, target: Buffer, section: str, value: Any) -> None:
        statement = Statement("store", node, node.shape, target, value, section=section)
        self.groups.append([self._finish(statement)])

    def _start(self, node: Node, target: Buffer, number: Any, section: str) -> Statement:
        return self._finish(
            Statement(
                "start", node, target.shape, target,
                lambda reader, own: reader.number(number, node.dtype), section=section,
            )
        )  # fmt: skip

    def _element(self, node: Node, place: Any = lambda own: own) -> Any:
        """An element of the first input, in the dtype in which ``node`` accumulates."""
        source = node.inputs[0]

        def element(reader: ElementReader, own: tuple[Any, ...]) -> Any:
            value = reader.read(source, place(own))
            if source.dtype == node.dtype:
                return value
            return reader.cast(value, source.dtype, node.dtype)

        return element

    def _reduce(self, node: Node, section: str) -> None:
        op, source, axes = node.op, node.inputs[0], node.attrs["axes"]
        assert isinstance(op, Reduction)
        target = self._target(node)
        finish: list[Statement] = []
        accumulator = target
        if ends_in_reduced_axes(node):
            # a local variable accumulates, and its last value is stored
            accumulator = Buffer(ACCUMULATORS[op.name], node.dtype, node.shape, "workspace", node)
            self.all.append(accumulator)
            accumulator.finishes_in = target
            finish = [
                self._finish(
                    Statement("store", node, node.shape, target, self._copying(accumulator),
                              section=section)
                )
            ]  # fmt: skip
        start = self._start(node, accumulator, op.identity(node.dtype), section)
        accumulate = Statement(
            "accumulate", node, source.shape, accumulator, self._element(node),
            index=lambda reader, own: tuple(
                variable for axis, variable in enumerate(own) if axis not in axes
            ),
            combine=op.combine, section=section,
        )  # fmt: skip
        self.groups.append([start, self._finish(accumulate), *finish])

    def _scan(self, node: Node, section: str) -> None:
        """A running total along the axis, whose loop goes innermost."""
        axis = node.attrs["axis"]
        order = [position for position in range(node.ndim) if position != axis] + [axis]
        domain = tuple(node.shape[position] for position in order)
        running = self._target(node)
        total = self._buffer(f"running_{self.names[node]}", node, "workspace", domain[:-1])

        def place(own: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(own[order.index(position)] for position in range(node.ndim))

        start = self._start(node, total, 0, section)
        scan = Statement(
            "scan", node, domain, total, self._element(node, place),
            index=lambda reader, own: own[:-1], combine="plus",
            running=running, running_index=place, section=section,
        )  # fmt: skip
        self.groups.append([start, self._finish(scan)])

    def _scatter(self, node: Node, section: str) -> None:
        """Zeros, then each element added where its index says, in order."""
        target = self._target(node)

        def index(reader: ElementReader, own: tuple[Any, ...]) -> tuple[Any, ...]:
            return node.op.target_index(node, own, reader)  # type: ignore[attr-defined]

        start = self._start(node, target, 0, section)
        tiles = isinstance(node.op, Fold) and node.op.covers_once(node)
        scatter = Statement(
            "store" if tiles else "scatter", node, node.inputs[0].shape, target,
            self._element(node), index=index, combine="plus", section=section,
        )  # fmt: skip
        self._finish(scatter)
        if len(node.inputs) > 1:
            self._check_bounds(node, scatter)
        self.groups += [[scatter]] if tiles else [[start], [scatter]]

    # ---- index checks ----------------------------------------------------------------------------

    def _check_bounds(self, node: Node, statement: Statement) -> None:
        """Make ``statement`` wait for the loops that check the indices of a gather or scatter."""
        if node not in self.check_tokens:
            token = Buffer(f"checked_{len(self.check_tokens)}", np.dtype("bool"), (), "token")
            self.check_tokens[node] = token
            shape = node.inputs[0].shape if node.op.name == "gather" else node.attrs["shape"]
            strict = bool(node.attrs.get("strict"))
            for axis, index_node in enumerate(node.inputs[1:]):
                while index_node.op.name in ("broadcast_to", "reshape"):
                    index_node = index_node.inputs[0]
                if not is_in_range(index_node, shape[axis], strict):
                    self._check_index(BoundsCheck(index_node, shape[axis], strict, node), token)
        statement.accesses.append(Access(self.check_tokens[node], None, False))

    def _check_index(self, bounds: BoundsCheck, token: Buffer) -> None:
        for known in self.checks:
            if known.value == bounds:
                known.accesses.append(Access(token, None, True))
                return
        node = bounds.index_node
        check = Statement("check", node, node.shape, None, bounds, section="check",
                          check=len(self.checks))  # fmt: skip
        self.checks.append(self._finish(check))
        early = all(access.buffer.kind in ("input", "constant") for access in check.accesses)
        check.accesses.append(Access(token, None, True))
        # what depends on arguments alone is checked before anything is computed
        self.groups.insert(len(self.early_checks) if early else len(self.groups), [check])
        if early:
            self.early_checks.append(check)

    # ---- updates ---------------------------------------------------------------------------------

    def _stored_by_update(self, node: Node) -> bool:
        """Whether an update computes the node right where its parameter lies."""
        return (
            node.op.name not in OWN_LOOPS
            and not is_routine(node)
            and not is_view(node)
            and not self.uses[node]
            and all(node is not output for output in self.graph.outputs)
            and sum(value is node for _, value in self.graph.updates) == 1
        )

    def _updates(self) -> None:
        """Updates come after everything else, and see the old values of all parameters: a new value
        that would disturb another update is computed beside its parameter, and copied at the end."""
        direct: list[tuple[Parameter, Node, Any]] = []
        copies: list[tuple[Parameter, Node, Any]] = []
        # the memory that the updates after each one read
        later: list[set[Buffer]] = [set()]
        for _, value in reversed(self.graph.updates):
            later.append(later[-1] | {access.buffer.memory for access in self._probe(value)})
        later.reverse()
        for position, (parameter, value) in enumerate(self.graph.updates):
            if value is parameter:
                continue
            if value in self.buffers and self.buffers[value].kind != "parameter":
                copies.append((parameter, value, self._reading(value)))
                continue
            write = self._reading(value) if value in self.buffers else self._computing(value)
            memory = self.buffers[parameter].memory
            if memory not in later[position + 1] and self._in_place(memory, write, value.ndim):
                direct.append((parameter, value, write))
            else:
                beside = self._buffer(f"new_{self.names[parameter]}", value, "workspace")
                self._store(value, beside, "update", write)
                copies.append((parameter, value, self._copying(beside)))
        for parameter, value, write in (*direct, *copies):
            self._store(value, self.buffers[parameter], "update", write)

    def _copying(self, buffer: Buffer) -> Any:
        return lambda reader, own: reader.read_buffer(buffer, own)

    def _probe(self, node: Node) -> list[Access]:
        """What is read for an element of a node."""
        reader = ElementReader(self.buffers)
        reader.read(node, tuple(sympy.Dummy(f"i{axis}") for axis in range(node.ndim)))
        return reader.accesses

    def _in_place(self, memory: Buffer, write: Any, rank: int) -> bool:
        """Whether each new element needs, of the parameter's memory, its old self alone."""
        own = tuple(sympy.Dummy(f"i{axis}", integer=True) for axis in range(rank))
        reader = ElementReader(self.buffers)
        write(reader, own)
        return not any(
            access.buffer.memory is memory
            and (access.buffer is not memory or access.index != own)
            for access in reader.accesses
        )


class BoundsCheck:
    """The condition that an index lies in an axis of ``extent`` elements; negative ones count from
    the end unless ``strict``."""

    def __init__(self, index_node: Node, extent: Any, strict: bool, used_by: Node) -> None:
        self.index_node, self.extent, self.strict = index_node, extent, strict
        self.used_by = used_by

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundsCheck) and (
            self.index_node is other.index_node
            and self.extent == other.extent
            and self.strict == other.strict
        )

    def __call__(self, reader: ElementReader, own: tuple[Any, ...]) -> Any:
        index = reader.read(self.index_node, own)[0]
        low = "0" if self.strict else reader.integer(sympy.sympify(-self.extent))[0]
        return f"{low} <= {index} < {reader.integer(self.extent)[0]}", 4


def ends_in_reduced_axes(node: Node) -> bool:
    """Whether the reduced axes are the last ones, so that a local scalar can accumulate."""
    axes, rank = node.attrs["axes"], node.inputs[0].ndim
    return axes == tuple(range(rank - len(axes), rank))


def inlined_gathers(node: Node, buffers: dict[Node, Buffer]) -> list[Node]:
    """The gathers that are inlined in the expression of ``node``."""
    found, stack = [], [node]
    seen: set[Node] = set()
    while stack:
        item = stack.pop()
        if item in seen:
            continue
        seen.add(item)
        if item.op.name == "gather":
            found.append(item)
        stack.extend(source for source in item.inputs if source not in buffers)
    return found


def schedule(graph: Graph, names: Names) -> Program:
    """The statements of a lowered graph, in groups that are not yet fused."""
    return Scheduler(graph, names).run()
