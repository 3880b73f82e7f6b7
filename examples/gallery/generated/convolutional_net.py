"""convolutional_net: computes loss and updates parameters in place (models.py:74).
Workspace: 87040 bytes. FLOPs: 123441. Traffic: 122220 bytes.

    images                       float32  (8, 1, 8, 8)  input
    labels                       int64    (8,)          input
    conv_weight                  float32  (4, 1, 3, 3)  parameter, updated
    conv_bias                    float32  (4,)          parameter, updated
    fc_weight                    float32  (10, 64)      parameter, updated
    fc_bias                      float32  (10,)         parameter, updated
    lr                           float64  ()            parameter
    momentum                     float64  ()            parameter
    conv_weight_momentum_buffer  float32  (4, 1, 3, 3)  parameter, updated
    conv_bias_momentum_buffer    float32  (4,)          parameter, updated
    fc_weight_momentum_buffer    float32  (10, 64)      parameter, updated
    fc_bias_momentum_buffer      float32  (10,)         parameter, updated
    loss                         float32  ()            output
"""

from math import inf

from numba import njit

from staticgrad.kernels.arrays import (
    array_at,
    f32,
    f64,
    flat,
    reshaped,
    reuse,
    short,
    view,
)
from staticgrad.kernels.convolution import convolve
from staticgrad.kernels.correlation import correlate
from staticgrad.kernels.gemm import matmul, matmul_nt, matmul_tn
from staticgrad.kernels.pooling import max_pool, max_pool_spread
from staticgrad.vectormath.combining import maximum, plus, where
from staticgrad.vectormath.exponential import exp
from staticgrad.vectormath.logarithm import log


@njit(error_model="numpy")
def update(parameter, gradient, momentum_buffer, momentum, lr):
    # b = momentum * momentum_buffer + gradient  [models.py:174]
    # momentum_buffer = b  [models.py:174]
    # parameter = parameter - lr * b  [models.py:174]
    for i in range(parameter.size):
        b = momentum * momentum_buffer[i] + gradient[i]
        momentum_buffer[i] = b
        parameter[i] = parameter[i] - lr * b


