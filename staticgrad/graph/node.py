"""Nodes of the tensor graph, and the ops they apply.

A node is immutable once made: an op, its input nodes, static attributes and a type. What else it
carries (name, origin, the primal whose adjoint it is) never changes what it computes; it serves
messages, printing and the generated code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import sympy

from staticgrad.graph.compose import dimension
from staticgrad.graph.dims import Dim, Shape, canonical, format_shape, product
from staticgrad.graph.expression import Call, Expression
from staticgrad.graph.methods import FUNCTIONS, ArrayMethods
from staticgrad.graph.origin import Origin, user_origin

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "int64", "int32", "bool"))

#: a value in a message is cut off after so many characters
LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class TensorType:
    """The dtype and the shape of a node."""

    dtype: np.dtype
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}{format_shape(self.shape)}"

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"


class GraphError(ValueError):
    """A graph that cannot be: shapes or arguments that do not fit. Names op, shapes and line."""


class GraphTypeError(GraphError, TypeError):
    """A graph that cannot be because of a dtype."""


class Op:
    """An operation, declared once: shape rule, pullback, NumPy execution, lowering, printing.

    Subclasses say how each of these follows from the declaration; see ``staticgrad.ops``.
    """

    #: floating-point operations at each point (see ``points``), as the cost model counts them
    flops: int = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        """The type of the result. Raises GraphError or GraphTypeError where the inputs do not fit."""
        raise NotImplementedError

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        """The adjoint of each input, written in ops; None where nothing flows back."""
        raise NotImplementedError

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        """The result on NumPy arrays; attributes hold plain integers where they held dimensions."""
        raise NotImplementedError

    def points(self, node: Node) -> Dim:
        """How often ``flops`` are done: once per element of the result, unless an op says more."""
        return node.size

    def work(self, node: Node) -> Dim:
        """The floating-point operations of a node. Integers and booleans alone take none."""
        return canonical(self.flops * self.points(node)) if touches_floats(node) else 0

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        """The node as a formula, of the formulas of its inputs."""
        return Call(self.name, tuple(arguments), options_of(node.attrs), rank=node.ndim)


def touches_floats(node: Node) -> bool:
    """Whether a node takes or gives floating-point numbers."""
    return node.type.is_float or any(source.type.is_float for source in node.inputs)


def options_of(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Attributes as the options of a call."""
    return tuple((key, _described(value)) for key, value in attrs.items())


def _described(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_described(item) for item in value)
    return dimension(value) if isinstance(value, sympy.Expr) else value


_serial = itertools.count()
_adjoint_context: ContextVar[Node | None] = ContextVar("staticgrad_adjoint_of", default=None)
_rewritten: ContextVar[Node | None] = ContextVar("staticgrad_rewritten", default=None)


class Node(ArrayMethods):
    """A value in a graph: what an op makes of its inputs.

    Attributes: ``op``, ``inputs``, ``attrs``, ``dtype``, ``shape`` (dimensions are integers or
    SymPy expressions), ``name`` (or None), ``origin`` (the user's line), ``adjoint_of`` (the primal
    whose pullback made the node, or None).
    """

    __slots__ = (
        "__weakref__",
        "adjoint_of",
        "adjoint_too_of",
        "assigned",
        "attrs",
        "declared",
        "derivative_of",
        "effects",
        "inputs",
        "name",
        "op",
        "origin",
        "role",
        "serial",
        "type",
    )  # fmt: skip

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: dict[str, Any],
        type: TensorType,
        name: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.type = type
        self.name = name
        self.origin = origin
        self.adjoint_of = _adjoint_context.get()
        #: "adjoint" where this node is the whole adjoint of ``adjoint_of``
        self.role: str | None = None
        #: further primals with this very adjoint: terms of a sum, for one
        self.adjoint_too_of: tuple[Node, ...] = ()
        #: the scalar whose derivative with respect to ``adjoint_of`` this node is, where it is one
        self.derivative_of: Node | None = None
        #: the variable that takes this node, where its statement takes several, or gradients
        self.assigned: str | None = None
        #: for a node that rewriting has put in the place of another: the one that was declared
        self.declared: Node = self
        #: new values of parameters, which a compiled call that computes this node stores: running
        #: statistics, for one
        self.effects: tuple[tuple[Any, Node], ...] = ()
        self.serial = next(_serial)

    #: whether the node has its value already, so that ops run at once (see ``staticgrad.eager``)
    is_eager: ClassVar[bool] = False

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    @property
    def differentiable(self) -> bool:
        """Whether an adjoint of this node could be asked for."""
        return self.type.is_float

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> Dim:
        """The number of elements: an integer, or an expression of the named dimensions."""
        return product(self.shape)

    def named(self, name: str) -> Node:
        """Give the node a name for printing and for the generated code; returns the node itself."""
        if not isinstance(name, str) or not name.replace(".", "_").isidentifier():
            raise ValueError(f"a name must be a Python identifier (dots allowed), got {name!r}")
        self.name = name
        return self

    @property
    def label(self) -> str | None:
        """What the user calls the node: the name it has, or that of the variable which took it."""
        if self.name or self.is_eager:
            return self.name
        if self.assigned or self.adjoint_of is not None or self.origin is None:
            return self.assigned
        return self.origin.target

    def __repr__(self) -> str:
        return f"<{self.label or self.op.name}: {self.type}>"

    def __str__(self) -> str:
        return FUNCTIONS["format_node"](self)

    def latex(self) -> str:
        """The value, or the gradient, in LaTeX, in the user's names.

        One formula, or an ``aligned`` environment with a line for each part that has a name or occurs
        more than once. For mathematics mode, with the package amsmath.
        """
        return FUNCTIONS["format_latex"](self)

    def _repr_html_(self) -> str | None:
        """What Jupyter shows where it shows HTML: the equations with their types."""
        return None if self.is_eager else FUNCTIONS["format_html"](self)

    def _repr_latex_(self) -> str | None:
        """What Jupyter shows; of a tensor, which has a value, nothing but that."""
        if self.is_eager:
            return None
        return rf"$\displaystyle {self.latex()}$"


