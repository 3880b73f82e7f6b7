"""Generated modules and their machine code on disk, so that a second process need not compile.

Two files for each function lie in the cache folder: the Python module, to read, and the machine
code. Both are named after a key over everything that the machine code depends on: the generated
source, the helpers that it calls, argument types, the versions of Python, NumPy, Numba and LLVM, the
CPU and Numba's settings. A file is written beside its final place and then renamed, and the machine
code is checked against its digest when it is read: whatever happens to the folder, the worst that
can follow is that a function is compiled again.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import platform
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from staticgrad.codegen.sources import source_files

MAGIC = b"staticgrad machine code 1\n"
MODULE, CODE = ".py", ".bin"
#: how the names of Numba's run time for memory begin. It is compiled at its first use, which takes
#: longer than all else in loading machine code; what works on views alone does not refer to it
RUN_TIME = b"NRT_"


@dataclass(frozen=True)
class Loaded:
    """A function ready to be called.

    Attributes:
        dispatcher: Numba's dispatcher, compiled for one signature and closed to others.
        path: the generated module.
        from_cache: whether the machine code was read from disk.
        seconds: how long loading or compiling took.
    """

    dispatcher: Any
    path: Path
    from_cache: bool
    seconds: float


@dataclass(frozen=True)
class Entry:
    """A function in the cache folder: its generated module, and the bytes that it takes on disk."""

    path: Path
    bytes: int


_loaded: dict[str, Loaded] = {}
_lock = threading.Lock()
_folder: Path | None = None


def cache_directory() -> Path:
    """The folder of generated code: ``STATICGRAD_CACHE_DIR``, or the platform's cache folder."""
    if _folder is not None:
        return _folder
    chosen = os.environ.get("STATICGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "staticgrad"


@contextmanager
def empty() -> Iterator[None]:
    """Inside, functions are compiled as if none had been before, and what is compiled is kept for
    nobody: for measuring how long that takes. The helpers that they call, once compiled in a process,
    stay so."""
    global _folder
    with tempfile.TemporaryDirectory(prefix="staticgrad-") as folder:
        before, known = _folder, dict(_loaded)
        _folder = Path(folder)
        _loaded.clear()
        try:
            yield
        finally:
            _folder = before
            _loaded.clear()
            _loaded.update(known)


def load(source: str, name: str, entry: str, signature: tuple[Any, ...]) -> Loaded:
    """The function ``entry`` of a generated module, compiled for ``signature``: from this process,
    from disk, or afresh.

    Raises RuntimeError where Numba is switched off.
    """
    if config.DISABLE_JIT:
        raise RuntimeError(
            "staticgrad compiles with Numba, and NUMBA_DISABLE_JIT is set: unset it, or run the "
            "graph op by op with sg.evaluate"
        )
    start = time.perf_counter()
    key = content_key(source, signature)
    with _lock:
        known = _loaded.get(key)
        if known is not None:
            return Loaded(known.dispatcher, known.path, True, time.perf_counter() - start)
        stem = f"{name}_{key[:16]}"
        path = write_module(stem, source)
        module = execute(stem, source, path)
        dispatcher = getattr(module, entry)
        leave_out_wrappers(module, dispatcher)
        code = path.with_suffix(CODE)
        from_cache = restore(dispatcher, code, signature)
        if not from_cache:
            with no_collection():
                dispatcher.compile(signature)
            store(dispatcher, code, signature)
        # a call with other types is an error, not another compilation
        dispatcher.disable_compile()
        loaded = Loaded(dispatcher, path, from_cache, time.perf_counter() - start)
        _loaded[key] = loaded
        return loaded


@contextmanager
def no_collection() -> Iterator[None]:
    """Without looking for cycles of garbage, which takes a tenth of the time that compiling does: Numba
    makes many objects, and keeps most of them. One thread at a time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def content_key(source: str, signature: tuple[Any, ...]) -> str:
    """A digest of all that the machine code depends on."""
    settings = {
        name: getattr(config, name, None)
        for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")
    }
    parts = (
        source, helpers_digest(), signature, sys.version, platform.machine(), np.__version__,
        numba.__version__, llvmlite.__version__, cpu_target.target_context.codegen().magic_tuple(),
        settings,
    )  # fmt: skip
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


@cache
def helpers_digest() -> str:
    """A digest of the helpers that generated code calls, which are compiled into it."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_module(stem: str, source: str) -> Path:
    """Put the module where a person can read it: in the cache folder, or in one for this process
    where that cannot be written."""
    path = cache_directory() / f"{stem}{MODULE}"
    data = source.encode()
    try:
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, [data])
    except OSError:
        path = Path(scratch_folder().name) / f"{stem}{MODULE}"
        path.write_bytes(data)
    return path


@cache
def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="staticgrad-")


def execute(stem: str, source: str, path: Path) -> types.ModuleType:
    """Run the module. The source in memory counts, whatever the file holds by now."""
    module = types.ModuleType(f"staticgrad_generated.{stem}")
    module.__file__ = str(path)
    # machine code from disk refers to its module by name
    sys.modules[module.__name__] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def leave_out_wrappers(module: types.ModuleType, entry: Any) -> None:
    """Spare Numba what nobody calls: counting references, which views do without, entries for C, and
    entries for Python to all functions but one. Half of the time that compiling takes."""
    for value in vars(module).values():
        if isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__:
            value.targetoptions |= {"_nrt": False, "no_cfunc_wrapper": True}
            value.targetoptions["no_cpython_wrapper"] = value is not entry


def restore(dispatcher: Any, path: Path, signature: tuple[Any, ...]) -> bool:
    """Give the dispatcher its machine code from disk; False where there is none to be trusted."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    head, data = content[: len(MAGIC) + 32], content[len(MAGIC) + 32 :]
    if head != MAGIC + hashlib.sha256(data).digest():
        return False
    if RUN_TIME in data:
        rtsys.initialize(dispatcher.targetctx)
    try:
        result = CompileResult._rebuild(dispatcher.targetctx, *pickle.loads(data))
        if tuple(result.signature.args) != tuple(signature):
            return False
        dispatcher.add_overload(result)
    except Exception:
        # unpickling and linking raise many kinds of errors; each means no more than "compile again"
        return False
    return True


def store(dispatcher: Any, path: Path, signature: tuple[Any, ...]) -> None:
    """Keep the machine code for other processes, where the folder can be written."""
    result = dispatcher.overloads[tuple(signature)]
    data = dumps(result._reduce())
    try:
        write_atomically(path, [MAGIC, hashlib.sha256(data).digest(), data])
    except OSError:
        # a read-only or full folder costs a compilation in the next process, no more
        return


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that other processes see whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def entries() -> list[Entry]:
    """The functions in the cache folder, the newest first."""
    folder = cache_directory()
    if not folder.is_dir():
        return []
    modules = sorted(folder.glob(f"*{MODULE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [
        Entry(path, sum(p.stat().st_size for p in (path, path.with_suffix(CODE)) if p.exists()))
        for path in modules
    ]


def clear() -> int:
    """Delete all generated code from the cache folder; returns how many functions there were."""
    found = entries()
    folder = cache_directory()
    patterns = (f"*_{'[0-9a-f]' * 16}{MODULE}", f"*_{'[0-9a-f]' * 16}{CODE}", ".*.tmp")
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        path.unlink(missing_ok=True)
    return len(found)
