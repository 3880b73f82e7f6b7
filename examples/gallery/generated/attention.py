"""attention: computes loss, d_q, d_k, d_v (models.py:108, models.py:106, models.py:107).
Workspace: 3584 bytes. FLOPs: 33409. Traffic: 18500 bytes.

    q     float32  (16, 8)  input
    k     float32  (16, 8)  input
    v     float32  (16, 8)  input
    loss  float32  ()       output
    d_q   float32  (16, 8)  output
    d_k   float32  (16, 8)  output
    d_v   float32  (16, 8)  output
"""

from math import inf

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, reuse, short, view
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import maximum, plus
from staticgrad.vectormath.exponential import exp


@njit(error_model="numpy")
def attention(q, k, v, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if q.shape != (16, 8) or k.shape != (16, 8) or v.shape != (16, 8):
        return 1  # the caller says what does not fit
    loss = array_at(addresses[0], (), f32)
    d_q = array_at(addresses[1], (16, 8), f32)
    d_k = array_at(addresses[2], (16, 8), f32)
    d_v = array_at(addresses[3], (16, 8), f32)
    q_k = view(addresses[4], 0, (16, 16), f32)
    d_weights = reuse(q_k, (16, 16), f32)
    exponential = view(addresses[4], 1024, (16,), f32)
    d_attended = reuse(exponential, (16, 8), f32)
    weights = view(addresses[4], 1536, (16, 16), f32)
    attended = view(addresses[4], 2560, (16, 8), f32)
    d_q_k = reuse(attended, (16, 16), f32)

    # ---- forward -----------------------------------------------------------------------------
    matmul_nt(q, k, q_k)  # q @ k.T  [models.py:106]

    # scaled_q_k = q_k / (2 * sqrt(2))  [models.py:106]
    # exponential = exp(scaled_q_k - max(scaled_q_k, axis=1))  [models.py:106]
    # weights = exponential / sum(exponential, axis=1)  [models.py:106]
    for i in range(16):
        max_scaled_q_k = f32(-inf)
        for j in range(short(16)):
            scaled_q_k = q_k[i, j] / f32(2.828427)
            max_scaled_q_k = maximum(max_scaled_q_k, scaled_q_k)
        sum_exponential = f32(0.0)
        for j in range(16):
            scaled_q_k = q_k[i, j] / f32(2.828427)
            exponential[j] = exp(scaled_q_k - max_scaled_q_k)
            sum_exponential = plus(sum_exponential, exponential[j])
        for j in range(short(16)):
            weights[i, j] = exponential[j] / sum_exponential

    matmul(weights, v, attended)  # weights @ v  [models.py:107]

    # ---- forward and backward ----------------------------------------------------------------
    # d_attended = attended / 64  [adjoint of attended, models.py:108]
    # sum_square_attended = sum(attended**2)  [models.py:108]
    sum_square_attended = f32(0.0)
    for i in range(16):
        for j in range(short(8)):
            d_attended[i, j] = f32(0.015625) * attended[i, j]
            sum_square_attended = plus(sum_square_attended, attended[i, j] * attended[i, j])
    loss[()] = sum_square_attended * f32(0.0078125)  # [models.py:108]

    # ---- backward ----------------------------------------------------------------------------
    matmul_nt(d_attended, v, d_weights)  # d_attended @ v.T  [adjoint of weights, models.py:107]

    # d_q_k = weights * (d_weights - sum(d_weights * weights, axis=1)) / (2 * sqrt(2))
    #     [adjoint of q_k, models.py:106]
    for i in range(16):
        total = f32(0.0)
        for j in range(short(16)):
            total = plus(total, d_weights[i, j] * weights[i, j])
        for j in range(short(16)):
            d_q_k[i, j] = weights[i, j] * (d_weights[i, j] - total) / f32(2.828427)

    matmul(d_q_k, k, d_q)  # d_q_k @ k  [adjoint of q, models.py:106]
    matmul_tn(d_q_k, q, d_k)  # d_q_k.T @ q  [adjoint of k, models.py:106]
    matmul_tn(weights, d_attended, d_v)  # weights.T @ d_attended  [adjoint of v, models.py:107]
    return 0
