"""Models whose generated code is kept: one for each form that generated code takes."""

from __future__ import annotations

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim
from staticgrad.nn import functional as F


def softmax_regression():
    """Named dimensions, checked indices, updates written out."""
    x = sg.placeholder("x", ("batch", 64))
    y = sg.placeholder("y", ("batch",), "int64")
    W = sg.parameter(np.zeros((64, 10), "float32"), name="W")
    b = sg.parameter(np.zeros(10, "float32"), name="b")
    loss = sg.cross_entropy(x @ W + b, y)
    d_W, d_b = sg.grad(loss, [W, b])
    return sg.compile([x, y], loss, updates={W: W - 0.1 * d_W, b: b - 0.1 * d_b})


def two_layers():
    """Modules and an optimizer: one routine for all updates."""
    net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    x, y = sg.placeholder("x", (10, 20)), sg.placeholder("y", (10, 1))
    loss = F.mse_loss(net(x), y)
    return sg.train_step([x, y], loss, optim.Adam(net.parameters()))


def deep_network():
    """Layers that repeat: a loop over layers."""
    net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.Tanh())))
    x, y = sg.placeholder("x", (32, 16)), sg.placeholder("y", (32, 16))
    loss = F.mse_loss(net(x), y)
    return sg.train_step([x, y], loss, optim.SGD(net.parameters(), lr=0.1))


def convolution():
    """Routines for convolution and pooling."""
    images = sg.placeholder("images", (4, 2, 6, 6))
    kernel = sg.parameter(np.ones((3, 2, 3, 3), "float32"), name="kernel")
    pooled = F.max_pool2d(sg.tanh(F.conv2d(images, kernel)), 2)
    loss = sg.mean(sg.square(pooled))
    return sg.compile([images], sg.value_and_grad(loss, kernel))


def long_axis():
    """Blocks of rows, and parts for threads."""
    x = sg.placeholder("x", (20000, 16), "float64")
    w = sg.placeholder("w", (16, 32), "float64")
    s = sg.placeholder("s", (1000000,), "float64")
    value = sg.sum(sg.tanh(x @ w)) + sg.sum(sg.exp(-sg.square(s)))
    return sg.compile([x, w, s], [value, *sg.grad(value, [w, s])])


def second_derivatives():
    """Adjoints of adjoints, and constants."""
    x = sg.placeholder("x", ("n",), "float64")
    f = sg.sum(sg.sin(x) * sg.exp(x))
    d_x = sg.grad(f, x)
    direction = sg.sum(d_x * np.float64(0.5))
    return sg.compile([x], [f, d_x, sg.grad(direction, x)])


MODELS = (
    softmax_regression, two_layers, deep_network, convolution, long_axis, second_derivatives,
)  # fmt: skip
