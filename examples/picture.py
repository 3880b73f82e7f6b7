"""Draws what is generated: a model on the left, its compiled step on the right, joined line by line.

    python examples/picture.py [picture.svg]

The picture in the README is made by this file.
"""

import re
import sys
from html import escape
from pathlib import Path

import numpy as np

import staticgrad as sg

# the model ----
x = sg.placeholder("x", ("batch", 20))
y = sg.placeholder("y", ("batch", 1))
W1 = sg.parameter(np.ones((20, 10), "float32"), name="W1")
b1 = sg.parameter(np.ones(10, "float32"), name="b1")
W2 = sg.parameter(np.ones((10, 1), "float32"), name="W2")
hidden = sg.tanh(x @ W1 + b1)
error = hidden @ W2 - y
loss = sg.mean(error**2)

parameters = [W1, b1, W2]
pairs = zip(parameters, sg.grad(loss, parameters), strict=True)
updates = {p: p - 0.1 * d for p, d in pairs}
step = sg.compile([x, y], loss, updates=updates)
# ---- the model

COLOURS = ["#d1495b", "#e08e0b", "#3a7d44", "#30638e", "#7b4ea3", "#8a6d3b"]
SIZE, LINE, MARGIN, RIGHT = 13, 19, 24, 650


def model_lines() -> list[tuple[int, str]]:
    """The numbered lines of the model in this file."""
    lines = list(enumerate(Path(__file__).read_text().splitlines(), 1))
    first = next(n for n, text in lines if text == "# the model ----")
    last = next(n for n, text in lines if text == "# ---- the model")
    return lines[first : last - 1]


def generated_blocks() -> list[list[tuple[str, int | None]]]:
    """The blocks of the generated body: their lines, comments with the model's line they cite."""
    body = step.source[step.source.index("    # ---- forward") :]
    cited = re.compile(rf"(  \[|, ){Path(__file__).name}:(\d+)\]$")
    blocks = []
    for block in body.rstrip().removesuffix("return 0").rstrip().split("\n\n"):
        lines: list[tuple[str, int | None]] = []
        for line in block.splitlines():
            text, citation = line.removeprefix("    "), cited.search(line)
            if citation:
                text = cited.sub("]" if citation[1] == ", " else "", text)
            lines.append((text, int(citation[2]) if citation else None))
        blocks.append(lines)
    return blocks


def draw() -> str:
    """The picture, as SVG."""
    blocks = generated_blocks()
    cited = sorted({number for block in blocks for _, number in block if number})
    colours: dict[int | None, str] = dict(zip(cited, COLOURS, strict=False))
    parts: list[str] = []
    places: dict[int, float] = {}

    def write(left: float, row: float, text: str, colour: str) -> None:
        parts.append(
            f'<text x="{left}" y="{row}" fill="{colour}" xml:space="preserve">{escape(text)}</text>'
        )

    top = 2 * MARGIN
    row = top + LINE
    write(MARGIN, MARGIN, "what you write", "#777")
    write(RIGHT, MARGIN, "what is compiled: one function, forward, backward and update", "#777")
    for number, text in model_lines():
        if number in colours:
            places[number] = row - SIZE / 3
        write(MARGIN, row, text, colours.get(number, "#333"))
        row += LINE
    row = top + LINE
    for block in blocks:
        number = next((number for _, number in block if number), None)
        if number:
            start, end = places[number], row + len(block) * LINE / 2 - LINE
            parts.append(
                f'<path d="M 590 {start} C 640 {start}, 600 {end}, {RIGHT - 14} {end}" fill="none" '
                f'stroke="{colours[number]}" stroke-opacity="0.55"/>'
                f'<rect x="{RIGHT - 14}" y="{row - SIZE}" width="3" '
                f'height="{len(block) * LINE - 4}" fill="{colours[number]}"/>'
            )
        for line, cites in block:
            write(RIGHT, row, line, colours.get(cites, "#222"))
            row += LINE
        row += LINE / 2
    height = round(row + MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1420 {height}" font-size="{SIZE}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace">\n'
        f'<rect width="1420" height="{height}" fill="#fdfdfb"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg")
target.write_text(draw())
print(f"wrote {target}")
