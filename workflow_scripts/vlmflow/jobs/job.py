"""The frame of every job of the workflow: one log, and a result or a reason for each question."""

import contextlib
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from vlmflow.errors import JobError, NotApplicableError, QuestionError, RetryableQuestionError
from vlmflow.progress import with_progress
from vlmflow.tables import SKIPPED, Skipped

from .cost_note import write_cost_note
from .lifetime import exit_with_run

NumberedRow = tuple[int, dict[str, Any]]


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Write everything that is printed, progress bars and the final error included, to the job's log; and end this
    process when the workflow's run ends.

    An error is also kept in a file beside the log, for the messages at the end of the run.  The message of a JobError
    is complete by itself; for any other error the log has the traceback.
    """
    failure_note(path).unlink(missing_ok=True)
    log = Path(path).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 (closed below)
    exit_with_run(log)
    with contextlib.ExitStack() as stack:
        stack.callback(_close, log)
        stack.callback(write_cost_note, path)
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))
        try:
            yield
        except BaseException as error:
            # The terminal gets only the message; the traceback goes to the log, which may be on a full disk.
            expected, why = isinstance(error, JobError), f"{type(error).__name__}: {error}"
            print(why, file=sys.__stderr__)
            with contextlib.suppress(OSError):
                failure_note(path).write_text(json.dumps({"why": str(error) if expected else why}), encoding="utf-8")
                print(why) if expected else traceback.print_exc()
            if expected:
                raise SystemExit(1) from None
            raise


def failure_note(log: str | Path) -> Path:
    """The file that holds the error of the job with this log."""
    return Path(log).with_suffix(".error.json")


def failure(log: str | Path) -> str | None:
    """The error of the job with this log; None if it left no note, for example because it was killed."""
    try:
        return str(json.loads(failure_note(log).read_text(encoding="utf-8"))["why"])
    except (OSError, ValueError, KeyError):
        return None


def _close(log: TextIO) -> None:
    """Close the log without an error: a full disk has been reported before."""
    with contextlib.suppress(OSError):
        log.close()


def for_each_question(
    questions: pl.DataFrame,
    work: Callable[[dict[str, Any]], Any],
    *,
    stage: str,
    model: str,
    notes: Mapping[str, Iterable[Skipped]] | None = None,
    share: bool = False,
) -> tuple[list[Any], pl.DataFrame]:
    """(results of `work` for each question, rows of `skipped` for the questions at which it raised an error).

    An error at one question never stops the others. An error that the next question would raise as well (a JobError,
    no memory, no disk) stops the job.  If no question can be measured, the questions are not the cause, and the job
    fails, unless most of them had nothing to measure.  Questions for which memory ran out are tried once more at the
    end.

    Args:
        questions: rows with the columns `question_id` and `task`.
        work: computes the result of a row.
        stage, model: written into the rows of `skipped` and the progress bar.
        notes: task → parts of questions that `work` skips; read when all questions are done.
        share: whether other jobs have further questions; the few of a small shard may all be broken.

    Raises:
        JobError: there are questions, and none could be measured; the message has the most frequent reason.
    """
    outcome = _Outcome()
    waiting = list(enumerate(questions.iter_rows(named=True)))
    for suffix in ("", ", once more"):
        waiting = outcome.try_each(waiting, work, f"{stage} {model}{suffix}")
        if not waiting:
            break
    enough = not share or len(questions) >= ENOUGH
    if not outcome.results and len(outcome.inapplicable) < len(outcome.reasons) / 2 and enough:
        _raise_for_all(outcome.reasons)
    left_out = outcome.skipped(questions.select("task", "question_id").rows())
    # A question that was tried twice may have skipped the same part twice.
    left_out += dict.fromkeys((task, each) for task, parts in (notes or {}).items() for each in parts)
    return [result for _, result in sorted(outcome.results.items())], _skipped_rows(left_out, stage, model)


ENOUGH = 20  # questions of a shard that are not all broken by chance


def _skipped_rows(left_out: Iterable[tuple[str, Skipped]], stage: str, model: str) -> pl.DataFrame:
    """Rows of the table `skipped`."""
    rows = [
        {"question_id": each.question, "task": task, "model": model, "stage": stage, "what": each.what}
        | {"reason": each.reason}
        for task, each in left_out
    ]
    return SKIPPED.frame(rows)


@dataclass
class _Outcome:
    """The outcome of each question, by its number.

    Attributes:
        results: the results of the questions that could be measured.
        reasons: why a question could not be measured, or not at the first attempt.
        inapplicable: the questions on which there was nothing to measure.
        printed: errors whose traceback is already in the log.
    """

    results: dict[int, Any] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    inapplicable: set[int] = field(default_factory=set)
    printed: set[str] = field(default_factory=set)

    def try_each(self, rows: list[NumberedRow], work: Callable[[dict[str, Any]], Any], name: str) -> list[NumberedRow]:
        """Do the work for each row; returns the rows for which memory ran out, to be tried once more."""
        again = []
        for number, row in with_progress(rows, name, len(rows), "questions"):
            # Only the text of an error is kept: its traceback would keep all that was computed.
            try:
                self.results[number] = work(row)
            except NotApplicableError as error:
                self.reasons[number] = str(error)
                self.inapplicable.add(number)
            except RetryableQuestionError as error:
                again.append((number, row))
                self.reasons[number] = str(error)
            except QuestionError as error:
                self.reasons[number] = str(error)
            except (JobError, OSError, MemoryError):
                raise
            except Exception as error:
                self.reasons[number] = f"unexpected {type(error).__name__}: {error}"
                _print_once(row["question_id"], error, self.printed)
        return again

    def skipped(self, names: list[tuple[str, str]]) -> list[tuple[str, Skipped]]:
        """(task, question) without a result, in their order; `names` are task and id of every question."""
        return [
            (names[number][0], Skipped(names[number][1], "", why))
            for number, why in sorted(self.reasons.items())
            if number not in self.results
        ]


def _print_once(question: str, error: Exception, printed: set[str]) -> None:
    """Print an error, with its traceback unless that of an error at the same line of code is already printed."""
    line = traceback.extract_tb(error.__traceback__)[-1]
    key = f"{type(error).__name__} {line.filename} {line.lineno}"
    print(f"question {question}: {type(error).__name__}: {error}{' (as above)' if key in printed else ''}")
    if key not in printed:
        printed.add(key)
        traceback.print_exception(error)


def _raise_for_all(reasons: dict[int, str]) -> None:
    """Raise one error for all questions, with their most frequent reason."""
    (why, count), *others = Counter(reasons.values()).most_common()
    how_often = f"{count} of them for this reason" if others else "all for this reason"
    raise JobError(f"none of the {len(reasons)} questions could be measured ({how_often}): {why}")
