"""The samples of the op table as test cases, with their arrays, and a peer's functions to call."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

import staticgrad as sg
from staticgrad.ops.table import SAMPLES, Sample


@dataclass(frozen=True)
class Case:
    """A sample in a dtype."""

    sample: Sample
    number: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.sample.name}-{self.number}-{self.dtype}"

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(crc32(str(self).encode()))

    def arrays(self) -> list[np.ndarray]:
        rng = self.rng()
        return [
            rng.uniform(*self.sample.interval(position), shape).astype(self.dtype)
            for position, shape in enumerate(self.sample.shapes)
        ]

    def placeholders(self) -> list[sg.Node]:
        return [
            sg.placeholder("abc"[position], shape, self.dtype)
            for position, shape in enumerate(self.sample.shapes)
        ]

    def weights(self, node: sg.Node) -> np.ndarray:
        """What the loss weighs the elements of the result with, so that none cancels another."""
        rng = np.random.default_rng(crc32(str(self).encode()) + 1)
        return rng.uniform(0.5, 1.5, tuple(node.shape)).astype(self.dtype)


def cases(differentiable: bool | None = None) -> list[Case]:
    return [
        Case(sample, number, dtype)
        for samples in SAMPLES.values()
        for number, sample in enumerate(samples)
        for dtype in ("float64", "float32")
        if differentiable is None or sample.differentiable == differentiable
    ]


def with_functions(call: Callable[..., Any], name: str, peer: dict[str, Any]) -> Callable[..., Any]:
    """The sample's call with a peer's functions in the place of ours."""
    if not isinstance(call, types.FunctionType) or call.__name__ != "<lambda>":
        return peer[name]
    names = set(call.__code__.co_names)
    functions = {key: value for key, value in call.__globals__.items() if key in names}
    functions.update({key: peer[key] for key in names if key in peer})
    return types.FunctionType(call.__code__, functions)
