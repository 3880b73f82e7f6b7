"""Profiles: rows that add up, under the names and lines of the user, and nothing that changes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numba import njit

import staticgrad as sg
from staticgrad import nn, optim
from staticgrad.codegen.compiler import generate
from staticgrad.codegen.cost import flops, traffic
from staticgrad.graph.dims import concrete, symbols_of
from staticgrad.kernels import clock
from staticgrad.runtime.instrument import formula_of, instrumented

RNG = np.random.default_rng(0)


def model(depth: int = 0, **options: Any) -> tuple[Any, sg.TrainStep, list[np.ndarray]]:
    width = 24
    sg.manual_seed(0)
    layers: list[Any] = [nn.Linear(8, width)]
    for _ in range(depth):
        layers += [nn.Tanh(), nn.Linear(width, width)]
    net = nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(width, 3))
    x, y = sg.placeholder("x", ("batch", 8)), sg.placeholder("y", ("batch",), "int64")
    loss = sg.cross_entropy(net(x), y)  # the model's line
    optimizer = optim.Adam(net.parameters())
    step = sg.train_step([x, y], loss, optimizer, name="step", **options)
    arrays = [RNG.standard_normal((16, 8)).astype("float32"), np.arange(16) % 3]
    return (net, optimizer), step, arrays


def everything(parts: Any) -> list[np.ndarray]:
    net, optimizer = parts
    state = optimizer.state_dict()["state"]
    arrays = [*net.state_dict().values(), *(b.value for b in net.buffers())]
    return [np.array(a) for a in (*arrays, *(v for s in state.values() for v in s.values()))]


def test_a_step_is_told_kernel_by_kernel() -> None:
    parts, step, arrays = model()
    step(*arrays)
    before = everything(parts)
    profile = step.profile(*arrays, repeat=3)
    for old, new in zip(before, everything(parts), strict=True):
        np.testing.assert_array_equal(old, new)
    lines = step.source.splitlines()
    assert sum(row.share for row in profile.rows) == pytest.approx(1)
    assert all(row.seconds >= 0 for row in profile.rows) and profile.seconds > 0
    assert 0 <= profile.clock_seconds < 1e-5
    assert [row.first for row in profile.rows] == sorted(row.first for row in profile.rows)
    products = [
        row for row in profile.rows
        if any(line.strip().startswith("matmul") for line in lines[row.first - 1 : row.last])
    ]  # fmt: skip
    # two layers: forward, weights, and all but the first layer's input
    assert len(products) == 2 + 2 + 1
    first = next(row for row in products if row.formula == "x @ linear0_weight.T")
    assert first.flops == 2 * 16 * 8 * 24 and first.section == "forward"
    assert first.bytes == 4 * (16 * 8 + 24 * 8 + 16 * 24)
    assert first.origin is not None and first.origin.text.endswith("# the model's line")
    assert {row.section for row in profile.rows} >= {"start", "check", "forward", "backward", "update"}
    weight = next(row for row in products if row.names == ("d_linear0_weight",))
    assert weight.formula.startswith("d_linear0_weight = ") and weight.section == "backward"


def test_the_table() -> None:
    _, step, arrays = model()
    profile = step.profile(*arrays, repeat=2)
    head, space, columns, *rows = str(profile).splitlines()
    assert head.startswith("step: ") and "per call; " in head and "with clocks of" in head
    assert not space and columns.split() == [
        "time", "share", "GFLOP/s", "GB/s", "lines", "section", "computes", "from",
    ]  # fmt: skip
    longest = profile.sorted()[0]
    assert longest.lines in rows[0] and "test_profile.py:" in "\n".join(rows)
    assert [row.first for row in profile.sorted("source")] == [row.first for row in profile.rows]
    few = profile.table(least=0.99)
    assert few.endswith(f"(100.0%) in {len(profile.rows)} others")
    html = profile._repr_html_()
    assert html.count("<tr>") == len(profile.rows) + 1 and "<caption>step: " in html
    with pytest.raises(ValueError, match='"time" or "source"'):
        profile.sorted("name")  # type: ignore[arg-type]


def test_loops_over_layers_and_blocks_are_told_by_what_is_in_them() -> None:
    _, step, _ = model(depth=8, debug=True)
    layered = generate(step.function.graph, "step")
    source, kernels = instrumented(layered)
    assert "for layer in range(8):" in source
    lines = layered.source.splitlines()
    inside = [k for k in kernels if lines[k.last - 1].startswith(" " * 8 + "matmul")]
    # all turns together, and all kernels the whole function
    sizes = dict.fromkeys(symbols_of(layered.program.inputs[0].shape), 16)
    assert [k.cost(sizes)[0] for k in inside] == [8 * 2 * 16 * 24 * 24] * len(inside)
    assert sum(k.cost(sizes)[0] for k in kernels) == concrete(flops(layered.program), sizes)
    assert sum(k.cost(sizes)[1] for k in kernels) == concrete(traffic(layered.program), sizes)

    x = sg.placeholder("x", (4096, 64))
    first, second = (sg.parameter(np.ones((64, 64), "float32"), name) for name in "VW")
    h = sg.tanh(sg.tanh(x @ first) @ second)
    # rows that meet in a maximum stay on one thread
    blocked = sg.compile(x, [sg.sum(h), sg.max(h, axis=0)], debug=True)
    source, kernels = instrumented(generate(blocked.graph, "f"))
    assert "for first in range(0, 4096, " in source
    assert len([k for k in kernels if "@" in k.formula]) == 2
    # what several threads do counts as one kernel
    shared = generate(sg.compile(x, sg.sum(h), debug=True).graph, "f")
    source, kernels = instrumented(shared)
    assert "in_parallel_with_place(" in source
    assert len([k for k in kernels if k.flops == flops(shared.program)]) == 1


def test_functions_without_parameters_scalars_and_outputs() -> None:
    a, b = sg.placeholder("a", (), "float64"), sg.placeholder("b", ("n",), "float64")
    function = sg.compile([a, b], [a * b, sg.sum(sg.exp(b))], name="f")
    profile = function.profile(2.0, np.arange(5.0), repeat=1)
    assert profile.name == "f" and len(profile.rows) >= 2
    count = sg.parameter(0.0, "count")
    counter = sg.compile([], None, updates={count: count + 1.0})
    assert counter.profile(repeat=1).rows[-1].section == "update"
    assert count.value == 0


def test_accumulation_and_debug() -> None:
    x = sg.placeholder("x", ("n",))
    for options in ({"accumulation_steps": 2}, {"debug": True}):
        weight = sg.parameter(2.0, "w")
        step = sg.train_step(x, sg.mean((x * weight) ** 2), optim.SGD([weight], lr=0.1), **options)
        assert step.profile(np.ones(3, "float32"), repeat=1).rows
        assert weight.value == 2 and step.accumulated == 0


def test_bad_arguments() -> None:
    parts, step, (x, y) = model()
    before = everything(parts)
    with pytest.raises(TypeError, match="takes 2 arguments"):
        step.profile(x)
    with pytest.raises(ValueError, match="axis 1 must have size 8"):
        step.profile(x[:, :5], y)
    with pytest.raises(IndexError, match=r"y\[0\] is 7"):
        step.profile(x, y + 7)
    for repeat in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="repeat must be a positive integer"):
            step.profile(x, y, repeat=repeat)  # type: ignore[arg-type]
    for old, new in zip(before, everything(parts), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_code_between_the_clocks_is_the_code() -> None:
    _, step, _ = model()
    source, kernels = instrumented(step.function._generated)  # type: ignore[union-attr]
    plain = [line for line in step.source.splitlines() if line.strip()]
    added = ("from staticgrad.kernels.clock", "profile__before = ")
    kept = [
        line.replace(", profile__laps", "") for line in source.splitlines()
        if line.strip() and not line.strip().startswith(added)
    ]  # fmt: skip
    assert kept == plain
    assert source.count("= lap(") == len(kernels) + 1 and source.count("= started(") == 1
    longest = max(kernel.last for kernel in kernels)
    assert longest < len(step.source.splitlines())


def test_formulas_are_those_of_the_comments() -> None:
    assert formula_of(["    # y = a +", "    #     b  [model.py:3]", "    y = a + b"]) == "y = a + b"
    assert formula_of(["    matmul(a, b, c)  # a @ b  [m.py:1]"]) == "a @ b"
    assert formula_of(["    y = f32(1.0)  # [m.py:1]"]) == "y = f32(1.0)"
    assert formula_of(["    update(", "        a,", "        b,", "    )"]) == "update(a, b,)"


@pytest.mark.parametrize("name", ["ticks", "system_clock"])
def test_clocks(name: str) -> None:
    read = getattr(clock, name)

    @njit
    def now() -> int:
        return read()

    now()
    before, start = now(), time.perf_counter()
    time.sleep(0.02)
    after, passed = now(), time.perf_counter() - start
    assert after > before
    if name == "system_clock" and hasattr(time, "clock_gettime"):
        assert 0.5 * passed < (after - before) * 1e-9 < 2 * passed + 0.05
