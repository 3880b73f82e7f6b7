"""step: computes loss and updates parameters in place (golden_models.py:18).
Workspace: 2688 + (40 * batch + 63) // 64 * 64 + (40 * batch + 63) // 64 * 64 bytes. FLOPs: 2793 *
batch + 1310. Traffic: 688 * batch + 13084 bytes.

    x     float32  (batch, 64)  input
    y     int64    (batch,)     input
    W     float32  (64, 10)     parameter, updated
    b     float32  (10,)        parameter, updated
    loss  float32  ()           output
"""

from math import inf

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul, matmul_tn
from staticgrad.vectormath.combining import maximum, plus
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.logarithm import log


@njit(error_model="numpy")
def update(parameter, gradient):
    # parameter = parameter - 0.1 * gradient  [golden_models.py:20]
    for i in range(parameter.size):
        parameter[i] = parameter[i] - f32(0.1) * gradient[i]


@njit(error_model="numpy")
def step(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    batch = x.shape[0]
    workspace_size = addresses[4]
    if (
        x.shape != (batch, 64)
        or y.shape != (batch,)
        or workspace_size < 2688 + (40 * batch + 63) // 64 * 64 + (40 * batch + 63) // 64 * 64
    ):
        return 1  # the caller says what does not fit
    W = array_at(addresses[0], (64, 10), f32)
    b = array_at(addresses[1], (10,), f32)
    loss = array_at(addresses[2], (), f32)
    d_b = view(addresses[3], 0, (10,), f32)
    x_W_plus_b = view(addresses[3], 64, (10,), f32)
    d_W = reuse(x_W_plus_b, (64, 10), f32)
    exponential = view(addresses[3], 2624, (10,), f32)
    end = 2688
    x_W = view(addresses[3], end, (batch, 10), f32)
    end += (40 * batch + 63) // 64 * 64
    d_x_W_plus_b = view(addresses[3], end, (batch, 10), f32)

    # ---- indices in range --------------------------------------------------------------------
    for i in range(batch):
        if not 0 <= y[i] < 10:
            return 2

    # ---- forward -----------------------------------------------------------------------------
    one_over_batch = f32(1.0) / f32(batch)  # [for the adjoint of loss, golden_models.py:18]

    matmul(x, W, x_W)  # x @ W  [golden_models.py:18]

    # ---- forward and backward ----------------------------------------------------------------
    # x_W_plus_b = x_W + b  [golden_models.py:18]
    # max_x_W_plus_b = max(x_W_plus_b, axis=1)  [golden_models.py:18]
    # exponential = exp(x_W_plus_b - max_x_W_plus_b)  [golden_models.py:18]
    # sum_exponential = sum(exponential, axis=1)  [golden_models.py:18]
    # total = sum(log(sum_exponential) + max_x_W_plus_b - x_W_plus_b[arange(batch), y])
    #     [golden_models.py:18]
    # d_x_W_plus_b = one_over_batch * (exponential / sum_exponential - float32(y == arange(10)))
    #     [adjoint of x_W_plus_b, golden_models.py:18]
    # d_b = sum(d_x_W_plus_b, axis=0)  [adjoint of b, golden_models.py:18]
    total = f32(0.0)
    for i in range(short(10)):
        d_b[i] = f32(0.0)
    for i in range(batch):
        max_x_W_plus_b = f32(-inf)
        for j in range(short(10)):
            x_W_plus_b[j] = x_W[i, j] + b[j]
            max_x_W_plus_b = maximum(max_x_W_plus_b, x_W_plus_b[j])
        sum_exponential = f32(0.0)
        for j in range(short(10)):
            exponential[j] = exp(x_W_plus_b[j] - max_x_W_plus_b)
            sum_exponential = plus(sum_exponential, exponential[j])
        total = plus(total, log(sum_exponential) + max_x_W_plus_b - x_W_plus_b[y[i]])
        for j in range(short(10)):
            d_x_W_plus_b[i, j] = (
                exponential[j] / sum_exponential - f32(y[i] == j)
            ) * one_over_batch
            d_b[j] += d_x_W_plus_b[i, j]
    loss[()] = total / f32(batch)  # [golden_models.py:18]

    # ---- backward ----------------------------------------------------------------------------
    matmul_tn(x, d_x_W_plus_b, d_W)  # x.T @ d_x_W_plus_b  [adjoint of W, golden_models.py:18]

    # ---- update ------------------------------------------------------------------------------
    update(flat(W), flat(d_W))
    update(b, d_b)
    return 0
