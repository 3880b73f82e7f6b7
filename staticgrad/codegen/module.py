"""A generated module as a whole: header, imports, functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from staticgrad.codegen.emit import Emitter
from staticgrad.codegen.layout import INDENT
from staticgrad.codegen.program import Program
from staticgrad.codegen.sources import module_of_function
from staticgrad.codegen.spans import Mark, Span, resolved
from staticgrad.codegen.stages import History
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.table import OPS

#: longer imports stand one name below the other, which ruff takes at any width
IMPORT_WIDTH = 88


@dataclass(frozen=True)
class Generated:
    """A generated module and what the run time must know to call it."""

    source: str
    name: str
    header: str
    definitions: tuple[str, ...]
    #: what it imports: names by module, those of staticgrad without the package's name
    imports: dict[str, list[str]]
    arguments: tuple[str, ...]
    program: Program
    marks: tuple[Mark, ...]
    #: the passes that led here
    history: History | None = None

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Which lines compute which nodes."""
        return tuple(resolved(self.program, self.marks))


def emit(program: Program, name: str, header: str) -> Generated:
    """The module that computes ``program`` in a function called ``name``."""
    emitter = Emitter(program, name)
    definitions = [emitter.routine(routine) for routine in program.routines]
    definitions += emitter.parts()
    definitions.append(emitter.function())
    imports = imported(emitter)
    own = {f"staticgrad.{module}": names for module, names in imports.items() if is_own(module)}
    text = f'"""{header}"""\n\n{import_block(others(imports), own)}'
    marks: list[Mark] = []
    for definition in definitions:
        marks += [mark.moved(text.count("\n") + 3) for mark in definition.marks]
        text += f"\n\n\n{definition.text}"
    return Generated(
        text + "\n", name, header, tuple(d.text for d in definitions), imports,
        tuple(emitter.arguments()), program, tuple(marks),
    )  # fmt: skip


def imported(emitter: Emitter) -> dict[str, list[str]]:
    """What the functions that have been written need, by module."""
    found: dict[str, list[str]] = {}
    constants = sorted(emitter.functions & {"inf", "nan", "isnan"})
    if constants:
        found["math"] = constants
    found["numba"] = [*sorted(emitter.types & {"boolean"}), "njit"]
    for name in sorted({*emitter.kernels, *(emitter.types - {"boolean"})}):
        found.setdefault(module_of(name), []).append(name)
    for function in sorted(emitter.functions - set(constants)):
        found.setdefault(module_of_function()[function], []).append(function)
    return found


def is_own(module: str) -> bool:
    """Whether a module is one of staticgrad's."""
    return module not in ("math", "numba", "numpy")


def others(imports: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {module: names for module, names in imports.items() if not is_own(module)}


def import_block(*groups: Mapping[str, Sequence[str]]) -> str:
    """The imports of a file in the order that isort gives them; what stands for a module imported as a
    whole is its short name."""
    standard = {m: names for group in groups for m, names in group.items() if m == "math"}
    blocks = []
    for group in (standard, *groups):
        lines = []
        for module in sorted(group, key=lambda module: (not isinstance(group[module], str), module)):
            names = group[module]
            if module == "math" and group is not standard:
                continue
            line = f"from {module} import {', '.join(names)}"
            if isinstance(names, str):
                lines.append(f"import {module} as {names}")
            elif len(line) <= IMPORT_WIDTH:
                lines.append(line)
            else:
                lines += [f"from {module} import (", *(f"{INDENT}{n}," for n in names), ")"]
        if lines:
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def module_of(kernel: str) -> str:
    """Where a kernel lives."""
    for op in OPS.values():
        if isinstance(op, RoutineOp) and op.kernel == kernel:
            return f"kernels.{op.module}"
    if kernel in ("in_parallel", "in_parallel_with_place", "in_slices", "first_of"):
        return "kernels.parallel"
    families = {"matmul": "kernels.gemm", "matvec": "kernels.gemv"}
    return families.get(kernel[:6], "kernels.arrays")


