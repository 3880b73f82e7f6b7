"""How long calls take: medians over rounds in which those that are compared take turns, so that what
else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: what one of them gets in one round
SECONDS_PER_TURN = 0.02
MOST_CALLS_PER_TURN = 20_000
#: rounds end early where they have taken this long, but there are at least five
SECONDS = 20.0
FEWEST_ROUNDS = 5

#: seconds per call of so many in a row; None where it cannot be had any more
Repeat = Callable[[int], float | None]


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        low, middle, high = np.percentile(seconds, (25, 50, 75)).tolist()
        return cls(middle, low, high)


def repeated(action: Callable[[], Any], count: int) -> float:
    """Seconds per call of so many in a row, after one that brings caches up to date. Python's garbage
    collector waits meanwhile."""
    repeats = range(count)
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        action()
        start = time.perf_counter()
        for _ in repeats:
            action()
        return (time.perf_counter() - start) / count
    finally:
        if collecting:
            gc.enable()


def in_turns(
    calls: Mapping[str, Repeat],
    rounds: int,
    seconds: float = SECONDS,
    note: Callable[[int], None] = lambda number: None,
) -> dict[str, Timing]:
    """Time calls over rounds taken in turns, by name.

    Args:
        calls: each as ``repeated`` of an action. rounds: turns for each.
        seconds: rounds end early where they have taken so long.
        note: is told how many rounds are done.
    """
    counts: dict[str, int] = {}
    found: dict[str, list[float]] = {}
    for name, call in calls.items():
        once = call(1)
        if once is not None:
            counts[name] = max(1, min(int(SECONDS_PER_TURN / max(once, 1e-9)), MOST_CALLS_PER_TURN))
            found[name] = []
    for number in range(rounds):
        for name in list(found):
            one = calls[name](counts[name])
            if one is None:
                del found[name]
                continue
            found[name].append(one)
            seconds -= one * counts[name]
        note(number + 1)
        if seconds < 0 and number + 1 >= FEWEST_ROUNDS:
            break
    return {name: Timing.of(times) for name, times in found.items() if times}


def break_even(compile_seconds: float, eager_step: float, static_step: float) -> float:
    """Steps after which the compiled way, compilation included, has taken no longer than the other;
    infinity where it never does."""
    if static_step >= eager_step:
        return math.inf
    return math.ceil(max(compile_seconds, 0.0) / (eager_step - static_step))
