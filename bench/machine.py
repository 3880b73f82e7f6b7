"""The machine: binding the process to cores, and what a report says of it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from staticgrad.measure import machine
from staticgrad.measure.machine import processor

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "torch", "jax", "pytensor")


def bind(threads: int) -> None:
    """Keep this process and its children to so many cores, and libraries to so many threads.

    Raises ValueError where there are fewer cores.
    """
    machine.bind(threads)
    flags = [os.environ.get("XLA_FLAGS", "")]
    if threads == 1:
        flags += ["--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1"]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))
    # nothing but the processor, and no words about the lack of others
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    from staticgrad.version import __version__

    return {"staticgrad": __version__, **found}


__all__ = ["bind", "processor", "versions"]
