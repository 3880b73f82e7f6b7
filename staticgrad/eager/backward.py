"""The backward pass over the tape: pullbacks in reverse order of the operations."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticgrad.eager.modes import enable_grad, no_grad
from staticgrad.eager.tensor import TapeEntry, Tensor, as_tensor, lift
from staticgrad.graph.node import Node
from staticgrad.ops.custom import CUSTOM
from staticgrad.ops.scalar import add

FREED = (
    "Trying to backward through the graph a second time: the values that were saved for {name} have "
    "been freed. Pass retain_graph=True to the first backward() if another one is to follow."
)
CHANGED = (
    "one of the variables needed for gradient computation has been modified by an inplace operation: "
    "a tensor of {type}, {role} of {name}, is at version {now}; expected version {then}."
)

#: where an adjoint goes: what made a tensor, or the leaf itself
Place = TapeEntry | Tensor


class _Unusable(Tensor):
    """Stands for a saved value that was changed since. Only a pullback that reads it is in error."""

    __slots__ = ("_message",)

    def __init__(self, original: Tensor, message: str) -> None:
        self._message = message
        super().__init__(np.empty(0), original.type)
        self._requires_grad = original._requires_grad

    @property
    def _array(self) -> np.ndarray:
        raise RuntimeError(self._message)

    @_array.setter
    def _array(self, value: np.ndarray) -> None:
        pass


def accumulate(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
) -> None:
    """Add gradients to the ``grad`` of the leaves."""

    def arrive(leaf: Tensor, adjoint: Tensor) -> None:
        if leaf.grad is None:
            # a copy: the adjoint's memory may be shared with other results
            leaf.grad = adjoint if create_graph else Tensor(np.array(adjoint._array))
        elif create_graph:
            leaf.grad = add(leaf.grad, adjoint)  # type: ignore[assignment]
        else:
            leaf.grad._array += adjoint._array
            leaf.grad._version[0] += 1

    _run(outputs, gradients, retain_graph, create_graph, arrive, None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``; ``grad`` attributes stay as they are.

    Args:
        outputs: a tensor or several, whose gradients add up.
        inputs: a tensor, a parameter, or several.
        grad_outputs: the adjoint of each output; 1 for scalars unless told.
        retain_graph: keep what was saved for another pass; as ``create_graph`` unless told.
        create_graph: record the pass itself, so that the results can be differentiated.
        allow_unused: give None for an input that the outputs do not depend on.

    Raises:
        RuntimeError: as ``Tensor.backward``, and for unused inputs unless allowed.
    """
    roots = [outputs] if isinstance(outputs, Node) else list(outputs)
    wanted = [lift(item) for item in ([inputs] if isinstance(inputs, Node) else inputs)]
    if grad_outputs is None or isinstance(grad_outputs, Node):
        grad_outputs = [grad_outputs] * len(roots)
    found: dict[int, Tensor] = {}
    for tensor in wanted:
        if not tensor.requires_grad:
            raise RuntimeError("one of the differentiated tensors does not require grad")
    places = {id(tensor.grad_fn or tensor): None for tensor in wanted}

    def arrive(place: Place, adjoint: Tensor) -> None:
        found[id(place)] = adjoint

    _run(roots, grad_outputs, retain_graph, create_graph, None, (places, arrive))
    results = []
    for tensor in wanted:
        result = found.get(id(tensor.grad_fn or tensor))
        if result is None and not allow_unused:
            raise RuntimeError(
                "one of the differentiated tensors appears to not have been used in the graph; set "
                "allow_unused=True if this is the desired behavior"
            )
        results.append(result)
    return tuple(results)


def _seed(output: Any, gradient: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"expected an eager tensor, got {output!r}: see sg.grad for static graphs")
    if not output.requires_grad:
        raise RuntimeError("the tensor does not require grad and does not have a grad_fn")
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs; this one has shape "
                f"{output.shape}: pass a gradient of that shape"
            )
        return Tensor(np.ones(output.shape, output.dtype))
    seed = as_tensor(gradient, output.dtype)
    if seed.shape != output.shape:
        raise RuntimeError(
            f"a gradient of shape {seed.shape} doesn't fit the output's shape {output.shape}"
        )
    return seed


def _run(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    leaf_arrives: Callable[[Tensor, Tensor], None] | None,
    watched: tuple[dict[int, None], Callable[[Place, Tensor], None]] | None,
) -> None:
    """Entries are numbered as they are recorded, so that to take the largest number first is a
    reverse topological order."""
    keep = create_graph if retain_graph is None else retain_graph
    totals: dict[int, Tensor] = {}
    heap: list[tuple[int, int, TapeEntry]] = []
    leaves: dict[int, Tensor] = {}

    def send(place: Place, adjoint: Tensor) -> None:
        key = id(place)
        if key in totals:
            totals[key] = add(totals[key], adjoint)  # type: ignore[assignment]
            return
        totals[key] = adjoint
        if isinstance(place, Tensor):
            leaves[key] = place
        else:
            heapq.heappush(heap, (-place.serial, key, place))

    with enable_grad() if create_graph else no_grad():
        for output, gradient in zip(outputs, gradients, strict=True):
            seed = _seed(output, gradient)
            send(output.grad_fn or output, seed)
        done: list[TapeEntry] = []
        while heap:
            _, key, entry = heapq.heappop(heap)
            adjoint = _hooked(entry, totals.pop(key))
            if watched and key in watched[0]:
                watched[1](entry, adjoint)
            contributions = _pull_back(entry, adjoint)
            done.append(entry)
            for edge, contribution in zip(entry.edges, contributions, strict=True):
                if edge is None:
                    continue
                if contribution is not None:
                    send(edge, contribution)
                elif entry.op is not CUSTOM:
                    # a derivative that is zero everywhere, as that of floor
                    send(edge, Tensor(np.zeros(edge.type.shape, edge.type.dtype)))
        if not keep:
            for entry in done:
                entry.saved = None
                entry.output = None  # type: ignore[assignment]
        for key, leaf in leaves.items():
            adjoint = _hooked(leaf, totals[key])
            if watched and key in watched[0]:
                watched[1](leaf, adjoint)
            if leaf_arrives is not None:
                leaf_arrives(leaf, adjoint)


def _hooked(place: Place, adjoint: Tensor) -> Tensor:
    for hook in list((place._hooks or {}).values()):
        changed = hook(adjoint)
        if changed is not None:
            adjoint = changed
    return adjoint


def _pull_back(entry: TapeEntry, adjoint: Tensor) -> Sequence[Any]:
    """The op's own pullback, on the values that were saved."""
    if entry.saved is None:
        raise RuntimeError(FREED.format(name=entry.name()))
    inputs = []
    for tensor, then in zip(entry.saved, entry.versions, strict=True):
        now = tensor._version[0]
        if now != then:
            message = CHANGED.format(
                type=tensor.type, role="an input", name=entry.name(), now=now, then=then
            )
            tensor = _Unusable(tensor, message)
        inputs.append(tensor)
    array, version, then = entry.output
    result = Tensor(array, entry.type)
    if version[0] != then:
        result = _Unusable(
            result,
            CHANGED.format(
                type=entry.type, role="the result", name=entry.name(), now=version[0], then=then
            ),
        )
    result.op, result.inputs, result.attrs = entry.op, tuple(inputs), dict(entry.attrs)
    # where the pass is recorded, the result is what the entry made, so that gradients reach it
    result.grad_fn, result._requires_grad = entry, True
    return entry.op.pullback(result, adjoint)
