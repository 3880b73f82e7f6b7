"""What a check of gradients has found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class GradientError(AssertionError):
    """A gradient that finite differences contradict. ``report`` holds all that was found."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[type[GradientError], tuple[GradientReport]]:
        return GradientError, (self.report,)


@dataclass(frozen=True)
class Disagreement:
    """An element at which gradient and finite difference differ, or which has a kink.

    Attributes:
        variable: its name. position: the element; None for the slope along a random direction.
        analytic: what the gradient says. numeric: the finite difference; ``error``: of which.
        left, right: the derivatives of both sides, where it is a kink; infinite for a jump.
    """

    variable: str
    position: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    left: float | None = None
    right: float | None = None

    @property
    def relative(self) -> float:
        """The difference, relative to the larger of both."""
        larger = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / larger if larger else 0.0

    @property
    def label(self) -> str:
        """The element as it is written."""
        if self.position is None:
            return f"{self.variable} along a random direction"
        inner = ", ".join(map(str, self.position))
        return f"{self.variable}[{inner}]" if inner else self.variable


@dataclass
class VariableReport:
    """The findings about one variable: how many of its elements were checked, and how they came out.

    ``undecided`` are those whose finite difference is too inaccurate to contradict the gradient.
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    worst: float = 0.0
    undecided: list[Disagreement] = field(default_factory=list)
    kinks: list[Disagreement] = field(default_factory=list)
    wrong: list[Disagreement] = field(default_factory=list)


@dataclass(repr=False)
class GradientReport:
    """The result of ``check_grad``; true if no gradient was contradicted.

    Attributes:
        function: its name. order: of the derivatives. tolerance: the relative difference allowed.
        variables: a report for each.
    """

    function: str
    order: int
    tolerance: float
    variables: list[VariableReport]

    @property
    def wrong(self) -> list[Disagreement]:
        """All contradictions, the largest first."""
        found = [item for variable in self.variables for item in variable.wrong]
        return sorted(found, key=lambda item: -item.relative)

    def __bool__(self) -> bool:
        return not self.wrong

    def __repr__(self) -> str:
        what = "second derivative" if self.order == 2 else "gradient"
        wrong = self.wrong
        lines = [f"{self.function}: the {what} agrees with finite differences"]
        if wrong:
            first = wrong[0]
            lines = [
                f"{self.function}: the {what} with respect to {first.label} is wrong",
                f"  {what:<18}{first.analytic:.12g}",
                f"  {'finite difference':<18}{first.numeric:.12g}  (+- {first.error:.1g})",
                f"  {'difference':<18}{first.relative:.2g} of it; allowed are {self.tolerance:.2g}",
            ]
            if first.left is not None and first.right is not None:
                lines.append(f"  this is a kink: {sides(first)}")
        for variable in self.variables:
            lines.append(f"  {self._line(variable)}")
            lines += [f"    {item.label}: {sides(item)}" for item in variable.kinks[:3]]
            if len(variable.kinks) > 3:
                lines.append(f"    and {len(variable.kinks) - 3} more kinks")
        return "\n".join(lines)

    def _line(self, variable: VariableReport) -> str:
        size = int(np.prod(variable.shape))
        shape = f"({', '.join(map(str, variable.shape))}{',' if len(variable.shape) == 1 else ''})"
        some = f"all {size}" if variable.checked >= size else f"{variable.checked} of {size}"
        text = f"{variable.name} {shape}: {some} elements"
        if variable.wrong:
            text += f", {len(variable.wrong)} wrong"
        text += f", largest difference {variable.worst:.1g}"
        if variable.undecided:
            text += f"; {len(variable.undecided)} not decided, finite differences are too inaccurate"
        if variable.kinks:
            text += f"; {len(variable.kinks)} at kinks"
        return text


def sides(item: Disagreement) -> str:
    """A kink in words."""
    if item.right == np.inf:
        return f"the function jumps, its gradient is {item.analytic:.6g}"
    return (
        f"slope {item.left:.6g} on the left, {item.right:.6g} on the right, "
        f"its gradient is {item.analytic:.6g}"
    )


__all__ = ["Disagreement", "GradientError", "GradientReport", "VariableReport"]
