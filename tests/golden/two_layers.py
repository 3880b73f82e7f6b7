"""train_step: computes loss and updates parameters in place (golden_models.py:27).
Workspace: 1472 bytes. FLOPs: 13986. Traffic: 11240 bytes.

    x                          float32  (10, 20)  input
    y                          float32  (10, 1)   input
    linear0_weight             float32  (10, 20)  parameter, updated
    linear0_bias               float32  (10,)     parameter, updated
    linear2_weight             float32  (1, 10)   parameter, updated
    linear2_bias               float32  (1,)      parameter, updated
    lr                         float64  ()        parameter
    beta1                      float64  ()        parameter
    steps                      float32  ()        parameter, updated
    linear0_weight_exp_avg     float32  (10, 20)  parameter, updated
    beta2                      float64  ()        parameter
    linear0_weight_exp_avg_sq  float32  (10, 20)  parameter, updated
    linear0_bias_exp_avg       float32  (10,)     parameter, updated
    linear0_bias_exp_avg_sq    float32  (10,)     parameter, updated
    linear2_weight_exp_avg     float32  (1, 10)   parameter, updated
    linear2_weight_exp_avg_sq  float32  (1, 10)   parameter, updated
    linear2_bias_exp_avg       float32  (1,)      parameter, updated
    linear2_bias_exp_avg_sq    float32  (1,)      parameter, updated
    loss                       float32  ()        output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul_nt, matmul_tn
from staticgrad.vectormath.combining import maximum, plus, where
from staticgrad.vectormath.powers import power
from staticgrad.vectormath.roots import sqrt


@njit(error_model="numpy")
def update(
    parameter,
    gradient,
    exp_avg,
    exp_avg_sq,
    beta2_f32,
    one_minus_beta2,
    one_minus_beta1,
    step_size,
    v_correction,
):
    # v = beta2_f32 * exp_avg_sq + one_minus_beta2 * gradient**2  [golden_models.py:28]
    # exp_avg_sq = v  [golden_models.py:28]
    # m = exp_avg + one_minus_beta1 * (gradient - exp_avg)  [golden_models.py:28]
    # exp_avg = m  [golden_models.py:28]
    # parameter = parameter - step_size * m / (sqrt(v) / v_correction + 1e-8)  [golden_models.py:28]
    for i in range(parameter.size):
        v = beta2_f32 * exp_avg_sq[i] + one_minus_beta2 * (gradient[i] * gradient[i])
        exp_avg_sq[i] = v
        m = exp_avg[i] + one_minus_beta1 * (gradient[i] - exp_avg[i])
        exp_avg[i] = m
        parameter[i] = parameter[i] - step_size * (m / (sqrt(v) / v_correction + f32(1e-08)))


@njit(error_model="numpy")
def train_step(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (10, 20) or y.shape != (10, 1):
        return 1  # the caller says what does not fit
    linear0_weight = array_at(addresses[0], (10, 20), f32)
    linear0_bias = array_at(addresses[1], (10,), f32)
    linear2_weight = array_at(addresses[2], (1, 10), f32)
    linear2_bias = array_at(addresses[3], (1,), f32)
    lr = array_at(addresses[4], (), f64)[()]
    beta1 = array_at(addresses[5], (), f64)[()]
    steps = array_at(addresses[6], (), f32)
    linear0_weight_exp_avg = array_at(addresses[7], (10, 20), f32)
    beta2 = array_at(addresses[8], (), f64)[()]
    linear0_weight_exp_avg_sq = array_at(addresses[9], (10, 20), f32)
    linear0_bias_exp_avg = array_at(addresses[10], (10,), f32)
    linear0_bias_exp_avg_sq = array_at(addresses[11], (10,), f32)
    linear2_weight_exp_avg = array_at(addresses[12], (1, 10), f32)
    linear2_weight_exp_avg_sq = array_at(addresses[13], (1, 10), f32)
    linear2_bias_exp_avg = array_at(addresses[14], (1,), f32)
    linear2_bias_exp_avg_sq = array_at(addresses[15], (1,), f32)
    loss = array_at(addresses[16], (), f32)
    x_linear0_weight = view(addresses[17], 0, (10, 10), f32)
    d_linear0_weight = reuse(x_linear0_weight, (10, 20), f32)
    d_linear0_bias = view(addresses[17], 832, (10,), f32)
    d_linear2_weight = view(addresses[17], 896, (10,), f32)
    relu1 = view(addresses[17], 960, (10,), f32)
    d_linear0 = view(addresses[17], 1024, (10, 10), f32)

    # ---- forward -----------------------------------------------------------------------------
    matmul_nt(x, linear0_weight, x_linear0_weight)  # x @ linear0_weight.T  [golden_models.py:27]

    # ---- forward and backward ----------------------------------------------------------------
    # linear0 = x_linear0_weight + linear0_bias  [golden_models.py:27]
    # relu1 = maximum(linear0, 0)  [golden_models.py:27]
    # linear2 = sum(relu1 * linear2_weight, axis=1) + linear2_bias  [golden_models.py:27]
    # linear2_minus_y = linear2 - y  [golden_models.py:27]
    # d_linear2 = 0.2 * linear2_minus_y  [adjoint of linear2, golden_models.py:27]
    # d_linear2_bias = sum(d_linear2, axis=0)  [adjoint of linear2_bias, golden_models.py:27]
    # sum_square_linear2_minus_y = sum(linear2_minus_y**2)  [golden_models.py:27]
    # d_linear2_weight = sum(relu1 * d_linear2, axis=0)
    #     [adjoint of linear2_weight, golden_models.py:27]
    # d_linear0 = where(relu1 > 0, d_linear2 * linear2_weight, 0)
    #     [adjoint of linear0, golden_models.py:27]
    # d_linear0_bias = sum(d_linear0, axis=0)  [adjoint of linear0_bias, golden_models.py:27]
    sum_square_linear2_minus_y = d_linear2_bias = f32(0.0)
    for i in range(short(10)):
        d_linear0_bias[i] = d_linear2_weight[i] = f32(0.0)
    for i in range(10):
        total = f32(0.0)
        for j in range(short(10)):
            linear0 = x_linear0_weight[i, j] + linear0_bias[j]
            relu1[j] = maximum(linear0, f32(0.0))
            total = plus(total, relu1[j] * linear2_weight[0, j])
        linear2 = total + linear2_bias[0]
        linear2_minus_y = linear2 - y[i, 0]
        d_linear2 = f32(0.2) * linear2_minus_y
        d_linear2_bias = plus(d_linear2_bias, d_linear2)
        sum_square_linear2_minus_y = plus(
            sum_square_linear2_minus_y, linear2_minus_y * linear2_minus_y
        )
        for j in range(short(10)):
            d_linear2_weight[j] += relu1[j] * d_linear2
            d_linear0[i, j] = where(relu1[j] > f32(0.0), d_linear2 * linear2_weight[0, j], f32(0.0))
            d_linear0_bias[j] += d_linear0[i, j]
    loss[()] = sum_square_linear2_minus_y / f32(10.0)  # [golden_models.py:27]

    # ---- backward ----------------------------------------------------------------------------
    # d_linear0_weight = d_linear0.T @ x  [adjoint of linear0_weight, golden_models.py:27]
    matmul_tn(d_linear0, x, d_linear0_weight)

    # ---- update ------------------------------------------------------------------------------
    one_minus_beta2 = f32(1.0 - beta2)  # [golden_models.py:28]
    beta2_f32 = f32(beta2)  # [golden_models.py:28]
    one_minus_beta1 = f32(1.0 - beta1)  # [golden_models.py:28]
    one_plus_steps = steps[()] + f32(1.0)  # [golden_models.py:28]
    steps[()] = one_plus_steps  # [golden_models.py:28]
    v_correction = f32(sqrt(1.0 - power(beta2, f64(one_plus_steps))))  # [golden_models.py:28]
    step_size = f32(lr / (1.0 - power(beta1, f64(one_plus_steps))))  # [golden_models.py:28]
    update(
        flat(linear0_weight),
        flat(d_linear0_weight),
        flat(linear0_weight_exp_avg),
        flat(linear0_weight_exp_avg_sq),
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        step_size,
        v_correction,
    )
    update(
        linear0_bias,
        d_linear0_bias,
        linear0_bias_exp_avg,
        linear0_bias_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        step_size,
        v_correction,
    )
    update(
        flat(linear2_weight),
        d_linear2_weight,
        flat(linear2_weight_exp_avg),
        flat(linear2_weight_exp_avg_sq),
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        step_size,
        v_correction,
    )
    v_4 = beta2_f32 * linear2_bias_exp_avg_sq[0] + one_minus_beta2 * (  # [golden_models.py:28]
        d_linear2_bias * d_linear2_bias
    )
    linear2_bias_exp_avg_sq[0] = v_4  # [golden_models.py:28]
    # [golden_models.py:28]
    m_4 = linear2_bias_exp_avg[0] + one_minus_beta1 * (d_linear2_bias - linear2_bias_exp_avg[0])
    linear2_bias_exp_avg[0] = m_4  # [golden_models.py:28]
    # [golden_models.py:28]
    linear2_bias[0] = linear2_bias[0] - step_size * (m_4 / (sqrt(v_4) / v_correction + f32(1e-08)))
    return 0
