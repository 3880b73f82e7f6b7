"""Breaking long assignments over several lines, as a formatter would."""

from __future__ import annotations

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
    if all(len(split(value, operators)) == 1 for operators in OPERATORS) and value.endswith(")"):
        # one call
        first, *rest = broken(value, depth, reserved=len(line) - len(margin + value))
        return [f"{margin}{target} {operator} {first.lstrip()}", *rest]
    inner = broken(value, depth + 1)
    return [f"{margin}{target} {operator} (", *inner, f"{margin})"]


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
    arguments = split(rest[opening + 1 : -1], (", ",))
    arguments = [argument.removeprefix(", ") for argument in arguments]
    comma = "," if len(arguments) > 1 else ""
    lines = [f"{margin}{operator}{rest[: opening + 1]}"]
    for argument in arguments:
        lines += broken(argument, depth + 1)
        lines[-1] += comma
    return [*lines, f"{margin})"]


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
    for position, character in enumerate(text):
        nesting += (character in "([") - (character in ")]")
        if nesting == 0 and position > 2 and any(text.startswith(o, position) for o in operators):
            pieces.append(text[start:position])
            start = position + 1 if operators != (", ",) else position
    pieces.append(text[start:])
    return pieces


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
    return [name, *(f"{INDENT}{argument}," for argument in arguments), "):"]


def clipped(line: str, source: str) -> str:
    """A comment that fits in a line: the formula, and the source where there is room."""
    if len(line) + len(source) < 92:
        return f"{line}  {source}"
    return line if len(line) < 94 else f"{line[:91]}..."
