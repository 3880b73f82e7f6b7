"""function: computes f, d_x, d_direction_d_x (golden_models.py:60).
Workspace: 0 bytes. FLOPs: 47 * n. Traffic: 24 * n + 8 bytes.

    x                float64  (n,)  input
    f                float64  ()    output
    d_x              float64  (n,)  output
    d_direction_d_x  float64  (n,)  output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f64
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.trigonometric import cos, sin


@njit(error_model="numpy")
def function(x, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    n = x.shape[0]
    f = array_at(addresses[0], (), f64)
    d_x = array_at(addresses[1], (n,), f64)
    d_direction_d_x = array_at(addresses[2], (n,), f64)

    # ---- forward and backward ----------------------------------------------------------------
    # cos_x = cos(x)  [for the adjoint of sin_x, golden_models.py:60]
    # exp_x = exp(x)  [golden_models.py:60]
    # d_cos_x = exp_x / 2  [adjoint of cos_x, golden_models.py:60]
    # sin_x = sin(x)  [golden_models.py:60]
    # d_direction_d_x = exp_x * (cos_x / 2 + sin_x / 2) - d_cos_x * sin_x + d_cos_x * cos_x
    #     [adjoint of x, golden_models.py:60]
    # sin_x_exp_x = sin_x * exp_x  [golden_models.py:60]
    # d_x = sin_x_exp_x + exp_x * cos_x  [adjoint of x, golden_models.py:60]
    # f = sum(sin_x_exp_x)  [golden_models.py:60]
    total = 0.0
    for i in range(n):
        cos_x = cos(x[i])
        exp_x = exp(x[i])
        d_cos_x = 0.5 * exp_x
        sin_x = sin(x[i])
        d_direction_d_x[i] = (0.5 * cos_x + 0.5 * sin_x) * exp_x - d_cos_x * sin_x + d_cos_x * cos_x
        sin_x_exp_x = sin_x * exp_x
        d_x[i] = sin_x_exp_x + exp_x * cos_x
        total = plus(total, sin_x_exp_x)
    f[()] = total  # [golden_models.py:60]
    return 0
