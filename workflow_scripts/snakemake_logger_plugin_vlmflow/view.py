"""How a run is shown: a few lines that are drawn again and again in a terminal, or one line of plain text."""

import time
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .estimate import Estimate, estimate
from .logs import last_line
from .state import Job, Run, stamp

MOST_MODELS = 8  # lines
MOST_FAILED = 5
OTHERS = 10  # lines at most that are neither a running job, nor a model, nor a failed one
ROOMY = 24  # lines of a terminal from which on some stay empty


def duration(seconds: float) -> str:
    """A time to read: 45 s, 2 min 5 s, 12 min, 3 h 20 min, 2 d 4 h."""
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
    """(state, number of jobs, style), of those that there are; done, running and waiting always."""
    queued, held_up = len(run.queued), len(run.held_up)
    states = [
        ("done", len(run.done), "green"),
        ("running", len(run.running) - queued, "cyan"),
        ("in the queue", queued, "blue"),
        ("waiting", len(run.waiting) - held_up, ""),
        ("failed", len(run.failed), "bold red"),
        ("held up by them", held_up, "red"),
    ]
    return [state for state in states if state[1] or state[0] in ("done", "running", "waiting")]


def time_left(run: Run, now: float, clock: float) -> str:
    """In words, with the time of day, and what it is based on."""
    if not (run.waiting or run.running):
        return ""
    left = estimate(run, now)
    if left is None:
        return "time left unknown yet"
    at = time.strftime("%a %H:%M" if left.seconds > 12 * 3600 else "%H:%M", time.localtime(clock + left.seconds))
    unseen = f"; none of {', '.join(left.unseen)} yet" if left.unseen else ""
    return f"≈ {duration(left.seconds)} left, until {at}, {_basis(left)}{unseen}"


def _basis(left: Estimate) -> str:
    now = f"{left.now} finished job{'s' if left.now != 1 else ''}"
    earlier = f"{left.earlier} of earlier runs"
    return "by " + " and ".join(text for text, number in ((now, left.now), (earlier, left.earlier)) if number)


def plain(run: Run, now: float, clock: float) -> str:
    """One line without control characters."""
    share = f"{100 * len(run.done) // max(1, run.total)} %"
    states = ", ".join(f"{number} {state}" for state, number, _ in counts(run))
    told = [share, states, f"{duration(now - run.start)} gone", time_left(run, now, clock)]
    return f"[{time.strftime('%a %H:%M:%S', time.localtime(clock))}] " + "; ".join(filter(None, told))


def ended(run: Run, now: float) -> str:
    """One line in the end."""
    states = ", ".join(f"{number} {state}" for state, number, _ in counts(run) if number)
    return f"{run.total} jobs: {states}; {duration(now - run.start)}"


def overview(run: Run, now: float, clock: float, height: int) -> RenderableType:
    """The whole, then models where there are several, then what runs, then what failed."""
    parts: list[RenderableType] = [_whole(run), _states(run, now), Text(time_left(run, now, clock) or " ", style="dim")]
    gap: list[RenderableType] = [Text()] if height >= ROOMY else []
    failed = list(run.failed)
    models = _models(run)
    room = height - OTHERS - min(len(models), MOST_MODELS) - min(len(failed), MOST_FAILED)
    if len(models) > 1:
        parts += [*gap, _of_models(run, models)]
    if run.running:
        parts += [*gap, _of_jobs(run, now, max(1, room))]
    if failed:
        parts += [*gap, _of_failed(run, failed)]
    return Group(*parts)


def _bar(done: float, total: float, style: str, width: int | None = None) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done, width=width, complete_style=style, finished_style=style)


def _whole(run: Run) -> RenderableType:
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


def _models(run: Run) -> list[str]:
    return list(dict.fromkeys(job.model for job in run.jobs.values() if job.model is not None))


def _of_models(run: Run, models: list[str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
    grid.add_column(width=20)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, style="red")
    for model in models[:MOST_MODELS]:
        total = sum(job.model == model for job in run.jobs.values())
        done, failed = (sum(run.jobs[each].model == model for each in state) for state in (run.done, run.failed))
        bar = _bar(done, total, "green", width=20)
        grid.add_row(model, bar, f"{done} of {total}", f"{failed} failed" if failed else "")
    if len(models) > MOST_MODELS:
        grid.add_row(f"and {len(models) - MOST_MODELS} more models")
    return grid


def _names(job: Job) -> str:
    return " ".join(job.wildcards.values())


def _of_jobs(run: Run, now: float, room: int) -> Table:
    """The jobs that run, the oldest first; those in a queue are only counted."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, justify="right", style="dim")
    grid.add_column(width=10)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1, min_width=20)
    shown = [run.jobs[jobid] for jobid in run.running if run.jobs[jobid].begun is not None]
    for job in shown[:room]:
        last = last_line(job.log) if _stamped(job) else last_line(None)
        bar = "" if last.share is None else _bar(last.share, 1, "cyan", width=10)
        since = duration(now - (job.begun or now))
        grid.add_row(job.rule, _names(job), since, bar, Text(last.text, style="" if bar else "dim"))
    if len(shown) > room:
        grid.add_row(f"and {len(shown) - room} more")
    return grid


def _stamped(job: Job) -> bool:
    """Whether the log is of this run; a job that has just begun still has its old one."""
    return stamp(job.log) != job.stamp


def _of_failed(run: Run, failed: Iterable[int]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    listed = list(failed)
    for jobid in listed[-MOST_FAILED:]:
        job = run.jobs[jobid]
        text.append("failed: ", style="red").append(f"{job.log or f'{job.rule} {_names(job)}'}\n")
    if len(listed) > MOST_FAILED:
        text.append(f"and {len(listed) - MOST_FAILED} more failed\n", style="red")
    text.right_crop(1)
    return text
