"""Threads: how many, that results do not depend on them, and that nothing hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from callers import at_once
from numba import njit

import staticgrad as sg
from staticgrad.kernels.parallel import in_parallel
from staticgrad.runtime import threads

LINUX = sys.platform.startswith("linux")


@njit
def sum_of_part(part, x, sums):  # type: ignore[no-untyped-def]
    size = x.size // sums.size
    total = 0.0
    for i in range(part * size, (part + 1) * size):
        total += x[i]
    sums[part] = total


@njit
def sum_in_parts(x, sums):  # type: ignore[no-untyped-def]
    in_parallel(sum_of_part, sums.size, (x, sums))
    total = 0.0
    for part in range(sums.size):
        total += sums[part]
    return total


@njit(nogil=True)
def repeated(times, x, sums):  # type: ignore[no-untyped-def]
    """Whether all sums are alike."""
    first = sum_in_parts(x, sums)
    for _ in range(times):
        sums[:] = 0.0
        if sum_in_parts(x, sums) != first:
            return False
    return True


@njit
def inner(part, outer, counts):  # type: ignore[no-untyped-def]
    counts[outer, part] += 1


@njit
def outer(part, counts):  # type: ignore[no-untyped-def]
    in_parallel(inner, counts.shape[1], (part, counts))


@njit
def nested(counts):  # type: ignore[no-untyped-def]
    in_parallel(outer, counts.shape[0], (counts,))


@njit
def failing(part, limit, done):  # type: ignore[no-untyped-def]
    done[part] = 1
    if part >= limit:
        raise ValueError("a part failed")


@njit
def may_fail(limit, done):  # type: ignore[no-untyped-def]
    in_parallel(failing, done.size, (limit, done))
    return 1


@njit
def guarded(limit, done):  # type: ignore[no-untyped-def]
    try:
        in_parallel(failing, done.size, (limit, done))
    except Exception:
        return -1
    return 1


X = np.random.default_rng(0).standard_normal(1 << 16)


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def test_bits_do_not_depend_on_threads() -> None:
    found = set()
    for number in (1, 2, 1, 3, 8, 2):
        sg.set_num_threads(number)
        assert sg.get_num_threads() == number
        found |= {sum_in_parts(X, np.zeros(64)) for _ in range(50)}
    assert len(found) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_each_part_runs_once(count: int) -> None:
    for number in (1, 2, 5):
        sg.set_num_threads(number)
        for _ in range(20):
            counts = np.zeros((1, count), np.int64)
            outer(0, counts)
            assert (counts == 1).all()


def test_nested_regions() -> None:
    for number in (1, 2, 4):
        sg.set_num_threads(number)
        for _ in range(20):
            counts = np.zeros((7, 9), np.int64)
            nested(counts)
            assert (counts == 1).all()


def test_an_error_of_a_part_is_raised() -> None:
    for number in (1, 2, 4):
        sg.set_num_threads(number)
        for _ in range(10):
            done = np.zeros(20, np.int64)
            with pytest.raises(ValueError, match="a part failed"):
                may_fail(13, done)
            assert done.all()
            assert guarded(13, done) == -1 and guarded(20, done) == 1
            assert may_fail(20, done) == 1
        assert repeated(5, X, np.zeros(16))


def test_several_callers_at_once() -> None:
    for number in (2, 3):
        sg.set_num_threads(number)
        results: list[bool] = []

        def call(results: list[bool] = results) -> None:
            results.append(repeated(300, X, np.zeros(16)))

        at_once(call, [()] * 4)
        assert results == [True] * 4


def test_the_number_changes_during_calls() -> None:
    sg.set_num_threads(2)
    results: list[bool] = []
    caller = threading.Thread(target=lambda: results.append(repeated(3000, X, np.zeros(16))))
    caller.start()
    number = 0
    while caller.is_alive():
        number = number % 5 + 1
        sg.set_num_threads(number)
    caller.join()
    assert results == [True]


def test_what_is_refused() -> None:
    for wrong in (0, -1, 1.5, "2", True, None):
        with pytest.raises(ValueError, match=f"positive integer, got {wrong!r}"):
            sg.set_num_threads(wrong)  # type: ignore[arg-type]
    sg.set_num_threads(np.int64(2))  # type: ignore[arg-type]
    assert sg.get_num_threads() == 2
    for call in ("in_parallel(1, 2, (3,))", "in_parallel(inner, 2, 3)", "in_parallel(inner, 1.5, ())"):
        space = {"in_parallel": in_parallel, "inner": inner}
        exec(f"def function():\n    {call}\n", space)
        with pytest.raises(Exception, match=r"in_parallel takes|No implementation|missing"):
            njit(space["function"])()


# ---- the default -----------------------------------------------------------------------------------


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def quota_of(tmp_path: Path, own: str) -> int | None:
    (tmp_path / "own").write_text(own)
    return threads.quota(tmp_path / "fs", tmp_path / "own")


def test_quota_of_version_2(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(root / "a" / "b", cpu__max="max 100000\n")
    assert quota_of(tmp_path, "0::/a/b\n") is None
    group(root / "a" / "b", cpu__max="250000 100000\n")
    assert quota_of(tmp_path, "0::/a/b\n") == 3
    group(root / "a", cpu__max="150000 100000\n")
    assert quota_of(tmp_path, "0::/a/b\n") == 2
    group(root, cpu__max="10000 100000\n")
    assert quota_of(tmp_path, "0::/\n") == 1
    # the host's path, seen from within a container
    assert quota_of(tmp_path, "0::/docker/0123\n") == 1
    for damage in ("", "abc 100000", "100000", "100000 0"):
        group(root, cpu__max=damage)
        assert quota_of(tmp_path, "0::/\n") is None


def test_quota_of_version_1(tmp_path: Path) -> None:
    folder = tmp_path / "fs" / "cpu,cpuacct" / "docker"
    own = "12:memory:/docker\n4:cpu,cpuacct:/docker\n1:name=systemd:/\n0::/\n"
    assert quota_of(tmp_path, own) is None
    group(folder, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert quota_of(tmp_path, own) is None
    group(folder, cpu__cfs_quota_us="350000\n", cpu__cfs_period_us="100000\n")
    assert quota_of(tmp_path, own) == 4
    group(tmp_path / "fs" / "cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert quota_of(tmp_path, "4:cpu,cpuacct:/docker\n") == 1
    assert threads.quota(tmp_path, tmp_path / "missing") is None


def fresh(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env={**environment, **variables},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def number_with(**variables: str) -> str:
    done = fresh("import staticgrad as sg; print(sg.get_num_threads())", **variables)
    return done.stdout.strip() or done.stderr.splitlines()[-1]


def test_the_environment() -> None:
    available = int(number_with())
    assert 1 <= available <= threads.usable_cores()
    assert number_with(OMP_NUM_THREADS="1") == "1"
    assert number_with(OMP_NUM_THREADS="1,3") == "1"
    assert number_with(OMP_NUM_THREADS="1000") == str(available)
    assert number_with(OMP_NUM_THREADS="1", STATICGRAD_NUM_THREADS="5") == "5"
    assert number_with(STATICGRAD_NUM_THREADS="", OMP_NUM_THREADS=" ") == str(available)
    for wrong in ("0", "-1", "two", "1.5", "1,2"):
        message = number_with(STATICGRAD_NUM_THREADS=wrong)
        assert message.startswith("ValueError") and repr(wrong) in message
    # read when it is needed, not at the import
    assert fresh("import staticgrad", STATICGRAD_NUM_THREADS="many").returncode == 0


# ---- processes -------------------------------------------------------------------------------------

SUMS = """
import os, sys
import numpy as np
import staticgrad as sg
from numba import types
from staticgrad.runtime import cache, threads

