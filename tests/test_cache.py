"""The disk cache: a second process does not compile, and nothing that happens to it can do harm."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import staticgrad as sg
from staticgrad.runtime import cache

SCRIPT = """
import numpy as np
import staticgrad as sg

x = sg.placeholder("x", ("n", 3), "float64")
W = sg.parameter(np.arange(6.0).reshape(3, 2), name="W")
loss = sg.sum(sg.tanh(x @ W) + sg.exp(-x[:, :1]))
f = sg.compile(x, [loss, sg.grad(loss, W)], name="cached")
value, gradient = f(np.ones((4, 3)) / 7)
print(f.from_cache, f.path, value.hex(), gradient.tobytes().hex())
"""


def run(folder: Path, **variables: str) -> tuple[bool, Path, str]:
    environment = {**os.environ, "STATICGRAD_CACHE_DIR": str(folder), **variables}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    from_cache, path, *values = done.stdout.split()
    return from_cache == "True", Path(path), " ".join(values)


def test_a_second_process_does_not_compile(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path)
    assert (first[0], second[0]) == (False, True)
    assert first[1:] == second[1:]
    assert first[1].parent == tmp_path and first[1].read_text().startswith('"""cached: computes')
    # another setting of the compiler is another function
    assert not run(tmp_path, NUMBA_OPT="1")[0]


DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a flipped bit": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "something else": lambda data: b"not machine code",
    "another format": lambda data: data.replace(b"code 1", b"code 0", 1),
}


def test_damaged_files_are_compiled_again(tmp_path: Path) -> None:
    _, path, expected = run(tmp_path)
    code = path.with_suffix(".bin")
    good = code.read_bytes()
    for name, damage in DAMAGES.items():
        code.write_bytes(damage(good))
        path.write_text("raise RuntimeError('the module on disk is not what runs')\n")
        from_cache, _, values = run(tmp_path)
        assert not from_cache, name
        assert values == expected, name
        assert run(tmp_path)[0], name


def test_killed_compilation(tmp_path: Path) -> None:
    """What a killed process leaves: the module, and a temporary file."""
    _, path, expected = run(tmp_path)
    path.with_suffix(".bin").rename(tmp_path / f".{path.stem}-abc.tmp")
    from_cache, _, values = run(tmp_path)
    assert not from_cache and values == expected


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    first = run(blocked)
    assert not first[0] and first[1].parent != blocked
    assert first[2] == run(tmp_path / "fresh")[2]


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, parts: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("STATICGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "write_atomically", refuse)
    x = sg.placeholder("x", (3,), "float64")
    f = sg.compile(x, x * 2.7182, name="refused")
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 2.7182))
    assert not list(tmp_path.iterdir()) and f.path.read_text() == f.source


def test_concurrent_processes(tmp_path: Path) -> None:
    environment = {**os.environ, "STATICGRAD_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    outputs = [process.communicate()[0].split()[2:] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert all(output == outputs[0] for output in outputs)
    assert run(tmp_path)[0]
    assert not list(tmp_path.glob(".*"))


def test_list_and_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATICGRAD_CACHE_DIR", str(tmp_path))
    assert cache.cache_directory() == tmp_path
    assert cache.entries() == [] and cache.clear() == 0
    other = tmp_path / "notes.txt"
    other.write_text("not ours")
    x = sg.placeholder("x", (3,), "float64")
    f = sg.compile(x, x * 1.2345, name="listed")
    (entry,) = cache.entries()
    assert entry.path == f.path and entry.bytes > 1000
    assert cache.clear() == 1
    assert list(tmp_path.iterdir()) == [other]
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 1.2345))


def test_platform_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STATICGRAD_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.cache_directory() == tmp_path / "staticgrad"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.cache_directory() == Path.home() / "Library" / "Caches" / "staticgrad"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache.cache_directory() == tmp_path / "staticgrad"


@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_collected_after_compiling_as_before(before: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with cache.no_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is before
        with pytest.raises(ValueError, match="inside"), cache.no_collection():
            raise ValueError("inside")
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
