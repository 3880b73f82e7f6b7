"""Scalar functions over arrays: this library's loops, NumPy's and SciPy's, and JAX's.

``python -m bench.vectormath`` measures every function in float32 and float64 on one core and writes
bench/VECTORMATH.md (or ``--output``); ``--only sin,cos`` measures some and prints them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import scipy
import scipy.special

from staticgrad import vectormath

#: fits the second-level cache with its result, as the pieces of a fused loop do
LENGTH = 100_000
SECONDS_PER_TURN = 0.01
#: at least as fast, but for the noise of the clock
EQUAL = 1.03


@dataclass(frozen=True)
class Function:
    """A row: our expression in the arguments, NumPy's function, JAX's, and where arguments lie."""

    name: str
    ours: str
    numpy: Callable[..., Any]
    jax: str
    low: float = -5.0
    high: float = 5.0
    second: tuple[float, float] | None = None


def numpy_sigmoid(x: Any, out: Any) -> Any:
    return scipy.special.expit(x, out=out)


def numpy_gelu(x: Any, out: Any) -> Any:
    scipy.special.ndtr(x, out=out)
    return np.multiply(out, x, out=out)


def numpy_softplus(x: Any, out: Any) -> Any:
    return np.logaddexp(x, x.dtype.type(0), out=out)


def numpy_rsqrt(x: Any, out: Any) -> Any:
    np.sqrt(x, out=out)
    return np.divide(x.dtype.type(1), out, out=out)


def numpy_trigamma(x: Any, out: Any) -> Any:
    out[...] = scipy.special.polygamma(1, x)
    return out


FUNCTIONS = (
    Function("absolute", "absolute(x)", np.abs, "np.abs(x)"),
    Function("sign", "sign(x)", np.sign, "np.sign(x)"),
    Function("floor", "floor(x)", np.floor, "np.floor(x)"),
    Function("maximum", "maximum(x, y)", np.maximum, "np.maximum(x, y)", second=(-5, 5)),
    Function("minimum", "minimum(x, y)", np.minimum, "np.minimum(x, y)", second=(-5, 5)),
    Function("sqrt", "sqrt(x)", np.sqrt, "np.sqrt(x)", 0, 100),
    Function("rsqrt", "rsqrt(x)", numpy_rsqrt, "lax.rsqrt(x)", 0.01, 100),
    Function("hypot", "hypot(x, y)", np.hypot, "np.hypot(x, y)", second=(-5, 5)),
    Function("exp", "exp(x)", np.exp, "np.exp(x)", -20, 20),
    Function("expm1", "expm1(x)", np.expm1, "np.expm1(x)"),
    Function("log", "log(x)", np.log, "np.log(x)", 0.01, 100),
    Function("log1p", "log1p(x)", np.log1p, "np.log1p(x)", -0.9, 10),
    Function("log2", "log2(x)", np.log2, "np.log2(x)", 0.01, 100),
    Function("power", "power(x, y)", np.power, "np.power(x, y)", 0.1, 10, (-3, 3)),
    Function("sigmoid", "sigmoid(x)", numpy_sigmoid, "nn.sigmoid(x)", -10, 10),
    Function("softplus", "softplus(x)", numpy_softplus, "nn.softplus(x)", -10, 10),
    Function("log_sigmoid", "log_sigmoid(x)", scipy.special.log_expit, "nn.log_sigmoid(x)", -10, 10),
    Function("logaddexp", "logaddexp(x, y)", np.logaddexp, "np.logaddexp(x, y)", second=(-5, 5)),
    Function("sinh", "sinh(x)", np.sinh, "np.sinh(x)"),
    Function("cosh", "cosh(x)", np.cosh, "np.cosh(x)"),
    Function("tanh", "tanh(x)", np.tanh, "np.tanh(x)"),
    Function("sin", "sin(x)", np.sin, "np.sin(x)", -10, 10),
    Function("cos", "cos(x)", np.cos, "np.cos(x)", -10, 10),
    Function("tan", "tan(x)", np.tan, "np.tan(x)", -10, 10),
    Function("asin", "asin(x)", np.arcsin, "np.arcsin(x)", -1, 1),
    Function("acos", "acos(x)", np.arccos, "np.arccos(x)", -1, 1),
    Function("atan", "atan(x)", np.arctan, "np.arctan(x)"),
    Function("atan2", "atan2(x, y)", np.arctan2, "np.arctan2(x, y)", second=(-5, 5)),
    Function("erf", "erf(x)", scipy.special.erf, "scipy.special.erf(x)", -3, 3),
    Function("erfc", "erfc(x)", scipy.special.erfc, "scipy.special.erfc(x)", -3, 3),
    Function("gelu", "half * x * erfc(x * scale)", numpy_gelu, "nn.gelu(x, approximate=False)"),
    Function("lgamma", "lgamma(x)", scipy.special.gammaln, "scipy.special.gammaln(x)", 0.1, 20),
    Function("digamma", "digamma(x)", scipy.special.psi, "scipy.special.digamma(x)", 0.1, 20),
    Function("polygamma(1)", "polygamma(1, x)", numpy_trigamma, "scipy.special.polygamma(1, x)",
             0.1, 20),
)  # fmt: skip


def compiled(function: Function, dtype: str) -> tuple[Callable[..., Any], float]:
    """The loop over arrays with our function, and the seconds of its compilation."""
    two = function.second is not None
    arguments = "source, other" if two else "source"
    lines = [f"def loop({arguments}, target):", "    for i in range(target.size):"]
    lines += ["        x = source[i]"] + (["        y = other[i]"] if two else [])
    lines += [f"        target[i] = {function.ours}"]
    kind = np.dtype(dtype).type
    names: dict[str, Any] = {name: getattr(vectormath, name) for name in vectormath.__all__}
    names |= {"half": kind(0.5), "scale": kind(-(0.5**0.5))}
    exec("\n".join(lines), names)
    array = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    signature = numba.void(*[array] * (3 if two else 2))
    start = time.process_time()
    loop = numba.njit(signature, error_model="numpy")(names["loop"])
    return loop, time.process_time() - start


def in_jax(function: Function, arrays: list[Any]) -> Callable[[], Any]:
    import jax
    import jax.numpy
    import jax.scipy.special

    names = {"np": jax.numpy, "scipy": jax.scipy, "nn": jax.nn, "lax": jax.lax}
    arguments = "x, y" if len(arrays) == 2 else "x"
    jitted = jax.jit(eval(f"lambda {arguments}: {function.jax}", names))
    given = [jax.numpy.asarray(array) for array in arrays]
    return lambda: jitted(*given).block_until_ready()


@dataclass
class Row:
    """Nanoseconds per element by library, and milliseconds to compile our loop."""

    function: str
    dtype: str
    nanoseconds: dict[str, float]
    compile_ms: float


def measure(function: Function, dtype: str, rounds: int, use_jax: bool) -> Row:
    """Time the libraries in turns."""
    rng = np.random.default_rng(0)
    intervals = [(function.low, function.high), *([function.second] if function.second else [])]
    arrays = [rng.uniform(*interval, LENGTH).astype(dtype) for interval in intervals]
    target = np.empty(LENGTH, dtype)
    compile_seconds = []
    for _ in range(3):
        loop, seconds = compiled(function, dtype)
        compile_seconds.append(seconds)
    actions: dict[str, Callable[[], Any]] = {
        "ours": partial(loop, *arrays, target),
        "numpy": partial(function.numpy, *arrays, out=target),
    }
    if use_jax:
        actions["jax"] = in_jax(function, arrays)
    seconds_by_name: dict[str, list[float]] = {name: [] for name in actions}
    counts = {}
    for name, action in actions.items():
        action()
        start = time.process_time()
        action()
        counts[name] = max(1, int(SECONDS_PER_TURN / (time.process_time() - start)))
    for _ in range(rounds):
        for name, action in actions.items():
            start = time.process_time()
            for _ in range(counts[name]):
                action()
            seconds_by_name[name].append((time.process_time() - start) / counts[name])
    nanoseconds = {
        name: statistics.median(times) / LENGTH * 1e9 for name, times in seconds_by_name.items()
    }
    return Row(function.name, dtype, nanoseconds, statistics.median(compile_seconds) * 1e3)


def line(row: Row) -> str:
    ours, theirs = row.nanoseconds["ours"], row.nanoseconds["numpy"]
    jax = row.nanoseconds.get("jax")
    cells = [row.function, row.dtype, f"{ours:.3f}", f"{theirs:.3f}", f"{jax:.3f}" if jax else "-"]
    cells += [f"{theirs / ours:.2f}", f"{jax / ours:.2f}" if jax else "-", f"{row.compile_ms:.0f}"]
    return "| " + " | ".join(cells) + " |"


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    found = [part.split(":", 1)[1].strip() for part in text.splitlines() if "model name" in part]
    return found[0] if found else platform.processor()


def report(rows: list[Row], empty_ms: float, rounds: int) -> str:
    """The table in Markdown, with what it was measured on."""
    versions = [f"NumPy {np.__version__}", f"SciPy {scipy.__version__}", f"Numba {numba.__version__}"]
    if any("jax" in row.nanoseconds for row in rows):
        import jax

        versions.append(f"JAX {jax.__version__}")
    slower = [
        f"{row.function} {row.dtype} ({name} {row.nanoseconds['ours'] / other:.2f} times as fast)"
        for row in rows
        for name, other in row.nanoseconds.items()
        if name != "ours" and row.nanoseconds["ours"] > EQUAL * other
    ]
    text = f"""# Vector maths

