"""Networks: the training step in float32, of a batch that is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import limits
from ..workload import Bars, Workload, linear_parameters


def batch_of(features: tuple[int, ...], count: int, classes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((count, *features)).astype("float32")
    return {"x": images, "y": rng.integers(0, classes, count)}


# ---- multilayer perceptrons -------------------------------------------------------------------------


def mlp_staticgrad(*arguments: Any) -> Any:
    import staticgrad as sg

    *layers, x, y = arguments
    for number in range(0, len(layers) - 2, 2):
        x = sg.relu(x @ layers[number].T + layers[number + 1])
    return sg.cross_entropy(x @ layers[-2].T + layers[-1], y)


def mlp_torch(*arguments: Any) -> Any:
    import torch.nn.functional as F

    *layers, x, y = arguments
    for number in range(0, len(layers) - 2, 2):
        x = F.relu(F.linear(x, layers[number], layers[number + 1]))
    return F.cross_entropy(F.linear(x, layers[-2], layers[-1]), y)


def mlp_jax(*arguments: Any) -> Any:
    import jax
    import jax.numpy as jnp

    *layers, x, y = arguments
    for number in range(0, len(layers) - 2, 2):
        x = jax.nn.relu(x @ layers[number].T + layers[number + 1])
    logits = jax.nn.log_softmax(x @ layers[-2].T + layers[-1])
    return -jnp.mean(jnp.take_along_axis(logits, y[:, None], axis=1))


def mlp_pytensor(*arguments: Any) -> Any:
    import pytensor.tensor as pt

    *layers, x, y = arguments
    for number in range(0, len(layers) - 2, 2):
        x = pt.maximum(x @ layers[number].T + layers[number + 1], 0)
    logits = pt.special.log_softmax(x @ layers[-2].T + layers[-1], axis=1)
    return -logits[pt.arange(y.shape[0]), y].sum() / y.shape[0].astype("float32")


MLP = {"staticgrad": mlp_staticgrad, "torch": mlp_torch, "jax": mlp_jax, "pytensor": mlp_pytensor}


def digits() -> Workload:
    sizes = (64, 128, 128, 10)
    return Workload(
        "digits", "digits MLP 64-128-128-10, b 64, Adam", linear_parameters(sizes), MLP,
        Bars(7, 1.8, 1.2), batch_of((64,), 64, 10), optimizer="adam",
        limit=limits.mlp,
    )  # fmt: skip


def mnist_mlp() -> Workload:
    sizes = (784, 512, 512, 10)
    return Workload(
        "mlp", "MLP 784-512-512-10, b 128, Adam", linear_parameters(sizes), MLP,
        Bars(3, 1.4, 1.2), batch_of((784,), 128, 10), optimizer="adam",
        limit=limits.mlp,
    )  # fmt: skip


def digits_epoch() -> Workload:
    samples = batch_of((64,), 1797, 10)
    return Workload(
        "epoch", "one epoch of digits (1,797), shuffled", linear_parameters((64, 128, 128, 10)), MLP,
        Bars(8, 2, 1.2), batch_of((64,), 64, 10), optimizer="adam", epoch=samples, batch=64,
        limit=limits.mlp,
    )  # fmt: skip


def digits_of_width(width: int) -> Workload:
    """The digits network with hidden layers of another width, for the crossover."""
    sizes = (64, width, width, 10)
    return Workload(
        f"width_{width}", f"MLP 64-{width}-{width}-10, b 64, Adam", linear_parameters(sizes), MLP,
        Bars(0, 0, 0), batch_of((64,), 64, 10), optimizer="adam",
    )  # fmt: skip


# ---- SimpleNet --------------------------------------------------------------------------------------


def simple_net() -> Workload:
    def staticgrad(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
        import staticgrad as sg

        return sg.mse_loss(sg.relu(x @ w1.T + b1) @ w2.T + b2, y)

    def torch(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
        import torch.nn.functional as F

        return F.mse_loss(F.linear(F.relu(F.linear(x, w1, b1)), w2, b2), y)

    def jax(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
        import jax.numpy as jnp

        return jnp.mean((jnp.maximum(x @ w1.T + b1, 0) @ w2.T + b2 - y) ** 2)

    def pytensor(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
        import pytensor.tensor as pt

        return pt.sum((pt.maximum(x @ w1.T + b1, 0) @ w2.T + b2 - y) ** 2) / np.float32(10)

    rng = np.random.default_rng(1)
    return Workload(
        "simple_net", "SimpleNet 20-10-1, b 10, SGD", linear_parameters((20, 10, 1)),
        {"staticgrad": staticgrad, "torch": torch, "jax": jax, "pytensor": pytensor},
        Bars(40, 2.5, 1.3),
        {"x": rng.standard_normal((10, 20)).astype("float32"),
         "y": rng.standard_normal((10, 1)).astype("float32")},
        optimizer="sgd", rate=0.01, limit=limits.simple_net,
    )  # fmt: skip


# ---- convolutional networks -------------------------------------------------------------------------


def convolutional(name: str, title: str, size: int, channels: tuple[int, int], kernel: int,
                  padding: int, hidden: tuple[int, int]) -> Workload:  # fmt: skip
    """conv, ReLU, max pooling, twice; then three linear layers."""

    def staticgrad(k1: Any, c1: Any, k2: Any, c2: Any, *rest: Any) -> Any:
        import staticgrad as sg

        *layers, x, y = rest
        for weight, bias in ((k1, c1), (k2, c2)):
            x = sg.max_pool2d(sg.relu(sg.conv2d(x, weight, bias, padding=padding)), 2)
        return mlp_staticgrad(*layers, sg.reshape(x, (x.shape[0], -1)), y)

    def torch(k1: Any, c1: Any, k2: Any, c2: Any, *rest: Any) -> Any:
        import torch.nn.functional as F

        *layers, x, y = rest
        for weight, bias in ((k1, c1), (k2, c2)):
            x = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=padding)), 2)
        return mlp_torch(*layers, x.flatten(1), y)

    def jax(k1: Any, c1: Any, k2: Any, c2: Any, *rest: Any) -> Any:
        import jax.numpy as jnp
        from jax import lax

        *layers, x, y = rest
        for weight, bias in ((k1, c1), (k2, c2)):
            z = lax.conv_general_dilated(x, weight, (1, 1), [(padding, padding)] * 2)
            z = jnp.maximum(z + bias[None, :, None, None], 0)
            b, c, h, w = z.shape
            # as a reshape, which XLA differentiates into far faster code than reduce_window
            x = z.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))
        return mlp_jax(*layers, x.reshape(x.shape[0], -1), y)

    rng = np.random.default_rng(2)
    parameters: dict[str, np.ndarray] = {}
    inner, extent = 1, size
    for number, outer in enumerate(channels, start=1):
        bound = (inner * kernel**2) ** -0.5
        shape = (outer, inner, kernel, kernel)
        parameters[f"conv{number}_weight"] = rng.uniform(-bound, bound, shape).astype("float32")
        parameters[f"conv{number}_bias"] = rng.uniform(-bound, bound, outer).astype("float32")
        inner, extent = outer, (extent + 2 * padding - kernel + 1) // 2
    sizes = (inner * extent**2, *hidden, 10)
    parameters |= linear_parameters(sizes)
    return Workload(
        name, title, parameters, {"staticgrad": staticgrad, "torch": torch, "jax": jax},
        Bars(4, 1.5, 1.5), batch_of((1, size, size), 64, 10), optimizer="adam",
        limit=limits.cnn,
        without={"pytensor": "has no convolution in Numba mode"},
    )  # fmt: skip


def cnn_8() -> Workload:
    return convolutional("cnn_8", "CNN on 8x8 images, b 64, Adam", 8, (8, 16), 3, 1, (64, 32))


def cnn_28() -> Workload:
    return convolutional("cnn_28", "LeNet-5 on 28x28 images, b 64, Adam", 28, (6, 16), 5, 2,
                         (120, 84))  # fmt: skip


# ---- residual network -------------------------------------------------------------------------------

BLOCKS, WIDTH = 24, 128


def residual() -> Workload:
    """x + W2 gelu(W1 layer_norm(x)), 24 times."""

    def staticgrad(*arguments: Any) -> Any:
        import staticgrad as sg
        from staticgrad.nn import functional as F

        *parameters, x, y = arguments
        for number in range(BLOCKS):
            scale, shift, w1, b1, w2, b2 = parameters[6 * number : 6 * number + 6]
            h = F.layer_norm(x, (WIDTH,), scale, shift)
            x = x + sg.gelu(h @ w1.T + b1) @ w2.T + b2
        return sg.mse_loss(x, y)

    def torch(*arguments: Any) -> Any:
        import torch.nn.functional as F

        *parameters, x, y = arguments
        for number in range(BLOCKS):
            scale, shift, w1, b1, w2, b2 = parameters[6 * number : 6 * number + 6]
            h = F.layer_norm(x, (WIDTH,), scale, shift)
            x = x + F.linear(F.gelu(F.linear(h, w1, b1)), w2, b2)
        return F.mse_loss(x, y)

    def jax(*arguments: Any) -> Any:
        import jax
        import jax.numpy as jnp

        *parameters, x, y = arguments
        for number in range(BLOCKS):
            scale, shift, w1, b1, w2, b2 = parameters[6 * number : 6 * number + 6]
            centred = x - x.mean(1, keepdims=True)
            variance = (centred**2).mean(1, keepdims=True)
            h = centred * jax.lax.rsqrt(variance + 1e-5) * scale + shift
            x = x + jax.nn.gelu(h @ w1.T + b1, approximate=False) @ w2.T + b2
        return jnp.mean((x - y) ** 2)

    def pytensor(*arguments: Any) -> Any:
        import pytensor.tensor as pt

        *parameters, x, y = arguments
        width, half = np.float32(WIDTH), np.float32(0.5)
        for number in range(BLOCKS):
            scale, shift, w1, b1, w2, b2 = parameters[6 * number : 6 * number + 6]
            centred = x - pt.sum(x, 1, keepdims=True) / width
            variance = pt.sum(centred**2, 1, keepdims=True) / width
            h = centred / pt.sqrt(variance + np.float32(1e-5)) * scale + shift
            z = h @ w1.T + b1
            x = x + (half * z * (1 + pt.erf(z * np.float32(0.5**0.5)))) @ w2.T + b2
        return pt.sum((x - y) ** 2) / np.float32(32 * WIDTH)

    parameters: dict[str, np.ndarray] = {}
    for block in range(BLOCKS):
        layers = linear_parameters((WIDTH, WIDTH, WIDTH), seed=block)
        parameters[f"block{block}_scale"] = np.ones(WIDTH, "float32")
        parameters[f"block{block}_shift"] = np.zeros(WIDTH, "float32")
        parameters |= {f"block{block}_{name}": value for name, value in layers.items()}
    rng = np.random.default_rng(1)
    return Workload(
        "residual", "residual MLP, 24 blocks of 128, b 32, AdamW", parameters,
        {"staticgrad": staticgrad, "torch": torch, "jax": jax, "pytensor": pytensor},
        Bars(6, 1.5, 1.3),
        {"x": rng.standard_normal((32, WIDTH)).astype("float32"),
         "y": rng.standard_normal((32, WIDTH)).astype("float32")},
        optimizer="adamw", limit=limits.residual,
        without={"pytensor": "takes more than 24 GB of memory to compile"},
    )  # fmt: skip
