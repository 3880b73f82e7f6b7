"""Bytes that one call allocates, and how far memory rises meanwhile.

For staticgrad in both modes it is the memory that Python and NumPy trace (tracemalloc). A call is cut
in pieces, one from each eager op to the next, and what counts as allocated is how far memory rises in
each of them, added up; so the outputs of a compiled function count, and of eager mode every result
with what the op needs at once to compute it. For PyTorch it is what its profiler says that was
allocated, added up. JAX, PyTensor and torch.compile allocate in native code that neither sees.
"""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from staticgrad.graph.methods import FUNCTIONS


@dataclass(frozen=True)
class Allocated:
    """Bytes of one call: ``total``, all that is allocated, added up; ``peak``, how far memory rises
    above where it was before."""

    total: float
    peak: float


@contextmanager
def each_op(note: Callable[[], Any]) -> Iterator[None]:
    """Call ``note`` before every op that runs eagerly inside."""
    run = FUNCTIONS["run_op"]

    def noted(op: Any, inputs: Any, attrs: Any) -> Any:
        note()
        return run(op, inputs, attrs)

    FUNCTIONS["run_op"] = noted
    try:
        yield
    finally:
        FUNCTIONS["run_op"] = run


def count_ops(action: Callable[[], Any]) -> int:
    """How many ops run eagerly in a call."""
    count = 0

    def note() -> None:
        nonlocal count
        count += 1

    with each_op(note):
        action()
    return count


def traced(action: Callable[[], Any]) -> Allocated:
    """Of a call of staticgrad's, compiled or eager; ``action`` is called twice."""
    total = 0.0
    before = start = highest = 0

    def cut() -> None:
        nonlocal total, start, highest
        level, peak = tracemalloc.get_traced_memory()
        total += peak - start
        highest = max(highest, peak)
        tracemalloc.reset_peak()
        start = level

    tracemalloc.start()
    try:
        action()
        with each_op(cut):
            tracemalloc.reset_peak()
            before = start = highest = tracemalloc.get_traced_memory()[0]
            action()
            cut()
    finally:
        tracemalloc.stop()
    return Allocated(total, float(highest - before))


def profiled(action: Callable[[], Any]) -> Allocated:
    """Of a call of PyTorch's; ``action`` is called twice."""
    from torch.profiler import ProfilerActivity, profile

    action()
    with (
        silence(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded,
    ):
        action()
    assert recorded.profiler is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = level = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        level += event.nbytes()
        total += max(event.nbytes(), 0)
        highest = max(highest, level)
    return Allocated(float(total), float(highest))


def per_call(library: str, action: Callable[[], Any]) -> Allocated | None:
    """Of a call of a library's; None for one that none sees."""
    if library in ("staticgrad", "staticgrad eager"):
        return traced(action)
    return profiled(action) if library == "PyTorch eager" else None


@contextmanager
def silence() -> Iterator[None]:
    """Drop what is written to standard error inside, by native code too."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
