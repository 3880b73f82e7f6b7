"""Graphs in layers, by the method of Sugiyama, Tagawa and Toda (1981): layers by longest path, order
within layers by barycentres.

A drawing has lanes beside each other, which share their rows: forward operations go down the first,
their adjoints come up the second beside the primals, updates stand in the third. Nodes lie in nested
clusters, each of which is laid out by itself. What comes out is layers and their order; the page
turns them into coordinates, since these change whenever a cluster is folded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

SWEEPS = 4


@dataclass(eq=False)
class Box:
    """A node to be drawn: the path of clusters it lies in, its lane, and beside which boxes it is to
    stand (those of another lane)."""

    key: Hashable
    path: tuple[str, ...]
    lane: int
    beside: list[Box] = field(default_factory=list)
    inputs: list[Box] = field(default_factory=list)
    #: whether its edges out of its cluster do without a place among the others
    faint: bool = False
    number: int = -1


@dataclass(eq=False)
class Cluster:
    """A part of the drawing: its children, and their layers as runs (see ``Layout``)."""

    title: str
    parent: Cluster | None
    number: int
    path: tuple[str, ...] = ()
    boxes: list[Box] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    runs: list[list[list[list[int]]]] = field(default_factory=list)


class Layout:
    """The layers of boxes in their order.

    ``clusters`` hold runs from top to bottom; a run has a list of layers for each lane, a layer a
    list of items. An item is the number of a box, ``-1 - k`` for cluster k, or for a bend of an edge
    a number from ``len(boxes)`` on. ``edges`` are lists ``[from, to, bend, ...]``.
    """

    def __init__(self, boxes: Sequence[Box], lanes: int) -> None:
        self.boxes = list(boxes)
        self.lanes = lanes
        for number, box in enumerate(self.boxes):
            box.number = number
        self.root = Cluster("", None, 0)
        self.clusters = [self.root]
        self._home: dict[Box, Cluster] = {}
        for box in self.boxes:
            cluster = self.root
            for depth, title in enumerate(box.path):
                if title not in cluster.clusters:
                    path = box.path[: depth + 1]
                    cluster.clusters[title] = Cluster(title, cluster, len(self.clusters), path)
                    self.clusters.append(cluster.clusters[title])
                cluster = cluster.clusters[title]
            cluster.boxes.append(box)
            self._home[box] = cluster
        self.bends = len(self.boxes)
        self.edges: list[list[int]] = []
        #: for each cluster the edges that join two of its children, as (child, child, edge)
        self._between: dict[Cluster, list[tuple[Any, Any, list[int]]]] = {}
        self._connect()
        for cluster in self.clusters:
            self._arrange(cluster)

    def _chain(self, box: Box) -> list[Any]:
        """The box and the clusters around it, from the outside in."""
        chain: list[Any] = [box]
        cluster: Cluster | None = self._home[box]
        while cluster is not None:
            chain.append(cluster)
            cluster = cluster.parent
        return chain[::-1]

    def _connect(self) -> None:
        for box in self.boxes:
            for source in dict.fromkeys(box.inputs):
                edge = [source.number, box.number]
                self.edges.append(edge)
                ours, theirs = self._chain(box), self._chain(source)
                depth = 0
                while (
                    depth < min(len(ours), len(theirs)) - 1 and ours[depth + 1] is theirs[depth + 1]
                ):
                    depth += 1
                if source.lane == box.lane and (ours[:-1] == theirs[:-1] or not source.faint):
                    between = self._between.setdefault(ours[depth], [])
                    between.append((theirs[depth + 1], ours[depth + 1], edge))

    def _lanes_of(self, child: Any) -> set[int]:
        if isinstance(child, Box):
            return {child.lane}
        found = {box.lane for box in child.boxes}
        for inner in child.clusters.values():
            found |= self._lanes_of(inner)
        return found

    def _first(self, child: Any) -> int:
        """The first box of a child in order of computation."""
        if isinstance(child, Box):
            return child.number
        return min(map(self._first, [*child.boxes, *child.clusters.values()]))

    # ---- layers ----------------------------------------------------------------------------------

    def _arrange(self, cluster: Cluster) -> None:
        children = sorted([*cluster.boxes, *cluster.clusters.values()], key=self._first)
        lanes = {child: self._lanes_of(child) for child in children}
        between = self._between.get(cluster, [])
        main = min((min(found) for found in lanes.values()), default=0)
        rows = [child for child in children if main in lanes[child]]
        row = self._layers(rows, [(a, b) for a, b, _ in between])
        count = max(row.values(), default=0) + 1
        for child in children:
            if child not in row:
                row[child] = self._row_beside(child, row, count)
        columns, bends = self._ordered(rows, row, between, count)
        cluster.runs = []
        for number in range(count):
            others = [child for child in children if row[child] == number]
            has_cluster = any(isinstance(child, Cluster) for child in others)
            layers: list[list[list[int]]] = [[] for _ in range(self.lanes)]
            layers[main].append([bends[i] if i in bends else _item(i) for i in columns[number]])
            for lane in set(range(self.lanes)) - {main}:
                layers[lane] = self._stack(others, lane, lanes, between)
            # rows of nodes that nothing stands beside make room for a tall row after them
            before = cluster.runs[-1] if cluster.runs else None
            alone = before is not None and not any(
                before[lane] for lane in range(self.lanes) if lane != main
            )
            if alone and not has_cluster and not cluster_in(cluster.runs[-1]):
                for lane in range(self.lanes):
                    cluster.runs[-1][lane] += layers[lane]
            else:
                cluster.runs.append(layers)

    def _layers(self, children: Sequence[Any], edges: Iterable[tuple[Any, Any]]) -> dict[Any, int]:
        """The layer of each child: one more than the last one before it. Sources come down to what
        takes them. ``children`` are in order of computation; edges against it are passed over."""
        place = {child: number for number, child in enumerate(children)}
        below: dict[Any, list[Any]] = {child: [] for child in children}
        above: dict[Any, list[Any]] = {child: [] for child in children}
        for source, taker in dict.fromkeys(edges):
            if source in place and taker in place and place[source] < place[taker]:
                below[source].append(taker)
                above[taker].append(source)
        layer: dict[Any, int] = {}
        for child in children:
            layer[child] = max((layer[source] + 1 for source in above[child]), default=0)
        for child in reversed(children):
            if not above[child] and below[child]:
                layer[child] = min(layer[taker] for taker in below[child]) - 1
        return layer

    def _row_beside(self, child: Any, row: dict[Any, int], count: int) -> int:
        """The row of what a child stands beside; where that is not in the cluster, the last for what
        goes up, and the first for what goes down."""
        boxes = [child] if isinstance(child, Box) else _boxes(child)
        found = []
        for box in boxes:
            for other in box.beside:
                found += [row[item] for item in self._chain(other) if item in row]
        if found:
            return max(found)
        return count - 1 if 1 in self._lanes_of(child) else 0

    def _stack(
        self, children: Sequence[Any], lane: int, lanes: dict[Any, set[int]], between: Any
    ) -> list[list[int]]:
        """The layers of one lane in a row, from top to bottom; the adjoints' go up."""
        own = [child for child in children if lane in lanes[child]]
        if any(isinstance(child, Cluster) and len(lanes[child]) > 1 for child in own):
            # a cluster that reaches over lanes comes first in each of them
            own.sort(key=lambda child: len(lanes[child]) == 1)
            return [[_item(child)] for child in own]
        if lane > 1:
            return [[_item(child)] for child in own]
        layer = self._layers(own, [(a, b) for a, b, _ in between])
        result: list[list[int]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
        for child in own:
            result[layer[child]].append(_item(child))
        return result[::-1] if lane == 1 else result

    # ---- order within layers -----------------------------------------------------------------------

    def _ordered(
        self, children: Sequence[Any], row: dict[Any, int], between: Any, count: int
    ) -> tuple[list[list[Any]], dict[Any, int]]:
        """The children of each row from left to right, with bends where edges pass; and the numbers
        of the bends."""
        columns: list[list[Any]] = [[] for _ in range(count)]
        for child in children:
            columns[row[child]].append(child)
        bends: dict[Any, int] = {}
        up: dict[Any, list[Any]] = {}
        down: dict[Any, list[Any]] = {}
        passing: dict[tuple[Any, Any], list[Any]] = {}
        known = set(children)
        for source, taker, edge in between:
            if source not in known or taker not in known or row[source] >= row[taker]:
                continue
            if (source, taker) not in passing:
                chain = []
                for number in range(row[source] + 1, row[taker]):
                    bend = ("bend", self.bends)
                    bends[bend] = self.bends
                    self.bends += 1
                    columns[number].append(bend)
                    chain.append(bend)
                passing[source, taker] = chain
                whole = [source, *chain, taker]
                for first, second in pairwise(whole):
                    down.setdefault(first, []).append(second)
                    up.setdefault(second, []).append(first)
            edge += [bends[bend] for bend in passing[source, taker]]
        for sweep in range(SWEEPS):
            downward = sweep % 2 == 0
            order = range(1, count) if downward else range(count - 2, -1, -1)
            neighbours = up if downward else down
            for number in order:
                around = columns[number - 1 if downward else number + 1]
                place = {item: (k + 0.5) / len(around) for k, item in enumerate(around)}
                size = len(columns[number])
                centre = {}
                for k, item in enumerate(columns[number]):
                    near = [place[other] for other in neighbours.get(item, ()) if other in place]
                    centre[item] = sum(near) / len(near) if near else (k + 0.5) / size
                columns[number].sort(key=centre.__getitem__)
        return columns, bends


def _item(child: Any) -> int:
    return child.number if isinstance(child, Box) else -1 - child.number


def _boxes(cluster: Cluster) -> list[Box]:
    return [
        *cluster.boxes, *(box for inner in cluster.clusters.values() for box in _boxes(inner)),
    ]  # fmt: skip


def cluster_in(run: list[list[list[int]]]) -> bool:
    return any(item < 0 for lane in run for layer in lane for item in layer)
