"""digits_classifier: computes loss and updates parameters in place (models.py:52).
Workspace: 384 * batch + 9664 + (40 * batch + 63) // 64 * 64 bytes. FLOPs: 10505 * batch + 53090.
Traffic: 2008 * batch + 88132 bytes.

    images                     float32  (batch, 64)  input
    labels                     int64    (batch,)     input
    linear0_weight             float32  (32, 64)     parameter, updated
    linear0_bias               float32  (32,)        parameter, updated
    linear2_weight             float32  (10, 32)     parameter, updated
    linear2_bias               float32  (10,)        parameter, updated
    lr                         float64  ()           parameter
    beta1                      float64  ()           parameter
    steps                      float32  ()           parameter, updated
    linear0_weight_exp_avg     float32  (32, 64)     parameter, updated
    beta2                      float64  ()           parameter
    linear0_weight_exp_avg_sq  float32  (32, 64)     parameter, updated
    linear0_bias_exp_avg       float32  (32,)        parameter, updated
    linear0_bias_exp_avg_sq    float32  (32,)        parameter, updated
    linear2_weight_exp_avg     float32  (10, 32)     parameter, updated
    linear2_weight_exp_avg_sq  float32  (10, 32)     parameter, updated
    linear2_bias_exp_avg       float32  (10,)        parameter, updated
    linear2_bias_exp_avg_sq    float32  (10,)        parameter, updated
    loss                       float32  ()           output
"""

from math import inf

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, flat, reuse, short, view
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.vectormath.combining import maximum, plus, where
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.logarithm import log
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
    # v = beta2_f32 * exp_avg_sq + one_minus_beta2 * gradient**2  [models.py:174]
    # exp_avg_sq = v  [models.py:174]
    # m = exp_avg + one_minus_beta1 * (gradient - exp_avg)  [models.py:174]
    # exp_avg = m  [models.py:174]
    # parameter = parameter - step_size * m / (sqrt(v) / v_correction + 1e-8)  [models.py:174]
    for i in range(parameter.size):
        v = beta2_f32 * exp_avg_sq[i] + one_minus_beta2 * (gradient[i] * gradient[i])
        exp_avg_sq[i] = v
        m = exp_avg[i] + one_minus_beta1 * (gradient[i] - exp_avg[i])
        exp_avg[i] = m
        parameter[i] = parameter[i] - step_size * (m / (sqrt(v) / v_correction + f32(1e-08)))


