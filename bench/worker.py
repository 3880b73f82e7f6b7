"""A process for each library: what one library does to memory, threads and caches does not reach the
others, and one that crashes or never returns does not end the suite. They take turns, so that only
one of them works at a time. What they print is shown where STATICGRAD_BENCH_VERBOSE is set."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staticgrad.measure.allocations import Allocated

#: calls in a row whose losses are compared with float64
CHECKED_CALLS = 3
#: longest wait for a library to compile and give its first results
BUILD_SECONDS = 240.0
#: what a process gets to end in
GRACE_SECONDS = 10.0
#: what a library gets of the machine's memory
MEMORY_SHARE = 0.5


class Failure(Exception):
    """A library has not done what was asked; the message says why."""


class Worker:
    """A library in a process of its own."""

    def __init__(self, library: str) -> None:
        self.library = library
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(library, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, command: str, *arguments: Any, seconds: float = BUILD_SECONDS) -> Any:
        """The answer to a command. Raises Failure where there is none; the process has ended then, but
        for errors that the library itself raised."""
        try:
            self.connection.send((command, arguments))
            if not self.connection.poll(seconds):
                self.stop()
                raise Failure(f"no result within {seconds:.0f} s")
            well, answer = self.connection.recv()
        except (EOFError, OSError):
            self.stop()
            raise Failure(f"its process ended with code {self.process.exitcode}") from None
        if not well:
            raise Failure(answer)
        return answer

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def close(self) -> None:
        """Let the process end by itself, which tidies up after it."""
        self.connection.close()
        self.process.join(GRACE_SECONDS)
        if self.alive:
            self.stop()


class Crew:
    """Workers by library, started when first needed and again after a failure."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            if worker.alive:
                worker.close()

    def worker(self, library: str) -> Worker:
        """The library's process, which has compiled something before: what its first compilation costs
        once per process is not part of any workload's compile time."""
        found = self.workers.get(library)
        if found is None or not found.alive:
            found = self.workers[library] = Worker(library)
            found.ask("build", "warm_up")
        return found


# ---- inside the process -----------------------------------------------------------------------------


def serve(library: str, connection: Any) -> None:
    """Answer commands until the connection ends."""
    import warnings

    warnings.simplefilter("ignore")
    if not os.environ.get("STATICGRAD_BENCH_VERBOSE"):
        # what libraries print is no part of the results
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    limit_memory()
    bench = Bench(library)
    while True:
        try:
            command, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = True, getattr(bench, command)(*arguments)
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip().splitlines()
            answer = False, f"{type(error).__name__}: {text[0] if text else ''}"[:200]
        connection.send(answer)


def limit_memory() -> None:
    """A library that asks for more ends, and not the machine with it."""
    try:
        import resource

        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(whole * MEMORY_SHARE), hard))
    except (ImportError, OSError, ValueError):
        pass


class Bench:
    """The commands: what a worker can be asked for."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.action: Callable[[], Any] = lambda: None

    def build(self, name: str) -> dict[str, Any]:
        """Seconds from the declaration to the first result, the results, and what a limit is."""
        from . import libraries, workloads

        workload = workloads.named(name)
        self.action = lambda: None
        gc.enable()
        gc.collect()
        text = ""
        start = time.perf_counter()
        if self.library == "limit":
            assert workload.limit is not None
            text, self.action = workload.limit(workload)
        else:
            self.action = libraries.MAKERS[self.library](workload)
        results = self.action()
        seconds = time.perf_counter() - start
        if workload.optimizer and not workload.epoch and results is not None:
            results = [results, *(self.action() for _ in range(CHECKED_CALLS - 1))]
        return {"first": seconds, "results": results, "text": text}

    def repeat(self, count: int) -> float:
        """Seconds per call of so many in a row, after one that brings caches up to date."""
        from staticgrad.measure.timing import repeated

        return repeated(self.action, count)

    def allocated(self) -> Allocated | None:
        """Bytes per call, where they can be had."""
        from staticgrad.measure.allocations import per_call

        return per_call(self.library, self.action)

    def bandwidth(self) -> float:
        """Bytes per second of a triad over arrays that no cache holds."""
        from .limits.memory import bandwidth

        return bandwidth()
