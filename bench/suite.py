"""The suite: every workload with every library, checked against float64, then timed in turns."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from staticgrad.measure.allocations import Allocated
from staticgrad.measure.timing import Repeat, Timing, break_even, in_turns

from . import libraries
from .worker import CHECKED_CALLS, Crew, Failure
from .workload import Workload

OURS = "staticgrad"
EAGER = ("staticgrad eager", "PyTorch eager")
COMPILERS = ("torch.compile", "JAX jit", "PyTensor")


@dataclass
class Result:
    """What was measured on one workload, by library; "limit" and "function alone" are among them."""

    workload: str
    title: str
    #: of PyTorch eager, of the best compiler, of the limit
    bars: tuple[float, float, float]
    elementwise: bool = False
    timings: dict[str, Timing] = field(default_factory=dict)
    #: seconds from the declaration to the first result, in a process that has compiled before
    first: dict[str, float] = field(default_factory=dict)
    #: bytes per call
    allocated: dict[str, Allocated] = field(default_factory=dict)
    #: why a library is not there
    missing: dict[str, str] = field(default_factory=dict)
    #: what is wrong with a library's numbers
    wrong: dict[str, str] = field(default_factory=dict)
    limit: str = ""

    def median(self, library: str) -> float | None:
        timing = self.timings.get(library)
        return timing.median if timing else None

    def faster_than(self, library: str) -> float | None:
        """How many times as long the other takes."""
        ours, other = self.median(OURS), self.median(library)
        return other / ours if ours and other else None

    def best_compiler(self) -> str | None:
        found = [name for name in COMPILERS if name in self.timings]
        return min(found, key=lambda name: self.timings[name].median, default=None)

    def break_even(self, library: str) -> float | None:
        """After how many steps compiling has paid; infinity where it never does."""
        ours, other = self.median(OURS), self.median(library)
        if ours is None or other is None:
            return None
        return break_even(self.first[OURS] - ours, other, ours)


def run(workload: Workload, chosen: Sequence[str], rounds: int, note: Callable[[str], None],
        crew: Crew, extras: bool = True) -> Result:  # fmt: skip
    """Build, check and time one workload with the chosen libraries; with ``extras`` also its limit,
    the function without its gradient, and the bytes that a call allocates.

    What fails is left out and noted in the result.
    """
    bars = (workload.bars.eager, workload.bars.compiler, workload.bars.limit)
    result = Result(workload.name, workload.title, bars, workload.elementwise)
    wanted = list(chosen)
    if extras and OURS in chosen:
        wanted += ["limit"] if workload.limit else []
        wanted += [] if workload.optimizer else ["function alone"]
    note(f"{workload.name}: float64")
    expected = libraries.reference(workload, CHECKED_CALLS)
    ready = []
    for name in wanted:
        reason = missing(workload, name)
        if reason:
            result.missing[name] = reason
            continue
        note(f"{workload.name}: {name}")
        try:
            built = crew.worker(name).ask("build", workload.name)
        except Failure as failure:
            result.missing[name] = f"failed: {failure}"
            continue
        result.first[name] = built["first"]
        result.limit = built["text"] or result.limit
        fault = difference(workload, name, built["results"], expected)
        if fault:
            result.wrong[name] = fault
        else:
            ready.append(name)
    note(f"{workload.name}: timing")
    result.timings = timed(ready, crew, rounds, result.missing)
    for name in ready if extras else ():
        if name in result.timings and name in libraries.LIBRARIES:
            note(f"{workload.name}: memory, {name}")
            try:
                found = crew.worker(name).ask("allocated")
                if found is not None:
                    result.allocated[name] = found
            except Failure as failure:
                result.missing[f"{name}, memory"] = f"failed: {failure}"
    return result


def missing(workload: Workload, name: str) -> str:
    """Why a library cannot take part, or nothing."""
    if name not in libraries.LIBRARIES:
        return ""
    module, _ = libraries.LIBRARIES[name]
    language = libraries.LANGUAGE[module]
    for key in (name, language):
        if key in workload.without:
            return workload.without[key]
    if language not in workload.losses:
        return "not written"
    return "" if importlib.util.find_spec(module) else "not installed"


def difference(workload: Workload, name: str, got: Any, expected: Sequence[Any]) -> str:
    """What is wrong with results, by the workload's tolerance; nothing where they are right."""
    if got is None:
        return ""
    if name == "function alone":
        expected = expected[: len(got)]
    if len(got) != len(expected):
        return f"{len(got)} results, not {len(expected)}"
    for position, (one, other) in enumerate(zip(got, expected, strict=True)):
        one, other = np.asarray(one, dtype="float64"), np.asarray(other, dtype="float64")
        if one.shape != other.shape:
            return f"result {position} has shape {one.shape}, not {other.shape}"
        error = np.max(np.abs(one - other)) / (np.max(np.abs(other)) + 1e-30)
        if not error < workload.tolerance:
            return f"result {position} is off by {error:.1e}, relatively"
    return ""


def timed(
    names: Sequence[str], crew: Crew, rounds: int, faults: dict[str, str]
) -> dict[str, Timing]:
    """Seconds per call of what the workers have built, over rounds taken in turns."""

    def asking(name: str) -> Repeat:
        def repeat(count: int) -> float | None:
            try:
                return float(crew.workers[name].ask("repeat", count))
            except Failure as failure:
                faults[name] = f"failed: {failure}"
                return None

        return repeat

    return in_turns({name: asking(name) for name in names}, rounds)
