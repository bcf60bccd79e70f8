"""The overview of a run: what is counted from Snakemake's events, what is estimated, and that it harms nothing."""

import io
import logging
import os
import pty
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from types import SimpleNamespace

import pytest
import yaml
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from snakemake_logger_plugin_vlmflow import LogHandler, handler, view
from snakemake_logger_plugin_vlmflow.estimate import concurrency, estimate
from snakemake_logger_plugin_vlmflow.logs import last_line
from snakemake_logger_plugin_vlmflow.state import Run
from support.paths import ROOT
from support.workspace import SNAKEMAKE, Workspace
from vlmflow.jobs.run_messages import report_message

PAUSE = re.compile(r"\x1b|\r")


class TestAsSnakemakeAsksOfEveryPlugin(TestLogHandlerBase):
    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None


def planned(jobid, rule="run_probe", needs=(), runs=True, needs_model=True, benchmark=None, **wildcards):
    return {
        "jobid": jobid,
        "rule": rule,
        "wildcards": wildcards,
        "benchmark": benchmark,
        "needs": list(needs),
        "needs_model": needs_model,
        "runs": runs,
    }


def run_of(*jobs):
    run = Run(start=0.0)
    run.plan(jobs)
    return run


def numbers(run):
    return {state: number for state, number, _ in view.counts(run)}


def test_jobs_go_from_waiting_over_running_to_done():
    run = run_of(planned(1, model="m"), planned(2, model="m"), planned(3, needs=[1, 2]), planned(4, runs=False))
    assert numbers(run) == {"done": 0, "running": 0, "waiting": 3}
    run.submit(1, "run_probe", {"model": "m"}, None, now=1.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 2}
    run.finish(1, now=11.0)
    assert numbers(run) == {"done": 1, "running": 0, "waiting": 2}
    assert run.samples == [((True, "run_probe", "m"), 10.0)]
    run.finish(1, now=12.0)
    run.finish(99, now=12.0)
    assert len(run.samples) == 1


def test_what_needs_a_failed_job_is_held_up_until_that_is_tried_again():
    run = run_of(planned(1), planned(2, needs=[1]), planned(3, needs=[2]), planned(4))
    run.submit(1, "run_probe", {}, None, now=0.0)
    run.fail(1, now=1.0)
    assert numbers(run) == {"done": 0, "running": 0, "waiting": 1, "failed": 1, "held up by them": 2}
    run.submit(1, "run_probe", {}, None, now=2.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 3}


def test_without_a_plan_jobs_are_known_by_their_rules():
    run = Run(start=0.0)
    run.expect({"run_probe": 2, "all": 1, "total": 3})
    assert run.total == 3
    run.submit(7, "run_probe", {"model": "m"}, None, now=0.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 2}
    run.submit(8, "unheard_of", {}, None, now=0.0)
    assert run.total == 4


