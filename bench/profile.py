"""Where the time of a step goes: its generated function with a clock between the statements.

The clock keeps the compiler from merging statements, which it rarely does; on steps of a microsecond
it takes much of the time itself.
"""

from __future__ import annotations

import ast
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import libraries
from .report import duration, table
from .workload import Workload

SECONDS = 1.0


@intrinsic
def ticks(context):
    """The processor's cycle counter."""

    def generate(target, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(64), [])
        name = "llvm.readcyclecounter"
        counter = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(counter, [])

    return types.int64(), generate


def profile(workload: Workload) -> str:
    """A table of the statements of the workload's step, the longest first."""
    if workload.epoch:
        raise ValueError(f"{workload.name} is many steps; profile one of them")
    step = libraries.compiled(workload)
    arrays = list(workload.inputs.values())
    if not workload.optimizer:
        arrays = [*workload.parameters.values(), *arrays]
    step(*arrays)  # which makes the workspace large enough
    function = getattr(step, "function", step)
    timed, statements = with_clock(function.source, function.name)
    total = np.zeros(len(statements), dtype=np.int64)
    results = function.results(arrays)

    def call() -> None:
        status = timed(*arrays, *function.fixed, *results, total)
        assert status == 0, f"the step returned {status}"

    call()
    total[:] = 0
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS or calls < 3:
        call()
        calls += 1
    per_call = passed / calls
    share = total / max(total.sum(), 1)
    rows = [
        [f"{share[k]:.1%}", duration(share[k] * per_call), statements[k]]
        for k in np.argsort(-share)
        if share[k] >= 0.005
    ]
    head = table(["share", "time", "statement"], rows, left=(2,))
    return f"{workload.name}: {duration(per_call)} per step; {function.path}\n\n{head}"


def with_clock(source: str, name: str) -> tuple[Any, list[str]]:
    """The function with an argument more, in which cycles are added up, and what each is of."""
    tree = ast.parse(source)
    lines = source.splitlines()
    (entry,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    statements: list[str] = []

    def clocked(body: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in body:
            found.append(statement)
            if _over_layers(statement):
                assert isinstance(statement, ast.For)
                statement.body = clocked(statement.body)
            elif isinstance(statement, ast.For | ast.Expr):
                statements.append(_described(statement, lines))
                text = (
                    "clock_now = clock_ticks()\n"
                    f"clock_total[{len(statements) - 1}] += clock_now - clock_last\n"
                    "clock_last = clock_ticks()"
                )
                found += ast.parse(text).body
        return found

    begin = ast.parse("clock_last = clock_ticks()").body
    entry.body = [*begin, *clocked(entry.body)]
    entry.args.args.append(ast.arg("clock_total"))
    entry.decorator_list = []
    ast.fix_missing_locations(tree)
    namespace: dict[str, Any] = {"clock_ticks": ticks}
    exec(compile(tree, f"<profile of {name}>", "exec"), namespace)
    return njit(error_model="numpy")(namespace[name]), statements


def _over_layers(statement: ast.stmt) -> bool:
    """Whether this is a loop over the layers of a model, which is of interest layer part by part."""
    return (
        isinstance(statement, ast.For)
        and isinstance(statement.target, ast.Name)
        and statement.target.id.startswith("layer")
    )


def _described(statement: ast.stmt, lines: list[str]) -> str:
    """A statement's line, how it begins, and the comment above it."""
    above = statement.lineno - 2
    comment = ""
    while above >= 0 and lines[above].strip().startswith("# ") and "----" not in lines[above]:
        comment = lines[above].strip()
        above -= 1
    text = lines[statement.lineno - 1].strip()
    if isinstance(statement, ast.Expr) and not text.endswith(")"):
        text = " ".join(ast.unparse(statement).split())
    shown = f"{statement.lineno}: {text}  {comment}" if comment else f"{statement.lineno}: {text}"
    return shown if len(shown) <= 100 else shown[:97] + "..."
