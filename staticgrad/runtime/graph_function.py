"""What functions of a graph have in common, compiled or not: the arrays they take and return."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from staticgrad.graph.dims import concrete
from staticgrad.graph.leaves import Parameter, sizes_from
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph
from staticgrad.runtime.addresses import Output
from staticgrad.runtime.calling import Arguments, as_scalar


class GraphFunction(ABC):
    """A graph as a function of arrays: its arguments are checked, its outputs are described.

    Attributes:
        name: of the function.
        arguments: what a call takes, by position or by name.
    """

    __call__: Callable[..., Any]

    def __init__(self, graph: Graph, single: bool | None, name: str) -> None:
        self._graph = graph
        self._single = single
        self.name = name
        self._scalars = {k: as_scalar(n) for k, n in enumerate(graph.inputs) if not n.shape}
        self._outputs = [Output(node.dtype, tuple(node.shape)) for node in graph.outputs]
        self._sized = any(not isinstance(dim, int) for o in self._outputs for dim in o.shape)
        self.arguments = Arguments(name, graph.inputs)
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = self.arguments.signature(out)

    @abstractmethod
    def long_way(self, arguments: tuple[Any, ...], out: Any = None) -> Any:
        """A call with all that it may need."""

    @abstractmethod
    def _output_names(self) -> Sequence[str]:
        """What the outputs are called in messages."""

    def returned(self, results: list[np.ndarray], out: Any = None) -> Any:
        """What a call gives back: nothing, one array or number, or a list of them."""
        if self._single is None:
            return None
        if out is not None:
            return results[0] if self._single else results
        values = [result if result.ndim else result[()] for result in results]
        return values[0] if self._single else values

    def with_scalars(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Python numbers for scalar placeholders, as arrays without axes."""
        self.arguments.check(arguments)
        return tuple(
            self._scalars[position](value) if position in self._scalars else value
            for position, value in enumerate(arguments)
        )

    @property
    def graph(self) -> Graph:
        """What a call computes, as it was declared."""
        return self._graph

    @property
    def inputs(self) -> list[Node]:
        """The placeholders, in the order of the call."""
        return list(self._graph.inputs)

    @property
    def output_types(self) -> list[tuple[np.dtype, int]]:
        """The dtype and the rank of each output."""
        return [(output.dtype, len(output.shape)) for output in self._outputs]

    def results(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """New arrays for the outputs of a call."""
        sizes = self.sizes(arguments) if self._sized else {}
        return [np.empty(concrete(o.shape, sizes), o.dtype) for o in self._outputs]

    def prepare(self, arguments: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        """Arguments that the compiled code cannot take as they are: copied where that is harmless,
        refused with what was expected where it is not."""
        self.arguments.check(arguments)
        prepared = []
        for node, value in zip(self._graph.inputs, arguments, strict=True):
            if not isinstance(value, np.ndarray):
                raise TypeError(
                    f"{node.name} was declared as {node.type}; got {type(value).__name__}, not a "
                    f"NumPy array: use np.asarray({node.name}, dtype={str(node.dtype)!r})"
                )
            if value.dtype != node.dtype:
                raise TypeError(
                    f"{node.name} was declared as {node.type}; got an array of {value.dtype}: "
                    f"use {node.name}.astype({str(node.dtype)!r})"
                )
            if value.ndim != node.ndim:
                raise ValueError(
                    f"{node.name} was declared as {node.type} and has {node.ndim} axes; got an "
                    f"array of shape {value.shape}, with {value.ndim}"
                )
            # np.require keeps what already fits; strided or misaligned memory is copied
            array = np.require(value, requirements=["C", "A"])
            prepared.append(array if type(array) is np.ndarray else array.view(np.ndarray))
        return tuple(prepared)

    def sizes(self, arguments: Sequence[Any]) -> dict[Any, int]:
        """The sizes of the named dimensions; ValueError where a shape does not fit."""
        if len(arguments) != len(self._graph.inputs) or not all(
            isinstance(value, np.ndarray) for value in arguments
        ):
            arguments = self.prepare(tuple(arguments))
        return sizes_from(self._graph.inputs, [value.shape for value in arguments])

    def _given(self, out: Any, arguments: tuple[Any, ...]) -> list[np.ndarray]:
        arrays = [out] if self._single else list(out)
        if len(arrays) != len(self._outputs):
            raise TypeError(
                f"{self.name} has {len(self._outputs)} outputs, out= holds {len(arrays)} arrays"
            )
        sizes = self.sizes(arguments)
        for array, output, name in zip(arrays, self._outputs, self._output_names(), strict=True):
            dtype, expected = output.dtype, concrete(output.shape, sizes)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != expected:
                described = (
                    f"{array.dtype}{array.shape}"
                    if isinstance(array, np.ndarray)
                    else type(array).__name__
                )
                raise ValueError(
                    f"{self.name}: out for {name} must be {dtype}{expected}, got {described}"
                )
            if not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError(f"{self.name}: out for {name} must be C-contiguous and writeable")
            for other in [*arguments, *self._parameters]:
                if isinstance(other, np.ndarray) and np.may_share_memory(array, other):
                    raise ValueError(
                        f"{self.name}: out for {name} shares memory with an input or a parameter"
                    )
        for first, second in combinations(range(len(arrays)), 2):
            if np.may_share_memory(arrays[first], arrays[second]):
                names = list(self._output_names())
                raise ValueError(
                    f"{self.name}: out for {names[first]} shares memory with out for {names[second]}"
                )
        return arrays

    @cached_property
    def _parameters(self) -> list[np.ndarray]:
        """The memory of the parameters that the function reads or updates."""
        nodes = [*topological(self._graph.roots), *(p for p, _ in self._graph.updates)]
        return [node.value for node in nodes if isinstance(node, Parameter)]


    @contextmanager
    def unchanged(self) -> Iterator[Callable[[], None]]:
        """A context after which all parameters and state are what they were; it gives a function that
        makes them so in between."""
        before = [array.copy() for array in self._parameters]

        def restore() -> None:
            for array, values in zip(self._parameters, before, strict=True):
                array[...] = values

        try:
            yield restore
        finally:
            restore()


def out_of_range(
    function: str, name: str, position: Sequence[int], index: int, extent: int, strict: bool,
    origin: Origin | None,
) -> IndexError:  # fmt: skip
    """The error of a call in which an element of ``name`` is outside of an axis of size ``extent``."""
    low = 0 if strict else -extent
    place = ", ".join(str(int(item)) for item in position)
    line = f"\n  used at {origin.file}:{origin.line}\n    {origin.text}" if origin else ""
    return IndexError(
        f"{function}: {name}[{place}] is {index}, out of range: "
        f"expected {low} <= {name} < {extent}{line}"
    )


__all__ = ["GraphFunction", "out_of_range"]
