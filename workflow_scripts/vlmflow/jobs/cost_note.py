"""What a job cost besides the time and memory in its benchmark file: a note beside its log."""

import json
from pathlib import Path

from .gpu_lease import held_gpus

_QUESTIONS: dict[str, int] = {}


def count_questions(measured: int, kept: int) -> None:
    """Note how many questions this job measured, and how many the store had."""
    _QUESTIONS.update(measured=measured, kept=kept)


def cost_note(log: str | Path) -> Path:
    """The file that holds the note of the job with this log."""
    return Path(log).with_suffix(".cost.json")


def write_cost_note(log: str | Path) -> None:
    """Write the GPUs that this process has leased, and its numbers of questions; a process without leaves no note."""
    facts = held_gpus() | _QUESTIONS
    if facts:
        cost_note(log).write_text(json.dumps(facts), encoding="utf-8")
    else:
        cost_note(log).unlink(missing_ok=True)
