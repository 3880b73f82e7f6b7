"""Memory over the course of a call, against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad.codegen.compiler import generate
from staticgrad.codegen.memory import MemoryTimeline, Track, memory_timeline
from staticgrad.rewrite.graph import Graph

RNG = np.random.default_rng(0)


def weights(*shape: int, name: str) -> Any:
    return sg.parameter(RNG.normal(size=shape).astype("float32"), name=name)


def timeline(graph: Graph, **sizes: int) -> MemoryTimeline:
    return memory_timeline(generate(graph, "function"), sizes)


def mlp() -> Graph:
    x, w, v = sg.placeholder("x", ("batch", 64)), weights(64, 32, name="w"), weights(32, 10, name="v")
    a = (x @ w).named("a")
    h = sg.tanh(a).named("h")
    out = (h @ v).named("out")
    loss = sg.sum(sg.square(out).named("s")).named("loss")
    updates = [(p, p - 0.1 * g) for p, g in zip((w, v), sg.grad(loss, [w, v]), strict=True)]
    return Graph((x,), (loss,), tuple(updates))


def names(track: Track) -> list[tuple[str, set[str]]]:
    return [
        (moment.section, {array.name for array in track.live(number)})
        for number, moment in enumerate(track.moments)
    ]


def test_an_mlp_by_hand() -> None:
    made = timeline(mlp(), batch=8)
    assert names(made.compiled) == [
        ("forward", {"a"}),
        ("forward", {"a", "h"}),
        ("forward", {"h", "out"}),
        # the loss and its adjoint in one loop
        ("forward and backward", {"h", "out", "d_out"}),
        ("backward", {"h", "d_out", "d_h"}),
        ("backward", {"h", "d_out", "d_h", "d_a"}),
        # x.T @ d_a, then h.T @ d_out
        ("backward", {"h", "d_out", "d_a", "d_w"}),
        ("backward", {"h", "d_out", "d_w", "d_v"}),
        ("update", {"d_w", "d_v"}),
        ("update", {"d_v"}),
    ]
    hidden, out, w, v = 8 * 32 * 4, 8 * 10 * 4, 64 * 32 * 4, 32 * 10 * 4
    assert made.compiled.totals == [
        hidden, 2 * hidden, hidden + out, hidden + 2 * out, 2 * hidden + out, 3 * hidden + out,
        2 * hidden + out + w, hidden + out + w + v, w + v, v,
    ]  # fmt: skip
    assert made.compiled.peak == hidden + out + w + v

    eager = dict(zip([m.label for m in made.eager.moments], names(made.eager), strict=True))
    # the forward pass keeps everything; the loss itself is the caller's
    assert eager["a"] == ("forward", {"a"})
    assert eager["s"] == eager["loss"] == ("forward", {"a", "h", "out", "s"})
    # each value goes when the pullbacks of what made it and of what took it in are through: s with
    # its own, out with that of h @ v, h with that of tanh, a with that of x @ w
    backward = [(label, live) for label, (section, live) in eager.items() if section == "backward"]
    made_of = {value: [label for label, live in backward if value in live][-1]
               for value in ("s", "out", "h", "a")}  # fmt: skip
    assert made_of == {"s": "d_out_2", "out": "d_v", "h": "d_a", "a": "d_w"}
    totals = dict(zip([m.label for m in made.eager.moments], made.eager.totals, strict=True))
    assert totals["loss"] == 2 * hidden + 2 * out
    # a, h, out; d_out; d_h, and the gradient of v
    assert totals["d_v"] == 3 * hidden + 2 * out + v
    # a, d_a and both gradients
    assert totals["d_w"] == 2 * hidden + w + v


def test_forward_alone_keeps_nothing_for_later() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    y = sg.exp(sg.sin(sg.tanh(x)))
    made = timeline(Graph((x,), (sg.sum(y),)), n=100)
    # one loop, all in registers; a tape without pullbacks holds an input and a result
    assert made.compiled.totals == [0] and made.workspace == 0
    assert made.eager.totals == [800, 1600, 1600, 800]


def test_a_gradient_alone() -> None:
    x = sg.parameter(np.zeros(1000), name="x")
    hidden = sg.tanh(x).named("hidden")
    loss = sg.sum(sg.exp(hidden).named("e"))
    made = timeline(Graph((), (sg.grad(loss, x),)))
    labels = [moment.label for moment in made.eager.moments]
    # nobody asked for the sum; hidden and e are there when the backward pass begins
    assert labels[:2] == ["hidden", "e"] and made.eager.totals[:2] == [8000, 16000]
    # hidden, its adjoint, its square and one minus that; at the end the square is gone, and the
    # gradient is the caller's
    assert made.eager.peak == made.eager.totals[-2] == 32000 and made.eager.totals[-1] == 24000


def test_views_and_outputs() -> None:
    x = sg.placeholder("x", ("n", 6))
    y = sg.exp(x)
    made = timeline(Graph((x,), (sg.sum(sg.reshape(y, ("n", 2, 3)), axis=2), y)), n=10)
    # y is an output, and its other shape no array
    assert made.eager.totals == [0, 0] and made.eager.arrays == ()
    assert made.compiled.peak == made.workspace == 0


def test_a_size_that_is_missing() -> None:
    with pytest.raises(TypeError, match="the memory depends on the size of batch: pass batch="):
        timeline(mlp())


def deep(layers: int, rows: Any, width: int = 32) -> Graph:
    x = sg.placeholder("x", (rows, width))
    parameters = [weights(width, width, name=f"w{k}") for k in range(layers)]
    h = x
    for w in parameters:
        h = sg.tanh(h @ w)
    loss = sg.mean(sg.square(h))
    return Graph((x,), (loss,), tuple(
        (w, w - 0.1 * g) for w, g in zip(parameters, sg.grad(loss, parameters), strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize(("layers", "rows"), [(2, "batch"), (8, "batch"), (3, 4096)])
def test_what_lives_fits_the_workspace(layers: int, rows: Any) -> None:
    graph = deep(layers, rows)
    made = timeline(graph, **({"batch": 50} if rows == "batch" else {}))
    assert 0 < made.compiled.peak <= made.workspace
    for track in (made.compiled, made.eager):
        assert track.totals == [
            sum(array.bytes for array in track.live(number)) for number in range(len(track.moments))
        ]
        assert all(0 <= a.first <= a.last < len(track.moments) for a in track.arrays)
        assert track.peak == max(track.totals)
    if rows == 4096:
        # blocks of rows, a few for each of the threads that may run: eager mode has ten arrays like x
        assert made.compiled.peak < made.eager.peak / 2
    sections = [moment.section for moment in made.eager.moments]
    assert sections == sorted(sections, key=["forward", "backward", "update"].index)
    known = set(graph.nodes())
    assert all(node in known for moment in made.eager.moments for node in moment.nodes)


def test_functions_and_steps_have_timelines() -> None:
    x, w = sg.placeholder("x", ("batch", 4)), weights(4, 3, name="w")
    loss = sg.sum(sg.square(sg.tanh(x @ w)))
    step = sg.train_step([x], loss, sg.optim.SGD([w], lr=0.1))
    made = step.memory_timeline(batch=7)
    assert made.workspace == step.workspace_bytes(batch=7)
    assert made == step.function.memory_timeline(batch=7)
