"""heat_equation: computes loss and updates parameters in place (models.py:158).
Workspace: 22528 bytes. FLOPs: 41265. Traffic: 64868 bytes.

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

from staticgrad.kernels.arrays import array_at, f32, f64, flat, in_place_of, short, view
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import tanh


@njit(error_model="numpy")
def update(parameter, gradient, lr):
    # parameter = parameter - lr * gradient  [models.py:174]
    for i in range(parameter.size):
        parameter[i] = parameter[i] - lr * gradient[i]


@njit(error_model="numpy")
def heat_equation(x, t, parameters, constants, workspace, loss):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (64, 1) or t.shape != (64, 1) or workspace.size < 22528:
        return 1  # the caller says what does not fit
    linear2_weight = array_at(parameters[0], (1, 8), f32)
    linear0_weight = array_at(parameters[1], (8, 2), f32)
    linear0_bias = array_at(parameters[2], (8,), f32)
    lr = f32(array_at(parameters[3], (), f64)[()])
    constant = array_at(constants[0], (64, 2), f32)
    u = view(workspace, 0, (64, 2), f32)
    u_linear0_weight = view(workspace, 512, (64, 8), f32)
    d_sum_linear2_d_u = in_place_of(u_linear0_weight, (64, 2), f32)
    d_d_u_d_u_xx_d_linear0 = in_place_of(u_linear0_weight, (2, 8), f32)
    d_d_linear0 = view(workspace, 2560, (64, 8), f32)
    product_d_d_d_linear0 = in_place_of(d_d_linear0, (2, 8), f32)
    d_u_xx_d_linear0 = view(workspace, 4608, (64, 8), f32)
    d_d_linear0_2 = in_place_of(d_u_xx_d_linear0, (64, 8), f32)
    u_d_loss_d_linear0 = in_place_of(d_u_xx_d_linear0, (2, 8), f32)
    d_sum_linear2_d_linear0 = view(workspace, 6656, (64, 8), f32)
    d_d_linear0_3 = in_place_of(d_sum_linear2_d_linear0, (64, 8), f32)
    twice_tanh1 = view(workspace, 8704, (64, 8), f32)
    one_minus_square_tanh1 = view(workspace, 10752, (64, 8), f32)
    d_u_xx_d_one_minus_square_tanh1 = view(workspace, 12800, (64, 8), f32)
    product = view(workspace, 14848, (64, 8), f32)
    d_u_xx_d_u = view(workspace, 16896, (64, 2), f32)
    product_2 = in_place_of(d_u_xx_d_u, (2, 8), f32)
    d_d_u = view(workspace, 17408, (64, 2), f32)
    d_linear0_bias = in_place_of(d_d_u, (8,), f32)
    d_d_u_2 = view(workspace, 17920, (64, 2), f32)
    d_linear2_weight = in_place_of(d_d_u_2, (8,), f32)
    d_d_d_linear0 = view(workspace, 18432, (64, 8), f32)
    d_loss_d_linear0 = view(workspace, 20480, (64, 8), f32)

    # ---- forward -----------------------------------------------------------------------------
    # u = concat([x, t], axis=1)  [models.py:154]
    for i in range(64):
        u[i, 0] = x[i, 0]
        u[i, 1] = t[i, 0]

    matmul_nt(u, linear0_weight, u_linear0_weight)  # u @ linear0_weight.T  [models.py:154]

    # ---- backward ----------------------------------------------------------------------------
    # d_d_linear0 = constant @ linear0_weight.T  [adjoint of d_sum_linear2_d_linear0, models.py:154]
    matmul_nt(constant, linear0_weight, d_d_linear0)

    # ---- forward and backward ----------------------------------------------------------------
    # linear0 = u_linear0_weight + linear0_bias  [models.py:154]
    # tanh1 = tanh(linear0)  [models.py:154]
    # twice_tanh1 = 2 * tanh1  [for the adjoint of square_tanh1, models.py:154]
    # one_minus_square_tanh1 = 1 - tanh1**2  [for the adjoint of tanh1, models.py:154]
    # d_sum_linear2_d_linear0 = linear2_weight * one_minus_square_tanh1
    #     [adjoint of linear0, models.py:154]
    # d_u_xx_d_one_minus_square_tanh1 = d_d_linear0 * linear2_weight
    #     [adjoint of one_minus_square_tanh1, models.py:154]
    # product = d_u_xx_d_one_minus_square_tanh1 * twice_tanh1
    #     [for the adjoint of tanh1, models.py:154]
    # d_u_xx_d_linear0 = -product * one_minus_square_tanh1  [adjoint of linear0, models.py:154]
    for i in range(64):
        for j in range(short(8)):
            linear0 = u_linear0_weight[i, j] + linear0_bias[j]
            tanh1 = tanh(linear0)
            twice_tanh1[i, j] = f32(2.0) * tanh1
            one_minus_square_tanh1[i, j] = f32(1.0) - tanh1 * tanh1
            d_sum_linear2_d_linear0[i, j] = linear2_weight[0, j] * one_minus_square_tanh1[i, j]
            d_u_xx_d_one_minus_square_tanh1[i, j] = d_d_linear0[i, j] * linear2_weight[0, j]
            product[i, j] = d_u_xx_d_one_minus_square_tanh1[i, j] * twice_tanh1[i, j]
            d_u_xx_d_linear0[i, j] = -(product[i, j] * one_minus_square_tanh1[i, j])

    # ---- backward ----------------------------------------------------------------------------
    # d_sum_linear2_d_u = d_sum_linear2_d_linear0 @ linear0_weight  [adjoint of u, models.py:154]
    matmul(d_sum_linear2_d_linear0, linear0_weight, d_sum_linear2_d_u)

    # d_u_xx_d_u = d_u_xx_d_linear0 @ linear0_weight  [adjoint of u, models.py:154]
    matmul(d_u_xx_d_linear0, linear0_weight, d_u_xx_d_u)

    # ---- forward and backward ----------------------------------------------------------------
    # residual = d_sum_linear2_d_u[:, 1:] - 0.1 * d_u_xx_d_u[:, :1]  [models.py:157]
    # sum_square_residual = sum(residual**2)  [models.py:158]
    # d_d_u_2 = embed(residual / 32 at [:, 1:])  [adjoint of d_sum_linear2_d_u, models.py:154]
    # d_d_u = embed(-0.003125 * residual at [:, :1])  [adjoint of d_u_xx_d_u, models.py:154]
    sum_square_residual = f32(0.0)
    for i in range(64):
        residual = d_sum_linear2_d_u[i, 1] - f32(0.1) * d_u_xx_d_u[i, 0]
        sum_square_residual = plus(sum_square_residual, residual * residual)
        d_d_u_2[i, 0] = f32(0.0)
        d_d_u[i, 0] = (
            f32(-0.03125) * (d_sum_linear2_d_u[i, 1] - f32(0.1) * d_u_xx_d_u[i, 0]) * f32(0.1)
        )
        d_d_u_2[i, 1] = f32(0.03125) * (d_sum_linear2_d_u[i, 1] - f32(0.1) * d_u_xx_d_u[i, 0])
        d_d_u[i, 1] = f32(0.0)
    loss[()] = sum_square_residual * f32(0.015625)  # [models.py:158]

    # ---- backward ----------------------------------------------------------------------------
    # d_d_u_d_u_xx_d_linear0 = d_d_u.T @ d_u_xx_d_linear0
    #     [for the adjoint of d_u_xx_d_u, models.py:154]
    matmul_tn(d_d_u, d_u_xx_d_linear0, d_d_u_d_u_xx_d_linear0)

    # d_d_linear0_2 = d_d_u @ linear0_weight.T  [adjoint of d_u_xx_d_linear0, models.py:154]
    matmul_nt(d_d_u, linear0_weight, d_d_linear0_2)

    # product_2 = d_d_u_2.T @ d_sum_linear2_d_linear0
    #     [for the adjoint of d_sum_linear2_d_u, models.py:154]
    matmul_tn(d_d_u_2, d_sum_linear2_d_linear0, product_2)

    # d_d_linear0_3 = d_d_u_2 @ linear0_weight.T
    #     [adjoint of d_sum_linear2_d_linear0, models.py:154]
    matmul_nt(d_d_u_2, linear0_weight, d_d_linear0_3)

    # d_d_tanh1 = d_d_linear0_2 * one_minus_square_tanh1
    #     [adjoint of negative_product_twice_tanh1, models.py:154]
    # d_d_square_tanh1 = d_d_tanh1 * twice_tanh1  [adjoint of negative_product, models.py:154]
    # d_d_d_linear0 = -d_d_square_tanh1 * linear2_weight  [adjoint of d_d_linear0, models.py:154]
    # d_linear2_weight = sum(d_d_linear0_3 * one_minus_square_tanh1 - d_d_square_tanh1 *
    #     d_d_linear0, axis=0)  [adjoint of linear2_weight, models.py:154]
    # d_loss_d_tanh1 = d_d_linear0_2 * product * twice_tanh1 - 2 * d_d_tanh1 *
    #     d_u_xx_d_one_minus_square_tanh1 - d_d_linear0_3 * linear2_weight * twice_tanh1
    #     [adjoint of tanh1, models.py:154]
    # d_loss_d_linear0 = d_loss_d_tanh1 * one_minus_square_tanh1
    #     [adjoint of linear0, models.py:154]
    # d_linear0_bias = sum(d_loss_d_linear0, axis=0)  [adjoint of linear0_bias, models.py:154]
    for i in range(short(8)):
        d_linear0_bias[i] = f32(0.0)
        d_linear2_weight[i] = f32(0.0)
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
                + f32(-2.0) * (d_d_tanh1 * d_u_xx_d_one_minus_square_tanh1[i, j])
                - d_d_linear0_3[i, j] * linear2_weight[0, j] * twice_tanh1[i, j]
            )
            d_loss_d_linear0[i, j] = d_loss_d_tanh1 * one_minus_square_tanh1[i, j]
            d_linear0_bias[j] += d_loss_d_linear0[i, j]

    # product_d_d_d_linear0 = constant.T @ d_d_d_linear0
    #     [for the adjoint of d_d_linear0, models.py:154]
    matmul_tn(constant, d_d_d_linear0, product_d_d_d_linear0)

    # u_d_loss_d_linear0 = u.T @ d_loss_d_linear0
    #     [for the adjoint of u_linear0_weight, models.py:154]
    matmul_tn(u, d_loss_d_linear0, u_d_loss_d_linear0)

    # ---- update ------------------------------------------------------------------------------
    # linear0_weight = linear0_weight - lr * (d_d_u_d_u_xx_d_linear0 + product_d_d_d_linear0 +
    #     product_2 + u_d_loss_d_linear0).T  [models.py:174]
    for i in range(8):
        for j in range(2):
            linear0_weight[i, j] = linear0_weight[i, j] - lr * (
                d_d_u_d_u_xx_d_linear0[j, i]
                + product_d_d_d_linear0[j, i]
                + product_2[j, i]
                + u_d_loss_d_linear0[j, i]
            )
    update(linear0_bias, d_linear0_bias, lr)
    update(flat(linear2_weight), d_linear2_weight, lr)
    return 0
