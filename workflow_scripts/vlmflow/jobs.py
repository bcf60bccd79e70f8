"""What every job of the workflow does around its work: one log, and an account of each question."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from .runs import end_with_run
from .tasks import skipped


class QuestionError(ValueError):
    """A question that cannot go further; the message is the reason that its row in `skipped` gives."""


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
            traceback.print_exc()
            # The last word goes to where the person looks; the whole story is in the log.
            print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
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
    """(what `work` gave for each question, rows of `skipped` for those at which it raised a QuestionError).

    `notes` are further (question id, reason) of what `work` left out without giving the question up.

    One broken question never stops the others; an error that is no question's fault (no memory, no disk, a bug)
    stops the job.
    """
    results: list[Any] = []
    ids: list[str] = []
    reasons: list[str] = []
    rows = questions.iter_rows(named=True)
    for row in tqdm(rows, total=len(questions), desc=f"{stage} {model} {task}", unit="question", mininterval=2):
        try:
            results.append(work(row))
        except QuestionError as error:
            ids.append(row["question_id"])
            reasons.append(str(error))
    for question_id, reason in notes:
        ids.append(question_id)
        reasons.append(reason)
    account = skipped(
        pl.Series(ids, dtype=pl.String), pl.Series(reasons, dtype=pl.String), stage=stage, task=task, model=model
    )
    return results, account
