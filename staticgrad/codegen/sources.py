"""The source of the helpers that generated code calls, gathered for files that stand alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "staticgrad"
#: where helpers live, in the order in which their definitions may stand in one file
MODULES = (
    "kernels.arrays", "kernels.parallel", "kernels.vectors", "kernels.gemm", "kernels.gemv",
    "vectormath.straightline", "kernels.writer", "kernels.tiles", "kernels.convolution",
    "kernels.pooling", "vectormath.combining", "vectormath.roots", "vectormath.libm",
    "vectormath.logarithm", "vectormath.exponential", "vectormath.error_function",
    "vectormath.trigonometric", "vectormath.powers", "vectormath.gamma", "vectormath.randomness",
)  # fmt: skip


@dataclass(frozen=True)
class Import:
    """An imported name; ``name`` is empty for a plain ``import module``."""

    module: str
    name: str


@dataclass(frozen=True)
class Definition:
    """A statement at the top of a module with the comment above it, and the names it uses.

    One that defines no name acts when the module is imported, such as the binding of a routine to
    a symbol.
    """

    module: int
    line: int
    text: str
    names: frozenset[str]
    uses: frozenset[str]
    is_block: bool


def source_files() -> list[Path]:
    """The files that the helpers are defined in."""
    root = Path(__file__).parent.parent
    return [root.joinpath(*module.split(".")).with_suffix(".py") for module in MODULES]


def source_of(names: Iterable[str]) -> tuple[set[Import], str]:
    """What a file must import, and the source of the helpers ``names`` with all they depend on."""
    statements = read_statements()
    known = {name: item for item in statements if isinstance(item, Definition) for name in item.names}
    known_imports = {
        item.name or item.module.split(".")[0]: item
        for item in statements if isinstance(item, Import)
    }  # fmt: skip
    wanted: set[Definition] = set()
    imports: set[Import] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in known_imports:
            imports.add(known_imports[name])
        elif name in known and known[name] not in wanted:
            found = known[name]
            actions = [
                item for item in statements
                if isinstance(item, Definition) and item.module == found.module and not item.names
            ]  # fmt: skip
            for item in (found, *actions):
                wanted.add(item)
                waiting.extend(item.uses)
    return imports, joined(sorted(wanted, key=lambda item: (item.module, item.line)))


@cache
def read_statements() -> tuple[Import | Definition, ...]:
    """Everything at the top of the helpers' modules."""
    found: list[Import | Definition] = []
    for number, path in enumerate(source_files()):
        text = path.read_text(encoding="utf-8")
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Import):
                found += [Import(alias.name, "") for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                origin = statement.module or ""
                if origin.split(".")[0] != PACKAGE:
                    found += [Import(origin, alias.name) for alias in statement.names]
            elif defined_names(statement) or is_call(statement):
                found.append(
                    Definition(
                        number, statement.lineno, excerpt(text.splitlines(), statement),
                        frozenset(defined_names(statement)), used_names(statement),
                        isinstance(statement, ast.FunctionDef | ast.ClassDef),
                    )
                )  # fmt: skip
    return tuple(found)


def is_call(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def used_names(statement: ast.stmt) -> frozenset[str]:
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return frozenset(names - set(dir(builtins)))


def defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return []


def excerpt(lines: list[str], statement: ast.stmt) -> str:
    """The statement's lines with its decorators and the comment directly above."""
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return "\n".join(lines[first - 1 : statement.end_lineno])


def joined(parts: list[Definition]) -> str:
    """The definitions, with the blank lines that a formatter wants."""
    text = ""
    after_block = True
    for part in parts:
        blank = "\n\n\n" if part.is_block or after_block else "\n"
        text += blank + part.text
        after_block = part.is_block
    return text.strip()
