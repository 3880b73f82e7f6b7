"""residual_block: computes loss and updates parameters in place (models.py:97).
Workspace: 16512 bytes. FLOPs: 142080. Traffic: 82252 bytes.

    x                       float32  (32, 16)  input
    y                       float32  (32, 16)  input
    norm_weight             float32  (16,)     parameter, updated
    norm_bias               float32  (16,)     parameter, updated
    fc1_weight              float32  (16, 16)  parameter, updated
    fc1_bias                float32  (16,)     parameter, updated
    fc2_weight              float32  (16, 16)  parameter, updated
    fc2_bias                float32  (16,)     parameter, updated
    lr                      float64  ()        parameter
    beta1                   float64  ()        parameter
    steps                   float32  ()        parameter, updated
    norm_weight_exp_avg     float32  (16,)     parameter, updated
    beta2                   float64  ()        parameter
    norm_weight_exp_avg_sq  float32  (16,)     parameter, updated
    norm_bias_exp_avg       float32  (16,)     parameter, updated
    norm_bias_exp_avg_sq    float32  (16,)     parameter, updated
    fc1_weight_exp_avg      float32  (16, 16)  parameter, updated
    fc1_weight_exp_avg_sq   float32  (16, 16)  parameter, updated
    fc1_bias_exp_avg        float32  (16,)     parameter, updated
    fc1_bias_exp_avg_sq     float32  (16,)     parameter, updated
    fc2_weight_exp_avg      float32  (16, 16)  parameter, updated
    fc2_weight_exp_avg_sq   float32  (16, 16)  parameter, updated
    fc2_bias_exp_avg        float32  (16,)     parameter, updated
    fc2_bias_exp_avg_sq     float32  (16,)     parameter, updated
    loss                    float32  ()        output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.error_function import erfc
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.powers import power
from staticgrad.vectormath.roots import rsqrt, sqrt


@njit(error_model="numpy")
def update(
    parameter,
    gradient,
    exp_avg,
    exp_avg_sq,
    beta2_f32,
    one_minus_beta2,
    one_minus_beta1,
    one_minus_scaled_lr,
    step_size,
    v_correction,
):
    # v = beta2_f32 * exp_avg_sq + one_minus_beta2 * gradient**2  [models.py:174]
    # exp_avg_sq = v  [models.py:174]
    # m = exp_avg + one_minus_beta1 * (gradient - exp_avg)  [models.py:174]
    # exp_avg = m  [models.py:174]
    # parameter = parameter * one_minus_scaled_lr - step_size * m / (sqrt(v) / v_correction + 1e-8)
    #     [models.py:174]
    for i in range(parameter.size):
        v = beta2_f32 * exp_avg_sq[i] + one_minus_beta2 * (gradient[i] * gradient[i])
        exp_avg_sq[i] = v
        m = exp_avg[i] + one_minus_beta1 * (gradient[i] - exp_avg[i])
        exp_avg[i] = m
        parameter[i] = parameter[i] * one_minus_scaled_lr - step_size * (
            m / (sqrt(v) / v_correction + f32(1e-08))
        )


@njit(error_model="numpy")
def residual_block(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if x.shape != (32, 16) or y.shape != (32, 16):
        return 1  # the caller says what does not fit
    norm_weight = array_at(addresses[0], (16,), f32)
    norm_bias = array_at(addresses[1], (16,), f32)
    fc1_weight = array_at(addresses[2], (16, 16), f32)
    fc1_bias = array_at(addresses[3], (16,), f32)
    fc2_weight = array_at(addresses[4], (16, 16), f32)
    fc2_bias = array_at(addresses[5], (16,), f32)
    lr = array_at(addresses[6], (), f64)[()]
    beta1 = array_at(addresses[7], (), f64)[()]
    steps = array_at(addresses[8], (), f32)
    norm_weight_exp_avg = array_at(addresses[9], (16,), f32)
    beta2 = array_at(addresses[10], (), f64)[()]
    norm_weight_exp_avg_sq = array_at(addresses[11], (16,), f32)
    norm_bias_exp_avg = array_at(addresses[12], (16,), f32)
    norm_bias_exp_avg_sq = array_at(addresses[13], (16,), f32)
    fc1_weight_exp_avg = array_at(addresses[14], (16, 16), f32)
    fc1_weight_exp_avg_sq = array_at(addresses[15], (16, 16), f32)
    fc1_bias_exp_avg = array_at(addresses[16], (16,), f32)
    fc1_bias_exp_avg_sq = array_at(addresses[17], (16,), f32)
    fc2_weight_exp_avg = array_at(addresses[18], (16, 16), f32)
    fc2_weight_exp_avg_sq = array_at(addresses[19], (16, 16), f32)
    fc2_bias_exp_avg = array_at(addresses[20], (16,), f32)
    fc2_bias_exp_avg_sq = array_at(addresses[21], (16,), f32)
    loss = array_at(addresses[22], (), f32)
    x_minus_scaled_sum_x = view(addresses[23], 0, (16,), f32)
    d_fc1 = reuse(x_minus_scaled_sum_x, (32, 16), f32)
    d_fc2_weight = reuse(x_minus_scaled_sum_x, (16, 16), f32)
    product = view(addresses[23], 2048, (32, 16), f32)
    norm = view(addresses[23], 4096, (32, 16), f32)
    norm_fc1_weight = view(addresses[23], 6144, (32, 16), f32)
    hidden_fc2_weight = reuse(norm_fc1_weight, (32, 16), f32)
    d_hidden = reuse(norm_fc1_weight, (32, 16), f32)
    d_norm_bias = reuse(norm_fc1_weight, (16,), f32)
    fc1 = view(addresses[23], 8192, (32, 16), f32)
    d_norm_weight = reuse(fc1, (16,), f32)
    half_erfc_product = view(addresses[23], 10240, (32, 16), f32)
    d_norm = reuse(half_erfc_product, (32, 16), f32)
    d_fc1_weight = reuse(half_erfc_product, (16, 16), f32)
    hidden = view(addresses[23], 12288, (32, 16), f32)
    d_fc2_bias = view(addresses[23], 14336, (16,), f32)
    d_fc2 = view(addresses[23], 14400, (32, 16), f32)
    d_fc1_bias = view(addresses[23], 16448, (16,), f32)

    # ---- forward -----------------------------------------------------------------------------
    # x_minus_scaled_sum_x = x - sum(x, axis=1) / 16  [models.py:88]
    # product = x_minus_scaled_sum_x * rsqrt(sum(x_minus_scaled_sum_x**2, axis=1) / 16 + 1e-5)
    #     [models.py:88]
    # norm = product * norm_weight + norm_bias  [models.py:88]
    for i in range(32):
        sum_x = f32(0.0)
        for j in range(short(16)):
            sum_x = plus(sum_x, x[i, j])
        total = f32(0.0)
        for j in range(short(16)):
            x_minus_scaled_sum_x[j] = x[i, j] - sum_x * f32(0.0625)
            total = plus(total, x_minus_scaled_sum_x[j] * x_minus_scaled_sum_x[j])
        rsqrt_addition = rsqrt(total * f32(0.0625) + f32(1e-05))
        for j in range(short(16)):
            product[i, j] = x_minus_scaled_sum_x[j] * rsqrt_addition
            norm[i, j] = product[i, j] * norm_weight[j] + norm_bias[j]

    matmul_nt(norm, fc1_weight, norm_fc1_weight)  # norm @ fc1_weight.T  [models.py:88]

    # fc1 = norm_fc1_weight + fc1_bias  [models.py:88]
    # half_erfc_product = erfc(-fc1 / sqrt(2)) / 2  [models.py:88]
    # hidden = half_erfc_product * fc1  [models.py:88]
    for i in range(32):
        for j in range(16):
            fc1[i, j] = norm_fc1_weight[i, j] + fc1_bias[j]
            half_erfc_product[i, j] = f32(0.5) * erfc(f32(-0.70710677) * fc1[i, j])
            hidden[i, j] = half_erfc_product[i, j] * fc1[i, j]

    matmul_nt(hidden, fc2_weight, hidden_fc2_weight)  # hidden @ fc2_weight.T  [models.py:89]

    # ---- forward and backward ----------------------------------------------------------------
    # fc2 = hidden_fc2_weight + fc2_bias  [models.py:89]
    # x_plus_fc2_minus_y = x + fc2 - y  [models.py:97]
    # d_fc2 = x_plus_fc2_minus_y / 256  [adjoint of fc2, models.py:97]
    # d_fc2_bias = sum(d_fc2, axis=0)  [adjoint of fc2_bias, models.py:89]
    # total_2 = sum(x_plus_fc2_minus_y**2)  [models.py:97]
    total_2 = f32(0.0)
    for i in range(short(16)):
        d_fc2_bias[i] = f32(0.0)
    for i in range(32):
        for j in range(short(16)):
            fc2 = hidden_fc2_weight[i, j] + fc2_bias[j]
            x_plus_fc2_minus_y = x[i, j] + fc2 - y[i, j]
            d_fc2[i, j] = f32(0.00390625) * x_plus_fc2_minus_y
            d_fc2_bias[j] += d_fc2[i, j]
            total_2 = plus(total_2, x_plus_fc2_minus_y * x_plus_fc2_minus_y)
    loss[()] = total_2 * f32(0.001953125)  # [models.py:97]

    # ---- backward ----------------------------------------------------------------------------
    matmul(d_fc2, fc2_weight, d_hidden)  # d_fc2 @ fc2_weight  [adjoint of hidden, models.py:89]

    # d_fc1 = d_hidden * (half_erfc_product + fc1 * exp(-fc1**2 / 2) / sqrt(2 * pi))
    #     [adjoint of fc1, models.py:88]
    # d_fc1_bias = sum(d_fc1, axis=0)  [adjoint of fc1_bias, models.py:88]
    for i in range(short(16)):
        d_fc1_bias[i] = f32(0.0)
    for i in range(32):
        for j in range(16):
            d_fc1[i, j] = d_hidden[i, j] * (
                half_erfc_product[i, j]
                + f32(0.3989423) * exp(f32(-0.5) * (fc1[i, j] * fc1[i, j])) * fc1[i, j]
            )
            d_fc1_bias[j] += d_fc1[i, j]

    matmul(d_fc1, fc1_weight, d_norm)  # d_fc1 @ fc1_weight  [adjoint of norm, models.py:88]

    # d_norm_bias = sum(d_norm, axis=0)  [adjoint of norm_bias, models.py:88]
    # d_norm_weight = sum(d_norm * product, axis=0)  [adjoint of norm_weight, models.py:88]
    for i in range(short(16)):
        d_norm_weight[i] = d_norm_bias[i] = f32(0.0)
    for i in range(32):
        for j in range(short(16)):
            d_norm_bias[j] += d_norm[i, j]
            d_norm_weight[j] += d_norm[i, j] * product[i, j]

    matmul_tn(d_fc1, norm, d_fc1_weight)  # d_fc1.T @ norm  [adjoint of fc1_weight, models.py:88]

    # d_fc2_weight = d_fc2.T @ hidden  [adjoint of fc2_weight, models.py:89]
    matmul_tn(d_fc2, hidden, d_fc2_weight)

    # ---- update ------------------------------------------------------------------------------
    one_minus_beta2 = f32(1.0 - beta2)  # [models.py:174]
    beta2_f32 = f32(beta2)  # [models.py:174]
    one_minus_beta1 = f32(1.0 - beta1)  # [models.py:174]
    one_plus_steps = steps[()] + f32(1.0)  # [models.py:174]
    steps[()] = one_plus_steps  # [models.py:174]
    v_correction = f32(sqrt(1.0 - power(beta2, f64(one_plus_steps))))  # [models.py:174]
    step_size = f32(lr / (1.0 - power(beta1, f64(one_plus_steps))))  # [models.py:174]
    one_minus_scaled_lr = f32(1.0 - lr * 0.01)  # [models.py:174]
    update(
        norm_weight,
        d_norm_weight,
        norm_weight_exp_avg,
        norm_weight_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    update(
        norm_bias,
        d_norm_bias,
        norm_bias_exp_avg,
        norm_bias_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    update(
        flat(fc1_weight),
        flat(d_fc1_weight),
        flat(fc1_weight_exp_avg),
        flat(fc1_weight_exp_avg_sq),
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    update(
        fc1_bias,
        d_fc1_bias,
        fc1_bias_exp_avg,
        fc1_bias_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    update(
        flat(fc2_weight),
        flat(d_fc2_weight),
        flat(fc2_weight_exp_avg),
        flat(fc2_weight_exp_avg_sq),
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    update(
        fc2_bias,
        d_fc2_bias,
        fc2_bias_exp_avg,
        fc2_bias_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        one_minus_scaled_lr,
        step_size,
        v_correction,
    )
    return 0
