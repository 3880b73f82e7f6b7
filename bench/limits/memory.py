"""Memory: arrays at cache lines, and bandwidth by the triad of STREAM (McCalpin, 1995)."""

from __future__ import annotations

import time

import numpy as np
from numba import njit

SIZE = 16_000_000
#: of a cache line, and of the longest vectors
ALIGNMENT = 64


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins with a cache line: where NumPy puts an array differs from run to run, and
    vectors that lie across two lines take a fifth longer."""
    raw = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@njit(fastmath=True)
def triad(a, b, c, factor):
    for i in range(a.size):
        a[i] = b[i] + factor * c[i]


def bandwidth() -> float:
    """Bytes per second, counting two reads and one write as STREAM does: the best of ten."""
    a, b, c = np.zeros(SIZE), np.ones(SIZE), np.ones(SIZE)
    triad(a, b, c, 3.0)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        triad(a, b, c, 3.0)
        best = min(best, time.perf_counter() - start)
    return 3 * a.nbytes / best
