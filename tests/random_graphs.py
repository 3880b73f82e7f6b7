"""Seeded random graphs of 5 to 60 nodes, for tests that hold two ways of computing together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import staticgrad as sg
from staticgrad.graph.dims import broadcast_shapes, concrete, symbols_of

#: sizes of the named dimensions; distinct, so that a mixed-up axis shows
SIZES = {"batch": 5, "time": 3}


@dataclass
class RandomGraph:
    """A scalar loss over placeholders and parameters, with arrays to call it on."""

    inputs: list[Any]
    arrays: list[np.ndarray]
    parameters: list[Any]
    loss: Any
    count: int


UNARY = [
    sg.tanh, sg.sin, sg.cos, sg.sigmoid, sg.softplus, sg.relu, sg.gelu, sg.silu, sg.elu, sg.abs,
    sg.square, sg.erf, sg.atan, sg.leaky_relu, sg.log_sigmoid, sg.selu,
    lambda a: sg.exp(sg.clip(a, -3.0, 1.0)), lambda a: sg.sqrt(sg.abs(a) + 0.5),
    lambda a: sg.log(sg.square(a) + 1.0), lambda a: sg.log1p(sg.abs(a)),
    lambda a: sg.rsqrt(sg.square(a) + 0.7), lambda a: -a, lambda a: a * 0.5 + 1.0,
    lambda a: sg.stop_gradient(a) * a, lambda a: a ** 3 * 0.1, lambda a: sg.expm1(sg.minimum(a, 1.0)),
]  # fmt: skip
BINARY = [
    sg.add, sg.subtract, sg.multiply, sg.maximum, sg.minimum, sg.hypot, sg.logaddexp,
    lambda a, b: a / (sg.square(b) + 1.0), lambda a, b: sg.where(a > b, a, b * 0.5),
    lambda a, b: sg.atan2(a, sg.square(b) + 1.0),
]  # fmt: skip


def _reduce(rng: np.random.Generator, a: Any) -> Any:
    function = rng.choice([sg.sum, sg.mean, sg.max, sg.min, sg.logsumexp])
    axis = None if rng.random() < 0.2 else int(rng.integers(a.ndim))
    return function(a, axis=axis, keepdims=bool(rng.random() < 0.5))


def _move(rng: np.random.Generator, a: Any) -> Any:
    choice = rng.integers(9)
    axis = int(rng.integers(a.ndim))
    sizes = {symbol: SIZES[str(symbol)] for symbol in symbols_of(a.shape)}
    if choice == 2 and concrete(a.shape[axis], sizes) < 2:
        choice = 1
    if choice == 0:
        return sg.permute_dims(a, tuple(int(k) for k in rng.permutation(a.ndim)))
    if choice == 1:
        return sg.flip(a, axis=axis)
    if choice == 2:
        index = [slice(None)] * a.ndim
        index[axis] = [slice(1, None), slice(None, -1), slice(None, None, -1), slice(None, None, 2)][
            rng.integers(4)
        ]
        return a[tuple(index)]
    if choice == 3:
        return sg.concat([a, a * 2.0], axis=axis)
    if choice == 4:
        return sg.expand_dims(a, axis=axis) if a.ndim < 3 else sg.sum(a, axis=axis)
    if choice == 5:
        return sg.cumsum(a, axis=axis) * 0.3
    if choice == 6:
        return sg.reshape(a, (-1,))
    if choice == 7:
        return sg.take(a, np.array([0, -1, -1, 0]), axis=axis)
    return sg.pad(a, [(1, 2) if k == axis else (0, 0) for k in range(a.ndim)])


def _contract(rng: np.random.Generator, a: Any, parameters: list[Any]) -> Any:
    """A matrix product with a fresh parameter, or of a node with itself."""
    last = a.shape[-1]
    if not isinstance(last, int):
        return sg.softmax(a, axis=-1) if a.ndim else a
    width = int(rng.choice([1, 3, 4, 9, 16]))
    scale = 1 / np.sqrt(max(last, 1))
    weight = sg.parameter(
        (rng.standard_normal((last, width)) * scale).astype(a.dtype), name=f"W{len(parameters)}"
    )
    parameters.append(weight)
    return a @ weight


def random_graph(seed: int, dtype: str = "float64") -> RandomGraph:
    """A graph with 5 to 60 nodes as the user counts them (calls, not what they expand to)."""
    rng = np.random.default_rng(seed)
    inputs = [
        sg.placeholder("x", ("batch", 4), dtype),
        sg.placeholder("s", ("batch", "time", 2), dtype),
        sg.placeholder("v", (4,), dtype),
    ]
    shapes = [(SIZES["batch"], 4), (SIZES["batch"], SIZES["time"], 2), (4,)]
    arrays = [rng.uniform(-1.5, 1.5, shape).astype(dtype) for shape in shapes]
    parameters = [sg.parameter(rng.uniform(-1, 1, (4,)).astype(dtype), name="p")]
    pool: list[Any] = [*inputs, *parameters]
    target = int(rng.integers(5, 61))
    count = 0
    while count < target:
        a = pool[int(rng.integers(max(0, len(pool) - 6), len(pool)))]
        kind = rng.random()
        if kind < 0.4 or a.ndim == 0:
            node = UNARY[rng.integers(len(UNARY))](a)
        elif kind < 0.65:
            mates = [b for b in pool if broadcasts(a, b)]
            node = BINARY[rng.integers(len(BINARY))](a, mates[rng.integers(len(mates))])
        elif kind < 0.75:
            node = _reduce(rng, a)
        elif kind < 0.88:
            node = _move(rng, a)
        elif kind < 0.93:
            function = rng.choice([sg.softmax, sg.log_softmax])
            node = function(a, axis=int(rng.integers(a.ndim)))
        else:
            node = _contract(rng, a, parameters)
        count += 1
        if node.ndim <= 4:
            pool.append(node)
    ends = pool[len(inputs) + 1 :][-3:] or [pool[0]]
    loss = sum((sg.mean(sg.sin(node)) for node in ends[1:]), start=sg.mean(sg.sin(ends[0])))
    return RandomGraph(inputs, arrays, parameters, loss, count)


def broadcasts(a: Any, b: Any) -> bool:
    try:
        broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return True
