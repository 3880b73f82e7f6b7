"""The matrix product kernels against NumPy in float64, over shapes around every block's edge."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from staticgrad.kernels import gemm

EDGES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 64, 65]
DEPTHS = [*EDGES, gemm.DEPTH - 1, gemm.DEPTH, gemm.DEPTH + 1, 2 * gemm.DEPTH + 5]


@cache
def compiled(name: str) -> Any:
    routine = getattr(gemm, name)

    @njit
    def call(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        routine(a, b, out)

    return call


def check(name: str, dtype: str, rows: int, depth: int, columns: int) -> None:
    rng = np.random.default_rng(rows + 100 * depth + columns)
    a = rng.standard_normal((rows, depth)).astype(dtype)
    b = rng.standard_normal((depth, columns)).astype(dtype)
    left, right = name.removeprefix("matmul").removeprefix("_") or "nn"
    # guards around the result must stay as they are
    memory = np.full(rows * columns + 64, 7.0, dtype)
    out = memory[32 : 32 + rows * columns].reshape(rows, columns)
    compiled(name)(
        np.ascontiguousarray(a.T) if left == "t" else a,
        np.ascontiguousarray(b.T) if right == "t" else b,
        out,
    )
    exact = a.astype("float64") @ b.astype("float64")
    scale = np.abs(a).astype("float64") @ np.abs(b).astype("float64")
    assert np.all(np.abs(out - exact) <= np.finfo(dtype).eps * (depth + 1) * scale)
    assert np.all(memory[:32] == 7) and np.all(memory[32 + rows * columns :] == 7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["matmul", "matmul_tn", "matmul_nt", "matmul_tt"])
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EDGES), st.sampled_from(DEPTHS), st.sampled_from(EDGES))
def test_products(name: str, dtype: str, rows: int, depth: int, columns: int) -> None:
    check(name, dtype, rows, depth, columns)


@pytest.mark.parametrize("name", ["matmul", "matmul_tn", "matmul_nt", "matmul_tt"])
def test_rows_beyond_a_band(name: str) -> None:
    check(name, "float32", gemm.BAND + 3, gemm.DEPTH + 7, 150)


def test_nan_and_inf_go_through() -> None:
    a, b = np.ones((9, 5), "float32"), np.ones((5, 20), "float32")
    a[3, 2], b[1, 4] = np.nan, np.inf
    out = np.empty((9, 20), "float32")
    compiled("matmul")(a, b, out)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out, a @ b)


def test_a_row_does_not_depend_on_the_others() -> None:
    """Threads may share out rows as they like: the bits stay."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype("float32") for s in ((300, 500), (500, 70)))
    whole, part = np.empty((300, 70), "float32"), np.empty((7, 70), "float32")
    compiled("matmul")(a, b, whole)
    for start in (0, 17, 293):
        compiled("matmul")(a[start : start + 7], b, part)
        np.testing.assert_array_equal(part, whole[start : start + 7])
