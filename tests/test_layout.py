"""The rooms of the package: imports go one way."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent / "staticgrad"
#: from the bottom to the top; a module imports from its own room and from those before it. What
#: generated code calls stands at the bottom: it goes into files that run by themselves
ROOMS = ["vectormath", "kernels", "version", "graph", "random", "ops", "rewrite", "show", "derive",
         "codegen", "runtime", "eager", "nn", "optim", "training", "checking", "sklearn", "measure",
         "explain", "demo", "cli"]  # fmt: skip
LONGEST_FILE = 450


def imports(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        rooms |= {name.split(".")[1] for name in names if name.startswith("staticgrad.")}
    return rooms


def test_imports_go_downward() -> None:
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        used = imports(path) - {room}
        if room in ROOMS:
            below = ROOMS[: ROOMS.index(room)]
            assert used <= set(below), f"{path} imports {used - set(below)}"
        else:
            assert room in ("__init__", "__main__"), path


def test_the_top_level_holds_no_code() -> None:
    assert not list(ROOT.parent.glob("*.py")) and not list(ROOT.parent.glob("*_kernels"))


def test_files_can_be_read_in_a_sitting() -> None:
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, path


def test_all_packages_are_installed() -> None:
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"staticgrad": ROOT, "staticgrad_bench": ROOT.parent / "bench"}
    found = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in folders.items()
        for path in folder.rglob("__init__.py")
    }
    assert set(settings["packages"]) == found
