"""What a call costs, and that the memory of outputs is used again only when nobody can see it."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import eager, nn, optim
from staticgrad.runtime import calling

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
        assert all(place % calling.ALIGNMENT == 0 for place in places)


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

    threads = [threading.Thread(target=work, args=(1000 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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


def test_functions_go_with_their_last_reference() -> None:
    f = addition(3)
    f(np.ones(3))
    reference = weakref.ref(f)
    gc.disable()
    try:
        del f
        assert reference() is None
    finally:
        gc.enable()


def test_interpreters_whose_counts_cannot_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calling.free_count() > 0
    monkeypatch.setattr(calling, "free_count", lambda: 0)
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
