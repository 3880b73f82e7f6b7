"""The machine: binding the process to cores, and what a report says of it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "torch", "jax", "pytensor")


def bind(threads: int) -> None:
    """Keep this process and its children to so many cores, and libraries to so many threads.

    They read these variables when they are imported, so this comes first. Raises ValueError where
    there are fewer cores.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < threads:
            raise ValueError(f"{threads} threads need as many cores, and there are {len(cores)}")
        # the last ones, since the first have the operating system's work to do
        os.sched_setaffinity(0, cores[-threads:])
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    flags = [os.environ.get("XLA_FLAGS", "")]
    if threads == 1:
        flags += ["--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1"]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))
    # nothing but the processor, and no words about the lack of others
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(line.split(": ")[1] for line in text.splitlines() if "model name" in line)
    except (OSError, StopIteration, IndexError):
        name = platform.processor() or platform.machine()
    from llvmlite import binding

    return f"{name} ({binding.get_host_cpu_name()})"


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    from staticgrad.version import __version__

    return {"staticgrad": __version__, **found}
