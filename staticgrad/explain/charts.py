"""The memory timeline and the race, as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staticgrad.codegen.memory import eager_track
from staticgrad.codegen.module import Generated
from staticgrad.codegen.passes import known
from staticgrad.codegen.plan import lifetimes
from staticgrad.codegen.program import Buffer, Program
from staticgrad.explain.measure import Race
from staticgrad.explain.panes import Links
from staticgrad.graph.dims import concrete, product
from staticgrad.graph.node import Node

WIDTH, HEIGHT = 600, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 34


@dataclass(frozen=True)
class Scale:
    """Data to places on the chart."""

    largest_x: float
    largest_y: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / (self.largest_x or 1)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / (self.largest_y or 1)


def svg(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", name: str = "") -> str:
    kind = f' class="{name}"' if name else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{html.escape(words)}</text>'


def ticks(largest: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at most ``largest``."""
    if largest <= 0:
        return [0.0]
    raw = largest / count
    power = 10.0 ** (len(str(int(raw))) - 1) if raw >= 1 else 10.0 ** -_zeros(raw)
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [step * k for k in range(int(largest / step) + 1)]


def _zeros(value: float) -> int:
    count = 0
    while value < 1:
        value, count = value * 10, count + 1
    return count


def y_axis(scale: Scale, written: Any) -> list[str]:
    parts = []
    for value in ticks(scale.largest_y):
        y = scale.y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(text(LEFT - 7, y + 4, written(value), "end"))
    return parts


def bytes_text(amount: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount:.0f} B"


def seconds_text(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0"


# ---- memory --------------------------------------------------------------------------------------


def memory_section(generated: Generated, sizes: Mapping[Any, int], links: Links, what: str) -> str:
    """The plan of the workspace over the steps of the program, beside the tape's curve."""
    program = generated.program
    spans = lifetimes(program)
    steps = max((last for _, last in spans.values()), default=0) + 1
    tape = eager_track(known(generated).declared, sizes).totals
    most = max(tape, default=0)
    places, offset = [], 0
    for place in program.places:
        places.append((offset, place))
        offset += int(concrete(place.rounded, sizes))
    largest = max(offset, most, 1)
    plan = _plan(program, places, spans, Scale(steps, largest), sizes, links)
    curve = _tape(tape, Scale(max(1, len(tape)), largest))
    ratio = f"{most / offset:.1f} times the workspace: " if offset else ""
    return (
        f'<p class="lead">What is held beside parameters, inputs and outputs{what}. Both charts have '
        "one scale.</p>"
        f'<div class="charts"><figure><figcaption><b>Static: {bytes_text(offset)} of workspace</b> '
        "<span>each bar is an array in its place, from the loop that writes it to the last that reads "
        f"it</span></figcaption>{svg(plan, f'plan of the workspace: {bytes_text(offset)}')}</figure>"
        f"<figure><figcaption><b>An eager tape: {bytes_text(most)} at most</b> <span>{ratio}values are "
        f"kept until their pullbacks have run, gradients until the update</span></figcaption>"
        f"{svg(curve, f'tape: at most {bytes_text(most)}')}</figure></div>"
    )


def _plan(
    program: Program, places: Sequence[tuple[int, Any]], spans: Mapping[Buffer, tuple[int, int]],
    scale: Scale, sizes: Mapping[Any, int], links: Links,
) -> list[str]:  # fmt: skip
    parts = y_axis(scale, bytes_text)
    #: what lies in an array: its own value, or those of the parts and views of it
    inside: dict[Buffer, list[Node]] = {}
    for buffer in program.buffers:
        if buffer.node is not None and buffer.node in links.values:
            inside.setdefault(buffer.memory, []).append(buffer.node)
    for offset, place in places:
        for buffer in place.buffers:
            amount = int(concrete(product(buffer.stored_shape), sizes)) * buffer.dtype.itemsize
            first, last = spans[buffer]
            times, span = (first, last + 1), (offset, offset + amount)
            parts.append(_bar(buffer.name, inside.get(buffer, []), times, span, scale, links))
    parts.append(text(LEFT, HEIGHT - 10, "loops and calls, in order →"))
    parts.append(text(WIDTH - RIGHT, HEIGHT - 10, f"{scale.largest_x:.0f}", "end"))
    return parts


def _bar(
    name: str, nodes: Sequence[Node], time: tuple[int, int], span: tuple[int, int], scale: Scale,
    links: Links,
) -> str:  # fmt: skip
    """An array in its place from its first item to its last, with its name where that fits."""
    x, y = scale.x(time[0]), scale.y(span[1])
    width, height = scale.x(time[1]) - x, scale.y(span[0]) - y
    lane = links.values[nodes[0]].lane if nodes else 0
    link = links.attribute(links.numbers(nodes))
    label = f"{name}: {bytes_text(span[1] - span[0])}, steps {time[0] + 1} to {time[1]}"
    bar = (
        f'<rect class="s{lane}" x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}"'
        f"{link}><title>{html.escape(label)}</title></rect>"
    )
    if height >= 12 and width >= 6.2 * len(name) + 8:
        bar += text(x + width / 2, y + height / 2 + 4, name, "middle", "name")
    return bar


def _tape(tape: Sequence[int], scale: Scale) -> list[str]:
    parts = y_axis(scale, bytes_text)
    points = []
    for number, amount in enumerate(tape):
        points += [(number, amount), (number + 1, amount)]
    path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in points)
    floor = f"{scale.x(0):.1f},{scale.y(0):.1f}"
    close = f"{scale.x(len(tape)):.1f},{scale.y(0):.1f}"
    parts.append(f'<polygon class="area eager" points="{floor} {path} {close}"/>')
    parts.append(f'<polyline class="curve eager" points="{path}"/>')
    parts.append(text(LEFT, HEIGHT - 10, "operations, in order →"))
    parts.append(text(WIDTH - RIGHT, HEIGHT - 10, str(len(tape)), "end"))
    return parts


