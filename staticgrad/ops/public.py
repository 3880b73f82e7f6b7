"""The op functions as users see them, under the array API's names."""

from staticgrad.ops.contraction import einsum, matmul, outer, tensordot, vecdot
from staticgrad.ops.diagonals import diagonal, tril, triu
from staticgrad.ops.indexing import one_hot, take, take_along_axis
from staticgrad.ops.joining import concat, pad, split, stack
from staticgrad.ops.losses import cross_entropy, log_softmax, mse_loss, softmax
from staticgrad.ops.movement import (
    broadcast_to,
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
    squeeze,
)
from staticgrad.ops.reduction import max, min, prod, sum
from staticgrad.ops.scalar import (
    abs,
    acos,
    add,
    asin,
    astype,
    atan,
    atan2,
    clip,
    cos,
    cosh,
    digamma,
    divide,
    elu,
    equal,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    floor_divide,
    gelu,
    greater,
    greater_equal,
    hypot,
    isnan,
    leaky_relu,
    less,
    less_equal,
    lgamma,
    log,
    log1p,
    log2,
    log_sigmoid,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    polygamma,
    pow,
    relu,
    remainder,
    rsqrt,
    selu,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    softplus,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tan,
    tanh,
    where,
)
from staticgrad.ops.scan import cumsum
from staticgrad.ops.slicing import flip
from staticgrad.ops.statistics import argmax, argmin, logsumexp, mean, norm, std, var

__all__ = [name for name in dir() if not name.startswith("_") and name != "annotations"]
