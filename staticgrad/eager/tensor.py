"""Eager tensors: nodes that have their value already.

A tensor is a ``Node``, so every public function takes it, and the op that the function makes runs at
once on NumPy arrays. What the tape needs for the backward pass is recorded beside the result; the
pullback that is applied then is the op's own, the one that static derivation uses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.eager.display import format_tensor
from staticgrad.eager.methods import TorchMethods
from staticgrad.eager.modes import is_grad_enabled
from staticgrad.graph.leaves import CONSTANT, Leaf, Parameter, check_dtype
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import GraphTypeError, Node, Op, TensorType, located
from staticgrad.graph.traverse import topological
from staticgrad.ops.movement import BROADCAST

TENSOR = Leaf("tensor")
_NO_ATTRS: dict[str, Any] = {}
_serial = itertools.count()


class Tensor(TorchMethods, Node):
    """An array that remembers how it was computed. Make one with ``eager.tensor``.

    Attributes: ``requires_grad``; ``grad``, the gradient that backward passes have added up, or
    None; ``grad_fn``, what made the tensor, or None for a leaf; ``data``, the same memory outside
    of any gradient; ``shape``, ``dtype``, ``ndim``.
    """

    __slots__ = ("_array", "_grad", "_hooks", "_requires_grad", "_version", "grad_fn", "owner")

    def __init__(self, array: np.ndarray, type: TensorType | None = None) -> None:
        self.op = TENSOR
        self.inputs = ()
        self.attrs = _NO_ATTRS
        self.type = TensorType(array.dtype, array.shape) if type is None else type
        self.name = None
        self.origin = None
        self.adjoint_of = None
        self.role = None
        self.effects = ()
        self.serial = -1
        self._array = array
        self._requires_grad = False
        self._grad: Tensor | None = None
        self.grad_fn: TapeEntry | None = None  # type: ignore[assignment]
        self._hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None
        #: how often the memory was changed in place; tensors that share memory share the counter
        self._version = [0]
        #: the parameter whose array this is
        self.owner: Parameter | None = None

    # ---- what it is ------------------------------------------------------------------------------

    @property
    def differentiable(self) -> bool:
        return self.requires_grad

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made the tensor."""
        return self.grad_fn is None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to the tensor can be asked for. Only leaves may be set.

        Raises RuntimeError where a recorded result, or an integer tensor, is set.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf tensors; use detach() for a tensor "
                "that does not require a gradient"
            )
        if wanted and not self.type.is_float:
            raise RuntimeError(
                f"only tensors of floating point dtype can require gradients, this one is {self.dtype}"
            )
        self._requires_grad = bool(wanted)
        if self.owner is not None:
            self.owner.requires_grad = bool(wanted)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up, or None."""
        return self._grad if self.owner is None else self.owner.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad must be a tensor or None, got {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise RuntimeError(
                    f"a gradient of {value.type} was assigned to a tensor of {self.type}"
                )
        if self.owner is None:
            self._grad = value
        else:
            self.owner.grad = value

    @property
    def data(self) -> Tensor:
        """The same memory, outside of any gradient; changes to it are not noticed by the tape."""
        return Tensor(self._array, self.type)

    @data.setter
    def data(self, value: Any) -> None:
        self._array[...] = np.asarray(value.data if isinstance(value, Tensor) else value)

    def detach(self) -> Tensor:
        """The same memory as a tensor that does not require a gradient."""
        result = Tensor(self._array, self.type)
        result._version = self._version
        return result

    def numpy(self) -> np.ndarray:
        """The array itself; changes to it change the tensor.

        Raises RuntimeError if the tensor requires a gradient: use ``detach().numpy()``.
        """
        if self.requires_grad:
            raise RuntimeError(
                "can't call numpy() on a tensor that requires grad; use tensor.detach().numpy()"
            )
        return self._array

    def item(self) -> Any:
        """The only element as a Python number. Raises RuntimeError where there are more."""
        if self._array.size != 1:
            raise RuntimeError(
                f"a tensor with {self._array.size} elements cannot be converted to a number"
            )
        return self._array.item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise RuntimeError(
                "the truth of a tensor with more than one element is ambiguous; use any() or all()"
            )
        return bool(self._array)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i":
            raise TypeError(f"only integer tensors can be an index, this one is {self.dtype}")
        return int(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self[position] for position in range(len(self))])  # type: ignore[misc]

    def __repr__(self) -> str:
        return format_tensor(self._array, self.requires_grad, self.grad_fn)

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, specification: str) -> str:
        return format(self.item() if not self.shape else str(self), specification)

    # ---- gradients -------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to the ``grad`` of every leaf that it was computed from.

        Args:
            gradient: the adjoint of this tensor; 1 for a scalar unless told.
            retain_graph: keep what was saved, for another backward pass; as ``create_graph`` unless
                told.
            create_graph: record the backward pass itself, so that gradients can be differentiated.

        Raises:
            RuntimeError: for a tensor that is no scalar without ``gradient``, one that does not
                require a gradient, a graph that was freed, or values changed in place since.
        """
        from staticgrad.eager.backward import accumulate

        accumulate([self], [gradient], retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``hook`` with this tensor's gradient when it is known; a tensor that it returns takes
        the gradient's place. Returns a handle with ``remove()``."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        target = self if self.grad_fn is None else self.grad_fn
        if target._hooks is None:
            target._hooks = {}
        return HookHandle(target._hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in ``grad``, as leaves do."""
        if self.grad_fn is not None:
            self.register_hook(self._keep)

    def _keep(self, gradient: Tensor) -> None:
        self._grad = gradient

    # ---- changes in place ------------------------------------------------------------------------

    def _change(self, result: Tensor) -> Tensor:
        """Take over the value of ``result``, and how it was computed."""
        if is_grad_enabled():
            if self.is_leaf and self.requires_grad:
                raise RuntimeError(
                    "a leaf tensor that requires grad is being used in an in-place operation; do it "
                    "under no_grad()"
                )
            if self._array.base is not None and (self.requires_grad or result.requires_grad):
                raise RuntimeError(
                    "an in-place operation on a view of a tensor that requires grad cannot be "
                    "recorded: compute a new tensor instead"
                )
        if result.shape != self.shape:
            raise RuntimeError(
                f"an in-place result of shape {result.shape} doesn't fit the tensor's {self.shape}"
            )
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise RuntimeError(f"result type {result.dtype} can't be cast to {self.dtype}")
        self._array[...] = result._array
        self._version[0] += 1
        if is_grad_enabled() and result.requires_grad:
            self.grad_fn = result.grad_fn
            self._requires_grad = True
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        plain = value._array if isinstance(value, Tensor) else np.asarray(value)
        keys = key if isinstance(key, tuple) else (key,)
        place = tuple(item._array if isinstance(item, Tensor) else item for item in keys)
        if is_grad_enabled() and (
            self.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
        ):
            mask = np.zeros(self.shape, bool)
            mask[place] = True
            full = np.zeros(self.shape, self.dtype)
            full[place] = plain
            if isinstance(value, Tensor) and value.requires_grad:
                raise RuntimeError(
                    "assigning a tensor that requires grad to a part of another cannot be recorded: "
                    "use where() or concat()"
                )
            self._change(FUNCTIONS["where"](Tensor(mask), Tensor(full), self))
            return
        self._array[place] = plain
        self._version[0] += 1

    is_eager = True


class HookHandle:
    """What ``register_hook`` returns: ``remove()`` takes the hook away."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._key = hooks, next(_serial)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Do not call the hook any more."""
        self._hooks.pop(self._key, None)


class TapeEntry:
    """How a tensor was computed: the op, what its pullback may need, and where adjoints go.

    ``next_functions`` holds a pair for each input: the entry that made it, ``AccumulateGrad`` for a
    leaf, None where no gradient flows.
    """

    __slots__ = ("__weakref__", "_hooks", "attrs", "edges", "op", "output", "saved", "serial",
                 "type", "versions")  # fmt: skip

    def __init__(
        self, op: Op, attrs: Mapping[str, Any], inputs: Sequence[Tensor], result: Tensor
    ) -> None:
        self.op = op
        self.attrs = attrs
        self.type = result.type
        self.serial = next(_serial)
        self.saved: Sequence[Tensor] | None = inputs
        self.versions = [tensor._version[0] for tensor in inputs]
        self.edges: list[TapeEntry | Tensor | None] = [
            (tensor.grad_fn or tensor) if tensor._requires_grad else None for tensor in inputs
        ]
        self.output = (result._array, result._version, result._version[0])
        self._hooks: dict[int, Any] | None = None

    def name(self) -> str:
        """The op's name, in the manner of ``AddBackward``."""
        return "".join(part.capitalize() for part in self.op.name.split("_")) + "Backward"

    @property
    def next_functions(self) -> tuple[tuple[TapeEntry | AccumulateGrad | None, int], ...]:
        return tuple(
            (AccumulateGrad(edge) if isinstance(edge, Tensor) else edge, 0) for edge in self.edges
        )

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class AccumulateGrad:
    """The end of a path through the tape: the leaf ``variable``, whose ``grad`` the adjoint is
    added to."""

    next_functions: tuple[()] = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return "<AccumulateGrad>"


def view_of(parameter: Parameter) -> Tensor:
    """The parameter's array as a leaf of the tape; the same tensor each time."""
    view = parameter.eager_view
    if view is None:
        view = Tensor(parameter.value, parameter.type)
        view.owner = parameter
        parameter.eager_view = view
        Parameter.any_viewed = True
    view._requires_grad = parameter.requires_grad
    return view


def lift(node: Node) -> Tensor:
    """A node whose value can be known now, as a tensor: constants, parameters, and what was
    computed from them.

    Raises GraphTypeError for what depends on a placeholder.
    """
    if isinstance(node, Tensor):
        return node
    if isinstance(node, Parameter):
        return view_of(node)
    if node.op is CONSTANT:
        return Tensor(node.attrs["value"], node.type)
    if node.op is BROADCAST and node.inputs[0].op is CONSTANT:
        # a number beside a tensor, by far the most common case
        return Tensor(np.broadcast_to(node.inputs[0].attrs["value"], node.shape), node.type)
    known: dict[Node, Tensor] = {}
    for item in topological([node]):
        if item.op.name == "placeholder":
            raise GraphTypeError(
                f"an eager tensor meets {item!r}, a placeholder of a static graph, whose value is "
                "known only when a compiled function is called: use tensors alone, or nodes alone"
            )
        if item.inputs:
            known[item] = run(item.op, [known[source] for source in item.inputs], item.attrs)
        elif isinstance(item, (Tensor, Parameter)) or item.op is CONSTANT:
            known[item] = lift(item)
        else:
            known[item] = run(item.op, (), item.attrs)
    return known[node]


def run(op: Op, inputs: Sequence[Node], attrs: Mapping[str, Any]) -> Tensor:
    """Apply an op at once, and record it if a gradient may be asked for."""
    tensors = [node if isinstance(node, Tensor) else lift(node) for node in inputs]
    try:
        type = op.infer([tensor.type for tensor in tensors], attrs)
    except (ValueError, TypeError, IndexError) as error:
        raise located(error, op.name, tensors) from None
    with np.errstate(all="ignore"):
        array = np.asarray(op.execute([tensor._array for tensor in tensors], attrs), type.dtype)
    result = Tensor(array, type)
    if array.base is not None:
        for tensor in tensors:
            if array.base is tensor._array or array.base is tensor._array.base:
                result._version = tensor._version
    if (
        type.dtype.kind == "f"
        and any(tensor._requires_grad for tensor in tensors)
        and is_grad_enabled()
        and op.name != "stop_gradient"
    ):
        result._requires_grad = True
        result.grad_fn = TapeEntry(op, attrs, tensors, result)
    if op.name == "where":
        # a masked adjoint must be known as such: see ``ops.elementwise.chain``
        result.inputs, result.op = tuple(inputs), op
    return result


def as_tensor(value: Any, dtype: Any = None) -> Tensor:
    """A tensor of ``value``, which is not copied if it is an array of a fitting dtype already."""
    if isinstance(value, Node):
        tensor = lift(value)
        return tensor if dtype is None else FUNCTIONS["astype"](tensor, dtype)
    known = isinstance(value, (np.ndarray, np.generic))
    array = np.asarray(value)
    if dtype is None:
        dtype = "float32" if not known and array.dtype == np.float64 else array.dtype
    return Tensor(np.asarray(array, check_dtype(dtype)))


def detached_view(parameter: Parameter) -> Tensor:
    """What ``parameter.data`` gives."""
    return view_of(parameter).data


def number_beside(value: float, like: Tensor) -> Tensor:
    """A Python number as a tensor of the type of the one beside it."""
    return Tensor(np.broadcast_to(np.array(value, like.dtype), like.shape), like.type)


FUNCTIONS["number_beside"] = number_beside
FUNCTIONS["detached_view"] = detached_view
FUNCTIONS["run_op"] = run
