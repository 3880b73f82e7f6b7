"""What a generated function begins with: its sizes, and names for the arrays that it works on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy

from staticgrad.codegen.layout import INDENT, WIDTH, broken
from staticgrad.codegen.plan import Place
from staticgrad.codegen.program import (
    NOT_READY,
    Buffer,
    Rolled,
    shared_blocks,
    statements,
)
from staticgrad.codegen.reader import TYPE_NAMES
from staticgrad.codegen.write import Writer
from staticgrad.graph.dims import format_dim, format_shape


class Prologue(Writer):
    """Writes the first lines of functions."""

    def arguments(self) -> list[str]:
        return [*(buffer.name for buffer in self.program.inputs if buffer.shape), "addresses"]

    @property
    def addressed(self) -> list[Buffer]:
        """What lies at the addresses that the function is given, in order; after them come that of the
        workspace, and its size. Inputs with axes are arguments themselves."""
        program = self.program
        scalars = [buffer for buffer in program.inputs if not buffer.shape]
        return [*program.parameters, *program.constants, *scalars, *program.outputs]

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
        if not self.program.workspace.isdigit():
            self.line(f"workspace_size = addresses[{len(self.addressed) + 1}]")
            tests.append(f"workspace_size < {self.program.workspace}")
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
        """Arrays over what the addresses lead to, and over the workspace."""
        in_loops = self._seen_in_loops_only()
        stacked = {
            buffer for item in self.program.items if isinstance(item, Rolled)
            for binding in item.bindings if binding.stack is not None
            for buffer in binding.stack.buffers
        }  # fmt: skip
        for position, buffer in enumerate(self.addressed):
            if buffer in in_loops:
                continue
            function = "layer_at" if buffer in stacked else "array_at"
            self.kernels.add(function)
            shape = format_shape(buffer.shape)
            text = f"{function}(addresses[{position}], {shape}, {self._type(buffer)})"
            text += "[()]" if buffer.by_value else ""
            if buffer.cast_to is not None:
                text = f"{self._type(buffer.cast_to)}({text})"
            self.line(f"{buffer.name} = {text}")
        self._places(self.program.places, f"addresses[{len(self.addressed)}]")
        apart = {b for _, parts in shared_blocks(self.program.items) for b in parts.own}
        self._derived(
            buffer for buffer in self.program.buffers
            if not (buffer.is_duplicate or buffer in in_loops or buffer.memory in apart)
        )  # fmt: skip

    def _places(self, places: list[Place], memory: str) -> None:
        """The places in a memory one after the other; what shares one is never needed at the same
        time."""
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
            self.line(f"{first.name} = view({memory}, {end}, {described})")
            for buffer in later:
                self.kernels.add("reuse")
                described = f"{format_shape(buffer.stored_shape)}, {self._type(buffer)}"
                self.line(f"{buffer.name} = reuse({first.name}, {described})")
            if isinstance(end, int):
                end += int(size)
            elif number + 1 < len(places):
                self.line(f"end += {size}")

    def _derived(self, buffers: Iterable[Buffer]) -> None:
        """The arrays among buffers that view the memory of others."""
        for buffer in buffers:
            if buffer.part_of is not None:
                assert buffer.root is not None
                self.kernels.add("part")
                self.line(f"{buffer.name} = part({buffer.root.name}, {buffer.part_of})")
            elif buffer.root is not None:
                self.kernels.add("reshaped")
                self.line(
                    f"{buffer.name} = reshaped({buffer.root.name}, {format_shape(buffer.shape)})"
                )

    def _type(self, buffer: Buffer) -> str:
        name = TYPE_NAMES[str(buffer.dtype)]
        self.types.add(name)
        return name

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


def may_be_negative(dim: Any) -> bool:
    return not isinstance(dim, int) and not dim.is_nonnegative
