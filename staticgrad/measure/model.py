"""A model to be read or measured: inputs and loss, how it is trained, and the step compiled from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from staticgrad.derive.gradient import grad
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.origin import without_origins
from staticgrad.graph.traverse import topological
from staticgrad.optim.optimizer import Optimizer
from staticgrad.rewrite.graph import Graph, effects_of
from staticgrad.runtime.debug import DebugFunction
from staticgrad.runtime.function import CompiledFunction, compile
from staticgrad.training.step import TrainStep, train_step

EXPECTED = (
    "expected (inputs, loss), (inputs, loss, optimizer), or what sg.train_step or sg.compile returns"
)


@dataclass(frozen=True)
class Program:
    """Nodes that a step computes, and the new values of parameters that it stores: running statistics
    and counts of random numbers, or whatever a compiled function updates."""

    outputs: list[Node]
    stored: dict[Parameter, Node]


class Model:
    """What a model is made of.

    Attributes:
        name: of the compiled function.
        inputs: the placeholders, in the order of the call.
        loss: the scalar that is differentiated; None for a compiled function, whose outputs may be
            anything.
        optimizer: how the parameters are trained; None where value and gradients are all.
        wrt: the nodes by which ``loss`` is differentiated.
        graph: what one step computes, as declared: outputs and updates.
    """

    def __init__(
        self,
        inputs: Sequence[Node],
        loss: Node | None,
        optimizer: Optimizer | None = None,
        made: CompiledFunction | TrainStep | None = None,
        name: str | None = None,
    ) -> None:
        self.inputs = list(inputs)
        self.loss = loss
        self.optimizer = optimizer
        self.name = name or "step"
        self.wrt = [] if loss is None else _differentiated(loss, self.inputs, optimizer)
        #: whether the step was compiled by the user
        self.is_made = made is not None
        self._made = made
        self._gradients: list[Node] | None = None

    @classmethod
    def of(cls, value: Any, name: str | None = None) -> Model:
        """The model that ``value`` describes: a tuple (inputs, loss) or (inputs, loss, optimizer), a
        training step, or a compiled function.

        Raises TypeError, which says what was expected, for anything else.
        """
        if isinstance(value, TrainStep):
            return cls(value.inputs, value.loss, value.optimizer, value, value.function.name)
        if isinstance(value, (CompiledFunction, DebugFunction)):
            function = value.compiled if isinstance(value, DebugFunction) else value
            return cls(function.inputs, None, None, function, function.name)
        if isinstance(value, (tuple, list)) and len(value) in (2, 3):
            inputs, loss, *rest = value
            inputs = [inputs] if isinstance(inputs, Node) else inputs
            optimizer = rest[0] if rest else None
            if (
                isinstance(inputs, (tuple, list))
                and all(isinstance(node, Node) for node in inputs)
                and isinstance(loss, Node)
                and (optimizer is None or isinstance(optimizer, Optimizer))
            ):
                return cls(inputs, loss, optimizer, name=name)
        raise TypeError(f"got {described(value)}; {EXPECTED}")

    @property
    def step(self) -> CompiledFunction | TrainStep:
        """The compiled step: loss, gradients and updates, or without an optimizer loss and gradients.

        Raises what ``train_step``, ``grad`` and ``compile`` raise.
        """
        if self._made is None:
            assert self.loss is not None
            with without_origins():
                self._made = self._compiled(self.loss)
        return self._made

    def _compiled(self, loss: Node) -> CompiledFunction | TrainStep:
        if self.optimizer is not None:
            return train_step(self.inputs, loss, self.optimizer, name=self.name, debug=False)
        outputs = [name_loss(loss), *self.gradients]
        function = compile(self.inputs, outputs, name=self.name, debug=False)
        assert isinstance(function, CompiledFunction)
        return function

    @property
    def gradients(self) -> list[Node]:
        """The gradient of the loss by each of ``wrt``."""
        if self._gradients is None:
            with without_origins():
                self._gradients = (
                    list(grad(self.loss, self.wrt)) if self.loss is not None and self.wrt else []
                )
        return self._gradients

    @property
    def function(self) -> CompiledFunction:
        """The compiled function that a step calls."""
        step = self.step
        function = step.function if isinstance(step, TrainStep) else step
        if isinstance(function, DebugFunction):
            return function.compiled
        return function

    @property
    def graph(self) -> Graph:
        """What one step computes, as it was declared."""
        return self.function.graph

    @property
    def program(self) -> Program:
        """What a step computes besides gradients and the optimizer's rule, and what it stores."""
        if self.loss is None:
            return Program(list(self.graph.outputs), dict(self.graph.updates))
        outputs = [self.loss]
        if isinstance(self._made, TrainStep):
            outputs = list(self._made.declared_outputs)
        return Program(outputs, effects_of(outputs))

    @property
    def clipping(self) -> tuple[float | None, float | None]:
        """The largest norm of the gradients, and the largest value in one; None for no limit."""
        return self._made.clipping if isinstance(self._made, TrainStep) else (None, None)

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters that a step reads or changes, the optimizer's state among them."""
        nodes = [*topological(self.graph.roots), *(p for p, _ in self.graph.updates)]
        return list(dict.fromkeys(node for node in nodes if isinstance(node, Parameter)))

    @property
    def dimensions(self) -> list[str]:
        """The named dimensions of the inputs."""
        found = {
            str(symbol): None
            for node in self.inputs
            for dim in node.shape
            if not isinstance(dim, int)
            for symbol in sorted(dim.free_symbols, key=str)
        }
        return list(found)


def _differentiated(
    loss: Node, inputs: Sequence[Node], optimizer: Optimizer | None
) -> list[Node]:
    """The parameters that are trained; without an optimizer all that the loss depends on, and where
    there are none, the floating-point inputs."""
    below = topological([loss])
    parameters = [n for n in below if isinstance(n, Parameter) and n.requires_grad and n.type.is_float]
    if optimizer is not None:
        trained = {p for group in optimizer.param_groups for p in group["params"]}
        return [p for p in parameters if p in trained]
    if parameters:
        return list(parameters)
    used = set(below)
    return [node for node in inputs if node in used and node.type.is_float]


def name_loss(loss: Node) -> Node:
    """The loss, called so where the user's line gives it no name."""
    if loss.name is None and (loss.origin is None or loss.origin.target is None):
        loss.named("loss")
    return loss


def described(value: Any) -> str:
    """A value in a few words: its type, and for a tuple those of its parts."""
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(described, value))
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if value is None:
        return "None"
    return repr(value) if isinstance(value, Node) else type(value).__name__
