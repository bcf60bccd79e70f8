"""The cost of a study: time and memory of the jobs that run a model, from the benchmark files that Snakemake writes."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.tables import COST

HOUR = 3600  # seconds


@dataclass(frozen=True)
class Job:
    """A job that ran a model, with the paths of its benchmark file and its log."""

    model: str
    step: str  # loading, answers, the name of a probe, or `table` and the name of a table
    benchmark: Path
    log: Path


@dataclass(frozen=True)
class Spent:
    """Time and memory of one job; None if they are not known."""

    seconds: float
    cpu_seconds: float | None
    memory: float | None  # megabytes


def read_benchmark(path: Path) -> Spent | None:
    """Time and memory from a benchmark file; a repeated benchmark has several rows, whose times are added.

    Returns:
        None if the file is missing or has no time.  Snakemake writes NA or - for a number that it could not measure,
        for instance in a very short job.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        return None
    seconds = [value for row in rows if (value := _number(row, "s")) is not None]
    if not seconds:
        return None
    cpu = [value for row in rows if (value := _number(row, "cpu_time")) is not None]
    memory = [value for row in rows if (value := _number(row, "max_rss")) is not None]
    return Spent(sum(seconds), sum(cpu) if cpu else None, max(memory, default=None))


def _number(row: dict[str, str], column: str) -> float | None:
    try:
        return float(row.get(column) or "")
    except ValueError:
        return None


@dataclass(frozen=True)
class Note:
    """What a job noted beside its log: GPUs that it held, seconds for which it waited for them, numbers of questions
    that it measured and that the store had."""

    gpus: int = 0
    waited: float = 0
    measured: int = 0
    kept: int = 0


def read_note(log: Path) -> Note:
    """The note of the job with this log; `vlmflow.jobs.cost_note` writes it as `<stem of the log>.cost.json`."""
    try:
        return Note(**json.loads(log.with_suffix(".cost.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Note()


def cost_rows(jobs: Iterable[Job]) -> pl.DataFrame:
    """The table COST: a row for each model and step, in the order of the jobs.

    A job whose benchmark file is missing or empty is counted in `unmeasured`; its questions are not counted.
    """
    steps: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        steps.setdefault((job.model, job.step), []).append(job)
    return COST.frame([_row(model, step, members) for (model, step), members in steps.items()])


def _row(model: str, step: str, jobs: list[Job]) -> dict[str, Any]:
    measured = [(job, spent) for job in jobs if (spent := read_benchmark(job.benchmark)) is not None]
    notes = {job: read_note(job.log) for job, _ in measured}
    return {
        "model": model,
        "step": step,
        "jobs": len(measured),
        "unmeasured": len(jobs) - len(measured),
        "questions": sum(note.measured for note in notes.values()),
        "kept": sum(note.kept for note in notes.values()),
        "hours": sum(spent.seconds for _, spent in measured) / HOUR,
        "gpus": max((note.gpus for note in notes.values()), default=0),
        "gpu_hours": sum(notes[job].gpus * max(0.0, spent.seconds - notes[job].waited) for job, spent in measured)
        / HOUR,
        "cpu_hours": _total([spent.cpu_seconds for _, spent in measured]),
        "memory": max((spent.memory for _, spent in measured if spent.memory is not None), default=None),
    }


def _total(seconds: list[float | None]) -> float | None:
    """The sum of the known times in hours; None if none is known."""
    known = [each for each in seconds if each is not None]
    return sum(known) / HOUR if known else None


def in_report(cost: pl.DataFrame) -> dict[str, Any]:
    """The rows as text, their sum, and the number of jobs without a benchmark file."""
    rows = cost.to_dicts()
    total: dict[str, Any] = {name: cost[name].sum() for name in ("jobs", "questions", "kept", "hours", "gpu_hours")}
    total |= {"cpu_hours": cost["cpu_hours"].sum() if cost["cpu_hours"].count() else None}
    total |= {"gpus": cost["gpus"].max(), "memory": cost["memory"].max()}
    return {
        "rows": [_shown(row) for row in rows],
        "total": _shown(total) if len(rows) > 1 else None,
        "unmeasured": sum(row["unmeasured"] for row in rows),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as text; – stands for an unknown number."""
    per_question = row["hours"] * HOUR / row["questions"] if row["questions"] else None
    return {
        "model": row.get("model"),
        "step": row.get("step"),
        "jobs": f"{row['jobs']:,}",
        "questions": f"{row['questions']:,}",
        "kept": f"{row['kept']:,}",
        "gpus": "–" if not row["jobs"] else str(row["gpus"]),
        "memory": "–" if row["memory"] is None else f"{row['memory'] / 1000:.1f}",
        "per_question": _digits(per_question),
    } | {name: _digits(row[name] if row["jobs"] else None) for name in ("hours", "gpu_hours", "cpu_hours")}


def _digits(value: float | None) -> str:
    """A number as text: one decimal from 10 on, two decimals from 0.1 on, else two significant digits."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
