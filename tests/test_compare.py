"""Compiled against eager: the same numbers, and measures that agree with the benchmark's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from bench.worker import Bench
from staticgrad import nn, optim
from staticgrad.measure import allocations
from staticgrad.measure.allocations import Allocated
from staticgrad.measure.compare import EAGER, STATIC, TORCH, Comparison, Way, compare
from staticgrad.measure.eager_way import eager_step
from staticgrad.measure.model import Model
from staticgrad.measure.samples import sample_arrays
from staticgrad.measure.timing import Timing, in_turns, repeated


@pytest.fixture(autouse=True)
def without_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes seconds to import: only tests that are marked for it compare with it."""
    if "peers" not in request.keywords:
        monkeypatch.setattr("staticgrad.measure.compare.find_spec", lambda name: None)


def told(found: Comparison) -> list[str]:
    """What a comparison says besides, but for the advice where threadpoolctl is not installed."""
    return [note for note in found.notes if "threadpoolctl" not in note]


Declared = tuple[list[sg.Node], sg.Node, optim.Optimizer]


def regression() -> Declared:
    """One layer, and an optimizer with state."""
    x, y = sg.placeholder("x", ("batch", 5)), sg.placeholder("y", ("batch", 3))
    net = nn.Linear(5, 3)
    return [x, y], sg.mse_loss(net(x), y), optim.Adam(net.parameters(), lr=0.01)


def classifier() -> Declared:
    """Parts that PyTorch has functions of its own for."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 4),
    )  # fmt: skip
    x, y = sg.placeholder("x", (6, 1, 4, 4)), sg.placeholder("y", (6,), "int64")
    return [x, y], sg.cross_entropy(net(x), y), optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def normalised() -> Declared:
    """Running statistics, which a step stores besides."""
    net = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    x = sg.placeholder("x", (4, 5))
    return [x], sg.mean(net(x) ** 4), optim.SGD(net.parameters(), lr=0.1)


def dropped() -> Declared:
    """Random numbers, which are counted from call to call."""
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3))
    x = sg.placeholder("x", (4, 5))
    return [x], sg.mean(sg.square(net(x))), optim.SGD(net.parameters(), lr=0.1)


# ---- the same numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("declare", [normalised, dropped])
def test_the_eager_way_does_what_the_step_does(declare: Any) -> None:
    found = compare(*declare(), rounds=1)
    assert found.ways[EAGER].difference < 1e-5 and not told(found)
    assert found.missing == {TORCH: "not installed"}


def test_clipping_and_further_outputs() -> None:
    inputs, loss, optimizer = regression()
    arrays = sample_arrays(inputs, [loss], {"batch": 4})
    step = sg.train_step(
        inputs, loss, optimizer, clip_grad_norm=0.01, clip_grad_value=1e-3, error_if_nonfinite=True,
        outputs=[sg.sum(loss * 2.0)],
    )  # fmt: skip
    assert len(step(*arrays)) == 2
    assert compare(step, arrays=arrays, rounds=1).ways[EAGER].difference < 1e-4
    # Adam hides the size of gradients; its state does not
    eager_step(Model.of(step), arrays)()
    moments = [state["exp_avg"].value for state in optimizer.state.values()]
    assert all(0 < np.abs(moment).max() < 1e-3 for moment in moments)


def test_without_an_optimizer_gradients_are_compared() -> None:
    inputs, loss, _ = regression()
    found = compare(inputs, loss, rounds=1, batch=4)
    assert found.ways[EAGER].difference < 1e-5
    arrays = sample_arrays(inputs, [loss], {"batch": 4})
    model = Model.of((inputs, loss))
    results = eager_step(model, arrays)()
    assert len(results) == 1 + len(model.wrt) == 3
    for one, other in zip(results, model.step(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_gradients_by_inputs() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    found = compare(x, sg.sum(sg.log(x) * sg.sin(x)), rounds=1)
    assert found.ways[EAGER].difference < 1e-12 and found.sizes == {"n": 64}


def test_a_compiled_function_runs_as_it_is() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    total = sg.parameter(np.zeros(()), dtype="float64", name="total")
    value = sg.sum(sg.exp(x))
    function = sg.compile(x, [value, sg.grad(value, x)], updates={total: total + value})
    found = compare(function, rounds=1)
    assert found.ways[EAGER].difference < 1e-12
    assert total.value == 0 and "as they are" in told(found)[0]


def custom() -> Declared:
    """Derivatives of the user's own, which take values from the graph around them."""

    @sg.custom_gradient
    def reversed_cube(x: Any) -> Any:
        return x**3, lambda adjoint: -3.0 * adjoint * x**2

    class Exp(sg.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            result = sg.exp(x) + y
            ctx.save_for_backward(result, y)
            return result

        @staticmethod
        def backward(ctx: Any, adjoint: Any) -> Any:
            result, y = ctx.saved_tensors
            return adjoint * (result - y), None

    x = sg.placeholder("x", ("batch", 3), "float64")
    w = sg.parameter(np.array([0.3, -0.2, 0.1]), name="w")
    loss = sg.mean(reversed_cube(x * w) * Exp.apply(x * w, x))
    return [x], loss, optim.SGD([w], lr=0.1)


def test_custom_gradients() -> None:
    found = compare(*custom(), rounds=1)
    assert found.ways[EAGER].difference < 1e-12 and not told(found)


def test_numbers_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "staticgrad.measure.compare.eager_step", lambda model, arrays: lambda: [3.0, arrays[0] * 2]
    )
    x = sg.placeholder("x", ("n",), "float64")
    found = compare(x, sg.sum(x * x), rounds=1, arrays=[np.array([1.0, 1.0])])
    assert found.ways[EAGER].difference == pytest.approx(0.5)
    assert "differ from the static ones" in told(found)[0]


