"""Convolutions against sums in float64, over geometries, dtypes and batches of any size."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import staticgrad as sg
from staticgrad.graph.node import GraphError, make_node
from staticgrad.kernels.convolution import convolve, convolve_transposed
from staticgrad.kernels.correlation import correlate
from staticgrad.ops.convolution import CONVOLUTION, CORRELATION, TRANSPOSED_CONVOLUTION

DTYPES = ("float32", "float64")


def positions(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def reached(geometry: dict[str, Any], out: tuple[int, int], place: tuple[int, int]) -> Any:
    """The elements of a padded image that an element of the kernel meets."""
    return (..., *(
        slice(k * d, k * d + s * (count - 1) + 1, s)
        for k, d, s, count in zip(place, geometry["dilation"], geometry["stride"], out, strict=True)
    ))  # fmt: skip


def padded(x: np.ndarray, geometry: dict[str, Any], value: float = 0.0) -> np.ndarray:
    pads = ((0, 0), (0, 0), *((p, p) for p in geometry["padding"]))
    return np.pad(x.astype(np.float64), pads, constant_values=value)


def reference(x: Any, w: Any, adjoint: Any, geometry: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The convolution and the adjoints of both operands, one element of the kernel at a time."""
    groups, batch = geometry["groups"], x.shape[0]
    source, kernel = padded(x, geometry), w.astype(np.float64)
    out, d_source, d_kernel = np.zeros(adjoint.shape), np.zeros(source.shape), np.zeros(w.shape)
    inner, outer = w.shape[1], w.shape[0] // groups
    for place in itertools.product(range(w.shape[2]), range(w.shape[3])):
        spots = reached(geometry, adjoint.shape[2:], place)
        for g in range(groups):
            i, o = slice(g * inner, (g + 1) * inner), slice(g * outer, (g + 1) * outer)
            taken, tap = source[spots][:, i], kernel[(o, slice(None), *place)]
            out[:, o] += np.einsum("ncyx,oc->noyx", taken, tap)
            d_kernel[(o, slice(None), *place)] = np.einsum("ncyx,noyx->oc", taken, adjoint[:, o])
            d_source[spots][:, i] += np.einsum("noyx,oc->ncyx", adjoint[:, o], tap)
    low = geometry["padding"]
    inside = (..., *(slice(p, p + n) for p, n in zip(low, x.shape[2:], strict=True)))
    assert batch == out.shape[0]
    return out, d_source[inside], d_kernel


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inner, outer = draw(st.integers(1, 5)), draw(st.integers(1, 11))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    geometry = {"stride": draw(pair), "dilation": draw(pair), "groups": groups,
                "padding": draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))}  # fmt: skip
    size = tuple(
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 36))
        for k, d, p in zip(kernel, geometry["dilation"], geometry["padding"], strict=True)
    )
    x = (draw(st.integers(0, 4)), groups * inner, *size)
    return draw(st.sampled_from(DTYPES)), x, (groups * outer, inner, *kernel), geometry


def compiled(x: np.ndarray, w: np.ndarray, geometry: dict[str, Any]) -> Any:
    """The convolution and both adjoints of a batch of any size."""
    px = sg.placeholder("x", ("batch", *x.shape[1:]), dtype=str(x.dtype))
    pw = sg.placeholder("w", w.shape, dtype=str(w.dtype))
    y = sg.conv2d(px, pw, **geometry)
    adjoint = sg.placeholder("adjoint", y.shape, dtype=str(x.dtype))
    gradients = sg.grad((y * adjoint).sum(), [px, pw])
    return sg.compile([px, pw, adjoint], [y, *gradients])


