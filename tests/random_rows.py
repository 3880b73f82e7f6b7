"""Random models of many rows: layers, gates, norms and sums that share a long axis."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

import staticgrad as sg

ACTIVATIONS = (sg.tanh, sg.sin, sg.relu, sg.sigmoid, sg.gelu, lambda z: z)
SUMMARIES = (
    lambda h: sg.sum(h, axis=1),
    lambda h: h,
    lambda h: sg.max(h, axis=0),
    lambda h: sg.sum(h, axis=0),
    lambda h: sg.logsumexp(h, axis=1),
)


def random_rows(seed: int) -> tuple[list[Any], list[Any], list[np.ndarray]]:
    """Placeholders, outputs with gradients, and arrays."""
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    rows = choose.choice([512, 1024, 2048, 4096, 5000, 8191])
    inputs: list[Any] = []
    arrays: list[np.ndarray] = []

    def given(name: str, *shape: int) -> Any:
        arrays.append(rng.standard_normal(shape) / np.sqrt(shape[0] if name != "x" else 1))
        inputs.append(sg.placeholder(name, shape, dtype="float64"))
        return inputs[-1]

    hidden = [given("x", rows, choose.choice([1, 3, 6, 8, 16, 33]))]
    outputs: list[Any] = []
    for layer in range(choose.randint(2, 5)):
        h = choose.choice(hidden[-2:])
        kind = choose.choice(["linear", "linear", "linear", "norm", "softmax", "gate", "columns"])
        if kind == "linear":
            width = choose.choice([1, 2, 5, 8, 16, 32])
            z = h @ given(f"w{layer}", h.shape[1], width) + given(f"b{layer}", width)
            h = choose.choice(ACTIVATIONS)(z)
        elif kind == "norm":
            centred = h - sg.mean(h, axis=1, keepdims=True)
            h = centred / sg.sqrt(sg.mean(sg.square(centred), axis=1, keepdims=True) + 0.1)
        elif kind == "softmax":
            h = sg.softmax(h, axis=1)
        elif kind == "gate":
            h = h * sg.sigmoid(choose.choice([other for other in hidden if other.shape == h.shape]))
        else:
            h = h - sg.mean(h, axis=0)
        hidden.append(h)
        if choose.random() < 0.3:
            outputs.append(choose.choice(SUMMARIES)(h))
    loss = sg.mean(sg.square(hidden[-1])) + sg.sum(sg.sin(hidden[-1]))
    return inputs, [loss, *outputs, *sg.grad(loss, inputs, unused="zeros")], arrays