# ---- the race -------------------------------------------------------------------------------------


def race_section(race: Race | str, what: str) -> str:
    """Cumulative time over steps, and where the lines cross; or why it was not measured."""
    if isinstance(race, str):
        return f'<p class="lead">Not measured: {html.escape(race)}.</p>'
    even = race.break_even
    source = "loaded from the cache" if race.from_cache else "compiled"
    verdict = f"from step {even:,.0f} on, static is ahead" if even else "static is not ahead"
    other = "eager" if race.trains else "op by op"
    words = "in eager mode" if race.trains else "op by op in NumPy"
    numbers = (
        f"{seconds_text(race.static)} a step compiled, {seconds_text(race.eager)} {words}, "
        f"{race.eager / race.static:.1f} times as long; {seconds_text(race.start)} until the first "
        f"step, derived, generated and {source}: {verdict}."
    )
    track = "".join(
        f'<div class="runner {name}"><span>{words}</span><div class="bar"><div></div></div>'
        f"<output>0</output></div>"
        for name, words in (("static", "static"), ("eager", other))
    )
    return (
        f'<p class="lead">{html.escape(numbers)} {html.escape(what)}</p>'
        '<div class="charts"><figure><figcaption><b>Cumulative time</b> '
        f"<span>compilation included</span></figcaption>{svg(_lines(race, other), numbers)}</figure>"
        f'<figure id="track" data-race="{race.static} {race.eager} {race.start}"><figcaption>'
        "<b>The race</b> <span>steps done while time goes by, in slow motion</span></figcaption>"
        f"{track}"
        '<div class="start"><button type="button">Start</button><output></output></div></figure></div>'
    )


def _lines(race: Race, other: str) -> list[str]:
    even = race.break_even
    steps = 2.2 * even if even else 1000.0
    scale = Scale(steps, max(race.start + steps * race.static, steps * race.eager))
    parts = y_axis(scale, seconds_text)
    for value in ticks(steps, 5):
        parts.append(text(scale.x(value), HEIGHT - BOTTOM + 16, f"{value:,.0f}", "middle"))
    parts.append(text(WIDTH - RIGHT, HEIGHT - 4, "steps", "end"))
    static = [(0.0, 0.0), (0.0, race.start), (steps, race.start + steps * race.static)]
    eager = [(0.0, 0.0), (steps, steps * race.eager)]
    for name, points in (("static", static), ("eager", eager)):
        path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="curve {name}" points="{path}"/>')
    x, y = scale.x(steps * 0.985), scale.y(static[2][1])
    parts.append(text(x, y + 18, "static", "end", "static-text"))
    x, y = scale.x(steps * 0.8), scale.y(steps * 0.8 * race.eager)
    parts.append(text(x - 6, y - 4, other, "end", "eager-text"))
    if even:
        x, y = scale.x(even), scale.y(even * race.eager)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{HEIGHT - BOTTOM}"'
        parts.append(
            f'<line class="mark" {ends}/><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        )
        parts.append(
            text(x + 9, HEIGHT - BOTTOM - 10, f"break-even: step {even:,.0f}", "start", "big")
        )
    return parts
