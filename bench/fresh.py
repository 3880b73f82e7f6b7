"""Starting times, in processes of their own: ``fresh.measure`` starts them; as a program, one of them:

    python -m bench.fresh LIBRARY WORKLOAD

imports the library, declares the workload, waits for its first result, and prints seconds and bytes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: processes per library, fewer where they have taken longer than this in all
PROCESSES, SECONDS = 5, 12.0
LONGEST = 300.0


def cache_variables(folder: str) -> dict[str, str]:
    """Environment variables that move all libraries' caches into a folder."""
    return {
        "STATICGRAD_CACHE_DIR": f"{folder}/staticgrad",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
        "NUMBA_CACHE_DIR": f"{folder}/numba",
    }


def measure(library: str, workload: str, processes: int = PROCESSES) -> dict[str, dict[str, float]]:
    """Medians over fresh processes: "cold" with empty caches, "warm" with what a first process left.

    Raises RuntimeError where one fails.
    """
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    start = time.perf_counter()
    for _ in range(processes):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("cold", "warm"):
                found[kind].append(once(library, workload, folder))
        if time.perf_counter() - start > SECONDS:
            break
    return {
        kind: {key: statistics.median(one[key] for one in all_) for key in all_[0]}
        for kind, all_ in found.items()
    }


def once(library: str, workload: str, folder: str) -> dict[str, float]:
    above = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **cache_variables(folder), "PYTHONPATH": path}
    # users have bytecode written, by their installer or by their first import
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-W", "ignore", "-m", f"{__package__}.fresh", library, workload]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no result within {LONGEST:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"code {done.returncode}: {last}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(library: str, name: str) -> None:
    """Nothing that the library brings along may be imported before its import is timed."""
    start = time.perf_counter()
    if library.startswith("staticgrad"):
        import staticgrad  # noqa: F401
    elif library in ("PyTorch eager", "torch.compile"):
        import torch  # noqa: F401
    elif library == "JAX jit":
        import jax  # noqa: F401
    else:
        import pytensor  # noqa: F401
    imported = time.perf_counter() - start
    from . import libraries, workloads

    workload = workloads.named(name)
    start = time.perf_counter()
    libraries.MAKERS[library](workload)()
    first = time.perf_counter() - start
    figures = {"import": imported, "first": first}
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures["peak memory"] = peak * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        pass
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
