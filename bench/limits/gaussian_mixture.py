"""The Gaussian mixture by hand: samples in blocks that stay in the cache, two matrix products for each,
and one pass between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from staticgrad.kernels.gemm import matmul, matmul_nt
from staticgrad.vectormath import exp, log, maximum, plus

from ..workload import Workload
from .memory import aligned

#: samples per block at most: z of all components, 250 x 125 numbers, stays in the second-level cache
BLOCK = 125


@njit(error_model="numpy", fastmath={"contract"})
def normalise(offsets, shift, z, inner, total, largest, d_alpha, d_shift):
    """Of z (component, axis, sample) make its adjoint, in place. Returns the sum of logarithms."""
    count, d, size = z.shape
    for b in range(size):
        largest[b] = -np.inf
        total[b] = 0.0
    for k in range(count):
        for b in range(size):
            inner[k, b] = 0.0
        for i in range(d):
            moved = shift[k, i]
            for b in range(size):
                z[k, i, b] -= moved
                inner[k, b] += z[k, i, b] * z[k, i, b]
        for b in range(size):
            inner[k, b] = offsets[k] - 0.5 * inner[k, b]
            largest[b] = maximum(largest[b], inner[k, b])
    for k in range(count):
        for b in range(size):
            inner[k, b] = exp(inner[k, b] - largest[b])
            total[b] += inner[k, b]
    value = 0.0
    for b in range(size):
        value = plus(value, log(total[b]) + largest[b])
        total[b] = 1.0 / total[b]
    for k in range(count):
        weight = 0.0
        for b in range(size):
            inner[k, b] *= total[b]
            weight = plus(weight, inner[k, b])
        d_alpha[k] += weight
        for i in range(d):
            moved = 0.0
            for b in range(size):
                z[k, i, b] *= inner[k, b]
                moved = plus(moved, z[k, i, b])
            d_shift[k, i] += moved
    return value


@njit(error_model="numpy", fastmath={"contract"})
def mixture_loop(alpha, mu, q, lower, x, buffers, d_alpha, d_mu, d_q, d_lower):
    Q, d_Q, part, shift, d_shift, offsets, z, inner, total, largest = buffers
    count, d = mu.shape
    samples = x.shape[0] * x.shape[2]
    flat_Q, flat_z = Q.reshape(-1, d), z.reshape(count * d, -1)
    for k in range(count):
        d_alpha[k] = 0.0
        offsets[k] = alpha[k]
        for i in range(d):
            offsets[k] += q[k, i]
            for j in range(i):
                Q[k, i, j] = lower[k, i, j]
            Q[k, i, i] = exp(q[k, i])
            shift[k, i] = 0.0
            for j in range(i + 1):
                shift[k, i] += Q[k, i, j] * mu[k, j]
            d_shift[k, i] = 0.0
            d_mu[k, i] = 0.0
    d_Q[:] = 0.0
    value = 0.0
    for block in range(x.shape[0]):
        matmul(flat_Q, x[block], flat_z)
        value += normalise(offsets, shift, z, inner, total, largest, d_alpha, d_shift)
        matmul_nt(flat_z, x[block], part)
        d_Q += part
    top = -np.inf
    for k in range(count):
        top = maximum(top, alpha[k])
    weights = 0.0
    for k in range(count):
        weights += exp(alpha[k] - top)
    for k in range(count):
        weight = d_alpha[k]
        d_alpha[k] -= samples * exp(alpha[k] - top) / weights
        for i in range(d):
            moved = d_shift[k, i]
            for j in range(d):
                d_lower[k, i, j] = moved * mu[k, j] - d_Q[k * d + i, j] if j <= i else 0.0
            for j in range(i + 1):
                d_mu[k, j] += Q[k, i, j] * moved
            d_q[k, i] = d_lower[k, i, i] * Q[k, i, i] + weight
            d_lower[k, i, i] = 0.0
    return value - samples * (top + log(weights))


def mixture(workload: Workload) -> tuple[str, Callable[[], Any]]:
    given = list(workload.parameters.values())
    count, d = given[1].shape
    samples = workload.constants["x"]
    size = max(n for n in range(1, BLOCK + 1) if len(samples) % n == 0)
    x = aligned(samples.reshape(-1, size, d).transpose(0, 2, 1))
    shapes = [(count, d, d), (count * d, d), (count * d, d), (count, d), (count, d), (count,),
              (count, d, size), (count, size), (size,), (size,)]  # fmt: skip
    buffers = tuple(aligned(np.zeros(shape)) for shape in shapes)
    gradients = [np.empty_like(array) for array in given]

    def density() -> list[Any]:
        return [mixture_loop(*given, x, buffers, *gradients), *gradients]

    return "matrix products and one pass by hand, over blocks of samples", density
