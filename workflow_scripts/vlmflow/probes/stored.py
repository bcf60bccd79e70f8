"""Measurements that are taken from the store where it has them, and added to it where it has not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from vlmflow import errors
from vlmflow.errors import LASTING, QuestionError
from vlmflow.store.contents import Contents, digest_of
from vlmflow.store.measurements import ABOUT_QUESTION, END, Collection, Measurement
from vlmflow.tables import Skipped

from .address import question_key
from .question import Question, unrelated

# The other questions of a task on which the measurement of each one depends; see `Probe.others`.
Others = Callable[[Sequence[Question]], Mapping[str, Sequence[Question]]]


class Run(Protocol):
    """What measures the questions of one task, with a model: `ProbeRun`, or `AnswerRun`."""

    @property
    def skipped(self) -> list[Skipped]:
        """The parts of questions that were skipped so far."""

    @property
    def read(self) -> list[Question | None]:
        """The other questions that the current measurement has read; see `ProbeContext.read`."""

    def measure(self, question: Question) -> pl.DataFrame:
        """The rows of one question."""


class StoredTask:
    """The questions of one task, those of all shards, with the measurements that the store has of them.

    Args:
        rows: the question rows, in the order in which they are measured.
        collection: where measurements are found and added.
        contents: digests of images.
        others: the other questions on which the measurement of each one depends.
    """

    def __init__(
        self, rows: pl.DataFrame, collection: Collection, contents: Contents, others: Others = lambda _: {}
    ) -> None:
        self.questions = [Question.of(row) for row in rows.iter_rows(named=True)]
        self.collection = collection
        self.skipped: list[Skipped] = []
        self._contents = contents
        self._by_id = {question.id: question for question in self.questions}
        self._keys: dict[str, str | None] = {}
        self._depends_on = others(self.questions)

    def key(self, question_id: str) -> str | None:
        """The key of a question; None if its image cannot be read now, so that nothing is known of it."""
        own = self._own_key(question_id)
        others = self._depends_on.get(question_id, ())
        # One that cannot be read is left out of the measurement, and has no key.
        return own if own is None or not others else digest_of((own, *(self._own_key(other.id) for other in others)))

    def _own_key(self, question_id: str) -> str | None:
        """The key of a question, without those on which its measurement depends."""
        if question_id not in self._keys:
            try:
                self._keys[question_id] = question_key(self._by_id[question_id], self._contents)
            except OSError:
                self._keys[question_id] = None
        return self._keys[question_id]

    def find(self, question_id: str) -> Measurement | None:
        """The store's measurement of a question; None if there is none."""
        question = self._by_id[question_id]
        key = self.key(question_id)
        return None if key is None else self.collection.find(key, lambda count: self._others(question, count))

    def rows(self, question_id: str, run: Run | None) -> pl.DataFrame:
        """The rows of a question, from the store or measured now.

        Args:
            question_id: of the question.
            run: measures it; may be None if the store has it.

        Raises:
            QuestionError: the question cannot be measured.
        """
        question = self._by_id[question_id]
        measurement = self.find(question_id)
        if measurement is None:
            if run is None:
                raise AssertionError(f"no model is loaded to measure the question {question_id}")
            return self._measured(question, run)
        self.skipped += [Skipped(question.id, each.what, each.reason) for each in measurement.left_out]
        if measurement.failure is not None:
            kind, reason = measurement.failure
            raise getattr(errors, kind)(reason)
        return self._about(question, measurement.rows)

    def _measured(self, question: Question, run: Run) -> pl.DataFrame:
        """The rows of a question, measured now and added to the store."""
        before = len(run.skipped)
        run.read.clear()
        try:
            rows = run.measure(question)
        except LASTING as error:
            self._add(question, run, before, failure=(type(error).__name__, str(error)))
            raise
        except QuestionError:
            self.skipped += run.skipped[before:]
            raise
        self._add(question, run, before, rows=rows)
        return rows

    def _add(self, question: Question, run: Run, before: int, **result: Any) -> None:
        left_out = run.skipped[before:]
        self.skipped += left_out
        key, others = self.key(question.id), self._digests(run.read)
        if key is not None and None not in others:
            kept = Measurement(left_out=left_out, others=tuple(others), **{"rows": None, **result})  # type: ignore[arg-type]
            self.collection.add(key, kept)

    def _others(self, question: Question, count: int) -> list[str | None]:
        """The digests of the first other questions that a measurement of this question would read."""
        read: list[Question | None] = []
        others = unrelated(self.questions, question) if count else iter(())
        while len(read) < count:
            read.append(next(others, None))
            if read[-1] is None:
                break
        return self._digests(read)

    def _digests(self, read: Sequence[Question | None]) -> list[str | None]:
        return [END if other is None else self.key(other.id) for other in read]

    def _about(self, question: Question, rows: pl.DataFrame | None) -> pl.DataFrame:
        """Stored rows, with the columns that say which question they are about."""
        about = dict(zip(ABOUT_QUESTION, (question.task, question.id, question.image_id), strict=True))
        table = self.collection.table
        known = {name: pl.lit(value) for name, value in about.items() if name in table.columns}
        return table.frame((table.frame([]) if rows is None else rows).with_columns(**known))
