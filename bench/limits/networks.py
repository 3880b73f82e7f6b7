"""Networks: SimpleNet by hand; of the others the matrix products alone, with Adam's pass over memory.

The products are OpenBLAS's or this library's own, whichever is faster in the place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit

from staticgrad.kernels import gemm
from staticgrad.kernels.gemm import matmul, matmul_tn
from staticgrad.vectormath import maximum, plus, sqrt

from .. import blas
from ..workload import Workload
from .memory import aligned

by_hand = njit(error_model="numpy", fastmath={"contract"})

# ---- SimpleNet --------------------------------------------------------------------------------------


@by_hand
def simple_net_step(w1, b1, w2, b2, x, y, z, d_w1, d_b1, d_w2, rate):
    rows, inner = x.shape
    hidden = b1.size
    loss = np.float32(0)
    d_b2 = np.float32(0)
    matmul(x, w1, z)
    for j in range(hidden):
        d_b1[j] = np.float32(0)
        d_w2[j] = np.float32(0)
    for i in range(rows):
        output = b2[0]
        for j in range(hidden):
            z[i, j] = maximum(z[i, j] + b1[j], np.float32(0))
            output = plus(output, z[i, j] * w2[j])
        error = output - y[i]
        loss += error * error
        error *= np.float32(2) / np.float32(rows)
        d_b2 += error
        for j in range(hidden):
            d_w2[j] += error * z[i, j]
            z[i, j] = error * w2[j] if z[i, j] > np.float32(0) else np.float32(0)
            d_b1[j] += z[i, j]
    matmul_tn(x, z, d_w1)
    for k in range(inner):
        for j in range(hidden):
            w1[k, j] -= rate * d_w1[k, j]
    for j in range(hidden):
        b1[j] -= rate * d_b1[j]
        w2[j] -= rate * d_w2[j]
    b2[0] -= rate * d_b2
    return loss / np.float32(rows)


def simple_net(workload: Workload) -> tuple[str, Callable[[], Any]]:
    w1, b1, w2, b2 = (array.copy() for array in workload.parameters.values())
    x, y = workload.inputs.values()
    # the weight transposed, so that rows of the hidden layer are vectors
    w1 = np.ascontiguousarray(w1.T)
    hidden = len(b1)
    arrays = [w1, b1, w2[0].copy(), b2, x, y[:, 0].copy(), np.empty((len(x), hidden), "float32"),
              np.empty_like(w1), np.empty_like(b1), np.empty(hidden, "float32")]  # fmt: skip
    rate = np.float32(workload.rate)
    return "a step by hand", lambda: simple_net_step(*arrays, rate)


# ---- what optimizers cannot avoid -------------------------------------------------------------------


@by_hand
def adam(parameter, gradient, m, v, rate, correction, decay):
    """Adam's update of one vector, AdamW's where ``decay`` is below one."""
    epsilon = np.float32(1e-8)
    for i in range(parameter.size):
        g = gradient[i]
        v[i] = np.float32(0.999) * v[i] + np.float32(0.001) * g * g
        m[i] += np.float32(0.1) * (g - m[i])
        parameter[i] = parameter[i] * decay - rate * m[i] / (sqrt(v[i]) * correction + epsilon)


def random(*shape: int) -> np.ndarray:
    return aligned(np.random.default_rng(0).standard_normal(shape).astype("float32"))


class Numbers:
    """All parameters and all gradients, each as one vector: one pass updates them. Arrays are taken
    from it in turn."""

    def __init__(self, workload: Workload) -> None:
        size = sum(array.size for array in workload.parameters.values())
        self.parameters, self.gradients = random(size), random(size)
        self.taken = 0

    def take(self, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters of this shape, and their gradients."""
        # each at a cache line; the vectors have room for it where the biases would be
        start = -(-self.taken // 16) * 16
        self.taken = start + int(np.prod(shape))
        both = (v[start : self.taken].reshape(shape) for v in (self.parameters, self.gradients))
        return next(both), next(both)

    def update(self, decay: float = 1.0) -> tuple[Any, ...]:
        """The arguments of ``adam``; the rate is too small to change what is multiplied."""
        f = np.float32
        moments = aligned(np.zeros_like(self.parameters)), aligned(np.ones_like(self.parameters))
        return (self.parameters, self.gradients, *moments, f(1e-9), f(1), f(decay))


# ---- multilayer perceptrons -------------------------------------------------------------------------


def linear_with(products: Any) -> Any:
    """The products of one layer, by OpenBLAS or by our own kernels."""
    matmul, matmul_nt, matmul_tn = products.matmul, products.matmul_nt, products.matmul_tn

    @njit
    def linear(a, weight, d_weight, z, d_z, d_a, first):
        matmul_nt(a, weight, z)
        matmul_tn(d_z, a, d_weight)
        if not first:
            matmul(d_z, weight, d_a)

    return linear


def fastest(
    build: Callable[[Any], Callable[[], Any]], optimizer: str
) -> tuple[str, Callable[[], Any]]:
    """The function built with OpenBLAS's products or with our own, whichever is faster here."""
    candidates = {"OpenBLAS": build(blas), "own kernels": build(gemm)}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(8):
        for name, action in candidates.items():
            start = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - start)
    best = min(seconds, key=lambda name: min(seconds[name]))
    return f"matrix products ({best}) and {optimizer}'s pass alone", candidates[best]


