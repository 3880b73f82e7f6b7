"""Compiled functions: NumPy arrays in, NumPy arrays out, parameters updated in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype

from staticgrad.codegen.compiler import generate
from staticgrad.codegen.header import array_rows
from staticgrad.codegen.module import Generated
from staticgrad.codegen.program import FIRST_CHECK, NOT_READY
from staticgrad.codegen.reserved import function_name
from staticgrad.codegen.share import uses_threads
from staticgrad.graph.dims import concrete, format_dim
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import Node
from staticgrad.graph.origin import user_origin
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph, effects_of
from staticgrad.runtime import cache, threads
from staticgrad.runtime.addresses import Addresses
from staticgrad.runtime.calling import Single, caller, method_of
from staticgrad.runtime.declared import (
    Level,
    check_complete,
    checked_inputs,
    checked_outputs,
    checked_updates,
    debug_level,
    given_updates,
    listed,
)
from staticgrad.runtime.graph_function import GraphFunction, out_of_range
from staticgrad.runtime.interpreter import evaluate

if TYPE_CHECKING:
    from staticgrad.codegen.memory import MemoryTimeline
    from staticgrad.codegen.passes import Passes, Stage
    from staticgrad.runtime.debug import DebugFunction
    from staticgrad.runtime.profile import Profile


class CompiledFunction(Single, GraphFunction):
    """A graph compiled for any sizes of its named dimensions.

    Calling it takes an array for each input, in the order of the declaration or by name, and returns
    the outputs as new arrays (scalars as NumPy scalars). With ``out=``, outputs are written into
    arrays that the caller provides. After the first call with the largest sizes nothing is allocated:
    outputs lie in the memory of earlier ones that nobody holds any more, neither themselves nor
    views of them. A function keeps at most two sets of outputs for that.

    Attributes:
        source: the generated Python module.
        path: where it lies on disk.
        from_cache: whether the machine code came from the cache.
        compile_seconds: how long loading or compiling took.
    """

    # what is called is found here at once, without a method in between
    __slots__ = ("__call__",)

    def __init__(
        self, graph: Graph, single: bool | None, generated: Generated, loaded: cache.Loaded
    ) -> None:
        super().__init__(graph, single, generated.name)
        self._generated = generated
        self._entry = loaded.dispatcher
        self.path: Path = Path(loaded.path)
        self.from_cache: bool = loaded.from_cache
        self.compile_seconds: float = loaded.seconds
        program = generated.program
        # parameters never move, so that their addresses can be taken once
        fixed = [buffer.node.value for buffer in program.parameters]  # type: ignore
        fixed += [buffer.node.attrs["value"] for buffer in program.constants]  # type: ignore
        self._addresses = Addresses(
            fixed, [node.dtype for node in graph.inputs if not node.shape], self._outputs,
            [tuple(node.shape) for node in graph.inputs],
            int(program.workspace) if program.workspace.isdigit() else 0,
        )  # fmt: skip
        self.__call__ = caller(
            self.arguments, graph.inputs, self._outputs, single, self._entry, self._addresses,
            method_of(self, "long_way", self.name),
        )  # fmt: skip
        if uses_threads(program):
            threads.prepare()

    # ---- calling ---------------------------------------------------------------------------------

    def long_way(self, arguments: tuple[Any, ...], out: Any = None) -> Any:
        """A call with all that it may need: copies of arguments, a larger workspace, an error that
        says what is wrong."""
        arguments = self.with_scalars(arguments)
        if self._sized:
            self._check_dimensions(self.sizes(arguments))
        results = self.results(arguments) if out is None else self._given(out, arguments)
        arguments = self.prepare(arguments)
        status = self._entry(*self.handed(arguments, results))
        if status == NOT_READY:
            self.reserve(self.sizes(arguments))
            status = self._entry(*self.handed(arguments, results))
        if status:
            raise self._index_error(status, arguments)
        return self.returned(results, out)

    def handed(
        self, arguments: Sequence[np.ndarray], results: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """What the machine code takes, of an array for each input and for each output: the inputs with
        axes, and addresses of all else."""
        scalars = [array for array in arguments if not array.ndim]
        return [array for array in arguments if array.ndim] + [self.addresses(scalars, results)]

    def addresses(
        self, scalars: Sequence[np.ndarray], results: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The table of addresses that the machine code takes, for inputs without axes and outputs."""
        return self._addresses.table(scalars, results)

    def _output_names(self) -> list[str]:
        return [buffer.name for buffer in self._generated.program.outputs]

    @cached_property
    def address(self) -> int:
        """Where the machine code lies, for compiled code that calls it."""
        (result,) = self._entry.overloads.values()
        return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)

    def reserve(self, sizes: Mapping[Any, int]) -> None:
        """Make the workspace large enough for these sizes of the named dimensions."""
        self._check_dimensions(sizes)
        needed = self.workspace_bytes(**{str(symbol): size for symbol, size in sizes.items()})
        if needed > self._addresses.workspace.size:
            self._addresses.reserve(needed)

    def _check_dimensions(self, sizes: Mapping[Any, int]) -> None:
        for buffer in self._generated.program.buffers:
            for dim in buffer.shape:
                if concrete(dim, sizes) < 0:
                    given = ", ".join(f"{name} = {size}" for name, size in sizes.items())
                    raise ValueError(
                        f"{self.name}: with {given}, an axis of {buffer.name} has the negative size "
                        f"{format_dim(dim)}: the arrays are too small for the slices of this graph"
                    )

    def _index_error(self, status: int, arguments: Sequence[np.ndarray]) -> IndexError:
        bounds = self._generated.program.checks[status - FIRST_CHECK].value
        values = dict(zip(self._graph.inputs, arguments, strict=True))
        indices = evaluate(bounds.index_node, values)
        extent = concrete(bounds.extent, self.sizes(arguments))
        low = 0 if bounds.strict else -extent
        wrong = np.argwhere((indices < low) | (indices >= extent))[0]
        sources = [n for n in topological([bounds.index_node]) if n.op.name == "placeholder"]
        name = sources[0].name if sources else self._generated.program.names.get(
            bounds.index_node, "an index"
        )  # fmt: skip
        return out_of_range(
            self.name, str(name), wrong, indices[tuple(wrong)], extent, bounds.strict,
            bounds.used_by.origin,
        )  # fmt: skip

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The generated Python module."""
        return self._generated.source

    @property
    def generated(self) -> Generated:
        """The generated module with its program, and how it came about."""
        return self._generated

    @cached_property
    def passes(self) -> Passes:
        """What each pass of the compiler did, with what the function costs after it: the rules that
        fired, nodes, kernels, floating-point operations, bytes moved, bytes of workspace.

        ``print(function.passes)`` shows a table, ``function.passes.at(batch=64)`` is one of numbers
        where counts depend on named dimensions. Counted when first asked for.
        """
        from staticgrad.codegen.passes import reports

        return reports(self._generated)

    def stages(self) -> list[Stage]:
        """The graph, and then the program, after each pass, each with its report and as text."""
        from staticgrad.codegen.passes import stages

        return stages(self._generated)

    def workspace_bytes(self, **sizes: int) -> int:
        """Bytes of workspace for given sizes of the named dimensions, as ``batch=64``.

        Raises TypeError where a size is missing that the workspace depends on.
        """
        text = self._generated.program.workspace
        try:
            return int(eval(text, {"__builtins__": {}}, dict(sizes)))
        except NameError as error:
            raise TypeError(
                f"{self.name}: the workspace depends on the size of {error.name}: pass {error.name}="
            ) from None

    def memory_timeline(self, **sizes: int) -> MemoryTimeline:
        """Which intermediates are in memory over the course of a call, and what a tape that runs op by
        op would keep meanwhile, for given sizes of the named dimensions, as ``batch=64``.

        Raises TypeError where a size is missing.
        """
        from staticgrad.codegen.memory import memory_timeline

        return memory_timeline(self._generated, sizes)

    def profile(self, *arguments: Any, repeat: int = 30) -> Profile:
        """Time each kernel of the generated code on an array for each input.

        A copy of the code with a clock between its kernels is compiled and called for ``repeat``
        rounds of a few milliseconds, in turns with the code as it is; the quickest round
        counts. Parameters and state are afterwards what they were.

        Returns a table with a row for each loop nest, product or routine: time, share, operations and
        bytes per second as the cost model counts them, lines of ``source``, formula, the user's line.

        Raises what a call raises, and ValueError for a ``repeat`` that is no positive integer.
        """
        from staticgrad.runtime.profile import profile

        return profile(self, arguments, repeat)

    def export(self, path: str | Path) -> Path:
        """Write Python files that compute the same, bit by bit, with NumPy, Numba and SciPy alone.

        ``path``, such as ``step.py``, is the generated function as it reads here; in it, the function
        takes arrays: inputs in order, parameters by name. What it calls stands in a package beside
        it, ``step_kernels``. Returns ``path``; ValueError where Python could not import such a name.
        """
        from staticgrad.codegen.export import write

        target = Path(path)
        if target.suffix != ".py" or not target.stem.isidentifier():
            raise ValueError(
                f"export: {target.name!r} cannot be imported: a Python file is called an identifier "
                "with .py behind it, as step.py"
            )
        write(self._generated, target)
        return target

    def explain(self, path: str | Path, *inputs: Any, measure: bool = True) -> Path:
        """Write one HTML page that shows how the function comes about: the user's source, the
        mathematics, the graph after each pass, and the generated code, linked with each other; a card
        for each gradient with a finite-difference check; memory, and time against eager mode. The page
        needs a browser and nothing else.

        Args:
            path: of the file, such as ``step.html``.
            inputs: example arrays, as for a call, on which gradients are checked and time is taken.
                Without them, random ones, with 32 for each named dimension.
            measure: False leaves checks and times out.

        Returns ``path``. Parameters stay as they are. Raises what a call raises for inputs that do
        not fit.
        """
        return FUNCTIONS["explain"](self, path, inputs, measure)

    def _repr_html_(self) -> str:
        """What Jupyter shows: the signature, the arrays, and the generated code to unfold."""
        from staticgrad.show.rich import compiled_html

        inputs = ", ".join(f"{node.name}: {node.type}" for node in self._graph.inputs)
        outputs = ", ".join(
            f"{name}: {node.type}"
            for name, node in zip(self._output_names(), self._graph.outputs, strict=True)
        )
        arrays = array_rows(self._graph, self._generated.program)
        signature = f"{self.name}({inputs})" + (f" -> {outputs}" if outputs else "")
        return compiled_html(signature, arrays, self.source, str(self.path))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{node.name}: {node.type}" for node in self._graph.inputs)
        return f"<compiled {self.name}({inputs}), {self.path}>"


@overload
def compile(
    inputs: Node | Sequence[Node],
    outputs: Node | Sequence[Node] | None = None,
    updates: Mapping[Parameter, Any] | None = None,
    name: str | None = None,
    *,
    debug: Literal[False] | None = None,
) -> CompiledFunction: ...
@overload
def compile(
    inputs: Node | Sequence[Node],
    outputs: Node | Sequence[Node] | None = None,
    updates: Mapping[Parameter, Any] | None = None,
    name: str | None = None,
    *,
    debug: bool | Level | None,
) -> CompiledFunction | DebugFunction: ...
def compile(
    inputs: Node | Sequence[Node],
    outputs: Node | Sequence[Node] | None = None,
    updates: Mapping[Parameter, Any] | None = None,
    name: str | None = None,
    *,
    debug: bool | Level | None = None,
) -> Any:
    """Compile a graph into one function: forward, backward and updates together.

    Args:
        inputs: the placeholders, in the order in which the function takes their arrays.
        outputs: a node (the function returns one array), several (a list), or None.
        updates: new values of parameters, stored in place after everything else was computed from
            the old ones. Running statistics and counts of random numbers that the outputs bring
            along are stored too.
        name: of the generated function; without one, the variable that the result is assigned to.
        debug: True for a function that runs op by op and says where NaN, inf and indices out of
            range come from; "nan" or "all" for what else to report, see ``DebugFunction``. The
            environment variable ``STATICGRAD_DEBUG`` (1, nan, all) sets it where it is not given.

    Raises:
        GraphError: if a placeholder is missing among the inputs or occurs twice, or an update does
            not fit its parameter.
        GraphTypeError: for anything that is not a node, and for an update of another dtype.
        ValueError: for a ``debug`` that means nothing.
    """
    level = debug_level(debug)
    origin = user_origin()
    single = None if outputs is None else isinstance(outputs, Node)
    roots = [] if outputs is None else listed(outputs, "outputs")
    placeholders = listed(inputs, "inputs")
    chosen_updates = given_updates(updates)
    checked_roots = checked_outputs(roots)
    new_values = [value for value in chosen_updates.values() if isinstance(value, Node)]
    stored = {**effects_of([*checked_roots, *new_values]), **chosen_updates}
    graph = Graph(
        tuple(checked_inputs(placeholders)),
        tuple(checked_roots),
        tuple(checked_updates(stored)),
    )
    check_complete(graph)
    chosen = name or (origin.target if origin else None) or ("step" if updates else "function")
    if level is not None:
        from staticgrad.runtime.debug import DebugFunction

        return DebugFunction(graph, single, function_name(chosen), level)
    return compiled(graph, single, function_name(chosen))


def compiled(graph: Graph, single: bool | None, name: str) -> CompiledFunction:
    """The function of a checked graph, loaded from the cache or compiled."""
    generated = generate(graph, name)
    loaded = cache.load(generated.source, generated.name, generated.name, signature(generated))
    return CompiledFunction(graph, single, generated, loaded)


def signature(generated: Generated) -> tuple[Any, ...]:
    """The Numba types of a generated function's arguments."""
    program = generated.program

    inputs = [buffer for buffer in program.inputs if buffer.shape]
    return (
        *(array_type(buffer.dtype, len(buffer.shape), True) for buffer in inputs),
        array_type(np.int64, 1),
    )


def array_type(dtype: Any, rank: int, readonly: bool = False) -> Any:
    """The Numba type of C-contiguous arrays."""
    return types.Array(from_dtype(np.dtype(dtype)), rank, "C", readonly=readonly)


__all__ = ["CompiledFunction", "array_type", "compile"]
