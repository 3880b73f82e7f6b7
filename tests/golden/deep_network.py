"""train_step: computes loss and updates parameters in place (golden_models.py:35).
Workspace: 47616 bytes. FLOPs: 452865. Traffic: 222724 bytes.

    x                float32  (32, 16)  input
    y                float32  (32, 16)  input
    linear0_weight   float32  (16, 16)  parameter, updated
    linear2_weight   float32  (16, 16)  parameter, updated
    linear4_weight   float32  (16, 16)  parameter, updated
    linear6_weight   float32  (16, 16)  parameter, updated
    linear8_weight   float32  (16, 16)  parameter, updated
    linear10_weight  float32  (16, 16)  parameter, updated
    linear12_weight  float32  (16, 16)  parameter, updated
    linear14_weight  float32  (16, 16)  parameter, updated
    linear0_bias     float32  (16,)     parameter, updated
    linear2_bias     float32  (16,)     parameter, updated
    linear4_bias     float32  (16,)     parameter, updated
    linear6_bias     float32  (16,)     parameter, updated
    linear8_bias     float32  (16,)     parameter, updated
    linear10_bias    float32  (16,)     parameter, updated
    linear12_bias    float32  (16,)     parameter, updated
    linear14_bias    float32  (16,)     parameter, updated
    lr               float64  ()        parameter
    loss             float32  ()        output
"""

from numba import njit

from staticgrad.kernels.arrays import (
    array_at,
    f32,
    f64,
    flat,
    layer_at,
    part,
    reuse,
    short,
    view,
)
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import tanh


@njit(error_model="numpy")
def forward_add(weight, bias, tanh1):
    # linear0 = weight + bias  [golden_models.py:35]
    # tanh1 = tanh(linear0)  [golden_models.py:35]
    for i in range(32):
        for j in range(16):
            linear0 = weight[i, j] + bias[j]
            tanh1[i, j] = tanh(linear0)


@njit(error_model="numpy")
def backward_multiply(d_bias, gradient, tanh13, gradient_2):
    # gradient_2 = gradient * (1 - tanh13**2)  [adjoint of linear12, golden_models.py:35]
    # d_bias = sum(gradient_2, axis=0)  [adjoint of bias, golden_models.py:35]
    for i in range(short(16)):
        d_bias[i] = f32(0.0)
    for i in range(32):
        for j in range(short(16)):
            gradient_2[i, j] = gradient[i, j] * (f32(1.0) - tanh13[i, j] * tanh13[i, j])
            d_bias[j] += gradient_2[i, j]


@njit(error_model="numpy")
def update(parameter, gradient, lr):
    # parameter = parameter - lr * gradient  [golden_models.py:36]
    for i in range(parameter.size):
        parameter[i] = parameter[i] - lr * gradient[i]


