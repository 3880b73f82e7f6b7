"""heat_equation: computes loss and updates parameters in place (models.py:158).
Workspace: 20160 bytes. FLOPs: 41265. Traffic: 64868 bytes.

    x               float32  (64, 1)  input
    t               float32  (64, 1)  input
    linear2_weight  float32  (1, 8)   parameter, updated
    linear0_weight  float32  (8, 2)   parameter, updated
    linear0_bias    float32  (8,)     parameter, updated
    lr              float64  ()       parameter
    constant        float32  (64, 2)  constant
    loss            float32  ()       output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import tanh


@njit(error_model="numpy")
def update(parameter, gradient, lr):
    # parameter = parameter - lr * gradient  [models.py:174]
    for i in range(parameter.size):
        parameter[i] = parameter[i] - lr * gradient[i]


@njit(error_model="numpy")
def heat_equation(x, t, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (64, 1) or t.shape != (64, 1):
        return 1  # the caller says what does not fit
    linear2_weight = array_at(addresses[0], (1, 8), f32)
    linear0_weight = array_at(addresses[1], (8, 2), f32)
    linear0_bias = array_at(addresses[2], (8,), f32)
    lr = f32(array_at(addresses[3], (), f64)[()])
    constant = array_at(addresses[4], (64, 2), f32)
    loss = array_at(addresses[5], (), f32)
    concat_x = view(addresses[6], 0, (64, 2), f32)
    concat_x_linear0_weight = view(addresses[6], 512, (64, 8), f32)
    d_sum_u_x_d_concat_x = reuse(concat_x_linear0_weight, (64, 2), f32)
    d_d_d_linear0 = reuse(concat_x_linear0_weight, (64, 8), f32)
    d_d_linear0 = view(addresses[6], 2560, (64, 8), f32)
    d_sum_u_x_d_linear0 = view(addresses[6], 4608, (64, 8), f32)
    d_d_linear0_2 = reuse(d_sum_u_x_d_linear0, (64, 8), f32)
    d_sum_u_d_linear0 = view(addresses[6], 6656, (64, 8), f32)
    d_d_linear0_3 = reuse(d_sum_u_d_linear0, (64, 8), f32)
    twice_tanh1 = view(addresses[6], 8704, (64, 8), f32)
    one_minus_square_tanh1 = view(addresses[6], 10752, (64, 8), f32)
    d_sum_u_x_d_one_minus_square_tanh1 = view(addresses[6], 12800, (64, 8), f32)
    product = view(addresses[6], 14848, (64, 8), f32)
    concat_x_d_loss_d_linear0 = reuse(product, (2, 8), f32)
    d_sum_u_d_concat_x = view(addresses[6], 16896, (64, 2), f32)
    d_loss_d_linear0 = reuse(d_sum_u_d_concat_x, (64, 8), f32)
    d_d_concat_x = view(addresses[6], 18944, (64, 2), f32)
    product_3 = reuse(d_d_concat_x, (2, 8), f32)
    d_d_concat_x_2 = view(addresses[6], 19456, (64, 2), f32)
    product_d_d_d_linear0 = reuse(d_d_concat_x_2, (2, 8), f32)
    product_2 = view(addresses[6], 19968, (2, 8), f32)
    d_linear0_bias = view(addresses[6], 20032, (8,), f32)
    d_linear2_weight = view(addresses[6], 20096, (8,), f32)

    # ---- forward -----------------------------------------------------------------------------
    # concat_x = concat([x, t], axis=1)  [models.py:154]
    for i in range(64):
        concat_x[i, 0] = x[i, 0]
        concat_x[i, 1] = t[i, 0]

    # concat_x_linear0_weight = concat_x @ linear0_weight.T  [models.py:154]
    matmul_nt(concat_x, linear0_weight, concat_x_linear0_weight)

    # ---- backward ----------------------------------------------------------------------------
    # d_d_linear0 = constant @ linear0_weight.T  [adjoint of d_sum_u_d_linear0, models.py:154]
    matmul_nt(constant, linear0_weight, d_d_linear0)

    # ---- forward and backward ----------------------------------------------------------------
    # linear0 = concat_x_linear0_weight + linear0_bias  [models.py:154]
    # tanh1 = tanh(linear0)  [models.py:154]
    # twice_tanh1 = 2 * tanh1  [for the adjoint of square_tanh1, models.py:154]
    # one_minus_square_tanh1 = 1 - tanh1**2  [for the adjoint of tanh1, models.py:154]
    # d_sum_u_d_linear0 = linear2_weight * one_minus_square_tanh1
    #     [adjoint of linear0, models.py:154]
    # d_sum_u_x_d_one_minus_square_tanh1 = d_d_linear0 * linear2_weight
    #     [adjoint of one_minus_square_tanh1, models.py:154]
    # product = d_sum_u_x_d_one_minus_square_tanh1 * twice_tanh1
    #     [for the adjoint of tanh1, models.py:154]
    # d_sum_u_x_d_linear0 = -product * one_minus_square_tanh1  [adjoint of linear0, models.py:154]
    for i in range(64):
        for j in range(short(8)):
            linear0 = concat_x_linear0_weight[i, j] + linear0_bias[j]
            tanh1 = tanh(linear0)
            twice_tanh1[i, j] = f32(2.0) * tanh1
            one_minus_square_tanh1[i, j] = f32(1.0) - tanh1 * tanh1
            d_sum_u_d_linear0[i, j] = linear2_weight[0, j] * one_minus_square_tanh1[i, j]
            d_sum_u_x_d_one_minus_square_tanh1[i, j] = d_d_linear0[i, j] * linear2_weight[0, j]
            product[i, j] = d_sum_u_x_d_one_minus_square_tanh1[i, j] * twice_tanh1[i, j]
            d_sum_u_x_d_linear0[i, j] = -(product[i, j] * one_minus_square_tanh1[i, j])

    # ---- backward ----------------------------------------------------------------------------
    # d_sum_u_d_concat_x = d_sum_u_d_linear0 @ linear0_weight  [adjoint of concat_x, models.py:154]
    matmul(d_sum_u_d_linear0, linear0_weight, d_sum_u_d_concat_x)

    # d_sum_u_x_d_concat_x = d_sum_u_x_d_linear0 @ linear0_weight
    #     [adjoint of concat_x, models.py:154]
    matmul(d_sum_u_x_d_linear0, linear0_weight, d_sum_u_x_d_concat_x)

    # ---- forward and backward ----------------------------------------------------------------
    # residual = d_sum_u_d_concat_x[:, 1:] - 0.1 * d_sum_u_x_d_concat_x[:, :1]  [models.py:157]
    # sum_square_residual = sum(residual**2)  [models.py:158]
    # d_d_concat_x_2 = embed(residual / 32 at [:, 1:])
    #     [adjoint of d_sum_u_d_concat_x, models.py:154]
    # d_d_concat_x = embed(-0.003125 * residual at [:, :1])
    #     [adjoint of d_sum_u_x_d_concat_x, models.py:154]
    sum_square_residual = f32(0.0)
    for i in range(64):
        residual = d_sum_u_d_concat_x[i, 1] - f32(0.1) * d_sum_u_x_d_concat_x[i, 0]
        sum_square_residual = plus(sum_square_residual, residual * residual)
        d_d_concat_x_2[i, 0] = f32(0.0)
        d_d_concat_x[i, 0] = (
            f32(-0.03125)
            * (d_sum_u_d_concat_x[i, 1] - f32(0.1) * d_sum_u_x_d_concat_x[i, 0])
            * f32(0.1)
        )
        d_d_concat_x_2[i, 1] = f32(0.03125) * (
            d_sum_u_d_concat_x[i, 1] - f32(0.1) * d_sum_u_x_d_concat_x[i, 0]
        )
        d_d_concat_x[i, 1] = f32(0.0)
    loss[()] = sum_square_residual * f32(0.015625)  # [models.py:158]

    # ---- backward ----------------------------------------------------------------------------
    # product_2 = d_d_concat_x.T @ d_sum_u_x_d_linear0
    #     [for the adjoint of d_sum_u_x_d_concat_x, models.py:154]
    matmul_tn(d_d_concat_x, d_sum_u_x_d_linear0, product_2)

    # d_d_linear0_2 = d_d_concat_x @ linear0_weight.T
    #     [adjoint of d_sum_u_x_d_linear0, models.py:154]
    matmul_nt(d_d_concat_x, linear0_weight, d_d_linear0_2)

    # product_3 = d_d_concat_x_2.T @ d_sum_u_d_linear0
    #     [for the adjoint of d_sum_u_d_concat_x, models.py:154]
    matmul_tn(d_d_concat_x_2, d_sum_u_d_linear0, product_3)

    # d_d_linear0_3 = d_d_concat_x_2 @ linear0_weight.T
    #     [adjoint of d_sum_u_d_linear0, models.py:154]
    matmul_nt(d_d_concat_x_2, linear0_weight, d_d_linear0_3)

    # d_d_tanh1 = d_d_linear0_2 * one_minus_square_tanh1
    #     [adjoint of negative_product_twice_tanh1, models.py:154]
    # d_d_square_tanh1 = d_d_tanh1 * twice_tanh1  [adjoint of negative_product, models.py:154]
    # d_d_d_linear0 = -d_d_square_tanh1 * linear2_weight  [adjoint of d_d_linear0, models.py:154]
    # d_linear2_weight = sum(d_d_linear0_3 * one_minus_square_tanh1 - d_d_square_tanh1 *
    #     d_d_linear0, axis=0)  [adjoint of linear2_weight, models.py:154]
    # d_loss_d_tanh1 = d_d_linear0_2 * product * twice_tanh1 - 2 * d_d_tanh1 *
    #     d_sum_u_x_d_one_minus_square_tanh1 - d_d_linear0_3 * linear2_weight * twice_tanh1
    #     [adjoint of tanh1, models.py:154]
    # d_loss_d_linear0 = d_loss_d_tanh1 * one_minus_square_tanh1
    #     [adjoint of linear0, models.py:154]
    # d_linear0_bias = sum(d_loss_d_linear0, axis=0)  [adjoint of linear0_bias, models.py:154]
    for i in range(short(8)):
        d_linear0_bias[i] = d_linear2_weight[i] = f32(0.0)
    for i in range(64):
        for j in range(short(8)):
            d_d_tanh1 = d_d_linear0_2[i, j] * one_minus_square_tanh1[i, j]
            d_d_square_tanh1 = d_d_tanh1 * twice_tanh1[i, j]
            d_d_d_linear0[i, j] = -(d_d_square_tanh1 * linear2_weight[0, j])
            d_linear2_weight[j] += (
                d_d_linear0_3[i, j] * one_minus_square_tanh1[i, j]
                - d_d_square_tanh1 * d_d_linear0[i, j]
            )
            d_loss_d_tanh1 = (
                d_d_linear0_2[i, j] * product[i, j] * twice_tanh1[i, j]
                + f32(-2.0) * (d_d_tanh1 * d_sum_u_x_d_one_minus_square_tanh1[i, j])
                - d_d_linear0_3[i, j] * linear2_weight[0, j] * twice_tanh1[i, j]
            )
            d_loss_d_linear0[i, j] = d_loss_d_tanh1 * one_minus_square_tanh1[i, j]
            d_linear0_bias[j] += d_loss_d_linear0[i, j]

    # product_d_d_d_linear0 = constant.T @ d_d_d_linear0
    #     [for the adjoint of d_d_linear0, models.py:154]
    matmul_tn(constant, d_d_d_linear0, product_d_d_d_linear0)

    # concat_x_d_loss_d_linear0 = concat_x.T @ d_loss_d_linear0
    #     [for the adjoint of concat_x_linear0_weight, models.py:154]
    matmul_tn(concat_x, d_loss_d_linear0, concat_x_d_loss_d_linear0)

    # ---- update ------------------------------------------------------------------------------
    # linear0_weight = linear0_weight - lr * (product_2 + product_d_d_d_linear0 + product_3 +
    #     concat_x_d_loss_d_linear0).T  [models.py:174]
    for i in range(8):
        for j in range(2):
            linear0_weight[i, j] = linear0_weight[i, j] - lr * (
                product_2[j, i]
                + product_d_d_d_linear0[j, i]
                + product_3[j, i]
                + concat_x_d_loss_d_linear0[j, i]
            )
    update(linear0_bias, d_linear0_bias, lr)
    update(flat(linear2_weight), d_linear2_weight, lr)
    return 0
