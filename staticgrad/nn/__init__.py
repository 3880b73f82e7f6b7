"""Modules, losses and initialisers with PyTorch's names, for static graphs and eager tensors alike."""

from staticgrad.graph.leaves import Parameter
from staticgrad.nn import functional, init, utils
from staticgrad.nn.activation import *  # noqa: F403
from staticgrad.nn.activation import __all__ as _activation
from staticgrad.nn.container import ModuleDict, ModuleList, Sequential
from staticgrad.nn.convolution import AvgPool1d, AvgPool2d, Conv1d, Conv2d, MaxPool1d, MaxPool2d
from staticgrad.nn.layers import Bilinear, Dropout, Embedding, Flatten, Identity, Linear
from staticgrad.nn.loss import *  # noqa: F403
from staticgrad.nn.loss import __all__ as _loss
from staticgrad.nn.module import Buffer, Module
from staticgrad.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm, RMSNorm
from staticgrad.ops.advice import missing_names

__all__ = [
    "AvgPool1d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Bilinear", "Buffer", "Conv1d",
    "Conv2d", "Dropout", "Embedding", "Flatten", "Identity", "LayerNorm", "Linear", "MaxPool1d",
    "MaxPool2d", "Module", "ModuleDict", "ModuleList", "Parameter", "RMSNorm", "Sequential",
    "functional", "init", "utils",
]  # fmt: skip
__all__ += _activation
__all__ += _loss

__getattr__ = missing_names(__name__)
