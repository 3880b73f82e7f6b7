"""Pooling against loops over windows, over geometries, dtypes and batches of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_convolution import DTYPES, positions, reference

import staticgrad as sg
from staticgrad import eager
from staticgrad.graph.node import GraphError


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


@settings(max_examples=10, deadline=None)
@given(poolings(), st.integers(0, 2**32 - 1))
def test_max_pooling(case: Any, seed: int) -> None:
    dtype, shape, sizes, geometry = case
    rng = np.random.default_rng(seed)
    # few values, so that there are ties
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.05] = np.nan
    x[rng.random(shape) < 0.05] = -np.inf
    x[rng.random(shape) < 0.02] = np.inf
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_two_by_two_of_small_images(dtype: str) -> None:
    """Several rows share a vector; the last one is filled in part."""
    for size in [(4, 4), (6, 8), (2, 16), (4, 32), (5, 8), (4, 12)]:
        x = sg.placeholder("x", ("batch", 3, *size), dtype=dtype)
        y = sg.max_pool2d(x, 2)
        adjoint = sg.placeholder("adjoint", y.shape, dtype=dtype)
        function = sg.compile([x, adjoint], [y, *sg.grad((y * adjoint).sum(), [x])])
        for batch in (0, 1, 2, 7):
            rng = np.random.default_rng(batch)
            values = rng.integers(-2, 3, (batch, 3, *size)).astype(dtype)
            values[rng.random(values.shape) < 0.1] = np.nan
            values[rng.random(values.shape) < 0.2] = -np.inf
            shares = rng.standard_normal((batch, 3, size[0] // 2, size[1] // 2)).astype(dtype)
            geometry = {"stride": (2, 2), "dilation": (1, 1), "padding": (0, 0)}
            expected = pooled(values, shares, (2, 2), geometry)
            for got, exact in zip(function(values, shares), expected, strict=True):
                np.testing.assert_array_equal(got, exact.astype(dtype))


@pytest.mark.parametrize(
    ("size", "stride", "padding", "counted", "dtype"),
    [
        (2, 2, 0, True, "float32"),
        ((3, 2), (1, 2), (1, 0), True, "float64"),
        (3, 2, 1, False, "float32"),
        ((2, 5), (3, 4), (0, 2), False, "float64"),
        (1, 3, 0, True, "float64"),
    ],
)
def test_average_pooling(size: Any, stride: Any, padding: Any, counted: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 11, 19)).astype(dtype)
    x[1, 2, 4, 4] = np.inf
    px = sg.placeholder("x", ("batch", *x.shape[1:]), dtype=dtype)
    y = sg.avg_pool2d(px, size, stride, padding, count_include_pad=counted)
    adjoint = sg.placeholder("adjoint", y.shape, dtype=dtype)
    function = sg.compile([px, adjoint], [y, *sg.grad((y * adjoint).sum(), [px])])
    pair = [item if isinstance(item, tuple) else (item, item) for item in (size, stride, padding)]
    sizes, strides, pads = pair
    geometry = {"stride": strides, "padding": pads, "dilation": (1, 1), "groups": 6}
    out = tuple(positions(*item, 1) for item in zip(x.shape[2:], sizes, strides, pads, strict=True))
    toward = rng.standard_normal((2, 3, *out)).astype(dtype)
    got = function(x, toward)
    kernel, geometry["groups"] = np.ones((3, 1, *sizes)), 3
    counts = reference(np.ones_like(x), kernel, toward, geometry)[0]
    counts = np.full_like(counts, sizes[0] * sizes[1]) if counted else counts
    sums = reference(x, kernel, toward / counts, geometry)
    bound = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(got[0], sums[0] / counts, rtol=bound, atol=bound)
    np.testing.assert_allclose(got[1], sums[1], rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel_size": 9}, "does not fit"),
        ({"kernel_size": 2, "padding": 2}, "at most half"),
        ({"kernel_size": 2, "stride": 0}, "must be positive"),
        ({"kernel_size": 0}, "must be positive"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size"),
        ({"kernel_size": 2, "padding": -1}, "padding"),
    ],
)
@pytest.mark.parametrize("pool", [sg.max_pool2d, sg.avg_pool2d])
def test_windows_that_do_not_fit_are_said(pool: Any, options: Any, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        pool(sg.placeholder("x", (2, 3, 8, 8)), **options)


def test_a_divisor_of_zero_is_said() -> None:
    with pytest.raises(GraphError, match="must not be zero"):
        sg.avg_pool2d(sg.placeholder("x", (2, 3, 8, 8)), 2, divisor_override=0)
