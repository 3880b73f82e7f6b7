"""Where a node comes from: the user's line and the module path.

Messages, generated code and the views all cite the line that the user wrote, so every node takes it
down when it is made. Two things are cheap enough for that: walking a few frames, and keeping the
file name with the line number. The text of the line is read only when somebody asks for it.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_scope: ContextVar[str] = ContextVar("staticgrad_scope", default="")


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's line that made a node: file, line number, function, and module path."""

    file: str
    line: int
    function: str
    scope: str = ""

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The source line itself, or an empty string where the source cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def target(self) -> str | None:
        """The variable which the statement on this line assigns to, if it is a single name."""
        return assignment_targets(self.file).get(self.line)


def user_origin() -> Origin | None:
    """The innermost frame outside staticgrad, or None where there is none."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    code = frame.f_code
    return Origin(code.co_filename, frame.f_lineno, code.co_name, _scope.get())


@contextmanager
def name_scope(name: str) -> Iterator[None]:
    """Nodes made inside carry ``name`` in their module path, joined by dots when nested."""
    outer = _scope.get()
    token = _scope.set(f"{outer}.{name}" if outer else name)
    try:
        yield
    finally:
        _scope.reset(token)


@functools.lru_cache(maxsize=256)
def assignment_targets(file: str) -> dict[int, str]:
    """For each line of ``file`` covered by ``name = expression``: the name.

    This is how ``hidden = sg.tanh(x @ W)`` gets its name in the generated code without the user
    saying it twice.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    targets: dict[int, str] = {}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name):
            for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
                targets[line] = target.id
    return targets
