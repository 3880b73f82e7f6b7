"""Whole epochs inside compiled code: the loop over batches, the order of samples, what is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numba import types

from staticgrad.codegen.emit import FIRST_CHECK, NOT_READY
from staticgrad.graph.dims import format_shape
from staticgrad.graph.node import Node
from staticgrad.nn.utils.clip_grad import nonfinite_message
from staticgrad.runtime import cache
from staticgrad.runtime.function import CompiledFunction

if TYPE_CHECKING:
    from staticgrad.training.step import TrainStep

#: seconds of compiled work between two looks at the progress bar, and at Ctrl-C
PIECE = 0.1
#: what the loop returns where the gradients were not finite
NOT_FINITE = -1


@dataclass
class History:
    """What happened in ``fit``, epoch by epoch.

    Attributes: ``loss``, the mean over all samples of the losses before each step;
    ``validation_loss``, after each epoch; ``lr``, the first group's; ``seconds``; ``batch_loss``, the
    loss of every single step.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    batch_loss: list[float] = field(default_factory=list)


def fit(
    step: TrainStep,
    arrays: Sequence[Any],
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    seed: int | None,
    validation: Sequence[Any] | None,
    scheduler: Any,
    callback: Callable[[History], Any] | None,
    progress: bool,
) -> History:
    """Train for whole epochs; see ``TrainStep.fit``."""
    for what, number in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"{what} must be a positive integer, got {number!r}")
    loop = EpochLoop(step, arrays, int(batch_size))
    if validation is not None:
        step.validation_loss(*validation)
    rng = np.random.default_rng(seed)
    history = History()
    with ProgressBar(epochs, progress) as bar:
        for _ in range(epochs):
            start = time.perf_counter()
            history.lr.append(float(step.optimizer.param_groups[0]["lr"]))
            order = rng.permutation(loop.samples) if shuffle else np.arange(loop.samples)
            losses = np.concatenate(list(loop.run(order.astype(np.int64), bar)))
            weights = np.full(len(losses), batch_size)
            weights[-1] = loop.samples - batch_size * (len(losses) - 1)
            history.loss.append(float(np.average(losses, weights=weights)))
            history.batch_loss += losses.tolist()
            shown = {"loss": f"{history.loss[-1]:.4g}"}
            if validation is not None:
                history.validation_loss.append(float(step.validation_loss(*validation)))
                shown["validation"] = f"{history.validation_loss[-1]:.4g}"
            history.seconds.append(time.perf_counter() - start)
            bar.show(shown)
            if scheduler is not None:
                _go_on(scheduler, history)
            if callback is not None and callback(history):
                break
    return history


def _go_on(scheduler: Any, history: History) -> None:
    from staticgrad.optim.lr_scheduler import ReduceLROnPlateau

    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step((history.validation_loss or history.loss)[-1])
    else:
        scheduler.step()


