"""Properties that hold for whatever Hypothesis finds: indexing, broadcasting, adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import staticgrad as sg

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)
EVALUATED = settings(max_examples=150, deadline=None, derandomize=True)
COMPILED = settings(max_examples=25, deadline=None, derandomize=True)


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)


def check_index(shape: tuple[int, ...], index: Any, compiled: bool) -> None:
    value = counted(shape)
    x = sg.placeholder("x", shape, "float64")
    try:
        expected = value[index]
    except IndexError:
        with pytest.raises((IndexError, sg.GraphError)):
            sg.evaluate(x[index], {x: value})
        return
    node = x[index]
    assert node.shape == expected.shape
    weights = np.cos(counted(expected.shape)) if expected.size else expected
    gradient = np.zeros(shape)
    np.add.at(gradient, index, weights)
    outputs = [node, sg.grad(sg.sum(node * weights), x)]
    results = (
        sg.compile(x, outputs, name="indexed")(value) if compiled
        else sg.evaluate(outputs, {x: value})
    )  # fmt: skip
    np.testing.assert_array_equal(results[0], expected)
    np.testing.assert_allclose(results[1], gradient, rtol=1e-14, atol=1e-14)


@EVALUATED
@given(st.data(), SHAPES)
def test_basic_indexing(data: Any, shape: tuple[int, ...]) -> None:
    index = data.draw(arrays.basic_indices(shape, allow_newaxis=True))
    check_index(shape, index, compiled=False)


@COMPILED
@given(st.data(), SHAPES)
def test_basic_indexing_compiled(data: Any, shape: tuple[int, ...]) -> None:
    index = data.draw(arrays.basic_indices(shape, allow_newaxis=True))
    check_index(shape, index, compiled=True)


@COMPILED
@given(st.data(), SHAPES)
def test_integer_array_indexing(data: Any, shape: tuple[int, ...]) -> None:
    index = data.draw(arrays.integer_array_indices(shape))
    check_index(shape, tuple(item.astype("int64") for item in index), compiled=True)


@EVALUATED
@given(arrays.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4))
def test_broadcasting(shapes: Any) -> None:
    values = [counted(shape) / 7 for shape in shapes.input_shapes]
    nodes = [
        sg.placeholder(name, shape, "float64")
        for name, shape in zip("abc", shapes.input_shapes, strict=True)
    ]
    a, b, c = nodes
    node = a * b + c
    assert node.shape == shapes.result_shape
    given_values = dict(zip(nodes, values, strict=True))
    np.testing.assert_array_equal(
        sg.evaluate(node, given_values), values[0] * values[1] + values[2]
    )
    for x, gradient in zip(nodes, sg.grad(sg.sum(node), nodes), strict=True):
        assert gradient.shape == x.shape
    d_c = sg.evaluate(sg.grad(sg.sum(node), c), given_values)
    np.testing.assert_allclose(d_c, np.full(c.shape, node.size / max(c.size, 1)), rtol=1e-14)


LINEAR = {
    "sum": lambda x: sg.sum(x, axis=0),
    "mean": lambda x: sg.mean(x, axis=-1),
    "cumsum": lambda x: sg.cumsum(x, axis=0),
    "flip": lambda x: sg.flip(x),
    "transpose": lambda x: sg.permute_dims(x, tuple(reversed(range(x.ndim)))),
    "reshape": lambda x: sg.reshape(x, (-1,)),
    "pad": lambda x: sg.pad(x, [(1, 2)] * x.ndim),
    "slice": lambda x: x[::-2],
    "take": lambda x: sg.take(x, np.array([0, -1, 0]), axis=0),
    "concat": lambda x: sg.concat([x, 2.0 * x, x], axis=-1),
    "stack": lambda x: sg.stack([x, x], axis=1),
    "broadcast": lambda x: sg.broadcast_to(x, (2, *x.shape)),
}


@pytest.mark.parametrize("name", LINEAR)
@EVALUATED
@given(SHAPES)
def test_adjoint_identity(name: str, shape: tuple[int, ...]) -> None:
    """<A u, v> = <u, A' v> for linear ops, with A' from the reverse sweep."""
    rng = np.random.default_rng(0)
    x = sg.placeholder("x", shape, "float64")
    image = LINEAR[name](x)
    u, v = rng.standard_normal(shape), rng.standard_normal(tuple(image.shape))
    forward = sg.evaluate(image, {x: u})
    backward = sg.evaluate(sg.grad(image, x, seed=v), {x: u})
    assert np.isclose(np.sum(forward * v), np.sum(u * backward), rtol=1e-12, atol=1e-12)
