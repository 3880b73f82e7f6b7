"""The modules that generated code calls into, and copies of them for files that stand alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: the packages that generated code imports from. They import nothing of the library but each other,
#: and the names of their modules differ
PACKAGES = ("kernels", "vectormath")
#: how their modules import from each other
OWN_IMPORT = re.compile(r"^from staticgrad\.(\w+\.(\w+)) import ", re.MULTILINE)


def source_files() -> list[Path]:
    """The files that the helpers are defined in."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]


@cache
def module_of_function() -> dict[str, str]:
    """The module of each function of ``staticgrad.vectormath``, such as ``vectormath.powers``."""
    tree = ast.parse((ROOT / "vectormath" / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: (statement.module or "").removeprefix("staticgrad.")
        for statement in tree.body if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }  # fmt: skip


def copies(modules: Iterable[str]) -> dict[str, str]:
    """The text of each module, such as ``kernels.arrays``, and of all that they import, for one
    package: by the names of its files."""
    waiting, texts = list(modules), {}
    while waiting:
        module = waiting.pop()
        file = module.split(".")[1] + ".py"
        if file in texts:
            continue
        text = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        waiting += [found[0] for found in OWN_IMPORT.findall(text)]
        texts[file] = _within_one_package(text)
    return dict(sorted(texts.items()))


def _within_one_package(text: str) -> str:
    """A module whose imports from the library are from the modules beside it, in order."""
    lines = text.splitlines(keepends=True)
    own = [
        statement for statement in ast.parse(text).body
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("staticgrad.")
    ]  # fmt: skip
    if not own:
        return text
    first, last = own[0].lineno - 1, own[-1].end_lineno
    parts = ["".join(lines[s.lineno - 1 : s.end_lineno]) for s in own]
    block = "".join(sorted(OWN_IMPORT.sub(r"from .\2 import ", part) for part in parts))
    return "".join([*lines[:first], block, *lines[last:]])
