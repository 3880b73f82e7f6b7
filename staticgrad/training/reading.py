"""What a training step shows of the compiled function that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staticgrad.codegen.memory import MemoryTimeline
    from staticgrad.codegen.passes import Passes, Stage


class ReadsFunction:
    """Mixin for what has a compiled ``function``: its code and what is known of it."""

    function: Any

    @property
    def source(self) -> str:
        """The generated Python module."""
        return self.function.source

    @property
    def path(self) -> Path:
        """Where the generated module lies."""
        return self.function.path

    @property
    def compile_seconds(self) -> float:
        """How long loading or compiling took."""
        return self.function.compile_seconds

    @property
    def from_cache(self) -> bool:
        """Whether the machine code came from the cache."""
        return self.function.from_cache

    @property
    def passes(self) -> Passes:
        """What each pass of the compiler did; see ``CompiledFunction.passes``."""
        return self.function.passes

    def stages(self) -> list[Stage]:
        """The graph, and then the program, after each pass, each with its report and as text."""
        return self.function.stages()

    def workspace_bytes(self, **sizes: int) -> int:
        """Bytes of workspace for given sizes of the named dimensions, as ``batch=64``."""
        return self.function.workspace_bytes(**sizes)

    def memory_timeline(self, **sizes: int) -> MemoryTimeline:
        """What is in memory over the course of a step; see ``CompiledFunction.memory_timeline``."""
        return self.function.memory_timeline(**sizes)

    def export(self, path: str | Path) -> Path:
        """Write one Python file that does the step with NumPy, Numba and SciPy alone."""
        return self.function.export(path)

    def _repr_html_(self) -> str | None:
        """What Jupyter shows of the compiled function, where it is one."""
        shown = getattr(self.function, "_repr_html_", None)
        return shown() if shown is not None else None
