"""linear_regression: computes loss and updates parameters in place (models.py:20).
Workspace: 64 bytes. FLOPs: 19 * batch + 18. Traffic: 16 * batch + 76 bytes.

    x     float32  (batch, 3)  input
    y     float32  (batch,)    input
    w     float32  (3,)        parameter, updated
    b     float32  ()          parameter, updated
    lr    float64  ()          parameter
    loss  float32  ()          output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, f64, view
from staticgrad.vectormath.combining import plus


@njit(error_model="numpy")
def linear_regression(x, y, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    batch = x.shape[0]
    if x.shape != (batch, 3) or y.shape != (batch,):
        return 1  # the caller says what does not fit
    w = array_at(addresses[0], (3,), f32)
    b = array_at(addresses[1], (), f32)
    lr = f32(array_at(addresses[2], (), f64)[()])
    loss = array_at(addresses[3], (), f32)
    d_w = view(addresses[4], 0, (3,), f32)

    # ---- forward and backward ----------------------------------------------------------------
    one_over_batch = f32(1.0) / f32(batch)  # [for the adjoint of loss, models.py:20]

    # prediction = sum(x * w, axis=1) + b  [models.py:19]
    # prediction_minus_y = prediction - y  [models.py:20]
    # d_prediction = 2 * one_over_batch * prediction_minus_y  [adjoint of prediction, models.py:20]
    # d_b = sum(d_prediction)  [adjoint of b, models.py:19]
    # total_2 = sum(prediction_minus_y**2)  [models.py:20]
    # d_w = sum(x * d_prediction, axis=0)  [adjoint of w, models.py:19]
    total_2 = d_b = f32(0.0)
    for i in range(3):
        d_w[i] = f32(0.0)
    for i in range(batch):
        total = f32(0.0)
        for j in range(3):
            total = plus(total, x[i, j] * w[j])
        prediction = total + b[()]
        prediction_minus_y = prediction - y[i]
        d_prediction = one_over_batch * (f32(2.0) * prediction_minus_y)
        d_b = plus(d_b, d_prediction)
        total_2 = plus(total_2, prediction_minus_y * prediction_minus_y)
        for j in range(3):
            d_w[j] += x[i, j] * d_prediction
    loss[()] = total_2 / f32(batch)  # [models.py:20]

    # ---- update ------------------------------------------------------------------------------
    b[()] = b[()] - lr * d_b  # [models.py:174]

    # w = w - lr * d_w  [models.py:174]
    for i in range(3):
        w[i] = w[i] - lr * d_w[i]
    return 0
