"""eight_schools: computes log_density, d_theta (models.py:137, models.py:133).
Workspace: 64 bytes. FLOPs: 292. Traffic: 504 bytes.

    theta        float64  (10,)  input
    effect       float64  (8,)   constant
    error        float64  (8,)   constant
    log_density  float64  ()     output
    d_theta      float64  (10,)  output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f64, short, view
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.logarithm import log1p


@njit(error_model="numpy")
def eight_schools(theta, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if theta.shape != (10,):
        return 1  # the caller says what does not fit
    effect = array_at(addresses[0], (8,), f64)
    error = array_at(addresses[1], (8,), f64)
    log_density = array_at(addresses[2], (), f64)
    d_theta = array_at(addresses[3], (10,), f64)
    d_effect_minus_addition = view(addresses[4], 0, (8,), f64)

    # ---- forward and backward ----------------------------------------------------------------
    tau = exp(theta[1])  # [models.py:134]
    scaled_tau = tau / 5.0  # [models.py:136]
    square_scaled_tau = scaled_tau * scaled_tau  # [models.py:136]
    scaled_mu = theta[0] / 5.0  # [models.py:136]

    # residual = (effect - (theta[:1] + tau * theta[2:])) / error  [models.py:135]
    # scaled_residual = -residual / 2  [for the adjoint of residual_residual, models.py:137]
    # d_effect_minus_addition = 2 * scaled_residual / error
    #     [adjoint of effect_minus_addition, models.py:135]
    # sum_negative = sum(-d_effect_minus_addition)  [for the adjoint of mu, models.py:135]
    # sum_negative_product = sum(-d_effect_minus_addition * theta[2:])
    #     [for the adjoint of tau, models.py:135]
    # total_2 = sum(residual * residual)  [models.py:137]
    # total = sum(theta[2:] * theta[2:])  [models.py:136]
    total = total_2 = sum_negative_product = sum_negative = 0.0
    for i in range(short(8)):
        residual = (effect[i] - (theta[0] + tau * theta[i + 2])) / error[i]
        scaled_residual = -0.5 * residual
        d_effect_minus_addition[i] = (scaled_residual + scaled_residual) / error[i]
        sum_negative = plus(sum_negative, -d_effect_minus_addition[i])
        sum_negative_product = plus(
            sum_negative_product, -(d_effect_minus_addition[i] * theta[i + 2])
        )
        total_2 = plus(total_2, residual * residual)
        total = plus(total, theta[i + 2] * theta[i + 2])
    # [models.py:136]
    prior = -0.5 * (scaled_mu * scaled_mu) - 0.5 * total - log1p(square_scaled_tau) + theta[1]
    log_density[()] = prior - 0.5 * total_2  # [models.py:137]

    # ---- backward ----------------------------------------------------------------------------
    # d_theta = embed(1 + tau * (sum_negative_product - 2 * scaled_tau / (5 * (1 +
    #     square_scaled_tau))) at [1:2]) + embed(-theta[2:] / 2 - d_effect_minus_addition * tau -
    #     theta[2:] / 2 at [2:]) + embed(sum_negative - scaled_mu / 5 at [:1])
    #     [adjoint of theta, models.py:133]
    d_theta[0] = sum_negative - scaled_mu / 5.0
    d_theta[1] = (
        1.0
        + (sum_negative_product + -1.0 / (1.0 + square_scaled_tau) * (2.0 * scaled_tau) / 5.0) * tau
    )
    for i in range(2, short(10)):
        d_theta[i] = -0.5 * theta[i] - d_effect_minus_addition[i - 2] * tau + -0.5 * theta[i]
    return 0