class EpochLoop:
    """A compiled loop over batches, which calls the step's machine code."""

    def __init__(self, step: TrainStep, arrays: Sequence[Any], batch_size: int) -> None:
        self.step, self.batch_size = step, batch_size
        inputs = step.inputs
        if len(arrays) != len(inputs):
            expected = ", ".join(f"{node.name}: {node.type}" for node in inputs)
            raise TypeError(f"fit takes {len(inputs)} arrays ({expected}), got {len(arrays)}")
        first = {node.shape[0] if node.ndim else None for node in inputs}
        if len(first) != 1 or not isinstance(next(iter(first)), sympy.Symbol):
            shapes = ", ".join(f"{node.name}: {node.type}" for node in inputs)
            raise ValueError(
                f"fit needs inputs that all begin with the same named dimension, got {shapes}"
            )
        prepared = step.function.prepare(tuple(np.asarray(array) for array in arrays))
        lengths = {array.shape[0] for array in prepared}
        if len(lengths) > 1:
            shapes = ", ".join(str(array.shape) for array in prepared)
            raise ValueError(f"fit needs arrays with equally many samples, got {shapes}")
        (self.samples,) = lengths
        if not self.samples:
            raise ValueError("fit needs at least one sample")
        step.function.sizes(prepared)
        self.rows = [array.reshape(self.samples, -1) for array in prepared]
        width = min(batch_size, self.samples)
        self.batches = [np.empty((width, rows.shape[1]), rows.dtype) for rows in self.rows]
        for function in (step.function, step._accumulate):
            if function is not None:
                examples = [array[:width] for array in prepared]
                function.reserve(function.sizes(examples))
        self.results = step.function.results(step.function.sizes([a[:width] for a in prepared]))
        self.code = _load(step, self.batches)

    def run(self, order: np.ndarray, bar: ProgressBar) -> Iterator[np.ndarray]:
        """Train on the samples in ``order``; yields the losses of the steps, piece by piece.

        Raises what the step raises; batches before that have been trained on.
        """
        step, size = self.step, self.batch_size
        position, piece = 0, 1
        while position < len(order):
            step._options.refresh()
            chosen = order[position : position + piece * size]
            losses = np.zeros(-(-len(chosen) // size), self.results[0].dtype)
            progress = np.array([0, step.accumulated], np.int64)
            start = time.perf_counter()
            accumulate = step._accumulate or step.function
            status = self.code(
                step.function.address, accumulate.address, *self.rows, chosen, size,
                step.accumulation_steps, *self.batches,
                *step.function.fixed, *accumulate.fixed, *self.results, losses, progress,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            step.accumulated = int(progress[1])
            step.changed()
            if status:
                self._fail(int(status), chosen[int(progress[0]) * size :][:size])
            yield losses
            position += piece * size
            bar.advance(min(position, len(order)) / len(order))
            piece = max(1, int(piece * min(PIECE / max(seconds, 1e-9), 1000)))

    def _fail(self, status: int, failing: np.ndarray) -> None:
        if status == NOT_FINITE:
            raise RuntimeError(nonfinite_message(2.0, float(self.results[-1])))
        assert status >= FIRST_CHECK and status != NOT_READY
        arguments = [
            rows[failing].reshape(len(failing), *node.shape[1:])
            for rows, node in zip(self.rows, self.step.inputs, strict=True)
        ]
        # the step itself says what is wrong, and changes nothing
        self.step.function(*arguments)
        raise RuntimeError(f"a step failed with status {status}")


def _load(step: TrainStep, batches: Sequence[np.ndarray]) -> Any:
    """The compiled loop for the step's inputs; the same for all steps with inputs of these types."""
    function = step.function
    accumulate = step._accumulate or function
    source = loop_source(step.inputs, function, accumulate, step._checked)
    array = types.Array
    rows = [array(_kind(b), 2, "C", readonly=True) for b in batches]
    results = step_results(function)
    signature = (
        types.int64, types.int64, *rows, array(types.int64, 1, "C"), types.int64, types.int64,
        *(array(_kind(b), 2, "C") for b in batches),
        *(array(_kind(f), f.ndim, "C") for f in (*function.fixed, *accumulate.fixed)),
        *(array(kind, rank, "C") for kind, rank in results),
        array(results[0][0], 1, "C"), array(types.int64, 1, "C"),
    )  # fmt: skip
    return cache.load(source, "fit_epoch", "fit_epoch", signature).dispatcher


def step_results(function: CompiledFunction) -> list[tuple[Any, int]]:
    """The element type and the rank of each output."""
    return [(_kind(np.empty(0, dtype)), rank) for dtype, rank in function.output_types]


def _kind(array: np.ndarray) -> Any:
    from numba.np.numpy_support import from_dtype

    return from_dtype(array.dtype)


def loop_source(
    inputs: Sequence[Node], function: CompiledFunction, accumulate: CompiledFunction, checked: bool
) -> str:
    """The module of the loop over batches."""
    names = [str(node.name) for node in inputs]
    fixed = [f"step_{k}" for k in range(len(function.fixed))]
    fixed_sum = [f"accumulate_{k}" for k in range(len(accumulate.fixed))]
    results = [f"result_{k}" for k in range(len(function.output_types))]
    arguments = [
        "step", "accumulate", *(f"{n}_samples" for n in names), "order", "batch_size",
        "accumulation_steps", *(f"{n}_batch" for n in names), *fixed, *fixed_sum, *results,
        "losses", "progress",
    ]  # fmt: skip
    lines = [
        '"""fit_epoch: the batches of an epoch, in the order given, each with one call of the step.',
        "",
        "Samples are copied into a batch; the step is compiled code at an address. Returns 0, or the",
        "status of the step that failed, whose number is left in progress[0].",
        "",
        "Generated by staticgrad; edits are not kept.",
        '"""',
        "",
        "from numba import njit",
        "",
        "from staticgrad.kernels.arrays import reshaped",
        "from staticgrad.kernels.calls import call_at",
        "",
        "",
        '@njit(error_model="numpy")',
        "def fit_epoch(",
        *(f"    {name}," for name in arguments),
        "):",
        "    for batch in range(losses.size):",
        "        first = batch * batch_size",
        "        count = min(batch_size, order.size - first)",
    ]
    for name in names:
        lines += [
            "        for i in range(count):",
            f"            for j in range({name}_batch.shape[1]):",
            f"                {name}_batch[i, j] = {name}_samples[order[first + i], j]",
        ]
    views = []
    for node in inputs:
        shape = format_shape(("count", *node.shape[1:]))
        views.append(f"reshaped({node.name}_batch, {shape})")
    given = ", ".join(views)

    def call(address: str, tables: Sequence[str]) -> str:
        return f"status = call_at({address}, ({', '.join([given, *tables, *results])},))"

    if function is accumulate:
        lines.append(f"        {call('step', fixed)}")
    else:
        lines += [
            "        if progress[1] + 1 == accumulation_steps:",
            f"            {call('step', fixed)}",
            "        else:",
            f"            {call('accumulate', fixed_sum)}",
        ]
    lines += [
        "        if status:",
        "            progress[0] = batch",
        "            return status",
    ]
    if checked:
        lines += [
            f"        if not abs({results[-1]}[()]) < inf:",
            "            progress[0] = batch",
            f"            return {NOT_FINITE}",
        ]
        lines.insert(lines.index("from numba import njit"), "from math import inf\n")
    lines += [
        "        progress[1] = (progress[1] + 1) % accumulation_steps",
        f"        losses[batch] = {results[0]}[()]",
        "    return 0",
    ]
    return "\n".join(lines) + "\n"


class ProgressBar:
    """A line on standard error, where that is a terminal: tqdm's where it is installed."""

    def __init__(self, epochs: int, wanted: bool) -> None:
        self.epochs, self.done = epochs, 0
        self.active = wanted and sys.stderr.isatty()
        self._bar = None
        if self.active:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=epochs, desc="training", unit="epoch", file=sys.stderr)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.active:
            print(file=sys.stderr)

    def advance(self, part: float) -> None:
        """Show how much of the current epoch is done."""
        if self._bar is not None:
            self._bar.n = round(self.done + part, 2)
            self._bar.refresh()

    def show(self, values: dict[str, str]) -> None:
        """Show what an epoch has given."""
        self.done += 1
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        if self._bar is not None:
            self._bar.n = self.done
            self._bar.set_postfix_str(text)
        elif self.active:
            print(f"\rtraining: epoch {self.done}/{self.epochs}, {text}", end="", file=sys.stderr)
