"""One file that computes what a compiled function computes, with NumPy, Numba and SciPy alone."""

from __future__ import annotations

import ast
import re
import sys

from staticgrad.codegen.emit import Generated
from staticgrad.codegen.program import FIRST_CHECK, NOT_READY
from staticgrad.codegen.sources import Import, defined_names, source_of
from staticgrad.graph.dims import format_shape, symbols_of
from staticgrad.graph.leaves import PLACEHOLDER
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph


def standalone(graph: Graph, generated: Generated) -> str:
    """The text of the exported file: the generated function, ``run``, and the helpers."""
    program = generated.program
    parameters = [buffer.name for buffer in program.parameters]
    inputs = [buffer.name for buffer in program.inputs]
    outputs = [buffer.name for buffer in program.outputs]
    imports, helpers = source_of([*generated.kernel_names, *generated.vectormath_names])
    imports |= {Import("numpy", ""), Import("numba", "njit")}
    imports |= {Import("numba", name) for name in generated.numba_names}
    imports |= {Import("math", name) for name in generated.math_names}
    taken = {item.name or item.module.split(".")[0] for item in imports}
    taken.update(name for statement in ast.parse(helpers).body for name in defined_names(statement))
    body, name = _beside(generated, taken)
    sections = [
        f'"""{generated.header}"""',
        import_block(imports),
        body.rstrip(),
        _constants(generated),
        _run(graph, generated, name, inputs, parameters, outputs),
        helpers,
    ]
    head, *rest = [section for section in sections if section]
    return head + "\n\n" + rest[0] + "\n\n\n" + "\n\n\n".join(rest[1:]) + "\n"


def _beside(generated: Generated, taken: set[str]) -> tuple[str, str]:
    """The generated functions and the main one's name, with other names for those that helpers have,
    which stand in modules of their own otherwise."""
    body, main = generated.body, generated.name
    defined = {name for statement in ast.parse(body).body for name in defined_names(statement)}
    for name in sorted(defined & taken):
        other = f"{name}_function"
        while re.search(rf"\b{other}\b", body) or other in taken:
            other += "_"
        body = re.sub(rf"(?<![\w.]){name}\b", other, body)
        main = other if name == main else main
    return body, main


def import_block(imports: set[Import]) -> str:
    """The imports of a file, in the order that isort gives them."""
    modules = sorted({item.module for item in imports})
    lines: dict[bool, list[str]] = {True: [], False: []}
    for plain in (True, False):
        for module in modules:
            names = sorted({item.name for item in imports if item.module == module and item.name})
            standard = module.split(".")[0] in sys.stdlib_module_names
            if plain and Import(module, "") in imports:
                short = " as np" if module == "numpy" else ""
                lines[standard].append(f"import {module}{short}")
            elif not plain and names:
                lines[standard].append(f"from {module} import {', '.join(names)}")
    # "import" and "from" lines of other packages stand in one list, sorted by module
    lines[False].sort(key=lambda line: (line.startswith("from"), line.split()[1]))
    return "\n\n".join("\n".join(group) for group in lines.values() if group)


def _constants(generated: Generated) -> str:
    lines = []
    for buffer in generated.program.constants:
        value = buffer.node.attrs["value"]  # type: ignore[union-attr]
        lines.append(f"{buffer.name}_value = np.array({value.tolist()}, np.{value.dtype})")
    return "\n".join(lines)


def _run(
    graph: Graph,
    generated: Generated,
    name: str,
    inputs: list[str],
    parameters: list[str],
    outputs: list[str],
) -> str:
    program = generated.program
    arguments = ", ".join([*inputs, *(["*"] if parameters else []), *parameters])
    lines = [f"def run({arguments}):"]
    what = f"Call {generated.name} on NumPy arrays"
    if graph.updates:
        what += "; parameters are updated in place"
    lines.append(f'    """{what}."""')
    for buffer in program.inputs:
        # require copies only what is strided or of another dtype
        lines.append(f"    {buffer.name} = np.require({buffer.name}, np.{buffer.dtype}, 'C')")
        lines.append(f"    assert {buffer.name}.ndim == {len(buffer.shape)}, {buffer.name}.shape")
    for buffer in program.parameters:
        lines.append(
            f"    assert {buffer.name}.shape == {format_shape(buffer.shape)} and "
            f"{buffer.name}.dtype == np.{buffer.dtype}"
        )
        lines.append(f"    assert {buffer.name}.flags.c_contiguous")
    bound: set[str] = set()
    wanted = {str(s) for s in symbols_of(d for b in program.buffers for d in b.shape)}
    for buffer in program.inputs:
        for axis, dim in enumerate(buffer.shape):
            if str(dim) in wanted - bound and not isinstance(dim, int) and dim.is_Symbol:
                bound.add(str(dim))
                lines.append(f"    {dim} = {buffer.name}.shape[{axis}]")
    call = list(inputs)
    for table, buffers, suffix in (
        ("parameters", program.parameters, ""),
        ("constants", program.constants, "_value"),
    ):
        if buffers:
            addresses = ", ".join(f"{buffer.name}{suffix}.ctypes.data" for buffer in buffers)
            lines.append(f"    {table} = np.array([{addresses}], np.int64)")
            call.append(table)
    if program.workspace != "0":
        lines.append(f"    workspace = np.empty({program.workspace}, np.uint8)")
        call.append("workspace")
    lines += [
        f"    {buffer.name} = np.empty({format_shape(buffer.shape)}, np.{buffer.dtype})"
        for buffer in program.outputs
    ]
    lines.append(f"    status = {name}({', '.join([*call, *outputs])})")
    lines.append(f"    if status == {NOT_READY}:")
    lines.append('        raise ValueError("an argument has the wrong shape")')
    lines.append(f"    if status >= {FIRST_CHECK}:")
    sources = [
        ", ".join(n.name or "" for n in topological([check.node]) if n.op is PLACEHOLDER)
        for check in program.checks
    ]
    lines.append(f'        raise IndexError(f"an index is out of range: {{{sources}[status - 2]}}")')
    results = [f"{b.name}[()]" if not b.shape else b.name for b in program.outputs]
    lines.append(f"    return {', '.join(results) if results else None}")
    return "\n".join(lines)
