"""Arrays to run a model on where the user has given none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import concrete, dimension
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.ops.indexing import GATHER, SCATTER_ADD

#: of a named dimension
DEFAULT_SIZE = 64
#: what integers are below where nothing says what they index
DEFAULT_EXTENT = 2


def sample_arrays(
    inputs: Sequence[Node], roots: Sequence[Node], sizes: Mapping[str, int], seed: int = 0
) -> list[np.ndarray]:
    """An array for each of ``inputs`` of a graph that computes ``roots``.

    Numbers are uniform between 0.1 and 1, where roots and logarithms are what they should be; integers
    are within the axes that they index, labels below the number of classes.

    Args:
        sizes: of the named dimensions, by name; ``DEFAULT_SIZE`` where one is missing.
    """
    names = {symbol for node in inputs for dim in node.shape if not isinstance(dim, int)
             for symbol in dim.free_symbols}  # fmt: skip
    known: dict[Any, int] = {
        dimension(str(symbol)): sizes.get(str(symbol), DEFAULT_SIZE) for symbol in names
    }
    extents = index_extents(roots)
    rng = np.random.default_rng(seed)
    arrays = []
    for node in inputs:
        shape = concrete(node.shape, known)
        if node.type.is_float:
            array = rng.uniform(0.1, 1.0, shape)
        else:
            extent = min((concrete(e, known) for e in extents.get(node, ())), default=DEFAULT_EXTENT)
            array = rng.integers(0, extent, shape)
        arrays.append(np.asarray(array, dtype=node.dtype))
    return arrays


def index_extents(roots: Sequence[Node]) -> dict[Node, list[Any]]:
    """The sizes of the axes in which placeholders count as positions."""
    found: dict[Node, list[Any]] = {}

    def note(index: Node, extent: Any) -> None:
        for source in topological([index]):
            if source.op.name == "placeholder":
                found.setdefault(source, []).append(extent)

    for node in topological(roots):
        if node.op is GATHER:
            for index, extent in zip(node.inputs[1:], node.inputs[0].shape, strict=False):
                note(index, extent)
        elif node.op is SCATTER_ADD:
            for index, extent in zip(node.inputs[1:], node.shape, strict=False):
                note(index, extent)
        elif node.op.name == "cross_entropy":
            note(node.inputs[1], node.inputs[0].shape[-1])
        elif node.op.name == "one_hot":
            note(node.inputs[0], node.attrs["num_classes"])
    return found
