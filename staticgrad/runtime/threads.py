"""How many threads compiled functions use: ``sg.set_num_threads`` and what holds without it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path

from staticgrad.runtime.pool import MOST_THREADS, Pool

#: read in this order; the first that is set counts
VARIABLES = "STATICGRAD_NUM_THREADS", "OMP_NUM_THREADS"

CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_lock = threading.RLock()
_chosen: int | None = None
_pool: Pool | None = None


def set_num_threads(n: int) -> None:
    """Let compiled functions use ``n`` threads, the calling one included.

    Results have the same bits whatever their number. With 1, no thread is started. ValueError for
    anything but a positive integer.
    """
    global _chosen
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1:
        raise ValueError(f"the number of threads must be a positive integer, got {n!r}")
    with _lock:
        _chosen = min(n.__index__(), MOST_THREADS)
        _apply(_chosen)


def get_num_threads() -> int:
    """How many threads compiled functions use.

    Unless ``set_num_threads`` was called, as many as STATICGRAD_NUM_THREADS says; else what the
    process may use of the machine (affinity, a container's quota), but no more than OMP_NUM_THREADS.
    """
    global _chosen
    with _lock:
        if _chosen is None:
            _chosen = default_threads()
        return _chosen


def prepare() -> None:
    """Let code that was generated with parallel parts find the threads; called where it is loaded."""
    with _lock:
        _apply(get_num_threads())


def _apply(number: int) -> None:
    global _pool
    if _pool is None:
        if number == 1:
            return
        try:
            _pool = Pool()
        except RuntimeError:
            return  # without POSIX threads, everything runs on the calling thread
        atexit.register(_end, _pool)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    _pool.limit(number)


def _end(pool: Pool) -> None:
    """No helper may run when the interpreter frees machine code."""
    pool.limit(1)
    pool.stop()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.reset()


# ---- what holds unless told ----------------------------------------------------------------------


def default_threads() -> int:
    """See ``get_num_threads``. ValueError where a variable holds no positive integer."""
    wanted = {name: _from_environment(name) for name in VARIABLES}
    if wanted["STATICGRAD_NUM_THREADS"] is not None:
        return min(wanted["STATICGRAD_NUM_THREADS"], MOST_THREADS)
    limits = [usable_cores(), quota(), wanted["OMP_NUM_THREADS"], MOST_THREADS]
    return max(1, min(limit for limit in limits if limit is not None))


def _from_environment(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    # OpenMP allows a list, one number for each level of nesting
    first = text.split(",")[0].strip() if name.startswith("OMP") else text
    if not first.isdecimal() or int(first) < 1:
        raise ValueError(f"{name} must be a positive integer, got {text!r}")
    return int(first)


def usable_cores() -> int:
    """The cores that this process may run on."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(root: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS) -> int | None:
    """The cores' worth of time that the process's control groups allow, rounded up; None without a
    limit. Groups further up limit as well."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found: list[int | None] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if "cpu" in controllers.split(","):
            roots, read = [root / controllers, root / "cpu"], _quota_v1
        elif not controllers:
            roots, read = [root, root / "unified"], _quota_v2
        else:
            continue
        for base in roots:
            # in a container the path may be the host's: then the group is the root itself
            folder = base.joinpath(*Path(path.lstrip("/")).parts)
            found += [read(f) for f in (folder, *folder.parents) if f == base or base in f.parents]
    limits = [limit for limit in found if limit is not None]
    return min(limits) if limits else None


def _quota_v2(folder: Path) -> int | None:
    try:
        time, period = (folder / "cpu.max").read_text().split()
        return None if time == "max" else _cores(int(time), int(period))
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> int | None:
    try:
        time = int((folder / "cpu.cfs_quota_us").read_text())
        return None if time < 0 else _cores(time, int((folder / "cpu.cfs_period_us").read_text()))
    except (OSError, ValueError):
        return None


def _cores(time: int, period: int) -> int | None:
    return max(1, -(-time // period)) if period > 0 else None


__all__ = ["get_num_threads", "prepare", "set_num_threads"]