@njit(error_model="numpy")
def digits_classifier(images, labels, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    batch = images.shape[0]
    workspace_size = addresses[18]
    if (
        images.shape != (batch, 64)
        or labels.shape != (batch,)
        or workspace_size < 384 * batch + 9664 + (40 * batch + 63) // 64 * 64
    ):
        return 1  # the caller says what does not fit
    linear0_weight = array_at(addresses[0], (32, 64), f32)
    linear0_bias = array_at(addresses[1], (32,), f32)
    linear2_weight = array_at(addresses[2], (10, 32), f32)
    linear2_bias = array_at(addresses[3], (10,), f32)
    lr = array_at(addresses[4], (), f64)[()]
    beta1 = array_at(addresses[5], (), f64)[()]
    steps = array_at(addresses[6], (), f32)
    linear0_weight_exp_avg = array_at(addresses[7], (32, 64), f32)
    beta2 = array_at(addresses[8], (), f64)[()]
    linear0_weight_exp_avg_sq = array_at(addresses[9], (32, 64), f32)
    linear0_bias_exp_avg = array_at(addresses[10], (32,), f32)
    linear0_bias_exp_avg_sq = array_at(addresses[11], (32,), f32)
    linear2_weight_exp_avg = array_at(addresses[12], (10, 32), f32)
    linear2_weight_exp_avg_sq = array_at(addresses[13], (10, 32), f32)
    linear2_bias_exp_avg = array_at(addresses[14], (10,), f32)
    linear2_bias_exp_avg_sq = array_at(addresses[15], (10,), f32)
    loss = array_at(addresses[16], (), f32)
    d_linear2_bias = view(addresses[17], 0, (10,), f32)
    exponential = view(addresses[17], 64, (10,), f32)
    d_linear2_weight = reuse(exponential, (10, 32), f32)
    logits = view(addresses[17], 1344, (10,), f32)
    d_linear0_bias = reuse(logits, (32,), f32)
    d_linear0_weight = view(addresses[17], 1472, (32, 64), f32)
    end = 9664
    images_linear0_weight = view(addresses[17], end, (batch, 32), f32)
    d_relu1 = reuse(images_linear0_weight, (batch, 32), f32)
    end += 128 * batch
    relu1 = view(addresses[17], end, (batch, 32), f32)
    end += 128 * batch
    relu1_linear2_weight = view(addresses[17], end, (batch, 10), f32)
    d_linear0 = reuse(relu1_linear2_weight, (batch, 32), f32)
    end += 128 * batch
    d_logits = view(addresses[17], end, (batch, 10), f32)

    # ---- indices in range --------------------------------------------------------------------
    for i in range(batch):
        if not 0 <= labels[i] < 10:
            return 2

    # ---- forward -----------------------------------------------------------------------------
    one_over_batch = f32(1.0) / f32(batch)  # [for the adjoint of loss, models.py:52]

    # images_linear0_weight = images @ linear0_weight.T  [models.py:51]
    matmul_nt(images, linear0_weight, images_linear0_weight)

    # linear0 = images_linear0_weight + linear0_bias  [models.py:51]
    # relu1 = maximum(linear0, 0)  [models.py:51]
    for i in range(batch):
        for j in range(short(32)):
            linear0 = images_linear0_weight[i, j] + linear0_bias[j]
            relu1[i, j] = maximum(linear0, f32(0.0))

    # relu1_linear2_weight = relu1 @ linear2_weight.T  [models.py:51]
    matmul_nt(relu1, linear2_weight, relu1_linear2_weight)

    # ---- forward and backward ----------------------------------------------------------------
    # logits = relu1_linear2_weight + linear2_bias  [models.py:51]
    # max_logits = max(logits, axis=1)  [models.py:52]
    # exponential = exp(logits - max_logits)  [models.py:52]
    # sum_exponential = sum(exponential, axis=1)  [models.py:52]
    # total = sum(log(sum_exponential) + max_logits - logits[arange(batch), labels])  [models.py:52]
    # d_logits = one_over_batch * (exponential / sum_exponential - float32(labels == arange(10)))
    #     [adjoint of logits, models.py:52]
    # d_linear2_bias = sum(d_logits, axis=0)  [adjoint of linear2_bias, models.py:51]
    total = f32(0.0)
    for i in range(short(10)):
        d_linear2_bias[i] = f32(0.0)
    for i in range(batch):
        max_logits = f32(-inf)
        for j in range(short(10)):
            logits[j] = relu1_linear2_weight[i, j] + linear2_bias[j]
            max_logits = maximum(max_logits, logits[j])
        sum_exponential = f32(0.0)
        for j in range(short(10)):
            exponential[j] = exp(logits[j] - max_logits)
            sum_exponential = plus(sum_exponential, exponential[j])
        total = plus(total, log(sum_exponential) + max_logits - logits[labels[i]])
        for j in range(short(10)):
            d_logits[i, j] = (
                exponential[j] / sum_exponential - f32(labels[i] == j)
            ) * one_over_batch
            d_linear2_bias[j] += d_logits[i, j]
    loss[()] = total / f32(batch)  # [models.py:52]

    # ---- backward ----------------------------------------------------------------------------
    # d_relu1 = d_logits @ linear2_weight  [adjoint of relu1, models.py:51]
    matmul(d_logits, linear2_weight, d_relu1)

    # d_linear0 = where(relu1 > 0, d_relu1, 0)  [adjoint of linear0, models.py:51]
    # d_linear0_bias = sum(d_linear0, axis=0)  [adjoint of linear0_bias, models.py:51]
    for i in range(short(32)):
        d_linear0_bias[i] = f32(0.0)
    for i in range(batch):
        for j in range(short(32)):
            d_linear0[i, j] = where(relu1[i, j] > f32(0.0), d_relu1[i, j], f32(0.0))
            d_linear0_bias[j] += d_linear0[i, j]

    # d_linear0_weight = d_linear0.T @ images  [adjoint of linear0_weight, models.py:51]
    matmul_tn(d_linear0, images, d_linear0_weight)

    # d_linear2_weight = d_logits.T @ relu1  [adjoint of linear2_weight, models.py:51]
    matmul_tn(d_logits, relu1, d_linear2_weight)

    # ---- update ------------------------------------------------------------------------------
    one_minus_beta2 = f32(1.0 - beta2)  # [models.py:174]
    beta2_f32 = f32(beta2)  # [models.py:174]
    one_minus_beta1 = f32(1.0 - beta1)  # [models.py:174]
    one_plus_steps = steps[()] + f32(1.0)  # [models.py:174]
    steps[()] = one_plus_steps  # [models.py:174]
    v_correction = f32(sqrt(1.0 - power(beta2, f64(one_plus_steps))))  # [models.py:174]
    step_size = f32(lr / (1.0 - power(beta1, f64(one_plus_steps))))  # [models.py:174]
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
        flat(d_linear2_weight),
        flat(linear2_weight_exp_avg),
        flat(linear2_weight_exp_avg_sq),
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        step_size,
        v_correction,
    )
    update(
        linear2_bias,
        d_linear2_bias,
        linear2_bias_exp_avg,
        linear2_bias_exp_avg_sq,
        beta2_f32,
        one_minus_beta2,
        one_minus_beta1,
        step_size,
        v_correction,
    )
    return 0
