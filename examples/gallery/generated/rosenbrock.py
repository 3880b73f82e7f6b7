"""rosenbrock: computes value, d_x (models.py:145, models.py:144).
Workspace: 0 bytes. FLOPs: 19 * n - 14. Traffic: 16 * n + 8 bytes.

    x      float64  (n,)  input
    value  float64  ()    output
    d_x    float64  (n,)  output
"""

from numba import njit

from staticgrad.kernels.arrays import array_at, f64
from staticgrad.vectormath.combining import plus


@njit(error_model="numpy")
def rosenbrock(x, addresses):
    # ---- inputs, parameters, intermediates ---------------------------------------------------
    n = x.shape[0]
    if n - 1 < 0:
        return 1  # the caller says what does not fit
    value = array_at(addresses[0], (), f64)
    d_x = array_at(addresses[1], (n,), f64)

    # ---- forward and backward ----------------------------------------------------------------
    # distance = 1 - x[:n - 1]  [models.py:144]
    # step = x[1:] - x[:n - 1] ** 2  [models.py:144]
    # value = sum(100 * step**2 + distance**2)  [models.py:145]
    # d_x = embed(-2 * distance at [:n - 1]) + embed(-400 * step * x[:n - 1] at [:n - 1]) +
    #     embed(200 * step at [1:])  [adjoint of x, models.py:144]
    total = 0.0
    for i in range(min(1, n - 1)):
        distance = 1.0 - x[i]
        step = x[i + 1] - x[i] * x[i]
        total = plus(total, 100.0 * (step * step) + distance * distance)
    for i in range(min(1, n)):
        d_x[i] = (-2.0 * (1.0 - x[i]) if i < n - 1 else 0.0) + (
            -100.0 * (2.0 * (x[i + 1] - x[i] * x[i])) * (2.0 * x[i]) if i < n - 1 else 0.0
        )
    for further in range(n - 2):
        i = further + 1
        distance = 1.0 - x[i]
        step = x[i + 1] - x[i] * x[i]
        total = plus(total, 100.0 * (step * step) + distance * distance)
        d_x[i] = (
            -2.0 * distance
            + -100.0 * (2.0 * step) * (2.0 * x[i])
            + 100.0 * (2.0 * (x[i] - x[i - 1] * x[i - 1]))
        )
    for i in range(max(1, n - 1), n):
        d_x[i] = 100.0 * (2.0 * (x[i] - x[i - 1] * x[i - 1]))
    value[()] = total  # [models.py:145]
    return 0
