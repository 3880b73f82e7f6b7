"""The digits step, 64-128-128-10 with ReLU, batch 64, SGD, float32: time per step, compile time.

    python -m bench.digits [--threads N] [--output FILE]

Time per step is measured in one process, all libraries in turns, on the same number of threads (the
process is bound to as many cores), after every library has reproduced the same first losses as
NumPy does in float64. Peers that are not installed are left out. Import time, cold compile (empty
cache) and warm start are measured in fresh processes, from after the import to the first loss.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

LAYERS = (64, 128, 128, 10)
BATCH = 64
RATE = 0.05
ROUNDS = 60
CALLS_PER_ROUND = 20
FRESH_PROCESSES = 5

FRESH = """
import time
start = time.perf_counter()
import staticgrad as sg
imported = time.perf_counter() - start
from bench.digits import data, initial, staticgrad_step
x, y = data()
start = time.perf_counter()
step, compiled = staticgrad_step(initial())
loss = step(x, y)
print(imported, time.perf_counter() - start, compiled.from_cache, compiled.source.count("\\n"))
"""


def data() -> tuple[Any, Any]:
    """One batch; its content does not matter to time."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.random((BATCH, LAYERS[0])).astype("float32")
    return images, rng.integers(0, LAYERS[-1], BATCH)


def initial() -> list[Any]:
    """Weights and biases in turns."""
    import numpy as np

    rng = np.random.default_rng(1)
    parameters = []
    for rows, columns in pairwise(LAYERS):
        parameters.append((rng.standard_normal((rows, columns)) / rows**0.5).astype("float32"))
        parameters.append(np.zeros(columns, "float32"))
    return parameters


