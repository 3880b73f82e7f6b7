"""The whole way from a declared graph to a generated module, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from staticgrad.codegen.block import block
from staticgrad.codegen.fuse import contract, fuse
from staticgrad.codegen.header import header
from staticgrad.codegen.module import Generated, emit
from staticgrad.codegen.outline import outline
from staticgrad.codegen.peel import peel
from staticgrad.codegen.plan import plan
from staticgrad.codegen.program import Program
from staticgrad.codegen.recompute import recompute
from staticgrad.codegen.reserved import RESERVED
from staticgrad.codegen.roll import roll
from staticgrad.codegen.schedule import schedule
from staticgrad.codegen.settings import cast_settings
from staticgrad.codegen.share import share
from staticgrad.codegen.stages import Runner
from staticgrad.codegen.unread import drop_unread
from staticgrad.graph.dims import symbols_of
from staticgrad.graph.traverse import topological
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.pipeline import GRAPH_PASSES
from staticgrad.show.names import Names, name_results, name_sources

#: after the graph passes (``staticgrad.rewrite.pipeline.GRAPH_PASSES``) and scheduling
LOOP_PASSES: tuple[Callable[[Program], Program], ...] = (
    fuse,  # merge loops that share data
    recompute,  # what is cheap is computed in each loop that needs it
    peel,  # first and last steps apart, so that those in between need no conditions
    contract,  # what lives within one step of a loop is not stored
    drop_unread,  # values that nobody reads are not computed
    cast_settings,  # scalar parameters are read in the dtype that is needed
    block,  # a long axis that loops and products share is gone through in blocks of rows
    share,  # long loops go to several threads
    outline,  # loops that occur several times become functions
    roll,  # layers that repeat become a loop over layers
    plan,  # a place in the workspace for the rest
)

#: the stages in order, each once; some graph passes run several times
STAGES = tuple(
    dict.fromkeys(
        ("declared", "derived", *(step.__name__ for step in GRAPH_PASSES), "schedule",
         *(step.__name__ for step in LOOP_PASSES), "emit")
    )
)  # fmt: skip


def generate(graph: Graph, name: str) -> Generated:
    """Generate the module that computes ``graph`` in a function called ``name``.

    Raises ValueError where ``STATICGRAD_SHOW`` names a stage that there is not.
    """
    run = Runner(graph, STAGES)
    name_results(graph.roots)
    declared = graph
    for step in GRAPH_PASSES:
        graph = run(step, graph)
    order = topological(graph.roots)
    name_sources(order)
    seen = set(order)
    leaves = [leaf for leaf in (*graph.inputs, *(p for p, _ in graph.updates)) if leaf not in seen]
    nodes = [*leaves, *order]
    dims = {str(symbol) for node in nodes for symbol in symbols_of(node.shape)}
    names = Names(nodes, reserved=RESERVED | dims | {name})
    program = run(schedule, graph, names)
    for loop_step in LOOP_PASSES:
        program = run(loop_step, program)
    generated = run(emit, program, name, header(declared, program, name))
    return replace(generated, history=run.history)


def programs(generated: Generated) -> Iterator[Program]:
    """What ``schedule`` and each loop pass made of the graph, done again. Passes change a program in
    place: each is what it says only until the next one is asked for."""
    assert generated.history is not None
    program = schedule(generated.history.lowered, generated.program.names)
    yield program
    for step in LOOP_PASSES:
        program = step(program)
        yield program