@settings(max_examples=5, deadline=None)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_and_its_adjoints(case: Any, seed: int) -> None:
    dtype, x_shape, w_shape, geometry = case
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape))
    function = compiled(x, w, geometry)
    out = tuple(
        positions(*sizes)
        for sizes in zip(x_shape[2:], w_shape[2:], geometry["stride"], geometry["padding"],
                         geometry["dilation"], strict=True)
    )  # fmt: skip
    for batch in {x_shape[0], 1}:
        images = rng.standard_normal((batch, *x_shape[1:])).astype(dtype)
        adjoint = rng.standard_normal((batch, w_shape[0], *out)).astype(dtype)
        got = function(images, w, adjoint)
        again = function(images, w, adjoint)
        wanted = reference(images, w, adjoint, geometry)
        for ours, same, other in zip(got, again, wanted, strict=True):
            np.testing.assert_array_equal(ours, same)
            size = max(w[0].size, adjoint[:, 0].size, w.size // w.shape[1])
            bound = 4 * np.finfo(dtype).eps * size * max(1.0, np.abs(other).max(initial=0.0))
            np.testing.assert_allclose(ours, other, rtol=0, atol=bound)


# ---- the routines themselves: every geometry is a call, nothing is compiled anew ---------------------


@njit
def run_convolve(x, w, out, scratch, strides, padding, dilations):  # type: ignore[no-untyped-def]
    convolve(x, w, out, scratch, strides, padding, dilations)


@njit
def run_convolve_transposed(x, w, out, scratch, strides, padding, dilations):  # type: ignore[no-untyped-def]
    convolve_transposed(x, w, out, scratch, strides, padding, dilations)


@njit
def run_correlate(x, w, out, scratch, strides, padding, dilations):  # type: ignore[no-untyped-def]
    correlate(x, w, out, scratch, strides, padding, dilations)


#: what is computed of x, weight and out, by which routine and op
ROUTINES = ((2, run_convolve, CONVOLUTION), (0, run_convolve_transposed, TRANSPOSED_CONVOLUTION),
            (1, run_correlate, CORRELATION))  # fmt: skip


def surrounded(shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Memory filled with NaN, and an array in the middle of it."""
    size = int(np.prod(shape))
    memory = np.full(size + 128, np.nan, dtype)
    return memory, memory[64 : 64 + size].reshape(shape)


def scratch_size(op: Any, arrays: list[np.ndarray], attrs: dict[str, Any], known: bool) -> int:
    """What the op asks for, with a batch that is a number or a name."""
    dtype = str(arrays[0].dtype)
    nodes = [
        sg.placeholder(name, array.shape if name == "w" or known else ("n", *array.shape[1:]), dtype)
        for name, array in zip("xwo", arrays, strict=True)
    ]
    shape = nodes.pop(op.result).shape
    node = make_node(op, nodes, attrs if op is CONVOLUTION else {**attrs, "shape": shape})
    size = op.scratch(node)
    assert isinstance(size, int)
    return size


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.sampled_from([0, 0, 1, 40]), st.booleans(), st.integers(0, 2**32 - 1))
def test_routines(case: Any, more: int, special: bool, seed: int) -> None:
    """All three against sums; they write nothing but their result, and what they leave in memory that
    they work in does not matter. What is not finite counts where a window meets it, nowhere else."""
    dtype, x_shape, w_shape, geometry = case
    rng = np.random.default_rng(seed)
    batch = x_shape[0] + (more if x_shape[2] * x_shape[3] < 100 else 0)
    out = tuple(
        positions(*sizes)
        for sizes in zip(x_shape[2:], w_shape[2:], geometry["stride"], geometry["padding"],
                         geometry["dilation"], strict=True)
    )  # fmt: skip
    shapes = ((batch, *x_shape[1:]), w_shape, (batch, w_shape[0], *out))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    for array in arrays:
        if special and array.size and rng.random() < 0.5:
            spots = rng.integers(array.size, size=2)
            array.flat[spots] = rng.choice([np.inf, -np.inf, np.nan], 2)
    strides, padding, dilations = (geometry[key] for key in ("stride", "padding", "dilation"))
    attrs = {"strides": strides, "padding": tuple((p, p) for p in padding), "dilations": dilations}
    with np.errstate(invalid="ignore"):
        results = reference(*arrays, geometry)
    terms = (w_shape[1], w_shape[0], max(1, batch * out[0] * out[1]))
    for (position, run, op), wanted, count in zip(ROUTINES, results, terms, strict=True):
        size = scratch_size(op, arrays, attrs, bool(rng.integers(2)))
        copies = []
        for _ in range(2):
            memories = [surrounded(array.shape, dtype) for array in arrays]
            for k, (_, inside) in enumerate(memories):
                if k != position:
                    inside[...] = arrays[k]
            scratch_memory, scratch = surrounded((size,), dtype)
            run(*(inside for _, inside in memories), scratch, strides, padding, dilations)
            for memory in (scratch_memory, *(memory for memory, _ in memories)):
                assert np.isnan(memory[:64]).all() and np.isnan(memory[-64:]).all()
            copies.append(memories[position][1])
        got, again = copies
        np.testing.assert_array_equal(got, again)
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(got[~finite], wanted[~finite].astype(dtype))
        count *= 1 if op is CORRELATION else w_shape[2] * w_shape[3]
        largest = np.abs(wanted[finite]).max(initial=1.0)
        bound = 4 * np.finfo(dtype).eps * count * largest
        np.testing.assert_allclose(got[finite], wanted[finite], rtol=0, atol=bound)


@settings(max_examples=3, deadline=None)
@given(convolutions(), st.booleans(), st.integers(0, 2**32 - 1))
def test_second_derivatives(case: Any, line: bool, seed: int) -> None:
    """Of sum(y adjoint): its gradients, paired with directions, differentiated again. All are other
    convolutions of the same kind, whose values are sums."""
    _, x_shape, w_shape, geometry = case
    rng = np.random.default_rng(seed)
    if line:
        x_shape, w_shape = (*x_shape[:2], 1, x_shape[3]), (*w_shape[:2], 1, w_shape[3])
        usual = {"stride": 1, "dilation": 1, "padding": 0}
        geometry = {**geometry, **{key: (n, geometry[key][1]) for key, n in usual.items()}}
    x, w, d_x, d_w = (rng.standard_normal(shape) for shape in (x_shape, w_shape) * 2)
    flat = (lambda shape: (*shape[:2], shape[3])) if line else tuple
    inputs = [
        sg.placeholder(name, flat(array.shape), dtype="float64")
        for name, array in zip(("x", "w", "d_x", "d_w"), (x, w, d_x, d_w), strict=True)
    ]
    px, pw, pdx, pdw = inputs
    if line:
        options = {key: value[1] for key, value in geometry.items() if key != "groups"}
        y = sg.conv1d(px, pw, **options, groups=geometry["groups"])
    else:
        y = sg.conv2d(px, pw, **geometry)
    first = sg.grad((y * y).sum() * 0.5, [px, pw])
    second = sg.grad((first[0] * pdx).sum() + (first[1] * pdw).sum(), [px, pw])
    arrays = (x, w, d_x, d_w)
    got = sg.compile(inputs, second)(*(array.reshape(flat(array.shape)) for array in arrays))
    shape = y.shape if not line else (*y.shape[:2], 1, y.shape[2])
    zeros = np.zeros(tuple(int(item) for item in shape))
    values = reference(x, w, zeros, geometry)[0]
    moved = reference(d_x, w, zeros, geometry)[0] + reference(x, d_w, zeros, geometry)[0]
    wanted_x = reference(x, w, moved, geometry)[1] + reference(x, d_w, values, geometry)[1]
    wanted_w = reference(x, w, moved, geometry)[2] + reference(d_x, w, values, geometry)[2]
    for ours, other in zip(got, (wanted_x, wanted_w), strict=True):
        bound = 1e-9 * max(1.0, np.abs(other).max(initial=0.0))
        np.testing.assert_allclose(ours.reshape(other.shape), other, rtol=0, atol=bound)


@pytest.mark.parametrize(("size", "dilation"), [(2, 1), (3, 2), (4, 1)])
def test_same_padding(size: int, dilation: int) -> None:
    """As many positions as elements; of an odd number of zeros one more stands at the end."""
    rng = np.random.default_rng(size)
    x, w = rng.standard_normal((2, 3, 17)), rng.standard_normal((5, 3, size))
    px, pw = (sg.placeholder(name, a.shape, dtype="float64") for name, a in (("x", x), ("w", w)))
    y = sg.conv1d(px, pw, padding="same", dilation=dilation)
    got = sg.compile([px, pw], [y, *sg.grad(sg.sum(y * y), [px, pw])])(x, w)
    low = dilation * (size - 1) // 2
    full = np.pad(x, ((0, 0), (0, 0), (low, dilation * (size - 1) - low)))[:, :, None]
    geometry = {"stride": (1, 1), "dilation": (1, dilation), "padding": (0, 0), "groups": 1}
    values = reference(full, w[:, :, None], np.zeros((2, 5, 1, 17)), geometry)[0]
    wanted = reference(full, w[:, :, None], 2 * values, geometry)
    np.testing.assert_allclose(got[0], values[:, :, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(got[1], wanted[1][:, :, 0, low : low + 17], rtol=0, atol=1e-11)
    np.testing.assert_allclose(got[2], wanted[2][:, :, 0], rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("shapes", "options", "said"),
    [
        (((2, 3, 8, 8), (4, 3, 9, 3)), {}, "does not fit"),
        (((2, 3, 8, 8), (4, 2, 3, 3)), {}, "3 channels"),
        (((2, 4, 8, 8), (3, 2, 3, 3)), {"groups": 2}, "do not divide"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"groups": 0}, "groups"),
        (((2, 4, 8), (4, 4, 3)), {}, "expected an input"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"stride": 0}, "must be positive"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"dilation": (1, 0)}, "must be positive"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"padding": -1}, "padding"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"padding": (1, 1, 1)}, "padding"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"padding": "full"}, "padding"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"padding": "same", "stride": 2}, "needs stride 1"),
        (((2, 4, 8, 8), (4, 4, 3, 3)), {"stride": 1.5}, "stride"),
        (((2, 4, 8, 8), (4, 4, 0, 3)), {}, "must be positive"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(shapes: Any, options: Any, said: str) -> None:
    x, w = (sg.placeholder(name, shape) for name, shape in zip("xw", shapes, strict=True))
    with pytest.raises(GraphError, match=said):
        sg.conv2d(x, w, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 3, 40, 100])
def test_many_images_are_summed_in_groups(dtype: str, batch: int) -> None:
    """The kernel's adjoint takes several small images at a time, the last time what is left."""
    rng = np.random.default_rng(batch)
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    x = rng.standard_normal((batch, 3, 4, 4)).astype(dtype)
    w = rng.standard_normal((6, 3, 3, 3)).astype(dtype)
    adjoint = rng.standard_normal((batch, 6, 4, 4)).astype(dtype)
    wanted = reference(x, w, adjoint, geometry)
    for ours, other in zip(compiled(x, w, geometry)(x, w, adjoint), wanted, strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-4 if dtype == "float32" else 1e-11)


def test_named_height() -> None:
    x = sg.placeholder("x", ("batch", 2, "height", 9), dtype="float64")
    w = sg.placeholder("w", (3, 2, 3, 3), dtype="float64")
    y = sg.conv2d(x, w, stride=(2, 1), padding=1)
    function = sg.compile([x, w], [y, *sg.grad((y * y).sum(), [x, w])])
    rng = np.random.default_rng(0)
    geometry = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    kernel = rng.standard_normal((3, 2, 3, 3))
    for height in (1, 2, 7, 30):
        images = rng.standard_normal((2, 2, height, 9))
        shape = (2, 3, positions(height, 3, 2, 1, 1), 9)
        out = reference(images, kernel, np.zeros(shape), geometry)[0]
        wanted = reference(images, kernel, 2 * out, geometry)
        for ours, other in zip(function(images, kernel), wanted, strict=True):
            np.testing.assert_allclose(ours, other, rtol=0, atol=1e-11)


def test_what_is_not_finite_stays_where_it_is() -> None:
    """A row's end is not multiplied by what stands at the next one's beginning."""
    x = np.ones((1, 1, 4, 5))
    x[0, 0, 1, 4] = np.inf
    w = np.ones((1, 1, 1, 3))
    adjoint = np.zeros((1, 1, 4, 5))
    adjoint[0, 0, 2] = 1.0
    geometry = {"stride": (1, 1), "padding": (0, 1), "dilation": (1, 1), "groups": 1}
    y, _, d_w = compiled(x, w, geometry)(x, w, adjoint)
    assert np.isinf(y[0, 0, 1, 3:]).all() and np.isfinite(np.delete(y[0, 0], 1, axis=0)).all()
    # no position of the adjoint but zeros meets it: 0 * inf where the window does, nothing elsewhere
    np.testing.assert_array_equal(np.isnan(d_w[0, 0, 0]), [False, True, True])


def test_zero_padding_times_infinity_is_nan() -> None:
    x, w = np.ones((1, 1, 3, 3)), np.full((1, 1, 3, 3), np.inf)
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    y = compiled(x, w, geometry)(x, w, x)[0]
    assert np.isnan(y[0, 0, 0]).all() and y[0, 0, 1, 1] == np.inf


def test_generated_code_names_the_mathematics() -> None:
    x = sg.placeholder("x", ("batch", 1, 8, 8))
    w = sg.placeholder("w", (4, 1, 3, 3))
    hidden = sg.max_pool2d(sg.relu(sg.conv2d(x, w, padding=1)), 2)
    source = sg.compile([x, w], hidden).source
    assert "conv2d(x, w, padding=1)" in source and "convolve(x, w," in source
    assert "= max_pool2d(" in source and "max_pool(" in source
