"""The overview's bars: one per model and step, over the questions of all its shards."""

import io

import pytest
from rich.console import Console

from snakemake_logger_plugin_vlmflow import view
from support.planned_jobs import planned, run_of
from vlmflow.jobs.run_messages import step_of

BAR = "answers m: {share} % |█████               | {done} of 100 questions, 3.00 questions/s, 00:10 gone, 00:30 left\n"


class Job:
    def __init__(self, rule, name="", **wildcards):
        self.rule, self.wildcards_dict = type("Rule", (), {"name": rule}), wildcards
        self.params = type("Params", (), {"name": name})


@pytest.mark.parametrize(
    ("job", "step"),
    [
        (Job("load_model", model="m"), ("m", "loading")),
        (Job("answer_questions", model="m", shard="1-of-2"), ("m", "answers")),
        (Job("run_probe", model="m", probe="flow", shard="1-of-2"), ("m", "flow")),
        (Job("answer_table", "m", table="t", shard="1-of-2"), ("m", "table t")),
        (Job("draw_figure", model="m", figure="f"), None),
    ],
)
def test_the_step_of_a_job(job, step):
    assert step_of(job) == step


def shards(step, first, count, **wildcards):
    return [planned(first + number, **wildcards) | {"step": step} for number in range(count)]


def text(run, height=40):
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(view.overview(run, now=60.0, clock=0.0, height=height))
    return console.export_text()


def test_a_bar_covers_all_shards_of_a_step(tmp_path):
    run = run_of(*shards(("m", "answers"), 1, 4), *shards(("m", "flow"), 11, 1), *shards(("n", "answers"), 21, 1))
    log = tmp_path / "log"
    run.submit(1, "answer_questions", {}, None, now=0.0)
    run.finish(1, now=10.0)
    run.submit(2, "answer_questions", {}, str(log), now=10.0)
    log.write_text(BAR.format(share=25, done=25))
    lines = [line for line in text(run).splitlines() if " m " in line or " n " in line or line.startswith(("m ", "n "))]
    answers = next(line for line in lines if "answers" in line and line.lstrip().startswith("m"))
    assert "1 of 4 shards" in answers
    assert view._share(run.jobs[2]) == 0.25
    flow = next(line for line in lines if "flow" in line)
    assert "0 %" in flow
    assert lines.index(answers) < lines.index(flow), "what runs comes first"


def test_many_steps_are_counted_and_those_that_are_done_come_last():
    steps = [each for number in range(20) for each in shards((f"model-{number}", "answers"), 10 * number + 1, 1)]
    run = run_of(*steps)
    for number in range(5):
        run.submit(10 * number + 1, "answer_questions", {}, None, now=0.0)
        run.finish(10 * number + 1, now=1.0)
    shown = text(run)
    assert "and 12 more steps" in shown
    assert "model-5" in shown
    assert "model-0 " not in shown


def test_a_failed_shard_is_shown_with_its_step():
    run = run_of(*shards(("m", "answers"), 1, 2), *shards(("m", "flow"), 11, 1))
    run.submit(1, "answer_questions", {}, None, now=0.0)
    run.fail(1, now=1.0)
    assert any("1 failed" in line and "answers" in line for line in text(run).splitlines())
