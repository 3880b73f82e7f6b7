"""Initialisers, with PyTorch's names, gains and fans: they fill a parameter, a tensor or an array.

Random numbers come from the generator that ``sg.manual_seed`` sets. Each returns what it was given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.ops.advice import missing_names
from staticgrad.random import generator


def _array(tensor: Any) -> np.ndarray:
    """The memory to fill."""
    if isinstance(tensor, Parameter):
        return tensor.value
    if isinstance(tensor, Node) and tensor.is_eager:
        return tensor.detach().numpy()  # type: ignore[attr-defined]
    if isinstance(tensor, np.ndarray):
        return tensor
    raise TypeError(f"expected a parameter, an eager tensor or an array, got {tensor!r}")


def _fill(tensor: Any, values: Any) -> Any:
    _array(tensor)[...] = values
    return tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through an activation.

    1 for "linear", "sigmoid" and convolutions, 5/3 for "tanh", sqrt(2) for "relu",
    sqrt(2 / (1 + param**2)) for "leaky_relu" with slope ``param`` (0.01 unless told), 3/4 for "selu".

    Raises ValueError for others.
    """
    linear = {"linear", "sigmoid", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
              "conv_transpose2d", "conv_transpose3d"}  # fmt: skip
    if nonlinearity in linear:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param!r} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    raise ValueError(f"unsupported nonlinearity {nonlinearity!r}")


def fans(tensor: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *kernel): sizes times the receptive field.

    Raises ValueError for fewer than two axes.
    """
    shape = _array(tensor).shape
    if len(shape) < 2:
        raise ValueError(
            f"fan in and fan out cannot be computed for a tensor with fewer than 2 dimensions; this "
            f"one has shape {shape}"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Fill with U(a, b)."""
    array = _array(tensor)
    return _fill(tensor, generator().uniform(a, b, array.shape))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Fill with N(mean, std**2)."""
    array = _array(tensor)
    return _fill(tensor, generator().normal(mean, std, array.shape))


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Any:
    """Fill with N(mean, std**2) restricted to [a, b], by the inverse of the distribution function."""
    from scipy.special import ndtr, ndtri

    array = _array(tensor)
    low, high = ndtr((a - mean) / std), ndtr((b - mean) / std)
    values = mean + std * ndtri(generator().uniform(low, high, array.shape))
    return _fill(tensor, np.clip(values, a, b))


def constant_(tensor: Any, val: float) -> Any:
    """Fill with one value."""
    return _fill(tensor, val)


def zeros_(tensor: Any) -> Any:
    """Fill with zeros."""
    return _fill(tensor, 0)


def ones_(tensor: Any) -> Any:
    """Fill with ones."""
    return _fill(tensor, 1)


def eye_(tensor: Any) -> Any:
    """Fill a matrix with the identity. Raises ValueError for other than 2 axes."""
    array = _array(tensor)
    if array.ndim != 2:
        raise ValueError(f"only tensors with 2 dimensions are supported, this one has {array.ndim}")
    return _fill(tensor, np.eye(*array.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Fill a convolution's weight so that it keeps its input: as many channels as it can.

    Raises ValueError for other than 3, 4 or 5 axes, or where the groups do not divide the outputs.
    """
    array = _array(tensor)
    if array.ndim not in (3, 4, 5):
        raise ValueError(f"only tensors with 3, 4 or 5 dimensions are supported, not {array.ndim}")
    if array.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    values = np.zeros(array.shape)
    outputs = array.shape[0] // groups
    centre = tuple(size // 2 for size in array.shape[2:])
    for group in range(groups):
        for channel in range(min(outputs, array.shape[1])):
            values[(group * outputs + channel, channel, *centre)] = 1
    return _fill(tensor, values)


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out)): Glorot and Bengio (2010)."""
    std = gain * math.sqrt(2.0 / sum(fans(tensor)))
    return uniform_(tensor, -math.sqrt(3.0) * std, math.sqrt(3.0) * std)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """N(0, std**2) with std = gain sqrt(2 / (fan_in + fan_out)): Glorot and Bengio (2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))))


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode {mode!r} not supported, please use one of 'fan_in', 'fan_out'")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """U(-b, b) with b = gain sqrt(3 / fan): He et al. (2015). ``a`` is leaky_relu's slope."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """N(0, std**2) with std = gain / sqrt(fan): He et al. (2015). ``a`` is leaky_relu's slope."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Any, gain: float = 1) -> Any:
    """A (semi-)orthogonal matrix of the first axis against all others: Saxe et al. (2013).

    Raises ValueError for fewer than 2 axes.
    """
    array = _array(tensor)
    if array.ndim < 2:
        raise ValueError("only tensors with 2 or more dimensions are supported")
    rows, columns = array.shape[0], math.prod(array.shape[1:])
    flat = generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    # the signs of r's diagonal make the distribution uniform
    q = q * np.sign(np.diag(r))
    return _fill(tensor, gain * (q.T if rows < columns else q).reshape(array.shape))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01) -> Any:
    """N(0, std**2) with a fraction of each column set to zero: Martens (2010).

    Raises ValueError for other than 2 axes.
    """
    array = _array(tensor)
    if array.ndim != 2:
        raise ValueError("only tensors with 2 dimensions are supported")
    values = generator().normal(0.0, std, array.shape)
    count = math.ceil(sparsity * array.shape[0])
    for column in range(array.shape[1]):
        values[generator().permutation(array.shape[0])[:count], column] = 0
    return _fill(tensor, values)


__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "fans", "kaiming_normal_", "kaiming_uniform_",
    "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip

__getattr__ = missing_names(__name__)