def test_a_job_of_a_cluster_runs_once_its_log_is_written(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("of an earlier run")
    os.utime(log, (1, 1))
    run = run_of(planned(1), planned(2))
    run.remote = True
    for jobid in (1, 2):
        run.submit(jobid, "run_probe", {}, str(log) if jobid == 1 else str(tmp_path / "none"), now=0.0)
    run.update(now=5.0)
    assert numbers(run) == {"done": 0, "running": 0, "in the queue": 2, "waiting": 0}
    log.write_text("begun")
    run.update(now=100.0)
    assert numbers(run) == {"done": 0, "running": 1, "in the queue": 1, "waiting": 0}
    run.finish(1, now=160.0)
    assert [seconds for _, seconds in run.samples] == [60.0]  # without the time in the queue


def busy(run, jobid, begin, end, **wildcards):
    run.submit(jobid, "run_probe", wildcards, None, now=begin)
    run.finish(jobid, now=end)


def test_nothing_is_estimated_before_anything_is_known():
    run = run_of(planned(1), planned(2), planned(3, rule="draw", needs_model=False))
    assert estimate(run, now=5.0) is None
    busy(run, 1, 0.0, 10.0)
    assert estimate(run, now=10.0) is None  # nothing is known of jobs that ask no model
    assert "unknown" in view.time_left(run, 10.0, 0.0)


def test_the_rest_by_model_and_by_how_many_run_at_a_time():
    """Two at a time; the large model's jobs take 100 s, the small one's 10 s."""
    run = run_of(
        *(planned(n, model="small") for n in (1, 2, 3)),
        *(planned(n, model="large") for n in (4, 5, 6, 7)),
        planned(8, model="other"),
        planned(9, rule="all", needs_model=False),
    )
    run.submit(1, "run_probe", {"model": "small"}, None, now=0.0)
    run.submit(4, "run_probe", {"model": "large"}, None, now=0.0)
    run.finish(1, now=10.0)
    busy(run, 2, 10.0, 20.0, model="small")
    run.submit(5, "run_probe", {"model": "large"}, None, now=20.0)
    run.finish(4, now=100.0)
    assert concurrency(run, now=100.0) == pytest.approx(2)
    # left: 20 of the one that runs, 10 small, 2 × 100 large, and another model's by the mean of its rule, 40
    assert estimate(run, now=100.0).seconds == pytest.approx((20 + 10 + 200 + 40) / 2)


def test_one_job_that_runs_alone_bounds_the_rest():
    run = run_of(*(planned(n) for n in range(5)))
    for n in range(4):
        run.submit(n, "run_probe", {}, None, now=0.0)
    for n in range(4):
        run.finish(n, now=100.0)
    run.submit(4, "run_probe", {}, None, now=100.0)
    assert estimate(run, now=110.0).seconds == pytest.approx(90)


def test_earlier_runs_are_asked_until_this_one_knows_better(tmp_path):
    for name, seconds in (("a", 30.0), ("b", 50.0)):
        (tmp_path / name).write_text(f"s\th:m:s\n{seconds}\t0:00:30\n")
    (tmp_path / "broken").write_text("nothing")
    kept = planned(1, runs=False, benchmark=str(tmp_path / "a"))
    again = planned(2, benchmark=str(tmp_path / "b"))
    run = run_of(kept, again, planned(3, benchmark=str(tmp_path / "broken")), planned(4, benchmark="nowhere"))
    left = estimate(run, now=0.0)
    assert (left.seconds, left.now, left.earlier) == (120.0, 0, 2)
    assert "by 2 of earlier runs" in view.time_left(run, 0.0, 0.0)
    busy(run, 2, 0.0, 10.0)
    assert estimate(run, now=10.0).seconds == 20.0


def test_a_rule_that_asks_a_model_and_was_not_seen_is_named():
    run = run_of(planned(1, rule="answer_questions"), planned(2, rule="run_probe"))
    run.submit(1, "answer_questions", {}, None, now=0.0)
    run.finish(1, now=10.0)
    assert view.time_left(run, 10.0, 0.0).endswith("by 1 finished job; none of run_probe yet")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (125, "2 min 5 s"), (700, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations(seconds, text):
    assert view.duration(seconds) == text


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(None).text == last_line(str(log)).text == ""
    log.write_text(
        "x" * 9000 + "\nflow m T:  38 % |███     | 412 of 1000 questions, 3.21 questions/s, 02:08 gone, ? left\n"
    )
    assert last_line(str(log)).text == "412 of 1000, 3.21 questions/s"
    assert last_line(str(log)).share == 0.38
    log.write_bytes(b"\xff\xfe\rWeights:  1%\rWeights: 100%\x1b[A\n\n")
    assert last_line(str(log)).text == "Weights: 100%[A"


# --- the handler ---


def record(event, level=logging.INFO, text="", **more):
    made = logging.LogRecord("snakemake", level, "x.py", 1, text, (), None)
    made.event = event
    vars(made).update(more)
    return made


def info(jobid, log="job.log"):
    return record(
        LogEvent.JOB_INFO, text="job", jobid=jobid, rule_name="run_probe", wildcards={"model": "m"}, log=[log]
    )


@pytest.fixture
def overview():
    """A handler without a thread of its own, and what it writes."""
    made = LogHandler(MockOutputSettings(), None)
    made.stream = io.StringIO()
    yield made
    made.close()


def test_errors_and_warnings_are_passed_on_and_jobs_are_not(overview):
    overview.emit(record(LogEvent.RUN_INFO, text="Job stats:", stats={"run_probe": 2, "total": 2}))
    overview.emit(record(None, planned_jobs=[planned(1), planned(2)]))
    overview.emit(info(1))
    overview.emit(record(None, text="Select jobs to execute..."))
    overview.emit(record(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule run_probe", jobid=1))
    overview.emit(record(None, logging.WARNING, "beware"))
    overview.emit(record(None, text="Will exit after finishing currently running jobs."))
    overview.emit(record(None, text="", run_has_ended=True))
    said = overview.stream.getvalue().splitlines()
    assert said[:4] == [
        "Job stats:",
        "Error in rule run_probe",
        "beware",
        "Will exit after finishing currently running jobs.",
    ]
    assert said[4].startswith("2 jobs: 1 waiting, 1 failed; ")


@pytest.mark.parametrize("setting", ["dryrun", "verbose", "quiet"])
def test_dry_runs_and_those_with_verbose_or_quiet_are_told_by_snakemake_alone(overview, setting):
    setattr(overview.common_settings, setting, True)
    overview.emit(record(LogEvent.RUN_INFO, text="Job stats:", stats={"run_probe": 1, "total": 1}))
    overview.emit(info(1))
    assert overview.run is None
    assert overview.stream.getvalue() == "Job stats:\n\njob\n"


def test_a_fault_is_told_once_and_everything_is_passed_on_from_then(overview):
    overview.emit(record(LogEvent.RUN_INFO, text="Job stats:", stats={"run_probe": 2, "total": 2}))
    overview.emit(record(LogEvent.JOB_INFO, text="no job"))  # without the fields of one
    overview.emit(info(1))
    assert overview.stream.getvalue().count("The overview has stopped after an error (AttributeError") == 1
    assert overview.stream.getvalue().endswith("no job\njob\n")


def test_a_stream_that_is_gone_stops_nothing(overview):
    overview.stream.close()
    overview.emit(record(None, logging.ERROR, "nobody hears it"))
    overview.stream = io.StringIO()


def test_lines_without_a_terminal_are_far_apart(overview, monkeypatch):
    monkeypatch.setattr(handler, "TICK", 3600.0)
    overview.emit(record(LogEvent.RUN_INFO, text="", stats={"run_probe": 100, "total": 100}))
    run = overview.run
    start = run.start
    overview.emit(record(None, planned_jobs=[planned(n) for n in range(100)]))
    for n in range(100):
        run.submit(n, "run_probe", {}, None, now=start + n * 10)
        run.finish(n, now=start + n * 10 + 10)
        for second in range(10):
            overview._show(run, start + n * 10 + second)
    lines = [line for line in overview.stream.getvalue().splitlines() if "%" in line]
    assert 15 <= len(lines) <= 21  # every 5 %
    assert not PAUSE.search(overview.stream.getvalue())
    overview._show(run, start + 5000)
    assert len(overview.stream.getvalue().splitlines()) > len(lines)


def test_the_overview_fits_the_terminal_whatever_runs():
    from rich.console import Console

    run = run_of(*(planned(n, model=f"model-{n % 12}", probe="p" * 50, task="t") for n in range(300)))
    for n in range(120):
        run.submit(n, "run_probe", run.jobs[n].wildcards, f"log-{n}", now=0.0)
    for n in range(20):
        run.fail(n, now=1.0)
    for height, width in ((24, 80), (50, 200), (30, 40)):
        console = Console(width=width, height=height, file=io.StringIO())
        console.print(view.overview(run, 10.0, 0.0, height))
        lines = console.file.getvalue().splitlines()
        assert len(lines) < height, (height, width)
        assert max(map(len, lines)) <= width


# --- Snakemake itself ---

STEPS = """
rule all:
    default_target: True
    input: expand("out/{n}", n=range(4))
rule step:
    output: "out/{n}"
    log: "logs/{n}.log"
    shell: "echo begun > {log}; sleep 1.5; echo {wildcards.n} > {output}; [ {wildcards.n} != %s ]"
"""


def steps(folder, failing, *arguments):
    (folder / "Snakefile").write_text(STEPS % failing)
    return [*SNAKEMAKE, "--cores", "2", "--logger", "vlmflow", "--show-failed-logs", "--keep-going", *arguments]


@pytest.fixture
def environment():
    return os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts"), "TERM": "xterm-256color"}


def in_terminal(command, folder, environment):
    """(what a terminal is sent, exit status)."""
    leader, follower = pty.openpty()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=follower, stderr=follower) as process:
        os.close(follower)
        sent = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            sent += piece
    os.close(leader)
    return sent.decode(), process.returncode


def test_a_run_in_a_terminal(tmp_path, environment):
    sent, status = in_terminal(steps(tmp_path, "2"), tmp_path, environment)
    assert status == 1
    assert "2 running" in sent
    assert "logs/2.log" in sent
    assert "Error in rule step" in sent
    assert "Exiting because a job execution failed" in sent
    assert re.search(r"5 jobs: 3 done, .*1 failed", sent)
    assert "\x1b[?25h" in sent  # the cursor is there in the end
    assert sent.rindex("\x1b[?25h") > sent.rfind("\x1b[?25l")


def test_a_run_without_a_terminal(tmp_path, environment):
    command = steps(tmp_path, "2")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not PAUSE.search(done.stderr)
    assert "Logfile logs/2.log" in done.stderr
    assert "5 jobs: 3 done, 1 waiting, 1 failed" in done.stderr


def test_messages_at_the_end_of_a_run(tmp_path):
    """The real workflow: a model that cannot be loaded; what does not need it is done and kept."""
    workspace = Workspace(tmp_path, PYTHONPATH=str(ROOT / "workflow_scripts"))
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study |= {"study": "small", "dataset": {"source": "synthetic", "images": 5}, "figures": {}}
    study["tasks"] = {"QueryAttr": study["tasks"]["QueryAttr"]}
    workspace.write(study)
    weights = tmp_path / "resources/tiny-llava/model.safetensors"
    weights.write_bytes(b"no weights")
    done = workspace.snakemake()
    assert done.returncode == 1
    assert "Failed, with the log of each job:\n" in done.stderr
    assert "    answer_questions tiny-llava QueryAttr: results/small/logs/" in done.stderr
    assert re.search(r"\d+ of \d+ jobs are done and kept; to go on, correct the causes and run", done.stderr)
    # By the overview, which the profile switches on, and which knows the plan.
    (said,) = [line for line in done.stderr.splitlines() if " jobs: " in line]
    assert "1 failed" in said, said
    assert "held up by them" in said, said


def test_the_report_is_named_where_it_was_asked_for(tmp_path):
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=name)) for name in ("all", "write_report")]
    page = tmp_path / "index.html"
    assert report_message(jobs, page) == ""
    page.write_text("")
    assert report_message(jobs, page) == f"The report is {page}; a double click opens it, also offline."
    assert report_message(jobs[:1], page) == ""


def test_snakemake_alone_runs_without_the_plugin(tmp_path):
    """The profile asks for the overview only where it is installed."""
    Workspace(tmp_path)
    code = "import sys; sys.path[:] = [p for p in sys.path if 'workflow_scripts' not in p]; "
    code += "from snakemake.cli import main; main(['--cores', '1', '--dry-run'])"
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "run_probe" in done.stdout


def test_an_installed_package_holds_the_plugin():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    for package in ("vlmflow", "snakemake_logger_plugin_vlmflow"):
        assert any(fnmatch(package, pattern) for pattern in included)
        assert (ROOT / "workflow_scripts" / package / "__init__.py").is_file()
