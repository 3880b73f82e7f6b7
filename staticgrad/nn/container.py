"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from staticgrad.graph.node import described
from staticgrad.nn.module import Module


def _checked(owner: Module, name: str, module: Any) -> Module:
    """A module for a container; TypeError for anything else, with what may have been meant."""
    if isinstance(module, Module):
        return module
    holder = type(owner).__name__
    hint = ""
    if isinstance(module, type) and issubclass(module, Module):
        hint = f": make one, {module.__name__}(...)"
    elif isinstance(module, (list, tuple)):
        hint = f": pass modules one by one, {holder}(*modules), or by name in a dictionary"
    elif callable(module):
        hint = ": a function goes into the forward of a module of your own; activations are modules too"
    raise TypeError(f"{holder} holds modules, got {described(module)} at {name!r}{hint}")


class _Ordered(Module):
    """Modules under the names "0", "1", ..."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> _Ordered: ...
    def __getitem__(self, index: Any) -> Any:
        modules = list(self._modules.values())
        if isinstance(index, slice):
            return self._like(modules[index])
        return modules[index]

    def _like(self, modules: list[Module]) -> _Ordered:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[index]
        setattr(self, name, _checked(self, name, module))

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the container."""
        name = str(len(self))
        setattr(self, name, _checked(self, name, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Ordered):
    """Modules applied one after the other: ``Sequential(Linear(20, 10), ReLU())``, or a dictionary of
    them by name."""

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                setattr(self, name, _checked(self, name, module))
        else:
            self.extend(modules)  # type: ignore[arg-type]

    def _like(self, modules: list[Module]) -> Sequential:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        """The modules applied to ``x`` in order."""
        for module in self:
            x = module(x)
        return x


class ModuleList(_Ordered):
    """A list of modules, whose parameters count as the owner's."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        if isinstance(modules, Module):
            raise TypeError(f"ModuleList takes a list of modules, got {described(modules)}")
        self.extend(modules)

    def _like(self, modules: list[Module]) -> ModuleList:
        return ModuleList(modules)


class ModuleDict(Module):
    """A dictionary of modules, whose parameters count as the owner's."""

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.update({key: module})

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def items(self) -> Any:
        """Pairs of name and module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name, of a mapping or of pairs.

        Raises ValueError for a name with a dot, TypeError for what is no module.
        """
        for name, module in dict(modules).items():
            if not isinstance(name, str) or "." in name:
                raise ValueError(f"a module's name is a string without dots, got {name!r}")
            self._modules[name] = _checked(self, name, module)


__all__ = ["ModuleDict", "ModuleList", "Sequential"]
