"""``staticgrad demo``: a classifier of handwritten digits, trained by one compiled step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import staticgrad as sg
from staticgrad.measure.timing import in_turns, repeated

BATCH_SIZE = 64
LEARNING_RATE = 0.1
HELD_OUT = 5
ROUNDS = 15


@dataclass
class Digits:
    """Images as float32(n, 64) with values from 0 to 1, and labels as int64(n,)."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits(seed: int) -> Digits:
    """Scikit-learn's bundled images, shuffled, with a fifth held out."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images = (images[order] / 16).astype("float32")
    labels = labels[order].astype("int64")
    cut = len(labels) // HELD_OUT
    return Digits(images[cut:], labels[cut:], images[:cut], labels[:cut])


@dataclass
class Classifier:
    """The declared graph: its inputs, its parameters, and what is computed."""

    inputs: list[sg.Node]
    parameters: list[sg.Parameter]
    logits: sg.Node
    loss: sg.Node

    @property
    def updates(self) -> dict[sg.Parameter, sg.Node]:
        """Gradient descent: each parameter less its gradient times the learning rate."""
        gradients = sg.grad(self.loss, self.parameters)
        return {
            parameter: parameter - LEARNING_RATE * gradient
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        }


def declare(seed: int) -> Classifier:
    """64-128-128-10 with ReLU, and He's initialisation."""
    rng = np.random.default_rng(seed)

    def weight(rows: int, columns: int, name: str) -> sg.Parameter:
        values = rng.standard_normal((rows, columns)) * np.sqrt(2 / rows)
        return sg.parameter(values.astype("float32"), name=name)

    def bias(size: int, name: str) -> sg.Parameter:
        return sg.parameter(np.zeros(size, "float32"), name=name)

    x = sg.placeholder("x", ("batch", 64))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    W1, b1 = weight(64, 128, "W1"), bias(128, "b1")
    W2, b2 = weight(128, 128, "W2"), bias(128, "b2")
    W3, b3 = weight(128, 10, "W3"), bias(10, "b3")
    hidden_1 = sg.relu(x @ W1 + b1)
    hidden_2 = sg.relu(hidden_1 @ W2 + b2)
    logits = hidden_2 @ W3 + b3
    loss = sg.cross_entropy(logits, y)
    return Classifier([x, y], [W1, b1, W2, b2, W3, b3], logits, loss)


def demo(epochs: int, seed: int, quiet: bool) -> float:
    """Train, report, and return the accuracy on the held-out fifth."""
    from tqdm import tqdm

    data = load_digits(seed)
    model = declare(seed)
    step = sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")
    predict = sg.compile(
        model.inputs[0], sg.argmax(model.logits, axis=1), name="digits_predict"
    )
    how = "read from the cache" if step.from_cache else "compiled"
    print(f"The training step was {how} in {step.compile_seconds:.2f} s.")

    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    bar = tqdm(range(epochs), desc="training", unit="epoch", disable=quiet, file=sys.stderr)
    for _ in bar:
        loss = train_epoch(step, data, rng)
        bar.set_postfix(loss=f"{loss:.4f}")
    seconds = time.perf_counter() - start
    accuracy = float(np.mean(predict(data.test_images) == data.test_labels))
    print(
        f"{epochs} epochs of {len(data.labels)} images in {seconds:.2f} s; "
        f"{accuracy:.1%} of {len(data.test_labels)} held-out images are classified correctly."
    )
    if not quiet:
        print("\nThe backward part of the generated code:\n")
        print(backward_part(step.source))
    print(f"\nThe generated code is at {step.path}")
    compare(step, model, data, quiet)
    return accuracy


def train_epoch(step: Callable[..., Any], data: Digits, rng: np.random.Generator) -> float:
    """One pass over the shuffled images in batches; returns the mean loss of the batches."""
    order = rng.permutation(len(data.labels))
    losses = []
    for first in range(0, len(order), BATCH_SIZE):
        chosen = order[first : first + BATCH_SIZE]
        losses.append(step(data.images[chosen], data.labels[chosen]))
    return float(np.mean(losses))


def backward_part(source: str) -> str:
    """The sections of a generated module from the first with adjoints up to the updates."""
    lines = source.splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip().startswith("# ---- ")]
    first = next(number for number in heads if "backward" in lines[number])
    last = next((number for number in heads if "update" in lines[number]), len(lines))
    return "\n".join(lines[first:last]).rstrip()


def compare(
    step: Callable[..., Any], model: Classifier, data: Digits, quiet: bool
) -> None:
    """Time the compiled step and the same graph executed op by op, on one batch, in turns."""
    from tqdm import tqdm

    nodes = [model.loss, *model.updates.values()]
    arrays = data.images[:BATCH_SIZE], data.labels[:BATCH_SIZE]
    values = dict(zip(model.inputs, arrays, strict=True))

    def op_by_op() -> None:
        _, *new = sg.evaluate(nodes, values)
        for parameter, value in zip(model.updates, new, strict=True):
            parameter.value = value

    calls = {"compiled": lambda: step(*arrays), "eager": op_by_op}
    with tqdm(total=ROUNDS, desc="timing", disable=quiet, leave=False, file=sys.stderr) as bar:
        timings = in_turns(
            {name: partial(repeated, call) for name, call in calls.items()}, ROUNDS,
            note=lambda done: bar.update(),
        )  # fmt: skip
    compiled, eager = timings["compiled"].median, timings["eager"].median
    print(
        f"One step on {BATCH_SIZE} images: {compiled * 1e6:.0f} us compiled, {eager * 1e6:.0f} us "
        f"op by op in NumPy: {eager / compiled:.0f} times as fast "
        f"(medians of {ROUNDS} rounds in turns)."
    )
