"""Functions of arrays: values with gradients, and a network that has to obey an equation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import limits
from ..workload import Bars, Workload, linear_parameters

# ---- Black-Scholes ----------------------------------------------------------------------------------

OPTIONS = 1_000_000


def black_scholes() -> Workload:
    """Call prices, and by reverse mode delta, dual delta, theta, rho and vega."""

    def staticgrad(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        import staticgrad as sg

        deviation = v * sg.sqrt(t)
        d1 = (sg.log(s / k) + (r + 0.5 * v**2) * t) / deviation
        d2 = d1 - deviation
        first, second = (0.5 * (1 + sg.erf(d * 0.5**0.5)) for d in (d1, d2))
        price = s * first - k * sg.exp(-r * t) * second
        return sg.sum(price), price

    def torch(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        import torch as th

        deviation = v * th.sqrt(t)
        d1 = (th.log(s / k) + (r + 0.5 * v**2) * t) / deviation
        d2 = d1 - deviation
        first, second = (0.5 * (1 + th.erf(d * 0.5**0.5)) for d in (d1, d2))
        price = s * first - k * th.exp(-r * t) * second
        return price.sum(), price

    def jax(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        import jax.numpy as jnp
        from jax.scipy.special import erf

        deviation = v * jnp.sqrt(t)
        d1 = (jnp.log(s / k) + (r + 0.5 * v**2) * t) / deviation
        d2 = d1 - deviation
        first, second = (0.5 * (1 + erf(d * 0.5**0.5)) for d in (d1, d2))
        price = s * first - k * jnp.exp(-r * t) * second
        return price.sum(), price

    def pytensor(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        import pytensor.tensor as pt

        deviation = v * pt.sqrt(t)
        d1 = (pt.log(s / k) + (r + 0.5 * v**2) * t) / deviation
        d2 = d1 - deviation
        first, second = (0.5 * (1 + pt.erf(d * 0.5**0.5)) for d in (d1, d2))
        price = s * first - k * pt.exp(-r * t) * second
        return price.sum(), price

    rng = np.random.default_rng(0)
    intervals = {"s": (80, 120), "k": (80, 120), "t": (0.1, 2), "r": (0, 0.05), "v": (0.1, 0.5)}
    return Workload(
        "black_scholes", "Black-Scholes prices and greeks, 1e6, float64",
        {name: rng.uniform(*interval, OPTIONS) for name, interval in intervals.items()},
        {"staticgrad": staticgrad, "torch": torch, "jax": jax, "pytensor": pytensor},
        Bars(5, 1.5, 1.3), limit=limits.black_scholes, tolerance=1e-9, elementwise=True,
    )  # fmt: skip


# ---- Rosenbrock -------------------------------------------------------------------------------------


def rosenbrock(size: int) -> Workload:
    """Value and gradient of sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2."""

    def any_library(x: Any) -> Any:
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    label = "1e6" if size == 1_000_000 else str(size)
    x = np.random.default_rng(0).uniform(-1, 1, size)
    return Workload(
        f"rosenbrock_{label}", f"Rosenbrock, n = {label}, float64", {"x": x},
        dict.fromkeys(("staticgrad", "torch", "jax", "pytensor"), any_library),
        Bars(20, 2, 1.3), limit=limits.rosenbrock, tolerance=1e-9, elementwise=True,
    )  # fmt: skip


# ---- a physics-informed network ---------------------------------------------------------------------


def heat() -> Workload:
    """u(x, t) with the residual of u_t = u_xx; the derivatives are of the network's own output."""

    def staticgrad(*arguments: Any) -> Any:
        import staticgrad as sg

        *layers, x, t = arguments
        h = sg.concat([x, t], axis=1)
        for number in range(0, 6, 2):
            h = sg.tanh(h @ layers[number].T + layers[number + 1])
        u = sg.sum(h @ layers[6].T)
        u_x, u_t = sg.grad(u, [x, t])
        (u_xx,) = sg.grad(sg.sum(u_x), [x])
        return sg.mean((u_t - u_xx) ** 2)

    def staticgrad_eager(*arguments: Any) -> Any:
        import staticgrad as sg

        *layers, x, t = arguments
        x, t = (sg.eager.tensor(value.numpy(), requires_grad=True) for value in (x, t))
        h = sg.concat([x, t], axis=1)
        for number in range(0, 6, 2):
            h = sg.tanh(h @ layers[number].T + layers[number + 1])
        sg.sum(h @ layers[6].T).backward(create_graph=True)
        u_x, u_t = x.grad, t.grad
        x.grad = None
        sg.sum(u_x).backward(create_graph=True)
        # gradients of u and of u_x have been added to the parameters' too
        for parameter in layers:
            parameter.grad = None
        return sg.mean((u_t - x.grad) ** 2)

    def torch(*arguments: Any) -> Any:
        import torch as th
        import torch.nn.functional as F

        *layers, x, t = arguments
        x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
        h = th.cat([x, t], 1)
        for number in range(0, 6, 2):
            h = th.tanh(F.linear(h, layers[number], layers[number + 1]))
        u = F.linear(h, layers[6]).sum()
        u_x, u_t = th.autograd.grad(u, [x, t], create_graph=True)
        (u_xx,) = th.autograd.grad(u_x.sum(), [x], create_graph=True)
        return ((u_t - u_xx) ** 2).mean()

    def jax(*arguments: Any) -> Any:
        import jax as j
        import jax.numpy as jnp

        *layers, x, t = arguments

        def network(x: Any, t: Any) -> Any:
            h = jnp.concatenate([x, t], 1)
            for number in range(0, 6, 2):
                h = jnp.tanh(h @ layers[number].T + layers[number + 1])
            return h @ layers[6].T

        # forward over forward: what JAX's users write for second derivatives in one direction
        one = jnp.ones_like(x)
        u_x = lambda x: j.jvp(lambda x: network(x, t), (x,), (one,))[1]  # noqa: E731
        u_xx = j.jvp(u_x, (x,), (one,))[1]
        u_t = j.jvp(lambda t: network(x, t), (t,), (one,))[1]
        return jnp.mean((u_t - u_xx) ** 2)

    def pytensor(*arguments: Any) -> Any:
        import pytensor as p
        import pytensor.tensor as pt

        *layers, x, t = arguments
        h = pt.concatenate([x, t], axis=1)
        for number in range(0, 6, 2):
            h = pt.tanh(h @ layers[number].T + layers[number + 1])
        u = pt.sum(h @ layers[6].T)
        u_x, u_t = p.grad(u, [x, t])
        u_xx = p.grad(pt.sum(u_x), x)
        return pt.sum((u_t - u_xx) ** 2) / np.float32(1024)

    rng = np.random.default_rng(1)
    parameters = linear_parameters((2, 32, 32, 32, 1))
    # a constant added to u is in no derivative
    del parameters["fc4_bias"]
    return Workload(
        "heat", "PINN 2-32-32-32-1 tanh, heat equation, b 1,024, Adam", parameters,
        {"staticgrad": staticgrad, "staticgrad eager": staticgrad_eager, "torch": torch, "jax": jax,
         "pytensor": pytensor},
        Bars(5, 1.5, 1.5),
        {name: rng.uniform(0, 1, (1024, 1)).astype("float32") for name in ("x", "t")},
        optimizer="adam", limit=limits.heat,
        without={"torch.compile": "does not differentiate twice"},
    )  # fmt: skip