Made by `python -m bench.vectormath`; edits are not kept.

{processor()} ({llvmlite.binding.get_host_cpu_name()}), one core, one thread; {", ".join(versions)}.
Arrays of {LENGTH:,} elements, uniform over ordinary arguments; medians of {rounds} rounds in turns,
in the time that the process had of the core, which others share. Nanoseconds per element, then how
many times as long NumPy (or SciPy) and JAX take as we do. The last column is how long Numba takes to
compile the loop with one call; with a copy instead of the call it takes {empty_ms:.0f} ms. `gelu` is
`x/2 erfc(-x/sqrt 2)`, as the graph writes it. Our errors are what tests/test_vectormath.py allows, 2.7
ULP at most; JAX's erf and tanh are off by up to 4 ULP here, its erfc by 9.

| function | type | ours, ns | NumPy, ns | JAX, ns | NumPy/ours | JAX/ours | compile, ms |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
    text += "\n".join(line(row) for row in rows) + "\n\n"
    if slower:
        return text + "Slower than another: " + "; ".join(slower) + ".\n"
    return text + f"Nowhere slower than either by more than {EQUAL - 1:.0%}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "VECTORMATH.md")
    parser.add_argument("--only", default="", help="names of functions, with commas between")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        # the one core that NumPy and we use is all that JAX gets
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    use_jax = importlib.util.find_spec("jax") is not None
    if use_jax:
        import jax

        jax.config.update("jax_enable_x64", True)
    only = set(chosen.only.split(",")) if chosen.only else None
    copy = Function("copy", "x", np.positive, "x")
    compiled(copy, "float64")
    empty_ms = statistics.median(compiled(copy, "float64")[1] for _ in range(5)) * 1e3
    rows = []
    for function in FUNCTIONS:
        if only is None or function.name in only:
            for dtype in ("float32", "float64"):
                rows.append(measure(function, dtype, chosen.rounds, use_jax))
                print(line(rows[-1]), flush=True)
    if only is None:
        chosen.output.write_text(report(rows, empty_ms, chosen.rounds), encoding="utf-8")


if __name__ == "__main__":
    main()
