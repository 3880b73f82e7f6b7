"""Printing a planned program as a Python module that Numba compiles and a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from staticgrad.codegen.layout import INDENT, WIDTH, broken, broken_signature
from staticgrad.codegen.outline import common_name, is_scalar, renamed, unique
from staticgrad.codegen.program import (
    NOT_READY,
    Blocked,
    Buffer,
    Call,
    Invocation,
    Loop,
    Program,
    Rolled,
    Routine,
    RoutineCall,
    Shared,
    Statement,
    groups,
    statements,
)
from staticgrad.codegen.reader import TYPE_NAMES
from staticgrad.codegen.write import NUMBA_NAMES, Writer
from staticgrad.graph.dims import format_dim, format_shape
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.table import OPS

TITLES = {
    "check": "indices in range",
    "forward": "forward",
    "backward": "backward",
    "forward and backward": "forward and backward",
    "update": "update",
}


@dataclass(frozen=True)
class Generated:
    """A generated module and what the run time must know to call it."""

    source: str
    name: str
    header: str
    body: str
    numba_names: tuple[str, ...]
    math_names: tuple[str, ...]
    kernel_names: tuple[str, ...]
    vectormath_names: tuple[str, ...]
    arguments: tuple[str, ...]
    program: Program


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

    def function(self) -> str:
        self._inputs()
        self._views()
        self._sequence(self.program.items)
        self.line("return 0")
        return "\n".join(self.lines)

    def _sequence(self, items: list[Any]) -> None:
        """Items one after the other, under the headings of their sections."""
        section = ""
        grouped = groups(items)
        for group, title in zip(grouped, sections([g[-1] for g in grouped]), strict=True):
            if title != section:
                section = title
                self.line()
                self.line(f"# ---- {TITLES[section]} ".ljust(96 - len(INDENT) * self.depth, "-"))
            if isinstance(group[-1], Rolled):
                self._rolled(group[-1])
                continue
            if isinstance(group[-1], Blocked):
                for item in group[:-1]:
                    self._item(item)
                self._blocked(group[-1])
                section = ""
                continue
            self._comment(group[-1], list(statements(group)))
            for item in group:
                self._item(item)

    def routine(self, routine: Routine) -> str:
        """A function of loops that occur several times, under names that fit all occurrences."""
        self.lines, self.previous_lone = [], True
        self.explained.clear()
        with renamed(dict([*routine.parameters, *routine.internal])):
            names = [name for _, name in routine.parameters]
            self.lines.append('@njit(error_model="numpy")')
            signature = f"def {routine.name}({', '.join([*names, *map(str, routine.sizes)])}):"
            self.lines += broken_signature(signature)
            self._comment(routine.items[-1], list(statements(routine.items)))
            self.lines = [line for line in self.lines if line]
            if routine.flat:
                array = next(name for b, name in routine.parameters if not is_scalar(b))
                self.line(f"for i in range({array}.size):")
                self.depth, self.position = 2, "i"
                for statement in statements(routine.items):
                    self._statement(statement)
                self.depth, self.position = 1, ""
            else:
                for item in routine.items:
                    self._item(item)
        text = "\n".join(self.lines)
        self.lines, self.previous_lone = [], False
        self.explained.clear()
        return text

    def _inputs(self) -> None:
        bound: set[sympy.Symbol] = set()
        conditions = []
        for buffer in self.program.inputs:
            for axis, dim in enumerate(buffer.shape):
                actual = f"{buffer.name}.shape[{axis}]"
                if isinstance(dim, sympy.Symbol) and dim not in bound:
                    bound.add(dim)
                    self.line(f"{dim} = {actual}")
                else:
                    conditions.append((dim, f"{actual} != {format_dim(dim)}"))
        tests = [text for _, text in conditions]
        shapes = [b.shape for b in self.program.buffers]
        sizes = {dim for shape in shapes for dim in shape if may_be_negative(dim)}
        tests += [f"{format_dim(dim)} < 0" for dim in sorted(sizes, key=str)]
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
                self.line(
                    f"{buffer.name} = {function}({table}[{position}], "
                    f"{format_shape(buffer.shape)}, {self._type(buffer)})"
                    f"{'[()]' if buffer.by_value else ''}"
                )
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
        self.line()
        self.line("# workspace, in multiples of a cache line")
        self.line("end = 0")
        for place in places:
            first, *later = place.buffers
            described = f"{format_shape(first.stored_shape)}, {self._type(first)}"
            self.line(f"{first.name} = view(workspace, end, {described})")
            for buffer in later:
                self.kernels.add("in_place_of")
                described = f"{format_shape(buffer.stored_shape)}, {self._type(buffer)}"
                self.line(f"{buffer.name} = in_place_of({first.name}, {described})")
            self.line(f"end += {place.rounded_size()}")
        self.line("if workspace.size < end:")
        self.line(f"{INDENT}return {NOT_READY}")

    def _type(self, buffer: Buffer) -> str:
        name = TYPE_NAMES[str(buffer.dtype)]
        self.types.add(name)
        return name

    # ---- items -----------------------------------------------------------------------------------

    def _item(self, item: Any) -> None:
        if isinstance(item, Loop) and item.extent == 1:
            for inner in item.body:
                self._item(inner)
        elif isinstance(item, Loop):
            self.line(f"for {item.variable} in range({self.steps(item)}):")
            self.depth += 1
            for inner in item.body:
                self._item(inner)
            self.depth -= 1
        elif isinstance(item, Call):
            self._call(item)
        elif isinstance(item, RoutineCall):
            self._routine_call(item)
        elif isinstance(item, Invocation):
            self._invocation(item)
        elif isinstance(item, Shared):
            self._shared(item)
        else:
            self._statement(item)

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
        used = {buffer.name for buffer in self.program.buffers}
        names: dict[Buffer, str] = {}
        for binding in rolled.bindings:
            assert binding.stack is not None
            names[binding.buffer] = unique(common_name(binding.stack.buffers), used)
        self.line()
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
                start = self.program.parameters.index(stack.buffers[0])
                self.kernels.add("layer_at")
                self.line(
                    f"{name} = layer_at(parameters[{start} + {number}], "
                    f"{format_shape(binding.buffer.shape)}, {self._type(binding.buffer)})"
                )
        with renamed(names):
            for group in groups(rolled.turns[0]):
                self._comment(group[-1], list(statements(group)))
                for item in group:
                    self._item(item)
        self.depth -= 1
        self.explained.update(s.node for s in statements(rolled))
        self.previous_lone = False

    def _blocked(self, blocked: Blocked) -> None:
        """A loop over blocks of rows, the rows of each array under a name of their own."""
        extent = format_dim(blocked.extent)
        self.line()
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
        self.previous_lone = False

    def part(self, shared: Shared) -> str:
        """The function that does a part of a shared loop."""
        self.lines, self.previous_lone = [], True
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
        self.line(f"{loop.variable} = first + further")
        for item in loop.body:
            self._item(item)
        self.depth -= 1
        for accumulator, place in shared.partial.items():
            self.line(f"{place.name}[number] = {accumulator.name}")
        text = "\n".join(self.lines)
        self.lines, self.previous_lone = [], False
        return text

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
            self.line(f"{INDENT}{name} = {combine}({name}, {place.name}[number])")

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
        title = "forward and backward" if found == {"forward", "backward"} else min(found)
        titles.append("" if lone else title)
    for position, title in enumerate(titles):
        if not title:
            before = titles[position - 1] if position else "check"
            after = next((other for other in titles[position:] if other), "forward")
            titles[position] = after if before == "check" and after != "update" else before
    return titles


def may_be_negative(dim: Any) -> bool:
    return not isinstance(dim, int) and not dim.is_nonnegative


def module_of(kernel: str) -> str:
    """Where a kernel lives."""
    for op in OPS.values():
        if isinstance(op, RoutineOp) and op.kernel == kernel:
            return f"kernels.{op.module}"
    if kernel in ("in_parallel", "first_of"):
        return "kernels.parallel"
    families = {"matmul": "kernels.gemm", "matvec": "kernels.gemv"}
    return families.get(kernel[:6], "kernels.arrays")


def emit(program: Program, name: str, header: str) -> Generated:
    """The module that computes ``program`` in a function called ``name``."""
    emitter = Emitter(program, name)
    routines = [emitter.routine(routine) for routine in program.routines]
    routines += [emitter.part(item) for item in program.items if isinstance(item, Shared)]
    body = emitter.function()
    arguments = emitter.arguments()
    math_names = tuple(sorted(emitter.functions & {"inf", "nan", "isnan"}))
    functions = tuple(sorted(emitter.functions - {"inf", "nan", "isnan"}))
    types = tuple(
        f"{full} as {name}" if full != name else name
        for name, full in NUMBA_NAMES.items()
        if name in emitter.types
    )
    signature = "\n".join(broken_signature(f"def {name}({', '.join(arguments)}):"))
    main = f'@njit(error_model="numpy")\n{signature}\n{body}\n'
    definition = "\n\n\n".join([*routines, main])
    kernels = tuple(sorted(emitter.kernels))
    imports = [f"from math import {', '.join(math_names)}\n"] if math_names else []
    imports.append(f"from numba import {', '.join([*types, 'njit'])}\n")
    for module, names in (
        *((m, [k for k in kernels if module_of(k) == m]) for m in sorted({*map(module_of, kernels)})),
        ("vectormath", functions),
    ):
        if names:
            imports.append(f"from staticgrad.{module} import {', '.join(names)}")
    source = f'"""{header}"""\n\n' + "\n".join(imports).rstrip() + f"\n\n\n{definition}"
    return Generated(
        source, name, header, definition, types, math_names, kernels, functions,
        tuple(arguments), program,
    )  # fmt: skip