SOURCE = '''
from numba import njit
from staticgrad.kernels.parallel import in_parallel

@njit
def part(number, x, sums):
    total = 0.0
    for i in range(number * 1000, number * 1000 + 1000):
        total += x[i]
    sums[number] = total

@njit
def sums_of(x, sums):
    in_parallel(part, sums.size, (x, sums))
    return 0
'''
array = types.Array(types.float64, 1, "C")
loaded = cache.load(SOURCE, "sums_of", "sums_of", (array, array))
threads.prepare()
x = np.random.default_rng(0).standard_normal(64000)

def sums():
    found = np.zeros(64)
    assert loaded.dispatcher(x, found) == 0
    return found.tobytes()

def running():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads"))
"""


@pytest.mark.skipif(not LINUX, reason="counts threads in /proc")
def test_threads_start_when_they_are_needed(tmp_path: Path) -> None:
    script = SUMS + textwrap.dedent("""
        before = running()
        expected = sums()
        print(loaded.from_cache, running() - before)
        sg.set_num_threads(3)
        assert running() == before
        assert sums() == expected
        print(running() - before)
        sg.set_num_threads(2)
        assert all(sums() == expected for _ in range(100))
        print(running() - before, expected.hex()[:40])
    """)
    for number, from_cache in (("1", False), ("1", True)):
        done = fresh(script, STATICGRAD_NUM_THREADS=number, STATICGRAD_CACHE_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        first, second, third = done.stdout.splitlines()
        assert first == f"{from_cache} 0" and second == "2" and third.startswith("2 ")
    # machine code from the disk finds the threads of its own process
    done = fresh(
        SUMS + "before = running(); sums(); print(loaded.from_cache, running() - before)",
        STATICGRAD_NUM_THREADS="4", STATICGRAD_CACHE_DIR=str(tmp_path),
    )  # fmt: skip
    assert done.stdout.strip() == "True 3", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork(tmp_path: Path) -> None:
    script = SUMS + textwrap.dedent("""
        import threading
        expected = sums()
        stop = []
        def work():
            while not stop:
                assert sums() == expected
        others = [threading.Thread(target=work) for _ in range(2)]
        for other in others: other.start()
        codes = []
        for _ in range(5):
            child = os.fork()
            if child == 0:
                fine = all(sums() == expected for _ in range(50)) and running() >= 2
                sg.set_num_threads(3)
                fine = fine and sums() == expected and sg.get_num_threads() == 3
                os._exit(0 if fine else 1)
            codes.append(os.waitpid(child, 0)[1])
        stop.append(True)
        for other in others: other.join()
        assert sums() == expected
        print(codes)
    """)
    done = fresh(script, STATICGRAD_NUM_THREADS="2", STATICGRAD_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == "[0, 0, 0, 0, 0]", done.stderr


@pytest.mark.parametrize(
    "end",
    ["", "sys.exit(3)", "os._exit(3)", "raise SystemExit(3)",
     # a process in the background may have been told to ignore interrupts
     "import _thread, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
     "_thread.interrupt_main(); [sums() for _ in iter(int, 1)]"],
)  # fmt: skip
def test_the_process_ends(tmp_path: Path, end: str) -> None:
    script = SUMS + textwrap.dedent(f"""
        import threading
        def work():
            while True:
                sums()
        expected = sums()
        threading.Thread(target=work, daemon=True).start()
        assert all(sums() == expected for _ in range(50))
        {end}
    """)
    for _ in range(3):
        done = fresh(script, STATICGRAD_NUM_THREADS="3", STATICGRAD_CACHE_DIR=str(tmp_path))
        expected = (0,) if not end else (1, -2, 130) if "interrupt" in end else (3,)
        assert done.returncode in expected, done.stderr


def test_signals_reach_python(tmp_path: Path) -> None:
    script = SUMS + textwrap.dedent("""
        import signal, time
        caught = []
        signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        expected = sums()
        end = time.time() + 0.3
        while time.time() < end:
            assert sums() == expected
        print(len(caught) > 5)
    """)
    done = fresh(script, STATICGRAD_NUM_THREADS="2", STATICGRAD_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == "True", done.stderr


def test_without_threads_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr("staticgrad.runtime.pool._routines", lambda: None)
    sg.set_num_threads(4)
    assert threads._pool is None
    counts = np.zeros((1, 10), np.int64)
    outer(0, counts)
    assert (counts == 1).all()


def test_a_file_of_its_own(tmp_path: Path) -> None:
    """What is exported runs all parts on the calling thread, with the same bits."""
    from staticgrad.codegen.sources import copies

    (tmp_path / "beside").mkdir()
    for name, text in copies(["kernels.parallel"]).items():
        (tmp_path / "beside" / name).write_text(text)
    text = SUMS.split("'''")[1].replace("staticgrad.kernels", "beside")
    (tmp_path / "alone.py").write_text(text)
    script = f"""
        import sys
        sys.modules["staticgrad"] = None
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np, alone
        found = np.zeros(64)
        assert alone.sums_of(np.random.default_rng(0).standard_normal(64000), found) == 0
        print(found.tobytes().hex())
    """
    done = fresh(script)
    expected = fresh(SUMS + "print(sums().hex())", STATICGRAD_NUM_THREADS="2")
    assert done.stdout == expected.stdout, done.stderr
