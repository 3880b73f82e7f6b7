"""Printing a planned program as a Python module that Numba compiles and a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from staticgrad.codegen.layout import INDENT, WIDTH, assignment, broken, broken_signature
from staticgrad.codegen.outline import common_name, is_scalar, renamed, unique
from staticgrad.codegen.program import (
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Parts,
    Peeled,
    Rolled,
    Routine,
    RoutineCall,
    Shared,
    Statement,
    groups,
    shared_blocks,
    shared_loops,
    starts_together,
    statements,
)
from staticgrad.codegen.prologue import Prologue
from staticgrad.codegen.reserved import RESERVED
from staticgrad.codegen.spans import Mark
from staticgrad.codegen.write import OPERATORS
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.ops.routine import RoutineOp

TITLES = {
    "inputs": "inputs, parameters, intermediates",
    "part": "sums of this part, intermediates of this thread",
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


class Emitter(Prologue):
    """Writes the function's lines, and takes down which helpers they use."""

    # ---- the function ----------------------------------------------------------------------------

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

    # ---- items -----------------------------------------------------------------------------------

    def _items(self, items: Iterable[Any]) -> None:
        """Items one after the other; accumulators that start with one value share a line."""
        value = ""
        for item in items:
            self._item(item)
            target = item.target if isinstance(item, Statement) else None
            if target is None or item.action != "start":
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
                    f"{name} = layer_at(addresses[{number}], "
                    f"{format_shape(binding.buffer.shape)}, {self._type(binding.buffer)})"
                )
        with renamed(names):
            for group in groups(rolled.turns[0]):
                self._kernel(group)
        self.depth -= 1
        self.explained.update(s.node for s in statements(rolled))

    def _blocked(self, blocked: Blocked) -> None:
        """A loop over blocks of rows, or the call of the function that does a part of them."""
        self.gap()
        if blocked.parts is not None:
            first = len(self.lines)
            self._in_parts(blocked, blocked.parts)
            self.mark(first, statements(blocked), "kernel")
            return
        extent = format_dim(blocked.extent)
        self.line(f"for first in range(0, {extent}, {blocked.size}):")
        self._block(blocked)

    def _block(self, blocked: Blocked) -> None:
        """What is done for a block, the rows of each array under a name of their own."""
        self.depth += 1
        count = str(blocked.size)
        if not blocked.exact:
            count = "rows"
            self.line(f"rows = min({blocked.size}, {format_dim(blocked.extent)} - first)")
        for buffer, view in blocked.views.items():
            self.kernels.add("rows_of")
            start = "0" if buffer in blocked.local else "first"
            self.line(f"{view.name} = rows_of({buffer.name}, {start}, {count})")
        self.headed = False
        with renamed({buffer: view.name for buffer, view in blocked.views.items()}):
            self._sequence(blocked.items)
        self.depth -= 1

    def parts(self) -> Iterator[Definition]:
        """The functions that do a part of a loop, or of blocks of rows."""
        yield from map(self._part_of_loop, shared_loops(self.program.items))
        for blocked, parts in shared_blocks(self.program.items):
            yield self._part_of_blocks(blocked, parts)

    def _part_of_loop(self, shared: Shared) -> Definition:
        self._begin()
        loop = shared.loop
        self._signature(shared.name, ["number"], shared.arrays)
        self._apart(shared.arguments, statements(loop))
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

    def _part_of_blocks(self, blocked: Blocked, parts: Parts) -> Definition:
        self._begin()
        self._signature(parts.name, ["number", "place"], parts.arrays)
        self.line(f"# ---- {TITLES['part']} ".ljust(96 - len(INDENT), "-"))
        sums = [(b, p) for b, p in parts.partial.items() if not is_scalar(b)]
        self.kernels |= {"first_of", "part", *(["distinct"] if sums else [])}
        for target, place in sums:
            self.line(f"{target.name} = distinct(part({place.name}, number))")
        self._apart(parts.arguments, statements(blocked))
        scratch = parts.scratch.name
        self.line(f"{scratch} = part({scratch}, place)")
        self._places(parts.places, scratch)
        self._derived(b for b in self.program.buffers if b.memory in parts.own)
        self._items(starts_together(parts.starts))
        self.line()
        self.line(f"start = first_of(number, {parts.size})")
        stop = f"min(start + {parts.size}, {blocked.extent})"
        self.line(f"for first in range(start, {stop}, {blocked.size}):")
        self._block(blocked)
        for accumulator, place in parts.partial.items():
            if is_scalar(accumulator):
                self.line(f"{place.name}[number] = {accumulator.name}")
        return self._end()

    def _signature(self, name: str, numbers: list[str], arrays: Iterable[Buffer]) -> None:
        self.lines.append('@njit(error_model="numpy")')
        names = ", ".join([*numbers, *(buffer.name for buffer in arrays)])
        self.lines += broken_signature(f"def {name}({names}):")

    def _apart(self, arguments: Iterable[Buffer], members: Iterable[Any]) -> None:
        """What a function writes shares no memory with its other arguments."""
        written = {access.buffer for m in members for access in m.accesses if access.writes}
        for buffer in arguments:
            if buffer in written and not is_scalar(buffer):
                self.kernels.add("distinct")
                self.line(f"{buffer.name} = distinct({buffer.name})")

    def _shared(self, shared: Shared) -> None:
        """All parts at once, then what they have accumulated, in order."""
        self._handed_out("in_parallel", shared.name, shared.parts, shared.arrays)
        members = {m.target: m for m in statements(shared.loop) if m.action == "accumulate"}
        combined = {b: (p, members[b].combine) for b, p in shared.partial.items()}
        self._combined(shared.parts, combined)

    def _in_parts(self, blocked: Blocked, parts: Parts) -> None:
        """All parts of blocks at once, then the sums, in order."""
        self.line(f"# {blocked.extent} rows in parts of {parts.size}, on any thread")
        self._handed_out("in_parallel_with_place", parts.name, parts.count, parts.arrays)
        numbers = {b: (p, "plus") for b, p in parts.partial.items() if is_scalar(b)}
        self._combined(parts.count, numbers)
        for target, place in parts.partial.items():
            if not is_scalar(target):
                self.kernels.add("add_up")
                self.line(f"add_up({place.name}, {target.name})")

    def _handed_out(self, kernel: str, name: str, count: int, arrays: Iterable[Buffer]) -> None:
        self.kernels.add(kernel)
        names = [buffer.name for buffer in arrays]
        listed = ", ".join(names) + ("," if len(names) == 1 else "")
        self.lines += broken(f"{kernel}({name}, {count}, ({listed}))", self.depth)

    def _combined(self, count: int, partial: dict[Buffer, tuple[Buffer, str]]) -> None:
        """Variables, of what the parts have accumulated; sums in order, not as LLVM likes."""
        if partial:
            self.line(f"for number in range({count}):")
        for accumulator, (place, combine) in partial.items():
            name, value = accumulator.name, f"{place.name}[number]"
            if combine in OPERATORS:
                self.lines += assignment(name, OPERATORS[combine], value, self.depth + 1)
                continue
            self.functions.add(combine)
            self.lines += assignment(name, "=", f"{combine}({name}, {value})", self.depth + 1)

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
        if invocation.slices:
            self.kernels.add("in_slices")
            name, size = invocation.routine.name, invocation.slices
            call = f"in_slices({name}, {size}, ({', '.join(arguments)}))"
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
