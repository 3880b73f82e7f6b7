"""Loops over training steps inside compiled code: on the same arrays, or on batches of samples.

A loop calls the step's machine code by its address, so that it gives the bits of single calls and is
compiled once for all steps with inputs of the same types.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from staticgrad.codegen.program import FIRST_CHECK, NOT_READY
from staticgrad.graph.dims import product
from staticgrad.graph.node import Node
from staticgrad.nn.utils.clip_grad import nonfinite_message
from staticgrad.runtime import cache
from staticgrad.runtime.addresses import in_sizes, places_of
from staticgrad.runtime.function import array_type

if TYPE_CHECKING:
    from staticgrad.training.step import TrainStep

#: seconds of compiled work between two looks at the progress bar, and at Ctrl-C
PIECE = 0.1
#: what a loop returns where the gradients were not finite
NOT_FINITE = -1


class Loop:
    """A compiled loop over steps.

    Attributes:
        gathers: whether each step has a batch of its own, gathered from samples; else all have the
            same arrays.
        piece: how many steps take about ``PIECE`` seconds.
        places: the (input, axis) whose sizes a loop that gathers must be told, beside the batch's.
    """

    def __init__(self, step: TrainStep, gathers: bool) -> None:
        self.step, self.gathers = step, gathers
        self.piece = 1
        self.places = inner_places(step.inputs) if gathers else []
        self._code = _load(step, gathers)

    def pieces(
        self,
        arrays: Sequence[np.ndarray],
        results: Sequence[np.ndarray],
        losses: np.ndarray,
        samples: Sequence[np.ndarray] = (),
        order: np.ndarray | None = None,
        size: int = 0,
    ) -> Iterator[int]:
        """Run steps until ``losses`` is filled; yields about every PIECE seconds how many have been.

        Args:
            arrays: for the inputs; where the loop gathers, memory for a batch, as matrices.
            results: memory for the step's outputs.
            samples: an array for each input, of whose first axis ``order`` holds positions, ``size``
                for each step.

        Raises what the step raises; steps before that have been taken.
        """
        step = self.step
        functions = step.function, step._accumulate or step.function
        codes = [function.address for function in functions]
        given = [array for array in arrays if array.ndim]
        scalars = [array for array in arrays if not array.ndim]
        progress = np.zeros(2, np.int64)
        matrices = [array.reshape(len(array), prod(array.shape[1:])) for array in samples]
        sizes = [samples[position].shape[axis] for position, axis in self.places]
        done, ready = 0, True
        while done < len(losses):
            step._options.refresh()
            progress[:] = 0, step.accumulated
            stop = done + self.piece
            batches: tuple[Any, ...] = ()
            if order is not None:
                batches = (*matrices, order[done * size : stop * size], size, *sizes)
            # anew each time, since the workspace may have moved
            tables = [function.addresses(scalars, results) for function in functions]
            start = time.perf_counter()
            status = self._code(
                *codes, step.accumulation_steps, *given, *tables, results[0], results[-1],
                losses[done:stop], progress, *batches,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            taken, step.accumulated = progress.tolist()
            done += taken
            step.changed()
            if status == NOT_FINITE:
                raise RuntimeError(nonfinite_message(2.0, float(results[-1])))
            if status:
                batch = arrays
                if order is not None:
                    batch = [array[order[done * size :][:size]] for array in samples]
                self._recover(status, batch, ready)
            else:
                self.piece = max(1, int(taken * min(PIECE / max(seconds, 1e-9), 1000)))
                yield done
            ready = not status

    def _recover(self, status: int, arguments: Sequence[np.ndarray], ready: bool) -> None:
        """After a step that did not go through and changed nothing: grow the workspace, or say what
        is wrong."""
        if status == NOT_READY and ready:
            for function in (self.step.function, self.step._accumulate):
                if function is not None:
                    function.reserve(function.sizes(arguments))
            return
        assert status >= FIRST_CHECK
        self.step.function(*arguments)
        raise RuntimeError(f"a step failed with status {status}")


class SingleSteps:
    """The same steps called one by one, for a step that runs op by op."""

    def __init__(self, step: TrainStep) -> None:
        self.step = step

    def pieces(
        self,
        arrays: Sequence[np.ndarray],
        results: Sequence[np.ndarray],
        losses: np.ndarray,
        samples: Sequence[np.ndarray] = (),
        order: np.ndarray | None = None,
        size: int = 0,
    ) -> Iterator[int]:
        """Run steps until ``losses`` is filled, see ``Loop.pieces``; yields after each how many have
        been. An error comes with a note that says which step it was, and on which samples."""
        for done in range(len(losses)):
            batch, told = arrays, f"in step {done} of {len(losses)}"
            if order is not None:
                chosen = order[done * size : (done + 1) * size]
                batch = [array[chosen] for array in samples]
                told += f" of the epoch, on samples {np.array2string(chosen, separator=', ')}"
            try:
                result = self.step(*batch)
            except Exception as error:
                error.add_note(told)
                raise
            losses[done] = result[0] if isinstance(result, list) else result
            yield done + 1


def inner_places(inputs: Sequence[Node]) -> list[tuple[int, int]]:
    """Where the sizes of named dimensions other than the first are read."""
    return places_of([node.shape[1:] for node in inputs], [node.shape for node in inputs])


def _load(step: TrainStep, gathers: bool) -> Any:
    """The compiled loop; the same for all steps with inputs of these types."""
    source = loop_source(step, gathers)

    integer, integers = types.int64, array_type(np.int64, 1)
    results = step.function.output_types
    signature = [
        integer, integer, integer,
        *(array_type(n.dtype, 2 if gathers else n.ndim, not gathers) for n in step.inputs if n.shape),
        integers, integers, array_type(*results[0]), array_type(*results[-1]),
        array_type(results[0][0], 1), integers,
    ]  # fmt: skip
    if gathers:
        signature += [*(array_type(n.dtype, 2, True) for n in step.inputs), integers, integer]
        signature += [integer] * len(inner_places(step.inputs))
    name = "batches" if gathers else "steps"
    return cache.load(source, name, name, tuple(signature)).dispatcher


def loop_source(step: TrainStep, gathers: bool) -> str:
    """The module of the loop."""
    inputs = [node for node in step.inputs if node.shape]
    names = [str(node.name) for node in inputs]
    arrays = [f"{name}_batch" for name in names]
    arguments = [
        "step", "accumulate", "accumulation_steps", *arrays, "addresses", "accumulate_addresses",
        "loss", "last_result", "losses", "progress",
    ]  # fmt: skip
    if gathers:
        arguments += [*(f"{n}_samples" for n in names), "order", "batch_size"]
        arguments += [f"size_{position}_{axis}" for position, axis in inner_places(inputs)]
        text = [
            '"""batches: a step for each batch of samples, in the order given.',
            "",
            "Samples are copied into the batch; the step is compiled code at an address. Returns 0, or",
            "the status of the step that did not go through; progress[0] counts the steps before it.",
        ]
    else:
        text = [
            '"""steps: as many steps on the same arrays as there are losses to fill.',
            "",
            "The step is compiled code at an address. Returns 0, or the status of the step that did",
            "not go through; progress[0] counts the steps before it.",
        ]
    lines = [
        *text,
        "",
        "Generated by staticgrad; edits are not kept.",
        '"""',
        "",
        *(["from math import inf", ""] if step._checked else []),
        "from numba import njit",
        "",
        *(["from staticgrad.kernels.arrays import reshaped"] if gathers else []),
        f"from staticgrad.kernels.calls import call_at{', copy_row' if gathers else ''}",
        "",
        "",
        '@njit(error_model="numpy")',
        f"def {'batches' if gathers else 'steps'}(",
        *(f"    {name}," for name in arguments),
        "):",
        "    for batch in range(losses.size):",
        "        progress[0] = batch",
    ]
    given = arrays
    if gathers:
        given = []
        lines += [
            "        first = batch * batch_size",
            "        count = min(batch_size, order.size - first)",
            "        for i in range(count):",
        ]
        for node, name in zip(inputs, names, strict=True):
            width = product(node.shape[1:])
            columns = str(width) if isinstance(width, int) else f"{name}_batch.shape[1]"
            inner = in_sizes(node.shape[1:], [n.shape for n in inputs])[1:-1].rstrip(",")
            shape = f"(count, {inner})" if inner else "(count,)"
            lines += [
                f"            copy_row({name}_batch, i, {name}_samples, order[first + i], {columns})"
            ]
            given.append(f"reshaped({name}_batch, {shape})")

    def call(address: str, table: str) -> str:
        return f"status = call_at({address}, ({', '.join([*given, table])},))"

    if step._accumulate is None:
        lines.append(f"        {call('step', 'addresses')}")
    else:
        lines += [
            "        if progress[1] + 1 == accumulation_steps:",
            f"            {call('step', 'addresses')}",
            "        else:",
            f"            {call('accumulate', 'accumulate_addresses')}",
        ]
    lines += [
        "        if status:",
        "            return status",
    ]
    if step._checked:
        lines += [
            "        if not abs(last_result[()]) < inf:",
            f"            return {NOT_FINITE}",
        ]
    lines += [
        "        progress[1] = (progress[1] + 1) % accumulation_steps",
        "        losses[batch] = loss[()]",
        "    progress[0] = losses.size",
        "    return 0",
    ]
    return "\n".join(lines) + "\n"


__all__ = ["Loop", "SingleSteps"]