def test_a_way_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Model, arrays: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("staticgrad.measure.compare.eager_step", fail)
    x = sg.placeholder("x", ("n",), "float64")
    found = compare(x, sg.sum(x * x), rounds=1)
    assert list(found.ways) == [STATIC]
    assert found.missing[EAGER] == "failed: RuntimeError: no such luck" and EAGER in str(found)


# ---- what it leaves behind --------------------------------------------------------------------------


def test_everything_is_afterwards_as_it_was() -> None:
    inputs, loss, optimizer = regression()
    arrays = sample_arrays(inputs, [loss], {"batch": 4})
    step = sg.train_step(inputs, loss, optimizer)
    step(*arrays)
    group = optimizer.param_groups[0]
    kept = sg.eager.ones(*group["params"][0].shape)
    group["params"][0].grad = kept
    before = [p.value.copy() for p in group["params"]]
    state = optimizer.state_dict()
    threads, folder = sg.get_num_threads(), step.path.parent
    compare(step, rounds=1, batch=4)
    for parameter, value in zip(group["params"], before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    for number, entries in optimizer.state_dict()["state"].items():
        for name, array in entries.items():
            np.testing.assert_array_equal(array, state["state"][number][name])
    assert group["params"][0].grad is kept and group["params"][1].grad is None
    assert sg.get_num_threads() == threads and step.path.parent == folder
    # and the step goes on from there, compiled as it was
    assert step(*arrays) > step(*arrays)
    assert sg.compile(inputs, loss, name="other").path.parent == folder


def test_compile_time_is_that_of_an_empty_cache() -> None:
    x = sg.placeholder("x", (3,), "float64")
    total = sg.sum(x * 1.0625)
    function = sg.compile(x, total)
    again = sg.compile(x, total, name=function.name)
    assert again.from_cache
    found = compare(function, rounds=1)
    assert found.first_seconds >= found.compile_seconds > again.compile_seconds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(3), "got int; expected \\(inputs, loss\\)"),
        (lambda: compare(*regression(), batches=3), "no dimension batches; the inputs have batch"),
        (lambda: compare(*regression(), arrays=[np.ones(3, "float32")]), "takes 2 arguments"),
        (
            lambda: compare(sg.train_step(*regression(), accumulation_steps=2)),
            "at every 2th \\(accumulation_steps\\)",
        ),
        (lambda: compare(sg.train_step(*regression(), debug=True)), "made with debug=True"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- measures -------------------------------------------------------------------------------------


def way(median: float) -> Way:
    return Way(Timing.of([median]), 1, Allocated(2048, 1024), 1024)


def test_break_even_and_table() -> None:
    found = Comparison("model", {"batch": 64}, compile_seconds=0.9, first_seconds=1.001, rounds=3)
    found.ways = {STATIC: way(1e-3), EAGER: way(5e-3), TORCH: way(0.5e-3)}
    assert found.faster_than(EAGER) == 5
    assert found.break_even(EAGER) == 250 and math.isinf(found.break_even(TORCH))
    text = str(found)
    assert "250 steps" in text and "never" in text and "2.00 KiB" in text
    assert text.startswith("model, batch = 64")
    lines = text.splitlines()
    assert len(lines) < 24 and max(map(len, lines)) <= 100


def test_those_that_are_timed_take_turns() -> None:
    calls: list[str] = []

    def call(name: str, times: list[float | None]) -> Any:
        def repeat(count: int) -> float | None:
            calls.append(f"{name}{count}")
            return times.pop(0)

        return repeat

    rounds: list[int] = []
    # the first time says how many calls fill a turn; b fails in the second round
    a, b = call("a", [0.01, 3.0, 1.0, 2.0]), call("b", [0.005, 1.0, None])
    found = in_turns({"a": a, "b": b}, 3, note=rounds.append)
    assert calls == ["a1", "b1", "a2", "b4", "a2", "b4", "a2"] and rounds == [1, 2, 3]
    assert found == {"a": Timing(2.0, 1.5, 2.5)}


def test_garbage_is_collected_again() -> None:
    import gc

    assert gc.isenabled()
    assert repeated(lambda: None, 3) >= 0
    assert gc.isenabled()


def test_what_an_eager_op_allocates_is_counted() -> None:
    x = sg.eager.ones(1000, 1000)

    def action() -> None:
        y = x + x
        del y
        z = x * x
        del z

    megabytes = 4e6
    found = allocations.traced(action)
    assert allocations.count_ops(action) == 2
    assert found.total == pytest.approx(2 * megabytes, rel=0.01)
    assert found.peak == pytest.approx(megabytes, rel=0.01)


def test_operations_and_memory_agree_with_the_benchmark() -> None:
    """The same model measured by both: here from its graph, there from code for tensors."""
    from bench import libraries, workloads

    workload = workloads.named("simple_net")
    parameters, inputs, (loss,), _ = libraries.declared(workload)
    found = compare(
        inputs, loss, libraries.optimizer(workload, parameters, optim), rounds=1,
        arrays=list(workload.inputs.values()),
    )  # fmt: skip
    for library, name in (("staticgrad", STATIC), ("staticgrad eager", EAGER)):
        bench = Bench(library)
        bench.build("simple_net")
        measured = bench.allocated()
        assert measured is not None
        assert found.ways[name].allocated.total == pytest.approx(measured.total, rel=0.1, abs=500)
        assert found.ways[name].allocated.peak == pytest.approx(measured.peak, rel=0.1, abs=500)
        if name == EAGER:
            # code for tensors does without some of the graph's explicit broadcasts
            count = allocations.count_ops(bench.action)
            assert found.ways[name].ops == pytest.approx(count, rel=0.15)


# ---- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("declare", [regression, classifier, custom])
def test_pytorch_does_what_the_step_does(declare: Any) -> None:
    pytest.importorskip("torch")
    inputs, loss, optimizer = declare()
    step = sg.train_step(inputs, loss, optimizer)
    arrays = sample_arrays(inputs, [loss], {})
    for _ in range(2):
        # from the middle of a training, state included
        found = compare(step, rounds=1, arrays=arrays)
        assert found.ways[TORCH].difference < 1e-4 and not found.missing
        step(*arrays)
    assert found.ways[TORCH].allocated.total > found.ways[TORCH].allocated.peak > 0


@pytest.mark.peers
def test_layers_become_functions_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    from staticgrad.measure.torch_way import TorchStep

    inputs, loss, optimizer = classifier()
    arrays = sample_arrays(inputs, [loss], {})
    step = TorchStep(Model.of((inputs, loss, optimizer)), arrays)
    functions = [function for function, *_ in step._replay._steps]
    F = torch.nn.functional
    assert functions.count(F.linear) == 2 and functions.count(F.cross_entropy) == 1
    assert [f.__name__ for f in functions].count("normalise") == 1


@pytest.mark.peers
def test_what_pytorch_lacks_is_told() -> None:
    pytest.importorskip("torch")
    found = compare(*dropped(), rounds=1)
    reason = "draws other random numbers (dropout): nothing to compare with"
    assert found.missing == {TORCH: reason}
    assert EAGER in found.ways
