"""``check_grad``: the gradient of any graph or function, held against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.checking.differences import Derivative, derivative
from staticgrad.checking.problems import (
    CompiledProblem,
    EagerProblem,
    GraphProblem,
    Problem,
    leaves_of,
    name_of,
    parameter_names,
    point,
)
from staticgrad.checking.report import (
    Disagreement,
    GradientError,
    GradientReport,
    VariableReport,
)
from staticgrad.eager.tensor import Tensor
from staticgrad.graph.leaves import Parameter, placeholder
from staticgrad.graph.node import GraphError, GraphTypeError, Node
from staticgrad.runtime.graph_function import GraphFunction
from staticgrad.training.step import TrainStep

#: the relative difference allowed, of gradients in float64 and of compiled code in float32
TOLERANCES = {False: 1e-6, True: 1e-3}
#: elements this much smaller than the largest are compared as if they were that large
NEGLIGIBLE = 1e-3
#: a finite difference decides nothing if its error is more of it than this
INACCURATE = 1e-5


def check_grad(
    f: Node | Sequence[Node] | Callable[..., Any],
    inputs: Any = None,
    *,
    wrt: Node | Sequence[Node] | None = None,
    order: int = 1,
    rtol: float | None = None,
    entries: int = 64,
    allow_kinks: bool = True,
    seed: int = 0,
    raise_exception: bool = True,
) -> GradientReport:
    """Check gradients against finite differences in float64.

    Args:
        f: what to differentiate:

            - a node, or several: with respect to all placeholders and parameters below;
            - a Python function of nodes or tensors: of nodes if ``inputs`` are arrays, run eagerly and
              with what the tape gives if they are ``eager`` tensors, which must give float64;
            - a compiled function whose first output is a scalar: the outputs that are gradients of it
              are compared as the compiled code computes them, those after the first in the order of
              ``wrt`` if that is given; if there are none, the gradient that would be derived;
            - a training step: its loss, with respect to the parameters it trains.
        inputs: for nodes a mapping from placeholders and parameters, or their names, to arrays; what
            is missing has its current value or a random one (integers 0 and 1). For functions and
            steps the arguments, in order.
        wrt: the placeholders and parameters with respect to which; unless told all that are floats and
            do not have ``requires_grad`` switched off.
        order: 2 for the derivative of the gradient: along a random direction, element by element.
        rtol: the relative difference allowed: 1e-6, and 1e-3 for compiled code in float32.
        entries: how many elements of a variable are checked; of larger ones so many at random, and
            the slope along a random direction in all elements at once.
        allow_kinks: whether a gradient between the slopes of both sides is right, as relu'(0) = 0 is;
            the report lists them in any case.
        seed: of random inputs, weights and choices. Outputs that are no scalars are summed with random
            weights.
        raise_exception: raise for a wrong gradient; else return the report, which is false then.

    Returns:
        A report, which is true if no gradient was contradicted, and prints as a summary.

    Raises:
        GradientError: an AssertionError that names the variable, the element, both values and the
            tolerance.
        GraphError: if the function is not finite at the inputs, or an argument does not fit.
        GraphTypeError: for what is no graph and no function; if nothing is there to vary.

    What ``stop_gradient`` holds constant is held constant for the differences too. A custom gradient is
    checked against the values that its function computes. Random numbers stay what they are.
    """
    if order not in (1, 2):
        raise ValueError(f"check_grad: order is 1 or 2, got {order!r}")
    rng = np.random.default_rng(seed)
    variables = None if wrt is None else [wrt] if isinstance(wrt, Node) else list(wrt)
    problem = _problem(f, inputs, variables, order, rng)
    tolerance = TOLERANCES[problem.float32] if rtol is None else float(rtol)
    report = GradientReport(problem.label, order, tolerance, [])
    gradients = problem.gradients()
    for number, (name, here, slope) in enumerate(
        zip(problem.names, problem.points, gradients, strict=True)
    ):
        found = VariableReport(name, here.shape)
        _compare(problem, number, here, slope, found, tolerance, entries, allow_kinks, rng)
        report.variables.append(found)
    if raise_exception and not report:
        raise GradientError(report)
    return report


# ---- what is asked for ---------------------------------------------------------------------------


def _problem(
    f: Any, inputs: Any, wrt: list[Node] | None, order: int, rng: np.random.Generator
) -> Problem:
    if isinstance(f, TrainStep):
        f, wrt = f.function, wrt or list(f._parameters)
        return _of_nodes(list(f.graph.outputs[:1]), _called(f, inputs), wrt, order, rng)
    if isinstance(f, GraphFunction):
        return _of_compiled(f, inputs, wrt, order, rng)
    if isinstance(f, Node) or (isinstance(f, (list, tuple)) and f):
        outputs = [f] if isinstance(f, Node) else list(f)
        return _of_nodes(outputs, inputs, wrt, order, rng)
    if not callable(f):
        raise GraphTypeError(
            f"check_grad: expected nodes, a function of them or a compiled function, got {f!r}"
        )
    arguments = _arguments(inputs)
    if any(isinstance(item, Tensor) for item in arguments):
        if wrt is not None:
            raise GraphTypeError("check_grad: of a function of tensors, those are varied that require "
                                 "a gradient; wrt is for nodes")  # fmt: skip
        return EagerProblem(f, arguments, order, rng)
    arrays = [np.asarray(item) for item in arguments]
    arrays = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
    names = parameter_names(f, len(arrays))
    nodes = [
        placeholder(name, array.shape, array.dtype)
        for name, array in zip(names, arrays, strict=True)
    ]
    result = f(*nodes)
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    if wrt is None:
        leaves = [*nodes, *(n for n in _leaves(outputs) if n not in set(nodes))]
        wrt = _variables(leaves, None)
    problem = _of_nodes(outputs, dict(zip(nodes, arrays, strict=True)), wrt, order, rng)
    problem.label = name_of(f)
    return problem


def _arguments(inputs: Any) -> list[Any]:
    if inputs is None:
        return []
    if isinstance(inputs, Mapping):
        raise GraphTypeError("check_grad: the inputs of a function are a sequence, in order")
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _called(function: GraphFunction, inputs: Any) -> dict[Node, Any]:
    """Arguments of a call by the placeholders they are for."""
    if isinstance(inputs, Mapping) or inputs is None:
        return dict(inputs or {})
    arguments = function.prepare(function.with_scalars(tuple(_arguments(inputs))))
    return dict(zip(function.graph.inputs, arguments, strict=True))


def _of_nodes(
    outputs: list[Any], inputs: Any, wrt: list[Node] | None, order: int, rng: np.random.Generator
) -> GraphProblem:
    leaves = _leaves(outputs)
    values = _by_node(inputs, [*leaves, *(wrt or [])])
    variables = _variables(leaves, wrt)
    leaves += [node for node in variables if node not in set(leaves)]
    for positive in (False, True):
        arrays = point(leaves, values, rng, positive)
        problem = GraphProblem(outputs, variables, arrays, order, rng)
        if np.isfinite(problem.value(0, problem.points[0])):
            return problem
    raise GraphError(
        f"check_grad: {problem.label} is {problem.value(0, problem.points[0])} at the inputs, so that "
        "there is nothing to compare; give it others with inputs="
    )


def _leaves(outputs: Sequence[Any]) -> list[Node]:
    """The leaves below. Raises GraphTypeError where an output is not to be differentiated."""
    for output in outputs:
        if not isinstance(output, Node) or output.is_eager or not output.type.is_float:
            raise GraphTypeError(f"check_grad: expected nodes of floats, got {output!r}")
    return leaves_of(outputs)


def _by_node(inputs: Any, leaves: Sequence[Node]) -> dict[Node, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise GraphTypeError(
            "check_grad: inputs of a graph are a mapping from placeholders and parameters, or their "
            f"names, to arrays, got {type(inputs).__name__}"
        )
    named = {leaf.name: leaf for leaf in leaves}
    found = {}
    for key, value in inputs.items():
        leaf = key if isinstance(key, Node) else named.get(key)
        if leaf not in set(leaves):
            known = ", ".join(str(name) for name in named)
            raise GraphError(f"check_grad: {key!r} is none of the inputs of this graph: {known}")
        found[leaf] = value
    return found


def _variables(leaves: Sequence[Node], wrt: list[Node] | None) -> list[Node]:
    if wrt is None:
        chosen = [
            leaf for leaf in leaves
            if leaf.type.is_float and (not isinstance(leaf, Parameter) or leaf.requires_grad)
        ]  # fmt: skip
        if not chosen:
            raise GraphTypeError("check_grad: no placeholder or parameter of floats to vary")
        return chosen
    for node in wrt:
        leaf = isinstance(node, Parameter) or (isinstance(node, Node) and node.op.name == "placeholder")
        if not leaf or not node.type.is_float:
            raise GraphTypeError(
                f"check_grad: wrt are placeholders and parameters of floats, got {node!r}"
            )
    return wrt


def _of_compiled(
    function: GraphFunction, inputs: Any, wrt: list[Node] | None, order: int,
    rng: np.random.Generator,
) -> GraphProblem:  # fmt: skip
    outputs = function.graph.outputs
    if not outputs or not outputs[0].type.is_float:
        raise GraphTypeError(f"check_grad: {function.name} has no first output of floats")
    values = _called(function, inputs)
    if wrt is not None and 1 < len(outputs) != len(wrt) + 1:
        raise GraphError(
            f"check_grad: {function.name} has {len(outputs) - 1} outputs after the first, wrt names "
            f"{len(wrt)} variables"
        )
    positions: Sequence[int] = range(1, len(outputs))
    variables = wrt or []
    if wrt is None:
        leaves = set(leaves_of(outputs))
        pairs = [(k, n.adjoint_of) for k, n in enumerate(outputs) if k and n.role == "adjoint"]
        positions = [k for k, primal in pairs if primal in leaves]
        variables = [primal for _, primal in pairs if primal in leaves]  # type: ignore[misc]
    if outputs[0].shape or not positions or order == 2:
        return _of_nodes([outputs[0]], values, wrt, order, rng)
    for position, variable in zip(positions, _variables([], variables), strict=True):
        if outputs[position].type != variable.type:
            raise GraphError(
                f"check_grad: output {position} of {function.name} is {outputs[position]!r}, which is "
                f"no gradient with respect to {variable!r}"
            )
    leaves_needed = [*function.graph.inputs, *leaves_of(outputs[:1])]
    arrays = point(leaves_needed, _by_node(values, leaves_needed), rng, False)
    typed = {node: array.astype(node.dtype) for node, array in arrays.items()}
    arguments = [typed[node] for node in function.graph.inputs]
    return CompiledProblem(function, arguments, variables, positions, typed, rng)


# ---- comparison ----------------------------------------------------------------------------------


def _compare(
    problem: Problem, number: int, here: np.ndarray, slope: np.ndarray, found: VariableReport,
    tolerance: float, entries: int, allow_kinks: bool, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Compare element by element, and along one direction where those are not all."""
    base = problem.value(number, here)
    usual = float(np.sqrt(np.mean(here**2))) if here.size else 1.0
    typical = usual or 1.0
    measured: list[tuple[tuple[int, ...] | None, float, Derivative]] = []
    accuracy = min(tolerance, INACCURATE) / 10
    for position in _chosen(here.shape, entries, rng):
        size = abs(float(here[position]))

        def moved(t: float, position: tuple[int, ...] = position) -> float:
            array = here.copy()
            array[position] += t
            return problem.value(number, array)

        numeric = derivative(moved, base, max(size, typical), accuracy, size)
        measured.append((position, float(slope[position]), numeric))
    found.checked = len(measured)
    if here.size > len(measured):
        direction = rng.choice([-1.0, 1.0], here.shape) * rng.uniform(0.5, 1.5, here.shape)

        def along(t: float) -> float:
            return problem.value(number, here + t * direction)

        analytic = float(np.sum(slope * direction))
        measured.append((None, analytic, derivative(along, base, typical, accuracy)))
    largest = max((abs(item.value) for _, _, item in measured if item.kind != "jump"), default=0.0)
    # below this, a derivative tells from rounding in nothing
    noise = 1e-9 * abs(base) / typical
    for place, analytic, item in measured:
        entry = Disagreement(found.name, place, analytic, item.value, item.error)
        larger = max(abs(analytic), abs(item.value), NEGLIGIBLE * largest)
        if item.kind != "smooth":
            entry = Disagreement(
                found.name, place, analytic, item.value, item.error, item.left, item.right
            )
            # along a direction, a kink may be that of any element
            if place is not None:
                found.kinks.append(entry)
            low, high = sorted((item.left, item.right))
            slack = 1e-4 * max(abs(low), abs(high))
            between = low - slack <= analytic <= high + slack
            if place is not None and item.kind == "kink" and not (between and allow_kinks):
                found.wrong.append(entry)
            continue
        difference = abs(analytic - item.value)
        if difference > tolerance * larger + 4 * item.error or not np.isfinite(analytic):
            found.wrong.append(entry)
        elif 4 * item.error > max(tolerance, INACCURATE) * larger + noise:
            found.undecided.append(entry)
        if larger > noise and np.isfinite(difference):
            found.worst = max(found.worst, difference / larger)


def _chosen(
    shape: tuple[int, ...], entries: int, rng: np.random.Generator
) -> Iterator[tuple[int, ...]]:
    size = int(np.prod(shape))
    flat = np.arange(size) if size <= entries else np.sort(rng.permutation(size)[:entries])
    for place in flat:
        yield tuple(int(item) for item in np.unravel_index(place, shape))


__all__ = ["check_grad"]
