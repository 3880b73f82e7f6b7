"""Generated code with a clock between its kernels, and what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staticgrad.codegen.cost import total, touched_bytes, work
from staticgrad.codegen.module import Generated
from staticgrad.codegen.program import Rolled, Statement, statements
from staticgrad.codegen.spans import Mark, Span
from staticgrad.graph.dims import Dim, concrete
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin

#: names that no user's variable has
LAPS, BEFORE = "profile__laps", "profile__before"
CALL = "from staticgrad.kernels.clock import lap, started\n"
#: where a formula comes from, at the end of its comment
PROVENANCE = re.compile(r"\s*\[[^\[\]]*\]$")
#: what comes before the first kernel
PREPARATION = "sizes, views of parameters and workspace"


@dataclass(frozen=True)
class Kernel:
    """A kernel of a generated module, or numbers that are computed one after the other.

    Attributes:
        section: "forward", "backward", "update" or "check"; "start" for what comes before all.
        first, last: its lines in the module, from 1.
        formula: what it computes. names: of what it stores.
        origin: the user's line, or None.
        flops, bytes: of a call, in terms of the named dimensions.
    """

    section: str
    first: int
    last: int
    formula: str
    names: tuple[str, ...] = ()
    origin: Origin | None = None
    flops: Dim = 0
    bytes: Dim = 0

    def cost(self, sizes: Mapping[Any, int]) -> tuple[int, int]:
        """Operations and bytes for given sizes."""
        return int(concrete(self.flops, sizes)), int(concrete(self.bytes, sizes))


def instrumented(generated: Generated) -> tuple[str, list[Kernel]]:
    """The module with one argument more, in which each kernel adds up the time it takes, and the
    kernels in the order of these counts; after them come the time that a clock takes, and when the
    call began."""
    tree = ast.parse(generated.source)
    (entry,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == generated.name)
    lines = generated.source.splitlines()
    body = entry.body[0].lineno
    assert entry.end_lineno is not None
    kernels = [Kernel("start", body, body, PREPARATION)]
    inserted: dict[int, str] = {}
    turns = layers(generated.program.items)
    for group in grouped(generated, body, entry.end_lineno, lines):
        span = group[-1][1]
        line = lines[code_line(lines, span) - 1]
        indent = " " * (len(line) - len(line.lstrip()))
        inserted[span.last] = f"{indent}{BEFORE} = lap({LAPS}, {len(kernels)}, {BEFORE})"
        kernels.append(described(group, lines, generated.program.names, turns))
    # the clock before the first kernel closes what prepares it, also where that is in a loop
    first = min((kernel.first for kernel in kernels[1:]), default=entry.end_lineno)
    kernels[0] = Kernel("start", body, max(body, first - 1), PREPARATION)
    outer = next((n.lineno for n in entry.body if first <= (n.end_lineno or 0)), first)
    while outer > 1 and lines[outer - 2].lstrip().startswith("#"):
        outer -= 1
    if outer > body:
        inserted[outer - 1] = f"    {BEFORE} = lap({LAPS}, 0, {BEFORE})"
    text: list[str] = []
    for number, line in enumerate(lines, 1):
        if number == body:
            # two readings with nothing in between: what a clock takes
            text.append(f"    {BEFORE} = started({LAPS})")
            text.append(f"    {BEFORE} = lap({LAPS}, {len(kernels)}, {BEFORE})")
        text.append(line)
        if number in inserted:
            text.append(inserted[number])
    argument = entry.args.args[-1]
    assert argument.end_lineno is not None and argument.end_col_offset is not None
    place, column = argument.end_lineno - 1, argument.end_col_offset
    text[place] = f"{text[place][:column]}, {LAPS}{text[place][column:]}"
    source = "\n".join(text) + "\n"
    at = source.index("\n@njit")
    return f"{source[:at].rstrip()}\n{CALL}\n{source[at:]}", kernels


def grouped(
    generated: Generated, first: int, last: int, lines: Sequence[str]
) -> Iterator[list[tuple[Mark, Span]]]:
    """The kernels between two lines; numbers that are computed one after the other come together."""
    found: list[tuple[Mark, Span]] = []
    pairs = zip(generated.marks, generated.spans, strict=True)
    for mark, span in sorted(pairs, key=lambda pair: pair[1].first):
        if span.kind != "kernel" or not first <= span.first <= last:
            continue
        if found and not (
            is_number(found[-1][0]) and is_number(mark) and is_next(found[-1][1], span, lines)
        ):
            yield found
            found = []
        found.append((mark, span))
    if found:
        yield found


def is_number(mark: Mark) -> bool:
    """Whether a kernel computes single numbers, in less time than a clock takes."""
    return all(isinstance(m, Statement) and not m.domain for m in mark.members)


def is_next(before: Span, after: Span, lines: Sequence[str]) -> bool:
    """Whether one kernel follows the other in the same section, with nothing but space in between."""
    between = lines[before.last : after.first - 1]
    return before.section == after.section and not any(line.strip() for line in between)


def code_line(lines: Sequence[str], span: Span) -> int:
    """The first line of a span that is no comment."""
    return next(n for n in range(span.first, span.last + 1) if not is_comment(lines[n - 1]))


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def layers(items: Sequence[Any]) -> dict[int, list[Any]]:
    """For each statement and call in the first turn of a loop over layers, those of all turns."""
    found: dict[int, list[Any]] = {}
    for item in items:
        if isinstance(item, Rolled):
            for column in zip(*(statements(turn) for turn in item.turns), strict=True):
                found[id(column[0])] = list(column)
    return found


def described(
    group: Sequence[tuple[Mark, Span]], lines: Sequence[str], names: Mapping[Node, str],
    turns: Mapping[int, list[Any]],
) -> Kernel:  # fmt: skip
    """A kernel, with its formula, the user's line and its cost."""
    first, last = group[0][1].first, group[-1][1].last
    columns = [turns.get(id(m), [m]) for mark, _ in group for m in mark.members]
    members = [member for column in columns for member in column]
    count = max(map(len, columns), default=1)
    moved = total(
        amount for turn in range(count)
        for amount in touched_bytes([column[turn] for column in columns if turn < len(column)]).values()
    )  # fmt: skip
    stored = tuple(dict.fromkeys(names[m.node] for m in members if m.node in names))
    formula = formula_of(lines[first - 1 : last])
    origin = next((m.node.origin for m in members if m.node.origin is not None), None)
    return Kernel(
        group[0][1].section, first, last, formula or ", ".join(stored), stored, origin,
        total(map(work, members)), moved,
    )  # fmt: skip


def formula_of(lines: Sequence[str]) -> str:
    """The mathematics in the comments above a kernel or beside it; of lines without any, the code."""
    above: list[str] = []
    code: list[str] = []
    for line in lines:
        text = line.strip()
        if not is_comment(line):
            continued = code and code[-1].count("(") > code[-1].count(")")
            if continued:
                space = "" if code[-1].endswith("(") or text.startswith(")") else " "
                code[-1] = f"{code[-1]}{space}{text}"
            elif text:
                code.append(text)
        elif text.startswith("#     ") and above:
            above[-1] += f" {text[1:].strip()}"
        else:
            above.append(text[1:].strip())
    formulas = [found for found in (PROVENANCE.sub("", text) for text in above) if found]
    if formulas:
        return "; ".join(formulas)
    beside = [text.split("  # ") for text in code]
    told = [PROVENANCE.sub("", parts[1]) if len(parts) > 1 else "" for parts in beside]
    return "; ".join(formula or parts[0] for formula, parts in zip(told, beside, strict=True))


__all__ = ["Kernel", "instrumented"]
