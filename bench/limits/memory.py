"""Memory bandwidth, by the triad of STREAM (McCalpin, 1995)."""

from __future__ import annotations

import time

import numpy as np
from numba import njit

SIZE = 16_000_000


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
