"""Bad input: each error's type, and what its message names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticgrad as sg

x = sg.placeholder("x", ("batch", 64))
y = sg.placeholder("y", ("batch",), dtype="int64")
W = sg.parameter(np.zeros((64, 10), "float32"), name="W")
b = sg.parameter(np.zeros(10, "float32"), name="b")

DECLARATIONS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "matmul": (lambda: x @ b, sg.GraphError, ["matmul", "(batch, 64)", "(10,)", "x @ b"]),
    "broadcast": (lambda: x + np.zeros((3, 5, 7), "f4"), sg.GraphError, ["add", "64", "7"]),
    "labels": (lambda: sg.cross_entropy(x @ W, x), sg.GraphTypeError, ["labels", "float32"]),
    "axis": (lambda: x.sum(axis=5), sg.GraphError, ["sum", "axis 5", "2 axes"]),
    "reshape": (lambda: W.reshape((3, 7)), sg.GraphError, ["reshape", "(64, 10)", "(3, 7)"]),
    "index": (lambda: x[:, 70], sg.GraphError, ["70", "size 64"]),
    "float index": (lambda: x[1.5], sg.GraphTypeError, ["integers", "float64"]),
    "mask": (lambda: x[x > 0], sg.GraphTypeError, ["where"]),
    "named slice": (lambda: y[:5], sg.GraphError, ["batch"]),
    "concat": (lambda: sg.concat([W, x], axis=1), sg.GraphError, ["concat", "batch"]),
    "einsum": (lambda: sg.einsum("ij,jk", W, W), sg.GraphError, ["einsum", "10", "64"]),
    "dtype": (
        lambda: sg.placeholder("q", (3,), dtype="float16"), sg.GraphTypeError,
        ["float16", "float32", "float64"],
    ),
    "name": (lambda: sg.placeholder("a b", (3,)), ValueError, ["identifier", "a b"]),
    "size": (lambda: sg.placeholder("q", (-3,)), ValueError, ["negative", "-3"]),
    "truth": (lambda: bool(x > 0), TypeError, ["sg.where"]),
    "float": (lambda: float(x.sum()), TypeError, ["compile"]),
    "logical": (lambda: sg.logical_and(x, x), sg.GraphTypeError, ["logical_and", "bool"]),
    "split": (lambda: sg.split(W, 7), sg.GraphError, ["split", "64", "7"]),
    "take along axis": (lambda: sg.take_along_axis(x, x, axis=1), sg.GraphTypeError, ["integers"]),
}  # fmt: skip


def check(call: Callable[[], Any], kind: type[Exception], words: list[str]) -> None:
    """The call raises exactly this kind of error, whose message holds these words."""
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declaration(name: str) -> None:
    check(*DECLARATIONS[name])


def test_the_message_cites_the_users_line() -> None:
    with pytest.raises(sg.GraphError, match=r"test_errors\.py:\d+\n    x @ b  # cited"):
        x @ b  # cited


GRADIENTS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "no scalar": (lambda: sg.grad(x @ W, W), sg.GraphError, ["no scalar", "sum()", "seed"]),
    "unused": (
        lambda: sg.grad((x @ W).sum(), b), sg.GraphError, ["does not depend on", "b", "zeros"],
    ),
    "integer variable": (lambda: sg.grad((x @ W).sum(), y), sg.GraphTypeError, ["int64", "y"]),
    "integer output": (lambda: sg.grad(y.sum(), y), sg.GraphTypeError, ["floating-point"]),
    "through argmax": (
        lambda: sg.grad(sg.sum((x @ W).argmax(axis=1).astype("float32")), W), sg.GraphError,
        ["not floating-point"],
    ),
    "through stop_gradient": (
        lambda: sg.grad(sg.sum(sg.stop_gradient(W)), W), sg.GraphError, ["stop_gradient"],
    ),
    "array": (lambda: sg.grad(W.sum(), W.value), sg.GraphTypeError, ["nodes"]),
    "nothing": (lambda: sg.grad(W.sum(), []), sg.GraphError, ["no variables"]),
    "seed's shape": (
        lambda: sg.grad(x @ W, W, seed=np.zeros((3, 3), "f4")), sg.GraphError,
        ["(3, 3)", "(batch, 10)"],
    ),
    "seed's dtype": (
        lambda: sg.grad(W, W, seed=np.zeros((64, 10))), sg.GraphTypeError, ["float64", "float32"],
    ),
    "unused option": (lambda: sg.grad(W.sum(), W, unused="none"), ValueError, ["raise", "zeros"]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    check(*GRADIENTS[name])


def test_unused_zeros() -> None:
    dW, db = sg.grad((x @ W).sum(), [W, b], unused="zeros")
    value = np.ones((2, 64), "float32")
    got = sg.compile(x, [dW, db])(value)
    np.testing.assert_array_equal(got[0], np.full((64, 10), 2.0, "float32"))
    np.testing.assert_array_equal(got[1], np.zeros(10, "float32"))


loss = sg.cross_entropy(x @ W + b, y)
COMPILATIONS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "missing input": (lambda: sg.compile([x], loss), sg.GraphError, ["placeholder y"]),
    "double input": (lambda: sg.compile([x, x, y], loss), sg.GraphError, ["two inputs", "x"]),
    "parameter as input": (lambda: sg.compile([x, W, y], loss), sg.GraphTypeError, ["W"]),
    "update's shape": (
        lambda: sg.compile([x, y], loss, updates={W: b}), sg.GraphError, ["W", "(10,)"],
    ),
    "update of a placeholder": (
        lambda: sg.compile([x, y], loss, updates={x: x}), sg.GraphTypeError, ["parameters"],
    ),
    "number as output": (lambda: sg.compile([x, y], [loss, 3]), sg.GraphTypeError, ["3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILATIONS)
def test_compilation(name: str) -> None:
    check(*COMPILATIONS[name])


@pytest.fixture(scope="module")
def step() -> sg.CompiledFunction:
    dW, db = sg.grad(loss, [W, b])
    return sg.compile([x, y], loss, updates={W: W - 0.1 * dW, b: b - 0.1 * db})


X, Y = np.ones((5, 64), "float32"), np.arange(5)
CALLS: dict[str, tuple[tuple[Any, ...], type[Exception], list[str]]] = {
    "missing": ((X,), TypeError, ["2 arguments", "y: int64(batch,)", "got 1"]),
    "extra": ((X, Y, Y), TypeError, ["2 arguments", "got 3"]),
    "dtype": ((X.astype("float64"), Y), TypeError, ["x", "float64", "astype"]),
    "integer dtype": ((X, Y.astype("int32")), TypeError, ["y", "int32", "int64"]),
    "list": ((X.tolist(), Y), TypeError, ["x", "list", "asarray"]),
    "none": ((None, Y), TypeError, ["x", "NoneType"]),
    "rank": ((X[0], Y), ValueError, ["x", "2 axes", "(64,)"]),
    "size": ((X[:, :60], Y), ValueError, ["x", "64", "(5, 60)"]),
    "named size": ((X, Y[:3]), ValueError, ["y", "batch = 5", "(3,)"]),
    "label too large": ((X, Y + 6), IndexError, ["y[4] is 10", "0 <= y < 10"]),
    "negative label": ((X, Y - 1), IndexError, ["y[0] is -1"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_leaves_parameters_untouched(step: sg.CompiledFunction, name: str) -> None:
    arguments, kind, words = CALLS[name]
    before = W.value.copy(), b.value.copy()
    with pytest.raises(kind) as raised:
        step(*arguments)
    for word in words:
        assert word in str(raised.value)
    np.testing.assert_array_equal(W.value, before[0])
    np.testing.assert_array_equal(b.value, before[1])


def test_harmless_arrays_are_taken(step: sg.CompiledFunction) -> None:
    f = sg.compile([x, y], loss, name="f")
    rng = np.random.default_rng(0)
    wide = rng.random((10, 128)).astype("float32")
    expected = f(np.ascontiguousarray(wide[::2, ::2]), Y)
    assert f(wide[::2, ::2], Y) == expected
    assert f(np.asfortranarray(wide[::2, ::2]), Y) == expected
    frozen = np.ascontiguousarray(wide[::2, ::2])
    frozen.flags.writeable = False
    assert f(frozen, Y) == expected
    misaligned = np.empty(5 * 64 * 4 + 1, "uint8")[1:].view("float32").reshape(5, 64)
    misaligned[...] = frozen
    assert f(misaligned, Y) == expected


def test_nan_passes_through(step: sg.CompiledFunction) -> None:
    f = sg.compile([x, y], loss, name="f")
    value = X.copy()
    value[2, 3] = np.nan
    assert np.isnan(f(value, Y))


def test_indices_out_of_bounds_name_the_placeholder() -> None:
    table = sg.parameter(np.arange(6.0).reshape(3, 2), name="table")
    index = sg.placeholder("index", ("n",), dtype="int64")
    taken = sg.take(table, index, axis=0)
    f = sg.compile(index, taken)
    np.testing.assert_array_equal(f(np.array([-1, 0])), [[4.0, 5.0], [0.0, 1.0]])
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=rf"index\[1\] is {wrong}.*-3 <= index < 3"):
            f(np.array([0, wrong]))


def test_out() -> None:
    f = sg.compile(x, [x * 2.0, x.sum()], name="f")
    doubled, total = np.empty_like(X), np.empty((), "float32")
    results = f(X, out=[doubled, total])
    assert results[0] is doubled and results[1] is total
    np.testing.assert_array_equal(doubled, 2 * X)
    assert total == X.sum()
    with pytest.raises(TypeError, match="2 outputs"):
        f(X, out=[doubled])
    with pytest.raises(ValueError, match=r"float32\(5, 64\)"):
        f(X, out=[np.empty((5, 64)), total])
    with pytest.raises(ValueError, match="shares memory"):
        f(X, out=[X, total])


def test_numba_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import config

    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT"):
        sg.compile(x, x * 3.25, name="off")
