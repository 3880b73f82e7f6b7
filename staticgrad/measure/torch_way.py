"""A model's step in PyTorch's eager mode, translated from the declared graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from staticgrad.graph.leaves import Parameter, sizes_from
from staticgrad.graph.traverse import topological
from staticgrad.measure.model import Model
from staticgrad.measure.replay import Replay
from staticgrad.measure.torch_ops import Translator, Untranslatable
from staticgrad.optim.optimizer import SCHEDULED


class TorchStep:
    """The step on ``arrays``; calling it gives what the compiled one gives. It works on copies of the
    parameters and of the optimizer's state.

    Raises Untranslatable for an op, or an optimizer, that PyTorch does not have.
    """

    def __init__(self, model: Model, arrays: Sequence[np.ndarray]) -> None:
        self.model = model
        program = model.program
        roots = [*program.outputs, *program.stored.values()]
        order = topological(roots)
        sizes = sizes_from(model.inputs, [array.shape for array in arrays])
        translator = Translator(sizes, set(order))
        parameters = [node for node in order if isinstance(node, Parameter)]
        leaves = [*model.inputs, *parameters]
        with torch.no_grad():
            self._replay = Replay(roots, leaves, translator.constants(roots), translator)
        self._count = len(program.outputs)
        self.tensors = {p: torch.tensor(p.value) for p in parameters}
        given = [torch.tensor(array) for array in arrays]
        self._leaves = [*given, *self.tensors.values()]
        self._stored = [self.tensors[parameter] for parameter in program.stored]
        places = dict(zip(leaves, self._leaves, strict=True))
        self._wrt = [places[node].requires_grad_() for node in model.wrt]
        self._optimizer: Any = self._translated() if model.optimizer is not None else None
        if model.loss is None:
            self._action: Callable[[], list[Any]] = self._function
        else:
            self._action = self._gradient if self._optimizer is None else self._training

    def __call__(self) -> list[Any]:
        return self._action()

    def _translated(self) -> Any:
        """The same optimizer with the same options, in the same state."""
        ours = self.model.optimizer
        kind = getattr(torch.optim, type(ours).__name__, None)
        if kind is None or ours is None:
            raise Untranslatable(f"has no optimizer {type(ours).__name__}")
        trained = set(self.model.wrt)
        groups = []
        for group in ours.param_groups:
            chosen = [self.tensors[p] for p in group["params"] if p in trained]
            options = {k: v for k, v in group.items() if k not in ("params", "name", *SCHEDULED)}
            if chosen:
                groups.append({"params": chosen, **options})
        optimizer = kind(groups)
        for parameter, kept in ours.state.items():
            fresh = "step" in kept and not kept["step"].value
            for name, buffer in {} if fresh or parameter not in trained else kept.items():
                # counts of steps are float32 in PyTorch
                dtype = torch.float32 if name == "step" else None
                state = optimizer.state[self.tensors[parameter]]
                state[name] = torch.tensor(buffer.value, dtype=dtype)
        return optimizer

    def _forward(self) -> list[Any]:
        results = self._replay(self._leaves)
        with torch.no_grad():
            values = [value.detach().clone() for value in results[self._count :]]
            for target, value in zip(self._stored, values, strict=True):
                target.copy_(value)
        return results[: self._count]

    def _function(self) -> list[Any]:
        with torch.no_grad():
            return [result.numpy() for result in self._forward()]

    def _gradient(self) -> list[Any]:
        for tensor in self._wrt:
            tensor.grad = None
        (loss,) = self._forward()
        loss.backward()
        return [loss.item(), *(t.grad.numpy() for t in self._wrt if t.grad is not None)]

    def _training(self) -> list[Any]:
        optimizer = self._optimizer
        optimizer.zero_grad()
        loss, *others = self._forward()
        loss.backward()
        norm, value = self.model.clipping
        if norm is not None:
            torch.nn.utils.clip_grad_norm_(self._wrt, norm)
        if value is not None:
            torch.nn.utils.clip_grad_value_(self._wrt, value)
        optimizer.step()
        return [loss.item(), *(other.detach().numpy() for other in others)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def count_ops(action: Callable[[], Any]) -> int:
    """How many ops PyTorch dispatches in a call, the backward pass and the optimizer included."""

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.count += 1
            return function(*args, **(kwargs or {}))

    with Counting() as counting:
        action()
    return counting.count
