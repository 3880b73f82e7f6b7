"""The source of the helpers that generated code calls, gathered for files that stand alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "staticgrad"
#: where helpers live, in the order in which their definitions may stand in one file
MODULES = (
    "kernels.arrays", "kernels.blas", "vectormath.straightline", "vectormath.combining",
    "vectormath.roots", "vectormath.libm", "vectormath.logarithm", "vectormath.exponential",
    "vectormath.gamma",
)  # fmt: skip


class Import:
    """An imported name; ``name`` is empty for a plain ``import module``."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class Definition:
    """A statement at the top of a module with the comment above it, and the names it uses."""

    def __init__(self, module: int, text: str, statement: ast.stmt) -> None:
        self.module = module
        self.line = statement.lineno
        self.text = text
        self.is_block = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        self.uses = names - set(dir(builtins))
        # what runs at import, such as the binding of a routine to a symbol
        self.is_action = isinstance(statement, ast.Expr)


def source_files() -> list[Path]:
    """The files that the helpers are defined in."""
    root = Path(__file__).parent.parent
    return [root.joinpath(*module.split(".")).with_suffix(".py") for module in MODULES]


def source_of(names: Iterable[str]) -> tuple[dict[str, set[str]], str]:
    """What a file must import, and the source of the helpers ``names`` with all they depend on.

    The imports are the names wanted from each module, with an empty name for the module itself.
    """
    known = definitions()
    wanted: set[Definition] = set()
    imports: dict[str, set[str]] = {}
    waiting = list(names)
    while waiting:
        definition = known[waiting.pop()]
        if isinstance(definition, Import):
            imports.setdefault(definition.module, set()).add(definition.name)
        elif definition not in wanted:
            wanted.add(definition)
            same = [
                action for action in actions()
                if action.module == definition.module and action not in wanted
            ]  # fmt: skip
            wanted.update(same)
            for item in (definition, *same):
                waiting.extend(used for used in item.uses if used in known)
    ordered = sorted(wanted, key=lambda item: (item.module, item.line))
    return imports, joined(ordered)


@cache
def definitions() -> dict[str, Definition | Import]:
    """What each name at the top of the helpers' modules stands for."""
    found: dict[str, Definition | Import] = {}
    for module, path in enumerate(source_files()):
        text = path.read_text(encoding="utf-8")
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    found[alias.name.split(".")[0]] = Import(alias.name, "")
            elif isinstance(statement, ast.ImportFrom):
                origin = statement.module or ""
                if not origin.startswith(PACKAGE):
                    found.update({alias.name: Import(origin, alias.name) for alias in statement.names})
            else:
                definition = Definition(module, excerpt(text.splitlines(), statement), statement)
                for name in defined_names(statement):
                    assert not isinstance(found.get(name), Definition), f"{name} defined twice"
                    found[name] = definition
    return found


@cache
def actions() -> tuple[Definition, ...]:
    """The calls at the top of the helpers' modules, which a file needs beside what it uses."""
    found = []
    for module, path in enumerate(source_files()):
        text = path.read_text(encoding="utf-8")
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                found.append(Definition(module, excerpt(text.splitlines(), statement), statement))
    return tuple(found)


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
