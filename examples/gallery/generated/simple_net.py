"""simple_net: computes loss and updates parameters in place (models.py:42).
Workspace: 1472 bytes. FLOPs: 9506. Traffic: 7696 bytes.

    x           float32  (10, 20)  input
    y           float32  (10, 1)   input
    fc1_weight  float32  (10, 20)  parameter, updated
    fc1_bias    float32  (10,)     parameter, updated
    fc2_weight  float32  (1, 10)   parameter, updated
    fc2_bias    float32  (1,)      parameter, updated
    lr          float64  ()        parameter
    loss        float32  ()        output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul_nt, matmul_tn
from staticgrad.vectormath.combining import maximum, plus, where


@njit(error_model="numpy")
def update(parameter, gradient, lr):
    # parameter = parameter - lr * gradient  [models.py:174]
    for i in range(parameter.size):
        parameter[i] = parameter[i] - lr * gradient[i]


@njit(error_model="numpy")
def simple_net(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (10, 20) or y.shape != (10, 1):
        return 1  # the caller says what does not fit
    fc1_weight = array_at(addresses[0], (10, 20), f32)
    fc1_bias = array_at(addresses[1], (10,), f32)
    fc2_weight = array_at(addresses[2], (1, 10), f32)
    fc2_bias = array_at(addresses[3], (1,), f32)
    lr = f32(array_at(addresses[4], (), f64)[()])
    loss = array_at(addresses[5], (), f32)
    x_fc1_weight = view(addresses[6], 0, (10, 10), f32)
    d_fc1_weight = reuse(x_fc1_weight, (10, 20), f32)
    d_fc1_bias = view(addresses[6], 832, (10,), f32)
    d_fc2_weight = view(addresses[6], 896, (10,), f32)
    hidden = view(addresses[6], 960, (10,), f32)
    d_fc1 = view(addresses[6], 1024, (10, 10), f32)

    # ---- forward -----------------------------------------------------------------------------
    matmul_nt(x, fc1_weight, x_fc1_weight)  # x @ fc1_weight.T  [models.py:33]

    # ---- forward and backward ----------------------------------------------------------------
    # fc1 = x_fc1_weight + fc1_bias  [models.py:33]
    # hidden = maximum(fc1, 0)  [models.py:33]
    # fc2 = sum(hidden * fc2_weight, axis=1) + fc2_bias  [models.py:34]
    # fc2_minus_y = fc2 - y  [models.py:42]
    # d_fc2 = 0.2 * fc2_minus_y  [adjoint of fc2, models.py:42]
    # d_fc2_bias = sum(d_fc2, axis=0)  [adjoint of fc2_bias, models.py:34]
    # sum_square_fc2_minus_y = sum(fc2_minus_y**2)  [models.py:42]
    # d_fc2_weight = sum(hidden * d_fc2, axis=0)  [adjoint of fc2_weight, models.py:34]
    # d_fc1 = where(hidden > 0, d_fc2 * fc2_weight, 0)  [adjoint of fc1, models.py:33]
    # d_fc1_bias = sum(d_fc1, axis=0)  [adjoint of fc1_bias, models.py:33]
    sum_square_fc2_minus_y = d_fc2_bias = f32(0.0)
    for i in range(short(10)):
        d_fc1_bias[i] = d_fc2_weight[i] = f32(0.0)
    for i in range(10):
        total = f32(0.0)
        for j in range(short(10)):
            fc1 = x_fc1_weight[i, j] + fc1_bias[j]
            hidden[j] = maximum(fc1, f32(0.0))
            total = plus(total, hidden[j] * fc2_weight[0, j])
        fc2 = total + fc2_bias[0]
        fc2_minus_y = fc2 - y[i, 0]
        d_fc2 = f32(0.2) * fc2_minus_y
        d_fc2_bias = plus(d_fc2_bias, d_fc2)
        sum_square_fc2_minus_y = plus(sum_square_fc2_minus_y, fc2_minus_y * fc2_minus_y)
        for j in range(short(10)):
            d_fc2_weight[j] += hidden[j] * d_fc2
            d_fc1[i, j] = where(hidden[j] > f32(0.0), d_fc2 * fc2_weight[0, j], f32(0.0))
            d_fc1_bias[j] += d_fc1[i, j]
    loss[()] = sum_square_fc2_minus_y / f32(10.0)  # [models.py:42]

    # ---- backward ----------------------------------------------------------------------------
    matmul_tn(d_fc1, x, d_fc1_weight)  # d_fc1.T @ x  [adjoint of fc1_weight, models.py:33]

    # ---- update ------------------------------------------------------------------------------
    update(flat(fc1_weight), flat(d_fc1_weight), lr)
    update(fc1_bias, d_fc1_bias, lr)
    update(flat(fc2_weight), d_fc2_weight, lr)
    fc2_bias[0] = fc2_bias[0] - lr * d_fc2_bias  # [models.py:174]
    return 0
