"""The overview of a run, as a handler of Snakemake's log: what is shown and passed on, and that it harms nothing."""

import io
import logging
import re

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from snakemake_logger_plugin_vlmflow import LogHandler, handler, view
from support.planned_jobs import planned, run_of

PAUSE = re.compile(r"\x1b|\r")


class TestAsSnakemakeAsksOfEveryPlugin(TestLogHandlerBase):
    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None


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
def test_dry_runs_and_runs_with_verbose_or_quiet_have_snakemakes_own_messages(overview, setting):
    setattr(overview.common_settings, setting, True)
    overview.emit(record(LogEvent.RUN_INFO, text="Job stats:", stats={"run_probe": 1, "total": 1}))
    overview.emit(info(1))
    assert overview.run is None
    assert overview.stream.getvalue() == "Job stats:\n\njob\n"


def test_an_error_of_the_overview_is_reported_once_and_messages_are_passed_on_from_then(overview):
    overview.emit(record(LogEvent.RUN_INFO, text="Job stats:", stats={"run_probe": 2, "total": 2}))
    overview.emit(record(LogEvent.JOB_INFO, text="no job"))  # without the fields of one
    overview.emit(info(1))
    assert overview.stream.getvalue().count("The overview has stopped after an error (AttributeError") == 1
    assert overview.stream.getvalue().endswith("no job\njob\n")


def test_a_closed_stream_stops_nothing(overview):
    overview.stream.close()
    overview.emit(record(None, logging.ERROR, "nobody hears it"))
    overview.stream = io.StringIO()


def test_without_a_terminal_there_is_a_line_every_five_percent(overview, monkeypatch):
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

    run = run_of(*(planned(n, model=f"model-{n % 12}", probe="p" * 50, shard="1-of-1") for n in range(300)))
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
