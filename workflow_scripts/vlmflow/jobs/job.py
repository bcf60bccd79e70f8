"""What every job of the workflow does around its work: one log, and an account of each question."""

import contextlib
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from vlmflow.data.sampling import skipped
from vlmflow.errors import JobError, NotApplicableError, QuestionError, RetryableQuestionError
from vlmflow.progress import shown

from .gpu_lease import write_gpu_note
from .lifetime import exit_with_run


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Send everything that is printed, progress bars and the final error included, to the job's log; and end when the
    workflow's run ends.

    An error is kept beside the log, for the account of the run.  Of a JobError the message says all there is to say;
    of others the log has the traceback.
    """
    failure_note(path).unlink(missing_ok=True)
    log = Path(path).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 (closed below)
    exit_with_run(log)
    with contextlib.ExitStack() as stack:
        stack.callback(_close, log)
        stack.callback(write_gpu_note, path)
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))
        try:
            yield
        except BaseException as error:
            # The last word goes to where the person looks; the whole story is in the log, if that has room for it.
            expected, why = isinstance(error, JobError), f"{type(error).__name__}: {error}"
            print(why, file=sys.__stderr__)
            with contextlib.suppress(OSError):
                failure_note(path).write_text(json.dumps({"why": str(error) if expected else why}), encoding="utf-8")
                print(why) if expected else traceback.print_exc()
            if expected:
                raise SystemExit(1) from None
            raise


def failure_note(log: str | Path) -> Path:
    """Where the error of the job that writes this log is kept."""
    return Path(log).with_suffix(".error.json")


def failure(log: str | Path) -> str | None:
    """Why the job that writes this log failed; None where it had no time to say it, as when it was killed."""
    try:
        return str(json.loads(failure_note(log).read_text(encoding="utf-8"))["why"])
    except (OSError, ValueError, KeyError):
        return None


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
    JobError, no memory, no disk) stops the job.  Where no question gets through, the fault is not the questions', and
    the job fails; unless of most there was nothing to measure.  Who was only unlucky is asked again in the end.

    Raises:
        JobError: there are questions, and none got through; the message has the most frequent reason.
    """
    results: dict[int, Any] = {}
    reasons: dict[int, str] = {}
    inapplicable: set[int] = set()
    printed: set[str] = set()
    waiting = list(enumerate(questions.iter_rows(named=True)))
    for again in (False, True):
        unlucky = []
        name = f"{stage} {model} {task}{', once more' if again else ''}"
        for number, row in shown(waiting, name, len(waiting), "questions"):
            # Of an error only its text is kept: its traceback would keep all that was computed.
            try:
                results[number] = work(row)
            except NotApplicableError as error:
                reasons[number] = str(error)
                inapplicable.add(number)
            except RetryableQuestionError as error:
                unlucky.append((number, row))
                reasons[number] = str(error)
            except QuestionError as error:
                reasons[number] = str(error)
            except (JobError, OSError, MemoryError):
                raise
            except Exception as error:
                reasons[number] = f"unexpected {type(error).__name__}: {error}"
                _print_once(row["question_id"], error, printed)
        waiting = unlucky
        if not waiting:
            break
    if not results and len(inapplicable) < len(reasons) / 2:
        _raise_for_all(reasons)
    ids = questions["question_id"].to_list()
    told = [(ids[number], why) for number, why in sorted(reasons.items()) if number not in results]
    told += dict.fromkeys(notes)  # who was asked once more may have left out the same twice
    done = [results[number] for number in sorted(results)]
    names, whys = (pl.Series([each[part] for each in told], dtype=pl.String) for part in (0, 1))
    return done, skipped(names, whys, stage=stage, task=task, model=model)


def _print_once(question: str, error: Exception, printed: set[str]) -> None:
    """Print where in the code an error arose, unless another question has died in the same place."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    key = f"{type(error).__name__} {place.filename} {place.lineno}"
    print(f"question {question}: {type(error).__name__}: {error}{' (as above)' if key in printed else ''}")
    if key not in printed:
        printed.add(key)
        traceback.print_exception(error)


def _raise_for_all(reasons: dict[int, str]) -> None:
    """Raise the one error of all questions."""
    (why, count), *others = Counter(reasons.values()).most_common()
    how_often = f"{count} of them for this reason" if others else "all for this reason"
    raise JobError(f"none of the {len(reasons)} questions could be measured ({how_often}): {why}")
