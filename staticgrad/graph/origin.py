"""Where a node comes from: the user's line and the module path.

Messages, generated code and the views all cite the line that the user wrote, so every node takes it
down when it is made. Two things are cheap enough for that: walking a few frames, and keeping the
file name with the line number. The text of the line is read only when somebody asks for it.
"""

from __future__ import annotations

import ast
import bisect
import dis
import functools
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice, pairwise
from types import CodeType

#: where a statement begins and ends, as (line, column), and the name that it assigns to
Assignment = tuple[tuple[int, int], tuple[int, int], str]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEMO = _PACKAGE + "demo.py"
_origins: ContextVar[bool] = ContextVar("staticgrad_origins", default=True)
_naming: ContextVar[bool] = ContextVar("staticgrad_naming", default=True)
_scope: ContextVar[str] = ContextVar("staticgrad_scope", default="")


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's line that made a node: file, line number, function, and module path."""

    file: str
    line: int
    function: str
    scope: str = ""
    code: CodeType | None = field(default=None, compare=False, repr=False)
    instruction: int = field(default=0, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The source line itself, or an empty string where the source cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def target(self) -> str | None:
        """The variable which the user's statement assigns to, if it is a single name."""
        around = assignments(self.file).get(self.line, ())
        if self.code is None or not around:
            return None
        # found when asked for: to go through the positions takes longer than to make a node
        positions = next(islice(self.code.co_positions(), self.instruction // 2, None))
        line, _, column, _ = positions
        if not is_stored(self.code, self.instruction):
            return None
        for start, end, name in around:
            if line is None or column is None or start <= (line, column) < end:
                return name
        return None


def is_stored(code: CodeType, place: int) -> bool:
    """Whether a variable takes what the instruction at ``place`` leaves."""
    offsets, stored = _stored(code)
    # while a Python function is called, a frame stands at the end of what belongs to the call
    return stored[bisect.bisect_right(offsets, place) - 1]


@functools.lru_cache(maxsize=256)
def _stored(code: CodeType) -> tuple[list[int], list[bool]]:
    """Where instructions begin, and whether a variable takes what each leaves."""
    instructions = list(dis.get_instructions(code))
    stored = [following.opname.startswith("STORE_") for _, following in pairwise(instructions)]
    return [one.offset for one in instructions], [*stored, False]


def user_origin() -> Origin | None:
    """The innermost frame outside staticgrad, or None where there is none."""
    if not _origins.get():
        return None
    frame = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    code = frame.f_code
    return Origin(
        code.co_filename, frame.f_lineno, code.co_name, _scope.get(),
        code if _naming.get() else None, frame.f_lasti,
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def is_internal(file: str) -> bool:
    """Whether a file is no user's: staticgrad's own, but for its demo, or Python's machinery."""
    return (file.startswith(_PACKAGE) and file != _DEMO) or file.startswith("<frozen")


@contextmanager
def without_origins() -> Iterator[None]:
    """Nodes made inside come from no line of the user's: a command makes them, for one."""
    token = _origins.set(False)
    try:
        yield
    finally:
        _origins.reset(token)


@contextmanager
def unnamed_results() -> Iterator[None]:
    """Nodes made inside are not what the user's statement assigns, and do not take its name."""
    token = _naming.set(False)
    try:
        yield
    finally:
        _naming.reset(token)


def current_scope() -> str:
    """The module path of nodes that are made now; empty outside of modules."""
    return _scope.get()


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
def assignments(file: str) -> dict[int, list[Assignment]]:
    """For each line of ``file``: the statements ``name = expression`` that it is a part of.

    This is how ``hidden = sg.tanh(x @ W)`` gets its name in the generated code without the user
    saying it twice.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, list[Assignment]] = {}
    for statement in _statements(tree):
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name):
            first, last = statement.lineno, statement.end_lineno or statement.lineno
            end = (last, statement.end_col_offset or 0)
            for line in range(first, last + 1):
                found.setdefault(line, []).append(
                    ((first, statement.col_offset), end, target.id)
                )
    return found


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements, also those within others; expressions, which are most of a tree, are left out."""
    waiting = [tree]
    while waiting:
        outer = waiting.pop()
        for name in ("body", "handlers", "orelse", "finalbody", "cases"):
            inner = getattr(outer, name, None)
            if isinstance(inner, list):  # an expression with an ``if`` has single ones
                waiting += inner
        yield outer
