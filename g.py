"""function: computes d2_exp_negative_square_x_cos_x_d_negative_square_x2,
d2_exp_negative_square_x_cos_x_d_negative_square_x_d_x (coming_from.md:1).
Workspace: 0 bytes. FLOPs: 42. Traffic: 48 bytes.

    x                                                       float64  ()  input
    d2_exp_negative_square_x_cos_x_d_negative_square_x2     float64  ()  output
    d2_exp_negative_square_x_cos_x_d_negative_square_x_d_x  float64  ()  output
"""

from numba import njit

from g_kernels.arrays import on_arrays
from g_kernels.exponential import exp
from g_kernels.trigonometric import cos, sin


@on_arrays(__doc__)
@njit(error_model="numpy")
def function(
    x,
    d2_exp_negative_square_x_cos_x_d_negative_square_x2,
    d2_exp_negative_square_x_cos_x_d_negative_square_x_d_x,
):

    # ---- forward -----------------------------------------------------------------------------
    exp_negative_square_x = exp(-(x[()] * x[()]))  # [coming_from.md:1]
    # [adjoint of negative_square_x, coming_from.md:1]
    d2_exp_negative_square_x_cos_x_d_negative_square_x2[()] = exp_negative_square_x * cos(x[()])
    # [adjoint of x, coming_from.md:1]
    d2_exp_negative_square_x_cos_x_d_negative_square_x_d_x[()] = (
        -(exp_negative_square_x * sin(x[()]))
        - d2_exp_negative_square_x_cos_x_d_negative_square_x2[()] * (2.0 * x[()])
    )
    return 0
