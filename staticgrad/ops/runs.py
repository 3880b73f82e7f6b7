"""Scatter-adds whose index is known and comes in runs, as that of sorted groups does."""

from __future__ import annotations

import numpy as np

from staticgrad.graph.node import Node, make_node
from staticgrad.ops.indexing import SCATTER_ADD, ScatterAdd
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.table import register

#: elements and the length of runs from which on a routine pays
FEWEST, LENGTH = 64, 8


class ScatterRuns(RoutineOp, ScatterAdd):
    """A scatter-add in which each run of equal indices is summed before it is added."""

    def options(self, node: Node) -> list[str]:
        return []


SCATTER_RUNS = register(ScatterRuns("scatter_runs", "scatter", "scatter_runs"))


def by_runs(node: Node) -> Node | None:
    """A scatter-add by runs; None where the index is not known, is not in runs, or counts from the
    end, or where rows are added, of which each is a loop of its own."""
    if node.op is not SCATTER_ADD or node.ndim != 1 or len(node.inputs) != 2:
        return None
    values, index = node.inputs
    if index.op.name != "constant" or index.ndim != 1 or not values.type.is_float:
        return None
    array, size = index.attrs["value"], node.shape[0]
    if array.size < FEWEST or LENGTH * np.count_nonzero(np.diff(array)) > array.size:
        return None
    if not isinstance(size, int) or array.min() < 0 or array.max() >= size:
        return None
    return make_node(SCATTER_RUNS, [values, index], node.attrs)
