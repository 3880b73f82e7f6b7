"""What is told of each pass, stages as text, and what must hold of programs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from random_graphs import random_graph

import staticgrad as sg
from staticgrad import optim
from staticgrad.codegen.compiler import LOOP_PASSES, STAGES, generate, programs
from staticgrad.codegen.listing import program_text
from staticgrad.codegen.passes import Passes, reports, short, stages
from staticgrad.codegen.program import Loop, Program, Statement, statements
from staticgrad.codegen.stages import primal_part
from staticgrad.codegen.verify import verify_program
from staticgrad.graph.dims import dimension
from staticgrad.rewrite.graph import Graph
from staticgrad.rewrite.pipeline import GRAPH_PASSES

RNG = np.random.default_rng(0)
b: Any = dimension("batch")


def model() -> tuple[list[Any], Any, list[Any]]:
    x, y = sg.placeholder("x", ("batch", 64)), sg.placeholder("y", ("batch",), "int64")
    w = sg.parameter(RNG.normal(size=(64, 32)).astype("float32"), name="w")
    v = sg.parameter(RNG.normal(size=(32, 10)).astype("float32"), name="v")
    hidden = sg.tanh(x @ w)
    loss = sg.cross_entropy(hidden @ v, y).named("loss")
    return [x, y], loss, [w, v]


def declared() -> Graph:
    inputs, loss, weights = model()
    gradients = sg.grad(loss, weights)
    return Graph(tuple(inputs), (loss,), tuple(
        (w, w - 0.1 * g) for w, g in zip(weights, gradients, strict=True)
    ))  # fmt: skip


@pytest.fixture(scope="module")
def generated() -> Any:
    return generate(declared(), "step")


def test_every_pass_is_there_in_order(generated: Any) -> None:
    passes = reports(generated)
    names = [step.__name__ for step in GRAPH_PASSES]
    loops = [step.__name__ for step in LOOP_PASSES]
    assert [report.name for report in passes] == [
        "declared", "derived", *names, "schedule", *loops, "emit",
    ]  # fmt: skip
    assert set(STAGES) == {report.name for report in passes}
    assert all(report.description.endswith(".") for report in passes)
    assert all(report.seconds >= 0 for report in passes)
    assert passes["fuse"].name == "fuse" and passes[0].name == "declared"
    assert [report.name for report in passes[:2]] == ["declared", "derived"]
    with pytest.raises(KeyError, match="step has no pass 'fusion'; there are declared, derived"):
        passes["fusion"]


def test_counts_by_hand(generated: Any) -> None:
    passes = reports(generated)
    forward = 2 * b * (64 * 32 + 32 * 10)
    # the gradients of both weights, and of the hidden layer
    products = forward + 2 * b * (64 * 32 + 2 * 32 * 10)
    tanh = 12 * 32 * b
    rest = passes["declared"].flops - forward - tanh
    # the loss: an exp and a handful of operations for each of 10 logits, a log for each row
    assert 10 * 10 < (rest / b).subs(b, 10**6) < 10 * 10 + 10 * 10
    for name in ("derived", "simplify", "schedule", "emit"):
        rest = passes[name].flops - products - tanh - 2 * (64 * 32 + 32 * 10)
        assert 0 < rest.subs(b, 1) < 32 * 5 + 10 * 40
    # five products; labels in range, tanh, the loss and its adjoint, tanh's adjoint; two updates
    assert passes["fuse"].kernels == 5 + 4 + 2
    assert passes["declared"].nodes < passes["derived"].nodes


def test_passes_never_add_to_what_they_save(generated: Any) -> None:
    passes = reports(generated).at(batch=64)
    by_name = {report.name: report for report in passes}
    first = next(r for r in passes if r.name == "merge_common_subexpressions")
    assert by_name["derived"].nodes - first.nodes > 0
    loops = [report for report in passes if report.name in STAGES[STAGES.index("schedule") :]]
    for before, after in pairwise(loops):
        assert after.kernels <= before.kernels
        assert after.bytes <= before.bytes
    assert by_name["plan"].workspace < by_name["contract"].workspace < by_name["fuse"].workspace
    assert by_name["plan"].workspace == eval(generated.program.workspace, {"batch": 64})


def test_named_dimensions_get_sizes(generated: Any) -> None:
    passes = reports(generated)
    for report, known in zip(passes, passes.at(batch=17), strict=True):
        assert all(type(count) is int for count in known.counts)
        assert known.flops == report.flops.subs(b, 17)
    with pytest.raises(TypeError, match="depend on the size of batch: pass batch="):
        passes.at()
    with pytest.raises(TypeError, match="step has no dimension rows; it has batch"):
        passes.at(batch=1, rows=2)


def test_rules_are_told_by_name() -> None:
    z = sg.placeholder("z", ("batch", 3))
    graph = Graph((z,), (sg.log(sg.softmax(z, axis=1)), sg.stop_gradient(z) + 2.0 * sg.exp(z)))
    passes = reports(generate(graph, "f"))
    assert passes["stabilise"].fired == {"log(softmax(x)) -> log_softmax(x)": 1}
    assert passes[3].fired == {"stop_gradient dropped": 1}
    assert passes["expand_composites"].fired == {"log_softmax written out": 1}
    assert passes["derived"].fired == {}
    assert passes["fuse"].fired["loops merged"] > 0
    assert passes["contract"].fired["variables in place of arrays"] > 0


def test_tables(generated: Any) -> None:
    passes = reports(generated)
    lines = str(passes).splitlines()
    assert lines[0].split() == ["pass", "what", "fired", "nodes", "kernels", "operations", "bytes",
                                "moved", "workspace"]  # fmt: skip
    assert lines[2].startswith("declared ") and lines[-2].startswith("emit ")
    assert lines[-1].startswith("nothing to do: number_draws, ")
    assert repr(passes) == str(passes)
    page = passes._repr_html_()
    assert page.count("<tr>") == len(lines) - 2 and "Passes of step" in page
    assert "x2 -> " not in page and "-&gt;" in page
    assert [short(value) for value in (0, 812, 9_550_400, 1000 * b + 7, b * b / 2)] == [
        "0", "812", "9.55M", "1.00k batch + 7", "0.5 batch**2",
    ]  # fmt: skip


def test_compiled_functions_and_steps_have_passes() -> None:
    def trained() -> Any:
        inputs, loss, weights = model()
        return sg.train_step(inputs, loss, optim.SGD(weights, lr=0.1), name="step")

    step, again = trained(), trained()
    assert isinstance(step.passes, Passes)
    assert step.passes is step.function.passes
    assert again.from_cache and again.source == step.source
    assert again.passes == step.passes
    assert [stage.name for stage in step.stages()] == [report.name for report in step.passes]


# ---- stages ----------------------------------------------------------------------------------------


def test_stages_stand_for_themselves(generated: Any) -> None:
    found = {stage.name: stage for stage in stages(generated)}
    # in any order: a program is changed in place by the pass after it
    planned, fused, contracted = (found[name].text for name in ("plan", "fuse", "contract"))
    assert "exponential[i, j] = exp(" in fused and "exponential[j] = exp(" in contracted
    assert "workspace, place 0" in planned and "place" not in contracted
    assert "def update(" in planned and "def update(" not in contracted
    declared, derived = found["declared"].text, found["derived"].text
    assert "d_w" not in declared and "return loss" in declared
    assert "w becomes " in derived and "x.T @ d_" in derived
    assert found["emit"].text == generated.source
    assert "wide" not in found["schedule"].text
    for name in ("schedule", "fuse", "plan"):
        state = found[name].state
        assert isinstance(state, Program) and state is found[name].state
        verify_program(state)


def test_lines_of_a_stage_compute_nodes_of_the_last_graph(generated: Any) -> None:
    found = {stage.name: stage for stage in stages(generated)}
    last = found["merge_common_subexpressions"].state
    assert isinstance(last, Graph)
    nodes = {id(node) for node in generated.history.lowered.nodes()}
    for name in ("schedule", "fuse", "outline", "plan", "emit"):
        lines = found[name].text.splitlines()
        spans = found[name].spans
        assert spans and all(1 <= span.first <= span.last <= len(lines) for span in spans)
        computed = {id(node) for span in spans for node in span.nodes}
        assert computed and computed <= nodes
        product = next(s for s in spans if "matmul" in lines[s.first - 1])
        assert product.nodes[0].op.name == "gemm"
    assert found["declared"].spans == ()


def test_the_declared_part_leaves_out_gradients_and_optimizer() -> None:
    graph = declared()
    primal = primal_part(graph)
    assert primal.outputs == graph.outputs and primal.updates == ()
    assert all(node.adjoint_of is None for node in primal.nodes())
    # without the loss among the results, it is what adjoints belong to
    inputs, loss, weights = model()
    alone = primal_part(Graph(tuple(inputs), tuple(sg.grad(loss, weights))))
    assert weights[0] in set(alone.nodes()) and all(n.adjoint_of is None for n in alone.nodes())


@pytest.mark.parametrize(("shown", "marks"), [
    ("fuse", ["==== fuse: ", "for i in range(batch):"]),
    ("declared, plan", ["==== declared: ", "==== plan: ", "w  "]),
    ("emit", ["==== emit: ", "from numba import njit"]),
    ("stabilise", ["==== stabilise: Forms that neither overflow nor cancel.", "return loss"]),
    ("all", [f"==== {name}: " for name in STAGES]),
])  # fmt: skip
def test_stages_on_standard_error(
    shown: str, marks: list[str], monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("STATICGRAD_SHOW", shown)
    generate(declared(), "step")
    text = capsys.readouterr().err
    assert all(mark in text for mark in marks)
    if shown != "all":
        assert text.count("==== ") == sum("====" in mark for mark in marks)


def test_an_unknown_stage_is_an_error(monkeypatch: Any) -> None:
    monkeypatch.setenv("STATICGRAD_SHOW", "fuse,fusion")
    with pytest.raises(ValueError, match="no stage is called fusion; there are declared, derived, "):
        generate(declared(), "step")


def test_showing_a_stage_changes_nothing(monkeypatch: Any, generated: Any) -> None:
    monkeypatch.setenv("STATICGRAD_SHOW", "all")
    assert generate(declared(), "step").source == generated.source


@pytest.mark.parametrize("seed", [8, 21])
def test_stages_of_random_graphs(seed: int) -> None:
    made = random_graph(seed)
    leaves = [*made.inputs, *made.parameters]
    gradients = sg.grad(made.loss, leaves, unused="zeros")
    generated = generate(Graph(tuple(made.inputs), (made.loss, *gradients)), "f")
    passes = reports(generated)
    counts = {report.name: report for report in passes.at(**dict.fromkeys(passes.dimensions, 5))}
    first, last = counts["schedule"], counts["emit"]
    assert last.bytes <= first.bytes and last.kernels <= first.kernels
    assert last.workspace <= first.workspace + 64 * len(generated.program.places)
    for stage in stages(generated):
        lines = len(stage.text.splitlines())
        assert lines and all(1 <= span.first <= span.last <= lines for span in stage.spans)


# ---- what must hold --------------------------------------------------------------------------------


def program_at(generated: Any, name: str) -> Program:
    for stage, program in zip(
        ("schedule", *(step.__name__ for step in LOOP_PASSES)), programs(generated), strict=True
    ):
        if stage == name:
            return program
    raise AssertionError(name)


def test_values_are_written_before_they_are_read(generated: Any) -> None:
    program = program_at(generated, "contract")
    program.items.reverse()
    with pytest.raises(RuntimeError, match=r"has no (first )?value"):
        verify_program(program)


def test_every_output_is_stored(generated: Any) -> None:
    program = program_at(generated, "schedule")
    program.items = [
        group for group in program.items if group[-1].target is not program.outputs[0]
    ]
    with pytest.raises(RuntimeError, match="nothing stores the output loss"):
        verify_program(program)


def test_statements_stand_in_their_loops(generated: Any) -> None:
    program = program_at(generated, "fuse")
    loop = next(item for item in program.items if isinstance(item, Loop))
    program.items[program.items.index(loop)] = loop.body[0]
    with pytest.raises(RuntimeError, match="counts on the loops"):
        verify_program(program)


def test_arguments_are_left_alone(generated: Any) -> None:
    program = program_at(generated, "contract")
    statement = next(
        m for item in program.items for m in statements(item)
        if isinstance(m, Statement) and m.section == "update"
    )  # fmt: skip
    statement.section = "forward"
    with pytest.raises(RuntimeError, match="writes to a parameter before all is computed"):
        verify_program(program)


def test_live_values_share_no_memory(generated: Any) -> None:
    program = program_at(generated, "plan")
    first, second, *_ = sorted(program.places, key=lambda place: isinstance(place.size, int))
    first.buffers += second.buffers
    with pytest.raises(RuntimeError, match=r"share memory while both live|too small"):
        verify_program(program)
    program = program_at(generated, "plan")
    program.places.pop()
    with pytest.raises(RuntimeError, match="no place in the workspace for"):
        verify_program(program)


def test_a_pass_that_breaks_a_program_is_named(monkeypatch: Any) -> None:
    from staticgrad.codegen import compiler

    def lose(program: Program) -> Program:
        """Lose the last item."""
        program.items.pop(0)
        return program

    monkeypatch.setattr(compiler, "LOOP_PASSES", (*LOOP_PASSES, lose))
    with pytest.raises(RuntimeError, match=r"after the pass lose: .* has no value yet"):
        generate(declared(), "step")


def test_text_of_programs_that_are_not_fused() -> None:
    x = sg.placeholder("x", ("n", 3))
    total = sg.sum(sg.exp(x), axis=1).named("total")
    generated = generate(Graph((x,), (total,)), "f")
    text, _ = program_text(program_at(generated, "schedule"))
    assert text.splitlines()[0].split() == ["x", "float32", "(n,", "3)", "input"]
    assert "    for j in range(3):" in text
    assert "total_so_far[i] += exp(x[i, j])" in text
