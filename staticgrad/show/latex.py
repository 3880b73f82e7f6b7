"""LaTeX: formulas for papers, notebooks and slides. Needs amsmath."""

from __future__ import annotations

from collections.abc import Sequence

from staticgrad.graph.expression import Expression
from staticgrad.graph.node import Node
from staticgrad.show.notation import GREEK, Notation
from staticgrad.show.trees import lines_of

SIGNS = {
    " ": r"\,", "−": "-", "×": r"\times ", "⊙": r" \odot ", "∂": r"\partial ", "∞": r"\infty ",
    "≤": r" \leq ", "≥": r" \geq ", "≠": r" \neq ", "=": " = ", "<": " < ", ">": " > ", "+": " + ",
    "∧": r" \wedge ", "∨": r" \vee ", "¬": r"\neg ", "mod": r" \bmod ", "⊤": r"\top", ",": r",\, ",
    ":": ":", ";": r";\, ", "∑": r"\sum", "∏": r"\prod", "∗": " * ", "⋆": r" \star ",
}  # fmt: skip
FENCES = {"⌊": r"\lfloor", "⌋": r"\rfloor", "‖": r"\Vert", "|": r"\vert"}
#: functions that LaTeX has commands for
FUNCTIONS = frozenset("exp log sin cos tan sinh cosh tanh max min".split())
#: what makes parentheses grow
TALL = (r"\frac", r"\sum", r"\prod", r"\begin", r"\sqrt", "^", "*")
SPECIAL = {"\\": r"\backslash ", "^": r"\hat{}", "~": r"\sim "}
COMMANDS = {"acos": r"\arccos", "asin": r"\arcsin", "atan": r"\arctan"}


class LatexWriter(Notation):
    def row(self, *parts: str) -> str:
        return "".join(parts)

    def letter(self, text: str, bold: bool) -> str:
        letter = f"\\{text}" if text in GREEK else escape(text)
        if not bold:
            return f"{letter} " if text in GREEK else letter
        return rf"\boldsymbol{{{letter}}}" if text in GREEK else rf"\mathbf{{{letter}}}"

    def word(self, text: str) -> str:
        return rf"\mathrm{{{escape(text)}}}"

    def function(self, name: str) -> str:
        if name in FUNCTIONS:
            return f"\\{name}"
        if name in COMMANDS:
            return COMMANDS[name]
        if name in GREEK:
            return f"\\{name}"
        return rf"\operatorname{{{escape(name.replace('_', ' ')).replace(' ', SIGNS[' '])}}}"

    def digits(self, text: str) -> str:
        return escape(text)

    def sign(self, text: str) -> str:
        return SIGNS[text]

    def sub(self, base: str, below: str) -> str:
        return f"{{{base}}}_{{{below}}}"

    def sup(self, base: str, above: str) -> str:
        return f"{{{base}}}^{{{above}}}"

    def under(self, base: str, below: str) -> str:
        if base.startswith(r"\operatorname{"):
            base = base.replace(r"\operatorname{", r"\operatorname*{", 1)
        return f"{base}_{{{below}}}"

    def over(self, base: str, mark: str = "‾") -> str:
        return rf"\{'hat' if mark == '^' else 'overline'}{{{base}}}"

    def fraction(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def root(self, inner: str) -> str:
        return rf"\sqrt{{{inner}}}"

    def fence(self, left: str, inner: str, right: str) -> str:
        opening, closing = FENCES.get(left, left), FENCES.get(right, right)
        if left == "(" and not any(mark in inner for mark in TALL):
            return f"({inner})"
        return rf"\left{opening} {inner} \right{closing} "

    def cases(self, rows: Sequence[tuple[str, str]]) -> str:
        inner = r" \\ ".join(f"{value} & {condition}" for value, condition in rows)
        return rf"\begin{{cases}} {inner} \end{{cases}}"

    def linked(self, name: str, text: str) -> str:
        return text


def escape(text: str) -> str:
    """A text, its special characters escaped."""
    return "".join(rf"\{c}" if c in "_#$%&{}" else SPECIAL.get(c, c) for c in text)


_WRITER = LatexWriter()


def latex(expression: Expression) -> str:
    """An expression in LaTeX."""
    return " ".join(_WRITER.write(expression).split())


def latex_of(node: Node) -> str:
    """A node in LaTeX: one formula, or aligned equations where parts have names of their own."""
    *lines, last = lines_of([node])
    left = latex(last.left) if node.name is not None or last.left.variable is not None else ""
    if not lines:
        if last.left == last.right:
            return left
        return f"{left} = {latex(last.right)}" if left else latex(last.right)
    rows = [f"{left} &= {latex(last.right)}" if left else f"& {latex(last.right)}"]
    rows += [f"{latex(line.left)} &= {latex(line.right)}" for line in lines]
    # fractions in one line after the other would touch
    body = " \\\\[4pt]\n".join(rows)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
