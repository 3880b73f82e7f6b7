"""Gradients as graph expressions: reverse-mode derivation of a declared graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, overload

from staticgrad.graph.dims import format_shape
from staticgrad.graph.leaves import constant
from staticgrad.graph.node import GraphError, GraphTypeError, Node, adjoint_context, described
from staticgrad.graph.origin import assigned, user_origin
from staticgrad.graph.traverse import topological
from staticgrad.ops.convert import as_node, broadcast
from staticgrad.ops.sweep import sweep
from staticgrad.rewrite.stabilise import stabilise_nodes

Unused = Literal["raise", "zeros"]


@overload
def grad(output: Node, wrt: Node, seed: Any = None, *, unused: Unused = "raise") -> Node: ...
@overload
def grad(
    output: Node, wrt: Sequence[Node], seed: Any = None, *, unused: Unused = "raise"
) -> list[Node]: ...
def grad(
    output: Node, wrt: Node | Sequence[Node], seed: Any = None, *, unused: Unused = "raise"
) -> Node | list[Node]:
    """The gradient of ``output`` with respect to ``wrt``, as expressions of the same graph.

    The result can be printed, used in further expressions, differentiated again, and compiled
    together with everything else, in which case what they share is computed once.

    Args:
        output: a floating-point scalar, or a node of any shape with a ``seed``.
        wrt: a node, or several: placeholders, parameters, or any intermediate.
        seed: the adjoint of ``output``, of its shape (or broadcast to it): the result is then the
            vector-Jacobian product. A number, an array or a node. 1 for scalars unless told.
        unused: "raise" an error where ``output`` does not depend on a variable, which mostly is a
            mistake, or give "zeros".

    Returns:
        A node of the shape and dtype of ``wrt``, or a list of them. Printing and generated code call
        them after the variables that take them, as in ``u_x, u_t = sg.grad(u, [x, t])``, else ``d_x``.

    Raises:
        GraphError: if ``output`` is no scalar and there is no seed, or the seed does not fit, or
            ``output`` does not depend differentiably on a variable (unless ``unused="zeros"``).
        GraphTypeError: if ``output`` or a variable is not of a floating-point dtype.

    Before derivation the graph is rewritten in a form that does not overflow (``log(1 + exp(x))``
    becomes ``softplus(x)``), so that its derivative does not either. The method is reverse
    accumulation: Griewank and Walther, "Evaluating Derivatives", 2nd ed., section 3.2.
    """
    return _named(grad, _gradient(output, wrt, seed, unused))


def _gradient(
    output: Node, wrt: Node | Sequence[Node], seed: Any, unused: Unused
) -> Node | list[Node]:
    single = isinstance(wrt, Node)
    variables = _variables(wrt)
    _check(output, variables)
    if unused not in get_args(Unused):
        raise ValueError(f'grad: unused is "raise" or "zeros", not {unused!r}')
    if unused == "raise":
        _check_dependence(output, variables)
    # after the rewriting, the variables are where they were: they are kept as they stand
    (stable,) = stabilise_nodes([output], keep=variables)
    with adjoint_context(stable):
        adjoint = _seed(output, seed)
    adjoints = sweep(stable, adjoint, variables, derivative=seed is None)
    results = []
    for variable in variables:
        result = adjoints.get(variable)
        if result is None:
            with adjoint_context(variable):
                result = broadcast(constant(0.0, variable.dtype), variable.shape)
        results.append(result)
    return results[0] if single else results


@overload
def value_and_grad(
    output: Node, wrt: Node, seed: Any = None, *, unused: Unused = "raise"
) -> tuple[Node, Node]: ...
@overload
def value_and_grad(
    output: Node, wrt: Sequence[Node], seed: Any = None, *, unused: Unused = "raise"
) -> tuple[Node, list[Node]]: ...
def value_and_grad(
    output: Node, wrt: Any, seed: Any = None, *, unused: Unused = "raise"
) -> tuple[Node, Any]:
    """``output`` itself and its gradient, see ``grad``."""
    return _named(value_and_grad, (output, _gradient(output, wrt, seed, unused)))


def _named(function: Callable[..., Any], results: Any) -> Any:
    """The results of a public function, under the names of the variables that take them."""
    for name, node in assigned(function, results):
        if isinstance(node, Node) and node.role == "adjoint" and node.assigned is None:
            node.assigned = name
    return results


def _asked_at() -> str:
    where = user_origin()
    if where is None:
        return ""
    return f"\n  asked at {where.file}:{where.line}" + (f"\n    {where.text}" if where.text else "")


def _variables(wrt: Any) -> list[Node]:
    """What a gradient is asked with respect to, as a list; GraphTypeError for what is none."""
    if isinstance(wrt, Node):
        return [wrt]
    kind = type(wrt).__name__
    if hasattr(wrt, "parameters"):
        raise GraphTypeError(
            f"grad: expected nodes, got the module {kind}: pass its parameters, "
            f"list(model.parameters()){_asked_at()}"
        )
    if hasattr(wrt, "param_groups"):
        raise GraphTypeError(
            f"grad: expected nodes, got the optimizer {kind}: pass the model's parameters, "
            f"list(model.parameters()); sg.train_step(inputs, loss, optimizer) trains them{_asked_at()}"
        )
    try:
        return list(wrt)
    except TypeError:
        raise GraphTypeError(
            f"grad: expected a node or several, got {described(wrt)}{_asked_at()}"
        ) from None


def _check(output: Node, variables: Sequence[Node]) -> None:
    line = _asked_at()
    for node in [output, *variables]:
        if not isinstance(node, Node):
            raise GraphTypeError(
                f"grad: expected nodes of a graph, got {described(node)}"
                + (": call it with placeholders, and pass what it returns" if callable(node) else "")
                + line
            )
        if node.is_eager:
            raise GraphTypeError(
                f"grad: {described(node)} belongs to eager mode, where loss.backward() or "
                f"eager.grad(loss, tensors) gives gradients{line}"
            )
    if not output.type.is_float:
        raise GraphTypeError(
            f"grad: {output!r} is not of a floating-point dtype and has no gradient; "
            f"cast it with astype('float32') if that is meant{line}"
        )
    if not variables:
        raise GraphError(f"grad: no variables given{line}")
    for variable in variables:
        if not variable.type.is_float:
            raise GraphTypeError(
                f"grad: no gradient with respect to {variable!r}: its dtype is "
                f"{variable.dtype}, and only float32 and float64 are differentiable{line}"
            )


def _check_dependence(output: Node, variables: Sequence[Node]) -> None:
    line = _asked_at()
    used = set(topological([output]))
    differentiable = _differentiable_below(output)
    for variable in variables:
        if variable not in used:
            raise GraphError(
                f"grad: {output!r} does not depend on {variable!r}; unused='zeros' gives zeros "
                f"for such variables{line}"
            )
        if variable not in differentiable:
            raise GraphError(
                f"grad: {output!r} depends on {variable!r} only through stop_gradient or values "
                f"that are not floating-point, so that nothing flows back to it; unused='zeros' "
                f"gives zeros for such variables{line}"
            )


def _differentiable_below(output: Node) -> set[Node]:
    """The nodes that a path of floating-point values leads to without a stop_gradient."""
    reached: set[Node] = set()
    stack = [output]
    while stack:
        node = stack.pop()
        if node in reached or not node.type.is_float:
            continue
        reached.add(node)
        if node.op.name != "stop_gradient":
            stack.extend(node.inputs)
    return reached


def _seed(output: Node, seed: Any) -> Node:
    if seed is None:
        if output.shape != ():
            raise GraphError(
                f"grad: {output!r} is no scalar: reduce it first, as in {output.name or 'y'}.sum(), "
                f"or give a seed of shape {format_shape(output.shape)}"
            )
        return constant(1.0, output.dtype)
    node = as_node(seed, output.dtype)
    if node.dtype != output.dtype:
        raise GraphTypeError(f"grad: the seed is {node.dtype}, the output {output.dtype}")
    try:
        return broadcast(node, output.shape)
    except GraphError:
        raise GraphError(
            f"grad: a seed of shape {format_shape(node.shape)} does not fit the output's "
            f"{format_shape(output.shape)}"
        ) from None
