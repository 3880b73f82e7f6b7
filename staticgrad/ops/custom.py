"""Derivatives that the user writes: once, for both modes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.expression import Call, Expression
from staticgrad.graph.node import GraphError, GraphTypeError, Node, Op, TensorType, make_node
from staticgrad.ops.convert import as_node, broadcast
from staticgrad.ops.scalar import STOP_GRADIENT, stop_gradient
from staticgrad.ops.table import register

Pullback = Callable[[Node], Any]


class CustomGradient(Op):
    """The first input, which the user computed; adjoints go to the others, by the user's pullback."""

    flops = 0

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        return inputs[0]

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        given = node.attrs["pullback"](adjoint)
        adjoints = given if isinstance(given, (tuple, list)) else (given,)
        arguments = node.inputs[1:]
        if len(adjoints) != len(arguments):
            raise GraphError(
                f"the pullback of {node.attrs['name']} gave {len(adjoints)} adjoints for "
                f"{len(arguments)} arguments: return one for each, None where nothing flows back"
            )
        return [None, *(
            _fitting(node, position, argument, item)
            for position, (argument, item) in enumerate(zip(arguments, adjoints, strict=True))
        )]  # fmt: skip

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return arrays[0]

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        (result, *_) = arguments
        # what keeps the user's computation from being differentiated is no part of the formula
        if isinstance(result, Call) and result.name == STOP_GRADIENT.name:
            return result.arguments[0]
        return result


CUSTOM = register(CustomGradient("custom_gradient"))


def _fitting(node: Node, position: int, argument: Node, adjoint: Any) -> Node | None:
    if adjoint is None or not argument.differentiable:
        return None
    result = as_node(adjoint, argument.dtype)
    if result.dtype != argument.dtype:
        raise GraphTypeError(
            f"the pullback of {node.attrs['name']} gave an adjoint of {result.dtype} for argument "
            f"{position}, which is {argument.dtype}"
        )
    if result.shape == ():
        return broadcast(result, argument.shape)
    if result.shape != argument.shape:
        raise GraphError(
            f"the pullback of {node.attrs['name']} gave an adjoint of {result.type} for argument "
            f"{position}, which has {argument.type}: shapes must be equal"
        )
    return result


def _wrapped(name: str, result: Any, arguments: Sequence[Node], pullback: Pullback) -> Node:
    """``result`` as a node whose adjoint goes to ``arguments`` by ``pullback``."""
    attrs = {"pullback": pullback, "name": name}
    return make_node(CUSTOM, [stop_gradient(as_node(result)), *arguments], attrs)


def custom_gradient(function: Callable[..., tuple[Any, Pullback]]) -> Callable[..., Any]:
    """Give a function a derivative of its own, in eager and in static graphs alike.

    The function returns its result and its pullback: a function of the result's adjoint that returns
    the adjoint of each argument (a tuple where there are several; None where nothing flows back)::

        @sg.custom_gradient
        def straight_through(x):
            return sg.sign(x), lambda adjoint: adjoint

    Arguments are nodes, tensors, arrays or numbers. The result has to be one node. Written in public
    functions, the pullback can be differentiated again.

    Raises:
        GraphTypeError: if the function does not return a pair, or an adjoint has another dtype.
        GraphError: if the adjoints are not as many as the arguments, or of other shapes.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        nodes = [as_node(argument) for argument in arguments]
        pair = function(*nodes, **options)
        if not isinstance(pair, tuple) or len(pair) != 2 or not callable(pair[1]):
            raise GraphTypeError(
                f"{function.__name__} must return its result and its pullback, got {pair!r}"
            )
        return _wrapped(function.__name__, pair[0], nodes, pair[1])

    return call


class FunctionContext:
    """What ``forward`` leaves for ``backward``: saved values, and any attributes.

    ``needs_input_grad`` says for each argument of ``forward`` whether its adjoint is asked for.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        """Keep arguments or results of ``forward`` for ``backward``."""
        self.saved_tensors = values


class Function:
    """An operation with a derivative of its own, in PyTorch's form, for both modes.

    A subclass defines two static methods: ``forward(ctx, *arguments)``, which returns a result or a
    tuple of them, and ``backward(ctx, *adjoints)``, which takes an adjoint for each result and
    returns one for each argument, None where nothing flows back. ``apply`` calls it::

        class Square(eager.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, adjoint):
                (x,) = ctx.saved_tensors
                return adjoint * 2 * x

        y = Square.apply(x)
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """The result, or a tuple of results."""
        raise NotImplementedError("a Function defines forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *adjoints: Any) -> Any:
        """An adjoint for each argument of ``forward``."""
        raise NotImplementedError("a Function defines backward(ctx, ...)")

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """Call ``forward``, and have ``backward`` called for the gradient.

        Raises:
            GraphError: where ``backward`` gives adjoints that do not fit the arguments.
        """
        positions = [k for k, argument in enumerate(arguments) if isinstance(argument, Node)]
        needed = tuple(isinstance(a, Node) and a.differentiable for a in arguments)
        context = FunctionContext(needed)
        returned = cls.forward(context, *arguments)
        results = returned if isinstance(returned, tuple) else (returned,)
        values = [as_node(result) for result in results]

        def pullback_of(output: int) -> Pullback:
            # a pullback is linear in the adjoints: each result brings its own share
            def pullback(adjoint: Node) -> list[Any]:
                adjoints = [
                    adjoint if k == output else broadcast(as_node(0, value.dtype), value.shape)
                    for k, value in enumerate(values)
                ]
                given = cls.backward(context, *adjoints)
                shares = list(given) if isinstance(given, (tuple, list)) else [given]
                if len(shares) != len(arguments):
                    raise GraphError(
                        f"{cls.__name__}.backward gave {len(shares)} adjoints for the "
                        f"{len(arguments)} arguments of forward: return one for each, None where "
                        "nothing flows back"
                    )
                return [shares[k] for k in positions]

            return pullback

        nodes = [arguments[k] for k in positions]
        wrapped = [
            _wrapped(cls.__name__, value, nodes, pullback_of(k)) if value.type.is_float else value
            for k, value in enumerate(values)
        ]
        # a result that was saved is the one that gradients can flow through
        context.saved_tensors = tuple(
            next((new for old, new in zip(results, wrapped, strict=True) if old is item), item)
            for item in context.saved_tensors
        )
        return tuple(wrapped) if isinstance(returned, tuple) else wrapped[0]


__all__ = ["Function", "FunctionContext", "custom_gradient"]
