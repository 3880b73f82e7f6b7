"""The suite: every workload with every library, checked against float64, then timed in turns."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import libraries
from .workload import Workload

#: calls in a row whose losses are compared with float64
CHECKED_CALLS = 3
#: what one library gets in one round
SECONDS_PER_TURN = 0.02


@dataclass
class Timing:
    """Seconds per call: the median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0])
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(middle, low, high)


@dataclass
class Result:
    """What was measured on one workload, by library."""

    workload: str
    title: str
    bars: tuple[float, float, float]
    timings: dict[str, Timing] = field(default_factory=dict)
    #: seconds from the declaration to the first result, in this process
    first: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    limit: str = ""
    #: by library: what a fresh process says of memory and starting times
    fresh: dict[str, dict[str, float]] = field(default_factory=dict)


def run(workload: Workload, chosen: Sequence[str], rounds: int, note: Callable[[str], None]) -> Result:
    """Build, check and time one workload with the chosen libraries.

    Raises AssertionError where a library's numbers are not those of float64.
    """
    bars = (workload.bars.eager, workload.bars.compiler, workload.bars.limit)
    result = Result(workload.name, workload.title, bars)
    expected = None if workload.epoch else libraries.reference(workload, CHECKED_CALLS)
    actions: dict[str, Callable[[], Any]] = {}
    for name in chosen:
        reason = missing(workload, name)
        if reason:
            result.missing[name] = reason
            continue
        note(f"{workload.name}: {name}")
        start = time.perf_counter()
        action = libraries.LIBRARIES[name][1](workload)
        first = action()
        result.first[name] = time.perf_counter() - start
        if workload.epoch:
            got: Any = first
            expected = got if expected is None else expected
        elif workload.optimizer:
            got = [first, *(action() for _ in range(CHECKED_CALLS - 1))]
        else:
            got = first
        compare(workload, name, got, expected)
        actions[name] = action
    if workload.limit is not None and "staticgrad" in actions:
        found = workload.limit()
        if found is not None:
            result.limit, actions["limit"] = found
    note(f"{workload.name}: timing")
    result.timings = timed(actions, rounds)
    return result


def missing(workload: Workload, name: str) -> str:
    """Why a library cannot take part, or nothing."""
    module, _ = libraries.LIBRARIES[name]
    language = libraries.LANGUAGE[module]
    for key in (name, language):
        if key in workload.without:
            return workload.without[key]
    if language not in workload.losses:
        return "not written"
    return "" if importlib.util.find_spec(module) else "not installed"


def compare(workload: Workload, name: str, got: Any, expected: Any) -> None:
    """Check results against the reference, by the workload's tolerance."""
    assert len(got) == len(expected), f"{workload.name}, {name}: {len(got)} results"
    for position, (one, other) in enumerate(zip(got, expected, strict=True)):
        one, other = np.asarray(one, dtype="float64"), np.asarray(other, dtype="float64")
        scale = np.max(np.abs(other)) + 1e-30
        error = np.max(np.abs(one - other)) / scale
        assert error < workload.tolerance, (
            f"{workload.name}, {name}: result {position} is off by {error:.1e}, relatively"
        )


def timed(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Timing]:
    """Seconds per call of each action, over rounds taken in turns, without garbage collection."""
    counts = {}
    for name, action in actions.items():
        action()
        start = time.perf_counter()
        action()
        once = time.perf_counter() - start
        counts[name] = max(1, min(int(SECONDS_PER_TURN / once), 20_000))
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, action in actions.items():
                repeats = range(counts[name])
                action()
                start = time.perf_counter()
                for _ in repeats:
                    action()
                seconds[name].append((time.perf_counter() - start) / counts[name])
    finally:
        gc.enable()
    return {name: Timing.of(times) for name, times in seconds.items()}


def progress(text: str) -> None:
    """A line on standard error that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
