"""Values, gradients and second derivatives of every sample against JAX, and kinks against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases import Case, cases, with_functions

import staticgrad as sg

pytestmark = pytest.mark.peers

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

from jax_layers import LAYERS  # noqa: E402


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Any:
    rows = -jnp.take_along_axis(
        jax.nn.log_softmax(logits, axis=-1), jnp.asarray(labels)[..., None], axis=-1
    )[..., 0]
    return {"mean": jnp.mean, "sum": jnp.sum, "none": lambda a: a}[reduction](rows)


def mse_loss(a: Any, b: Any, reduction: str = "mean") -> Any:
    return {"mean": jnp.mean, "none": lambda v: v}[reduction]((a - b) ** 2)


def split(a: Any, parts: Any, axis: int = 0) -> Any:
    return jnp.split(a, parts, axis=axis)


def statistic(function: Any) -> Any:
    """PyTorch's default, the unbiased one, under the array API's name for it."""
    return lambda a, axis=None, correction=1, **rest: function(a, axis=axis, ddof=correction, **rest)


def norm(a: Any, ord: Any = 2, axis: Any = None) -> Any:
    return jnp.linalg.norm(a.reshape(-1) if axis is None else a, ord=ord, axis=axis)


PEER = {
    **{name: getattr(jnp, name) for name in dir(jnp) if not name.startswith("_")},
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "digamma": jax.scipy.special.digamma,
    "lgamma": jax.scipy.special.gammaln,
    "polygamma": lambda n, a=None: (
        jax.scipy.special.polygamma(1, n) if a is None else jax.scipy.special.polygamma(n, a)
    ),
    "logsumexp": jax.scipy.special.logsumexp,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "log_sigmoid": jax.nn.log_sigmoid,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "gelu": lambda a: jax.nn.gelu(a, approximate=False),
    "gelu_tanh": lambda a: jax.nn.gelu(a, approximate=True),
    "rsqrt": jax.lax.rsqrt,
    "clip": lambda a, low=None, high=None: jnp.clip(a, low, high),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "cross_entropy": cross_entropy,
    "mse_loss": mse_loss,
    "split": split,
    "var": statistic(jnp.var),
    "std": statistic(jnp.std),
    "norm": norm,
    "one_hot": lambda index, count, dtype: jax.nn.one_hot(index, count, dtype=dtype),
    "astype": lambda a, dtype: a.astype(dtype),
    "matrix_transpose": lambda a: jnp.swapaxes(a, -1, -2),
    "permute_dims": lambda a, axes=None: jnp.transpose(a, axes),
    **LAYERS,
}
# the same function under its own parameter's name
PEER["leaky_relu"] = lambda a, negative_slope=0.01: jnp.where(a > 0, a, negative_slope * a)
PEER["elu"] = lambda a, alpha=1.0: jnp.where(a > 0, a, alpha * jnp.expm1(jnp.minimum(a, 0.0)))


@pytest.fixture(scope="module", autouse=True)
def double_precision() -> Any:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def tolerance(case: Case, expected: np.ndarray) -> float:
    """1e-10 relative in float64; in float32 a few ULP times the length of the longest sum."""
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    size = max(math.prod(shape) for shape in case.sample.shapes)
    return scale * (1e-10 if case.dtype == "float64" else 8 * size * np.finfo("float32").eps)


@pytest.mark.parametrize("case", cases(differentiable=True), ids=str)
def test_against_jax(case: Case) -> None:
    inputs, arrays = case.placeholders(), case.arrays()
    node = case.sample.call(*inputs)
    weights = case.weights(node).astype(node.dtype)
    rng = case.rng()
    directions = [rng.uniform(-1, 1, array.shape).astype(case.dtype) for array in arrays]
    gradients = sg.grad(sg.sum(node * weights), inputs)
    slope = sg.constant(0.0, case.dtype)
    for g, d in zip(gradients, directions, strict=True):
        slope = slope + sg.sum(g * d)
    curvature = sg.grad(slope, inputs, unused="zeros")
    got = sg.compile(inputs, [node, *gradients, *curvature], name="op")(*arrays)

    call = with_functions(case.sample.call, case.sample.name, PEER)

    def loss(*values: Any) -> Any:
        return jnp.sum(call(*values) * weights)

    positions = tuple(range(len(arrays)))
    gradient = jax.grad(loss, positions)

    def along(*values: Any) -> Any:
        return sum(
            jnp.sum(g * d) for g, d in zip(gradient(*values), directions, strict=True)
        )

    # what JAX computes in float64 is the reference for both dtypes
    wide = [array.astype("float64") for array in arrays]
    expected = [call(*wide), *gradient(*wide), *jax.grad(along, positions)(*wide)]
    for ours, other in zip(got, expected, strict=True):
        reference = np.asarray(other, dtype="float64")
        assert ours.shape == reference.shape
        np.testing.assert_allclose(
            ours.astype("float64"), reference, rtol=0, atol=tolerance(case, reference)
        )
