"""The machine that is measured on: one core for all, and what it is called."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from staticgrad.runtime.threads import get_num_threads, set_num_threads

#: libraries that read the number of their threads when they are imported
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA")


def bind(threads: int) -> None:
    """Keep this process and its children to so many cores, and libraries that are imported from now
    on to so many threads. Raises ValueError where there are fewer cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < threads:
            raise ValueError(f"{threads} threads need as many cores, and there are {len(cores)}")
        # the last ones, since the first have the operating system's work to do
        os.sched_setaffinity(0, cores[-threads:])
    for library in LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(threads)


def is_bound() -> bool:
    """Whether this process was started with one core and one thread for each library."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cores == 1 and all(os.environ.get(f"{name}_NUM_THREADS") == "1" for name in LIBRARIES)


@contextmanager
def one_thread() -> Iterator[bool]:
    """Let staticgrad use one thread inside, and NumPy's BLAS where threadpoolctl is installed; gives
    whether both do."""
    with ExitStack() as stack:
        before = get_num_threads()
        set_num_threads(1)
        stack.callback(set_num_threads, before)
        try:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1))
            certain = True
        except ModuleNotFoundError:
            certain = is_bound() or os.environ.get("OPENBLAS_NUM_THREADS") == "1"
        yield certain


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(line.split(": ")[1] for line in text.splitlines() if "model name" in line)
    except (OSError, StopIteration, IndexError):
        name = platform.processor() or platform.machine()
    from llvmlite import binding

    return f"{name} ({binding.get_host_cpu_name()})"
