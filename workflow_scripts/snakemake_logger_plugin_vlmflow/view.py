"""The text of the overview: a few lines that are redrawn in a terminal, or one line of plain text."""

import time
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .estimate import Estimate, estimate
from .logs import last_line
from .state import Job, Run, stamp

MOST_STEPS = 8  # steps of models listed at most
MOST_FAILED = 5  # failed jobs listed at most
OTHERS = 10  # lines at most besides those of running jobs, models and failed jobs
ROOMY = 24  # lines of a terminal from which groups are separated by blank lines


def duration(seconds: float) -> str:
    """A duration as text: 45 s, 2 min 5 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def counts(run: Run) -> list[tuple[str, int, str]]:
    """(state, number of jobs, style) of each state with jobs; done, running and waiting are always included."""
    queued, blocked = len(run.queued), len(run.blocked)
    states = [
        ("done", len(run.done), "green"),
        ("running", len(run.running) - queued, "cyan"),
        ("in the queue", queued, "blue"),
        ("waiting", len(run.waiting) - blocked, ""),
        ("failed", len(run.failed), "bold red"),
        ("held up by them", blocked, "red"),
    ]
    return [state for state in states if state[1] or state[0] in ("done", "running", "waiting")]


def time_left(run: Run, now: float, clock: float) -> str:
    """The remaining time as text, with the time of day and the jobs on which it is based."""
    if not (run.waiting or run.running):
        return ""
    left = estimate(run, now)
    if left is None:
        return "time left unknown yet"
    at = time.strftime("%a %H:%M" if left.seconds > 12 * 3600 else "%H:%M", time.localtime(clock + left.seconds))
    unfinished = f"; none of {', '.join(left.unfinished)} yet" if left.unfinished else ""
    return f"≈ {duration(left.seconds)} left, until {at}, {_basis(left)}{unfinished}"


def _basis(left: Estimate) -> str:
    now = f"{left.now} finished job{'s' if left.now != 1 else ''}"
    earlier = f"{left.earlier} of earlier runs"
    return "by " + " and ".join(text for text, number in ((now, left.now), (earlier, left.earlier)) if number)


def plain(run: Run, now: float, clock: float) -> str:
    """The state of the run in one line without control characters."""
    share = f"{100 * len(run.done) // max(1, run.total)} %"
    states = ", ".join(f"{number} {state}" for state, number, _ in counts(run))
    texts = [share, states, f"{duration(now - run.start)} gone", time_left(run, now, clock)]
    return f"[{time.strftime('%a %H:%M:%S', time.localtime(clock))}] " + "; ".join(filter(None, texts))


def ended(run: Run, now: float) -> str:
    """The line at the end of a run."""
    states = ", ".join(f"{number} {state}" for state, number, _ in counts(run) if number)
    return f"{run.total} jobs: {states}; {duration(now - run.start)}"


def overview(run: Run, now: float, clock: float, height: int) -> RenderableType:
    """The state of the run, of the steps of its models, of running jobs and failed jobs."""
    lines: list[RenderableType] = [
        _total_line(run),
        _states(run, now),
        Text(time_left(run, now, clock) or " ", style="dim"),
    ]
    gap: list[RenderableType] = [Text()] if height >= ROOMY else []
    failed = list(run.failed)
    steps = _steps(run)
    most = height - OTHERS - min(len(steps), MOST_STEPS) - min(len(failed), MOST_FAILED)
    if len(steps) > 1:
        lines += [*gap, _step_lines(run, steps)]
    if run.running:
        lines += [*gap, _job_lines(run, now, max(1, most))]
    if failed:
        lines += [*gap, _failed_lines(run, failed)]
    return Group(*lines)


def _bar(done: float, total: float, style: str, width: int | None = None) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done, width=width, complete_style=style, finished_style=style)


def _total_line(run: Run) -> RenderableType:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    done = len(run.done)
    number = f"{done} of {run.total} jobs, {100 * done // max(1, run.total)} %"
    line.add_row(_bar(done, run.total, "green"), Text(number, style="bold"))
    return line


def _states(run: Run, now: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for state, number, style in counts(run):
        text.append(f"{number} {state}", style=style).append("  ")
    return text.append(f"{duration(now - run.start)} gone", style="dim")


Step = tuple[str, str]


def _steps(run: Run) -> dict[Step, list[int]]:
    """(model, step) → its jobs, the steps that are not done first."""
    steps: dict[Step, list[int]] = {}
    for jobid, job in run.jobs.items():
        if job.step is not None:
            steps.setdefault(job.step, []).append(jobid)
    return dict(sorted(steps.items(), key=lambda item: _urgency(run, item[1])))


def _urgency(run: Run, jobs: list[int]) -> int:
    """0 for a step that runs or has failed, 1 for one that waits, 2 for one that is done."""
    if any(jobid in run.running or jobid in run.failed for jobid in jobs):
        return 0
    return 2 if all(jobid in run.done for jobid in jobs) else 1


def _step_lines(run: Run, steps: dict[Step, list[int]]) -> Table:
    """A line for each step of a model, with the share of its questions that is done."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
    grid.add_column(width=20)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, style="red")
    for (model, step), jobs in list(steps.items())[:MOST_STEPS]:
        done = sum(jobid in run.done for jobid in jobs)
        failed = sum(jobid in run.failed for jobid in jobs)
        share = done + sum(_share(run.jobs[jobid]) for jobid in jobs if jobid in run.running)
        shards = f"{done} of {len(jobs)} shards" if len(jobs) > 1 else f"{100 * share:.0f} %"
        bar = _bar(share, len(jobs), "green", width=20)
        grid.add_row(model, step, bar, shards, f"{failed} failed" if failed else "")
    if len(steps) > MOST_STEPS:
        grid.add_row(f"and {len(steps) - MOST_STEPS} more steps")
    return grid


def _share(job: Job) -> float:
    """The share of a running job's questions that is done, by its log."""
    return (last_line(job.log).share or 0.0) if _has_new_log(job) else 0.0


def _names(job: Job) -> str:
    return " ".join(job.wildcards.values())


def _job_lines(run: Run, now: float, most: int) -> Table:
    """The running jobs, the oldest first."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, justify="right", style="dim")
    grid.add_column(width=10)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1, min_width=20)
    shown = [run.jobs[jobid] for jobid in run.running if run.jobs[jobid].begun is not None]
    for job in shown[:most]:
        last = last_line(job.log) if _has_new_log(job) else last_line(None)
        bar = "" if last.share is None else _bar(last.share, 1, "cyan", width=10)
        since = duration(now - (job.begun or now))
        grid.add_row(job.rule, _names(job), since, bar, Text(last.text, style="" if bar else "dim"))
    if len(shown) > most:
        grid.add_row(f"and {len(shown) - most} more")
    return grid


def _has_new_log(job: Job) -> bool:
    """Whether the log was written in this run; a job that has just begun may have the log of an earlier run."""
    return stamp(job.log) != job.stamp


def _failed_lines(run: Run, failed: Iterable[int]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    listed = list(failed)
    for jobid in listed[-MOST_FAILED:]:
        job = run.jobs[jobid]
        text.append("failed: ", style="red").append(f"{job.log or f'{job.rule} {_names(job)}'}\n")
    if len(listed) > MOST_FAILED:
        text.append(f"and {len(listed) - MOST_FAILED} more failed\n", style="red")
    text.right_crop(1)
    return text
