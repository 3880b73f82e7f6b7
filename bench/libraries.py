"""How each library trains on, or differentiates, a workload's loss. Each function takes a workload
and gives one that is called without arguments: a training step returns its loss as a float, a
gradient function [value, extra ..., gradients ...] as NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .workload import Workload

Action = Callable[[], Any]


def threads() -> int:
    """As many as the process may use; the suite binds it before any library is imported."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(workload: Workload, arguments: Any) -> tuple[Any, list[Any]]:
    """The loss, and what it brings along."""
    loss = arguments
    return (loss[0], list(loss[1:])) if isinstance(loss, tuple) else (loss, [])


# ---- staticgrad -------------------------------------------------------------------------------------


def declared(
    workload: Workload, dtype: str = ""
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Parameters (placeholders where they are arguments), inputs, the loss, and extra results."""
    import staticgrad as sg

    def given(array: np.ndarray) -> np.ndarray:
        return array.astype(dtype) if dtype and array.dtype.kind == "f" else array

    def placeholder(name: str, array: np.ndarray, named: bool) -> Any:
        shape = ("batch", *array.shape[1:]) if named else array.shape
        return sg.placeholder(name, shape, dtype=str(given(array).dtype))

    trained = bool(workload.optimizer)
    parameters = [
        sg.parameter(given(v).copy(), name=n) if trained else placeholder(n, v, False)
        for n, v in workload.parameters.items()
    ]
    inputs = [placeholder(n, v, bool(workload.epoch)) for n, v in workload.inputs.items()]
    constants = [sg.constant(given(v)) for v in workload.constants.values()]
    loss, extra = split(workload, workload.losses["staticgrad"](*parameters, *inputs, *constants))
    return parameters, inputs, [loss], extra


def optimizer(workload: Workload, parameters: list[Any], module: Any, **options: Any) -> Any:
    kinds = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    return getattr(module, kinds[workload.optimizer])(parameters, lr=workload.rate, **options)


def compiled(workload: Workload) -> Any:
    """The compiled step, or function of the parameters."""
    import staticgrad as sg

    parameters, inputs, (loss,), extra = declared(workload)
    if workload.optimizer:
        return sg.train_step(inputs, loss, optimizer(workload, parameters, sg.optim),
                             name=workload.name)  # fmt: skip
    gradients = sg.grad(loss, parameters)
    return sg.compile([*parameters, *inputs], [loss, *extra, *gradients], name=workload.name)


def staticgrad(workload: Workload) -> Action:
    step = compiled(workload)
    if workload.epoch:
        arrays = list(workload.epoch.values())
        return lambda: (
            step.fit(*arrays, batch_size=workload.batch, seed=0, progress=False).batch_loss
        )
    inputs = list(workload.inputs.values())
    if workload.optimizer:
        return lambda: step(*inputs)
    arrays = [*workload.parameters.values(), *inputs]
    return lambda: step(*arrays)


def staticgrad_eager(workload: Workload) -> Action:
    import staticgrad as sg

    inputs = [sg.eager.tensor(v) for v in workload.inputs.values()]
    constants = [sg.eager.tensor(v) for v in workload.constants.values()]
    function = workload.losses.get("staticgrad eager", workload.losses["staticgrad"])
    if workload.optimizer:
        parameters = [sg.parameter(v.copy(), name=n) for n, v in workload.parameters.items()]
        updates = optimizer(workload, parameters, sg.optim)

        def step(*batch: Any) -> float:
            updates.zero_grad()
            loss = function(*parameters, *batch, *constants)
            loss.backward()
            updates.step()
            return float(loss.item())

        return _epochs(workload, step, sg.eager.tensor) if workload.epoch else lambda: step(*inputs)

    def gradient() -> list[np.ndarray]:
        given = [sg.eager.tensor(v, requires_grad=True) for v in workload.parameters.values()]
        loss, extra = split(workload, function(*given, *inputs, *constants))
        loss.backward()
        return [r.numpy() for r in (loss.detach(), *(e.detach() for e in extra))] + [
            np.asarray(g.grad.numpy()) for g in given
        ]

    return gradient


def _batches(workload: Workload) -> list[list[np.ndarray]]:
    """An epoch's batches, in the order of ``fit(seed=0)``."""
    arrays = list(workload.epoch.values())
    order = np.random.default_rng(0).permutation(len(arrays[0]))
    starts = range(0, len(order), workload.batch)
    return [[a[order[k : k + workload.batch]] for a in arrays] for k in starts]


def _epochs(workload: Workload, step: Callable[..., float], convert: Any) -> Action:
    return lambda: [step(*map(convert, batch)) for batch in _batches(workload)]


def reference(workload: Workload, calls: int) -> list[Any]:
    """The same in float64, op by op in NumPy: losses of the first steps, or of an epoch, or value and
    gradients."""
    import staticgrad as sg

    def widened(array: np.ndarray) -> np.ndarray:
        return array.astype("float64") if array.dtype.kind == "f" else array

    parameters, inputs, (loss,), extra = declared(workload, "float64")
    gradients = sg.grad(loss, parameters)
    if not workload.optimizer:
        arrays = [widened(v) for v in (*workload.parameters.values(), *workload.inputs.values())]
        values = dict(zip([*parameters, *inputs], arrays, strict=True))
        return sg.evaluate([loss, *extra, *gradients], values)
    batches = _batches(workload) if workload.epoch else [list(workload.inputs.values())] * calls
    losses = []
    moments = [(np.zeros_like(p.value), np.zeros_like(p.value)) for p in parameters]
    for t, batch in enumerate(batches, start=1):
        values = dict(zip(inputs, map(widened, batch), strict=True))
        value, *found = sg.evaluate([loss, *gradients], values)
        losses.append(float(value))
        for p, g, (m, v) in zip(parameters, found, moments, strict=True):
            if workload.optimizer == "sgd":
                p.value -= workload.rate * g
                continue
            if workload.optimizer == "adamw":
                p.value *= 1 - workload.rate * 0.01
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p.value -= workload.rate / (1 - 0.9**t) * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return losses


# ---- PyTorch ----------------------------------------------------------------------------------------


def torch_eager(workload: Workload, compile: bool = False) -> Action:
    import torch

    torch.set_num_threads(threads())
    inputs = [torch.from_numpy(v) for v in workload.inputs.values()]
    constants = [torch.from_numpy(v) for v in workload.constants.values()]
    parameters = [torch.from_numpy(v.copy()).requires_grad_() for v in workload.parameters.values()]
    function = workload.losses["torch"]
    function = torch.compile(function) if compile else function
    if workload.optimizer:
        updates = optimizer(workload, parameters, torch.optim, fused=True if compile else None)

        def step(*batch: Any) -> float:
            updates.zero_grad()
            loss = function(*parameters, *batch, *constants)
            loss.backward()
            updates.step()
            return loss.item()

        return (
            _epochs(workload, step, torch.from_numpy) if workload.epoch else lambda: step(*inputs)
        )

    def gradient() -> list[np.ndarray]:
        loss, extra = split(workload, function(*parameters, *inputs, *constants))
        gradients = torch.autograd.grad(loss, parameters)
        return [r.detach().numpy() for r in (loss, *extra, *gradients)]

    return gradient


def torch_compiled(workload: Workload) -> Action:
    return torch_eager(workload, compile=True)


# ---- JAX --------------------------------------------------------------------------------------------


def jax_jit(workload: Workload) -> Action:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    function = workload.losses["jax"]
    constants = [jnp.asarray(v) for v in workload.constants.values()]
    parameters = [jnp.asarray(v) for v in workload.parameters.values()]
    inputs = [jnp.asarray(v) for v in workload.inputs.values()]

    if not workload.optimizer:

        def with_extra(given: list[Any]) -> Any:
            loss, extra = split(workload, function(*given, *inputs, *constants))
            return loss, extra

        both = jax.jit(jax.value_and_grad(with_extra, has_aux=True))

        def gradient() -> list[np.ndarray]:
            (value, extra), gradients = both(parameters)
            return [np.asarray(r) for r in (value, *extra, *gradients)]

        return gradient

    def update(state: Any, *batch: Any) -> Any:
        given, m, v, t = state
        loss, gradients = jax.value_and_grad(lambda p: function(*p, *batch, *constants))(given)
        t = t + 1
        if workload.optimizer == "sgd":
            new = [p - workload.rate * g for p, g in zip(given, gradients, strict=True)]
            return (new, m, v, t), loss
        rate = workload.rate / (1 - 0.9**t)
        correction = jnp.sqrt(1 - 0.999**t)
        decay = 1 - workload.rate * 0.01 if workload.optimizer == "adamw" else 1.0
        m = [a + 0.1 * (g - a) for a, g in zip(m, gradients, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, gradients, strict=True)]
        new = [
            p * decay - rate * a / (jnp.sqrt(b) / correction + 1e-8)
            for p, a, b in zip(given, m, v, strict=True)
        ]
        return (new, m, v, t), loss

    zeros = [jnp.zeros_like(p) for p in parameters]
    state = (parameters, zeros, [z + 0 for z in zeros], jnp.asarray(0.0, "float32"))
    if workload.epoch:
        return _jax_epoch(workload, state, update)
    step = jax.jit(update, donate_argnums=0)

    def train() -> float:
        nonlocal state
        state, loss = step(state, *inputs)
        return float(loss)

    return train


def _jax_epoch(workload: Workload, state: Any, update: Any) -> Action:
    import jax

    count = len(next(iter(workload.epoch.values())))
    whole = count // workload.batch

    def run(state: Any, order: Any, *samples: Any) -> Any:
        """A scan over full batches, and the last, smaller one."""
        batches = order[: whole * workload.batch].reshape(whole, workload.batch)
        state, losses = jax.lax.scan(
            lambda s, rows: update(s, *(a[rows] for a in samples)), state, batches
        )
        rest = order[whole * workload.batch :]
        state, last = update(state, *(a[rest] for a in samples))
        return state, losses, last

    jitted = jax.jit(run, donate_argnums=0)
    samples = [jax.numpy.asarray(a) for a in workload.epoch.values()]

    def epoch() -> list[float]:
        nonlocal state
        order = np.random.default_rng(0).permutation(count)
        state, losses, last = jitted(state, order, *samples)
        return [*np.asarray(losses).tolist(), float(last)]

    return epoch


# ---- PyTensor ---------------------------------------------------------------------------------------


def pytensor_numba(workload: Workload) -> Action:
    import pytensor
    import pytensor.tensor as pt

    def variable(name: str, array: np.ndarray) -> Any:
        return pt.tensor(name, dtype=str(array.dtype), shape=(None,) * array.ndim)

    inputs = [variable(n, v) for n, v in workload.inputs.items()]
    constants = [pt.constant(v) for v in workload.constants.values()]
    function = workload.losses["pytensor"]
    given = list(workload.inputs.values())
    if not workload.optimizer:
        parameters = [variable(n, v) for n, v in workload.parameters.items()]
        loss, extra = split(workload, function(*parameters, *inputs, *constants))
        gradients = pytensor.grad(loss, parameters)
        both = pytensor.function(
            [*parameters, *inputs], [loss, *extra, *gradients], mode="NUMBA", trust_input=True
        )
        arrays = [*workload.parameters.values(), *given]
        return lambda: both(*arrays)

    shared = [pytensor.shared(v.copy(), name=n) for n, v in workload.parameters.items()]
    loss = function(*shared, *inputs, *constants)
    gradients = pytensor.grad(loss, shared)
    f = np.float32
    t = pytensor.shared(f(0))
    updates = [(t, t + f(1))]
    for p, g in zip(shared, gradients, strict=True):
        if workload.optimizer == "sgd":
            updates.append((p, p - f(workload.rate) * g))
            continue
        m, v = (pytensor.shared(np.zeros_like(p.get_value())) for _ in range(2))
        new_m, new_v = m + f(0.1) * (g - m), f(0.999) * v + f(0.001) * g * g
        rate = f(workload.rate) / (1 - f(0.9) ** (t + f(1)))
        correction = pt.sqrt(1 - f(0.999) ** (t + f(1)))
        decay = f(1 - workload.rate * 0.01) if workload.optimizer == "adamw" else f(1)
        new = p * decay - rate * new_m / (pt.sqrt(new_v) / correction + f(1e-8))
        updates += [(m, new_m), (v, new_v), (p, new)]
    step = pytensor.function(inputs, loss, updates=updates, mode="NUMBA", trust_input=True)
    if workload.epoch:
        return _epochs(workload, lambda *batch: float(step(*batch)), np.ascontiguousarray)
    return lambda: float(step(*given))


def function_alone(workload: Workload) -> Action:
    """staticgrad without the gradient: what a gradient's cost is compared with."""
    import staticgrad as sg

    parameters, inputs, (loss,), extra = declared(workload)
    function = sg.compile([*parameters, *inputs], [loss, *extra], name=f"{workload.name}_value")
    arrays = [*workload.parameters.values(), *workload.inputs.values()]
    return lambda: function(*arrays)


#: name, the module it needs, how it is made; the first is what the others are compared with
LIBRARIES: dict[str, tuple[str, Callable[[Workload], Action]]] = {
    "staticgrad": ("staticgrad", staticgrad),
    "staticgrad eager": ("staticgrad", staticgrad_eager),
    "PyTorch eager": ("torch", torch_eager),
    "torch.compile": ("torch", torch_compiled),
    "JAX jit": ("jax", jax_jit),
    "PyTensor": ("pytensor", pytensor_numba),
}
LANGUAGE = {"staticgrad": "staticgrad", "torch": "torch", "jax": "jax", "pytensor": "pytensor"}
MAKERS: dict[str, Callable[[Workload], Action]] = {
    **{name: maker for name, (_, maker) in LIBRARIES.items()},
    "function alone": function_alone,
}
