"""What was measured, as text: a table for the terminal, and bench/RESULTS.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from staticgrad.measure.text import duration, number, size

from . import libraries
from .crossover import Point
from .suite import EAGER, OURS, Result

SHOWN = tuple(libraries.LIBRARIES)
#: bars on starting: factors of the peers' cold compilation, and seconds
COLD_BARS = {"JAX jit": 1.5, "torch.compile": 0.25, "PyTensor": 0.25}
WARM_BAR, IMPORT_BAR = 0.1, 0.6
GRADIENT_BAR = 2.5


@dataclass
class Report:
    """Everything that a run has found."""

    command: str
    processor: str
    threads: int
    versions: dict[str, str]
    date: str
    rounds: int
    bandwidth: float | None = None
    results: list[Result] = field(default_factory=list)
    fresh_workload: str = ""
    #: by library: "cold" and "warm", each with "import", "first" and "peak memory"
    fresh: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    fresh_failures: dict[str, str] = field(default_factory=dict)
    crossover: list[Point] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Check:
    """A bar, and what was measured against it."""

    what: str
    where: str
    measured: float
    bar: float
    #: whether the bar is the least that is wanted, or the most
    least: bool
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return self.measured >= self.bar if self.least else self.measured <= self.bar

    @property
    def verdict(self) -> str:
        if self.reached:
            return "reached"
        by = self.bar / self.measured if self.least else self.measured / self.bar
        return (
            f"missed by {100 * (by - 1):.0f} %" if by < 2 else f"missed by a factor of {number(by)}"
        )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """In Markdown, of even width, to be read as it is; ``left`` are the columns of words."""
    widths = [max(3, *(len(row[k]) for row in [head, *rows])) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(w) if k in left else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * w if k in left else "-" * (w - 1) + ":" for k, w in enumerate(widths)]
    return "\n".join([line(head), "| " + " | ".join(rule) + " |", *map(line, rows)])


# ---- tables -----------------------------------------------------------------------------------------


def overview(report: Report) -> str:
    """A row for each workload: our time, and how many times as long the others take."""
    rows = []
    for result in report.results:
        ours, limit = result.median(OURS), result.median("limit")
        row = [result.workload, duration(ours) if ours else "-"]
        for name in SHOWN[1:]:
            factor = result.faster_than(name)
            row.append(f"{number(factor)}x" if factor else "-")
        row.append(f"{number(ours / limit)}x" if ours and limit else "-")
        rows.append(row)
    return table(["workload", "static", *SHOWN[1:], "above limit"], rows)


def checks(report: Report) -> list[Check]:
    """Every bar for which there are measurements."""
    found = []
    for result in report.results:
        eager, compiler, limit = result.bars
        ours, name = result.median(OURS), result.best_compiler()
        if ours is None:
            continue
        for other, bar in (("PyTorch eager", eager), (name, compiler)):
            factor = result.faster_than(other) if other else None
            if factor:
                kind = other if other == "PyTorch eager" else f"best compiler ({other})"
                found.append(Check(f"faster than {kind}", result.workload, factor, bar, True))
        bound = result.median("limit")
        if bound:
            found.append(Check("above the limit", result.workload, ours / bound, limit, False))
        alone = result.median("function alone")
        if alone and result.elementwise:
            what = "function with gradient / function"
            found.append(Check(what, result.workload, ours / alone, GRADIENT_BAR, False))
    mine = report.fresh.get(OURS)
    if mine:
        for name, bar in COLD_BARS.items():
            other = report.fresh.get(name)
            if other:
                factor = mine["cold"]["first"] / other["cold"]["first"]
                what = f"cold compile / {name}'s"
                found.append(Check(what, report.fresh_workload, factor, bar, False))
        warm = mine["warm"]["first"]
        found.append(Check("warm start", report.fresh_workload, warm, WARM_BAR, False, "s"))
        imported = mine["cold"]["import"]
        found.append(Check("import staticgrad", "", imported, IMPORT_BAR, False, "s"))
    return found


def check_table(found: Sequence[Check]) -> str:
    rows = [
        [c.where, c.what, f"{number(c.measured)} {c.unit}",
         f"{'at least' if c.least else 'at most'} {number(c.bar)} {c.unit}", c.verdict]
        for c in found
    ]  # fmt: skip
    return table(["workload", "bar", "measured", "wanted", ""], rows, left=(0, 1, 4))


def details(report: Report) -> str:
    """A row for each workload and library."""
    rows = []
    for result in report.results:
        for name in (*SHOWN, "function alone", "limit"):
            timing = result.timings.get(name)
            if timing is None:
                continue
            memory = result.allocated.get(name)
            factor = result.faster_than(name)
            rows.append([
                result.workload, name, duration(timing.median),
                f"{duration(timing.low)} to {duration(timing.high)}",
                f"{number(factor)}x" if factor else "-",
                duration(result.first[name]),
                *((size(memory.total), size(memory.peak)) if memory else ("-", "-")),
            ])  # fmt: skip
    head = ["workload", "library", "median", "quartiles", "of ours", "first result", "allocated",
            "peak"]  # fmt: skip
    return table(head, rows, left=(0, 1))


def break_evens(results: Sequence[tuple[str, Result]]) -> str:
    rows = []
    for label, result in results:
        ours = result.median(OURS)
        if ours is None or not any(name in result.timings for name in EAGER):
            continue
        row = [label, duration(max(result.first[OURS] - ours, 0))]
        for name in EAGER:
            steps = result.break_even(name)
            row.append("-" if steps is None else "never" if math.isinf(steps) else f"{steps:,.0f}")
        rows.append(row)
    return table(["workload", "compile", *(f"steps against {name}" for name in EAGER)], rows)


def fresh_table(report: Report) -> str:
    rows = []
    for name, found in report.fresh.items():
        cold, warm = found["cold"], found["warm"]
        peaks = [
            size(kind["peak memory"]) if "peak memory" in kind else "-" for kind in (cold, warm)
        ]
        rows.append([name, duration(cold["import"]), duration(cold["first"]),
                     duration(warm["first"]), *peaks])  # fmt: skip
    head = ["library", "import", "first result, cold", "first result, warm", "peak memory, cold",
            "peak memory, warm"]  # fmt: skip
    return table(head, rows)


# ---- texts ------------------------------------------------------------------------------------------


def environment(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    text = (
        f"{report.processor}, {report.threads} thread{'s' if report.threads > 1 else ''}; {versions}; "
        f"{report.date}."
    )
    if report.bandwidth:
        text += f" Memory bandwidth (triad): {number(report.bandwidth / 1e9)} GB/s."
    return text


def faults(report: Report) -> list[str]:
    """What is not in the tables, and why."""
    lines = []
    for result in report.results:
        lines += [
            f"{result.workload}, {n}: wrong numbers, {why}" for n, why in result.wrong.items()
        ]
        lines += [f"{result.workload}, {n}: {why}" for n, why in result.missing.items()]
    lines += [f"fresh process, {name}: {why}" for name, why in report.fresh_failures.items()]
    return lines


def terminal(report: Report) -> str:
    """What is printed at the end."""
    parts = [environment(report)]
    if report.results:
        parts += [overview(report), check_table(checks(report)), break_evens(_by_name(report))]
    if report.fresh:
        parts.append(fresh_table(report))
    if report.crossover:
        parts.append(break_evens(_by_size(report)))
    return "\n\n".join([*parts, "\n".join(faults(report))]).rstrip()


def _by_name(report: Report) -> list[tuple[str, Result]]:
    return [(result.workload, result) for result in report.results]


def _by_size(report: Report) -> list[tuple[str, Result]]:
    return [(f"{p.parameters:,} parameters", p.result) for p in report.crossover]


def markdown(report: Report, picture: str) -> str:
    """The whole report."""
    found = checks(report)
    reached = sum(check.reached for check in found)
    parts = [
        "# Benchmark",
        f"Made by `{report.command}`; edits are not kept.",
        environment(report),
        f"Each workload runs with every library in turns, {report.rounds} rounds, each library in a "
        "process of its own on the same cores, after its numbers have agreed with the same formulas "
        "in float64. A network's step is forward, backward and the optimizer's update; for functions "
        "it is the value and all gradients. Data is in the library's own arrays.",
        "## Overview",
        "Medians: our time, and how many times as long the others take. The last column is our time "
        "over that of the limit (below).",
        overview(report),
        table(["workload", "what"], [[r.workload, r.title] for r in report.results], left=(0, 1)),
        "## Bars",
        f"{reached} of {len(found)} are reached.",
        check_table(found),
        "## When compiling has paid",
        "`compile` is the time from the declaration to the first result, less one step, with an empty "
        "cache, in a process that has compiled something before. A step count is how often the step "
        "has to be taken until the compiled way has taken no longer than the eager one; with the "
        "function in the cache it is far less.",
        break_evens(_by_name(report)),
    ]
    if report.crossover:
        parts += [
            "## Against the size of the model",
            *(
                [f"![Time per step, and steps until compiling has paid]({picture})"]
                if picture
                else []
            ),
            break_evens(_by_size(report)),
        ]
    if report.fresh:
        parts += [
            "## Starting",
            f"The workload `{report.fresh_workload}` in fresh processes, medians. Import is that of "
            "the library alone. The first result is counted from the end of the import: declaring, "
            "whatever the library starts up only then, compiling, one step. Cold is with empty caches, "
            "warm with what the first process left on disk (JAX leaves nothing by default). Peak "
            "memory is of the whole process.",
            fresh_table(report),
        ]
    parts += [
        "## All figures",
        "`first result` is from the declaration on, in a process that has compiled before, with empty "
        "caches. `allocated` is all bytes that a step allocates, added up, and `peak` how far memory "
        "rises meanwhile: for staticgrad the memory that Python and NumPy trace (a compiled step's "
        "workspace is kept from call to call), for PyTorch what its profiler says; the others allocate "
        "where neither sees it.",
        details(report),
        "## Limits",
        "What a step cannot be much faster than: kernels written by hand for this one workload, with "
        "all memory allocated before, or the matrix products alone with the optimizer's pass over "
        "memory (activations, losses and everything else left out).",
        table(["workload", "limit", "time"],
              [[r.workload, r.limit, duration(r.timings["limit"].median)] for r in report.results
               if "limit" in r.timings], left=(0, 1)),
    ]  # fmt: skip
    left_out = faults(report)
    if left_out:
        parts += ["## Left out", "\n".join(f"- {line}" for line in left_out)]
    parts.append(f"The run took {number(report.seconds / 60)} minutes.")
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """All figures, for other programs."""
    figures = asdict(report)
    figures["checks"] = [{**asdict(check), "reached": check.reached} for check in checks(report)]
    for result, entry in zip(report.results, figures["results"], strict=True):
        steps = {name: result.break_even(name) for name in EAGER}
        entry["break_even"] = {
            name: None if value is None or math.isinf(value) else value
            for name, value in steps.items()
        }
        entry["best_compiler"] = result.best_compiler()
    return figures