@njit(error_model="numpy")
def train_step(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (32, 16) or y.shape != (32, 16):
        return 1  # the caller says what does not fit
    linear0_weight = layer_at(addresses[0], (16, 16), f32)
    linear14_bias = layer_at(addresses[15], (16,), f32)
    lr = f32(array_at(addresses[16], (), f64)[()])
    loss = array_at(addresses[17], (), f32)
    all_weight = view(addresses[18], 0, (8, 32, 16), f32)
    d_tanh13 = reuse(all_weight, (32, 16), f32)
    all_d_weight = reuse(all_weight, (8, 16, 16), f32)
    all_tanh1 = view(addresses[18], 16384, (7, 32, 16), f32)
    all_d_bias = view(addresses[18], 30720, (8, 16), f32)
    all_gradient = view(addresses[18], 31232, (8, 32, 16), f32)
    x_linear0_weight = part(all_weight, 0)
    tanh13_linear14_weight = part(all_weight, 7)
    d_linear14 = part(all_gradient, 0)
    d_linear0 = part(all_gradient, 7)
    d_linear0_weight = part(all_d_weight, 0)
    d_linear14_bias = part(all_d_bias, 0)

    # ---- forward -----------------------------------------------------------------------------
    matmul_nt(x, linear0_weight, x_linear0_weight)  # x @ linear0_weight.T  [golden_models.py:35]

    for layer in range(7):
        weight = part(all_weight, layer)
        bias = layer_at(addresses[layer + 8], (16,), f32)
        tanh1_2 = part(all_tanh1, layer)
        weight_2 = layer_at(addresses[layer + 1], (16, 16), f32)
        weight_3 = part(all_weight, layer + 1)

        # linear0 = weight + bias  [golden_models.py:35]
        # tanh1_2 = tanh(linear0)  [golden_models.py:35]
        forward_add(weight, bias, tanh1_2)

        matmul_nt(tanh1_2, weight_2, weight_3)  # tanh1_2 @ weight_2.T  [golden_models.py:35]

    # ---- forward and backward ----------------------------------------------------------------
    # linear14 = tanh13_linear14_weight + linear14_bias  [golden_models.py:35]
    # tanh15 = tanh(linear14)  [golden_models.py:35]
    # tanh15_minus_y = tanh15 - y  [golden_models.py:35]
    # d_linear14 = tanh15_minus_y * (1 - tanh15**2) / 256
    #     [adjoint of linear14, golden_models.py:35]
    # d_linear14_bias = sum(d_linear14, axis=0)  [adjoint of linear14_bias, golden_models.py:35]
    # sum_square_tanh15_minus_y = sum(tanh15_minus_y**2)  [golden_models.py:35]
    sum_square_tanh15_minus_y = f32(0.0)
    for i in range(short(16)):
        d_linear14_bias[i] = f32(0.0)
    for i in range(32):
        for j in range(16):
            linear14 = tanh13_linear14_weight[i, j] + linear14_bias[j]
            tanh15 = tanh(linear14)
            tanh15_minus_y = tanh15 - y[i, j]
            d_linear14[i, j] = f32(0.00390625) * tanh15_minus_y * (f32(1.0) - tanh15 * tanh15)
            d_linear14_bias[j] += d_linear14[i, j]
            sum_square_tanh15_minus_y = plus(
                sum_square_tanh15_minus_y, tanh15_minus_y * tanh15_minus_y
            )
    loss[()] = sum_square_tanh15_minus_y * f32(0.001953125)  # [golden_models.py:35]

    # ---- backward ----------------------------------------------------------------------------
    for layer in range(7):
        gradient = part(all_gradient, layer)
        weight = layer_at(addresses[7 - layer], (16, 16), f32)
        d_bias = part(all_d_bias, layer + 1)
        tanh1_2 = part(all_tanh1, 6 - layer)
        gradient_2 = part(all_gradient, layer + 1)

        # d_tanh13 = gradient @ weight  [adjoint of tanh13, golden_models.py:35]
        matmul(gradient, weight, d_tanh13)

        # gradient_2 = d_tanh13 * (1 - tanh1_2**2)  [adjoint of linear12, golden_models.py:35]
        # d_bias = sum(gradient_2, axis=0)  [adjoint of linear12_bias, golden_models.py:35]
        backward_multiply(d_bias, d_tanh13, tanh1_2, gradient_2)

    # d_linear0_weight = d_linear0.T @ x  [adjoint of linear0_weight, golden_models.py:35]
    matmul_tn(d_linear0, x, d_linear0_weight)

    for layer in range(7):
        gradient = part(all_gradient, 6 - layer)
        tanh1_2 = part(all_tanh1, layer)
        d_weight = part(all_d_weight, layer + 1)

        # d_weight = gradient.T @ tanh1_2  [adjoint of linear2_weight, golden_models.py:35]
        matmul_tn(gradient, tanh1_2, d_weight)

    # ---- update ------------------------------------------------------------------------------
    for layer in range(8):
        weight = layer_at(addresses[layer], (16, 16), f32)
        d_weight = part(all_d_weight, layer)
        bias = layer_at(addresses[layer + 8], (16,), f32)
        d_bias = part(all_d_bias, 7 - layer)
        update(flat(weight), flat(d_weight), lr)
        update(bias, d_bias, lr)
    return 0
