"""Integers and booleans: NumPy's values and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticgrad as sg

A = np.array([[-7, 0, 3, 5], [2, -2, 9, 1], [4, 4, -1, 6]])
B = np.array([3, -2, 5, 2])
CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda m, a, b: a + b,
    "subtract": lambda m, a, b: a - b,
    "multiply": lambda m, a, b: a * b - 3,
    "floor divide": lambda m, a, b: a // b,
    "remainder": lambda m, a, b: a % b,
    "power": lambda m, a, b: a**3,
    "negative": lambda m, a, b: -a,
    "less": lambda m, a, b: a < b,
    "equal": lambda m, a, b: (a == b) | (a > 4),
    "not": lambda m, a, b: ~(a >= b),
    "xor": lambda m, a, b: (a > 0) ^ (b > 0),
    "sum": lambda m, a, b: m.sum(a, axis=0),
    "prod": lambda m, a, b: m.prod(a),
    "max": lambda m, a, b: m.max(a, axis=1),
    "min": lambda m, a, b: m.min(a),
    "argmax": lambda m, a, b: m.argmax(a, axis=1),
    "argmin": lambda m, a, b: m.argmin(a, axis=0),
    "maximum": lambda m, a, b: m.maximum(a, b),
    "where": lambda m, a, b: m.where(a > b, a, b),
    "abs": lambda m, a, b: m.abs(a),
    "sign": lambda m, a, b: m.sign(a),
    "square": lambda m, a, b: m.square(a),
    "cumsum": lambda m, a, b: m.cumsum(a, axis=1),
    "matmul": lambda m, a, b: a @ b,
    "slice": lambda m, a, b: a[::-1, 1::2],
    "take": lambda m, a, b: m.take(a, np.array([0, -1]), axis=1),
    "flip": lambda m, a, b: m.flip(a, axis=0),
    "count": lambda m, a, b: m.sum(a > 0, axis=1),
    "true divide": lambda m, a, b: a / b,
    "mean": lambda m, a, b: m.mean(a, axis=0),
    "clip": lambda m, a, b: m.clip(a, -1, 4),
}


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("name", CASES)
def test_as_numpy(name: str, dtype: str) -> None:
    call = CASES[name]
    a, b = A.astype(dtype), B.astype(dtype)
    expected = call(np, a, b)
    nodes = [sg.placeholder("a", (3, 4), dtype), sg.placeholder("b", (4,), dtype)]
    node = call(sg, *nodes)
    assert node.dtype == expected.dtype and node.shape == expected.shape
    evaluated = sg.evaluate(node, dict(zip(nodes, [a, b], strict=True)))
    compiled = sg.compile(nodes, node, name="integers")(a, b)
    for got in (evaluated, compiled):
        assert got.dtype == expected.dtype
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=1e-15)
        else:
            np.testing.assert_array_equal(got, expected)
