"""Compiled functions whose products and loops come in parts: any threads or process, the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from staticgrad.runtime import threads

#: a step and a function with large products and long loops, and what they should give
PROGRAMS = """
import os, sys, threading
import numpy as np
import staticgrad as sg

rng = np.random.default_rng(0)
x, y = rng.standard_normal((2, 256, 384))
t = rng.random(200_003)
u = rng.random((10_001, 20))
given = x, y, t, u
weights = rng.standard_normal((384, 352)) / 20

def make_step(rows=256):
    inputs = [sg.placeholder("x", (rows, 384), dtype="float64")]
    w = sg.parameter(weights.copy(), name="w")
    loss = sg.mean(sg.sin(inputs[0] @ w))
    if rows == 256:
        inputs.append(sg.placeholder("t", t.shape, dtype="float64"))
        loss += sg.mean(sg.exp(-inputs[1] * sg.mean(w * w)))
    return sg.train_step(inputs, loss, sg.optim.SGD([w], lr=0.5), name="step"), w

def make_function():
    a = sg.placeholder("a", (256, 384), dtype="float64")
    b = sg.placeholder("b", (256, 384), dtype="float64")
    s = sg.placeholder("s", t.shape, dtype="float64")
    value = sg.sum(sg.exp(-s) * sg.cos(s))
    rows = sg.placeholder("rows", u.shape, dtype="float64")
    each = sg.logsumexp(rows @ sg.constant(y[:7, :20].T), axis=1)
    outputs = [value, sg.grad(value, s), each, sg.grad(sg.sum(each), rows)]
    return sg.compile([a, b, s, rows], [a @ sg.matrix_transpose(b), *outputs], name="parts")

def bits(results):
    return b"".join(np.asarray(result).tobytes() for result in results)

def training(step, w):
    '''What three steps from the beginning give.'''
    w.value[...] = weights
    return bits([*[step(x, t) for _ in range(3)], w.value])

def running():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads"))

def together(*works):
    '''Run functions on threads of their own; whether all of them say True.'''
    answers = []
    others = [threading.Thread(target=lambda work=work: answers.append(work())) for work in works]
    for other in others: other.start()
    for other in others: other.join()
    return answers == [True] * len(works)
"""

#: code from the cache is what these processes share
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def fresh(script: str, folder: Path, number: int = 3, **variables: str) -> str:
    """What a process with so many threads prints."""
    environment = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    environment |= {"STATICGRAD_CACHE_DIR": str(folder), "STATICGRAD_NUM_THREADS": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**environment, **variables}, capture_output=True,
        text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def after_programs(script: str) -> str:
    return PROGRAMS + textwrap.dedent(script)


def test_any_number_of_threads(folder: Path) -> None:
    script = after_programs("""
        import hashlib
        before = running() if sys.platform == "linux" else 0
        (step, w), function = make_step(), make_function()
        assert "in_parallel(" in step.function.source and "in_parallel(" in function.source
        assert "in_slices(" in step.function.source
        assert "in_parallel_with_place(" in function.source
        assert "matmul" in step.function.source and "matmul" in function.source
        text = hashlib.sha256(bits(function(*given)) + training(step, w)).hexdigest()
        started = running() - before if sys.platform == "linux" and step.function.from_cache else 0
        print(text, step.function.from_cache and function.from_cache, started)
    """)
    fresh(script, folder)  # compiles
    found = [fresh(script, folder, number).split() for number in (1, 2, 3, 7)]
    assert len({digest for digest, _, _ in found}) == 1
    assert all(cached == "True" for _, cached, _ in found)
    if sys.platform == "linux":
        assert [started for _, _, started in found] == ["0", "1", "2", "6"]


def test_callers_at_once(folder: Path) -> None:
    """Two functions, and one function, called by several Python threads, while the number of
    threads changes."""
    script = after_programs("""
        (step, w), function = make_step(), make_function()
        trained, computed = training(step, w), bits(function(*given))
        calls = lambda: all(bits(function(*given)) == computed for _ in range(25))
        steps = lambda: all(training(step, w) == trained for _ in range(12))
        def numbers():
            for number in range(200):
                sg.set_num_threads(number % 4 + 1)
            return True
        print(together(calls, calls, calls), together(steps, calls), together(steps, calls, numbers))
    """)
    assert fresh(script, folder) == "True True True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_use(folder: Path) -> None:
    script = after_programs("""
        import time
        (step, w), function = make_step(), make_function()
        trained, computed = training(step, w), bits(function(*given))
        codes = []
        for number in (1, 2, 3):
            child = os.fork()
            if child == 0:
                sg.set_num_threads(number)
                fine = bits(function(*given)) == computed and training(step, w) == trained
                os._exit(0 if fine else 1)
            codes.append(os.waitpid(child, 0)[1])
        assert bits(function(*given)) == computed
        print(codes)
    """)
    assert fresh(script, folder) == "[0, 0, 0]\n"


def test_the_process_ends_during_calls(folder: Path) -> None:
    script = after_programs("""
        function = make_function()
        def work():
            while True:
                function(*given)
        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        for _ in range(5):
            function(*given)
        print("end")
    """)
    assert [fresh(script, folder) for _ in range(3)] == ["end\n"] * 3


def test_runs_and_epochs(folder: Path) -> None:
    script = after_programs("""
        step, w = make_step()
        expected = training(step, w)
        w.value[...] = weights
        losses = step.run(3, x, t)
        assert bits([*losses, w.value]) == expected, "run"
        step, w = make_step("batch")
        for number in (3, 1):
            sg.set_num_threads(number)
            w.value[...] = weights
            history = step.fit(x, epochs=2, batch_size=128, shuffle=False, progress=False)
            found = bits([history.batch_loss, w.value])
            w.value[...] = weights
            losses = [float(step(rows)) for _ in range(2) for rows in (x[:128], x[128:])]
            assert bits([losses, w.value]) == found, "fit"
        print("fine")
    """)
    assert fresh(script, folder) == "fine\n"


def test_exported_files(folder: Path, tmp_path: Path) -> None:
    """Alone, with NumPy, Numba and SciPy."""
    script = after_programs(f"""
        function, (step, w) = make_function(), make_step()
        function.export({str(tmp_path / "alone_function.py")!r})
        step.export({str(tmp_path / "alone_step.py")!r})
        losses = [step(x, t) for _ in range(2)]
        print(bits([*function(*given), *losses, w.value]).hex())
    """)
    expected = fresh(script, folder)
    script = f"""
        import sys
        sys.modules["staticgrad"] = sys.modules["sympy"] = None
        sys.path.insert(0, {str(tmp_path)!r})
        import inspect
        import numpy as np
        import alone_function, alone_step

        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((2, 256, 384))
        t = rng.random(200_003)
        u = rng.random((10_001, 20))
        w = rng.standard_normal((384, 352)) / 20
        others = [
            name for name, parameter in inspect.signature(alone_step.step).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name != "w"
        ]
        assert others == ["lr"], others
        losses = [alone_step.step(x, t, w=w, lr=np.array(0.5)) for _ in range(2)]
        results = [*alone_function.parts(x, y, t, u), *losses, w]
        print(b"".join(np.asarray(result).tobytes() for result in results).hex())
    """
    assert fresh(textwrap.dedent(script), folder) == expected
