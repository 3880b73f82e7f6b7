"""What a workload is: numbers, a loss written in each library's own way, and a bar to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

#: the libraries that a loss can be written for; torch's serves eager and compiled mode
LANGUAGES = ("staticgrad", "torch", "jax", "pytensor")


@dataclass(frozen=True)
class Bars:
    """How many times faster than PyTorch eager and than the best compiler, and how far from the
    limit at most."""

    eager: float
    compiler: float
    limit: float


@dataclass(frozen=True)
class Workload:
    """A loss of parameters and data, to be trained on or differentiated.

    Attributes:
        losses: by language, a function of the parameters, inputs and constants, in this order, each
            as an array of that library; without an optimizer it may return (loss, extra ...).
            "staticgrad eager" where staticgrad's own is for declared graphs alone.
        inputs: arrays that change from call to call. constants: arrays that never do.
        shapes: of inputs whose first axis is a named dimension, by name of the input.
        optimizer: "sgd", "adam" or "adamw" for a training step; "" for value and gradients.
        limit: makes of the workload a function that does what cannot be avoided, and says what that is.
        tolerance: relative, of the comparison with float64.
    """

    name: str
    title: str
    parameters: Mapping[str, np.ndarray]
    losses: Mapping[str, Callable[..., Any]]
    bars: Bars
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    optimizer: str = ""
    rate: float = 1e-3
    limit: Callable[[Workload], tuple[str, Callable[[], Any]]] | None = None
    tolerance: float = 1e-4
    #: samples, for whole epochs instead of steps
    epoch: Mapping[str, np.ndarray] = field(default_factory=dict)
    batch: int = 0
    #: why a library, or all in a language, cannot take part
    without: Mapping[str, str] = field(default_factory=dict)
    #: whether the bar on the cost of a gradient holds for it
    elementwise: bool = False


def linear_parameters(sizes: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights (out, in) and biases of a stack of linear layers, as PyTorch would draw them."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for number, (inner, outer) in enumerate(pairwise(sizes), start=1):
        bound = inner**-0.5
        found[f"fc{number}_weight"] = rng.uniform(-bound, bound, (outer, inner)).astype("float32")
        found[f"fc{number}_bias"] = rng.uniform(-bound, bound, outer).astype("float32")
    return found
