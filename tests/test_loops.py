"""Passes over loops: blocks of rows, values computed again, loops in parts on several threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from random_rows import random_rows

import staticgrad as sg


def check(inputs: list[Any], outputs: list[Any], arrays: list[np.ndarray], name: str) -> Any:
    """Compile, compare with the execution op by op, and return the function."""
    function = sg.compile(inputs, outputs, name=name)
    expected = sg.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    for _ in range(2):
        for got, exact in zip(function(*arrays), expected, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-11 * np.abs(exact).max())
    return function


def network(rows: int) -> tuple[list[Any], list[Any], list[np.ndarray]]:
    shapes = {"x": (rows, 6), "v": (20, 6), "w": (20, 20), "b": (20,), "y": (rows, 20)}
    nodes = {n: sg.placeholder(n, s, dtype="float64") for n, s in shapes.items()}
    h = sg.tanh(nodes["x"] @ nodes["v"].T + nodes["b"])
    z = sg.tanh(h @ nodes["w"].T) * h
    loss = sg.mean((z - nodes["y"]) ** 2)
    wrt = [nodes["v"], nodes["w"], nodes["b"]]
    rng = np.random.default_rng(rows)
    arrays = [rng.standard_normal(s) for s in shapes.values()]
    return list(nodes.values()), [loss, *sg.grad(loss, wrt)], arrays


@pytest.mark.parametrize("rows", [1021, 1024, 3000, 3100])
def test_blocks_of_rows(rows: int) -> None:
    function = check(*network(rows), name=f"rows_{rows}")
    assert "for first in range(start, min(start + " in function.source
    assert "_sum(" in function.source
    # intermediates have room for a block of each thread that may run
    assert function.workspace_bytes() < rows * 20 * 8 * 8


@pytest.fixture
def any_number_of_threads() -> Iterator[None]:
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def mixture(rows: int) -> tuple[list[Any], list[Any], list[np.ndarray]]:
    """Sums over rows, scratch that each row uses, and rows that stay."""
    x = sg.placeholder("x", (rows, 6), dtype="float64")
    means = sg.placeholder("means", (5, 6), dtype="float64")
    inner = 2 * x @ means.T - sg.sum(means**2, axis=1)
    each = sg.logsumexp(inner, axis=1)
    total = sg.sum(each)
    rng = np.random.default_rng(rows)
    arrays = [rng.standard_normal((rows, 6)), rng.standard_normal((5, 6))]
    return [x, means], [total, each, *sg.grad(total, [means, x])], arrays


def regression(rows: int) -> tuple[list[Any], list[Any], list[np.ndarray]]:
    x = sg.placeholder("x", (rows, 10), dtype="float64")
    beta = sg.placeholder("beta", (10,), dtype="float64")
    eta = x @ beta
    total = sg.sum(sg.cos(eta) - sg.exp(eta))
    rng = np.random.default_rng(rows)
    arrays = [0.1 * rng.standard_normal((rows, 10)), rng.standard_normal(10)]
    return [x, beta], [total, sg.grad(total, beta)], arrays


@pytest.mark.usefixtures("any_number_of_threads")
@pytest.mark.parametrize("rows", [8192, 10001])
@pytest.mark.parametrize("model", [network, mixture, regression])
def test_blocks_on_several_threads(model: Any, rows: int) -> None:
    inputs, outputs, arrays = model(rows)
    function = check(inputs, outputs, arrays, f"shared_{model.__name__}_{rows}")
    assert "in_parallel_with_place(" in function.source
    results = []
    for number in (1, 2, 3, 7):
        sg.set_num_threads(number)
        results += [[np.copy(r) for r in function(*arrays)] for _ in range(3)]
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


#: seeds of models of which something is shared out
SHARED = (8, 9, 11, 17, 20, 22, 24, 26, 30, 37, 38)


@pytest.mark.usefixtures("any_number_of_threads")
@pytest.mark.parametrize("seed", [*SHARED, 0, 1, 12])
def test_random_models_of_many_rows(seed: int) -> None:
    inputs, outputs, arrays = random_rows(seed)
    function = sg.compile(inputs, outputs, name=f"rows_{seed}")
    assert ("in_parallel" in function.source) == (seed in SHARED)
    expected = sg.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    results = []
    for number in (1, 2, 3):
        sg.set_num_threads(number)
        results.append([np.copy(result) for result in function(*arrays)])
    for exact, *found in zip(expected, *results, strict=True):
        # sums over rows may cancel to nothing
        np.testing.assert_allclose(found[0], exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max() + 1e-10)
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


@pytest.mark.usefixtures("any_number_of_threads")
@pytest.mark.parametrize("size", [131072, 200003])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_updates_on_several_threads(size: int, clip: float | None) -> None:
    """Each thread does slices of the arrays, or steps of a loop that computes the loss as well."""
    results = []
    for number in (1, 2, 5):
        sg.set_num_threads(number)
        rng = np.random.default_rng(size)
        w = sg.parameter(rng.standard_normal(size).astype("float32"), name="w")
        optimizer = sg.optim.Adam([w], lr=0.1)
        target = sg.placeholder("target", (size,))
        loss = sg.mean((w - target) ** 2)
        step = sg.train_step([target], loss, optimizer, clip_grad_norm=clip)
        assert ("in_slices" if clip else "in_parallel") in step.source
        array = rng.standard_normal(size).astype("float32")
        losses = [float(step(array)) for _ in range(4)]
        results.append((losses, w.value.copy()))
        # Adam's first steps go as far as the learning rate says, whatever the gradient is
        assert losses == sorted(losses, reverse=True)
    for losses, value in results[1:]:
        assert losses == results[0][0]
        np.testing.assert_array_equal(value, results[0][1])


def test_small_updates_stay_on_one_thread() -> None:
    w = sg.parameter(np.zeros((100, 100), "float32"), name="w")
    step = sg.train_step([], sg.sum((w - 1) ** 2), sg.optim.Adam([w]))
    assert "in_slices(" not in step.source
    step()


def test_rows_that_meet_in_a_maximum_stay_on_one_thread() -> None:
    x = sg.placeholder("x", (8192, 16), dtype="float64")
    w = sg.placeholder("w", (16, 16), dtype="float64")
    h = sg.tanh(x @ w) @ w
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((8192, 16)), rng.standard_normal((16, 16))]
    function = check([x, w], [sg.max(h, axis=0), sg.sum(h)], arrays, "largest")
    assert "in_parallel_with_place(" not in function.source


def test_short_axes_are_not_blocked() -> None:
    for rows in (64, 300):
        assert "for first in" not in check(*network(rows), name="short").source


def test_a_value_of_all_rows_ends_a_block() -> None:
    """Batch statistics need the whole batch before the first row can go on."""
    x = sg.placeholder("x", (512, 8), dtype="float64")
    w = sg.placeholder("w", (8, 8), dtype="float64")
    h = x @ w
    normal = (h - sg.mean(h, axis=0)) / sg.sqrt(sg.var(h, axis=0) + 1e-5)
    loss = sg.sum(sg.tanh(normal @ w) ** 2)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((512, 8)), rng.standard_normal((8, 8))]
    check([x, w], [loss, *sg.grad(loss, [x, w])], arrays, "statistics")


@pytest.mark.parametrize("shape", [(300, 1), (300, 7), (1001, 10), (400, 33)])
def test_tall_matrix_times_vector(shape: tuple[int, int]) -> None:
    x = sg.placeholder("x", shape, dtype="float64")
    beta = sg.placeholder("beta", (shape[1],), dtype="float64")
    loss = sg.sum(sg.exp(x @ beta) - (x @ beta) ** 2)
    rng = np.random.default_rng(0)
    arrays = [0.1 * rng.standard_normal(shape), rng.standard_normal(shape[1])]
    check([x, beta], [loss, *sg.grad(loss, [x, beta])], arrays, "tall")


def test_cheap_values_are_not_stored() -> None:
    x = sg.placeholder("x", (1000,), dtype="float64")
    loss = sg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    arrays = [np.random.default_rng(0).uniform(-1, 1, 1000)]
    function = check([x], [loss, *sg.grad(loss, [x])], arrays, "valley")
    assert function.workspace_bytes() == 0


def test_updates_see_the_old_values_that_are_computed_again() -> None:
    w = sg.parameter(np.arange(1.0, 401.0), name="w")
    x = sg.placeholder("x", (400,), dtype="float64")
    z = w * x
    step = sg.compile([x], sg.sum(sg.exp(-z * z)), updates={w: w + z + sg.sum(z)})
    array = np.linspace(-1, 1, 400)
    old = w.value.copy()
    value = step(array)
    product = old * array
    np.testing.assert_allclose(value, np.exp(-(product**2)).sum(), rtol=1e-12)
    np.testing.assert_allclose(w.value, old + product + product.sum(), rtol=1e-12)


def test_constant_indices_are_checked_once() -> None:
    x = sg.placeholder("x", (5,), dtype="float64")
    inside = sg.compile([x], x[np.array([0, -1, 4])], name="inside")
    assert "return 2" not in inside.source
    np.testing.assert_array_equal(inside(np.arange(5.0)), [0.0, 4.0, 4.0])
    outside = sg.take(x, sg.constant(np.array([3, 4])) + 1)
    with pytest.raises(IndexError, match="out of range"):
        sg.compile([x], outside, name="outside")(np.arange(5.0))


@pytest.mark.parametrize(
    ("index", "in_runs"),
    [
        (np.sort(np.random.default_rng(0).integers(0, 30, 400)), True),
        (np.repeat([3, 0, 7, 0], 40), True),
        (np.full(64, 29), True),
        (np.random.default_rng(0).integers(0, 30, 400), False),
        (np.repeat([3, -1], 40), False),
        (np.zeros(63, int), False),
    ],
)
def test_sums_over_groups(index: np.ndarray, in_runs: bool) -> None:
    """A running sum of a group in a register, where its elements are known to stand together."""
    for dtype in ("float64", "float32"):
        x = sg.placeholder("x", (30,), dtype=dtype)
        loss = sg.sum(sg.sin(x[index]) * np.arange(index.size, dtype=dtype))
        function = sg.compile([x], [loss, sg.grad(loss, x)], name="groups")
        assert ("scatter_runs(" in function.source) is in_runs
        array = np.random.default_rng(1).random(30).astype(dtype)
        expected = sg.evaluate([loss, sg.grad(loss, x)], {x: array})
        for got, exact in zip(function(array), expected, strict=True):
            tolerance = (1e-12 if dtype == "float64" else 1e-5) * np.abs(exact).max()
            np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance)


@pytest.fixture
def threads() -> Any:
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def test_parts_on_threads_give_the_same_bits(threads: None) -> None:
    n = 200_003
    s, t = (sg.placeholder(name, (n,), dtype="float64") for name in "st")
    price = sg.exp(-s * t) * sg.log(s) + sg.sin(t)
    loss, peak = sg.sum(price), sg.max(price)
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(1, 2, n), rng.uniform(0, 1, n)]
    function = check([s, t], [loss, peak, price, *sg.grad(loss, [s, t])], arrays, "parts")
    assert "in_parallel(" in function.source
    results = []
    for number in (1, 2, 3, 7):
        sg.set_num_threads(number)
        results.append([np.array(r) for r in function(*arrays)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_running_sums_stay_on_one_thread() -> None:
    x = sg.placeholder("x", (3_000_000,), dtype="float64")
    total = sg.cumsum(sg.exp(-x))
    function = sg.compile([x], total, name="running")
    array = np.random.default_rng(0).random(3_000_000)
    np.testing.assert_allclose(function(array), np.cumsum(np.exp(-array)), rtol=1e-9)


def test_layers_that_normalise() -> None:
    """What layers have in common is called rsqrt, as a function is; long lines end in brackets."""
    x = sg.placeholder("x", ("batch", 12), "float64")
    rng = np.random.default_rng(0)
    weights = [sg.parameter(rng.normal(size=(12, 12)), name=f"w{k}") for k in range(4)]
    h = x
    for w in weights:
        centred = h - sg.mean(h, axis=1, keepdims=True)
        scale = sg.sqrt(sg.mean(sg.square(centred), axis=1, keepdims=True) + 1e-5)
        h = h + sg.gelu(centred / scale @ w)
    loss = sg.mean(sg.square(h))
    check([x], [loss, *sg.grad(loss, weights)], [rng.normal(size=(7, 12))], "normalising")


def test_an_accumulator_starts_before_a_single_element_is_added() -> None:
    x = sg.placeholder("x", (2,), "float64")
    taken = x[(np.array([0]),)]
    check([x], [taken, sg.grad(sg.sum(taken * 3.0), x)], [np.array([5.0, 6.0])], "single")


def test_long_names_stand_in_brackets() -> None:
    """An element that takes a line of its own."""
    name = "a_name_that_takes_all_of_a_line_" * 3
    x = sg.placeholder(name, (3, 2), "float64")
    y = sg.permute_dims(x).named(name.upper())
    function = check([x], [y], [np.arange(6.0).reshape(3, 2)], "long")
    assert f"= (\n                {name}[j, i]\n            )" in function.source