@njit(error_model="numpy")
def convolutional_net(images, labels, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if images.shape != (8, 1, 8, 8) or labels.shape != (8,):
        return 1  # the caller says what does not fit
    conv_weight = array_at(addresses[0], (4, 1, 3, 3), f32)
    conv_bias = array_at(addresses[1], (4,), f32)
    fc_weight = array_at(addresses[2], (10, 64), f32)
    fc_bias = array_at(addresses[3], (10,), f32)
    lr = f32(array_at(addresses[4], (), f64)[()])
    momentum = f32(array_at(addresses[5], (), f64)[()])
    conv_weight_momentum_buffer = array_at(addresses[6], (4, 1, 3, 3), f32)
    conv_bias_momentum_buffer = array_at(addresses[7], (4,), f32)
    fc_weight_momentum_buffer = array_at(addresses[8], (10, 64), f32)
    fc_bias_momentum_buffer = array_at(addresses[9], (10,), f32)
    loss = array_at(addresses[10], (), f32)
    scratch = view(addresses[11], 0, (5664,), f32)
    maximum_conv = reuse(scratch, (8, 4, 64), f32)
    scratch_2 = reuse(scratch, (17022,), f32)
    convolution_images = view(addresses[11], 68096, (8, 4, 8, 8), f32)
    exponential = reuse(convolution_images, (10,), f32)
    d_maximum_conv = reuse(convolution_images, (8, 4, 8, 8), f32)
    d_conv_weight = reuse(convolution_images, (4, 1, 3, 3), f32)
    features = view(addresses[11], 76288, (8, 4, 4, 4), f32)
    features_2_fc_weight = view(addresses[11], 78336, (8, 10), f32)
    d_features_2 = reuse(features_2_fc_weight, (8, 64), f32)
    d_conv = reuse(features_2_fc_weight, (8, 4, 64), f32)
    d_fc_weight = reuse(features_2_fc_weight, (10, 64), f32)
    d_fc_bias = view(addresses[11], 86528, (10,), f32)
    fc = view(addresses[11], 86592, (10,), f32)
    sum_d_conv = reuse(fc, (8, 4), f32)
    d_fc = view(addresses[11], 86720, (8, 10), f32)
    convolution_images_2 = reshaped(convolution_images, (8, 4, 64))
    maximum_conv_2 = reshaped(maximum_conv, (8, 4, 8, 8))
    features_2 = reshaped(features, (8, 64))
    d_features = reshaped(d_features_2, (8, 4, 4, 4))
    d_maximum_conv_2 = reshaped(d_maximum_conv, (8, 4, 64))
    d_conv_2 = reshaped(d_conv, (8, 4, 8, 8))

    # ---- indices in range --------------------------------------------------------------------
    for i in range(short(8)):
        if not 0 <= labels[i] < 10:
            return 2

    # ---- forward -----------------------------------------------------------------------------
    # convolution_images = conv2d(images, conv_weight, padding=1)  [models.py:65]
    convolve(images, conv_weight, convolution_images, scratch, (1, 1), (1, 1), (1, 1))

    # conv = convolution_images_2 + conv_bias  [models.py:65]
    # maximum_conv = maximum(conv, 0)  [models.py:65]
    for i in range(8):
        for j in range(4):
            for k in range(64):
                conv = convolution_images_2[i, j, k] + conv_bias[j]
                maximum_conv[i, j, k] = maximum(conv, f32(0.0))

    # features = max_pool2d(maximum_conv_2, kernel_size=2)  [models.py:65]
    max_pool(maximum_conv_2, features, (2, 2), (2, 2), (0, 0), (1, 1))

    # features_2_fc_weight = features_2 @ fc_weight.T  [models.py:66]
    matmul_nt(features_2, fc_weight, features_2_fc_weight)

    # ---- forward and backward ----------------------------------------------------------------
    # fc = features_2_fc_weight + fc_bias  [models.py:66]
    # max_fc = max(fc, axis=1)  [models.py:74]
    # exponential = exp(fc - max_fc)  [models.py:74]
    # sum_exponential = sum(exponential, axis=1)  [models.py:74]
    # total = sum(log(sum_exponential) + max_fc - fc[arange(8), labels])  [models.py:74]
    # d_fc = (exponential / sum_exponential - float32(labels == arange(10))) / 8
    #     [adjoint of fc, models.py:74]
    # d_fc_bias = sum(d_fc, axis=0)  [adjoint of fc_bias, models.py:66]
    total = f32(0.0)
    for i in range(short(10)):
        d_fc_bias[i] = f32(0.0)
    for i in range(8):
        max_fc = f32(-inf)
        for j in range(short(10)):
            fc[j] = features_2_fc_weight[i, j] + fc_bias[j]
            max_fc = maximum(max_fc, fc[j])
        sum_exponential = f32(0.0)
        for j in range(short(10)):
            exponential[j] = exp(fc[j] - max_fc)
            sum_exponential = plus(sum_exponential, exponential[j])
        total = plus(total, log(sum_exponential) + max_fc - fc[labels[i]])
        for j in range(short(10)):
            d_fc[i, j] = (exponential[j] / sum_exponential - f32(labels[i] == j)) * f32(0.125)
            d_fc_bias[j] += d_fc[i, j]
    loss[()] = total * f32(0.125)  # [models.py:74]

    # ---- backward ----------------------------------------------------------------------------
    matmul(d_fc, fc_weight, d_features_2)  # d_fc @ fc_weight  [adjoint of features_2, models.py:66]

    # d_maximum_conv = max_pool_spread(maximum_conv_2, features, d_features, kernel_size=2)
    #     [adjoint of maximum_conv, models.py:65]
    max_pool_spread(
        maximum_conv_2, features, d_features, d_maximum_conv, (2, 2), (2, 2), (0, 0), (1, 1)
    )

    # d_conv = where(maximum_conv > 0, d_maximum_conv_2, 0)  [adjoint of conv, models.py:65]
    # sum_d_conv = sum(d_conv, axis=2)  [for the adjoint of conv_bias, models.py:65]
    for i in range(8):
        for j in range(4):
            total_2 = f32(0.0)
            for k in range(64):
                d_conv[i, j, k] = where(
                    maximum_conv[i, j, k] > f32(0.0), d_maximum_conv_2[i, j, k], f32(0.0)
                )
                total_2 = plus(total_2, d_conv[i, j, k])
            sum_d_conv[i, j] = total_2

    # d_conv_weight = correlation(images, d_conv_2, padding=1)
    #     [adjoint of conv_weight, models.py:65]
    correlate(images, d_conv_weight, d_conv_2, scratch_2, (1, 1), (1, 1), (1, 1))

    # d_fc_weight = d_fc.T @ features_2  [adjoint of fc_weight, models.py:66]
    matmul_tn(d_fc, features_2, d_fc_weight)

    # ---- update ------------------------------------------------------------------------------
    update(flat(conv_weight), flat(d_conv_weight), flat(conv_weight_momentum_buffer), momentum, lr)

    # ---- backward and update -----------------------------------------------------------------
    # d_conv_bias = sum(sum_d_conv.T, axis=1)  [adjoint of conv_bias, models.py:65]
    # b_2 = momentum * conv_bias_momentum_buffer + d_conv_bias  [models.py:174]
    # conv_bias_momentum_buffer = b_2  [models.py:174]
    # conv_bias = conv_bias - lr * b_2  [models.py:174]
    for i in range(4):
        d_conv_bias = f32(0.0)
        for j in range(short(8)):
            d_conv_bias = plus(d_conv_bias, sum_d_conv[j, i])
        b_2 = momentum * conv_bias_momentum_buffer[i] + d_conv_bias
        conv_bias_momentum_buffer[i] = b_2
        conv_bias[i] = conv_bias[i] - lr * b_2

    # ---- update ------------------------------------------------------------------------------
    update(flat(fc_weight), flat(d_fc_weight), flat(fc_weight_momentum_buffer), momentum, lr)
    update(fc_bias, d_fc_bias, fc_bias_momentum_buffer, momentum, lr)
    return 0
