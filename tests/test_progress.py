"""Bars in logs: lines that can be read, whose rate is a number a second, and that the overview understands."""

import contextlib
import io

import pytest

from snakemake_logger_plugin_vlmflow.logs import last_line
from vlmflow import progress
from vlmflow.jobs.job import logged
from vlmflow.progress import Progress, with_progress


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


class Log(io.StringIO):
    encoding = "utf-8"


def lines_of(clock, seconds, total, unit="questions"):
    """What stands in the log of a loop whose every step takes so many seconds."""
    log = Log()
    with Progress("flow m T", total, unit, log) as bar:
        for _ in range(total):
            clock.now += seconds
            bar.update()
    assert "\r" not in log.getvalue()
    return log.getvalue().splitlines()


def test_a_log_holds_lines(clock):
    lines = lines_of(clock, seconds=2, total=100)
    assert lines[0] == "flow m T:   0 % |                    | 0 of 100 questions, 0 questions/s, 00:00 gone, ? left"
    assert lines[-1].startswith("flow m T: 100 % |████████████████████| 100 of 100 questions, 0.5 questions/s, ")
    assert lines[-1].endswith(", 03:20 gone, 00:00 left")
    assert 25 <= len(lines) <= 41  # one in five seconds


def test_slow_loops_too_are_in_questions_a_second(clock):
    assert " 0.04 questions/s, " in lines_of(clock, seconds=25, total=10)[-1]
    assert " 0.0021 questions/s, " in lines_of(clock, seconds=480, total=4)[-1]
    assert " 50.00 files/s, " in lines_of(clock, seconds=0.02, total=1000, unit="files")[-1]


def test_a_job_of_hours_leaves_hundreds_of_lines_not_thousands(clock):
    assert 200 < len(lines_of(clock, seconds=0.5, total=30_000)) < 700  # four hours


def test_the_last_state_is_there_after_an_error(clock):
    log = Log()
    with contextlib.suppress(KeyError), Progress("flow m T", 10, "questions", log) as bar:
        bar.update()
        bar.note(loss="0.3")
        raise KeyError
    assert "1 of 10 questions" in log.getvalue().splitlines()[-1]
    assert log.getvalue().endswith(", loss=0.3\n")


@pytest.mark.parametrize("total", [0, 1])
def test_a_short_loop_ends_with_its_total(total):
    log = Log()
    with Progress("none", total, "files", log) as bar:
        for _ in range(total):
            bar.update()
    assert f"{total} of {total} files" in log.getvalue().splitlines()[-1]


def test_a_terminal_gets_one_line_that_is_overwritten():
    class Terminal(Log):
        def isatty(self):
            return True

    terminal = Terminal()
    with Progress("flow", 3, "questions", terminal) as bar:
        bar.update()
    assert terminal.getvalue().startswith("\rflow:")
    assert terminal.getvalue().count("\n") == 1


def test_a_job_writes_its_bar_into_its_log_and_the_overview_reads_it(tmp_path):
    log = tmp_path / "job.log"
    with logged(str(log)):
        assert list(with_progress("abc", "flow m T", total=3, unit="questions")) == ["a", "b", "c"]
    last = last_line(str(log))
    assert last.share == 1
    assert last.text.startswith("3 of 3, ")
    assert last.text.endswith("/s")
