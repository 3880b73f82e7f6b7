"""Functions that run op by op and say where NaN, inf and indices out of range come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from staticgrad.codegen.compiler import STAGES
from staticgrad.codegen.stages import Runner
from staticgrad.graph.dims import concrete, format_shape
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.composite import Composite
from staticgrad.ops.indexing import GATHER, SCATTER_ADD
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.pipeline import STABLE_PASSES
from staticgrad.runtime.blame import NonFiniteError, Reporter, behind
from staticgrad.runtime.declared import Level
from staticgrad.runtime.graph_function import GraphFunction, out_of_range
from staticgrad.runtime.interpreter import execute
from staticgrad.runtime.nonfinite import Trace, first, is_given
from staticgrad.show.names import name_results

if TYPE_CHECKING:
    from staticgrad.runtime.function import CompiledFunction

#: what each level says of itself
REPORTED = {
    "results": "nan and inf in results",
    "nan": "nan in results",
    "all": "the first nan or inf",
}


class DebugFunction(GraphFunction):
    """The graph of a compiled function, run op by op in NumPy. It takes and returns the same, to
    rounding, is as slow as that, and keeps all intermediate values while a call lasts.

    The graph that is run is the one that is compiled, after the rewriting that keeps values from
    overflowing and before it is taken apart into loops: what compiled code does not compute is not
    reported, and nodes have the names of the declaration.

    A call raises NonFiniteError, IndexError for an index out of range, and for arguments what a
    compiled function raises; parameters and state are then what they were. What counts, by ``level``:

    - "results" (``debug=True``): NaN and inf in an output or a new value of a parameter. What
      ``where`` masks hurts nobody and is not reported; nor are infinities that come from a constant
      of the model, as scores that are masked with -inf.
    - "nan": NaN in an output or a new value.
    - "all": the first node that makes NaN or inf, and the first input or parameter that holds any,
      whatever becomes of it. Pullbacks that mask their own singular points are among what it finds.

    What is not about running (``source``, ``path``, ``export``, ...) is the compiled function's, which
    is ``compiled``, made when it is asked for.
    """

    def __init__(self, graph: Graph, single: bool | None, name: str, level: Level) -> None:
        super().__init__(graph, single, name)
        self.level: Level = level
        self._in_order = self.arguments.in_order()
        name_results(graph.roots)
        run = Runner(graph, STAGES)
        for step in STABLE_PASSES:
            graph = run(step, graph)
        self._stable = graph
        self._order = topological((*self._stable.inputs, *self._stable.roots))
        updates = {
            node: f"the new value of {parameter.name or 'a parameter'}"
            for parameter, node in self._stable.updates
        }
        self._reporter = Reporter(name, self._order, updates)

    def _output_names(self) -> list[str]:
        return [self._reporter.names[node] for node in self._stable.outputs]

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        return self.long_way(*self._in_order(*arguments, **named))

    def long_way(self, arguments: tuple[Any, ...], out: Any = None) -> Any:
        """A call, its results in new arrays or in those of ``out``."""
        arrays = self.prepare(self.with_scalars(arguments))
        targets = None if out is None else self._given(out, arrays)
        values = self._run(arrays, self.sizes(arrays))
        if targets is None:
            targets = [np.empty(values[node].shape, node.dtype) for node in self._stable.outputs]
        # copies first: an output may be a parameter's old value
        for target, node in zip(targets, self._stable.outputs, strict=True):
            target[...] = values[node]
        new = [(parameter, np.array(values[node])) for parameter, node in self._stable.updates]
        for parameter, value in new:
            parameter.value[...] = value
        return self.returned(targets, out)

    def _run(
        self, arrays: Sequence[np.ndarray], sizes: Mapping[Any, int]
    ) -> Mapping[Node, np.ndarray]:
        values: dict[Node, np.ndarray] = dict(zip(self._stable.inputs, arrays, strict=True))
        trace = Trace(self._stable, self._order, values, sizes)
        for node in self._order:
            if isinstance(node, Parameter):
                values[node] = node.value
            elif node not in values:
                values[node] = self._execute(node, values, sizes)
            if self.level == "all":
                self._check(node, trace)
        if self.level != "all":
            cause = trace.bad_result(only_nan=self.level == "nan")
            if cause is not None:
                raise self._reporter.error(cause, trace)
        return values

    def _check(self, node: Node, trace: Trace) -> None:
        """Raise NonFiniteError where a node makes NaN or inf, or holds it from outside."""
        if node.dtype.kind != "f" or (not node.inputs and not is_given(node)):
            return
        made = trace.made(node)
        if made.any():
            raise self._reporter.error(trace.cause(node, first(made)), trace)

    def _execute(
        self, node: Node, values: Mapping[Node, np.ndarray], sizes: Mapping[Any, int]
    ) -> np.ndarray:
        shape = concrete(node.shape, sizes)
        if any(dim < 0 for dim in shape):
            given = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            raise ValueError(
                f"{self.name}: with {given}, an axis of {self._reporter.names[node]} of shape "
                f"{format_shape(node.shape)} has a negative size: the arrays are too small for the "
                f"slices of this graph{line_of(node)}"
            )
        try:
            value = execute(node, [values[source] for source in node.inputs], sizes)
        except IndexError:
            raise self._index_error(node, values, sizes) from None
        if value.shape != shape:
            raise RuntimeError(
                f"{self.name}: {self._reporter.names[node]} was declared with shape "
                f"{format_shape(node.shape)}, which is {shape} here, and came out as {value.shape}"
                f"{line_of(node)}"
            )
        return value

    def _index_error(
        self, node: Node, known: Mapping[Node, np.ndarray], sizes: Mapping[Any, int]
    ) -> IndexError:
        """What a call says of an index that is out of range, as the compiled function says it."""
        values = dict(known)
        root = node.op.expand(node) if isinstance(node.op, Composite) else node
        for inner in topological([root]):
            if inner in values:
                continue
            if inner.op in (GATHER, SCATTER_ADD):
                indices, strict = inner.inputs[1:], inner.attrs["strict"]
                shape = inner.attrs["shape"] if inner.op is SCATTER_ADD else inner.inputs[0].shape
                for index, extent in zip(indices, concrete(shape, sizes), strict=False):
                    found = values[index]
                    wrong = (found < (0 if strict else -extent)) | (found >= extent)
                    if wrong.any():
                        source, position = behind(index, first(wrong), sizes)
                        return out_of_range(
                            self.name, self._reporter.names[source], position,
                            found[first(wrong)], extent, strict, node.origin,
                        )  # fmt: skip
            values[inner] = execute(inner, [values[item] for item in inner.inputs], sizes)
        raise AssertionError(f"{node!r} has all indices in range")

    @cached_property
    def compiled(self) -> CompiledFunction:
        """The compiled function of the same graph."""
        from staticgrad.runtime.function import compiled

        return compiled(self._graph, self._single, self.name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.compiled, name)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{node.name}: {node.type}" for node in self._graph.inputs)
        return (
            f"<debug executor of {self.name}({inputs}): runs op by op, not compiled; "
            f"reports {REPORTED[self.level]}>"
        )


def line_of(node: Node) -> str:
    origin = node.origin
    return "" if origin is None else f"\n  declared at {origin.file}:{origin.line}\n    {origin.text}"


__all__ = ["DebugFunction", "NonFiniteError"]
