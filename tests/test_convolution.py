"""Convolutions and pooling against sums in float64, over geometries, dtypes and batches of any size."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import staticgrad as sg
from staticgrad import eager

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


@settings(max_examples=25, deadline=None)
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


# ---- max pooling ------------------------------------------------------------------------------------


def pooled(x: np.ndarray, adjoint: np.ndarray, sizes: Any, geometry: dict[str, Any]) -> Any:
    """The maxima, and the adjoint at the first of them; NaN counts as largest."""
    y, d_x = np.full(adjoint.shape, -np.inf), np.zeros(x.shape)
    for index in np.ndindex(*adjoint.shape):
        best = None
        for place in np.ndindex(*sizes):
            spot = tuple(
                o * s + k * d - p
                for o, k, s, d, p in zip(index[2:], place, geometry["stride"],
                                         geometry["dilation"], geometry["padding"], strict=True)
            )  # fmt: skip
            if any(not 0 <= i < n for i, n in zip(spot, x.shape[2:], strict=True)):
                continue
            here = (*index[:2], *spot)
            if best is None or x[here] > x[best] or (np.isnan(x[here]) and not np.isnan(x[best])):
                best = here
        if best is not None:
            y[index] = x[best]
            d_x[best] += adjoint[index]
    return y, d_x


@st.composite
def poolings(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, int], dict[str, Any]]:
    # windows two wide, side by side, have vectors of their own
    wide = draw(st.sampled_from([True, False]))
    sizes = (draw(st.integers(1, 4)), 2 if wide else draw(st.integers(1, 4)))
    geometry = {
        "stride": (draw(st.integers(1, 3)), 2 if wide else draw(st.integers(1, 3))),
        "dilation": (draw(st.integers(1, 2)), 1 if wide else draw(st.integers(1, 2))),
        "padding": (draw(st.integers(0, sizes[0] // 2)),
                    0 if wide else draw(st.integers(0, sizes[1] // 2))),
    }  # fmt: skip
    size = tuple(
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), most))
        for k, d, p, most in zip(sizes, geometry["dilation"], geometry["padding"], (8, 70),
                                 strict=True)
    )  # fmt: skip
    return draw(st.sampled_from(DTYPES)), (draw(st.integers(0, 2)), 2, *size), sizes, geometry


@settings(max_examples=25, deadline=None)
@given(poolings(), st.integers(0, 2**32 - 1))
def test_max_pooling(case: Any, seed: int) -> None:
    dtype, shape, sizes, geometry = case
    rng = np.random.default_rng(seed)
    # few values, so that there are ties
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.05] = np.nan
    x[rng.random(shape) < 0.05] = -np.inf
    px = sg.placeholder("x", ("batch", *shape[1:]), dtype=dtype)
    y = sg.max_pool2d(px, sizes, **geometry)
    adjoint = sg.placeholder("adjoint", y.shape, dtype=dtype)
    (d_x,) = sg.grad((y * adjoint).sum(), [px])
    direction = sg.placeholder("direction", px.shape, dtype=dtype)
    (taken,) = sg.grad((d_x * direction).sum(), [adjoint])
    out = tuple(
        positions(*numbers)
        for numbers in zip(shape[2:], sizes, geometry["stride"], geometry["padding"],
                           geometry["dilation"], strict=True)
    )  # fmt: skip
    values = rng.standard_normal((shape[0], 2, *out)).astype(dtype)
    toward = rng.standard_normal(shape).astype(dtype)
    function = sg.compile([px, adjoint, direction], [y, d_x, taken])
    got = function(x, values, toward)
    maxima, d_wanted = pooled(x, values, sizes, geometry)
    np.testing.assert_array_equal(got[0], maxima)
    bound = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got[1], d_wanted, rtol=0, atol=bound)
    # what is taken is linear, and the adjoint of what is spread
    inner = (got[2] * values).sum(dtype=np.float64)
    assert inner == pytest.approx((d_wanted * toward).sum(), abs=1e-3 if dtype == "float32" else 1e-9)
    tensor = eager.tensor(x, requires_grad=True)
    pool = sg.max_pool2d(tensor, sizes, **geometry)
    np.testing.assert_array_equal(pool.detach().numpy(), maxima)
    (pool * values).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), d_wanted, rtol=0, atol=bound)


def test_generated_code_names_the_mathematics() -> None:
    x = sg.placeholder("x", ("batch", 1, 8, 8))
    w = sg.placeholder("w", (4, 1, 3, 3))
    hidden = sg.max_pool2d(sg.relu(sg.conv2d(x, w, padding=1)), 2)
    source = sg.compile([x, w], hidden).source
    assert "conv2d(x, w, padding=1)" in source and "convolve(x, w," in source
    assert "= max_pool2d(" in source and "max_pool(" in source