def make_node(op: Op, inputs: Sequence[Node], attrs: Mapping[str, Any] | None = None) -> Node:
    """Make a node of ``op``; shape and dtype errors name the op, the types and the user's line.

    With an eager tensor among the inputs the op runs at once, and the result is a tensor.
    """
    attributes = dict(attrs or {})
    for node in inputs:
        if node.is_eager:
            return FUNCTIONS["run_op"](op, inputs, attributes)
    source = _rewritten.get()
    source = _adjoint_context.get() if source is None else source
    origin = source.origin if source is not None else user_origin()
    try:
        result = op.infer([node.type for node in inputs], attributes)
    except (ValueError, TypeError, IndexError) as error:
        raise located(error, op.name, inputs, origin) from None
    return Node(op, tuple(inputs), attributes, result, origin=origin)


def located(
    error: Exception, name: str, inputs: Sequence[Node], origin: Origin | None = None
) -> GraphError:
    """The error of a declaration, with the op, the types of its inputs and the user's line."""
    origin = origin or user_origin()
    operands = [_as_written(node) for node in inputs]
    # what has been made on the way is not yet what the statement assigns
    labels = [node.name if node.origin == origin else node.label for node in operands]
    described = ", ".join(
        f"{label}: {node.type}" if label else str(node.type)
        for node, label in zip(operands, labels, strict=True)
    )
    message = f"{name}({described}): {error}"
    if origin is not None:
        message += f"\n  declared at {origin.file}:{origin.line}"
        if origin.text:
            message += f"\n    {origin.text}"
    kind = GraphTypeError if isinstance(error, TypeError) else GraphError
    return kind(message)


def described(value: Any) -> str:
    """What a user has given, as messages tell it: what it is, and in few words its value."""
    if isinstance(value, Node):
        return f"an eager tensor of {value.type}" if value.is_eager else f"the node {value!r}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}{format_shape(value.shape)}"
    first, *more = repr(value).splitlines() or [""]
    if more or len(first) > LONGEST_VALUE:
        first = f"{first[:LONGEST_VALUE]}..."
    return f"{type(value).__name__} {first}"


def _as_written(node: Node) -> Node:
    """An operand before it was cast and broadcast for an op."""
    while node.op.name in ("astype", "broadcast_to") and node.label is None:
        (node,) = node.inputs
    return node


@contextmanager
def adjoint_context(primal: Node | None) -> Iterator[None]:
    """Nodes made inside belong to the pullback of ``primal`` and take over its origin."""
    token = _adjoint_context.set(primal)
    try:
        yield
    finally:
        _adjoint_context.reset(token)


class rewriting:
    """``with rewriting(node):`` nodes made inside are to stand for ``node``: they take over its origin,
    and what it is the adjoint of."""

    __slots__ = ("node", "tokens")

    def __init__(self, node: Node) -> None:
        self.node = node

    def __enter__(self) -> None:
        self.tokens = _rewritten.set(self.node), _adjoint_context.set(self.node.adjoint_of)

    def __exit__(self, *error: object) -> None:
        _rewritten.reset(self.tokens[0])
        _adjoint_context.reset(self.tokens[1])
