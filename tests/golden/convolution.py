"""function: computes loss, d_kernel (golden_models.py:44, golden_models.py:43).
Workspace: 87872 bytes. FLOPs: 17236. Traffic: 11380 bytes.

    images    float32  (4, 2, 6, 6)  input
    kernel    float32  (3, 2, 3, 3)  parameter
    loss      float32  ()            output
    d_kernel  float32  (3, 2, 3, 3)  output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f32, reshaped, reuse, short, view
from staticgrad.kernels.convolution import convolve
from staticgrad.kernels.correlation import correlate
from staticgrad.kernels.pooling import max_pool, max_pool_spread
from staticgrad.vectormath.combining import plus
from staticgrad.vectormath.exponential import tanh


@njit(error_model="numpy")
def function(images, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    if images.shape != (4, 2, 6, 6):
        return 1  # the caller says what does not fit
    kernel = array_at(addresses[0], (3, 2, 3, 3), f32)
    loss = array_at(addresses[1], (), f32)
    d_kernel = array_at(addresses[2], (3, 2, 3, 3), f32)
    scratch = view(addresses[3], 0, (5166,), f32)
    tanh_convolution_images_2 = reuse(scratch, (4, 3, 16), f32)
    scratch_2 = reuse(scratch, (21524,), f32)
    convolution_images = view(addresses[3], 86144, (4, 3, 4, 4), f32)
    d_tanh_convolution_images_2 = reuse(convolution_images, (4, 3, 4, 4), f32)
    pooled = view(addresses[3], 86912, (4, 3, 2, 2), f32)
    d_convolution_images = reuse(pooled, (4, 3, 16), f32)
    d_pooled = view(addresses[3], 87680, (4, 3, 4), f32)
    convolution_images_2 = reshaped(convolution_images, (4, 3, 16))
    tanh_convolution_images_2_2 = reshaped(tanh_convolution_images_2, (4, 3, 4, 4))
    pooled_2 = reshaped(pooled, (4, 3, 4))
    d_pooled_2 = reshaped(d_pooled, (4, 3, 2, 2))
    d_tanh_convolution_images_2_2 = reshaped(d_tanh_convolution_images_2, (4, 3, 16))
    d_convolution_images_2 = reshaped(d_convolution_images, (4, 3, 4, 4))

    # ---- forward -----------------------------------------------------------------------------
    # convolution_images = conv2d(images, kernel)  [golden_models.py:43]
    convolve(images, kernel, convolution_images, scratch, (1, 1), (0, 0), (1, 1))

    # tanh_convolution_images_2 = tanh(convolution_images_2)  [golden_models.py:43]
    for i in range(4):
        for j in range(3):
            for k in range(16):
                tanh_convolution_images_2[i, j, k] = tanh(convolution_images_2[i, j, k])

    # pooled = max_pool2d(tanh_convolution_images_2_2, kernel_size=2)  [golden_models.py:43]
    max_pool(tanh_convolution_images_2_2, pooled, (2, 2), (2, 2), (0, 0), (1, 1))

    # ---- forward and backward ----------------------------------------------------------------
    # d_pooled = 0.041666668 * pooled_2  [adjoint of pooled, golden_models.py:44]
    # sum_square_pooled_2 = sum(pooled_2**2)  [golden_models.py:44]
    sum_square_pooled_2 = f32(0.0)
    for i in range(4):
        for j in range(3):
            for k in range(4):
                d_pooled[i, j, k] = f32(0.041666668) * pooled_2[i, j, k]
                sum_square_pooled_2 = plus(
                    sum_square_pooled_2, pooled_2[i, j, k] * pooled_2[i, j, k]
                )
    loss[()] = sum_square_pooled_2 / f32(48.0)  # [golden_models.py:44]

    # ---- backward ----------------------------------------------------------------------------
    # d_tanh_convolution_images_2 = max_pool_spread(tanh_convolution_images_2_2, pooled,
    #     d_pooled_2, kernel_size=2)  [adjoint of tanh_convolution_images_2, golden_models.py:43]
    max_pool_spread(
        tanh_convolution_images_2_2,
        pooled,
        d_pooled_2,
        d_tanh_convolution_images_2,
        (2, 2),
        (2, 2),
        (0, 0),
        (1, 1),
    )

    # d_convolution_images = d_tanh_convolution_images_2_2 * (1 - tanh_convolution_images_2**2)
    #     [adjoint of convolution_images, golden_models.py:43]
    for i in range(4):
        for j in range(3):
            for k in range(short(16)):
                d_convolution_images[i, j, k] = d_tanh_convolution_images_2_2[i, j, k] * (
                    f32(1.0)
                    - tanh_convolution_images_2[i, j, k] * tanh_convolution_images_2[i, j, k]
                )

    # d_kernel = correlation(images, d_convolution_images_2)
    #     [adjoint of kernel, golden_models.py:43]
    correlate(images, d_kernel, d_convolution_images_2, scratch_2, (1, 1), (0, 0), (1, 1))
    return 0
