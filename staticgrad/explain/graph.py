"""The drawings of the stages: which nodes are shown, where they belong, and in which layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from staticgrad.codegen.program import Program
from staticgrad.explain.layout import Box, Layout
from staticgrad.explain.stages import Kernel, Stage, places_of
from staticgrad.explain.values import FORWARD, LEAVES, UPDATE, Values
from staticgrad.graph.node import Node
from staticgrad.graph.origin import Origin

#: what says nothing by itself: edges go through
HIDDEN = frozenset({"constant", "size", "iota", "broadcast_to", "stop_gradient"})
SIGNS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "contract": "@", "gemm": "@",
    "sum": "Σ", "prod": "Π", "maximum": "max", "minimum": "min", "permute_dims": "transpose",
    "negative": "−", "square": "( )²", "astype": "cast", "power": "^", "equal": "=",
    "greater": ">", "less": "<", "greater_equal": "≥", "less_equal": "≤",
}  # fmt: skip
#: adjoints stand beside their primals, updates beside their parameters
LANES = 3
#: nodes from which on loops are sorted into modules
MANY = 150
#: where what several updates use is drawn; its edges lead everywhere, and are drawn faintly
SHARED = "all updates"


def drawing(stage: Stage, program: Program, values: Values) -> dict[str, Any]:
    """A stage as the page takes it: nodes, clusters in layers, edges."""
    boxes = Arrangement(stage, values).boxes()
    layout = Layout(list(boxes.values()), LANES)
    notes = _notes(stage, program)
    nodes = []
    for node in boxes:
        value = values[node]
        kind = _kind(node, value.lane)
        nodes.append(
            [value.number, SIGNS.get(node.op.name, node.op.name), kind, notes.get(node, "")]
        )
    clusters = [
        [cluster.title, cluster.parent.number if cluster.parent else -1, cluster.runs]
        for cluster in layout.clusters
    ]
    return {
        "name": stage.name,
        "text": stage.text,
        "nodes": nodes,
        "clusters": clusters,
        "edges": layout.edges,
    }


def _kind(node: Node, lane: int) -> int:
    """0 to 2 for operations of the lanes, 3 for inputs, 4 for parameters."""
    if node.op.name == "placeholder":
        return 3
    return 4 if node.op.name == "parameter" else lane


def shown_nodes(stage: Stage) -> list[Node]:
    """The nodes that are drawn, in order of computation. Where there are kernels, those with a
    statement of their own; before that all but numbers and what spreads them."""
    if stage.kernels:
        computed = {node for kernel in stage.kernels for node in kernel.nodes}
        return [n for n in stage.nodes if n in computed or n.op.name in LEAVES]
    plain: set[Node] = set()
    for node in stage.nodes:
        if node.op.name in LEAVES:
            continue
        of_numbers = all(source in plain for source in node.inputs)
        if of_numbers and (node.inputs or node.op.name in HIDDEN):
            plain.add(node)
    return [n for n in stage.nodes if n not in plain and n.op.name not in HIDDEN]


class Arrangement:
    """Where the nodes of a stage belong: lanes, clusters, and what they stand beside."""

    def __init__(self, stage: Stage, values: Values) -> None:
        self.stage, self.values = stage, values
        self.shown = shown_nodes(stage)
        self.sources = _sources(stage.nodes, set(self.shown))
        self.owners = _owners(stage)
        #: loops reach over modules: these serve for folding only, where there is much to fold
        self.modules = not stage.kernels or len(self.shown) > MANY
        self.homes = self._homes()
        self.kernel_of: dict[Node, tuple[str, ...]] = {}
        for number, kernel in enumerate(stage.kernels):
            if len(kernel.nodes) > 1:
                path = (*self._around(kernel), f"{number + 1}  {kernel.title}")
                self.kernel_of.update(dict.fromkeys(kernel.nodes, path))

    def boxes(self) -> dict[Node, Box]:
        """The boxes in order of computation, with their inputs."""
        found: dict[Node, Box] = {}
        by_concept: dict[int, Box] = {}
        later = []
        for node in self.shown:
            value = self.values[node]
            if value.lane != FORWARD:
                later.append(node)
                continue
            leaf = node.op.name in LEAVES
            path = self.homes.get(node, ()) if leaf else self._scope(node.origin)
            found[node] = by_concept[value.concept] = Box(
                node, self.kernel_of.get(node, path), FORWARD
            )
        for node in later:
            value = self.values[node]
            if value.lane == UPDATE:
                owner = self.owners.get(node)
                beside = None if owner is None else found.get(owner)
                path = self._update(owner)
            else:
                concept = value.target if value.target >= 0 else value.concept
                beside = by_concept.get(concept) or by_concept.get(value.concept)
                path = self._scope(node.origin)
                if beside is not None:
                    path = beside.path[:-1] if beside.key in self.kernel_of else beside.path
            box = Box(node, self.kernel_of.get(node, path), value.lane, faint=SHARED in path)
            box.beside += [beside] if beside is not None else []
            found[node] = box
        for node, box in found.items():
            box.inputs = [found[source] for source in self.sources[node]]
        return {node: found[node] for node in self.shown}

    def _scope(self, origin: Origin | None) -> tuple[str, ...]:
        """The module that a node was made in."""
        inside = self.modules and origin is not None and origin.scope
        return tuple(origin.scope.split(".")) if inside and origin is not None else ()

    def _homes(self) -> dict[Node, tuple[str, ...]]:
        """The module of each parameter: that in which it is used first."""
        takers: dict[Node, list[Node]] = {}
        for node in self.shown:
            for source in self.sources[node]:
                takers.setdefault(source, []).append(node)
        rank = {node: number for number, node in enumerate(self.stage.nodes)}
        return {
            node: self._scope(
                min(
                    takers.get(node, [node]),
                    key=lambda user: (self.values[user].lane, rank[user]),
                ).origin
            )
            for node in self.shown
            if node.op.name == "parameter"
        }

    def _update(self, owner: Node | None) -> tuple[str, ...]:
        if owner is None:
            return (SHARED,)
        home, name = self.homes.get(owner, ()), self.values[owner].name
        # what the module around it says need not be said again
        return (*home, f"update {name.rpartition(f'{home[-1]}_')[2] if home else name}")

    def _around(self, kernel: Kernel) -> tuple[str, ...]:
        """The module that all nodes of a kernel lie in, or the parameter that it updates."""
        if all(self.values[node].lane == UPDATE for node in kernel.nodes):
            found = {self.owners.get(node) for node in kernel.nodes}
            return self._update(found.pop() if len(found) == 1 else None)
        paths = [self._scope(node.origin) for node in kernel.nodes if node.origin is not None]
        common = paths[0] if paths else ()
        for path in paths[1:]:
            length = 0
            while length < min(len(common), len(path)) and common[length] == path[length]:
                length += 1
            common = common[:length]
        return common


def _sources(order: Iterable[Node], shown: set[Node]) -> dict[Node, list[Node]]:
    """For each node the shown ones that it takes, through those which are not shown."""
    through: dict[Node, list[Node]] = {}
    for node in order:
        found: dict[Node, None] = {}
        for source in node.inputs:
            if source in shown:
                found[source] = None
            else:
                found.update(dict.fromkeys(through.get(source, ())))
        through[node] = list(found)
    return through


def _owners(stage: Stage) -> dict[Node, Node]:
    """For each node of an update the parameter whose gradient it uses, if there is just one."""
    owners: dict[Node, set[Node]] = {}
    for value, parameter in stage.renewed.items():
        if value not in stage.late:
            continue
        reached: list[Node] = [value]
        seen = {value}
        owner = None
        for node in reached:
            for source in node.inputs:
                if source in seen:
                    continue
                seen.add(source)
                if source in stage.late:
                    reached.append(source)
                elif owner is None and source.role == "adjoint" and source.adjoint_of is not None:
                    owner = source.adjoint_of
        if owner is None or owner.op.name not in LEAVES:
            owner = parameter
        for node in reached:
            owners.setdefault(node, set()).add(owner)
    return {node: next(iter(found)) for node, found in owners.items() if len(found) == 1}


def _notes(stage: Stage, program: Program) -> dict[Node, str]:
    """Where a value lies, once that is planned."""
    notes: dict[Node, str] = {}
    if stage.name == "fused":
        for number, kernel in enumerate(stage.kernels):
            notes.update(dict.fromkeys(kernel.nodes, f"kernel {number + 1}"))
    if stage.name != "planned":
        return notes
    places = places_of(program)
    for node, buffer in program.readers.items():
        if buffer.memory in places:
            notes[node] = f"place {places[buffer.memory] + 1}"
        elif buffer.is_local:
            notes[node] = "register"
        else:
            notes[node] = buffer.memory.kind
    return notes
