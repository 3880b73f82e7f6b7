"""MathML: formulas for web pages, without a library on the page.

Every name carries ``data-name``, the Python identifier that the value has in print and in generated
code, so that a page can link what belongs together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from staticgrad.graph.expression import Expression
from staticgrad.graph.node import Node
from staticgrad.show.latex import latex
from staticgrad.show.notation import Notation
from staticgrad.show.plain import plain
from staticgrad.show.trees import Line, expression_of, lines_of

GREEK_LETTERS = {
    name: letter
    for names, letters in (
        (
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi",
            "αβγδεζηθικλμνξ",
        ),
        ("pi rho sigma tau upsilon phi chi psi omega", "πρστυφχψω"),
        ("Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega", "ΓΔΘΛΞΠΣΥΦΨΩ"),
    )
    for name, letter in zip(names.split(), letters, strict=True)
}


class MathmlWriter(Notation):
    """Presentation MathML Core, which browsers draw."""

    def row(self, *parts: str) -> str:
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def letter(self, text: str, bold: bool) -> str:
        character = GREEK_LETTERS.get(text, text)
        if not bold:
            return f"<mi>{escape(character)}</mi>"
        # MathML Core has no bold variant: the characters themselves are bold
        return f'<mi mathvariant="normal">{escape(_bold(character))}</mi>'

    def word(self, text: str) -> str:
        return f'<mi mathvariant="normal">{escape(text)}</mi>'

    def function(self, name: str) -> str:
        if name in GREEK_LETTERS:
            return self.letter(name, False)
        return f'<mi mathvariant="normal">{escape(name.replace("_", " "))}</mi>'

    def digits(self, text: str) -> str:
        return f"<mn>{escape(text)}</mn>"

    def sign(self, text: str) -> str:
        if text == "∂":
            return "<mi>∂</mi>"
        if text == " ":
            return '<mspace width="0.17em"/>'
        return f"<mo>{escape(text)}</mo>"

    def sub(self, base: str, below: str) -> str:
        return f"<msub>{self.row(base)}{self.row(below)}</msub>"

    def sup(self, base: str, above: str) -> str:
        return f"<msup>{self.row(base)}{self.row(above)}</msup>"

    def under(self, base: str, below: str) -> str:
        return f"<munder>{self.row(base)}{self.row(below)}</munder>"

    def over(self, base: str, mark: str = "‾") -> str:
        return f'<mover accent="true">{self.row(base)}<mo>{mark}</mo></mover>'

    def fraction(self, above: str, below: str) -> str:
        return f"<mfrac>{self.row(above)}{self.row(below)}</mfrac>"

    def root(self, inner: str) -> str:
        return f"<msqrt>{inner}</msqrt>"

    def fence(self, left: str, inner: str, right: str) -> str:
        opening, closing = (f'<mo fence="true" form="{form}">{sign}</mo>' for form, sign in (
            ("prefix", left), ("postfix", right)))  # fmt: skip
        return f"<mrow>{opening}{inner}{closing}</mrow>"

    def cases(self, rows: Sequence[tuple[str, str]]) -> str:
        cells = "".join(f"<mtr><mtd>{a}</mtd><mtd>{b}</mtd></mtr>" for a, b in rows)
        table = f'<mtable columnalign="left">{cells}</mtable>'
        return f'<mrow><mo fence="true" form="prefix">{{</mo>{table}</mrow>'

    def linked(self, name: str, text: str) -> str:
        return f'<mrow class="sg-name" data-name="{escape(name)}">{text}</mrow>'


def _bold(character: str) -> str:
    """A letter from Unicode's mathematical alphabet, bold and upright."""
    for first, last, start in (("A", "Z", 0x1D400), ("a", "z", 0x1D41A), ("Α", "Ω", 0x1D6A8),
                               ("α", "ω", 0x1D6C2)):  # fmt: skip
        if first <= character <= last:
            return chr(start + ord(character) - ord(first))
    return character


_WRITER = MathmlWriter()


def mathml(expression: Expression) -> str:
    """An expression as MathML, without the ``<math>`` element around it."""
    return _WRITER.write(expression)


def expression(node: Node, names: Mapping[Node, str]) -> str:
    """What ``node`` computes as MathML, without the ``<math>`` element around it.

    ``names`` holds the nodes that stand by their names, Python identifiers, and are not written out.
    """
    return mathml(expression_of(node, names))


@dataclass(frozen=True)
class Equation:
    """A line of a derivation: what ``node`` computes, under the name ``name``."""

    line: Line

    @property
    def node(self) -> Node:
        """The node, of the tidied graph: constants folded, products by one left out."""
        return self.line.node

    @property
    def name(self) -> str:
        return self.line.left.name

    @property
    def is_named(self) -> bool:
        """Whether the name is the user's, or that of a derivative, and not made for the occasion."""
        return bool(self.line.left.label) or self.line.left.variable is not None

    @property
    def sides(self) -> tuple[str, str]:
        """Both sides in MathML, without the ``<math>`` element around them."""
        return mathml(self.line.left), mathml(self.line.right)

    @property
    def mathml(self) -> str:
        """A ``<math>`` element, to be displayed as a block."""
        inner = "<mo>=</mo>".join(self.sides)
        return f'<math display="block"><mrow>{inner}</mrow></math>'

    @property
    def text(self) -> str:
        return f"{self.name} = {plain(self.line.right)}"

    @property
    def latex(self) -> str:
        return f"{latex(self.line.left)} = {latex(self.line.right)}"


def equations(roots: Sequence[Node]) -> list[Equation]:
    """What ``roots`` compute, line by line: what they share has a line of its own, before them."""
    return [Equation(line) for line in lines_of(roots)]
