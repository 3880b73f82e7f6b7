"""The benchmark suite: its limits compute what they should, and it runs from end to end."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import libraries, workloads
from bench.report import Check, duration, number, table
from bench.suite import Result, Timing, break_even, difference
from bench.worker import Crew, Failure

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "simple_net",
        "black_scholes",
        "poisson",
        "eight_schools",
        "radon",
        "rosenbrock_10",
        "mixture_1000",
        "heat",
    ],
)
def test_limits_by_hand_compute_what_the_workload_does(name: str) -> None:
    workload = workloads.named(name)
    assert workload.limit is not None
    text, action = workload.limit(workload)
    results = action()
    if workload.optimizer:
        results = [results, action(), action()]
    assert "by hand" in text
    assert not difference(workload, name, results, libraries.reference(workload, 3))


def test_staticgrad_computes_what_the_limit_does() -> None:
    workload = workloads.named("rosenbrock_10")
    assert workload.limit is not None
    _, limit = workload.limit(workload)
    for ours, by_hand in zip(libraries.staticgrad(workload)(), limit(), strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=1e-12)


def test_break_even() -> None:
    assert break_even(1.0, 3e-3, 1e-3) == 500
    assert break_even(1.0, 3.1e-3, 1e-3) == 477
    assert break_even(-0.1, 3e-3, 1e-3) == 0
    assert math.isinf(break_even(1.0, 1e-3, 1e-3))


def test_results_know_their_ratios() -> None:
    result = Result("w", "a workload", (3.0, 2.0, 1.3))
    result.timings = {"staticgrad": Timing.of([1e-3]), "PyTorch eager": Timing.of([3e-3, 5e-3, 4e-3]),
                      "JAX jit": Timing.of([2e-3]), "PyTensor": Timing.of([1.5e-3])}  # fmt: skip
    result.first = {"staticgrad": 0.301}
    assert result.faster_than("PyTorch eager") == pytest.approx(4)
    assert result.timings["PyTorch eager"].high == pytest.approx(4.5e-3)
    assert result.best_compiler() == "PyTensor"
    assert result.break_even("PyTorch eager") == 100
    assert result.break_even("torch.compile") is None


def test_checks_say_by_how_much_a_bar_is_missed() -> None:
    assert Check("", "", 2.0, 1.5, least=True).verdict == "reached"
    assert Check("", "", 1.5, 1.2, least=False).verdict == "missed by 25 %"
    assert Check("", "", 1.2, 1.5, least=True).verdict == "missed by 25 %"


def test_numbers_in_tables() -> None:
    assert [number(v) for v in (0.0, 0.01234, 1.5, 12.34, 1234.5)] == [
        "0", "0.0123", "1.50", "12.3", "1,234"
    ]  # fmt: skip
    assert [duration(v) for v in (2.5, 2.5e-3, 2.5e-6, 2.5e-8)] == [
        "2.50 s", "2.50 ms", "2.50 µs", "25.0 ns"
    ]  # fmt: skip
    lines = ["| a   |   b |", "| --- | --: |", "| x   |   1 |"]
    assert table(["a", "b"], [["x", "1"]]) == "\n".join(lines)


def test_wrong_numbers_are_found() -> None:
    workload = workloads.named("rosenbrock_10")
    right = libraries.reference(workload, 1)
    assert not difference(workload, "staticgrad", right, right)
    assert "off by" in difference(workload, "staticgrad", [right[0] * 1.001, right[1]], right)
    assert "off by" in difference(workload, "staticgrad", [np.float64("nan"), right[1]], right)
    assert "results" in difference(workload, "staticgrad", right[:1], right)


def test_a_library_that_fails_says_why() -> None:
    with Crew() as crew:
        worker = crew.worker("staticgrad eager")
        with pytest.raises(Failure, match="KeyError"):
            worker.ask("build", "no such workload")
        assert worker.alive
        worker.process.kill()
        worker.process.join()
        with pytest.raises(Failure, match="ended"):
            worker.ask("once")
        assert crew.worker("staticgrad eager") is not worker


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_profiles() -> None:
    shown = bench("--profile", "eight_schools")
    assert shown.returncode == 0 and "per call" in shown.stdout and "d_theta" in shown.stdout
    refused = bench("--profile", "epoch")
    assert refused.returncode == 1 and "many steps" in refused.stderr


def test_a_short_run_from_end_to_end(tmp_path: Path) -> None:
    done = bench("--workloads", "simple_net", "--libraries", "staticgrad,staticgrad eager", "--quick",
                 "--output", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| simple_net |" in done.stdout and "above the limit" in done.stdout
    # nothing but a line per workload where standard error is no terminal
    assert done.stderr.startswith("simple_net: ") and len(done.stderr.splitlines()) == 1
    figures = json.loads((tmp_path / "RESULTS.json").read_text())
    (result,) = figures["results"]
    assert set(result["timings"]) == {"staticgrad", "staticgrad eager", "limit"}
    timing = result["timings"]["staticgrad"]
    assert 0 < timing["low"] <= timing["median"] <= timing["high"]
    assert result["allocated"]["staticgrad"]["peak"] < 10_000
    text = (tmp_path / "RESULTS.md").read_text()
    for part in ("## Bars", "## When compiling has paid", "1 thread;", "numba"):
        assert part in text


def test_command_line() -> None:
    done = bench("--help")
    assert done.returncode == 0
    for option in ("--workloads", "--libraries", "--threads", "--rounds", "--output", "--quick"):
        assert option in done.stdout
    done = bench("--workloads", "unheard_of")
    assert done.returncode == 2 and "no unheard_of; there are simple_net" in done.stderr


def test_staticgrad_bench_passes_its_arguments_on() -> None:
    command = [sys.executable, "-m", "staticgrad", "bench", "--list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in workloads.WORKLOADS)
