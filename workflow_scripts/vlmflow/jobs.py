"""What every job of the workflow does around its work: one log, and an account of each question."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

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
    log = Path(path).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 (closed below)
    end_with_run(log)
    with contextlib.ExitStack() as stack:
        stack.callback(_close, log)
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))
        try:
            yield
        except BaseException as error:
            # The last word goes to where the person looks; the whole story is in the log, if that has room for it.
            print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
            with contextlib.suppress(OSError):
                traceback.print_exc()
            raise


def _close(log: TextIO) -> None:
    """Without a word: a disk that is full has been told of before."""
    with contextlib.suppress(OSError):
        log.close()


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
    JobError, no memory, no disk) stops the job.  So does one of which all questions died without being to blame.  Who
    was only unlucky is asked again in the end.
    """
    results: dict[int, Any] = {}
    reasons: dict[int, str] = {}
    waiting = list(enumerate(questions.iter_rows(named=True)))
    blameless = ""
    for again in (False, True):
        unlucky = []
        name = f"{stage} {model} {task}{', once more' if again else ''}"
        for number, row in shown(waiting, name, len(waiting), "questions"):
            # Of an error only its text is kept: its traceback would keep all that was computed.
            try:
                results[number] = work(row)
            except UnluckyError as error:
                unlucky.append((number, row))
                reasons[number] = blameless = str(error)
            except QuestionError as error:
                reasons[number] = str(error)
            except (JobError, OSError, MemoryError):
                raise
            except Exception as error:
                print(f"question {row['question_id']}:")
                traceback.print_exc()
                reasons[number] = blameless = f"unexpected {type(error).__name__}: {error}"
        waiting = unlucky
        if not waiting:
            break
    if blameless and not results:
        raise JobError(f"none of the {len(questions)} questions got through; the first reason: {blameless}")
    ids = questions["question_id"].to_list()
    told = [(ids[number], why) for number, why in sorted(reasons.items()) if number not in results]
    told += dict.fromkeys(notes)  # who was asked once more may have left out the same twice
    done = [results[number] for number in sorted(results)]
    names, whys = (pl.Series([each[part] for each in told], dtype=pl.String) for part in (0, 1))
    return done, skipped(names, whys, stage=stage, task=task, model=model)
