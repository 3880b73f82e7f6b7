"""Convolution and pooling layers."""

from __future__ import annotations

import math
from typing import Any

from staticgrad.nn import functional as F
from staticgrad.nn import init
from staticgrad.nn.layers import empty_parameter
from staticgrad.nn.module import Module
from staticgrad.ops.convolution import per_axis


class _Conv(Module):
    """What convolutions have in common: shapes, options, and U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""

    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"in_channels {in_channels} and out_channels {out_channels} must be divisible by "
                f"groups {groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.stride = per_axis(stride, self.rank, "stride")
        self.padding = padding if isinstance(padding, str) else per_axis(padding, self.rank, "padding")
        self.dilation = per_axis(dilation, self.rank, "dilation")
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = empty_parameter(*shape, dtype=dtype)
        self.bias = empty_parameter(out_channels, dtype=dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        bound = 1 / math.sqrt(init.fans(self.weight)[0])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != (0,) * self.rank:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.rank:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + ("" if self.bias is not None else ", bias=False")


class Conv1d(_Conv):
    """Cross-correlation over the last axis.

    Shapes: x (batch, in_channels, length) -> (batch, out_channels, positions); weight (out_channels,
    in_channels / groups, kernel). ``padding`` may be "same" or "valid".
    """

    rank = 1

    def forward(self, x: Any) -> Any:
        """Shape (batch, out_channels, positions)."""
        return F.conv1d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2d(_Conv):
    """Cross-correlation over the last two axes.

    Shapes: x (batch, in_channels, height, width) -> (batch, out_channels, rows, columns); weight
    (out_channels, in_channels / groups, *kernel). ``padding`` may be "same" or "valid".
    """

    rank = 2

    def forward(self, x: Any) -> Any:
        """Shape (batch, out_channels, rows, columns)."""
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class _Pool(Module):
    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}={value}" for name, value in self.__dict__.items()
            if not name.startswith("_") and name != "training" and value is not None
        )  # fmt: skip


class _MaxPool(_Pool):
    function: Any

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation

    def forward(self, x: Any) -> Any:
        """The axes before the windows', then the positions of the windows."""
        pool = type(self).function
        return pool(x, self.kernel_size, self.stride, self.padding, self.dilation)


class MaxPool1d(_MaxPool):
    """The largest element of each window of the last axis."""

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window of the last two axes; the first of ties takes the adjoint."""

    function = staticmethod(F.max_pool2d)


class AvgPool1d(_Pool):
    """The mean of each window of the last axis."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.count_include_pad = padding, count_include_pad

    def forward(self, x: Any) -> Any:
        """Shape (..., positions)."""
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.count_include_pad)


class AvgPool2d(_Pool):
    """The mean of each window of the last two axes."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.count_include_pad = padding, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        """Shape (..., rows, columns)."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip


__all__ = ["AvgPool1d", "AvgPool2d", "Conv1d", "Conv2d", "MaxPool1d", "MaxPool2d"]
