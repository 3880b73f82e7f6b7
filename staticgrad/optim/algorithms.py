"""SGD, Adam, AdamW, RMSprop and Adagrad: PyTorch's formulas, options and names of state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.ops import public as sg
from staticgrad.optim.optimizer import (
    Optimizer,
    Update,
    Value,
    called,
    check_positive,
    prepared,
    scaled,
    zeros_like,
)


def counter() -> np.ndarray:
    """A count of steps; float32, as in PyTorch's state."""
    return np.zeros((), np.float32)


class SGD(Optimizer):
    """p -= lr * b with b = momentum * b + (1 - dampening) * g, and b = g at the first step.

    Args:
        params: parameters, or dictionaries of them with options.
        lr: the step size. momentum: b = g without. dampening: of the gradient in b.
        weight_decay: adds weight_decay * p to g. nesterov: steps along g + momentum * b.
        maximize: climb instead.

    Raises ValueError for negative options, and Nesterov without momentum or with dampening.

    Source: Sutskever et al., "On the importance of initialization and momentum" (2013).
    """

    runtime = ("lr", "momentum")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        })  # fmt: skip

    def check(self, group: Mapping[str, Any]) -> None:
        check_positive(group, "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def initial_state(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if group["momentum"] == 0:
            return {}
        state = {"momentum_buffer": zeros_like(parameter)}
        # from zero the first step comes out as b = g, unless dampening would reduce it
        return {**state, "step": counter()} if group["dampening"] else state

    def rule(
        self, p: Node, g: Node, state: Mapping[str, Node], group: Mapping[str, Any], value: Value
    ) -> Update:
        g = prepared(p, g, group)
        lr = scaled(value("lr"), p)
        if group["momentum"] == 0:
            return p - lr * g, {}
        momentum = scaled(value("momentum"), p)
        old = state["momentum_buffer"]
        new_state = {}
        if group["dampening"]:
            b = momentum * old + (1 - group["dampening"]) * g
            b = sg.where(state["step"] == 0, g, b)
            new_state["step"] = state["step"] + 1.0
        else:
            b = momentum * old + g
        called(b, "b")
        direction = g + momentum * b if group["nesterov"] else b
        return p - lr * direction, {"momentum_buffer": b, **new_state}


class Adam(Optimizer):
    """p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps), running means m of g, v of g**2.

    Args:
        params: parameters, or dictionaries of them with options.
        lr: the step size. betas: of the running means. eps: outside of the root.
        weight_decay: adds weight_decay * p to g. amsgrad: the largest v so far counts.
        maximize: climb instead.

    Raises ValueError for negative options, and betas that are not two numbers in [0, 1).

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """

    runtime = ("lr", "betas")
    decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be a pair of numbers, got {betas!r}")
        super().__init__(params, {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
        })  # fmt: skip

    def check(self, group: Mapping[str, Any]) -> None:
        check_positive(group, "eps", "weight_decay")
        for position, beta in enumerate(group["betas"]):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"invalid beta parameter at index {position}: {beta}")

    def initial_state(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, np.ndarray]:
        state = {"step": counter(), "exp_avg": zeros_like(parameter),
                 "exp_avg_sq": zeros_like(parameter)}  # fmt: skip
        return {**state, "max_exp_avg_sq": zeros_like(parameter)} if group["amsgrad"] else state

    def rule(
        self, p: Node, g: Node, state: Mapping[str, Node], group: Mapping[str, Any], value: Value
    ) -> Update:
        g = prepared(p, g, group, decay=not self.decoupled)
        lr, (beta1, beta2) = value("lr"), value("betas")
        if self.decoupled and group["weight_decay"] != 0:
            p = p * scaled(1 - lr * group["weight_decay"], p)
        step = state["step"] + 1.0
        t = sg.astype(step, "float64")
        # 1 - beta in float64 first: in float32, 1 - 0.999 has no more than five digits
        second, first_rest, second_rest = (scaled(b, p) for b in (beta2, 1.0 - beta1, 1.0 - beta2))
        m = state["exp_avg"] + first_rest * (g - state["exp_avg"])
        v = second * state["exp_avg_sq"] + second_rest * sg.square(g)
        new_state = {"step": step, "exp_avg": called(m, "m"), "exp_avg_sq": called(v, "v")}
        largest = v
        if group["amsgrad"]:
            largest = new_state["max_exp_avg_sq"] = sg.maximum(state["max_exp_avg_sq"], v)
        # corrections in float64, as PyTorch's Python numbers
        size = called(scaled(lr / (1.0 - sg.pow(beta1, t)), p), "step_size")
        root = called(scaled(sg.sqrt(1.0 - sg.pow(beta2, t)), p), "v_correction")
        return p - size * (m / (sg.sqrt(largest) / root + group["eps"])), new_state


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr * weight_decay comes first.

    Options as in ``Adam``, with a weight_decay of 0.01 unless told.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps) with a running mean v of g**2.

    Args:
        params: parameters, or dictionaries of them with options.
        lr: the step size. alpha: of the running mean. eps: outside of the root.
        weight_decay: adds weight_decay * p to g. momentum: b = momentum * b + g / (sqrt(v) + eps).
        centered: v less the square of g's running mean. maximize: climb instead.

    Raises ValueError for negative options.

    Source: Hinton's lecture 6.5 (2012); centered: Graves (2013).
    """

    runtime = ("lr", "momentum")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        })  # fmt: skip

    def check(self, group: Mapping[str, Any]) -> None:
        check_positive(group, "alpha", "eps", "weight_decay", "momentum")

    def initial_state(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, np.ndarray]:
        state = {"step": counter(), "square_avg": zeros_like(parameter)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = zeros_like(parameter)
        return state

    def rule(
        self, p: Node, g: Node, state: Mapping[str, Node], group: Mapping[str, Any], value: Value
    ) -> Update:
        g = prepared(p, g, group)
        lr, alpha = scaled(value("lr"), p), group["alpha"]
        v = called(alpha * state["square_avg"] + (1 - alpha) * sg.square(g), "v")
        new_state = {"step": state["step"] + 1.0, "square_avg": v}
        if group["centered"]:
            mean = state["grad_avg"] + (1 - alpha) * (g - state["grad_avg"])
            new_state["grad_avg"] = called(mean, "mean")
            v = v - sg.square(mean)
        direction = g / (sg.sqrt(v) + group["eps"])
        if group["momentum"] > 0:
            direction = scaled(value("momentum"), p) * state["momentum_buffer"] + direction
            new_state["momentum_buffer"] = called(direction, "b")
        return p - lr * direction, new_state


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps) with the sum s of all g**2.

    Args:
        params: parameters, or dictionaries of them with options.
        lr: the step size. lr_decay: of the step size. weight_decay: adds weight_decay * p to g.
        initial_accumulator_value: where s starts. eps: outside of the root. maximize: climb instead.

    Raises ValueError for negative options.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods" (2011).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps,
            "maximize": maximize,
        })  # fmt: skip

    def check(self, group: Mapping[str, Any]) -> None:
        check_positive(group, "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def initial_state(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, np.ndarray]:
        start = zeros_like(parameter) + parameter.value.dtype.type(group["initial_accumulator_value"])
        return {"step": counter(), "sum": start}

    def rule(
        self, p: Node, g: Node, state: Mapping[str, Node], group: Mapping[str, Any], value: Value
    ) -> Update:
        g = prepared(p, g, group)
        lr = value("lr")
        if group["lr_decay"]:
            lr = lr / (1.0 + sg.astype(state["step"], "float64") * group["lr_decay"])
        total = called(state["sum"] + sg.square(g), "s")
        new = p - scaled(lr, p) * (g / (sg.sqrt(total) + group["eps"]))
        return new, {"step": state["step"] + 1.0, "sum": total}


__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]
