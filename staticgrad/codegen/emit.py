"""Printing a planned program as a Python module that Numba compiles and a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sympy

from staticgrad.codegen.layout import INDENT, WIDTH, assignment, broken, broken_signature
from staticgrad.codegen.outline import common_name, is_scalar, renamed, unique
from staticgrad.codegen.program import (
    NOT_READY,
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Peeled,
    Rolled,
    Routine,
    RoutineCall,
    Shared,
    Statement,
    groups,
    starts_together,
    statements,
)
from staticgrad.codegen.reader import TYPE_NAMES
from staticgrad.codegen.reserved import RESERVED
from staticgrad.codegen.spans import Mark
from staticgrad.codegen.write import Writer
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.ops.routine import RoutineOp

TITLES = {
    "inputs": "inputs, parameters, intermediates",
    "check": "indices in range",
    "forward": "forward",
    "backward": "backward",
    "forward and backward": "forward and backward",
    "backward and update": "backward and update",
    "update": "update",
}


@dataclass(frozen=True)
class Definition:
    """A function of the generated module."""

    text: str
    marks: list[Mark]


class Emitter(Writer):
    """Writes the function's lines, and takes down which helpers they use."""

    # ---- the function ----------------------------------------------------------------------------

    def arguments(self) -> list[str]:
        program = self.program
        result = [buffer.name for buffer in program.inputs]
        result += ["parameters"] if program.parameters else []
        result += ["constants"] if program.constants else []
        result += ["workspace"] if program.workspace != "0" else []
        return result + [buffer.name for buffer in program.outputs]

    def function(self) -> Definition:
        self._begin()
        self.lines.append('@njit(error_model="numpy")')
        self.lines += broken_signature(f"def {self.name}({', '.join(self.arguments())}):")
        self.line(f"# ---- {TITLES['inputs']} ".ljust(96 - len(INDENT), "-"))
        first = len(self.lines)
        self._inputs()
        self._views()
        if len(self.lines) == first:
            self.lines.pop()
        self.headed = False
        self._sequence(self.program.items)
        self.line("return 0")
        return self._end()

    def _sequence(self, items: list[Any]) -> None:
        """Items one after the other, under the headings of their sections."""
        section = ""
        grouped = groups(items)
        for group, title in zip(grouped, sections([g[-1] for g in grouped]), strict=True):
            if title != section:
                section = title
                self.gap()
                self.line(f"# ---- {TITLES[section]} ".ljust(96 - len(INDENT) * self.depth, "-"))
                self.headed = True
            if isinstance(group[-1], Rolled):
                self._rolled(group[-1])
                continue
            if isinstance(group[-1], Blocked):
                first = len(self.lines)
                self._items(starts_together(group[:-1]))
                self.mark(first, statements(group[:-1]), "kernel")
                self._blocked(group[-1])
                section = ""
                continue
            self._kernel(group)

    def _kernel(self, group: list[Any]) -> None:
        """A nest of loops, a call or a line, with the mathematics above it."""
        first, members = len(self.lines), list(statements(group))
        self._comment(group[-1], members)
        self._items(starts_together(group))
        self._beside(first, group)
        self.mark(min(first, len(self.lines) - 1), members, "kernel")

    def _begin(self) -> None:
        """Start a function."""
        self.lines, self.marks = [], []
        self.headed, self.last_beside = True, -1
        self.explained.clear()

    def _end(self) -> Definition:
        """What has been written since the start."""
        return Definition("\n".join(self.lines), self.marks)

    def routine(self, routine: Routine) -> Definition:
        """A function of loops that occur several times, under names that fit all occurrences."""
        self._begin()
        self.is_routine = True
        with renamed(dict([*routine.parameters, *routine.internal])):
            names = [name for _, name in routine.parameters]
            self.lines.append('@njit(error_model="numpy")')
            signature = f"def {routine.name}({', '.join([*names, *map(str, routine.sizes)])}):"
            self.lines += broken_signature(signature)
            first, members = len(self.lines), list(statements(routine.items))
            self._comment(routine.items[-1], members)
            if routine.flat:
                array = next(name for b, name in routine.parameters if not is_scalar(b))
                self.line(f"for i in range({array}.size):")
                self.depth, self.position = 2, "i"
                for statement in statements(routine.items):
                    self._statement(statement)
                self.depth, self.position = 1, ""
            else:
                self._items(starts_together(routine.items))
            self.mark(first, members, "kernel")
        self.is_routine = False
        return self._end()

    def _inputs(self) -> None:
        bound: set[sympy.Symbol] = set()
        tests = []
        for buffer in self.program.inputs:
            new = []
            for axis, dim in enumerate(buffer.shape):
                if isinstance(dim, sympy.Symbol) and dim not in bound:
                    bound.add(dim)
                    new.append(dim)
                    self.line(f"{dim} = {buffer.name}.shape[{axis}]")
            if any(dim not in new for dim in buffer.shape):
                tests.append(f"{buffer.name}.shape != {format_shape(buffer.shape)}")
        shapes = [b.shape for b in self.program.buffers]
        sizes = {dim for shape in shapes for dim in shape if may_be_negative(dim)}
        tests += [f"{format_dim(dim)} < 0" for dim in sorted(sizes, key=str)]
        if self.program.workspace != "0":
            tests.append(f"workspace.size < {self.program.workspace}")
        if tests:
            condition = f"if {' or '.join(tests)}:"
            if len(INDENT * self.depth + condition) <= WIDTH:
                self.line(condition)
            else:
                self.line("if (")
                self.lines += broken(" or ".join(tests), self.depth + 1)
                self.line("):")
            self.line(f"{INDENT}return {NOT_READY}  # the caller says what does not fit")

    def _views(self) -> None:
        """Arrays over the parameters' memory and over the workspace."""
        in_loops = self._seen_in_loops_only()
        stacked = {
            buffer for item in self.program.items if isinstance(item, Rolled)
            for binding in item.bindings if binding.stack is not None
            for buffer in binding.stack.buffers
        }  # fmt: skip
        for buffer in self.program.outputs:
            if buffer.shape:
                self.kernels.add("distinct")
                self.line(f"{buffer.name} = distinct({buffer.name})")
        for table, buffers in (
            ("parameters", self.program.parameters),
            ("constants", self.program.constants),
        ):
            for position, buffer in enumerate(buffers):
                if buffer in in_loops:
                    continue
                function = "layer_at" if buffer in stacked else "array_at"
                self.kernels.add(function)
                shape = format_shape(buffer.shape)
                text = f"{function}({table}[{position}], {shape}, {self._type(buffer)})"
                text += "[()]" if buffer.by_value else ""
                if buffer.cast_to is not None:
                    text = f"{self._type(buffer.cast_to)}({text})"
                self.line(f"{buffer.name} = {text}")
        self._workspace()
        for buffer in self.program.buffers:
            if buffer.is_duplicate or buffer in in_loops:
                continue
            if buffer.part_of is not None:
                assert buffer.root is not None
                self.kernels.add("part")
                self.line(f"{buffer.name} = part({buffer.root.name}, {buffer.part_of})")
            elif buffer.root is not None:
                self.kernels.add("reshaped")
                self.line(
                    f"{buffer.name} = reshaped({buffer.root.name}, {format_shape(buffer.shape)})"
                )

    def _workspace(self) -> None:
        """The places in the workspace one after the other; what shares one is never needed at the
        same time."""
        places = self.program.places
        if not places:
            return
        self.kernels.add("view")
        end: int | str = 0
        for number, place in enumerate(places):
            first, *later = place.buffers
            size = place.rounded_size()
            if not size.isdigit() and not isinstance(end, str):
                # from here on it depends on the named dimensions where a place begins
                self.line(f"end = {end}")
                end = "end"
            described = f"{format_shape(first.stored_shape)}, {self._type(first)}"
            self.line(f"{first.name} = view(workspace, {end}, {described})")
            for buffer in later:
                self.kernels.add("reuse")
                described = f"{format_shape(buffer.stored_shape)}, {self._type(buffer)}"
                self.line(f"{buffer.name} = reuse({first.name}, {described})")
            if isinstance(end, int):
                end += int(size)
            elif number + 1 < len(places):
                self.line(f"end += {size}")

    def _type(self, buffer: Buffer) -> str:
        name = TYPE_NAMES[str(buffer.dtype)]
        self.types.add(name)
        return name

    # ---- items -----------------------------------------------------------------------------------

    def _items(self, items: Iterable[Any]) -> None:
        """Items one after the other; accumulators that start with one value share a line."""
        value = ""
        for item in items:
            self._item(item)
            target = item.target if isinstance(item, Statement) else None
            if target is None or item.action != "start" or not is_scalar(target):
                value = ""
                continue
            name, _, last = self.lines[-1].rpartition(" = ")
            line = f"{self.lines[-2]} = ".removesuffix(f"{last} = ") + f"{name.lstrip()} = {last}"
            if last == value and len(line) <= WIDTH:
                self.lines[-2:] = [line]
                self.marks[-1] = self.marks[-1].moved(-1)
            value = last

    def _item(self, item: Any) -> None:
        if isinstance(item, Loop) and item.extent == 1:
            self._items(item.body)
        elif isinstance(item, Loop):
            self._begin_loop(item)
            self._items(item.body)
            self.depth -= 1
        elif isinstance(item, Peeled):
            self._items(item.items)
        elif isinstance(item, Statement):
            self._statement(item)
        else:
            first = len(self.lines)
            if isinstance(item, Call):
                self._call(item)
            elif isinstance(item, RoutineCall):
                self._routine_call(item)
            elif isinstance(item, Invocation):
                self._invocation(item)
            else:
                self._shared(item)
            self.mark(first, statements(item), "line")

    def _call(self, call: Call) -> None:
        kernel = call.kernel
        names = [buffer.name for buffer in (*call.operands, call.target)]
        if call.adds:
            names.append(call.adds)
        self.kernels.add(kernel)
        if call.node.ndim == 3:
            self.kernels.add("part")
            names = [f"part({name}, i)" for name in names]
            self.line(f"for i in range({format_dim(call.node.shape[0])}):")
            self.line(f"{INDENT}{kernel}({', '.join(names)})")
        else:
            self.line(f"{kernel}({', '.join(names)})")

    def _routine_call(self, call: RoutineCall) -> None:
        op = call.node.op
        assert isinstance(op, RoutineOp)
        self.kernels.add(op.kernel)
        names = [buffer.name for buffer in call.operands]
        names += [call.scratch.name] if call.scratch else []
        text = f"{op.kernel}({', '.join([*names, *op.options(call.node)])})"
        self.lines += broken(text, self.depth)

    def _seen_in_loops_only(self) -> set[Buffer]:
        """The members of stacks that nothing outside of loops over layers touches."""
        bound: set[Buffer] = set()
        outside: set[Buffer] = set()
        for item in self.program.items:
            if isinstance(item, Rolled):
                for binding in item.bindings:
                    assert binding.stack is not None
                    bound.update(binding.stack.buffers)
                continue
            for statement in statements(item):
                outside.update(access.buffer for access in statement.accesses)
        return bound - outside

    def _rolled(self, rolled: Rolled) -> None:
        """A loop over layers, its buffers under names that fit every layer."""
        used = {buffer.name for buffer in self.program.buffers} | RESERVED
        names: dict[Buffer, str] = {}
        for binding in rolled.bindings:
            assert binding.stack is not None
            names[binding.buffer] = unique(common_name(binding.stack.buffers), used)
        self.gap()
        self.line(f"for layer in range({len(rolled.turns)}):")
        self.depth += 1
        for binding in rolled.bindings:
            name, stack = names[binding.buffer], binding.stack
            assert stack is not None
            number = binding.number("layer")
            if stack.buffer is not None:
                self.kernels.add("part")
                self.line(f"{name} = part({stack.name}, {number})")
            else:
                number = binding.number("layer", self.program.parameters.index(stack.buffers[0]))
                self.kernels.add("layer_at")
                self.line(
                    f"{name} = layer_at(parameters[{number}], "
                    f"{format_shape(binding.buffer.shape)}, {self._type(binding.buffer)})"
                )
        with renamed(names):
            for group in groups(rolled.turns[0]):
                self._kernel(group)
        self.depth -= 1
        self.explained.update(s.node for s in statements(rolled))

    def _blocked(self, blocked: Blocked) -> None:
        """A loop over blocks of rows, the rows of each array under a name of their own."""
        extent = format_dim(blocked.extent)
        self.gap()
        self.line(f"for first in range(0, {extent}, {blocked.size}):")
        self.depth += 1
        count = str(blocked.size)
        if not blocked.exact:
            count = "rows"
            self.line(f"rows = min({blocked.size}, {extent} - first)")
        for buffer, view in blocked.views.items():
            self.kernels.add("rows_of")
            start = "0" if buffer in blocked.local else "first"
            self.line(f"{view.name} = rows_of({buffer.name}, {start}, {count})")
        with renamed({buffer: view.name for buffer, view in blocked.views.items()}):
            self._sequence(blocked.items)
        self.depth -= 1

    def part(self, shared: Shared) -> Definition:
        """The function that does a part of a shared loop."""
        self._begin()
        loop = shared.loop
        names = [buffer.name for buffer in (*shared.arguments, *shared.partial.values())]
        self.lines.append('@njit(error_model="numpy")')
        self.lines += broken_signature(f"def {shared.name}({', '.join(['number', *names])}):")
        written = {m.target for m in statements(loop) if not is_scalar(m.target)}
        for buffer in shared.arguments:
            if buffer in written:
                self.kernels.add("distinct")
                self.line(f"{buffer.name} = distinct({buffer.name})")
        for start in shared.starts.values():
            self._statement(start)
        self.kernels.add("first_of")
        self.line(f"first = first_of(number, {shared.size})")
        self.line(f"for further in range(min({shared.size}, {loop.extent} - first)):")
        self.depth += 1
        # the start comes last: LLVM then knows that i - start is not negative
        start = f" + {loop.start}" if loop.start else ""
        self.line(f"{loop.variable} = first + further{start}")
        for item in loop.body:
            self._item(item)
        self.depth -= 1
        for accumulator, place in shared.partial.items():
            self.line(f"{place.name}[number] = {accumulator.name}")
        return self._end()

    def _shared(self, shared: Shared) -> None:
        """All parts at once, then what they have accumulated, in order."""
        self.kernels.add("in_parallel")
        names = [buffer.name for buffer in (*shared.arguments, *shared.partial.values())]
        listed = ", ".join(names) + ("," if len(names) == 1 else "")
        self.lines += broken(f"in_parallel({shared.name}, {shared.parts}, ({listed}))", self.depth)
        if shared.partial:
            self.line(f"for number in range({shared.parts}):")
        members = {m.target: m for m in statements(shared.loop) if m.action == "accumulate"}
        for accumulator, place in shared.partial.items():
            combine, name = members[accumulator].combine, accumulator.name
            self.functions.add(combine)
            value = f"{combine}({name}, {place.name}[number])"
            self.lines += assignment(name, "=", value, self.depth + 1)

    def _invocation(self, invocation: Invocation) -> None:
        arguments = []
        for buffer in invocation.arguments:
            text = buffer.name
            if invocation.routine.flat and not is_scalar(buffer) and len(buffer.stored_shape) != 1:
                self.kernels.add("flat")
                text = f"flat({text})"
            arguments.append(text)
        arguments += map(str, invocation.sizes)
        call = f"{invocation.routine.name}({', '.join(arguments)})"
        self.lines += broken(call, self.depth)


def sections(items: list[Any]) -> list[str]:
    """The section that each item belongs to. A lone scalar belongs to what stands around it."""
    titles: list[str] = []
    for item in items:
        found = {member.section for member in statements(item)}
        lone = isinstance(item, Statement) and "update" not in found
        title = " and ".join(sorted(found, key=list(TITLES).index))
        title = title if title in TITLES else max(found, key=list(TITLES).index)
        titles.append("" if lone else title)
    for position, title in enumerate(titles):
        if not title:
            before = titles[position - 1] if position else "check"
            after = next((other for other in titles[position:] if other), "forward")
            titles[position] = after if before == "check" and after != "update" else before
    return titles


def may_be_negative(dim: Any) -> bool:
    return not isinstance(dim, int) and not dim.is_nonnegative
