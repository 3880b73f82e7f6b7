"""``sg.compare``: a step compiled, in our own eager mode, and in PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter, placeholder
from staticgrad.measure import allocations, machine
from staticgrad.measure.allocations import Allocated
from staticgrad.measure.eager_way import eager_step
from staticgrad.measure.model import Model
from staticgrad.measure.samples import DEFAULT_SIZE, sample_arrays
from staticgrad.measure.text import duration, number, size
from staticgrad.measure.timing import Timing, break_even, in_turns, repeated
from staticgrad.ops import public as ops
from staticgrad.runtime import cache
from staticgrad.runtime.debug import DebugFunction
from staticgrad.runtime.function import compile, compiled
from staticgrad.training.step import TrainStep

STATIC, EAGER, TORCH = "static", "staticgrad eager", "PyTorch eager"
ROUNDS = 11
#: steps whose results are compared before anything is timed
CHECKED_STEPS = 3
#: relative to the largest element: what float32 may differ by after a few steps
TOLERANCE = {np.dtype("float32"): 1e-3, np.dtype("float64"): 1e-8}


@dataclass(frozen=True)
class Way:
    """What was measured of one way of running a step.

    Attributes:
        timing: seconds per step.
        ops: operations that Python starts in a step; of PyTorch, that it dispatches.
        allocated: bytes per step.
        peak: bytes in use during a step, besides parameters, state and arguments: what is allocated at
            once and, for a compiled step, its workspace, which it keeps from call to call.
        difference: the largest one between its results and those of the static way after a few steps,
            relative to the largest element.
    """

    timing: Timing
    ops: int
    allocated: Allocated
    peak: float
    difference: float = 0.0


@dataclass
class Comparison:
    """What ``compare`` has found; ``print`` shows it as a table.

    Attributes:
        name: of the model. sizes: of its named dimensions.
        ways: by name: "static", "staticgrad eager", and "PyTorch eager" where it is installed.
        compile_seconds: from inputs and loss to the compiled step, with an empty cache, in a process
            that has compiled something before.
        first_seconds: the same, with the first step.
        missing: why a way is not there.
        notes: what else is to be known of the numbers.
    """

    name: str
    sizes: dict[str, int]
    compile_seconds: float = 0.0
    first_seconds: float = 0.0
    rounds: int = 0
    parameter_bytes: int = 0
    ways: dict[str, Way] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def faster_than(self, name: str) -> float:
        """How many times as long as the static step another way takes."""
        return self.ways[name].timing.median / self.ways[STATIC].timing.median

    def break_even(self, name: str) -> float:
        """After how many steps compiling has paid, in comparison with another way; infinity where it
        never does."""
        static = self.ways[STATIC].timing.median
        return break_even(self.first_seconds - static, self.ways[name].timing.median, static)

    def __str__(self) -> str:
        others = [name for name in self.ways if name != STATIC]
        ways = [self.ways[name] for name in (STATIC, *others)]

        def steps(name: str) -> str:
            count = self.break_even(name)
            return "never" if math.isinf(count) else f"{count:,.0f}"

        rows = [
            ["", STATIC, *others],
            ["time per step", *(duration(way.timing.median) for way in ways)],
            ["  quartiles", *(f"{duration(w.timing.low)} to {duration(w.timing.high)}" for w in ways)],
            ["  times static", "1", *(number(self.faster_than(name)) for name in others)],
            ["operations per step", *(f"{way.ops:,}" for way in ways)],
            ["allocated per step", *(size(way.allocated.total) for way in ways)],
            ["peak memory of a step", *(size(way.peak) for way in ways)],
            ["compile time", duration(self.compile_seconds), *("-" for _ in others)],
            ["break-even after", "", *(f"{steps(name)} steps" for name in others)],
            ["largest difference", "", *(f"{self.ways[name].difference:.1e}" for name in others)],
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(ways) + 1)]
        lines = [
            "  ".join(
                cell.ljust(width) if not column else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        sizes = "".join(f", {name} = {value}" for name, value in self.sizes.items())
        head = f"{self.name}{sizes}; parameters and state {size(self.parameter_bytes)}"
        where = f"{machine.processor()}, 1 thread; medians of {self.rounds} rounds in turns"
        absent = [f"{name}: {reason}" for name, reason in self.missing.items()]
        return "\n".join([head, where, "", *lines, *([""] if absent or self.notes else []), *absent,
                          *self.notes])  # fmt: skip


def compare(
    model: Any,
    loss: Any = None,
    optimizer: Any = None,
    *,
    arrays: Sequence[np.ndarray] | None = None,
    rounds: int = ROUNDS,
    note: Callable[[str], None] = lambda text: None,
    **sizes: int,
) -> Comparison:
    """Measure one step of a model: compiled, in staticgrad's eager mode, and in PyTorch's eager mode
    where it is installed.

    The eager ways run the declared graph forward op by op, record it, go back, and let the optimizer
    step; the loss and everything above it is as it was declared. PyTorch's gets the functions that it
    has for several ops together. First all run a few steps from the same start, and their results are
    compared; then they are timed in turns. Each uses one thread. Parameters, the optimizer's state and
    gradients are afterwards what they were.

    Args:
        model: the inputs, with ``loss`` and perhaps an ``optimizer``; without one the step computes the
            loss and its gradients by all parameters. Or a training step, or a compiled function, whose
            ops then run as they are, one by one.
        arrays: for the inputs, in order; random ones unless given.
        rounds: turns that each way gets.
        note: is told what is being done.
        sizes: of named dimensions, as ``batch=64``, which is what they are unless told.

    Raises:
        TypeError: for what is no model. ValueError: for arrays that do not fit, sizes of no dimension,
        and steps that accumulate gradients.
    """
    given = model if loss is None else (model, loss, optimizer)
    subject = given if isinstance(given, Model) else Model.of(given)
    _check(subject, sizes)
    found = Comparison(subject.name, {}, rounds=rounds)
    with machine.one_thread() as certain, _torch_on_one_thread(), cache.empty():
        note("compiling")
        found.compile_seconds = _compile(subject)
        roots = subject.graph.roots
        if arrays is None:
            arrays = sample_arrays(subject.inputs, roots, sizes)
        chosen = list(subject.function.prepare(tuple(arrays)))
        found.sizes = {str(k): v for k, v in subject.function.sizes(chosen).items()}
        found.parameter_bytes = sum(parameter.value.nbytes for parameter in subject.parameters)
        if not certain:
            found.notes.append(
                "NumPy's matrix products may use several threads: set OPENBLAS_NUM_THREADS=1, or "
                "install threadpoolctl."
            )
        with restored(subject) as restore:
            _measure(found, subject, chosen, rounds, note, restore)
    if subject.loss is None:
        found.notes.append(
            "This is a compiled function: eager ways run the ops of its graph, gradients included, as "
            "they are."
        )
    return found


def _check(model: Model, sizes: Mapping[str, int]) -> None:
    unknown = [name for name in sizes if name not in model.dimensions]
    if unknown:
        known = ", ".join(model.dimensions) or "none"
        raise ValueError(f"compare: no dimension {', '.join(unknown)}; the inputs have {known}")
    step = model.step if model.is_made else None
    if isinstance(step, TrainStep) and step.accumulation_steps > 1:
        raise ValueError(
            f"compare takes steps that update parameters at each call; this one does so at every "
            f"{step.accumulation_steps}th (accumulation_steps)"
        )
    if isinstance(step, TrainStep) and isinstance(step.function, DebugFunction):
        raise ValueError("compare takes compiled steps; this one was made with debug=True")


def _compile(model: Model) -> float:
    """Seconds that it takes to compile the step, after something small."""
    x = placeholder("x", ("n",), "float64")
    compile(x, ops.sum(x * x), name="warm_up", debug=False)
    start = perf_counter()
    if model.is_made:
        compiled(model.graph, True, model.function.name)
    else:
        assert model.step
    return perf_counter() - start


@contextmanager
def restored(model: Model) -> Iterator[Callable[[], None]]:
    """Parameters, state and gradients are after the context what they were; what it gives restores
    parameters and state inside."""
    if isinstance(model.step, TrainStep):
        # the optimizer's options lie in memory of the step's, and are written at the first call
        model.step._options.refresh()
    parameters = model.parameters
    before = [np.array(parameter.value) for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters]

    def restore() -> None:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.value[...] = value
            if parameter.eager_view is not None:
                parameter.eager_view._version[0] += 1

    try:
        yield restore
    finally:
        restore()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


def _measure(
    found: Comparison,
    model: Model,
    arrays: Sequence[np.ndarray],
    rounds: int,
    note: Callable[[str], None],
    restore: Callable[[], None],
) -> None:
    step = model.step
    start = perf_counter()
    step(*arrays)
    found.first_seconds = found.compile_seconds + perf_counter() - start
    restore()

    def static() -> Any:
        return step(*arrays)

    actions: dict[str, Callable[[], Any]] = {STATIC: static}
    counts: dict[str, Callable[[], int]] = {STATIC: lambda: 1}
    note("comparing numbers")
    expected = _results(model, static, restore)
    differences: dict[str, float] = {}
    for name, make in ((EAGER, _eager), (TORCH, _torch)):
        try:
            action, count, values = make(model, arrays)
            difference = _difference(expected, _results(model, action, restore, values))
        except _Missing as missing:
            found.missing[name] = str(missing)
            continue
        except Exception as error:  # whatever a user's pullback, or PyTorch, may raise
            found.missing[name] = f"failed: {type(error).__name__}: {error}"
            continue
        finally:
            restore()
        actions[name], counts[name], differences[name] = action, count, difference
    _tell_differences(found, model, differences)
    calls = {name: partial(repeated, action) for name, action in actions.items()}

    def turn(done: int) -> None:
        if done < rounds:
            note(f"round {done + 1} of {rounds}")

    turn(0)
    timings = in_turns(calls, rounds, note=turn)
    restore()
    note("memory")
    for name, action in actions.items():
        memory = allocations.profiled(action) if name == TORCH else allocations.traced(action)
        held = model.function.workspace_bytes(**found.sizes) if name == STATIC else 0
        found.ways[name] = Way(
            timings[name], counts[name](), memory, memory.peak + held, differences.get(name, 0.0)
        )


def _torch_on_one_thread() -> AbstractContextManager[None]:
    if find_spec("torch") is None:
        return nullcontext()
    from staticgrad.measure.torch_way import one_thread

    return one_thread()


class _Missing(Exception):
    """A way that cannot be had."""


#: the step, how its ops are counted, and the current values of parameters where it has its own
Made = tuple[Callable[[], Any], Callable[[], int], Callable[[Parameter], np.ndarray]]


def _eager(model: Model, arrays: Sequence[np.ndarray]) -> Made:
    action = eager_step(model, arrays)
    return action, partial(allocations.count_ops, action), lambda parameter: parameter.value


def _torch(model: Model, arrays: Sequence[np.ndarray]) -> Made:
    if find_spec("torch") is None:
        raise _Missing("not installed")
    from staticgrad.measure.torch_ops import Untranslatable
    from staticgrad.measure.torch_way import TorchStep, count_ops

    try:
        step = TorchStep(model, arrays)
    except Untranslatable as error:
        raise _Missing(str(error)) from None

    def value(parameter: Parameter) -> np.ndarray:
        tensor = step.tensors.get(parameter)
        array: np.ndarray = parameter.value if tensor is None else tensor.detach().numpy()
        return array

    return step, partial(count_ops, step), value


def _results(
    model: Model,
    action: Callable[[], Any],
    restore: Callable[[], None],
    value: Callable[[Parameter], np.ndarray] = lambda parameter: parameter.value,
) -> list[np.ndarray]:
    """What a few steps give, and the parameters after them."""
    found: list[np.ndarray] = []
    for _ in range(CHECKED_STEPS):
        results = action()
        found += [np.array(r) for r in (results if isinstance(results, (list, tuple)) else [results])]
    found += [np.array(value(node)) for node in model.wrt if isinstance(node, Parameter)]
    restore()
    return found


def _difference(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """The largest difference, relative to the largest element of the array that it is in."""
    largest = 0.0
    for one, other in zip(expected, got, strict=True):
        if one.dtype.kind != "f":
            largest = max(largest, float(not np.array_equal(one, other)))
            continue
        first, second = one.astype("float64"), other.astype("float64")
        if not np.array_equal(np.isfinite(first), np.isfinite(second)):
            return math.inf
        finite = np.isfinite(first)
        distance = np.abs(first - second, where=finite, out=np.zeros_like(first))
        scale = np.abs(first, where=finite, out=np.zeros_like(first))
        largest = max(largest, float(np.max(distance, initial=0) / (np.max(scale, initial=0) + 1e-30)))
    return largest


def _tell_differences(found: Comparison, model: Model, differences: Mapping[str, float]) -> None:
    """A note where results differ by more than rounding explains."""
    allowed = max(
        (TOLERANCE.get(node.dtype, 0.0) for node in (*model.wrt, *model.program.outputs)), default=0.0
    )
    for name, difference in differences.items():
        if not difference <= allowed:
            found.notes.append(
                f"The numbers of {name} differ from the static ones by more than rounding explains: "
                "look into it before you trust either. Inputs out of a function's domain do that too."
            )


__all__ = ["DEFAULT_SIZE", "Comparison", "Way", "compare"]
