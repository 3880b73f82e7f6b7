"""black_scholes: computes price, d_s, d_k, d_t, d_r, d_v (models.py:118, models.py:116).
Workspace: 0 bytes. FLOPs: 176 * n. Traffic: 88 * n bytes.

    s      float64  (n,)  input
    k      float64  (n,)  input
    t      float64  (n,)  input
    r      float64  (n,)  input
    v      float64  (n,)  input
    price  float64  (n,)  output
    d_s    float64  (n,)  output
    d_k    float64  (n,)  output
    d_t    float64  (n,)  output
    d_r    float64  (n,)  output
    d_v    float64  (n,)  output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f64
from staticgrad.vectormath.error_function import erf
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.logarithm import log
from staticgrad.vectormath.roots import sqrt


@njit(error_model="numpy")
def black_scholes(s, k, t, r, v, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    n = s.shape[0]
    if k.shape != (n,) or t.shape != (n,) or r.shape != (n,) or v.shape != (n,):
        return 1  # the caller says what does not fit
    price = array_at(addresses[0], (n,), f64)
    d_s = array_at(addresses[1], (n,), f64)
    d_k = array_at(addresses[2], (n,), f64)
    d_t = array_at(addresses[3], (n,), f64)
    d_r = array_at(addresses[4], (n,), f64)
    d_v = array_at(addresses[5], (n,), f64)

    # ---- forward and backward ----------------------------------------------------------------
    # r_plus_half_v_v = r + v * v / 2  [models.py:116]
    # s_over_k = s / k  [models.py:116]
    # exp_negative_product = exp(-r * t)  [models.py:118]
    # k_exp_negative_product = k * exp_negative_product  [models.py:118]
    # sqrt_t = sqrt(t)  [models.py:115]
    # deviation = v * sqrt_t  [models.py:115]
    # d1 = (log(s_over_k) + r_plus_half_v_v * t) / deviation  [models.py:116]
    # d2 = d1 - deviation  [models.py:117]
    # scaled_d2 = d2 / sqrt(2)  [models.py:125]
    # d_d2 = -k_exp_negative_product * exp(-scaled_d2**2) / sqrt(2 * pi)
    #     [adjoint of d2, models.py:125]
    # one_plus_erf_scaled_d2 = 1 + erf(scaled_d2)  [models.py:125]
    # d_k_exp_negative_product = -one_plus_erf_scaled_d2 / 2
    #     [adjoint of k_exp_negative_product, models.py:118]
    # d_negative_r_t = d_k_exp_negative_product * k * exp_negative_product
    #     [adjoint of negative_r_t, models.py:118]
    # scaled_d1 = d1 / sqrt(2)  [models.py:125]
    # d_d1 = d_d2 + s * exp(-scaled_d1**2) / sqrt(2 * pi)  [adjoint of d1, models.py:125]
    # d_addition = d_d1 / deviation  [adjoint of addition, models.py:116]
    # d_r_plus_half_v_v = d_addition * t  [adjoint of r_plus_half_v_v, models.py:116]
    # half_d_r_plus_half_v_v_v = d_r_plus_half_v_v * v / 2  [for the adjoint of v_v, models.py:116]
    # d_r = d_r_plus_half_v_v - d_negative_r_t * t  [adjoint of r, models.py:116]
    # d_deviation = -d_d2 - d_addition * d1  [adjoint of deviation, models.py:116]
    # d_v = d_deviation * sqrt_t + half_d_r_plus_half_v_v_v + half_d_r_plus_half_v_v_v
    #     [adjoint of v, models.py:116]
    # d_t = d_deviation * v / (2 * sqrt_t) - d_negative_r_t * r + d_addition * r_plus_half_v_v
    #     [adjoint of t, models.py:116]
    # ratio = d_addition / (s_over_k * k)  [for the adjoint of s_over_k, models.py:116]
    # d_k = d_k_exp_negative_product * exp_negative_product - ratio * s_over_k
    #     [adjoint of k, models.py:116]
    # half_one_plus_erf_scaled_d1 = (1 + erf(scaled_d1)) / 2  [models.py:125]
    # d_s = half_one_plus_erf_scaled_d1 + ratio  [adjoint of s, models.py:116]
    # price = s * half_one_plus_erf_scaled_d1 - k_exp_negative_product * one_plus_erf_scaled_d2 / 2
    #     [models.py:118]
    for i in range(n):
        r_plus_half_v_v = r[i] + v[i] * v[i] * 0.5
        s_over_k = s[i] / k[i]
        exp_negative_product = exp(-(r[i] * t[i]))
        k_exp_negative_product = k[i] * exp_negative_product
        sqrt_t = sqrt(t[i])
        deviation = v[i] * sqrt_t
        d1 = (log(s_over_k) + r_plus_half_v_v * t[i]) / deviation
        d2 = d1 - deviation
        scaled_d2 = d2 / 1.4142135623730951
        d_d2 = (
            -0.5
            * k_exp_negative_product
            * (1.1283791670955126 * exp(-(scaled_d2 * scaled_d2)))
            / 1.4142135623730951
        )
        one_plus_erf_scaled_d2 = 1.0 + erf(scaled_d2)
        d_k_exp_negative_product = -0.5 * one_plus_erf_scaled_d2
        d_negative_r_t = d_k_exp_negative_product * k[i] * exp_negative_product
        scaled_d1 = d1 / 1.4142135623730951
        d_d1 = (
            d_d2
            + s[i] * 0.5 * (1.1283791670955126 * exp(-(scaled_d1 * scaled_d1))) / 1.4142135623730951
        )
        d_addition = d_d1 / deviation
        d_r_plus_half_v_v = d_addition * t[i]
        half_d_r_plus_half_v_v_v = d_r_plus_half_v_v * 0.5 * v[i]
        d_r[i] = d_r_plus_half_v_v - d_negative_r_t * t[i]
        d_deviation = -d_d2 - d_addition * d1
        d_v[i] = d_deviation * sqrt_t + half_d_r_plus_half_v_v_v + half_d_r_plus_half_v_v_v
        d_t[i] = (
            d_deviation * v[i] / (2.0 * sqrt_t)
            - d_negative_r_t * r[i]
            + d_addition * r_plus_half_v_v
        )
        ratio = d_addition / s_over_k / k[i]
        d_k[i] = d_k_exp_negative_product * exp_negative_product - ratio * s_over_k
        half_one_plus_erf_scaled_d1 = 0.5 * (1.0 + erf(scaled_d1))
        d_s[i] = half_one_plus_erf_scaled_d1 + ratio
        price[i] = s[i] * half_one_plus_erf_scaled_d1 - k_exp_negative_product * (
            0.5 * one_plus_erf_scaled_d2
        )
    return 0
