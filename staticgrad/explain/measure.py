"""What is measured when the page is made: gradients against differences, static against op by op.

Nothing stays changed: parameters are put back as they were, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.program import Program
from staticgrad.graph.dims import concrete, symbols_of
from staticgrad.graph.leaves import PLACEHOLDER, Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.random_numbers import draw_numbers
from staticgrad.rewrite.graph import Graph
from staticgrad.runtime.interpreter import evaluate

#: the size of a named dimension when no inputs are given
USUAL_SIZE = 32
#: a derivative and its difference agree when they are within this, relative to the larger one
TOLERANCE = 1e-5
#: where both are as small as this, relative to the loss, they are zero
NEGLIGIBLE = 1e-9
SECONDS_PER_TIMING = 0.15


# ---- inputs --------------------------------------------------------------------------------------


def example_inputs(graph: Graph, program: Program) -> list[np.ndarray]:
    """Random arrays of the declared types: normal floats, integers that are valid indices."""
    sizes = {symbol: USUAL_SIZE for node in graph.inputs for symbol in symbols_of(node.shape)}
    limits = _index_limits(program, sizes)
    rng = np.random.default_rng(0)
    arrays = []
    for node in graph.inputs:
        shape = concrete(node.shape, sizes)
        if node.type.is_float:
            array = rng.standard_normal(shape)
        elif node.dtype.kind == "b":
            array = rng.integers(0, 2, shape)
        else:
            array = rng.integers(0, max(1, limits.get(node, 2)), shape)
        arrays.append(np.asarray(array, node.dtype))
    return arrays


def _index_limits(program: Program, sizes: Mapping[Any, int]) -> dict[Node, int]:
    """For each placeholder that is an index, how many elements the shortest axis has."""
    limits: dict[Node, int] = {}
    for check in program.checks:
        extent = int(concrete(check.value.extent, sizes))
        for node in topological([check.value.index_node]):
            if node.op is PLACEHOLDER:
                limits[node] = min(extent, limits.get(node, extent))
    return limits


@contextmanager
def as_they_were(parameters: Sequence[Parameter]) -> Iterator[None]:
    """Puts parameters back afterwards."""
    saved = [parameter.value.copy() for parameter in parameters]
    try:
        yield
    finally:
        for parameter, array in zip(parameters, saved, strict=True):
            parameter.value[...] = array


# ---- gradients against differences ---------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A derivative along a random direction, as the gradient has it and by a central difference, both
    in float64."""

    derived: float
    difference: float
    step: float
    passed: bool

    @property
    def error(self) -> float:
        scale = max(abs(self.derived), abs(self.difference))
        return abs(self.derived - self.difference) / scale if scale else 0.0


class DoublePrecision:
    """Computes nodes op by op in float64, whatever float dtype they have."""

    def __init__(self, roots: Sequence[Node], given: Mapping[Node, np.ndarray], sizes: Any) -> None:
        self.order = topological(roots)
        self.sizes = sizes
        self.draws = draw_numbers(self.order)
        self.values: dict[Node, np.ndarray] = {}
        for node in self.order:
            if node.op is PLACEHOLDER:
                self.values[node] = _double(given[node])
            elif isinstance(node, Parameter):
                self.values[node] = _double(node.value)
        for node in self.order:
            if node not in self.values:
                self.values[node] = self.compute(node, self.values)

    def compute(self, node: Node, values: Mapping[Node, np.ndarray]) -> np.ndarray:
        attrs = {key: concrete(value, self.sizes) for key, value in node.attrs.items()}
        if attrs.get("dtype") == np.float32:
            attrs["dtype"] = np.dtype("float64")
        if node in self.draws:
            attrs["draw"] = self.draws[node]
        with np.errstate(all="ignore"):
            result = node.op.execute([values[source] for source in node.inputs], attrs)
        return np.asarray(result, np.float64 if node.type.is_float else node.dtype)

    def changed(self, output: Node, leaf: Node, array: np.ndarray) -> float:
        """The value of ``output`` with another array for ``leaf``."""
        values = {**self.values, leaf: array}
        below = {leaf}
        for node in topological([output]):
            if any(source in below for source in node.inputs):
                below.add(node)
                values[node] = self.compute(node, values)
        return float(values[output])


def _double(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else np.asarray(array)


def check_gradients(
    gradients: Mapping[Node, tuple[Node, Node]], given: Mapping[Node, np.ndarray], sizes: Any
) -> dict[Node, Check]:
    """For each leaf, of its (gradient, loss), the derivative along a direction and the difference."""
    roots = [node for pair in gradients.values() for node in pair]
    if not roots:
        return {}
    numbers = DoublePrecision(roots, given, sizes)
    rng = np.random.default_rng(1)
    found = {}
    for leaf, (gradient, loss) in gradients.items():
        value = numbers.values[leaf]
        direction = rng.standard_normal(value.shape)
        direction /= np.sqrt(max(1.0, float(np.sum(direction**2))))
        derived = float(np.sum(numbers.values[gradient] * direction))
        negligible = NEGLIGIBLE * max(1.0, abs(float(numbers.values[loss])))
        # a kink between the two points spoils a difference: a smaller step gets between the kinks
        for step in (1e-4, 1e-5, 1e-6, 1e-7):
            step *= max(1.0, float(np.sqrt(np.mean(value**2))) if value.size else 1.0)
            above = numbers.changed(loss, leaf, value + step * direction)
            below = numbers.changed(loss, leaf, value - step * direction)
            difference = (above - below) / (2 * step)
            apart = abs(derived - difference)
            passed = apart <= TOLERANCE * max(abs(derived), abs(difference)) or apart <= negligible
            found[leaf] = Check(derived, difference, step, passed)
            if passed:
                break
    return found


# ---- static against op by op ---------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """Seconds: of a static step, of a step op by op, and of what comes before the first static one."""

    static: float
    eager: float
    start: float
    from_cache: bool

    @property
    def break_even(self) -> float | None:
        """The number of steps from which static is ahead, compilation included."""
        gain = self.eager - self.static
        return self.start / gain if gain > 0 else None


def race(
    call: Callable[..., Any], graph: Graph, inputs: Sequence[np.ndarray], start: float,
    from_cache: bool,
) -> Race:  # fmt: skip
    """Time ``call`` against the declared graph op by op in NumPy."""
    values = dict(zip(graph.inputs, inputs, strict=True))
    return Race(
        fastest(lambda: call(*inputs)), fastest(lambda: evaluate(graph.roots, values)), start,
        from_cache,
    )  # fmt: skip


def fastest(call: Callable[[], Any]) -> float:
    """The least seconds of several calls, after one to warm up."""
    call()
    best, end = np.inf, time.perf_counter() + SECONDS_PER_TIMING
    while True:
        begin = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - begin)
        if now > end:
            return float(best)


def sizes_text(sizes: Mapping[sympy.Symbol, int]) -> str:
    return ", ".join(f"{symbol} = {size}" for symbol, size in sizes.items())
