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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice, pairwise, takewhile
from types import CodeType, FrameType
from typing import Any, NamedTuple, Union

#: the variable that takes a value, or those that take each of several; None where there is none
Target = Union[str, tuple["Target", ...], None]  # noqa: UP007  refers to itself

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEMO = _PACKAGE + "demo.py"
_origins: ContextVar[bool] = ContextVar("staticgrad_origins", default=True)
_naming: ContextVar[bool] = ContextVar("staticgrad_naming", default=True)
_scope: ContextVar[str] = ContextVar("staticgrad_scope", default="")


class Assignment(NamedTuple):
    """What is assigned to ``target``: the value of a statement that begins and ends at these lines and
    columns, or the element there of a tuple which the statement takes apart."""

    start: tuple[int, int]
    end: tuple[int, int]
    target: Target
    is_element: bool = False


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
        targets = self.targets
        return targets if isinstance(targets, str) else None

    @property
    def targets(self) -> Target:
        """The variable, or the variables, which the user's statement assigns to."""
        around = assignments(self.file).get(self.line, ())
        if self.code is None or not around:
            return None
        # found when asked for: to go through the positions takes longer than to make a node
        positions = next(islice(self.code.co_positions(), self.instruction // 2, None))
        line, last, column, last_column = positions
        following = following_instruction(self.code, self.instruction)
        for assignment in around:
            if assignment.is_element:
                if (last, last_column) == assignment.end:
                    return assignment.target
            elif following.startswith(
                "STORE_" if isinstance(assignment.target, str) else "UNPACK_"
            ) and (line is None or column is None
                   or assignment.start <= (line, column) < assignment.end):  # fmt: skip
                return assignment.target
        return None


def following_instruction(code: CodeType, place: int) -> str:
    """The operation that takes what the instruction at ``place`` leaves."""
    offsets, names = _following(code)
    # while a Python function is called, a frame stands at the end of what belongs to the call
    return names[bisect.bisect_right(offsets, place) - 1]


@functools.lru_cache(maxsize=256)
def _following(code: CodeType) -> tuple[list[int], list[str]]:
    """Where instructions begin, and what comes after each."""
    instructions = list(dis.get_instructions(code))
    following = [after.opname for _, after in pairwise(instructions)]
    return [one.offset for one in instructions], [*following, ""]


def user_origin() -> Origin | None:
    """The innermost frame outside staticgrad, or None where there is none."""
    frame = _user_frame()
    return None if frame is None else _origin(frame)


def _origin(frame: FrameType) -> Origin:
    code = frame.f_code
    return Origin(
        code.co_filename, frame.f_lineno, code.co_name, _scope.get(),
        code if _naming.get() else None, frame.f_lasti,
    )  # fmt: skip


def variable_of(value: Any) -> str | None:
    """What the user calls ``value``: the variable that holds this very object where the innermost
    frame outside staticgrad stands."""
    frame = _user_frame()
    if frame is None:
        return None
    code, inner = frame.f_code, frame.f_locals
    for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars, *code.co_names):
        held = inner[name] if name in inner else frame.f_globals.get(name)
        if held is value and _says_something(name):
            return name
    return None


def _user_frame() -> FrameType | None:
    if not _origins.get():
        return None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _says_something(name: str) -> bool:
    """Whether a variable's name is one: no ``_``, and nothing that a rewritten test holds."""
    return name.isidentifier() and bool(name.strip("_"))


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


def assigned(function: Callable[..., Any], results: Any) -> Iterator[tuple[str, Any]]:
    """What ``function`` is about to return, each value with the variable that takes it: both of
    ``u_x, u_t = sg.grad(...)``. Nothing where another function of staticgrad has called this one."""
    frame, called = _user_frame(), sys._getframe(1)
    while called.f_back is not None and called.f_back is not frame:
        called = called.f_back
    if frame is not None and called.f_code is function.__code__:
        yield from _paired(_origin(frame).targets, results)


def _paired(target: Target, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(target, str):
        yield target, value
    elif target is not None and isinstance(value, (list, tuple)):
        for inner, item in zip(target, value, strict=False):
            yield from _paired(inner, item)


@functools.lru_cache(maxsize=256)
def assignments(file: str) -> dict[int, list[Assignment]]:
    """For each line of ``file``: the assignments to variables that it is a part of.

    This is how ``hidden = sg.tanh(x @ W)`` gets its name in the generated code without the user
    saying it twice.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, list[Assignment]] = {}
    for statement in _statements(tree):
        for assignment in _assignments(statement):
            for line in range(assignment.start[0], assignment.end[0] + 1):
                found.setdefault(line, []).append(assignment)
    return found


def _assignments(statement: Any) -> Iterator[Assignment]:
    """``name = value``, ``first, second = values`` and ``first, second = value, value``."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = _names(statement.targets[0])
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        target = _names(statement.target)
    else:
        return
    values = statement.value.elts if isinstance(statement.value, (ast.Tuple, ast.List)) else []
    if isinstance(target, str) or not values:
        if target is not None:
            yield Assignment(*_extent(statement), target)
        return
    for inner, value in zip(target or (), values, strict=False):
        if isinstance(value, ast.Starred):
            return
        if isinstance(inner, str):
            yield Assignment(*_extent(value), inner, is_element=True)


def _extent(part: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def _names(target: ast.AST) -> Target:
    """The names in what is assigned to; of several up to one with a star, which takes any number."""
    if isinstance(target, ast.Name):
        return target.id if _says_something(target.id) else None
    if isinstance(target, (ast.Tuple, ast.List)):
        plain = takewhile(lambda item: not isinstance(item, ast.Starred), target.elts)
        return tuple(_names(item) for item in plain)
    return None


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
