"""What is checked, whatever form it has: a number as a function of variables, and its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from staticgrad.checking.doubled import DOUBLE, Evaluator, in_double
from staticgrad.derive.gradient import grad
from staticgrad.eager.backward import grad as eager_grad
from staticgrad.eager.modes import no_grad
from staticgrad.eager.tensor import Tensor
from staticgrad.graph.dims import concrete, symbols_of
from staticgrad.graph.leaves import Parameter, placeholder, sizes_from
from staticgrad.graph.node import GraphError, GraphTypeError, Node
from staticgrad.graph.traverse import topological
from staticgrad.ops import public as sg
from staticgrad.ops.convert import cast
from staticgrad.show.names import Names, name_results

#: sizes of named dimensions that no array gives; different ones, so that mixed-up axes show
SIZES = (3, 4, 5, 2, 6, 7)


class Problem(Protocol):
    """A number as a function of variables.

    Attributes: ``label``, for messages; ``names`` and ``points``, of the variables; ``float32``,
    whether the gradients are computed in it.
    """

    label: str
    names: list[str]
    points: list[np.ndarray]
    float32: bool

    def value(self, variable: int, array: np.ndarray) -> float:
        """The number where one variable is changed."""

    def gradients(self) -> list[np.ndarray]:
        """The gradient with respect to each variable."""


class GraphProblem:
    """Outputs of a graph, weighted at random where they are no scalars, in float64."""

    float32 = False

    def __init__(
        self, outputs: Sequence[Node], wrt: Sequence[Node], values: Mapping[Node, np.ndarray],
        order: int, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        name_results(outputs)
        self.label = outputs[0].name or "the function"
        self.variables = list(wrt)
        total, weights = weighted(outputs)
        slopes = grad(total, self.variables, unused="zeros")
        if order == 2:
            total, more = weighted(slopes)
            weights += more
            slopes = grad(total, self.variables, unused="zeros")
        given = sizes_from(list(values), [array.shape for array in values.values()])
        known = {
            **values, **{w: rng.uniform(0.5, 1.5, concrete(w.shape, given)) for w in weights}
        }  # fmt: skip
        copies, leaves = in_double([total, *slopes])
        arrays = {leaves[node]: as_double(array) for node, array in known.items() if node in leaves}
        self._leaves = [leaves.get(variable) for variable in self.variables]
        names = Names(self.variables)
        self.names = [names[variable] for variable in self.variables]
        self.points = [as_double(values[variable]) for variable in self.variables]
        self._total = Evaluator(copies[:1], arrays, given)
        self._slopes = Evaluator(copies[1:], arrays, given)

    def value(self, variable: int, array: np.ndarray) -> float:
        leaf = self._leaves[variable]
        if leaf is None or leaf not in self._total.values:
            return float(self._total.values[self._total.roots[0]])
        return float(self._total.at(leaf, array)[0])

    def gradients(self) -> list[np.ndarray]:
        return [self._slopes.values[root] for root in self._slopes.roots]


class CompiledProblem(GraphProblem):
    """The first output of a compiled function, against the gradients that its code computes."""

    def __init__(
        self, function: Any, arguments: Sequence[np.ndarray], wrt: Sequence[Node],
        positions: Sequence[int], values: Mapping[Node, np.ndarray], rng: np.random.Generator,
    ) -> None:  # fmt: skip
        super().__init__(function.graph.outputs[:1], wrt, values, 1, rng)
        self.label = function.name
        self.float32 = any(variable.dtype == np.float32 for variable in wrt)
        with function.unchanged():
            for node in wrt:
                if isinstance(node, Parameter):
                    node.value[...] = values[node]
            results = function(*arguments)
        self._computed = [np.asarray(results[position], DOUBLE) for position in positions]

    def gradients(self) -> list[np.ndarray]:
        return self._computed


class EagerProblem:
    """A Python function of tensors, and what the tape makes of it."""

    float32 = False

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Any], order: int,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.label = name_of(function)
        self._function, self._order = function, order
        tensors = [isinstance(item, Tensor) and item.type.is_float for item in arguments]
        asked = [isinstance(item, Tensor) and item.requires_grad for item in arguments]
        self._places = [k for k, yes in enumerate(asked if any(asked) else tensors) if yes]
        if not self._places:
            raise GraphTypeError(f"check_grad: {self.label} is given no tensor of floats to vary")
        self._arguments = [
            Tensor(as_double(item.detach().numpy())) if isinstance(item, Tensor) else item
            for item in arguments
        ]
        names = parameter_names(function, len(arguments))
        self.names = [names[place] for place in self._places]
        self.points = [self._arguments[place].numpy() for place in self._places]
        outputs = self._outputs(self._arguments)
        self._weights = [weight(rng, output.shape) for output in outputs]
        self._more = [weight(rng, point.shape) for point in self.points]
        if self.value(0, self.points[0]) != self.value(0, self.points[0]):
            raise GraphError(
                f"check_grad: {self.label} gives another value when it is called again (or NaN): draw "
                "no random numbers in it, and call net.eval() before"
            )

    def _outputs(self, arguments: Sequence[Any]) -> list[Tensor]:
        result = self._function(*arguments)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for output in outputs:
            if not isinstance(output, Tensor) or output.dtype != DOUBLE:
                raise GraphTypeError(
                    f"check_grad: {self.label} must give tensors of float64 for such arguments, got "
                    f"{output!r}: parameters and constants in it have to be float64 too"
                )
        return outputs

    def value(self, variable: int, array: np.ndarray) -> float:
        arguments = list(self._arguments)
        arguments[self._places[variable]] = Tensor(np.array(array))
        if self._order == 1:
            with no_grad():
                results, weights = self._outputs(arguments), self._weights
        else:
            results, weights = self._slopes(arguments, create_graph=False), self._more
        return float(sum(np.sum(r.numpy() * w) for r, w in zip(results, weights, strict=True)))

    def _slopes(self, arguments: list[Any], create_graph: bool) -> list[Tensor]:
        varied = self._varied(arguments)
        outputs = self._outputs(arguments)
        seeds = [Tensor(w) for w in self._weights]
        found = [output.requires_grad for output in outputs]
        reached = [o for o, yes in zip(outputs, found, strict=True) if yes]
        seeds = [s for s, yes in zip(seeds, found, strict=True) if yes]
        slopes: Sequence[Tensor | None] = [None] * len(varied)
        if reached:
            slopes = eager_grad(reached, varied, seeds, create_graph=create_graph, allow_unused=True)
        return [
            Tensor(np.zeros(v.shape)) if slope is None else slope
            for v, slope in zip(varied, slopes, strict=True)
        ]

    def _varied(self, arguments: list[Any]) -> list[Tensor]:
        for place in self._places:
            arguments[place] = Tensor(np.array(arguments[place].numpy()))
            arguments[place].requires_grad = True
        return [arguments[place] for place in self._places]

    def gradients(self) -> list[np.ndarray]:
        arguments = list(self._arguments)
        slopes = self._slopes(arguments, create_graph=self._order == 2)
        if self._order == 2:
            varied = [arguments[place] for place in self._places]
            reached = [(s, Tensor(w)) for s, w in zip(slopes, self._more, strict=True)
                       if s.requires_grad]  # fmt: skip
            second: Sequence[Tensor | None] = [None] * len(varied)
            if reached:
                tensors, seeds = zip(*reached, strict=True)
                second = eager_grad(list(tensors), varied, list(seeds), allow_unused=True)
            slopes = [
                Tensor(np.zeros(v.shape)) if s is None else s
                for v, s in zip(varied, second, strict=True)
            ]
        return [slope.numpy() for slope in slopes]


def weighted(outputs: Sequence[Node]) -> tuple[Node, list[Node]]:
    """The sum of all elements times weights, and the placeholders of the weights; a lone scalar is
    its own sum."""
    if len(outputs) == 1 and not outputs[0].shape:
        return outputs[0], []
    total: Node | None = None
    weights = []
    for number, output in enumerate(outputs):
        weights.append(placeholder(f"weight_{number}", output.shape, output.dtype))
        term = cast(sg.sum(output * weights[-1]), outputs[0].dtype)
        total = term if total is None else total + term
    assert total is not None
    return total, weights


def weight(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return np.asarray(rng.uniform(0.5, 1.5, tuple(shape))) if len(shape) else np.ones(())


def as_double(array: Any) -> np.ndarray:
    """A copy in float64; of integers and booleans as they are."""
    result = np.array(array)
    return result.astype(DOUBLE) if result.dtype.kind == "f" else result


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called; of ``Function.apply`` and its like, the class."""
    owner = getattr(function, "__self__", None)
    return getattr(owner if isinstance(owner, type) else function, "__name__", "the function")


def parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    """What a function calls its first arguments."""
    try:
        known = [
            parameter.name for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]  # fmt: skip
    except (TypeError, ValueError):
        known = []
    return [*known[:count], *(f"input_{k}" for k in range(len(known[:count]), count))]


def leaves_of(outputs: Sequence[Node]) -> list[Node]:
    """The placeholders and parameters below, in the order of their declaration."""
    found = [n for n in topological(outputs) if isinstance(n, Parameter) or n.op.name == "placeholder"]
    return sorted(found, key=lambda node: node.serial)


def point(
    leaves: Sequence[Node], values: Mapping[Node, Any], rng: np.random.Generator, positive: bool
) -> dict[Node, np.ndarray]:
    """An array for each leaf: the one given, a parameter's own, or random numbers.

    Raises ValueError where an array does not fit its declaration.
    """
    arrays = {node: np.asarray(value) for node, value in values.items()}
    arrays |= {n: n.value for n in leaves if isinstance(n, Parameter) and n not in arrays}
    sizes = sizes_from(list(arrays), [array.shape for array in arrays.values()])
    free = dict.fromkeys(
        symbol for node in leaves for symbol in sorted(symbols_of(node.shape), key=str)
        if symbol not in sizes
    )  # fmt: skip
    sizes |= {symbol: SIZES[k % len(SIZES)] for k, symbol in enumerate(free)}
    for node in leaves:
        if node in arrays:
            continue
        shape = concrete(node.shape, sizes)
        if not node.type.is_float:
            arrays[node] = rng.integers(0, 2, shape).astype(node.dtype)
        elif positive:
            arrays[node] = rng.uniform(0.2, 0.8, shape)
        else:
            arrays[node] = rng.standard_normal(shape)
    return arrays
