"""The heat equation's network by hand: derivatives forward, then back once.

Each layer carries three streams for every sample: the activation a, its derivative a_x, and
q = a_t - a_xx, which obeys a rule of its own: from z = W h + b, with g = 1 - a**2,

    a = tanh(z),   a_x = g z_x,   q = g (z_q + 2 a z_x**2).

The residual u_t - u_xx is the product of the last weight with q, so one product per layer does all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath import plus, tanh

from ..workload import Workload
from .memory import aligned
from .networks import adam

by_hand = njit(error_model="numpy", fastmath={"contract"})
ONE, TWO, FOUR = np.float32(1), np.float32(2), np.float32(4)


@by_hand
def forward(bias, z, h):
    """From z, z_x and z_q (the last two stay in z) to a, a_x and q."""
    _, rows, width = z.shape
    for i in range(rows):
        for j in range(width):
            a = tanh(z[0, i, j] + bias[j])
            g = ONE - a * a
            h[0, i, j] = a
            h[1, i, j] = g * z[1, i, j]
            h[2, i, j] = g * (z[2, i, j] + TWO * a * z[1, i, j] * z[1, i, j])


@by_hand
def backward(h, z, adjoint, d_bias):
    """The adjoint of a, a_x and q becomes that of z, z_x and z_q, in place."""
    _, rows, width = z.shape
    for j in range(width):
        d_bias[j] = np.float32(0)
    for i in range(rows):
        for j in range(width):
            a, z_x, q = h[0, i, j], z[1, i, j], adjoint[2, i, j]
            g = ONE - a * a
            square = TWO * z_x * z_x
            d_g = adjoint[1, i, j] * z_x + q * (z[2, i, j] + a * square)
            d_z = g * (adjoint[0, i, j] + q * g * square - TWO * a * d_g)
            adjoint[0, i, j] = d_z
            adjoint[1, i, j] = g * (adjoint[1, i, j] + FOUR * a * q * z_x)
            adjoint[2, i, j] = g * q
            d_bias[j] += d_z


@by_hand
def gradients(w1, b1, w2, b2, w3, b3, w4, x, t, z, h, adjoint, below,
              d_w1, d_b1, d_w2, d_b2, d_w3, d_b3, d_w4):  # fmt: skip
    rows, width = x.shape[0], b1.size
    for i in range(rows):
        for j in range(width):
            z[0, 0, i, j] = x[i, 0] * w1[0, j] + t[i, 0] * w1[1, j]
            z[0, 1, i, j] = w1[0, j]
            z[0, 2, i, j] = w1[1, j]
    forward(b1, z[0], h[0])
    flat_z, flat_h = z.reshape(3, 3 * rows, width), h.reshape(3, 3 * rows, width)
    matmul_nt(flat_h[0], w2, flat_z[1])
    forward(b2, z[1], h[1])
    matmul_nt(flat_h[1], w3, flat_z[2])
    forward(b3, z[2], h[2])
    loss = np.float32(0)
    scale = TWO / np.float32(rows)
    for j in range(width):
        d_w4[0, j] = np.float32(0)
    for i in range(rows):
        residual = np.float32(0)
        for j in range(width):
            residual = plus(residual, w4[0, j] * h[2, 2, i, j])
        loss += residual * residual
        residual *= scale
        for j in range(width):
            d_w4[0, j] += residual * h[2, 2, i, j]
            adjoint[0, i, j] = np.float32(0)
            adjoint[1, i, j] = np.float32(0)
            adjoint[2, i, j] = residual * w4[0, j]
    flat_adjoint, flat_below = adjoint.reshape(3 * rows, width), below.reshape(3 * rows, width)
    backward(h[2], z[2], adjoint, d_b3)
    matmul_tn(flat_adjoint, flat_h[1], d_w3)
    matmul(flat_adjoint, w3, flat_below)
    backward(h[1], z[1], below, d_b2)
    matmul_tn(flat_below, flat_h[0], d_w2)
    matmul(flat_below, w2, flat_adjoint)
    backward(h[0], z[0], adjoint, d_b1)
    for j in range(width):
        d_w1[0, j] = np.float32(0)
        d_w1[1, j] = np.float32(0)
    for i in range(rows):
        for j in range(width):
            d_w1[0, j] += adjoint[0, i, j] * x[i, 0] + adjoint[1, i, j]
            d_w1[1, j] += adjoint[0, i, j] * t[i, 0] + adjoint[2, i, j]
    return loss / np.float32(rows)


@by_hand
def step(parameters, data, buffers, slopes, all_parameters, all_slopes, m, v, rate, time):
    loss = gradients(*parameters, *data, *buffers, *slopes)
    corrected = np.float32(rate / (1.0 - 0.9**time))
    correction = np.float32(1.0 / np.sqrt(1.0 - 0.999**time))
    adam(all_parameters, all_slopes, m, v, corrected, correction, ONE)
    return loss


def views(vector: np.ndarray, shapes: list[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
    """Arrays of these shapes, one behind the other in a vector."""
    found, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        found.append(vector[start : start + size].reshape(shape))
        start += size
    return tuple(found)


def heat(workload: Workload) -> tuple[str, Callable[[], Any]]:
    x, t = workload.inputs.values()
    given = [v.copy() for v in workload.parameters.values()]
    given[0] = np.ascontiguousarray(given[0].T)
    shapes = [v.shape for v in given]
    whole = aligned(np.concatenate([v.ravel() for v in given]))
    slopes = aligned(np.zeros_like(whole))
    rows, width = len(x), given[1].size
    buffers = (*(aligned(np.zeros((3, 3, rows, width), "float32")) for _ in range(2)),
               *(aligned(np.zeros((3, rows, width), "float32")) for _ in range(2)))  # fmt: skip
    moments = (aligned(np.zeros_like(whole)) for _ in range(2))
    arguments = [views(whole, shapes), (x, t), buffers, views(slopes, shapes), whole, slopes,
                 *moments, workload.rate]  # fmt: skip
    time = 0

    def train() -> float:
        nonlocal time
        time += 1
        return float(step(*arguments, time))

    return "a step by hand, u_t - u_xx carried forward as one stream", train
