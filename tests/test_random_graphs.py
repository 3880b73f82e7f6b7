"""Compiled values and gradients equal the op-by-op NumPy execution, on random graphs.

``STATICGRAD_RANDOM_GRAPHS`` sets how many are run (24 unless told; 2000 before a release).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from random_graphs import random_graph

import staticgrad as sg

COUNT = int(os.environ.get("STATICGRAD_RANDOM_GRAPHS", "24"))
#: graphs that were once wrong: an accumulator that the pieces of a loop have in common, a view that one
#: of them reads alone, a function that LLVM was told too much of for it to be inlined
KNOWN = (147, 264, 481)


def check(seed: int) -> None:
    dtype = "float32" if seed % 4 == 3 else "float64"
    graph = random_graph(seed, dtype)
    used = reachable(graph.loss)
    wrt = [leaf for leaf in [*graph.inputs, *graph.parameters] if leaf in used]
    wrt = [leaf for leaf in wrt if differentiable(graph.loss, leaf)]
    outputs = [graph.loss, *(sg.grad(graph.loss, wrt) if wrt else [])]
    expected = sg.evaluate(outputs, dict(zip(graph.inputs, graph.arrays, strict=True)))
    function = sg.compile(graph.inputs, outputs, name=f"random_{seed}")
    for _ in range(2):
        got = function(*graph.arrays)
        for name, a, b in zip(["loss", *[w.name for w in wrt]], got, expected, strict=True):
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            tolerance = (1e-10 if dtype == "float64" else 2e-4) * scale
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=f"{seed}: {name}")


def reachable(node: sg.Node) -> set[sg.Node]:
    from staticgrad.graph.traverse import topological

    return set(topological([node]))


def differentiable(loss: sg.Node, leaf: sg.Node) -> bool:
    try:
        sg.grad(loss, leaf)
    except sg.GraphError:
        return False
    return True


@pytest.mark.parametrize("seed", sorted({*range(COUNT), *KNOWN}))
def test_compiled_equals_op_by_op(seed: int) -> None:
    check(seed)
