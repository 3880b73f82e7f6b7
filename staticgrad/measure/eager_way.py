"""A model's step in our own eager mode: forward on the tape, backward, the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.eager.modes import no_grad
from staticgrad.eager.tensor import Tensor, view_of
from staticgrad.graph.dims import concrete
from staticgrad.graph.leaves import CONSTANT, SIZE, Parameter, sizes_from
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.measure.model import Model
from staticgrad.measure.replay import Pullback, Replay, Translation
from staticgrad.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from staticgrad.ops.custom import CUSTOM
from staticgrad.ops.random_numbers import draw_numbers


def eager_step(model: Model, arrays: Sequence[np.ndarray]) -> Callable[[], list[Any]]:
    """The step on ``arrays``, as a function without arguments. It gives what the compiled one gives:
    the loss, further outputs and, without an optimizer, the gradients."""
    program = model.program
    roots = [*program.outputs, *program.stored.values()]
    order = topological(roots)
    sizes = sizes_from(model.inputs, [array.shape for array in arrays])
    draws = draw_numbers(order)
    around = set(order)

    def translate(node: Node) -> Translation:
        if node.op is CUSTOM:
            return custom(node)
        attrs = {key: concrete(value, sizes) for key, value in node.attrs.items()}
        if node in draws:
            attrs["draw"] = draws[node]
        op = node.op

        def apply(*inputs: Tensor) -> Any:
            # looked up at each call, as ops do: see ``allocations.each_op``
            return FUNCTIONS["run_op"](op, inputs, attrs)

        return apply, node.inputs

    def custom(node: Node) -> Translation:
        pulled = Pullback(node, around)
        leaves = [pulled.adjoint, *pulled.captured]
        back = Replay(pulled.roots, leaves, constants_of(pulled.roots, sizes), translate)
        count, name = len(node.inputs), node.attrs["name"]

        def apply(*inputs: Tensor) -> Any:
            captured = inputs[count:]

            def pullback(adjoint: Tensor) -> list[Any]:
                return pulled.spread(back([adjoint, *captured]))

            attrs = {"pullback": pullback, "name": name}
            return FUNCTIONS["run_op"](CUSTOM, inputs[:count], attrs)

        return apply, [*node.inputs, *pulled.sources]

    constants = constants_of(roots, sizes)
    parameters = [node for node in order if isinstance(node, Parameter)]
    by_inputs = [node for node in model.wrt if not isinstance(node, Parameter)]
    inputs = [Tensor(array) for array in arrays]
    replay = Replay(roots, [*model.inputs, *parameters], constants, translate)
    count = len(program.outputs)

    def forward() -> tuple[list[Tensor], list[Tensor]]:
        given = inputs
        if by_inputs:
            given = [Tensor(tensor._array) for tensor in inputs]
            for node, tensor in zip(model.inputs, given, strict=True):
                tensor.requires_grad = node in by_inputs
        results = replay([*given, *(view_of(parameter) for parameter in parameters)])
        # copies first: a new value may be a view of an old one
        stored = [np.array(value._array) for value in results[count:]]
        for parameter, value in zip(program.stored, stored, strict=True):
            parameter.value[...] = value
            view_of(parameter)._version[0] += 1
        return given, results[:count]

    def function() -> list[Any]:
        with no_grad():
            return [result._array for result in forward()[1]]

    def gradient() -> list[Any]:
        for node in model.wrt:
            if isinstance(node, Parameter):
                node.grad = None
        given, results = forward()
        results[0].backward()
        places = dict(zip(model.inputs, given, strict=True))
        found = [n.grad if isinstance(n, Parameter) else places[n].grad for n in model.wrt]
        return [results[0].item(), *(g._array for g in found if g is not None)]

    def training() -> list[Any]:
        optimizer = model.optimizer
        assert optimizer is not None
        optimizer.zero_grad()
        results = forward()[1]
        results[0].backward()
        norm, value = model.clipping
        if norm is not None:
            clip_grad_norm_(model.wrt, norm)  # type: ignore[arg-type]
        if value is not None:
            clip_grad_value_(model.wrt, value)  # type: ignore[arg-type]
        optimizer.step()
        return [results[0].item(), *(result._array for result in results[1:])]

    if model.loss is None:
        return function
    return training if model.optimizer is not None else gradient


def constants_of(roots: Sequence[Node], sizes: Mapping[Any, int]) -> dict[Node, Tensor]:
    """The constants that nodes depend on, and the sizes of dimensions, as tensors."""
    found = {}
    for node in topological(roots):
        if node.op is CONSTANT:
            found[node] = Tensor(node.attrs["value"], node.type)
        elif node.op is SIZE:
            found[node] = Tensor(np.asarray(concrete(node.attrs["dim"], sizes), np.int64))
    return found
