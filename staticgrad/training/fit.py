"""Whole epochs inside compiled code: the loop over batches, the order of samples, what is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from staticgrad.graph.dims import symbols_of
from staticgrad.graph.node import described

if TYPE_CHECKING:
    from staticgrad.training.step import TrainStep


#: of more epochs than twice this, a history prints the first and the last ones
PRINTED_EPOCHS = 4


@dataclass(repr=False)
class History:
    """What happened in ``fit``, epoch by epoch; ``print(history)`` shows a table.

    Attributes: ``loss``, the mean over all samples of the losses before each step;
    ``validation_loss``, after each epoch; ``lr``, the first group's; ``seconds``; ``batch_loss``, the
    loss of every single step.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    batch_loss: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        count = len(self.loss)
        title = (
            f"{count:,} epoch{'s' * (count != 1)}, {len(self.batch_loss):,} "
            f"step{'s' * (len(self.batch_loss) != 1)}, {sum(self.seconds):.3g} s"
        )
        if not count:
            return title
        columns = {"epoch": [f"{k + 1:,}" for k in range(count)]}
        for name, values in ("loss", self.loss), ("validation loss", self.validation_loss):
            if len(values) == count:
                columns[name] = [f"{value:#.5g}" for value in values]
        columns["lr"] = [f"{value:.4g}" for value in self.lr[:count]]
        rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
        if count > 2 * PRINTED_EPOCHS:
            rows[1 + PRINTED_EPOCHS : -PRINTED_EPOCHS] = [["..."] + [""] * (len(columns) - 1)]
        widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([title, *lines])


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
    samples = checked_samples(step, arrays)
    count, size = len(samples[0]), int(batch_size)
    loop = step.loop(gathers=True)
    first = [array[:size] for array in samples]
    batch = [np.empty((len(array), prod(array.shape[1:])), array.dtype) for array in first]
    results = step.function.results(first)
    if validation is not None:
        if not isinstance(validation, (tuple, list)):
            raise TypeError(
                "fit: validation is an array for each input, as in validation=(x, y), got "
                f"{described(validation)}"
            )
        step.validation_loss(*validation)
    if scheduler is not None and (isinstance(scheduler, type) or not hasattr(scheduler, "step")):
        raise TypeError(
            "fit: a scheduler is made for the optimizer, as optim.lr_scheduler.StepLR(optimizer, 10), "
            f"got {described(scheduler)}"
        )
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: a callback takes the history, got {described(callback)}")
    rng = np.random.default_rng(seed)
    history = History()
    with ProgressBar(epochs, progress) as bar:
        for _ in range(epochs):
            start = time.perf_counter()
            history.lr.append(float(step.optimizer.param_groups[0]["lr"]))
            order = rng.permutation(count) if shuffle else np.arange(count)
            losses = np.empty(-(-count // size), results[0].dtype)
            order = order.astype(np.int64, copy=False)
            for done in loop.pieces(batch, results, losses, samples, order, size):
                bar.advance(done / len(losses))
            weights = np.full(len(losses), size)
            weights[-1] = count - size * (len(losses) - 1)
            history.loss.append(float((losses * weights).sum() / count))
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


def checked_samples(step: TrainStep, arrays: Sequence[Any]) -> list[np.ndarray]:
    """An array for each input, of equally many samples along the first axis.

    Raises TypeError or ValueError where they are not what the step takes.
    """
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
    if first & symbols_of([dim for node in inputs for dim in node.shape[1:]]):
        shapes = ", ".join(f"{node.name}: {node.type}" for node in inputs)
        raise ValueError(f"fit needs the dimension of the samples to come first alone, got {shapes}")
    prepared = step.function.prepare(tuple(np.asarray(array) for array in arrays))
    lengths = {array.shape[0] for array in prepared}
    if len(lengths) > 1:
        shapes = ", ".join(str(array.shape) for array in prepared)
        raise ValueError(f"fit needs arrays with equally many samples, got {shapes}")
    (count,) = lengths
    if not count:
        raise ValueError("fit needs at least one sample")
    step.function.sizes(prepared)
    return list(prepared)


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
