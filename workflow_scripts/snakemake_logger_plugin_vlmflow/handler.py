"""The log handler, which turns Snakemake's events into the overview."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from .state import Run

if TYPE_CHECKING:
    from .screen import Screen

TICK = 1.0  # seconds between two updates
OFTEN = 30.0  # seconds between two lines of plain text, at least
SELDOM = 600.0  # and at most
STEP = 0.05  # share of all jobs after which a line is written before that

# Events that the overview shows; all others are written in Snakemake's own wording.
SHOWN_EVENTS = {
    LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.GROUP_INFO,
    LogEvent.PROGRESS,
    LogEvent.RULEGRAPH,
}
SHOWN_TEXTS = ("Select jobs to execute", "submitted with SLURM jobid", "with external jobid")


class LogHandler(LogHandlerBase):
    """The handler that replaces Snakemake's own for the terminal, with the same filter and wording."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False  # Snakemake sets its own, so that --quiet, --verbose and -p keep their meaning
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Prepare the state; nothing is drawn before jobs are about to run."""
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.run: Run | None = None
        self.screen: Screen | None = None
        self.broken = False
        self._after_blank = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_line = (0.0, 0)  # its time, and the number of jobs that were done

    # --- called by Snakemake ---

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one message; no error is raised."""
        event = getattr(record, "event", None)
        followed = not self._silent and self._guard(self._follow, event, record)
        if not (followed and record.levelno < logging.WARNING and self._is_shown(event, record)):
            self._write(record, event)

    def close(self) -> None:
        """End the overview: the run is over, or was interrupted."""
        with self.lock or threading.Lock():
            self._guard(self._end)
        super().close()

    @property
    def _silent(self) -> bool:
        """Whether there is no overview: nothing runs, or --verbose or --quiet is given."""
        settings = self.common_settings
        return bool(settings.dryrun or settings.verbose or settings.quiet)

    # --- following ---

    def _guard(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Do some work; returns whether it succeeded.  At the first error the overview ends."""
        if self.broken:
            return False
        try:
            work(*arguments)
        except Exception as error:
            self.broken = True
            self._stop_after(error)
        return not self.broken

    def _stop_after(self, error: Exception) -> None:
        self._stop.set()
        try:
            if self.screen is not None:
                self.screen.stop()
        except Exception:
            pass
        self.screen = None
        self._print(f"The overview has stopped after an error ({type(error).__name__}: {error}); the run continues.")

    def _follow(self, event: LogEvent | None, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if event == LogEvent.RUN_INFO:
            self._begin(record.stats, now)  # type: ignore[attr-defined]
        elif event == LogEvent.RESOURCES_INFO and hasattr(record, "nodes"):
            self._remote = True
        run = self.run
        if run is None:
            return
        if (planned := getattr(record, "planned_jobs", None)) is not None:
            run.plan(planned)
        elif getattr(record, "run_has_ended", False):
            self._end()
        elif event == LogEvent.JOB_INFO:
            log = next(iter(record.log), None)  # type: ignore[attr-defined]
            wildcards = dict(record.wildcards or {})  # type: ignore[attr-defined]
            run.submit(record.jobid, record.rule_name, wildcards, log, now)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_FINISHED:
            run.finish(record.job_id, now)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_ERROR:
            run.fail(record.jobid, now)  # type: ignore[attr-defined]

    _remote = False

    def _begin(self, stats: dict[str, int], now: float) -> None:
        self.run = Run(now)
        self.run.remote = self._remote
        self.run.expect(stats)
        self._thread = threading.Thread(target=self._keep_showing, daemon=True, name="overview")
        self._thread.start()

    def _end(self) -> None:
        """Remove the overview and write one line with the number of jobs in each state."""
        self._stop.set()
        run, self.run = self.run, None
        if self.screen is not None:
            self.screen.stop()
            self.screen = None
        if run is not None:
            from . import view

            self._print(view.ended(run, time.monotonic()))

    def _is_shown(self, event: LogEvent | None, record: logging.LogRecord) -> bool:
        if hasattr(record, "planned_jobs"):
            return True
        if self.run is None:
            return False
        return event in SHOWN_EVENTS or (event is None and any(text in str(record.msg) for text in SHOWN_TEXTS))

    # --- showing ---

    def _keep_showing(self) -> None:
        """Draw the overview, or write a line, at each tick; runs in its own thread."""
        while not self._stop.wait(TICK):
            with self.lock or threading.Lock():
                if self.run is None or self._stop.is_set():
                    return
                self._guard(self._show, self.run, time.monotonic())

    def _show(self, run: Run, now: float) -> None:
        from . import view

        run.update(now)
        if self._terminal:
            if self.screen is None:
                from .screen import Screen

                self.screen = Screen(self.stream, self.common_settings.nocolor)
            self.screen.draw(lambda height: view.overview(run, now, time.time(), height))
        elif self._line_is_due(run, now):
            self._last_line = (now, len(run.done))
            self._print(view.plain(run, now, time.time()))

    def _line_is_due(self, run: Run, now: float) -> bool:
        before, done = self._last_line
        gone = now - max(before, run.start)
        return gone >= SELDOM or (gone >= OFTEN and len(run.done) - done >= STEP * run.total)

    @property
    def _terminal(self) -> bool:
        return self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def _write(self, record: logging.LogRecord, event: LogEvent | None) -> None:
        """Write a message in Snakemake's own wording."""
        try:
            text = self.format(record)
            if text in ("", "None"):
                return
            blank = event == LogEvent.JOB_INFO and not self._after_blank
            self._after_blank = event == LogEvent.JOB_INFO
            self._print("\n" * blank + text, record.levelno)
        except Exception:
            self.handleError(record)

    def _print(self, text: str, level: int = logging.INFO) -> None:
        if self.screen is not None and self._guard(self.screen.write, text, level):
            return
        colour = {logging.ERROR: 31, logging.CRITICAL: 31, logging.WARNING: 33}.get(level)
        if colour and self._terminal and not self.common_settings.nocolor:
            text = f"\033[{colour}m{text}\033[0m"
        try:
            self.stream.write(text + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            pass  # the stream is closed
