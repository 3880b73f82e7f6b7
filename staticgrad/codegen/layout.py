"""Breaking long assignments over several lines, as a formatter would."""

from __future__ import annotations

import textwrap

WIDTH = 100
INDENT = "    "
#: from the loosest, each set of operators at which a long expression is broken
OPERATORS = (
    (" if ", " else "),
    (" or ", " and "),
    (" < ", " <= ", " > ", " >= ", " == ", " != "),
    (" + ", " - "),
    (" * ", " / ", " // ", " % "),
)


def assignment(target: str, operator: str, value: str, depth: int) -> list[str]:
    """The lines of ``target operator value`` at a depth of indentation."""
    margin = INDENT * depth
    line = f"{margin}{target} {operator} {value}"
    if len(line) <= WIDTH:
        return [line]
    found = [p for operators in OPERATORS if len(p := split(value, operators)) > 1]
    if not found and value.endswith(")"):
        # one call
        first, *rest = broken(value, depth, reserved=len(line) - len(margin + value))
        return [f"{margin}{target} {operator} {first.lstrip()}", *rest]
    first = f"{margin}{target} {operator} ("
    # an element of an array, say, is in one piece
    pieces = found[0] if found else [value]
    if len(pieces) == 2 and pieces[1].endswith(")"):
        opening = last_opening(pieces[1])
        head = f"{margin}{target} {operator} {pieces[0]} {pieces[1][: opening + 1]}"
        if len(head) <= WIDTH:
            # the call at the end opens brackets too
            return [head, *_inside(pieces[1], opening, depth + 1), f"{margin})"]
    opened = pieces[0].startswith("(") and closing(pieces[0], 0) == len(pieces[0]) - 1
    if len(pieces) == 2 and opened and len(f"{margin}) {pieces[1]}") <= WIDTH:
        # the brackets that are there will do
        return [first, *broken(pieces[0][1:-1], depth + 1), f"{margin}) {pieces[1]}"]
    return [first, *broken(value, depth + 1), f"{margin})"]


def broken(text: str, depth: int, reserved: int = 0) -> list[str]:
    """An expression in lines that fit, broken at its loosest operators, or at a call's arguments.

    ``reserved`` is the room taken on the first line by what stands before the expression.
    """
    margin = INDENT * depth
    if len(margin + text) + reserved <= WIDTH:
        return [margin + text]
    for operators in OPERATORS:
        pieces = split(text, operators)
        if len(pieces) > 1:
            return [line for piece in pieces for line in broken(piece, depth)]
    operator, rest = leading_operator(text)
    opening = rest.find("(")
    if opening < 0 or closing(rest, opening) != len(rest) - 1:
        return [margin + text]
    head = f"{margin}{operator}{rest[: opening + 1]}"
    return [head, *_inside(rest, opening, depth + 1), f"{margin})"]


def _inside(text: str, opening: int, depth: int) -> list[str]:
    """The lines between the bracket of ``text`` that opens at ``opening`` and the last one."""
    inside = text[opening + 1 : -1]
    if not text[:opening] or not (text[opening - 1].isalnum() or text[opening - 1] == "_"):
        items = split(inside, (", ",))
        if len(items) == 1:
            # brackets around an expression, where a comma would make a tuple
            return broken(inside, depth)
    return _indented([argument.removeprefix(", ") for argument in split(inside, (", ",))], depth)


def _indented(arguments: list[str], depth: int) -> list[str]:
    """Arguments in one line where they fit, or below each other."""
    line = INDENT * depth + ", ".join(arguments)
    if len(line) <= WIDTH:
        return [line]
    lines: list[str] = []
    for argument in arguments:
        lines += broken(argument, depth)
        lines[-1] += ","
    return lines


def leading_operator(text: str) -> tuple[str, str]:
    """A continuation line starts with its operator."""
    head, space, rest = text.partition(" ")
    if space and not any(character.isalnum() or character in "(_" for character in head):
        return f"{head} ", rest
    return "", text


def split(text: str, operators: tuple[str, ...]) -> list[str]:
    """The pieces of a text at operators outside of brackets; each but the first starts with its
    operator."""
    pieces, start, nesting = [], 0, 0
    # what stands at the beginning is a sign, or the operator of a continuation line
    least = 0 if operators == (", ",) else 2
    for position, character in enumerate(text):
        nesting += (character in "([") - (character in ")]")
        if nesting == 0 and position > least and any(text.startswith(o, position) for o in operators):
            pieces.append(text[start:position])
            start = position + 1 if operators != (", ",) else position
    pieces.append(text[start:])
    return pieces


def last_opening(text: str) -> int:
    """Where the bracket opens that closes at the end of a text."""
    nesting = 0
    for position in range(len(text) - 1, -1, -1):
        nesting += (text[position] in ")]") - (text[position] in "([")
        if nesting == 0:
            return position
    raise ValueError(f"unbalanced brackets: {text}")


def closing(text: str, opening: int) -> int:
    """Where the bracket that opens at ``opening`` closes."""
    nesting = 0
    for position in range(opening, len(text)):
        nesting += (text[position] in "([") - (text[position] in ")]")
        if nesting == 0:
            return position
    return len(text)


def broken_signature(text: str) -> list[str]:
    """The line of a definition, or its arguments below each other where it is too long."""
    if len(text) <= WIDTH:
        return [text]
    name, arguments = text[: text.index("(") + 1], text[text.index("(") + 1 : -2].split(", ")
    return [name, *_indented(arguments, 1), "):"]


def comment(target: str, formula: str, source: str, depth: int) -> list[str]:
    """The lines of a comment that says what ``target`` is, and where that comes from."""
    width = WIDTH - len(INDENT) * depth
    line = f"# {target} = {formula}"
    if len(line) > width:
        first, *rest = textwrap.wrap(line[2:], width - len("#     "), break_long_words=False)
        lines = [f"# {first}", *(f"#     {piece}" for piece in rest)]
    else:
        lines = [line]
    if not source:
        return lines
    if len(lines[-1]) + 2 + len(source) <= width:
        return [*lines[:-1], f"{lines[-1]}  {source}"]
    return [*lines, f"#     {source}"]
