"""Convolutions and pooling in parts: right, and with the same bits, whoever computes which part."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from callers import at_once
from llvmlite import binding
from test_convolution import ROUTINES, positions, reference, scratch_size, surrounded

import staticgrad as sg
from staticgrad.kernels.parallel import POOL
from staticgrad.ops.convolution import CORRELATION

PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


class Scheduler:
    """In the place of the threads: parts run from the last to the first, each at the place of another
    thread than the one before. Counts the parts."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._callback = RUN(self._run)
        self._word = ctypes.c_int64.from_address(binding.address_of_symbol(POOL))
        self.before = self._word.value

    def _run(self, part: int, record: int, count: int) -> None:
        self.counts.append(count)
        for number in reversed(range(count)):
            PART(part)(record, number, (2 * number + count // 2) % count)

    def begin(self, several: bool) -> None:
        self.counts.clear()
        address = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self._word.value = address if several else 0

    def end(self) -> None:
        self._word.value = self.before


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    yield made
    made.end()


def case(x: tuple[int, ...], outputs: int, kernel: int, **options: Any) -> Case:
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **options}
    return x, (outputs, x[1] // geometry["groups"], kernel, kernel), geometry


#: large enough for several parts, by images (side by side or not) and by channels of the result
CASES = {
    "small images": case((70, 8, 6, 6), 24, 3, padding=(1, 1)),
    "one image": case((1, 24, 30, 28), 40, 3, padding=(1, 1)),
    "fewer images than parts": case((3, 20, 17, 19), 36, 3),
    "few small images": case((11, 48, 5, 4), 48, 3, padding=(1, 1)),
    "strides": case((40, 12, 13, 12), 20, 3, stride=(2, 3), padding=(1, 0)),
    "dilation": case((33, 10, 12, 11), 17, 3, dilation=(2, 3), padding=(2, 1)),
    "groups": case((34, 24, 9, 9), 48, 3, groups=3, padding=(1, 1)),
    "sections of images": case((32, 16, 16, 16), 32, 3, padding=(1, 1)),
    "large images": case((5, 6, 64, 60), 9, 5, padding=(2, 2)),
    "many sums": case((4, 160, 4, 5), 170, 3, padding=(1, 1)),
}


def arrays_of(given: Case, dtype: str) -> list[np.ndarray]:
    x, w, geometry = given
    out = tuple(
        positions(*sizes)
        for sizes in zip(x[2:], w[2:], geometry["stride"], geometry["padding"], geometry["dilation"],
                         strict=True)
    )  # fmt: skip
    rng = np.random.default_rng(len(x) * x[0])
    return [rng.standard_normal(s).astype(dtype) for s in (x, w, (x[0], w[0], *out))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_parts(name: str, dtype: str, scheduler: Scheduler) -> None:
    """Against sums in float64; with less memory there are fewer parts."""
    geometry = CASES[name][2]
    arrays = arrays_of(CASES[name], dtype)
    pads = tuple((p, p) for p in geometry["padding"])
    options = tuple(geometry[key] for key in ("stride", "padding", "dilation"))
    attrs = {"strides": options[0], "padding": pads, "dilations": options[2]}
    for (position, run, op), wanted in zip(ROUTINES, reference(*arrays, geometry), strict=True):
        full, named = (scratch_size(op, arrays, attrs, known) for known in (True, False))
        found = []
        for several, memory in ((False, full), (True, full), (False, named), (True, named)):
            scheduler.begin(several)
            operands = [*arrays]
            around, operands[position] = surrounded(arrays[position].shape, dtype)
            own, scratch = surrounded((memory,), dtype)
            run(*operands, scratch, *options)
            assert not several or (len(scheduler.counts) == 1 and 2 <= scheduler.counts[0] <= 16)
            for edge in (around[:64], around[-64:], own[:64], own[-64:]):
                assert np.isnan(edge).all()
            found.append(operands[position])
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[2], found[3])
        terms = arrays[2][:, 0].size if op is CORRELATION else arrays[1][:, 0].size
        bound = 4 * np.finfo(dtype).eps * terms * np.abs(wanted).max()
        for other in found[::2]:
            np.testing.assert_allclose(other, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("kernel", [2, 3])
def test_parts_of_pooling(kernel: int, scheduler: Scheduler) -> None:
    rng = np.random.default_rng(kernel)
    arrays = [rng.integers(-9, 9, (37, 5, 30, 32)).astype("float32") for _ in range(2)]
    x, seed = (sg.placeholder(n, a.shape) for n, a in zip(("x", "seed"), arrays, strict=True))
    y = sg.max_pool2d(x, kernel, stride=2)
    d_x = sg.grad((y * y).sum(), x)
    function = sg.compile([x, seed], [y, d_x, sg.grad((d_x * seed).sum(), x)])
    scheduler.begin(False)
    expected = [np.array(result) for result in function(*arrays)]
    scheduler.begin(True)
    for ours, other in zip(function(*arrays), expected, strict=True):
        np.testing.assert_array_equal(ours, other)
    assert len(scheduler.counts) >= 4 and set(scheduler.counts) == {arrays[0].size >> 16}


def network(batch: Any) -> tuple[Any, list[np.ndarray]]:
    """Two convolutions with pooling between, and all gradients."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("float32")
              for s in ((48, 3, 16, 16), (32, 3, 3, 3), (24, 32, 3, 3))]  # fmt: skip
    x = sg.placeholder("x", (batch, 3, 16, 16))
    kernels = [sg.placeholder(n, a.shape) for n, a in zip(("k1", "k2"), arrays[1:], strict=True)]
    hidden = sg.max_pool2d(sg.conv2d(x, kernels[0], padding=1), 2)
    y = sg.max_pool2d(sg.conv2d(hidden, kernels[1], stride=2, padding=1), 3, stride=2, padding=1)
    loss = sg.sum(sg.tanh(y))
    return sg.compile([x, *kernels], [loss, *sg.grad(loss, [x, *kernels])]), arrays


def bits(results: Any) -> bytes:
    return b"".join(np.asarray(result).tobytes() for result in results)


@pytest.mark.parametrize("batch", [48, "batch"])
def test_networks(batch: Any) -> None:
    function, arrays = network(batch)
    sizes = (48,) if batch == 48 else (48, 1, 7, 0)
    for size in sizes:
        given = [arrays[0][:size], *arrays[1:]]
        found = set()
        for number in (1, 2, 1, 3):
            sg.set_num_threads(number)
            found |= {bits(function(*given)) for _ in range(3)}
        assert len(found) == 1
    sg.set_num_threads(2)
    expected = bits(function(*arrays))
    answers: list[bool] = []

    def call() -> None:
        answers.append(all(bits(function(*arrays)) == expected for _ in range(20)))

    at_once(call, [()] * 3)
    assert answers == [True] * 3


def test_code_with_large_routines_finds_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function with nothing else in parts asks for them where it is loaded; a small one does not."""
    asked: list[bool] = []
    monkeypatch.setattr("staticgrad.runtime.threads.prepare", lambda: asked.append(True))
    for batch, extent, expected in ((64, 32, 1), ("batch", 32, 1), (4, 8, 0), ("batch", 4, 0)):
        x = sg.placeholder("x", (batch, 4, extent, extent))
        w = sg.placeholder("w", (8, 4, 3, 3))
        asked.clear()
        sg.compile([x, w], sg.conv2d(x, w))
        assert len(asked) == expected
        asked.clear()
        sg.compile([x], sg.max_pool2d(x, 2))
        assert len(asked) == expected