def linear_layers(sizes: Sequence[int], batch: int, numbers: Numbers) -> list[tuple[Any, ...]]:
    """The arguments of ``linear`` by layer. Activations are kept, adjoints share their places."""
    activations = [random(batch, size) for size in sizes]
    d_z, d_a = random(batch * max(sizes)), random(batch * max(sizes))

    def part(room: np.ndarray, size: int) -> np.ndarray:
        return room[: batch * size].reshape(batch, size)

    return [
        (activations[k], *numbers.take(sizes[k + 1], sizes[k]), activations[k + 1],
         part(d_z, sizes[k + 1]), part(d_a, sizes[k]), k == 0)
        for k in range(len(sizes) - 1)
    ]  # fmt: skip


def layer_sizes(workload: Workload) -> list[int]:
    weights = [v for n, v in workload.parameters.items() if n.startswith("fc") and v.ndim == 2]
    return [weights[0].shape[1], *(w.shape[0] for w in weights)]


def mlp(workload: Workload) -> tuple[str, Callable[[], Any]]:
    """A step; of whole epochs, all their steps."""
    sizes, numbers = layer_sizes(workload), Numbers(workload)
    update = numbers.update()
    batch = workload.batch or len(next(iter(workload.inputs.values())))
    layers = linear_layers(sizes, batch, numbers)
    numbers.taken = 0
    samples = len(next(iter(workload.epoch.values()))) if workload.epoch else batch
    rest = linear_layers(sizes, samples % batch or batch, numbers)

    def build(products: Any) -> Callable[[], Any]:
        linear = linear_with(products)

        @njit
        def step(layer_1, layer_2, layer_3, update):
            linear(*layer_1)
            linear(*layer_2)
            linear(*layer_3)
            adam(*update)

        @njit
        def steps(count, layers, rest, update):
            for _ in range(count):
                step(*layers, update)
            step(*rest, update)

        count = -(-samples // batch) - 1
        if not workload.epoch:
            return lambda: step(*layers, update)
        return lambda: steps(count, tuple(layers), tuple(rest), update)

    return fastest(build, "Adam")


# ---- residual network -------------------------------------------------------------------------------


def residual(workload: Workload) -> tuple[str, Callable[[], Any]]:
    count = sum(1 for v in workload.parameters.values() if v.ndim == 2)
    batch, width = next(iter(workload.inputs.values())).shape
    numbers = Numbers(workload)
    both = numbers.take(count, width, width)
    # what the backward pass reads has to be kept: each layer has activations of its own
    arrays = [random(count, batch, width), *both, *(random(batch, width) for _ in range(3))]
    update = numbers.update(1 - 1e-9)

    def build(products: Any) -> Callable[[], Any]:
        linear = linear_with(products)

        @njit
        def step(a, weights, d_weights, z, d_z, d_a, update):
            for layer in range(len(weights)):
                linear(a[layer], weights[layer], d_weights[layer], z, d_z, d_a, False)
            adam(*update)

        return lambda: step(*arrays, update)

    return fastest(build, "AdamW")


# ---- convolutional networks -------------------------------------------------------------------------


def cnn(workload: Workload) -> tuple[str, Callable[[], Any]]:
    """Convolutions as products with patches that are there already, in the layouts that are fastest."""
    images = next(iter(workload.inputs.values()))
    batch, _, extent, _ = images.shape
    one, two = (v for n, v in workload.parameters.items() if n.startswith("conv") and v.ndim == 4)
    numbers = Numbers(workload)
    outer, places, positions = len(one), one[0].size, extent**2
    conv_1 = (random(batch, places, positions), *numbers.take(outer, places),
              random(batch, outer, positions), random(batch, outer, positions))  # fmt: skip
    outer, places, positions = len(two), two[0].size, (extent // 2) ** 2
    conv_2 = (random(batch, positions, places), *numbers.take(places, outer),
              random(batch, positions, outer), random(batch, positions, outer),
              random(batch, positions, places))  # fmt: skip
    first, *others = linear_layers(layer_sizes(workload), batch, numbers)
    layers = [(*first[:-1], False), *others]
    update = numbers.update()

    def build(products: Any) -> Callable[[], Any]:
        linear = linear_with(products)
        matmul, matmul_nt, matmul_tn = products.matmul, products.matmul_nt, products.matmul_tn

        @njit
        def first_convolution(patches, weight, d_weight, z, d_z):
            """Image by image, patches as (image, place in kernel, position)."""
            for image in range(len(patches)):
                matmul(weight, patches[image], z[image])
                matmul_nt(d_z[image], patches[image], d_weight)

        @njit
        def second_convolution(patches, weight, d_weight, z, d_z, d_patches):
            """With its input's adjoint, patches as (image, position, place in kernel)."""
            for image in range(len(patches)):
                matmul(patches[image], weight, z[image])
                matmul_tn(patches[image], d_z[image], d_weight)
                matmul_nt(d_z[image], weight, d_patches[image])

        @njit
        def step(conv_1, conv_2, layer_1, layer_2, layer_3, update):
            first_convolution(*conv_1)
            second_convolution(*conv_2)
            linear(*layer_1)
            linear(*layer_2)
            linear(*layer_3)
            adam(*update)

        return lambda: step(conv_1, conv_2, *layers, update)

    return fastest(build, "Adam")
