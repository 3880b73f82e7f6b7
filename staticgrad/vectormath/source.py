"""The functions' source as one self-contained piece of Python, for exported files."""

import ast
import builtins
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "staticgrad.vectormath"
# in the order in which their definitions may stand in one file
MODULES = ("straightline", "combining", "roots", "first")


def source_of(names: Iterable[str]) -> str:
    """Python source that defines the functions ``names`` and all they depend on, imports first."""
    definitions = read_definitions()
    wanted = set()
    imports: dict[str, set[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            raise KeyError(f"{PACKAGE} has no {name!r}")
        definition = definitions[name]
        if isinstance(definition, Import):
            imports.setdefault(definition.module, set()).add(definition.name)
        elif definition not in wanted:
            wanted.add(definition)
            waiting.extend(used for used in definition.uses if used in definitions)
    ordered = sorted(wanted, key=lambda definition: definition.position)
    return import_block(imports) + joined(ordered)


class Import:
    """An imported name; ``name`` is empty for a plain ``import module``."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class Definition:
    """A statement at the top of a module with the comment above it, and the names it uses."""

    def __init__(self, position: tuple[int, int], text: str, statement: ast.stmt) -> None:
        self.position = position
        self.text = text
        self.is_block = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        self.uses = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name)
        } - set(dir(builtins))


@cache
def read_definitions() -> dict[str, Definition | Import]:
    """What each name at the top of the package's modules stands for."""
    found: dict[str, Definition | Import] = {}
    for number, module in enumerate(MODULES):
        text = (Path(__file__).parent / f"{module}.py").read_text()
        lines = text.splitlines()
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Import):
                found.update({a.name: Import(a.name, "") for a in statement.names})
            elif isinstance(statement, ast.ImportFrom):
                source = statement.module or ""
                if not source.startswith(PACKAGE):
                    found.update({a.name: Import(source, a.name) for a in statement.names})
            else:
                definition = Definition(
                    (number, statement.lineno), excerpt(lines, statement), statement
                )
                for name in defined_names(statement):
                    assert not isinstance(found.get(name), Definition), f"{name} defined twice"
                    found[name] = definition
    return found


def defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return []


def excerpt(lines: list[str], statement: ast.stmt) -> str:
    """The statement's lines with its decorators and the comment directly above and behind it."""
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return "\n".join(lines[first - 1 : statement.end_lineno])


def import_block(imports: dict[str, set[str]]) -> str:
    """Standard library first, then the rest; plain imports before the others, as isort has it."""
    plain = sorted(f"import {module}" for module, names in imports.items() if "" in names)
    others = sorted(
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in imports.items()
        if "" not in names
    )
    return "\n\n".join("\n".join(group) for group in (plain, others) if group)


def joined(definitions: list[Definition]) -> str:
    """The definitions, with the blank lines that the formatter wants."""
    text = ""
    after_block = True
    for definition in definitions:
        starts_comment = definition.text.startswith("#")
        blank = "\n\n\n" if definition.is_block or after_block else "\n\n" if starts_comment else "\n"
        text += blank + definition.text
        after_block = definition.is_block
    return text + "\n"
