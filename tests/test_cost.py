"""The cost model against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import nn, optim
from staticgrad.codegen.compiler import generate
from staticgrad.codegen.cost import flops, kernels, traffic, workspace
from staticgrad.codegen.program import Program
from staticgrad.graph.dims import concrete, dimension
from staticgrad.rewrite.graph import Graph

b: Any = dimension("batch")
RNG = np.random.default_rng(0)


def both(inputs: list[Any], *outputs: Any, updates: Any = ()) -> tuple[Graph, Program]:
    graph = Graph(tuple(inputs), tuple(outputs), tuple(updates))
    return graph, generate(graph, "function").program


def weights(*shape: int, name: str) -> Any:
    return sg.parameter(RNG.normal(size=shape).astype("float32"), name=name)


def test_a_chain_is_one_pass_over_memory() -> None:
    x = sg.placeholder("x", ("batch",))
    graph, program = both([x], sg.tanh(2.0 * x + 1.0))
    # a product, a sum, and 12 for the tanh
    assert flops(graph) == flops(program) == 14 * b
    # three ops read and write an array each; together they read x and write the result
    assert (kernels(graph), traffic(graph), workspace(graph)) == (3, 3 * 8 * b, 2 * 4 * b)
    assert (kernels(program), traffic(program), workspace(program)) == (1, 8 * b, 0)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8), ("int64", 8)])
def test_integers_move_but_take_no_operations(dtype: str, size: int) -> None:
    x = sg.placeholder("x", (6, 5), dtype)
    for what in both([x], x + x * x):
        assert flops(what) == (0 if dtype == "int64" else 60)
        # x is read once, however often it occurs
        assert traffic(what) == (size * 150 if isinstance(what, Graph) else size * 60)


def test_matrix_products_and_their_gradients() -> None:
    x, w = sg.placeholder("x", ("batch", 64)), weights(64, 32, name="w")
    loss = sg.sum(sg.square(x @ w))
    _, program = both([x], loss, sg.grad(loss, w))
    # 2 m n k for x @ w and for x.T @ d; square, sum, and the square's adjoint 2 out d, with d = 1
    products = 2 * (2 * b * 64 * 32)
    assert flops(program) == products + 3 * 32 * b
    # x @ w reads x, w; the loop reads the product, and makes d of it in place or beside;
    # x.T @ d reads both and stores the gradient
    arrays = {"x": 64 * b, "w": 64 * 32, "out": 32 * b}
    expected = 2 * arrays["x"] + 2 * arrays["w"] + 4 * arrays["out"] + 1
    assert traffic(program) == (4 * expected).expand()
    assert kernels(program) == 3
    # both intermediates of 32 floats a row, in whole cache lines
    assert workspace(program) == 2 * 128 * b


def test_simple_net_with_sgd() -> None:
    net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    x, y = sg.placeholder("x", (10, 20)), sg.placeholder("y", (10, 1))
    step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optim.SGD(net.parameters(), lr=0.1))
    program = step.function._generated.program
    by_hand = {
        "x @ w1.T": 2 * 10 * 20 * 10,
        "+ b1, relu": 2 * 10 * 10,
        "h @ w2.T": 2 * 10 * 10,
        "+ b2": 10,
        "- y, squared, summed, over 10": 3 * 10 + 1,
        "2 (p - y) / 10": 10,
        "d_b2": 10,
        "d_w2": 2 * 10 * 10,
        "d_h": 10 * 10,
        "relu'": 2 * 10 * 10,
        "d_b1": 10 * 10,
        "d_w1": 2 * 10 * 20 * 10,
        "p - lr g": 2 * (200 + 10 + 10 + 1),
    }
    # some numbers are computed once more, or once only, for all elements
    assert float(flops(program)) == pytest.approx(sum(by_hand.values()), rel=0.02)
    # parameters are read and written by the update, gradients written and read
    least = 4 * (10 * 20 + 10 + 4 * 221)
    assert least <= float(traffic(program)) <= 2 * least


def test_convolution_and_pooling() -> None:
    x, w = sg.placeholder("x", (8, 3, 16, 16)), weights(4, 3, 3, 3, name="w")
    out = sg.max_pool2d(sg.conv2d(x, w, padding=1), 2)
    graph, program = both([x], out)
    # a product and a sum for each of 3 x 3 x 3 places, four comparisons in each window
    counted = 2 * (8 * 4 * 16 * 16) * 27 + 4 * (8 * 4 * 8 * 8)
    assert flops(graph) == flops(program) == counted
    moved = 4 * (8 * 3 * 256 + 4 * 27 + 2 * (8 * 4 * 256) + 8 * 4 * 64)
    assert traffic(graph) == traffic(program) == moved
    assert kernels(graph) == kernels(program) == 2


def test_reductions_and_views() -> None:
    x = sg.placeholder("x", ("batch", 7))
    graph, program = both([x], sg.sum(x, axis=1), sg.max(sg.permute_dims(x), axis=0))
    assert flops(graph) == flops(program) == 2 * 7 * b
    # a transpose is free
    for what in (graph, program):
        assert (kernels(what), traffic(what)) == (2, 4 * (14 * b + 2 * b))
    graph, program = both([x], sg.sum(x, axis=1), sg.max(x, axis=1))
    # both reductions read x, in one loop together
    assert traffic(graph) == 4 * (14 * b + 2 * b)
    assert traffic(program) == 4 * (7 * b + 2 * b)
    assert (kernels(graph), kernels(program)) == (2, 1)


def test_no_more_of_an_array_than_is_touched() -> None:
    table = weights(1000, 16, name="table")
    rows = sg.placeholder("rows", (8,), "int64")
    for what in both([rows], table[rows] * 2.0):
        if isinstance(what, Program):
            # the indices are read once to check them, once to read rows
            assert traffic(what) == 2 * 8 * 8 + 4 * (8 * 16 + 8 * 16)
    x = sg.placeholder("x", (100,))
    for what in both([x], x[10:20] + 1.0):
        assert traffic(what) == 4 * (10 + 10)
    for what in both([x], x[1:] - x[:-1]):
        assert traffic(what) == 4 * (100 + 99)


@pytest.mark.parametrize("n", [50, "n"])
def test_loops_in_pieces_cost_what_they_did_as_one(n: Any) -> None:
    x = sg.placeholder("x", (n,))
    loss = sg.sum(sg.square(x[1:] - x[:-1]))
    program = both([x], loss, sg.grad(loss, x))[1]
    sizes = {dimension("n"): 50} if n == "n" else {}
    # a difference, a square, a sum; for the gradient 2 d[i - 1] - 2 d[i], where d[i - 1] is a
    # difference again, and less at both ends
    by_hand = 49 * 3 + 48 * 4 + 1 + 2
    assert by_hand <= concrete(flops(program), sizes) <= by_hand + 3
    # x is read once, the gradient and the loss are stored
    assert (concrete(traffic(program), sizes), kernels(program)) == (4 * (50 + 50 + 1), 1)


def test_layers_in_a_loop_cost_what_layers_one_by_one_do() -> None:
    counts = []
    for layers in (2, 6, 10):
        net = nn.Sequential(*[m for _ in range(layers) for m in (nn.Linear(32, 32), nn.Tanh())])
        x = sg.placeholder("x", (16, 32))
        loss = sg.sum(net(x))
        step = sg.train_step([x], loss, optim.SGD(net.parameters(), lr=0.1))
        program = step.function._generated.program
        counts.append((flops(program), kernels(program), traffic(program)))
    # the middle layers are alike, whether written one by one or in a loop over layers
    for first, second, third in zip(*counts, strict=True):
        assert third - second == second - first > 0


def test_blocks_of_rows_save_traffic_and_workspace() -> None:
    x, w, v = sg.placeholder("x", (4096, 64)), weights(64, 64, name="w"), weights(64, 64, name="v")
    loss = sg.mean(sg.square(sg.tanh(x @ w) @ v))
    gradients = sg.grad(loss, [w, v])
    program = both([x], loss, *gradients)[1]
    assert any(type(item).__name__ == "Blocked" for item in program.items)
    # x once for all, and nothing of what is as long as x
    assert float(traffic(program)) < 4 * (4096 * 64 * 1.5)
    assert float(workspace(program)) < 2 * 4 * 4096 * 64
    products = 2 * 4096 * 64 * 64 * 5
    assert products < float(flops(program)) < 1.1 * products
