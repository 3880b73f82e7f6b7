"""Derivatives at kinks and ties follow PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import staticgrad as sg


def slope_at(function: object, point: float) -> float:
    x = sg.placeholder("x", (1,), "float64")
    return float(sg.compile(x, sg.grad(sg.sum(function(x)), x), name="slope")(np.array([point]))[0])


CASES = {
    "relu": (sg.relu, 0.0, 0.0),
    "abs": (sg.abs, 0.0, 0.0),
    "leaky_relu": (lambda x: sg.leaky_relu(x, negative_slope=0.2), 0.0, 0.2),
    "elu": (lambda x: sg.elu(x, alpha=0.5), 0.0, 0.5),
    "elu with alpha 1": (sg.elu, 0.0, 1.0),
    "clip at its lower bound": (lambda x: sg.clip(x, -1.0, 1.0), -1.0, 1.0),
    "clip at its upper bound": (lambda x: sg.clip(x, -1.0, 1.0), 1.0, 1.0),
    "sqrt": (sg.sqrt, 0.0, np.inf),
    "norm": (sg.norm, 0.0, 0.0),
    "sign": (lambda x: sg.sign(x) + 0.0 * x, 0.0, 0.0),
    "x**0": (lambda x: x**0 + x, 0.0, 1.0),
    "x**2": (lambda x: x**2, 0.0, 0.0),
    "x**1": (lambda x: x**1, 0.0, 1.0),
    "hypot": (lambda x: sg.hypot(x, 0.0), 0.0, 0.0),
    "selu": (sg.selu, 0.0, 1.7580993408473766),
    "xlogx guarded by the user": (
        lambda x: sg.where(x > 0, x * sg.log(sg.where(x > 0, x, 1.0)), 0.0), 0.0, 0.0,
    ),
    "a choice that is not taken": (lambda x: sg.where(x > 0, sg.sqrt(x), 0.0), -1.0, 0.0),
    "a log that is not taken": (lambda x: sg.where(x > 0, sg.log(x), x), 0.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_kink(name: str) -> None:
    function, point, expected = CASES[name]
    assert slope_at(function, point) == pytest.approx(expected, rel=1e-12)


def test_ties_are_split_evenly() -> None:
    a, b = sg.placeholder("a", (2,), "float64"), sg.placeholder("b", (2,), "float64")
    value = np.array([1.0, -2.0])
    for function in (sg.maximum, sg.minimum):
        da, db = sg.grad(sg.sum(function(a, b)), [a, b])
        for result in sg.compile([a, b], [da, db], name="ties")(value, value):
            np.testing.assert_array_equal(result, [0.5, 0.5])
    for function in (sg.max, sg.min):
        g = sg.grad(function(a), a)
        np.testing.assert_array_equal(sg.compile(a, g, name="tie")(np.array([3.0, 3.0])), [0.5, 0.5])


def test_nan_is_kept() -> None:
    a = sg.placeholder("a", (2,), "float32")
    value = np.array([np.nan, 1.0], "float32")
    for function in (sg.relu, sg.abs, sg.sign, sg.exp, sg.log, sg.tanh, sg.sigmoid, sg.softplus,
                     sg.gelu, lambda x: sg.clip(x, -1, 1), lambda x: sg.maximum(x, 0.0),
                     sg.max, sg.min, sg.logsumexp, sg.softmax):  # fmt: skip
        result = sg.compile(a, function(a), name="keep")(value)
        assert np.isnan(result).flat[0], function
    index = sg.compile(a, sg.argmax(a), name="where_nan")(value)
    assert index == np.argmax(value)


def test_infinities() -> None:
    a = sg.placeholder("a", (3,), "float64")
    value = np.array([-np.inf, 0.0, np.inf])
    for name in ("exp", "tanh", "sigmoid", "erf", "atan", "abs", "sign", "floor", "expm1"):
        ours = sg.compile(a, getattr(sg, name)(a), name=name)(value)
        np.testing.assert_array_equal(ours, sg.evaluate(getattr(sg, name)(a), {a: value}))
    lse = sg.logsumexp(a)
    assert sg.compile(a, lse, name="lse")(value) == np.inf
    assert sg.compile(a, lse, name="lse")(np.full(3, -np.inf)) == -np.inf


@pytest.mark.peers
@pytest.mark.parametrize("point", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize(
    "name", ["relu", "abs", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid",
             "tanh", "sign", "floor", "square", "erf", "log_sigmoid"],
)  # fmt: skip
def test_kinks_against_pytorch(name: str, point: float) -> None:
    torch = pytest.importorskip("torch")
    names = {"log_sigmoid": "logsigmoid", "leaky_relu": "leaky_relu"}
    theirs = getattr(torch.nn.functional, names.get(name, name), None) or getattr(torch, name)
    x = torch.tensor([point], dtype=torch.float64, requires_grad=True)
    theirs(x).sum().backward()
    if name in ("sign", "floor"):
        node = sg.placeholder("x", (1,), "float64")
        ours = sg.grad(sg.sum(getattr(sg, name)(node)), node, unused="zeros")
        assert float(sg.evaluate(ours, {node: np.array([point])})[0]) == float(x.grad[0])
    else:
        assert slope_at(getattr(sg, name), point) == pytest.approx(float(x.grad[0]), rel=1e-12)
