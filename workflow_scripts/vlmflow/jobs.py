"""What every job of the workflow does around its work: one log, and an account of each question."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from .progress import shown
from .runs import end_with_run
from .tasks import skipped


class QuestionError(ValueError):
    """A question that cannot go further; the message is the reason that its row in `skipped` gives."""


class UnluckyError(QuestionError):
    """A question that cannot go further here, though another machine might have managed it."""


class JobError(ValueError):
    """What no other question of the job would be spared; the message says what would help."""


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Send everything that is printed, progress bars and the final error included, to the job's log; and end when the
    workflow's run ends."""
    end_with_run()
    with (
        Path(path).open("w", buffering=1, encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            yield
        except BaseException as error:
            # The last word goes to where the person looks; the whole story is in the log, if that has room for it.
            print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
            with contextlib.suppress(OSError):
                traceback.print_exc()
            raise


def for_each_question(
    questions: pl.DataFrame,
    work: Callable[[dict[str, Any]], Any],
    *,
    stage: str,
    task: str,
    model: str,
    notes: Iterable[tuple[str, str]] = (),
) -> tuple[list[Any], pl.DataFrame]:
    """(what `work` gave for each question, rows of `skipped` for those at which it raised an error).

    `notes` are further (question id, reason) of what `work` left out without giving the question up.

    One broken question never stops the others, whatever it breaks; an error of which the next question would die too (a
    JobError, no memory, no disk) stops the job.  So does one of which all questions died without being to blame.
    """
    results: list[Any] = []
    reasons: list[tuple[str, str]] = []
    blameless: Exception | None = None
    rows = questions.iter_rows(named=True)
    for row in shown(rows, f"{stage} {model} {task}", len(questions), "questions"):
        try:
            results.append(work(row))
        except QuestionError as error:
            reasons.append((row["question_id"], str(error)))
            if isinstance(error, UnluckyError):
                blameless = blameless or error
        except (JobError, OSError, MemoryError):
            raise
        except Exception as error:
            print(f"question {row['question_id']}:")
            traceback.print_exc()
            reasons.append((row["question_id"], f"unexpected {type(error).__name__}: {error}"))
            blameless = blameless or error
    if blameless is not None and not results:
        raise JobError(
            f"none of the {len(questions)} questions got through; the first reason: {blameless}"
        ) from blameless
    reasons += notes
    ids = pl.Series([name for name, _ in reasons], dtype=pl.String)
    account = skipped(ids, pl.Series([why for _, why in reasons], dtype=pl.String), stage=stage, task=task, model=model)
    return results, account
