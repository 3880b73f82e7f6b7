"""Bytes that one call allocates.

For staticgrad in both modes: how far the memory that Python and NumPy trace (tracemalloc) rises
above where it was before the call, so the outputs of a compiled function count, and of eager mode what
is alive at once. For PyTorch in eager mode: what its profiler says that ops allocated and kept until
their end, added up. JAX, PyTensor and torch.compile allocate in native code that neither sees.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any


def per_call(library: str, action: Callable[[], Any]) -> dict[str, float]:
    """By name of the measure; empty for a library that none sees."""
    if library in ("staticgrad", "staticgrad eager"):
        return {"peak": traced(action)}
    if library == "PyTorch eager":
        return {"sum": profiled(action)}
    return {}


def traced(action: Callable[[], Any]) -> float:
    tracemalloc.start()
    try:
        action()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        action()
        return float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def profiled(action: Callable[[], Any]) -> float:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        action()
    return float(sum(max(event.self_cpu_memory_usage, 0) for event in recorded.events()))
