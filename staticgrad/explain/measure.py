"""What is measured when the page is made: gradients against differences, static against eager."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticgrad.checking.differences import derivative
from staticgrad.checking.doubled import Evaluator, in_double
from staticgrad.checking.problems import as_double, leaves_of
from staticgrad.graph.dims import format_dim, symbols_of
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.measure.compare import restored
from staticgrad.measure.eager_way import eager_step
from staticgrad.measure.model import Model
from staticgrad.measure.samples import sample_arrays
from staticgrad.rewrite.graph import Graph

#: the size of a named dimension when no inputs are given
USUAL_SIZE = 32
#: how far a derivative may be from its difference, relative to the larger one
TOLERANCE = 1e-6
SECONDS_PER_TIMING = 0.15


def example_inputs(graph: Graph) -> list[np.ndarray]:
    """Random arrays of the declared types; integers are valid indices."""
    symbols = {symbol for node in graph.inputs for symbol in symbols_of(node.shape)}
    sizes = {str(symbol): USUAL_SIZE for symbol in symbols}
    return sample_arrays(graph.inputs, graph.roots, sizes)


# ---- gradients against differences ---------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """The derivative of the loss along a random direction, as the gradient has it and by differences,
    both in float64."""

    derived: float
    difference: float
    uncertainty: float
    kind: str

    @property
    def error(self) -> float:
        scale = max(abs(self.derived), abs(self.difference))
        return abs(self.derived - self.difference) / scale if scale else 0.0

    @property
    def passed(self) -> bool:
        return abs(self.derived - self.difference) <= 4 * self.uncertainty + TOLERANCE * max(
            abs(self.derived), abs(self.difference)
        )


def check_gradients(
    gradients: Mapping[Node, tuple[Node, Node]], given: Mapping[Node, np.ndarray], sizes: Any
) -> dict[Node, Check]:
    """For each leaf, of its (gradient, loss), the derivative along a direction both ways."""
    rng = np.random.default_rng(1)
    found = {}
    for loss in dict.fromkeys(loss for _, loss in gradients.values()):
        chosen = [leaf for leaf, (_, other) in gradients.items() if other is loss]
        roots = [loss, *(gradients[leaf][0] for leaf in chosen)]
        copies, leaves = in_double(roots)
        values = {
            leaves[leaf]: as_double(leaf.value if isinstance(leaf, Parameter) else given[leaf])
            for leaf in leaves_of(roots)
        }
        numbers = Evaluator(copies[1:], values, sizes)
        gradient_values = [numbers.values[root] for root in numbers.roots]
        slopes = dict(zip(chosen, gradient_values, strict=True))
        total = Evaluator(copies[:1], values, sizes)
        here = float(total.values[copies[0]])
        for leaf in chosen:
            found[leaf] = _along(total, leaves[leaf], slopes[leaf], here, rng)
    return found


def _along(
    total: Evaluator, leaf: Node, slope: np.ndarray, here: float, rng: np.random.Generator
) -> Check:
    point = total.values[leaf]
    direction = rng.choice([-1.0, 1.0], point.shape) * rng.uniform(0.5, 1.5, point.shape)
    typical = float(np.sqrt(np.mean(point**2))) if point.size else 1.0

    def moved(t: float) -> float:
        return float(total.at(leaf, point + t * direction)[0])

    numeric = derivative(moved, here, typical or 1.0, TOLERANCE / 10)
    derived = float(np.sum(slope * direction))
    return Check(derived, numeric.value, numeric.error, numeric.kind)


# ---- static against eager ------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """Seconds: of a static step, of an eager one, and of what comes before the first static one. Of a
    function that is no training step, ``eager`` runs the ops of its graph one by one."""

    static: float
    eager: float
    start: float
    from_cache: bool
    trains: bool = True

    @property
    def break_even(self) -> float | None:
        """The number of steps from which static is ahead, compilation included."""
        gain = self.eager - self.static
        return self.start / gain if gain > 0 else None


def race(model: Model, inputs: Sequence[np.ndarray], start: float) -> Race:
    """Time a model's step against the same in eager mode. Parameters, state and gradients are
    afterwards what they were."""
    step = model.step
    with restored(model) as restore:
        static = fastest(lambda: step(*inputs))
        restore()
        eager = fastest(eager_step(model, inputs))
    return Race(static, eager, start, model.function.from_cache, model.loss is not None)


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


def sizes_text(sizes: Mapping[Any, int]) -> str:
    return ", ".join(f"{format_dim(symbol)} = {size}" for symbol, size in sizes.items())
