"""Run a probe on question rows, or ask a model their questions."""

from collections.abc import Sequence

import polars as pl

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.models.vision_language import LanguageModel
from vlmflow.tables import Skipped

from .base import Probe
from .context import ProbeContext
from .one_question import of_one_question
from .question import Question


class ProbeRun:
    """A probe with one model and the questions of one task.

    A part that does not apply to a question, such as an edge whose segment the prompt does not have, is skipped, and
    the other parts are measured.
    """

    def __init__(
        self,
        vlm: LanguageModel,
        probe: Probe,
        name: str,
        *,
        instruction: str = "",
        questions: Sequence[Question] = (),
        match: AnswersMatch = "strict",
    ) -> None:
        """Prepare a run.

        Args:
            vlm: the model.
            probe: the probe, as the study file has it.
            name: its name in the study file.
            instruction: text after each question.
            questions: all questions of the task, for probes that compare a question with others.
            match: when an answer counts as correct.

        Raises:
            ModelError: the model has too few layers for the probe, or lacks a module that it names.
        """
        probe.check_model(name, vlm)
        self.probe = probe
        self.context = ProbeContext(
            vlm, instruction, questions, match, probe.cache_size, own_segments=probe.own_segments
        )

    @property
    def skipped(self) -> list[Skipped]:
        """The parts of questions that were skipped so far."""
        return self.context.skipped

    @property
    def read(self) -> list[Question | None]:
        """The other questions that the current measurement has read; see `ProbeContext.read`."""
        return self.context.read

    def measure(self, question: Question) -> pl.DataFrame:
        """The probe's rows for one question.

        Raises:
            QuestionError: this question cannot be measured.
            JobError: no other question could be measured either.
        """
        with of_one_question():
            rows = self.probe.measure(self.context, question)
            return self.probe.table.frame(
                rows.with_columns(
                    task=pl.lit(question.task), question_id=pl.lit(question.id), image_id=pl.lit(question.image_id)
                )
            )
