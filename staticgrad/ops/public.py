"""The op functions as users see them, under the array API's names."""

from staticgrad.ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_sigmoid,
    logaddexp,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
)
from staticgrad.ops.contraction import einsum, matmul, outer, tensordot, vecdot
from staticgrad.ops.convolution import conv1d, conv2d
from staticgrad.ops.custom import Function, custom_gradient
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
from staticgrad.ops.pooling import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
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
    equal,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    isnan,
    less,
    less_equal,
    lgamma,
    log,
    log1p,
    log2,
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
    remainder,
    rsqrt,
    sign,
    sin,
    sinh,
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
from staticgrad.ops.windows import windows

__all__ = [
    "Function", "abs", "acos", "add", "argmax", "argmin", "asin", "astype", "atan", "atan2",
    "avg_pool1d", "avg_pool2d", "broadcast_to", "clip", "concat", "conv1d", "conv2d", "cos",
    "cosh", "cross_entropy", "cumsum", "custom_gradient", "diagonal", "digamma", "divide",
    "einsum", "elu", "equal", "erf", "erfc", "exp", "expand_dims", "expm1", "flip", "floor",
    "floor_divide", "gelu", "greater", "greater_equal", "hypot", "isnan", "leaky_relu", "less",
    "less_equal", "lgamma", "log", "log1p", "log2", "log_sigmoid", "log_softmax", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "matmul",
    "matrix_transpose", "max", "max_pool1d", "max_pool2d", "maximum", "mean", "min", "minimum",
    "mse_loss", "multiply", "negative", "norm", "not_equal", "one_hot", "outer", "pad",
    "permute_dims", "polygamma", "pow", "prod", "relu", "remainder", "reshape", "rsqrt", "selu",
    "sigmoid", "sign", "silu", "sin", "sinh", "softmax", "softplus", "split", "sqrt", "square",
    "squeeze", "stack", "std", "stop_gradient", "subtract", "sum", "take", "take_along_axis",
    "tan", "tanh", "tensordot", "tril", "triu", "var", "vecdot", "where", "windows",
]  # fmt: skip
