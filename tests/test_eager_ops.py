"""Eager mode runs every op, and its tape gives the gradients that static derivation gives."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case, cases

import staticgrad as sg
from staticgrad import eager


@pytest.mark.parametrize("case", cases(differentiable=False), ids=str)
def test_value(case: Case) -> None:
    inputs, arrays = case.placeholders(), case.arrays()
    expected = sg.evaluate(case.sample.call(*inputs), dict(zip(inputs, arrays, strict=True)))
    got = case.sample.call(*map(eager.tensor, arrays)).numpy()
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", cases(differentiable=True), ids=str)
def test_gradient_and_second_derivative(case: Case) -> None:
    inputs, arrays = case.placeholders(), case.arrays()
    node = case.sample.call(*inputs)
    weights = case.weights(node)
    directions = [case.rng().uniform(-1, 1, array.shape).astype(case.dtype) for array in arrays]

    def slope(gradients: list) -> sg.Node:
        return sum((sg.sum(g * d) for g, d in zip(gradients, directions, strict=True)), start=0.0)

    first = sg.grad(sg.sum(node * weights), inputs)
    second = sg.grad(slope(first), inputs, unused="zeros")
    expected = sg.evaluate([node, *first, *second], dict(zip(inputs, arrays, strict=True)))

    tensors = [eager.tensor(array, requires_grad=True) for array in arrays]
    value = case.sample.call(*tensors)
    got_first = eager.grad(sg.sum(value * weights), tensors, create_graph=True)
    along = slope(list(got_first))
    if along.requires_grad:
        got_second = eager.grad(along, tensors, allow_unused=True)
    else:
        got_second = (None,) * len(tensors)
    size = max(array.size for array in arrays)
    for ours, other in zip([value, *got_first, *got_second], expected, strict=True):
        array = np.zeros_like(other) if ours is None else ours.detach().numpy()
        assert array.dtype == other.dtype and array.shape == other.shape
        scale = np.abs(other).max(initial=1.0)
        tolerance = 40 * size * np.finfo(case.dtype).eps * scale
        np.testing.assert_allclose(array, other, rtol=0, atol=tolerance)
