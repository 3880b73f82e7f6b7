"""What a call costs, and that the memory of outputs is used again only when nobody can see it."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from callers import at_once

import staticgrad as sg
from staticgrad import eager, nn, optim
from staticgrad.runtime import addresses

#: small outputs lie where NumPy puts them, large ones are aligned
SIZES = [3, 5000]


def addition(size: Any, name: str = "addition") -> sg.CompiledFunction:
    x = sg.placeholder("x", (size,), "float64")
    two = x[:2] if isinstance(size, int) else sg.stack([x.sum(), x.sum()])
    return sg.compile(x, [x.sum(), x + 1.0, sg.outer(two, two)], name=name)


def filled(size: int, number: float) -> np.ndarray:
    return np.full(size, float(number))


HOLDERS: dict[str, Callable[[np.ndarray], Any]] = {
    "the array": lambda a: a,
    "a slice": lambda a: a[1:],
    "a slice of a slice": lambda a: a[1:][::2][:1],
    "another shape": lambda a: a.reshape(-1, 1).T,
    "another dtype": lambda a: a.view(np.uint64),
    "the base": lambda a: a.base,
    "a memoryview": lambda a: memoryview(a),
    "a part of a memoryview": lambda a: memoryview(a)[1:],
    "an array over its buffer": lambda a: np.frombuffer(a),
    "a strided view": lambda a: np.lib.stride_tricks.as_strided(a, (2,), (8,)),
    "a broadcast view": lambda a: np.broadcast_to(a, (4, *a.shape)),
    "a list": lambda a: [a],
    "a dictionary": lambda a: {"gradient": a[::-1]},
    "a closure": lambda a: lambda: a[0],
    "an iterator": lambda a: a.flat,
    "a pointer": lambda a: a.ctypes.data_as(__import__("ctypes").c_void_p),
    "a capsule": lambda a: a.__dlpack__(),
    "an array from dlpack": lambda a: np.from_dlpack(a),
    "an eager tensor": lambda a: eager.tensor(a),
    "a subclass": lambda a: a.view(np.matrix),
    "a field": lambda a: a.real,
}


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def content(start: int, size: int) -> bytes:
    import ctypes

    return ctypes.string_at(start, 8 * size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_held_does_not_change(holder: str, size: int) -> None:
    f = addition(size)
    held = []
    for number in range(6):
        result = f(filled(size, number))[1]
        held.append((HOLDERS[holder](result), address(result), content(address(result), size)))
        del result
        for _ in range(5):
            f(filled(size, -1.0))
    places = [place for _, place, _ in held]
    if holder != "an eager tensor":  # which may have copied
        assert len(set(places)) == len(places)
        for _, place, bytes_then in held:
            assert content(place, size) == bytes_then


@pytest.mark.parametrize("size", SIZES)
def test_what_nobody_holds_is_used_again(size: int) -> None:
    f = addition(size)
    places = set()
    for number in range(20):
        value, result, square = f(filled(size, number))
        np.testing.assert_array_equal(result, filled(size, number + 1.0))
        np.testing.assert_array_equal(square, filled(4, number * number).reshape(2, 2))
        assert value == number * size and isinstance(value, np.float64)
        places.add(address(result))
    # the last result is held while the next is computed
    assert len(places) == 2
    if size == SIZES[-1]:
        assert all(place % addresses.ALIGNMENT == 0 for place in places)


def test_a_dropped_result_is_overwritten_in_place() -> None:
    f = addition(5000)
    places = {address(f(filled(5000, number))[1]) for number in range(10)}
    assert len(places) == 1


def test_what_a_caller_does_to_an_array_stays_with_it() -> None:
    f = addition(6)
    for number in range(5):
        result = f(filled(6, number))[1]
        np.testing.assert_array_equal(result, filled(6, number + 1.0))
        result.shape = (2, 3)
        result.flags.writeable = False
        del result


def test_weak_references_end_with_the_array() -> None:
    f = addition(5000)
    result = f(filled(5000, 1.0))[1]
    reference = weakref.ref(result)
    del result
    assert reference() is None


@pytest.mark.parametrize("size", SIZES)
def test_named_sizes(size: int) -> None:
    f = addition("n", "addition_named")
    for _ in range(3):
        for count in (size, size, size + 1, 3, size):
            first = f(filled(count, 1.0))[1]
            second = f(filled(count, 2.0))[1]
            assert first.shape == second.shape == (count,)
            assert (first == 2.0).all() and (second == 3.0).all()


def test_symbols_of_other_inputs_and_arithmetic() -> None:
    x = sg.placeholder("x", ("n", "m"), "float64")
    y = sg.placeholder("y", ("m", "entry"), "float64")
    f = sg.compile([x, y], [x @ y, sg.concat([x, x], axis=0), x[1:], y.sum(axis=0)])
    for n, m, k in ((2, 3, 4), (5, 1, 2), (2, 3, 4)):
        a, b = np.ones((n, m)), np.ones((m, k))
        product, twice, rest, sums = f(a, b)
        assert product.shape == (n, k) and twice.shape == (2 * n, m)
        assert rest.shape == (n - 1, m) and sums.shape == (k,)
        assert (product == m).all() and (sums == m).all()
    for wrong in ((np.ones((2, 3)), np.ones((4, 4))), (np.ones((2, 3)), np.ones(3))):
        with pytest.raises(ValueError, match="y was declared"):
            f(*wrong)
    with pytest.raises(TypeError, match="not a NumPy array"):
        f(a.tolist(), b)


def test_errors_leave_earlier_results_alone() -> None:
    x = sg.placeholder("x", ("n", 3), "float64")
    index = sg.placeholder("index", ("k",), dtype="int64")
    f = sg.compile([x, index], [x * 2.0, sg.take(x, index, axis=0)])
    a = np.arange(12.0).reshape(4, 3)
    first = f(a, np.array([0, 3]))
    expected = [item.copy() for item in first]
    for wrong in ((a, np.array([0, 9])), (a[:, :2], np.array([0])), (a,), (a, a), (a, None)):
        with pytest.raises((IndexError, ValueError, TypeError)):
            f(*wrong)
    for got, kept in zip(first, expected, strict=True):
        np.testing.assert_array_equal(got, kept)
    # strided arguments take the long way, whose results are new arrays
    second = f(np.asfortranarray(a + 1.0), np.array([1, 1]))
    np.testing.assert_array_equal(second[0], 2 * (a + 1.0))
    for got, kept in zip(first, expected, strict=True):
        np.testing.assert_array_equal(got, kept)


def test_errors_come_alone() -> None:
    f = addition(3)
    with pytest.raises(TypeError, match="takes 1 arguments") as raised:
        f()
    assert raised.value.__context__ is None


def test_two_threads() -> None:
    f = addition(5000)
    failures: list[Any] = []

    def work(start: int) -> None:
        kept: list[tuple[int, np.ndarray]] = []
        for number in range(start, start + 400):
            value, result, _ = f(filled(5000, number))
            kept.append((number, result))
            if value != number * 5000 or not (result == number + 1.0).all():
                failures.append(number)
            if len(kept) > 3:
                old, array = kept.pop(number % 3)
                if not (array == old + 1.0).all():
                    failures.append(old)

    at_once(work, [(1000 * k,) for k in range(4)])
    assert not failures


def test_nothing_is_allocated_after_the_first_calls() -> None:
    size = 200_000
    f = addition(size)
    x = np.ones(size)
    result = f(x)
    for _ in range(2):
        result = f(x)
    tracemalloc.start()
    for _ in range(5):
        result = f(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result[1][0] == 2.0
    assert peak < 4000


@pytest.mark.parametrize("options", [None, {}, {"accumulation_steps": 2}])
def test_functions_go_with_their_last_reference(options: dict[str, Any] | None) -> None:
    if options is None:
        f: Any = addition(3)
    else:
        W = sg.parameter(np.ones(3), name="W")
        x = sg.placeholder("x", (3,), "float64")
        f = sg.train_step([x], (W * x).sum(), optim.SGD([W], lr=0.1), **options)
    f(np.ones(3))
    reference = weakref.ref(f)
    gc.disable()
    try:
        del f
        assert reference() is None
    finally:
        gc.enable()


def test_interpreters_whose_counts_cannot_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert addresses.free_count() > 0
    monkeypatch.setattr(addresses, "free_count", lambda: 0)
    f = addition(5000, "untrusted")
    kept = [f(filled(5000, number))[1] for number in range(5)]
    for number, array in enumerate(kept):
        assert (array == number + 1.0).all()
    assert len({address(array) for array in kept}) == 5


def test_scalars_in_and_out() -> None:
    x, n = sg.placeholder("x", (), "float64"), sg.placeholder("n", (), dtype="int64")
    f = sg.compile([x, n], [x * 2.0, n + 1])
    for arguments in ((1.5, 3), (np.float64(1.5), np.int64(3)), (np.array(1.5), np.array(3))):
        doubled, more = f(*arguments)
        assert (doubled, more) == (3.0, 4)
        assert isinstance(doubled, np.float64) and isinstance(more, np.int64)
    first = f(1.5, 3)[0]
    f(2.5, 4)
    assert first == 3.0
    with pytest.raises(TypeError, match="n was declared as int64"):
        f(1.5, 2.5)
    with pytest.raises(TypeError, match="x was declared"):
        f("1.5", 2)


def test_options_are_seen_whichever_way_they_change() -> None:
    W = sg.parameter(np.ones(2), name="W")
    optimizer = optim.SGD([W], lr=0.5)
    x = sg.placeholder("x", (2,), "float64")
    step = sg.train_step([x], (W * x).sum(), optimizer)
    ones = np.ones(2)
    step(ones)
    step(ones)
    assert (W.value == 0.0).all()
    optimizer.param_groups[0]["lr"] = 1
    step(ones)
    assert (W.value == -1.0).all()
    rate = np.array(2.0)
    optimizer.param_groups[0]["lr"] = rate
    step(ones)
    rate[()] = 4.0
    step(ones)
    assert (W.value == -7.0).all()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.param_groups[0]["initial_lr"] = 0.5
    step(ones)
    assert (W.value == -7.0).all()
    optimizer.param_groups[0]["weight_decay"] = 0.5
    for _ in range(2):
        with pytest.raises(RuntimeError, match="option of the optimizer was changed"):
            step(ones)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    step(ones)
    other = sg.parameter(np.ones(2), name="other")
    optimizer.param_groups[0]["params"] = [other]
    step(ones)
    optimizer.add_param_group({"params": [sg.parameter(np.ones(2), name="more")]})
    with pytest.raises(RuntimeError, match="option of the optimizer was changed"):
        step(ones)


def test_eager_mode_learns_of_a_step() -> None:
    net = nn.Sequential(nn.Linear(2, 2, dtype="float64"), nn.Linear(2, 1, dtype="float64"))
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    x = sg.placeholder("x", ("batch", 2), "float64")
    step = sg.train_step([x], net(x).sum(), optimizer)
    loss = (net(eager.ones(3, 2, dtype="float64")) ** 2).sum()
    step(np.ones((3, 2)))
    with pytest.raises(RuntimeError):
        loss.backward()


def test_workspace_of_sizes() -> None:
    x = sg.placeholder("x", ("batch", 8), dtype="float64")
    function = sg.compile([x], sg.sum(sg.softmax(x @ np.ones((8, 8))) @ np.ones((8, 8)), axis=0))
    assert function.workspace_bytes(batch=50) > function.workspace_bytes(batch=5) > 0
    with pytest.raises(TypeError, match="depends on the size of batch: pass batch="):
        function.workspace_bytes()


# ---- arguments by name ------------------------------------------------------------------------------


def scaled(debug: bool = False, **names: str) -> Any:
    """A function of an array, a number and another array, called x, rate and y or by other names."""
    x = sg.placeholder(names.get("x", "x"), ("n",), "float64")
    rate = sg.placeholder(names.get("rate", "rate"), (), "float64")
    y = sg.placeholder(names.get("y", "y"), ("n",), "float64")
    return sg.compile([x, rate, y], [(x * y).sum(), x * rate + y], name="scaled", debug=debug)


@pytest.fixture(params=[False, True], ids=["compiled", "debug"])
def either(request: pytest.FixtureRequest) -> Any:
    return scaled(debug=request.param)


def check_scaled(results: Any) -> None:
    number, array = results
    assert number == 11.0 and isinstance(number, np.float64)
    np.testing.assert_array_equal(array, [5.0, 8.0])


def test_arguments_come_by_name(either: Any) -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for _ in range(3):
        check_scaled(either(x, 2.0, y))
        check_scaled(either(x=x, rate=2.0, y=y))
        check_scaled(either(y=y, rate=2, x=x))
        check_scaled(either(x, y=y, rate=np.float32(2.0)))
        check_scaled(either(x=x[::-1][::-1].astype(">f8").astype("f8"), rate=np.array(2.0), y=y))
    number, array = np.zeros(()), np.zeros(2)
    given = either(y=y, x=x, rate=2.0, out=[number, array])
    assert given[0] is number and given[1] is array
    check_scaled([number[()], array])


def test_signature(either: Any) -> None:
    signature = inspect.signature(either)
    assert list(signature.parameters) == ["x", "rate", "y", "out"]
    assert str(signature.replace(parameters=[
        p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()
    ])) == "(x, rate, y, *, out=None)"
    assert signature.parameters["x"].annotation == "float64(n,)"
    bound = signature.bind(y=3, x=1, rate=2)
    assert bound.args == (1, 2, 3)
    with pytest.raises(TypeError):
        signature.bind(1, 2)


LISTED = r"scaled takes 3 arguments \(x: float64\(n,\), rate: float64\(\), y: float64\(n,\)\)"


@pytest.mark.parametrize(
    ("given", "named", "told"),
    [
        ((), {}, rf"{LISTED}, got 0$"),
        ((1,), {}, rf"{LISTED}, got 1: rate, y missing$"),
        ((1, 2, 3, 4), {}, rf"{LISTED}, got 4$"),
        ((1,), {"rate": 2}, rf"{LISTED}, got 2: y missing$"),
        ((), {"y": 2}, rf"{LISTED}, got 1: x, rate missing$"),
        ((1, 2), {"z": 3}, r"^scaled\(x: float64\(n,\), .*\) got an unexpected keyword argument 'z'"),
        ((1, 2), {"x": 3}, r"^scaled\(x: float64\(n,\), .*\) got multiple values for argument 'x'"),
        ((1,), {"out": [0, 0]}, rf"{LISTED}, got 1: rate, y missing$"),
    ],
)
def test_arguments_that_are_missing_or_too_many(
    either: Any, given: Any, named: Any, told: str
) -> None:
    values = {1: np.ones(2), 2: 2.0, 3: np.ones(2), 4: np.ones(2)}
    arguments = [values[k] for k in given]
    by_name = {name: values.get(k, k) if name != "out" else k for name, k in named.items()}
    with pytest.raises(TypeError, match=told) as raised:
        either(*arguments, **by_name)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "names",
    [
        {"x": "self", "rate": "arguments", "y": "entry"},
        {"x": "_record", "rate": "__missing", "y": "___sizes"},
        {"x": "type", "rate": "IndexError", "y": "make"},
        {"x": "addresses", "rate": "first", "y": "workspace_size"},
        {"x": "class", "rate": "class_", "y": "None"},
        {"x": "out", "rate": "input_0", "y": "call"},
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_names_that_mean_something_elsewhere(names: dict[str, str], debug: bool) -> None:
    f = scaled(debug, **names)
    called = list(inspect.signature(f).parameters)[:-1]
    assert all(name.isidentifier() for name in called) and len(set(called)) == 3
    for original, name in zip(names.values(), called, strict=True):
        assert name == original or original in ("out", "input_0", "class", "class_", "None")
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for _ in range(2):
        check_scaled(f(**dict(zip(called, (x, 2.0, y), strict=True))))
        check_scaled(f(x, 2.0, y))


def test_a_function_without_inputs() -> None:
    W = sg.parameter(np.ones(3), name="W")
    f = sg.compile([], W * 2.0, name="twice")
    np.testing.assert_array_equal(f(), [2.0, 2.0, 2.0])
    out = np.zeros(3)
    assert f(out=out) is out and out[0] == 2.0
    assert str(inspect.signature(f)) == "(*, out=None)"
    with pytest.raises(TypeError, match=r"twice takes 0 arguments \(\), got 1"):
        f(np.ones(3))


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2}, {"debug": True}])
def test_steps_take_names(options: dict[str, Any]) -> None:
    def made() -> tuple[sg.Parameter, Any]:
        W = sg.parameter(np.ones(2), name="W")
        x, y = sg.placeholder("x", ("n", 2), "float64"), sg.placeholder("y", ("n",), "float64")
        loss = ((x @ W - y) ** 2).mean()
        return W, sg.train_step([x, y], loss, optim.SGD([W], lr=0.1), name="fit_line", **options)

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((4, 2)), rng.standard_normal(4)
    (W, step), (V, other) = made(), made()
    assert list(inspect.signature(step).parameters) == ["x", "y"]
    for _ in range(3):
        assert step(x=X, y=Y) == other(X, Y)
    assert step(X, y=Y) == other(X, Y)
    np.testing.assert_array_equal(W.value, V.value)
    before = W.value.copy()
    for wrong, told in (
        (lambda: step(X), r"takes 2 arguments \(x: .*\), got 1: y missing"),
        (lambda: step(X, Y, Y), "takes 2 arguments"),
        (lambda: step(X, labels=Y), r"fit_line\w*\(x: .*\) got an unexpected keyword argument"),
        (lambda: step(X, Y, out=np.zeros(())), "unexpected keyword argument 'out'"),
    ):
        with pytest.raises(TypeError, match=told):
            wrong()
    np.testing.assert_array_equal(W.value, before)


def test_scalars_in_steps_and_loops() -> None:
    """Inputs without axes are read at each call, in loops inside compiled code as well."""
    W, V = (sg.parameter(np.ones(3), name="W") for _ in range(2))
    rate = sg.placeholder("rate", (), "float32")
    steps = [
        sg.train_step([rate], (P * P).sum() * sg.astype(rate, "float64"), optim.SGD([P], lr=0.1))
        for P in (W, V)
    ]
    losses = steps[0].run(5, 0.5)
    np.testing.assert_array_equal(losses, [steps[1](0.5) for _ in range(5)])
    np.testing.assert_array_equal(W.value, V.value)
    np.testing.assert_allclose(losses[1] / losses[0], 0.9**2)


def test_numbers_for_scalars() -> None:
    x = sg.placeholder("x", (), "float32")
    n, b = sg.placeholder("n", (), dtype="int32"), sg.placeholder("b", (), dtype="bool")
    f = sg.compile([x, n, b], sg.where(b, x, sg.astype(n, "float32")))
    assert f(1.5, 3, True) == np.float32(1.5) and f(1.5, 3, False) == 3.0
    assert type(f(1, np.int32(3), np.array(False))) is np.float32
    assert f(np.float64(0.1), 3, True) == np.float32(0.1)
    for wrong, told in (
        ((1.5, 2**40, True), "n was declared as int32.* 1099511627776 is out of its range"),
        ((1.5, 2**70, True), "n was declared as int32"),
        ((1.5, 2.5, True), "n was declared as int32"),
        ((1.5, 3, 2.0), "b was declared as bool"),
        ((np.array(1.5), 3, True), "x was declared as float32.*got an array of float64"),
        ((np.ones(1, "float32"), 3, True), "x was declared as float32.* has 0 axes"),
        ((None, 3, True), "x was declared as float32"),
        (("1.5", 3, True), "x was declared as float32"),
    ):
        with pytest.raises((TypeError, ValueError, OverflowError), match=told):
            f(*wrong)


def test_refused_arguments_leave_the_memory_of_outputs_alone() -> None:
    f = addition("n", "addition_refused")
    first = f(filled(5000, 1.0))[1]
    second = f(filled(5000, 2.0))[1]
    places = {address(first), address(second)}
    del first, second
    for _ in range(3):
        with pytest.raises(TypeError):
            f(np.ones(5000, np.float32))
    assert (f(np.ones((5000, 2))[:, 0])[1] == 2.0).all()
    assert address(f(filled(5000, 3.0))[1]) in places


def test_sizes_that_do_not_fit_leave_the_memory_of_outputs_alone() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    f = sg.compile(x, x[2:] * 2.0, name="rest")
    for _ in range(3):
        held = f(np.ones(5))
        with pytest.raises(ValueError, match="the arrays are too small"):
            f(np.ones(1))
        kept = list(f._addresses.kept)
        assert 1 <= len(kept) == len({id(record) for record in kept})
        np.testing.assert_array_equal(held, [2.0, 2.0, 2.0])


def test_each_held_array_is_replaced_alone() -> None:
    x = sg.placeholder("x", (5000,), "float64")
    f = sg.compile(x, [x + 1.0, x * 2.0])
    kept, seen = [], set()
    for number in range(10):
        held, dropped = f(filled(5000, number))
        kept.append((number, held))
        seen.add(address(dropped))
        del held, dropped
    assert len(seen) <= 2
    assert len({address(array) for _, array in kept}) == 10
    assert all((array == number + 1.0).all() for number, array in kept)


def test_copies_and_pickles() -> None:
    f = addition(3)
    assert copy.copy(f) is f and copy.deepcopy({"f": f})["f"] is f
    W = sg.parameter(np.ones(2), name="W")
    step = sg.train_step([], (W * W).sum(), optim.SGD([W], lr=0.1), name="shrink")
    assert copy.deepcopy(step) is step
    for what in (f, step):
        with pytest.raises(TypeError, match=f"{what.name}: compiled functions cannot be pickled"):
            pickle.dumps(what)


def test_a_call_that_outlives_its_function() -> None:
    call = addition(3).__call__
    assert call(np.ones(3))[0] == 3.0
    with pytest.raises(ReferenceError, match="addition is gone"):
        call(np.ones(4))


def test_threads_with_scalars_and_names() -> None:
    f = scaled()
    failures: list[float] = []

    def work(start: int) -> None:
        for number in range(start, start + 500):
            _, array = f(x=np.ones(3), rate=float(number), y=np.zeros(3))
            if not (array == number).all():
                failures.append(number)

    at_once(work, [(1000 * k,) for k in range(4)])
    assert not failures
