"""Files that compute what a compiled function computes, with NumPy, Numba and SciPy alone.

The generated function is one file, which a person reads; what it calls, matrix products and vector
mathematics, is a package beside it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from staticgrad.codegen.layout import WIDTH
from staticgrad.codegen.module import Generated, import_block, is_own, others
from staticgrad.codegen.sources import copies
from staticgrad.graph.leaves import PLACEHOLDER
from staticgrad.graph.traverse import topological
from staticgrad.version import __version__

#: the decorator that makes a function of arrays of the exported one
WRAPPER_MODULE, WRAPPER = "kernels.arrays", "on_arrays"


def write(generated: Generated, path: Path) -> None:
    """Write the file ``path`` and the package that it imports from."""
    package = path.with_name(re.sub(r"\W", "_", path.stem) + "_kernels")
    package.mkdir(exist_ok=True)
    for name, text in kernel_files(generated, path.name).items():
        (package / name).write_text(text, encoding="utf-8")
    path.write_text(step_file(generated, package.name), encoding="utf-8")


def step_file(generated: Generated, package: str) -> str:
    """The generated module, importing from ``package``, with its main function one of arrays."""
    imports = dict(others(generated.imports))
    if generated.program.constants:
        imports["numpy"] = "np"
    own = {
        f"{package}.{module.split('.')[1]}": names
        for module, names in _own(generated).items()
    }
    *routines, main = generated.definitions
    constants = _constants(generated)
    head = f'"""{generated.header}"""\n\n{import_block(imports, own)}'
    parts = [
        f"{head}\n\n{constants}" if constants else head,
        *routines,
        f"@{WRAPPER}({', '.join(_arguments(generated))})\n{main}",
    ]
    return "\n\n\n".join(parts) + "\n"


def kernel_files(generated: Generated, user: str) -> dict[str, str]:
    """The files of the package that an exported module imports from, by name."""
    purpose = (
        f"What {user} calls: arrays over memory that something else owns, matrix products in "
        f"registers, vector mathematics. Taken over from staticgrad {__version__} (MIT licence)."
    )
    head = "\n".join(textwrap.wrap(purpose, WIDTH - 3))
    return {"__init__.py": f'"""{head}"""\n', **copies(_own(generated))}


def _own(generated: Generated) -> Mapping[str, list[str]]:
    """What it imports from the library."""
    own = {module: names for module, names in generated.imports.items() if is_own(module)}
    return {**own, WRAPPER_MODULE: sorted([*own.get(WRAPPER_MODULE, []), WRAPPER])}


def _arguments(generated: Generated) -> list[str]:
    """What the decorator must know."""
    program = generated.program
    arguments = ["__doc__"]
    if program.checks:
        sources = [
            ", ".join(node.name or "" for node in topological([check.node]) if node.op is PLACEHOLDER)
            for check in program.checks
        ]
        arguments.append(f"indices={sources!r}".replace("'", '"'))
    if program.constants:
        arguments.append("constants=CONSTANTS")
    return arguments


def _constants(generated: Generated) -> str:
    if not generated.program.constants:
        return ""
    lines = ["# fmt: off", "CONSTANTS = ["]
    for buffer in generated.program.constants:
        value = buffer.node.attrs["value"]  # type: ignore[union-attr]
        text = f"np.array({value.tolist()}, np.{value.dtype}),  # {buffer.name}"
        text = re.sub(r"\b(nan|inf)\b", r"np.\1", text)
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="    ", subsequent_indent="        ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join([*lines, "]", "# fmt: on"])
