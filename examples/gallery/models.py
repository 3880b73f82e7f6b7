"""Ten small models. Each function declares one, and returns its inputs, its loss and, for a training
step, an optimizer: what ``staticgrad show models.py:simple_net`` takes, for one."""

from __future__ import annotations

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim
from staticgrad.nn import functional as F


def linear_regression():
    """Least squares by gradient descent."""
    x = sg.placeholder("x", ("batch", 3))
    y = sg.placeholder("y", ("batch",))
    w = sg.parameter(np.zeros(3, "float32"), name="w")
    b = sg.parameter(np.zeros((), "float32"), name="b")
    prediction = x @ w + b
    loss = sg.mean(sg.square(prediction - y))
    return [x, y], loss, optim.SGD([w, b], lr=0.1)


class SimpleNet(nn.Module):
    """One hidden layer."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 10)
        self.fc2 = nn.Linear(10, 1)

    def forward(self, x):
        hidden = F.relu(self.fc1(x))
        return self.fc2(hidden)


def simple_net():
    """A network with one hidden layer, trained on batches of ten by gradient descent."""
    model = SimpleNet()
    x = sg.placeholder("x", (10, 20))
    y = sg.placeholder("y", (10, 1))
    loss = F.mse_loss(model(x), y)
    return [x, y], loss, optim.SGD(model.parameters(), lr=0.01)


def digits_classifier():
    """A classifier of 8x8 images for batches of any size, trained by Adam."""
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    images = sg.placeholder("images", ("batch", 64))
    labels = sg.placeholder("labels", ("batch",), "int64")
    logits = model(images)
    loss = sg.cross_entropy(logits, labels)
    return [images, labels], loss, optim.Adam(model.parameters(), lr=1e-3)


class ConvolutionalNet(nn.Module):
    """A convolution, a pooling layer and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3, padding=1)
        self.fc = nn.Linear(64, 10)

    def forward(self, images):
        features = F.max_pool2d(F.relu(self.conv(images)), 2)
        return self.fc(features.reshape(8, 64))


def convolutional_net():
    """A small convolutional network on batches of eight 8x8 images."""
    model = ConvolutionalNet()
    images = sg.placeholder("images", (8, 1, 8, 8))
    labels = sg.placeholder("labels", (8,), "int64")
    loss = sg.cross_entropy(model(images), labels)
    return [images, labels], loss, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class ResidualBlock(nn.Module):
    """Layer normalisation, then a network whose output is added to the input."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, x):
        hidden = F.gelu(self.fc1(self.norm(x)))
        return x + self.fc2(hidden)


def residual_block():
    """A residual block with layer normalisation and GELU, trained by AdamW."""
    model = ResidualBlock(16)
    x = sg.placeholder("x", (32, 16))
    y = sg.placeholder("y", (32, 16))
    loss = F.mse_loss(model(x), y)
    return [x, y], loss, optim.AdamW(model.parameters(), lr=1e-3)


def attention():
    """Scaled dot-product attention, and its gradient by queries, keys and values."""
    q = sg.placeholder("q", (16, 8))
    k = sg.placeholder("k", (16, 8))
    v = sg.placeholder("v", (16, 8))
    weights = sg.softmax(q @ k.T / np.sqrt(8).astype("float32"), axis=1)
    attended = weights @ v
    loss = sg.mean(sg.square(attended))
    return sg.compile([q, k, v], [loss, *sg.grad(loss, [q, k, v])], name="attention")


def black_scholes():
    """Prices of call options, and all their greeks."""
    s, k, t, r, v = (sg.placeholder(name, ("n",), "float64") for name in "sktrv")
    deviation = v * sg.sqrt(t)
    d1 = (sg.log(s / k) + (r + v * v / 2.0) * t) / deviation
    d2 = d1 - deviation
    price = s * normal_cdf(d1) - k * sg.exp(-r * t) * normal_cdf(d2)
    greeks = sg.grad(price, [s, k, t, r, v], seed=1.0)
    return sg.compile([s, k, t, r, v], [price, *greeks], name="black_scholes")


def normal_cdf(x):
    """The distribution function of the standard normal."""
    return 0.5 * (1.0 + sg.erf(x / np.sqrt(2.0)))


def eight_schools():
    """The log-density of a hierarchical model and its gradient, as a sampler calls them."""
    effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    theta = sg.placeholder("theta", (10,), "float64")
    mu, log_tau, z = theta[0], theta[1], theta[2:]
    tau = sg.exp(log_tau)
    residual = (effect - (mu + tau * z)) / error
    prior = -0.5 * (mu / 5.0) ** 2 - 0.5 * sg.sum(z * z) - sg.log1p((tau / 5.0) ** 2) + log_tau
    log_density = prior - 0.5 * sg.sum(residual * residual)
    return sg.compile([theta], sg.value_and_grad(log_density, theta), name="eight_schools")


def rosenbrock():
    """Rosenbrock's function and its gradient, for a vector of any length."""
    x = sg.placeholder("x", ("n",), "float64")
    step, distance = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
    value = sg.sum(100.0 * step**2 + distance**2)
    return sg.compile([x], sg.value_and_grad(value, x), name="rosenbrock")


def heat_equation():
    """A physics-informed network: the residual of the heat equation, by second derivatives."""
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    x = sg.placeholder("x", (64, 1))
    t = sg.placeholder("t", (64, 1))
    u = model(sg.concat([x, t], axis=1))
    u_x, u_t = sg.grad(sg.sum(u), [x, t])
    u_xx = sg.grad(sg.sum(u_x), x)
    residual = u_t - 0.1 * u_xx
    loss = sg.mean(sg.square(residual))
    return [x, t], loss, optim.SGD(model.parameters(), lr=0.01)


MODELS = (
    linear_regression, simple_net, digits_classifier, convolutional_net, residual_block,
    attention, black_scholes, eight_schools, rosenbrock, heat_equation,
)  # fmt: skip


def compiled(model):
    """The compiled function of a model: its training step, where it has an optimizer."""
    sg.manual_seed(0)
    declared = model()
    if not isinstance(declared, tuple):
        return declared
    return sg.train_step(*declared, name=model.__name__)