def reference_losses(count: int) -> list[float]:
    """The first losses, computed in float64 by formulas written out by hand."""
    import numpy as np

    x, y = data()
    parameters = [p.astype("float64") for p in initial()]
    rows = np.arange(BATCH)
    losses = []
    for _ in range(count):
        activations = [x.astype("float64")]
        for W, b in zip(parameters[0::2], parameters[1::2], strict=True):
            z = activations[-1] @ W + b
            activations.append(z if W is parameters[-2] else np.maximum(z, 0))
        z = activations.pop()
        shifted = np.exp(z - z.max(1, keepdims=True))
        p = shifted / shifted.sum(1, keepdims=True)
        losses.append(float(-np.log(p[rows, y]).mean()))
        p[rows, y] -= 1
        adjoint = p / BATCH
        for k in (4, 2, 0):
            dW, db = activations[k // 2].T @ adjoint, adjoint.sum(0)
            adjoint = (adjoint @ parameters[k].T) * (activations[k // 2] > 0)
            parameters[k] = parameters[k] - RATE * dW
            parameters[k + 1] = parameters[k + 1] - RATE * db
    return losses


def staticgrad_step(values: list[Any]) -> tuple[Callable[[Any, Any], Any], Any]:
    import staticgrad as sg

    x = sg.placeholder("x", ("batch", LAYERS[0]))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    names = [f"{kind}{layer}" for layer in (1, 2, 3) for kind in ("W", "b")]
    parameters = [sg.parameter(v, name=n) for v, n in zip(values, names, strict=True)]
    W1, b1, W2, b2, W3, b3 = parameters
    hidden_1 = sg.relu(x @ W1 + b1)
    hidden_2 = sg.relu(hidden_1 @ W2 + b2)
    logits = hidden_2 @ W3 + b3
    loss = sg.cross_entropy(logits, y)
    gradients = sg.grad(loss, parameters)
    updates = {p: p - RATE * g for p, g in zip(parameters, gradients, strict=True)}
    step = sg.compile([x, y], loss, updates=updates, name="digits_step")
    return step, step


def numpy_step(values: list[Any]) -> Callable[[Any, Any], Any]:
    """The same graph, op by op in NumPy."""
    import staticgrad as sg

    x = sg.placeholder("x", ("batch", LAYERS[0]))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    parameters = [sg.parameter(v, name=f"p{k}") for k, v in enumerate(values)]
    hidden = sg.relu(x @ parameters[0] + parameters[1])
    hidden = sg.relu(hidden @ parameters[2] + parameters[3])
    loss = sg.cross_entropy(hidden @ parameters[4] + parameters[5], y)
    gradients = sg.grad(loss, parameters)
    new = [p - RATE * g for p, g in zip(parameters, gradients, strict=True)]

    def step(images: Any, labels: Any) -> Any:
        value, *updated = sg.evaluate([loss, *new], {x: images, y: labels})
        for parameter, array in zip(parameters, updated, strict=True):
            parameter.value = array
        return value

    return step


def torch_step(values: list[Any]) -> Callable[[Any, Any], Any]:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    linear = [torch.nn.Linear(a, b) for a, b in pairwise(LAYERS)]
    with torch.no_grad():
        for layer, W, b in zip(linear, values[0::2], values[1::2], strict=True):
            layer.weight.copy_(torch.tensor(W.T))
            layer.bias.copy_(torch.tensor(b))
    relu = torch.nn.ReLU
    net = torch.nn.Sequential(linear[0], relu(), linear[1], relu(), linear[2])
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    criterion = torch.nn.CrossEntropyLoss()

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(net(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step(values: list[Any]) -> Callable[[Any, Any], Any]:
    import jax
    import jax.numpy as jnp

    def loss_of(parameters: list[Any], images: Any, labels: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        hidden = jax.nn.relu(images @ W1 + b1)
        hidden = jax.nn.relu(hidden @ W2 + b2)
        logits = jax.nn.log_softmax(hidden @ W3 + b3)
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], axis=1))

    def update(parameters: list[Any], images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, images, labels)
        return [p - RATE * g for p, g in zip(parameters, gradients, strict=True)], loss

    jitted = jax.jit(update, donate_argnums=0)
    state = [jnp.asarray(v) for v in values]

    def step(images: Any, labels: Any) -> Any:
        nonlocal state
        state, loss = jitted(state, images, labels)
        return float(loss)

    return step


def pytensor_step(values: list[Any]) -> Callable[[Any, Any], Any]:
    import pytensor
    import pytensor.tensor as pt

    x, y = pt.matrix("x", dtype="float32"), pt.vector("y", dtype="int64")
    parameters = [pytensor.shared(v.copy()) for v in values]
    W1, b1, W2, b2, W3, b3 = parameters
    hidden = pt.maximum(x @ W1 + b1, 0)
    hidden = pt.maximum(hidden @ W2 + b2, 0)
    logits = pt.special.log_softmax(hidden @ W3 + b3, axis=1)
    loss = -logits[pt.arange(y.shape[0]), y].mean()
    gradients = pytensor.grad(loss, parameters)
    rate = pt.constant(RATE, dtype="float32")
    updates = [(p, p - rate * g) for p, g in zip(parameters, gradients, strict=True)]
    return pytensor.function([x, y], loss, updates=updates, mode="NUMBA", trust_input=True)


PEERS: dict[str, tuple[str, Callable[[list[Any]], Callable[[Any, Any], Any]]]] = {
    "staticgrad": ("staticgrad", lambda values: staticgrad_step(values)[0]),
    "NumPy, op by op": ("numpy", numpy_step),
    "PyTorch eager": ("torch", torch_step),
    "JAX jit": ("jax", jax_step),
    "PyTensor, Numba mode": ("pytensor", pytensor_step),
}


def time_steps() -> dict[str, dict[str, float]]:
    """Seconds per step of each library: median and quartiles over rounds taken in turns."""
    from tqdm import trange

    x, y = data()
    expected = reference_losses(3)
    steps = {}
    for name, (module, build) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        steps[name] = build(initial())
        losses = [float(steps[name](x, y)) for _ in expected]
        for loss, other in zip(losses, expected, strict=True):
            assert abs(loss - other) < 1e-5, f"{name}: losses {losses}, expected {expected}"
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in trange(ROUNDS, desc="steps", file=sys.stderr):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(CALLS_PER_ROUND):
                step(x, y)
            seconds[name].append((time.perf_counter() - start) / CALLS_PER_ROUND)
    results = {}
    for name, times in seconds.items():
        low, middle, high = statistics.quantiles(times, n=4)
        results[name] = {"median": middle, "low": low, "high": high}
    return results


def fresh(folder: str) -> tuple[float, float, bool, int]:
    """Import time, time to the first loss, whether the cache had it, generated lines."""
    environment = {**os.environ, "STATICGRAD_CACHE_DIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    imported, first, cached, lines = done.stdout.split()
    return float(imported), float(first), cached == "True", int(lines)


def time_starts() -> dict[str, float]:
    """Medians over fresh processes."""
    imports, cold, warm, lines = [], [], [], 0
    for _ in range(FRESH_PROCESSES):
        with tempfile.TemporaryDirectory() as folder:
            imported, first, cached, lines = fresh(folder)
            assert not cached
            imports.append(imported)
            cold.append(first)
            imported, first, cached, lines = fresh(folder)
            assert cached
            imports.append(imported)
            warm.append(first)
    return {
        "import": statistics.median(imports),
        "cold": statistics.median(cold),
        "warm": statistics.median(warm),
        "lines": lines,
    }


def report(steps: dict[str, dict[str, float]], starts: dict[str, float], threads: int) -> str:
    ours = steps["staticgrad"]["median"]
    lines = [
        "# The digits step",
        "",
        f"`python -m bench.digits --threads {threads}` on {processor()}, {threads} thread(s), "
        f"{versions()}.",
        "64-128-128-10 with ReLU, batch 64, SGD, float32. Medians of "
        f"{ROUNDS} interleaved rounds of {CALLS_PER_ROUND} steps.",
        "",
        "| | us per step | quartiles | staticgrad is faster by |",
        "| --- | ---: | --- | ---: |",
    ]
    for name, times in steps.items():
        lines.append(
            f"| {name} | {times['median'] * 1e6:.1f} | {times['low'] * 1e6:.1f} to "
            f"{times['high'] * 1e6:.1f} | {times['median'] / ours:.2f} |"
        )
    lines += [
        "",
        f"In fresh processes (medians of {FRESH_PROCESSES}): import {starts['import']:.2f} s; "
        f"from there to the first loss {starts['cold']:.2f} s with an empty cache, "
        f"{starts['warm']:.3f} s with the compiled step in it. The generated module has "
        f"{starts['lines']:.0f} lines.",
    ]
    return "\n".join(lines) + "\n"


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(line.split(": ")[1] for line in text.splitlines() if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = [f"Python {platform.python_version()}"]
    for package in ("numpy", "numba", "scipy", "torch", "jax", "pytensor"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the table there, and JSON beside it")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    starts = time_starts()
    steps = time_steps()
    text = report(steps, starts, options.threads)
    print(text)
    if options.output:
        options.output.write_text(text)
        figures = {"threads": options.threads, "steps": steps, "starts": starts}
        options.output.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
