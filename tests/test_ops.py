"""Every op, sample and dtype: types, compiled against op by op, and gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case, cases

import staticgrad as sg
from staticgrad.ops.table import OPS, SAMPLES


@pytest.mark.parametrize("case", cases(differentiable=False), ids=str)
def test_compiled_equals_op_by_op(case: Case) -> None:
    inputs, arrays = case.placeholders(), case.arrays()
    node = case.sample.call(*inputs)
    expected = sg.evaluate(node, dict(zip(inputs, arrays, strict=True)))
    assert expected.dtype == node.dtype and expected.shape == tuple(node.shape)
    got = sg.compile(inputs, node, name="op")(*arrays)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", cases(differentiable=True), ids=str)
def test_value_gradient_and_second_derivative(case: Case) -> None:
    inputs, arrays = case.placeholders(), case.arrays()
    node = case.sample.call(*inputs)
    weights = case.weights(node)
    loss = sg.sum(node * weights) if node.dtype == case.dtype else sg.sum(node)
    gradients = sg.grad(loss, inputs)
    rng = case.rng()
    directions = [rng.uniform(-1, 1, array.shape).astype(case.dtype) for array in arrays]
    slope = sum(
        (sg.sum(g * d) for g, d in zip(gradients, directions, strict=True)), start=sg.constant(0.0)
    )
    outputs = [node, loss, *gradients, slope, *second(slope, inputs)]
    values = dict(zip(inputs, arrays, strict=True))
    expected = sg.evaluate(outputs, values)
    assert expected[0].dtype == node.dtype and expected[0].shape == tuple(node.shape)
    function = sg.compile(inputs, outputs, name="op")
    got = function(*arrays)
    size = max(array.size for array in arrays)
    epsilon = np.finfo(case.dtype).eps
    for ours, other in zip(got, expected, strict=True):
        assert ours.dtype == other.dtype and ours.shape == other.shape
        scale = np.abs(other).max(initial=1.0)
        np.testing.assert_allclose(ours, other, rtol=0, atol=40 * size * epsilon * scale)
    if case.dtype == "float64":
        check_differences(function, len(inputs), arrays, directions)


def second(slope: sg.Node, inputs: list[sg.Node]) -> list[sg.Node]:
    """The derivatives of a gradient's component, where it depends on anything at all."""
    try:
        return sg.grad(slope, inputs, unused="zeros")
    except sg.GraphError:
        return []


def check_differences(
    function: sg.CompiledFunction, count: int, arrays: list[np.ndarray], directions: list[np.ndarray]
) -> None:
    """Slopes along a direction, of the loss and of its slope, by fourth-order differences."""

    def at(step: float) -> list[np.ndarray]:
        moved = [a + step * d for a, d in zip(arrays, directions, strict=True)]
        return function(*moved)

    def difference(position: int) -> float:
        h = 1e-3
        near = at(h)[position] - at(-h)[position]
        far = at(2 * h)[position] - at(-2 * h)[position]
        return float(8 * near - far) / (12 * h)

    here = at(0.0)
    slope_position = 2 + count
    slope = float(here[slope_position])
    assert difference(1) == pytest.approx(slope, rel=1e-7, abs=1e-8)
    if len(here) > slope_position + 1:
        curvature = sum(
            float(np.sum(g * d)) for g, d in zip(here[slope_position + 1 :], directions, strict=True)
        )
        assert difference(slope_position) == pytest.approx(curvature, rel=1e-6, abs=1e-7)


def test_every_public_function_has_samples() -> None:
    from staticgrad.ops import public

    other_names = {
        "equal", "stop_gradient", "astype", "matrix_transpose", "gelu", "logical_and",
        "logical_not", "logical_or", "logical_xor", "Function", "custom_gradient",
    }  # fmt: skip
    missing = [name for name in public.__all__ if name not in SAMPLES and name not in other_names]
    assert not missing
    assert len(OPS) > 80


def test_stop_gradient_is_constant_to_differentiation() -> None:
    x = sg.placeholder("x", (3,), "float64")
    g = sg.grad(sg.sum(x * sg.stop_gradient(x)), x)
    value = np.array([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(sg.compile(x, g)(value), value)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logical(name: str) -> None:
    a = np.array([True, True, False, False])
    b = np.array([True, False, True, False])
    x, y = sg.placeholder("x", (4,), "bool"), sg.placeholder("y", (4,), "bool")
    node = getattr(sg, name)(x, y)
    np.testing.assert_array_equal(sg.compile([x, y], node)(a, b), getattr(np, name)(a, b))
    np.testing.assert_array_equal(sg.compile([x], ~x)(a), ~a)
